//! The edge's purge interface: a POST of `{"tags": [...]}` with a bearer token, as Cloudflare takes it and as a webhook of ones own can.

use std::time::Duration;

use async_trait::async_trait;
use chassis::config::Secret;
use chassis::http_client::{self, HttpClientSettings};
use chassis::problem::chain;
use chassis::resilience::{Guard, GuardSettings};
use serde::Serialize;

use crate::usecases::ports::purger::{AT_ONCE, PurgeDown, Purger};

/// A purge that takes longer has failed and is tried again.
const DEADLINE: Duration = Duration::from_secs(5);

pub struct PurgeWebhook {
    http: reqwest::Client,
    url: String,
    token: Secret,
    guard: Guard,
}

#[derive(Serialize)]
struct Tags<'a> {
    tags: &'a [String],
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("no answer")]
    Transport(#[from] reqwest::Error),
    #[error("it answered with status {0}")]
    Status(u16),
}

impl PurgeWebhook {
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(url: &str, token: Secret) -> anyhow::Result<Self> {
        let settings =
            HttpClientSettings { total_timeout: DEADLINE, idle_connections: 1, ..HttpClientSettings::default() };
        Ok(Self {
            http: http_client::new(settings)?,
            url: url.to_owned(),
            token,
            // Whoever calls tries again, with pauses of its own.
            guard: Guard::new("cdn", GuardSettings { deadline: DEADLINE, max_tries: 1, ..GuardSettings::default() }),
        })
    }

    async fn post(&self, tags: &[String]) -> Result<(), Refused> {
        let request = self.http.post(&self.url).bearer_auth(self.token.open()).json(&Tags { tags });
        let status = http_client::traced(request).send().await?.status();
        if status.is_success() { Ok(()) } else { Err(Refused::Status(status.as_u16())) }
    }
}

#[async_trait]
impl Purger for PurgeWebhook {
    async fn purge(&self, keys: &[String]) -> Result<(), PurgeDown> {
        for tags in keys.chunks(AT_ONCE) {
            self.guard.call(|| self.post(tags)).await.map_err(|error| PurgeDown(chain(&error)))?;
        }
        Ok(())
    }
}
