//! Who is calling: an access token of this region's issuer, and a session that still lives.
//!
//! Decided here: what makes a request authenticated, and what each way of failing is told. One constant 401 for every fault of
//! a token, so that nobody learns how far a forged one got. A token of another of our regions is told where to go, before any
//! of it is trusted. A session is read on every request, so a logout counts at once; when the store cannot be asked, nobody
//! is let in. Not decided here: what a caller may do (use cases, and owner in the SQL).

mod jwks;
mod keys;
mod session;
mod token;
mod verdicts;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::{ErrorKind, Explain, Region, SharedClock};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::config::Auth;
use crate::extract::Caller;
use crate::lifecycle::Process;
use crate::problem::{Problem, codes};

pub use keys::{Algorithm, Key, KeySet, usable};
pub use session::{RedisSessions, SessionReader, SessionStoreDown};

use jwks::KeyCache;
use token::Expected;
pub use token::TokenHolder;
use verdicts::{Verdict, Verdicts};

/// Every reason why a caller is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Any fault of the token, or no session.
    #[error("send a valid access token as a bearer token")]
    Unauthenticated,
    /// A person of another of our regions.
    #[error("your account belongs to region {0}")]
    AnotherRegion(Region),
    /// The session store cannot be asked.
    #[error("the session store is not available")]
    StoreDown(#[source] SessionStoreDown),
}

impl Explain for AuthError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unauthenticated => ErrorKind::Unauthenticated,
            Self::AnotherRegion(_) => ErrorKind::Misdirected,
            Self::StoreDown(_) => ErrorKind::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated => codes::UNAUTHENTICATED,
            Self::AnotherRegion(_) => codes::RESIDENCY_MISMATCH,
            Self::StoreDown(_) => codes::DEPENDENCY_DOWN,
        }
    }
}

impl AuthError {
    /// With a link to the right region where there is one.
    pub(crate) fn into_problem(self) -> Problem {
        let alternate = match self {
            Self::AnotherRegion(region) => Some(region.base_url()),
            Self::Unauthenticated | Self::StoreDown(_) => None,
        };
        let problem = Problem::from(self);
        match alternate {
            Some(url) => problem.with_alternate(url),
            None => problem,
        }
    }
}

/// Verifies tokens against cached keys and looks sessions up. One per process.
pub struct Authenticator {
    region: Region,
    expected: Expected,
    foreign: Vec<(String, Region)>,
    keys: Arc<KeyCache>,
    verdicts: Verdicts,
    sessions: Arc<dyn SessionReader>,
    clock: SharedClock,
}

impl Authenticator {
    /// Starts the background fetch of the key set and returns at once: until keys are there, callers get 401 for tokens and the
    /// check `jwks` fails: of readiness, at a standby of the active site, because its issuer answers after a promotion only.
    ///
    /// # Errors
    /// Settings that do not fit together.
    pub fn start(process: &Process, settings: &Auth, sessions: Arc<dyn SessionReader>) -> anyhow::Result<Arc<Self>> {
        anyhow::ensure!(!settings.issuer.is_empty(), "auth.issuer is empty");
        anyhow::ensure!(
            settings.leeway_s <= 60,
            "auth.leeway_s is {} but clocks may differ by 60 s at most",
            settings.leeway_s
        );
        let keys = Arc::new(
            KeyCache::new(&settings.jwks_url, settings.algorithm, Duration::from_secs(settings.cooldown_s))
                .context("auth.jwks_url")?,
        );
        let region = process.site().region;
        let authenticator = Arc::new(Self {
            region,
            expected: Expected {
                issuer: settings.issuer.clone(),
                audience: settings.audience.clone(),
                algorithm: settings.algorithm,
                leeway_s: i64::try_from(settings.leeway_s).unwrap_or(60),
            },
            foreign: foreign_issuers(settings, region)?,
            keys: keys.clone(),
            verdicts: Verdicts::default(),
            sessions,
            clock: process.clock(),
        });
        let ready = keys.clone();
        process.led().add("jwks", move || {
            let known = ready.has_keys();
            async move { if known { Ok(()) } else { Err("no key of the issuer is known yet") } }
        });
        let refresh = Duration::from_secs(settings.refresh_s as u64);
        let shutdown = process.shutdown();
        process.spawn("jwks-refresh", async move {
            shutdown.run_until_cancelled(keys.keep_fresh(refresh)).await;
        });
        Ok(authenticator)
    }

    /// The caller behind the `Authorization` header.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller, AuthError> {
        let token = bearer(headers).ok_or(AuthError::Unauthenticated)?;
        self.verify(token).await
    }

    /// The caller behind a token, however it came (gRPC metadata, a cookie).
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn verify(&self, token: &str) -> Result<Caller, AuthError> {
        let holder = self.holder(token).await?;
        self.with_session(holder).await
    }

    /// Whose token this is, without asking whether a session lives: for the login itself, which makes the session. Nobody is
    /// authenticated by this.
    ///
    /// # Errors
    /// See [`AuthError`]; never `StoreDown`.
    pub async fn holder(&self, token: &str) -> Result<TokenHolder, AuthError> {
        let now = self.clock.now().timestamp();
        if let Some(verdict) = self.verdicts.of(token, now).filter(|verdict| self.keys.has(&verdict.key_id)) {
            return Ok(verdict.holder.clone());
        }
        let unread = token::read(token).ok_or(AuthError::Unauthenticated)?;
        // Only for this answer the issuer is read without trust; nothing of the person is looked at or logged.
        if let Some((_, region)) = self.foreign.iter().find(|(issuer, _)| *issuer == unread.claims.iss) {
            return Err(AuthError::AnotherRegion(*region));
        }
        if !unread.is_acceptable(&self.expected, now) {
            return Err(AuthError::Unauthenticated);
        }
        let key = self.keys.find(&unread.header.kid).await.ok_or(AuthError::Unauthenticated)?;
        let (key_id, until) = (unread.header.kid.clone(), unread.good_until(&self.expected));
        let holder = unread.verified_by(&key).ok_or(AuthError::Unauthenticated)?;
        // The token is genuine, so what it says about the region is the issuer's word.
        if holder.region != self.region {
            return Err(AuthError::AnotherRegion(holder.region));
        }
        self.verdicts.remember(token, Verdict { holder: holder.clone(), key_id, until });
        Ok(holder)
    }

    async fn with_session(&self, holder: TokenHolder) -> Result<Caller, AuthError> {
        let record = self.sessions.read(&holder.session_id).await.map_err(AuthError::StoreDown)?;
        let record = record.ok_or(AuthError::Unauthenticated)?;
        if record.user_id != holder.user_id || record.region != self.region {
            return Err(AuthError::Unauthenticated);
        }
        Ok(Caller {
            user_id: holder.user_id,
            session_id: holder.session_id,
            region: self.region,
            roles: holder.roles,
            personalisation_consent: record.personalisation_consent,
        })
    }
}

/// Exactly one `Authorization: Bearer <token>`; the scheme in any case, one or more spaces.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The other regions' issuers: those configured, else ours with the region at its end exchanged (`…-eu` → `…-us`).
fn foreign_issuers(settings: &Auth, ours: Region) -> anyhow::Result<Vec<(String, Region)>> {
    let stem = settings.issuer.strip_suffix(ours.code());
    let mut issuers = Vec::new();
    for region in Region::ALL.iter().copied().filter(|region| *region != ours) {
        match settings.foreign_issuers.get(region.code()) {
            Some(configured) => issuers.push((configured.clone(), region)),
            None => issuers.extend(stem.map(|stem| (format!("{stem}{region}"), region))),
        }
    }
    if let Some(unknown) = settings.foreign_issuers.keys().find(|code| code.parse::<Region>().is_err()) {
        anyhow::bail!("auth.foreign_issuers.{unknown}: not a region of the topology");
    }
    anyhow::ensure!(
        issuers.iter().all(|(issuer, _)| *issuer != settings.issuer),
        "auth.foreign_issuers names our own issuer"
    );
    Ok(issuers)
}
