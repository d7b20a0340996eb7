//! Who is calling. The work is done once per request by the [`Authenticator`]; handlers only say whether they need it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use common::{ErrorKind, Region, SessionId, UserId};
use http::request::Parts;

use crate::auth::{AuthError, Authenticator};
use crate::problem::{Problem, codes};

/// A person with a valid token and a living session. Extracting it answers 401, 421 or 503 for everybody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user_id: UserId,
    pub session_id: SessionId,
    pub region: Region,
    /// Realm roles, exactly as the token spells them.
    pub roles: Vec<String>,
    /// What the person agreed to; read from the session.
    pub personalisation_consent: bool,
}

impl Caller {
    /// # Errors
    /// 403 `forbidden` without the role. Roles compare exactly.
    pub fn require_role(&self, role: &str) -> Result<(), Problem> {
        if self.roles.iter().any(|own| own == role) {
            Ok(())
        } else {
            Err(Problem::new(ErrorKind::Forbidden, codes::FORBIDDEN, "your account does not have the role this needs"))
        }
    }
}

/// A caller if a token was sent. A token that is sent must be valid: a wrong one is 401, not anonymity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaybeCaller(pub Option<Caller>);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        // Two extractors of one request share one look-up.
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let Some(authenticator) = parts.extensions.get::<Arc<Authenticator>>().cloned() else {
            return Err(Problem::internal(anyhow::anyhow!(
                "a handler asks for a caller but the router has no authenticator"
            )));
        };
        let caller = authenticator.caller(&parts.headers).await.map_err(AuthError::into_problem)?;
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Problem> {
        MaybeCaller::from_request_parts(parts, state).await.map(|maybe| maybe.0)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MaybeCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if !parts.headers.contains_key(http::header::AUTHORIZATION) {
            return Ok(Self(None));
        }
        <Caller as FromRequestParts<S>>::from_request_parts(parts, state).await.map(|caller| Self(Some(caller)))
    }
}
