//! Tells the merchant what happened: signed, at least once, in no particular order.
//!
//! A webhook is queued in the transaction that caused it and leaves the queue when the merchant has answered 2xx or when
//! [`MOST_TRIES`] are used up. Between two tries the pause doubles from `webhook_retry` to [`LONGEST_PAUSE_MS`]. A crash
//! between the merchant's answer and the removal delivers again, which at-least-once allows.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use common::SharedClock;
use futures::future::join_all;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::gateway::Telling;
use crate::store::{Delivery, DueKey, Store, StoreError};

/// With pauses of at most five minutes this is about three days, as the public gateways do it.
const MOST_TRIES: u32 = 870;
const LONGEST_PAUSE_MS: i64 = 5 * 60 * 1000;
/// Deliveries under way at once: enough for a fast receiver, harmless for a slow one.
const AT_ONCE: usize = 16;
/// A receiver that takes longer has not accepted.
const PATIENCE: Duration = Duration::from_secs(5);
/// The worker looks at the queue at least this often, also when nobody woke it.
const LOOK_MS: i64 = 1_000;

/// Where webhooks go and how they are signed. Without a URL nothing is queued at all.
#[derive(Clone)]
pub struct Webhooks {
    inner: Arc<Inner>,
}

/// Where the events of one account go.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// `None`: nothing is queued.
    pub url: Option<String>,
    pub secret: String,
}

struct Inner {
    intents: Target,
    square: Target,
    client: reqwest::Client,
    store: Store,
    clock: SharedClock,
    first_pause: Duration,
    wake: Notify,
}

impl Webhooks {
    /// # Errors
    /// When no HTTP client can be made (no TLS provider).
    pub fn new(
        intents: Target,
        square: Target,
        store: Store,
        clock: SharedClock,
        first_pause: Duration,
    ) -> Result<Self, reqwest::Error> {
        // Somebody else in the process may have chosen the provider already; either is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A redirect could carry a signed payload to a stranger.
        let client =
            reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build()?;
        let inner = Inner { intents, square, client, store, clock, first_pause, wake: Notify::new() };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub fn telling(&self) -> Telling {
        Telling { intents: self.inner.intents.url.is_some(), square: self.inner.square.url.is_some() }
    }

    /// Something new is in the queue.
    pub fn wake(&self) {
        self.inner.wake.notify_one();
    }

    /// Delivers one queued webhook ahead of its turn. If that fails the queue takes care of it.
    pub async fn deliver_now(&self, key: DueKey) {
        if let Ok(Some(delivery)) = self.inner.store.read(move |reading| reading.delivery(key)).await {
            let delivered = self.deliver(key, delivery).await;
            self.write_down(vec![delivered]).await;
        }
    }

    /// Works through the queue until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let telling = self.telling();
        if !telling.intents && !telling.square {
            return;
        }
        while !shutdown.is_cancelled() {
            let pause = match self.deliver_due().await {
                Ok(0) => self.until_next_due().await,
                Ok(_) => continue,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "webhook queue could not be read");
                    Duration::from_secs(1)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.inner.wake.notified() => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    async fn deliver_due(&self) -> Result<usize, StoreError> {
        let now = self.now_ms();
        let waiting = self.inner.store.read(|reading| reading.deliveries(AT_ONCE)).await?;
        let due: Vec<_> = waiting.into_iter().filter(|((due, _), _)| *due <= now.unsigned_abs()).collect();
        let count = due.len();
        // One write for all of them: each would cost a flush of its own, and the payments wait for the same disk.
        let delivered = join_all(due.into_iter().map(|(key, delivery)| self.deliver(key, delivery))).await;
        self.write_down(delivered).await;
        Ok(count)
    }

    async fn until_next_due(&self) -> Duration {
        let first = self.inner.store.read(|reading| reading.deliveries(1)).await.unwrap_or_default();
        let due = first.first().map_or(u64::MAX, |((due, _), _)| *due);
        let wait = due.saturating_sub(self.now_ms().unsigned_abs());
        Duration::from_millis(wait.min(LOOK_MS.unsigned_abs()))
    }

    async fn deliver(&self, key: DueKey, delivery: Delivery) -> Delivered {
        let accepted = self.post(&delivery).await;
        let tries = delivery.tries + 1;
        if !accepted {
            tracing::warn!(event.id = delivery.event_id, event.kind = delivery.kind, tries, "webhook not accepted");
        }
        let again = !accepted && tries < MOST_TRIES;
        let next = again.then(|| (self.now_ms().saturating_add(self.pause_ms(tries)), Delivery { tries, ..delivery }));
        Delivered { key, next }
    }

    async fn write_down(&self, delivered: Vec<Delivered>) {
        if delivered.is_empty() {
            return;
        }
        let written = self.inner.store.write(move |session| {
            for Delivered { key, next } in &delivered {
                // Whoever removes the row decides about its return, so that two deliverers do not make two rows of one.
                if let (true, Some((due, delivery))) = (session.remove_delivery(*key)?, next) {
                    session.put_delivery(*due, delivery)?;
                }
            }
            Ok(())
        });
        if let Err(error) = written.await {
            tracing::error!(error = &error as &dyn std::error::Error, "webhook outcome could not be stored");
        }
    }

    async fn post(&self, delivery: &Delivery) -> bool {
        let target = if delivery.square { &self.inner.square } else { &self.inner.intents };
        let Some(url) = &target.url else { return false };
        let body = delivery.payload.as_bytes();
        let (header, signature) = if delivery.square {
            ("x-square-hmacsha256-signature", sign_square(&target.secret, url, body))
        } else {
            ("stripe-signature", sign(&target.secret, self.inner.clock.now().timestamp(), body))
        };
        let request = self.inner.client.post(url).header("content-type", "application/json; charset=utf-8");
        let answer = request.header(header, signature).body(delivery.payload.clone()).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    fn pause_ms(&self, tries: u32) -> i64 {
        let first = i64::try_from(self.inner.first_pause.as_millis()).unwrap_or(LONGEST_PAUSE_MS).max(1);
        // 2^20 of the smallest pause is already beyond the longest.
        first.saturating_mul(1 << tries.saturating_sub(1).min(20)).min(LONGEST_PAUSE_MS)
    }

    fn now_ms(&self) -> i64 {
        self.inner.clock.now().timestamp_millis()
    }
}

/// What came of one delivery: gone, or again at a time.
struct Delivered {
    key: DueKey,
    next: Option<(i64, Delivery)>,
}

/// Base64 of HMAC-SHA256 over the notification URL and the body.
pub fn sign_square(secret: &str, url: &str, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(url.as_bytes());
    mac.update(body);
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

/// `t=<seconds>,v1=<hex of HMAC-SHA256 over "<seconds>.<body>">`.
pub fn sign(secret: &str, at_seconds: i64, body: &[u8]) -> String {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(format!("{at_seconds}.").as_bytes());
    mac.update(body);
    format!("t={at_seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_signature_covers_url_and_body() {
        // Computed with `printf 'https://shop.example/hook{"a":1}' | openssl dgst -sha256 -hmac key -binary | base64`.
        let expected = "1yFa+dppT3BXmdwej089VivWy7u87Pi0p6bNtDbuZoQ=";
        assert_eq!(sign_square("key", "https://shop.example/hook", b"{\"a\":1}"), expected);
        assert_ne!(sign_square("key", "https://shop.example/hook/", b"{\"a\":1}"), expected);
    }

    #[test]
    fn the_signature_covers_time_and_body() {
        // Computed with `printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac whsec_test`.
        let expected = "38877139021993b830af32feea6e18a8da83eb2f6e49ee50bd9e4cf4ca4d3789";
        assert_eq!(sign("whsec_test", 1_700_000_000, b"{\"a\":1}"), format!("t=1700000000,v1={expected}"));
        assert_ne!(sign("whsec_test", 1_700_000_001, b"{\"a\":1}"), format!("t=1700000001,v1={expected}"));
        assert_ne!(sign("whsec_test", 1_700_000_000, b"{\"a\":1}\n"), format!("t=1700000000,v1={expected}"));
    }
}
