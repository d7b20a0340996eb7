//! Local limits: they hold without Redis, without the edge, and close rather than open when they cannot count.

use std::time::Duration;

use chassis::limiter::{Limiter, LimiterSettings};

use crate::config;
use crate::usecases::ports::{Attempt, Limits};

/// Keys watched per limiter, about 100 bytes each: 2 MB at most for each of them.
const MOST_KEYS: usize = 20_000;

pub struct LocalLimits {
    sign_up: Limiter,
    log_in_source: Limiter,
    log_in_email: Limiter,
    refresh: Limiter,
    clicks_source: Limiter,
    clicks_person: Limiter,
}

impl LocalLimits {
    pub fn new(settings: &config::Limits) -> Self {
        let limiter = |name, rate: config::Rate| {
            Limiter::new(name, LimiterSettings { per_minute: rate.per_minute, burst: rate.burst, max_keys: MOST_KEYS })
        };
        Self {
            sign_up: limiter("sign-up", settings.sign_up_per_source),
            log_in_source: limiter("log-in-source", settings.log_in_per_source),
            log_in_email: limiter("log-in-email", settings.log_in_per_email),
            refresh: limiter("refresh", settings.refresh_per_source),
            clicks_source: limiter("clicks-source", settings.clicks_per_source),
            clicks_person: limiter("clicks-person", settings.clicks_per_person),
        }
    }
}

impl Limits for LocalLimits {
    fn admit(&self, attempt: Attempt<'_>) -> Result<(), Duration> {
        let outcome = match attempt {
            Attempt::SignUp { source } => self.sign_up.admit(&source),
            // The source first: a flood from one place must not use up the victim's share.
            Attempt::LogIn { source, email } => {
                self.log_in_source.admit(&source).and_then(|()| self.log_in_email.admit(&email))
            }
            Attempt::Refresh { source } => self.refresh.admit(&source),
            Attempt::ReportClicks { source, pseudonym } => {
                self.clicks_source.admit(&source).and_then(|()| self.clicks_person.admit(&pseudonym))
            }
        };
        outcome.map_err(|too_many| too_many.retry_after)
    }
}
