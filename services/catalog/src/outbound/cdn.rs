//! The edge's purge interface: a POST of `{"tags": [...]}` with a bearer token, as Cloudflare takes it and as a webhook of ones own can.
//! Decided here: what Cloudflare says about it in the body counts, and who answers with something else, or nothing, is taken by the status.

use std::time::Duration;

use async_trait::async_trait;
use chassis::config::Secret;
use chassis::http_client::{self, BodyError, HttpClientSettings};
use chassis::problem::chain;
use chassis::resilience::{Guard, GuardSettings};
use serde::{Deserialize, Serialize};

use crate::usecases::ports::purger::{AT_ONCE, PurgeDown, Purger};

/// A purge that takes longer has failed and is tried again.
const DEADLINE: Duration = Duration::from_secs(5);
/// Cloudflare answers with half a kilobyte, and with a few more when it names what it did not like.
const LARGEST_ANSWER: usize = 64 * 1024;

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

/// What Cloudflare answers, whatever the status.
#[derive(Deserialize)]
struct Answer {
    success: bool,
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("no answer")]
    Transport(#[from] reqwest::Error),
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("it says that it did not do it")]
    NotDone,
    #[error(transparent)]
    Body(#[from] BodyError),
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
        let response = http_client::traced(request).send().await?;
        let status = response.status();
        if !status.is_success() {
            return Err(Refused::Status(status.as_u16()));
        }
        let body = http_client::bounded(response, LARGEST_ANSWER).await?;
        let answer = serde_json::from_slice::<Answer>(&body);
        if answer.is_ok_and(|answer| !answer.success) { Err(Refused::NotDone) } else { Ok(()) }
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
