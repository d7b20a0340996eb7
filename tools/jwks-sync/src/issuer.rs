//! The issuer's key set. Decided here: an answer that gives no usable key is a failure and never an empty set, so that a gateway keeps what it
//! has; and an id must be one that can name a file, a Secret and a line of configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chassis::auth::{self, Algorithm};
use chassis::http_client::{self, HttpClientSettings};

use crate::{keyring, pem};

/// A key set has a few kilobytes.
const MAX_DOCUMENT: usize = 64 * 1024;
/// It is asked once a minute; longer than this it does not answer the services either.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who publishes the keys.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    algorithm: Algorithm,
    client: reqwest::Client,
}

impl Issuer {
    /// # Errors
    /// When no client can be made.
    pub fn new(url: &str, algorithm: Algorithm) -> Result<Self> {
        let settings =
            HttpClientSettings { total_timeout: PATIENCE, idle_connections: 1, ..HttpClientSettings::default() };
        Ok(Self { url: url.to_owned(), algorithm, client: http_client::new(settings)? })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Usable keys as PEM, by their id.
    ///
    /// # Errors
    /// No answer, no key set, no usable key in it, or more than there are places for.
    pub async fn keys(&self) -> Result<BTreeMap<String, String>> {
        let told = || format!("the key set at {}", self.url);
        let response = self.client.get(&self.url).send().await.with_context(told)?;
        ensure!(response.status().is_success(), "{} is answered with {}", told(), response.status());
        let body = http_client::bounded(response, MAX_DOCUMENT).await.with_context(told)?;
        let keys = auth::usable(&body, self.algorithm).with_context(|| format!("{} is none", told()))?;
        let (named, odd): (Vec<_>, Vec<_>) = keys.into_iter().partition(|(id, _)| is_name(id));
        for (id, _) in odd {
            tracing::warn!(id, "a key whose id cannot be a name is left out");
        }
        ensure!(!named.is_empty(), "{} has no key for {}", told(), self.algorithm.name());
        ensure!(
            named.len() <= keyring::MAX_KEYS,
            "{} has {} keys, more than {}",
            told(),
            named.len(),
            keyring::MAX_KEYS
        );
        Ok(named.into_iter().map(|(id, key)| (id, pem::of(&key))).collect())
    }
}

/// Ids of Keycloak are base64url.
fn is_name(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
