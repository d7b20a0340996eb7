//! The issuer's key set, cached. Requests read it without a lock; it is fetched in the background, and once more when a token
//! names a key that is not in it (the issuer has rotated), at most once per cool-down and by one request at a time.
//!
//! When the issuer is away the keys we have stay good; unknown key ids are refused without asking.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::keys::{self, Algorithm, Key, KeySet};
use crate::http_client::{self, HttpClientSettings};
use crate::metrics::KEY_FETCHES;

/// A key set has a few kilobytes.
const MAX_DOCUMENT: usize = 64 * 1024;

/// A fetch blocks the requests that wait for its key.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// While no key is known at all, the background asks this often.
const EAGER_REFRESH: Duration = Duration::from_millis(500);

/// Unknown key ids remembered as such for one cool-down; an attacker can invent more, those cost the same as remembered ones.
const MAX_UNKNOWN: usize = 1024;

pub(super) struct KeyCache {
    url: String,
    algorithm: Algorithm,
    cooldown: Duration,
    client: reqwest::Client,
    keys: ArcSwap<KeySet>,
    /// When the last fetch began. Holding the lock is the right to fetch.
    last_fetch: Mutex<Option<Instant>>,
    unknown: std::sync::Mutex<HashMap<String, Instant>>,
}

impl KeyCache {
    pub(super) fn new(url: &str, algorithm: Algorithm, cooldown: Duration) -> anyhow::Result<Self> {
        reqwest::Url::parse(url).with_context(|| format!("not a URL: {url:?}"))?;
        let settings = HttpClientSettings {
            connect_timeout: Duration::from_secs(1),
            total_timeout: FETCH_TIMEOUT,
            idle_connections: 1,
        };
        Ok(Self {
            url: url.to_owned(),
            algorithm,
            cooldown,
            client: http_client::new(settings)?,
            keys: ArcSwap::default(),
            last_fetch: Mutex::default(),
            unknown: std::sync::Mutex::default(),
        })
    }

    pub(super) fn has_keys(&self) -> bool {
        !self.keys.load().is_empty()
    }

    /// The key of that id, after one fetch if it is not known.
    pub(super) async fn find(&self, id: &str) -> Option<Key> {
        if let Some(key) = self.keys.load().get(id) {
            return Some(key.clone());
        }
        if self.is_known_unknown(id) {
            return None;
        }
        // Whoever comes second waits here and then finds the fetch done.
        let mut last_fetch = self.last_fetch.lock().await;
        if let Some(key) = self.keys.load().get(id) {
            return Some(key.clone());
        }
        if last_fetch.is_none_or(|at| at.elapsed() >= self.cooldown) {
            *last_fetch = Some(Instant::now());
            self.fetch().await;
        }
        drop(last_fetch);
        let key = self.keys.load().get(id).cloned();
        if key.is_none() {
            self.remember_unknown(id);
        }
        key
    }

    /// Runs for the life of the process.
    pub(super) async fn keep_fresh(&self, every: Duration) {
        loop {
            {
                let mut last_fetch = self.last_fetch.lock().await;
                *last_fetch = Some(Instant::now());
                self.fetch().await;
            }
            tokio::time::sleep(if self.has_keys() { every } else { EAGER_REFRESH.min(every) }).await;
        }
    }

    /// Replaces the keys if the issuer gives a usable set; else keeps those we have.
    async fn fetch(&self) {
        match self.download().await {
            Ok(keys) => {
                KEY_FETCHES.with_label_values(&["ok"]).inc();
                if self.keys.load().keys().ne(keys.keys()) {
                    tracing::info!(keys = keys.len(), "key set changed");
                }
                self.keys.store(Arc::new(keys));
                self.unknown.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
            Err(error) => {
                KEY_FETCHES.with_label_values(&["failed"]).inc();
                tracing::warn!(reason = format!("{error:#}"), "key set could not be fetched");
            }
        }
    }

    async fn download(&self) -> anyhow::Result<KeySet> {
        let response = self.client.get(&self.url).send().await.context("no answer")?;
        anyhow::ensure!(response.status().is_success(), "status {}", response.status());
        let body = http_client::bounded(response, MAX_DOCUMENT).await?;
        let keys = keys::usable(&body, self.algorithm).context("not a key set")?;
        // An empty set would lock everybody out; more likely it is the issuer's mistake.
        anyhow::ensure!(!keys.is_empty(), "no key of algorithm {}", self.algorithm.name());
        Ok(keys)
    }

    fn is_known_unknown(&self, id: &str) -> bool {
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.get(id).is_some_and(|at| at.elapsed() < self.cooldown)
    }

    fn remember_unknown(&self, id: &str) {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.len() >= MAX_UNKNOWN {
            unknown.retain(|_, at| at.elapsed() < self.cooldown);
        }
        if unknown.len() < MAX_UNKNOWN {
            unknown.insert(id.to_owned(), Instant::now());
        }
    }
}
