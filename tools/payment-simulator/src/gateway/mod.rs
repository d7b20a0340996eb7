//! Carries a call from its parameters to its answer: key, script, decision, one write.
//!
//! Decided here: the order of things around a call. A key in use is refused, a known key is answered from the store, a
//! scripted fault acts before or after the effect, and what the client sees of it is named in [`Reply`]. A call runs to
//! its end even when the client has gone: that is what makes an answer that never arrives worth asking for again.

mod apply;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use common::SharedClock;
use tokio_util::sync::CancellationToken;

use crate::domain::Account;
use crate::faults::{Fault, FaultRates};
use crate::store::{DueKey, Store, StoreError};
use crate::webhooks::Webhooks;
use crate::wire::{Answer, Command};

pub use apply::{Telling, settle};

/// How long a stored answer is kept: the least the public API promises.
pub const KEY_LIFETIME_MS: i64 = 24 * 60 * 60 * 1000;

/// A call as it came from the wire.
#[derive(Clone, Debug)]
pub struct Request {
    /// The wire it came by.
    pub account: Account,
    pub command: Command,
    /// The `Idempotency-Key` and the fingerprint of method, path and parameters.
    pub key: Option<(String, String)>,
    pub epoch: Option<u64>,
}

/// What the client gets to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Answer {
        answer: Answer,
        replayed: bool,
    },
    /// No answer; the connection closes after a long while.
    Hold,
    /// No answer; the connection is reset.
    Reset,
    /// The first half of the answer, then a reset.
    Cut(Answer),
    /// A page of HTML with status 200.
    Html,
}

/// How long the scripted faults take. A test shortens them.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// `tok_slow` waits this long before it acts.
    pub slow: Duration,
    /// An answer that never comes: how long the connection stays open.
    pub hold: Duration,
    /// `tok_webhook_only`: from `processing` to `succeeded`.
    pub settle: Duration,
    /// The first pause before a webhook is tried again; it doubles up to five minutes.
    pub webhook_retry: Duration,
    /// How late a late webhook is.
    pub late: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            slow: Duration::from_secs(5),
            // Longer than any client should wait for a payment (ours waits 10 s).
            hold: Duration::from_secs(30),
            settle: Duration::from_secs(2),
            webhook_retry: Duration::from_secs(1),
            late: Duration::from_secs(180),
        }
    }
}

/// What a write came to: the end of the call, or a fault that stops it before it has done anything.
enum Outcome {
    Done { answer: Answer, replayed: bool, fault: Option<Fault>, early: Vec<DueKey>, wakes: bool },
    Stopped(Fault),
}

/// The gateway behind all routes.
pub struct Gateway {
    pub store: Store,
    pub clock: SharedClock,
    pub timings: Timings,
    pub webhooks: Webhooks,
    /// Faults by rate. A test or a campaign changes them while we run.
    rates: RwLock<Arc<FaultRates>>,
    /// Keys whose first request is running. A key leaves the set before its answer is sent or withheld, so that a
    /// client that has given up waiting finds the stored answer and not "in progress".
    running: Arc<Mutex<HashSet<String>>>,
}

impl Gateway {
    pub fn new(store: Store, clock: SharedClock, timings: Timings, webhooks: Webhooks, rates: FaultRates) -> Self {
        Self { store, clock, timings, webhooks, rates: RwLock::new(Arc::new(rates)), running: Arc::default() }
    }

    pub fn rates(&self) -> Arc<FaultRates> {
        Arc::clone(&self.rates.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From the next call on; the flags count again after a restart.
    pub fn set_rates(&self, rates: FaultRates) {
        *self.rates.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rates);
    }

    /// Executes a call. Faults are played once per intent and call, so a second try gets through.
    pub async fn execute(&self, request: Request, shutdown: &CancellationToken) -> Reply {
        let _claim = match request.key.as_ref().map(|(key, _)| Claim::take(&self.running, key)) {
            Some(None) => return answered(request.account.key_in_use()),
            Some(Some(claim)) => Some(claim),
            None => None,
        };
        match self.attempt(&request).await {
            Ok(Outcome::Stopped(Fault::Slow)) => {
                tokio::select! {
                    () = tokio::time::sleep(self.timings.slow) => {}
                    () = shutdown.cancelled() => return Reply::Reset,
                }
                // The fault is marked as played, so this attempt is not stopped again.
                self.finish(request.account, self.attempt(&request).await).await
            }
            outcome => self.finish(request.account, outcome).await,
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Outcome, StoreError> {
        let at = apply::Instant {
            now_ms: self.clock.now().timestamp_millis(),
            settle_ms: i64::try_from(self.timings.settle.as_millis()).unwrap_or(i64::MAX),
            late_ms: i64::try_from(self.timings.late.as_millis()).unwrap_or(i64::MAX),
            telling: self.webhooks.telling(),
        };
        let (request, rates) = (request.clone(), self.rates());
        self.store.write(move |session| apply::apply(session, &request, &rates, at)).await
    }

    async fn finish(&self, account: Account, outcome: Result<Outcome, StoreError>) -> Reply {
        let (answer, replayed, fault, early) = match outcome {
            Ok(Outcome::Done { answer, replayed, fault, early, wakes }) => {
                if wakes {
                    self.webhooks.wake();
                }
                (answer, replayed, fault, early)
            }
            Ok(Outcome::Stopped(Fault::TooManyBefore)) => return answered(account.too_many()),
            Ok(Outcome::Stopped(Fault::ResetBefore)) => return Reply::Reset,
            Ok(Outcome::Stopped(_)) => return Reply::Hold,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "call failed");
                return answered(account.internal());
            }
        };
        for key in early {
            self.webhooks.deliver_now(key).await;
        }
        match fault {
            Some(Fault::HoldAfter) => Reply::Hold,
            Some(Fault::ErrorAfter) => answered(account.internal()),
            Some(Fault::CutAfter) => Reply::Cut(answer),
            Some(Fault::HtmlAfter) => Reply::Html,
            _ => Reply::Answer { answer, replayed },
        }
    }
}

fn answered(answer: Answer) -> Reply {
    Reply::Answer { answer, replayed: false }
}

/// A key that is being worked on; free again when dropped.
struct Claim {
    running: Arc<Mutex<HashSet<String>>>,
    key: String,
}

impl Claim {
    fn take(running: &Arc<Mutex<HashSet<String>>>, key: &str) -> Option<Self> {
        let taken = running.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
        taken.then(|| Self { running: Arc::clone(running), key: key.to_owned() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
