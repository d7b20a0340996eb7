//! What a token says that has just been issued, verified in full as every service verifies it for every request. Only the
//! session is not asked for: it does not exist yet.

use std::sync::Arc;

use async_trait::async_trait;
use chassis::auth::{AuthError, Authenticator};

use crate::usecases::ports::{Down, TokenHolder, Tokens};

pub struct VerifiedTokens {
    authenticator: Arc<Authenticator>,
}

impl VerifiedTokens {
    pub fn new(authenticator: Arc<Authenticator>) -> Self {
        Self { authenticator }
    }
}

#[async_trait]
impl Tokens for VerifiedTokens {
    async fn verify(&self, access_token: &str) -> Result<TokenHolder, Down> {
        let holder = self.authenticator.holder(access_token).await.map_err(unusable)?;
        Ok(TokenHolder { user_id: holder.user_id, session_id: holder.session_id, region: holder.region })
    }
}

/// The caller's credentials were right; that their token is not is between the issuer and us (a key we have not fetched yet, a
/// realm set up differently).
fn unusable(error: AuthError) -> Down {
    let source = anyhow::Error::new(error).context("the issuer gave a token that does not verify");
    Down { target: "the identity provider", retry_after: None, source }
}

/// For roles in which nobody logs in.
pub struct NoTokens;

#[async_trait]
impl Tokens for NoTokens {
    async fn verify(&self, _access_token: &str) -> Result<TokenHolder, Down> {
        Err(Down {
            target: "the identity provider",
            retry_after: None,
            source: anyhow::anyhow!("this role gives nobody a session"),
        })
    }
}
