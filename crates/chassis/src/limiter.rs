//! A small rate limiter inside the process, per key: the second belt behind the edge, and the only one that closes when in
//! doubt. For routes that cost others something: login, sign-up, password reset.
//!
//! Each key has a bucket that fills evenly. When the table of keys is full and no bucket in it is idle, a new key is refused:
//! an attacker with many keys must not open the door for all of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::{ErrorKind, Explain};
use tokio::time::Instant;

use crate::metrics::LIMITED;
use crate::problem::codes;

#[derive(Clone, Copy, Debug)]
pub struct LimiterSettings {
    /// Requests per minute and key in the long run; at least 1.
    pub per_minute: u32,
    /// Requests at once after a pause; at least 1.
    pub burst: u32,
    /// Keys remembered, about 100 bytes each.
    pub max_keys: usize,
}

/// Counts by a hash of the key; the key itself (an address, a mail) is not kept.
pub struct Limiter {
    name: &'static str,
    settings: LimiterSettings,
    hasher: std::hash::RandomState,
    buckets: Mutex<HashMap<u64, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests; wait before the next one")]
pub struct TooMany {
    pub retry_after: Duration,
}

impl Explain for TooMany {
    fn kind(&self) -> ErrorKind {
        ErrorKind::TooMany
    }

    fn code(&self) -> &'static str {
        codes::TOO_MANY_REQUESTS
    }

    fn retry_after(&self) -> Option<Duration> {
        Some(self.retry_after)
    }
}

impl Limiter {
    /// `name` is a label of the metric.
    pub fn new(name: &'static str, settings: LimiterSettings) -> Self {
        Self { name, settings, hasher: std::hash::RandomState::new(), buckets: Mutex::default() }
    }

    /// Takes one request of `key`.
    ///
    /// # Errors
    /// [`TooMany`] when its bucket is empty, or when no more keys can be watched.
    pub fn admit<K: Hash>(&self, key: &K) -> Result<(), TooMany> {
        self.admit_at(key, Instant::now()).inspect_err(|_| LIMITED.with_label_values(&[self.name]).inc())
    }

    fn admit_at<K: Hash>(&self, key: &K, now: Instant) -> Result<(), TooMany> {
        use std::hash::BuildHasher;
        let key = self.hasher.hash_one(key);
        let full = f64::from(self.settings.burst.max(1));
        let per_second = f64::from(self.settings.per_minute.max(1)) / 60.0;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.contains_key(&key) && buckets.len() >= self.settings.max_keys {
            // A full bucket says the same as no bucket.
            buckets.retain(|_, bucket| bucket.filled(now, per_second, full) < full);
            if buckets.len() >= self.settings.max_keys {
                return Err(TooMany { retry_after: Duration::from_secs(60) });
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: full, at: now });
        bucket.tokens = bucket.filled(now, per_second, full);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return Err(TooMany { retry_after: Duration::from_secs_f64((1.0 - bucket.tokens) / per_second) });
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

impl Bucket {
    fn filled(self, now: Instant, per_second: f64, full: f64) -> f64 {
        (self.tokens + now.saturating_duration_since(self.at).as_secs_f64() * per_second).min(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_burst_and_then_its_rate() {
        let limiter = Limiter::new("test", LimiterSettings { per_minute: 6, burst: 2, max_keys: 10 });
        let start = Instant::now();
        assert!(limiter.admit_at(&"ada", start).is_ok() && limiter.admit_at(&"ada", start).is_ok());
        let refused = limiter.admit_at(&"ada", start).unwrap_err();
        assert_eq!(refused.retry_after.as_secs(), 10);
        assert!(limiter.admit_at(&"bob", start).is_ok(), "keys are independent");
        assert!(limiter.admit_at(&"ada", start + Duration::from_secs(9)).is_err());
        assert!(limiter.admit_at(&"ada", start + Duration::from_secs(11)).is_ok());
    }

    #[test]
    fn a_flood_of_keys_closes_the_door_for_new_ones_until_some_are_idle() {
        let limiter = Limiter::new("test", LimiterSettings { per_minute: 60, burst: 1, max_keys: 3 });
        let start = Instant::now();
        for key in 0..3 {
            assert!(limiter.admit_at(&key, start).is_ok());
        }
        assert!(limiter.admit_at(&3, start).is_err());
        assert!(limiter.admit_at(&3, start + Duration::from_secs(2)).is_ok());
        assert!(limiter.buckets.lock().unwrap().len() <= 3);
    }
}
