//! What a token says that we have just received from the issuer itself.
//!
//! Read without checking its signature: it came over our own connection to the token endpoint, which is what OpenID Connect
//! (Core 3.1.3.7, point 6) accepts in place of it. Every request made with the token later is verified in full, by every service.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::SessionId;
use serde::Deserialize;

use crate::usecases::ports::{Down, TokenHolder, Tokens};

/// Reads tokens of one issuer.
pub struct IssuedTokens {
    pub issuer: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    sid: String,
    residency_region: String,
}

impl IssuedTokens {
    fn read(&self, access_token: &str) -> Option<TokenHolder> {
        let payload = access_token.split('.').nth(1)?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        (claims.iss == self.issuer).then_some(())?;
        Some(TokenHolder {
            user_id: claims.sub.parse().ok()?,
            session_id: SessionId::parse(&claims.sid).ok()?,
            region: claims.residency_region.parse().ok()?,
        })
    }
}

#[async_trait]
impl Tokens for IssuedTokens {
    async fn verify(&self, access_token: &str) -> Result<TokenHolder, Down> {
        self.read(access_token).ok_or_else(|| Down {
            target: "the identity provider",
            retry_after: None,
            source: anyhow::anyhow!("the access token has not the issuer, subject, session and region that we expect"),
        })
    }
}
