//! The issuer's key set, cached. Requests read it without a lock; one background task fetches it, regularly and when a token
//! names a key that is not in it (the issuer has rotated), at most once per cool-down. Within the cool-down every unknown key
//! id is refused without asking, so no list of unknown ids is needed. A request that leaves does not take the fetch with it.
//!
//! When the issuer is away the keys we have stay good.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use super::keys::{self, Algorithm, Key, KeySet};
use crate::http_client::{self, HttpClientSettings};
use crate::metrics::KEY_FETCHES;

/// A key set has a few kilobytes.
const MAX_DOCUMENT: usize = 64 * 1024;

/// Requests with an unknown key wait for a fetch, at most this long.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// While no key is known at all, the background asks this often.
const EAGER_REFRESH: Duration = Duration::from_millis(500);

/// Requests that may wait for a fetch at once. More are refused, so that forged tokens cannot fill the process while the issuer
/// is slow.
const MAX_WAITING: usize = 32;

pub(super) struct KeyCache {
    url: String,
    algorithm: Algorithm,
    cooldown: Duration,
    client: reqwest::Client,
    keys: ArcSwap<KeySet>,
    fetching: Mutex<Fetching>,
    /// Asks the background task for a fetch.
    wanted: Notify,
    /// Changes after each fetch.
    fetched: watch::Sender<()>,
    waiting: Semaphore,
}

#[derive(Clone, Copy, Debug)]
enum Fetching {
    /// One is running, or the first is about to.
    Now,
    Done {
        at: Instant,
    },
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
            fetching: Mutex::new(Fetching::Now),
            wanted: Notify::new(),
            fetched: watch::Sender::new(()),
            waiting: Semaphore::new(MAX_WAITING),
        })
    }

    pub(super) fn has_keys(&self) -> bool {
        !self.keys.load().is_empty()
    }

    /// Whether the issuer publishes the key of that id, as far as is known.
    pub(super) fn has(&self, id: &str) -> bool {
        self.keys.load().contains_key(id)
    }

    /// The key of that id, after one fetch if it is not known.
    pub(super) async fn find(&self, id: &str) -> Option<Key> {
        if let Some(key) = self.keys.load().get(id) {
            return Some(key.clone());
        }
        let _place = self.waiting.try_acquire().ok()?;
        let mut fetched = self.fetched.subscribe();
        match self.state() {
            Fetching::Now => {}
            Fetching::Done { at } if at.elapsed() >= self.cooldown => self.wanted.notify_one(),
            Fetching::Done { .. } => return None,
        }
        tokio::time::timeout(FETCH_TIMEOUT, fetched.changed()).await.ok()?.ok()?;
        self.keys.load().get(id).cloned()
    }

    /// Runs for the life of the process.
    pub(super) async fn keep_fresh(&self, every: Duration) {
        loop {
            self.set_state(Fetching::Now);
            self.fetch().await;
            self.set_state(Fetching::Done { at: Instant::now() });
            self.fetched.send_replace(());
            let pause = if self.has_keys() { every } else { EAGER_REFRESH.min(every) };
            // Either reason is enough; a wish that came too early was not sent.
            let _ = tokio::time::timeout(pause, self.wanted.notified()).await;
        }
    }

    fn state(&self) -> Fetching {
        *self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_state(&self, state: Fetching) {
        *self.fetching.lock().unwrap_or_else(PoisonError::into_inner) = state;
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
}
