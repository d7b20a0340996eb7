//! Keycloak as the identity provider: its token endpoint for logins, its admin API for identities.
//!
//! Decided here: what of Keycloak's answers is an answer ("no such user", "wrong password") and what is a fault that counts
//! against it; that making an identity and using a refresh token are never repeated. Texts of answers are read for their
//! codes only and never shown or logged, because they repeat what people typed.

mod admin;
mod under_way;
mod wire;

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use chassis::http_client::{self, HttpClientSettings};
use chassis::resilience::{CallError, Guard, GuardSettings};
use common::{SessionId, SharedClock, UserId};
use reqwest::{Response, StatusCode};

use crate::config;
use crate::domain::{Email, Password, SignUp, SignUpId};
use crate::usecases::ports::{Created, Down, Identities, Identity, TokenPair};
use admin::Admin;
use under_way::UnderWay;

/// A read or a change of an identity.
const DEADLINE: Duration = Duration::from_secs(4);
/// A log-in, or a refresh of its tokens. Hashing a password takes some 50 ms of a processor: seconds where many want it (the slowest of a
/// hundred takes 3 s in `docs/drills`). Neither is repeated, so giving up early only has people come again; the request itself has 10 s.
const TOKENS_DEADLINE: Duration = Duration::from_secs(7);
/// When to try again while another log-in of the same account is under way: most have ended by then.
const ANOTHER_UNDER_WAY: Duration = Duration::from_secs(2);
/// Largest answer that is read: a user with its attributes has about 2 KiB, a pair of tokens about 3.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Keycloak did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("no answer")]
    Transport(#[from] reqwest::Error),
    #[error("an answer that is too large or broke off")]
    Body(#[from] http_client::BodyError),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("an answer of another shape")]
    Shape(#[from] serde_json::Error),
    #[error("an answer without {0}")]
    Missing(&'static str),
}

pub struct Keycloak {
    http: reqwest::Client,
    token_url: String,
    login_client: (String, String),
    admin: Admin,
    /// Two guards: a broken admin API must not stop logins, nor the other way round.
    tokens: Guard,
    identities: Guard,
    log_ins: UnderWay,
}

impl Keycloak {
    /// # Errors
    /// The TLS roots cannot be loaded.
    pub fn new(settings: &config::Keycloak, clock: SharedClock) -> anyhow::Result<Self> {
        let http = http_client::new(HttpClientSettings::default()).context("keycloak")?;
        let base = settings.base_url.trim_end_matches('/');
        let token_url = format!("{base}/realms/{}/protocol/openid-connect/token", settings.realm);
        let guard = |target, deadline| Guard::new(target, GuardSettings { deadline, ..GuardSettings::default() });
        Ok(Self {
            login_client: (settings.client_id.clone(), settings.client_secret.open().to_owned()),
            admin: Admin::new(http.clone(), settings, token_url.clone(), clock),
            http,
            token_url,
            tokens: guard("keycloak-tokens", TOKENS_DEADLINE),
            identities: guard("keycloak-admin", DEADLINE),
            log_ins: UnderWay::default(),
        })
    }

    /// # Errors
    /// Why the admin API cannot be used.
    pub async fn check(&self) -> Result<(), Down> {
        self.identities.call(|| self.admin.check()).await.map_err(down)
    }

    /// `None` for "these credentials do not grant anything", whatever the reason.
    async fn grant(&self, fields: &[(&str, &str)]) -> Result<Option<TokenPair>, Fault> {
        let (client, secret) = &self.login_client;
        let mut form = vec![("client_id", client.as_str()), ("client_secret", secret.as_str())];
        form.extend_from_slice(fields);
        let response = http_client::traced(self.http.post(&self.token_url)).form(&form).send().await?;
        let status = response.status();
        let body = http_client::bounded(response, LARGEST_ANSWER).await?;
        if status.is_success() {
            let tokens: wire::Tokens = serde_json::from_slice(&body)?;
            return Ok(Some(tokens.into()));
        }
        let refusal: wire::Refusal = serde_json::from_slice(&body).unwrap_or_default();
        match (status, refusal.error.as_str()) {
            (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED, "invalid_grant") => Ok(None),
            _ => Err(Fault::Status(status)),
        }
    }
}

#[async_trait]
impl Identities for Keycloak {
    async fn create(&self, sign_up: SignUpId, person: &SignUp) -> Result<Created, Down> {
        self.identities.once_if(|| self.admin.create(sign_up, person), |_| true).await.map_err(down)
    }

    async fn find_by_sign_up(&self, sign_up: SignUpId) -> Result<Option<Identity>, Down> {
        self.identities.call(|| self.admin.find_by_sign_up(sign_up)).await.map_err(down)
    }

    async fn find(&self, user: UserId) -> Result<Option<Identity>, Down> {
        self.identities.call(|| self.admin.find(user)).await.map_err(down)
    }

    async fn log_in(&self, email: &Email, password: &Password) -> Result<Option<TokenPair>, Down> {
        let fields = [("grant_type", "password"), ("username", email.open()), ("password", password.open())];
        let mine = self.log_ins.begin(email.open());
        // Not repeated: every try counts in the provider's own protection against guessing.
        let outcome = self.tokens.once_if(|| self.grant(&fields), |_| true).await;
        // What was sent and not answered may go on.
        let met = if matches!(outcome, Err(CallError::Deadline { .. } | CallError::Failed(_))) {
            false
        } else {
            mine.answered()
        };
        let answer = outcome.map_err(down)?;
        if met && answer.is_none() {
            let source =
                anyhow::anyhow!("another log-in of this account is under way; its answer says nothing of the password");
            return Err(Down { target: "the identity provider", retry_after: Some(ANOTHER_UNDER_WAY), source });
        }
        Ok(answer)
    }

    async fn refresh(&self, refresh_token: &str) -> Result<Option<TokenPair>, Down> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        // Not repeated: the token may have been used up although the answer was lost.
        self.tokens.once_if(|| self.grant(&fields), |_| true).await.map_err(down)
    }

    async fn end_session(&self, session: &SessionId) -> Result<(), Down> {
        self.identities.call(|| self.admin.end_session(session)).await.map_err(down)
    }

    async fn end_all_sessions(&self, user: UserId) -> Result<(), Down> {
        self.identities.call(|| self.admin.end_all_sessions(user)).await.map_err(down)
    }
}

/// The body of a good answer.
async fn body_of<T: serde::de::DeserializeOwned>(response: Response) -> Result<T, Fault> {
    let status = response.status();
    if !status.is_success() {
        return Err(Fault::Status(status));
    }
    let body = http_client::bounded(response, LARGEST_ANSWER).await?;
    Ok(serde_json::from_slice(&body)?)
}

fn down(error: CallError<Fault>) -> Down {
    let retry_after = match &error {
        CallError::Open { retry_after, .. } => Some(*retry_after),
        CallError::Deadline { .. } | CallError::Failed(_) => None,
    };
    Down { target: "the identity provider", retry_after, source: anyhow::Error::new(error) }
}
