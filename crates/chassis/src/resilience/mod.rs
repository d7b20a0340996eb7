//! How we call what may be slow or down: every outgoing call goes through a [`Guard`], which gives it a deadline, stops calling
//! what keeps failing, and repeats only as much as the dependency can bear.
//!
//! Not decided here: which errors are the dependency's fault (the caller says so for each call), and what to answer instead.

mod breaker;
mod budget;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use common::{ErrorKind, Explain, FieldProblem};
use rand::Rng;
use tokio::time::Instant;

use crate::metrics::{CALLS, RETRIES};
use crate::problem::codes;
use breaker::{Breaker, Permit};
use budget::RetryBudget;

/// Pauses before the second and third try are drawn from zero to these (full jitter), so that callers do not come back
/// together.
const BASE_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
pub struct GuardSettings {
    /// For the whole call with its retries. The request's own deadline shortens it.
    pub deadline: Duration,
    /// Faults in a row that open the breaker.
    pub failure_threshold: u32,
    /// How long an open breaker refuses before one call may probe.
    pub cooldown: Duration,
    /// Tries of one call, the first included.
    pub max_tries: u32,
    /// Retries allowed per call in the long run: 0.1 adds at most a tenth to the load of a failing dependency.
    pub retry_budget: f64,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(1),
            failure_threshold: 5,
            cooldown: Duration::from_secs(2),
            max_tries: 3,
            retry_budget: 0.1,
        }
    }
}

/// Stands before one dependency. One per dependency and process; clones share breaker and budget.
#[derive(Clone)]
pub struct Guard {
    inner: Arc<Inner>,
}

struct Inner {
    target: &'static str,
    settings: GuardSettings,
    breaker: Breaker,
    budget: RetryBudget,
}

/// Why a guarded call gave no result.
#[derive(Debug)]
pub enum CallError<E> {
    /// Not called: it has been failing.
    Open { target: &'static str, retry_after: Duration },
    /// No answer in time. What was asked for may or may not have happened.
    Deadline { target: &'static str },
    /// The dependency's own answer.
    Failed(E),
}

impl Guard {
    /// `target` names the dependency in metrics and logs.
    pub fn new(target: &'static str, settings: GuardSettings) -> Self {
        let breaker = Breaker::new(target, settings.failure_threshold, settings.cooldown);
        Self { inner: Arc::new(Inner { target, settings, breaker, budget: RetryBudget::new(settings.retry_budget) }) }
    }

    /// Calls; every error counts as a fault of the dependency and may be repeated. `operation` must be safe to repeat.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<T, E, F, Fut>(&self, operation: F) -> Result<T, CallError<E>>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.tries(self.inner.settings.max_tries, operation, |_| true).await
    }

    /// Calls; only errors for which `is_fault` holds count against the dependency and are repeated. Others ("no such product")
    /// are answers.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call_if<T, E, F, Fut>(&self, operation: F, is_fault: impl Fn(&E) -> bool) -> Result<T, CallError<E>>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.tries(self.inner.settings.max_tries, operation, is_fault).await
    }

    /// As [`Guard::call_if`], but never repeats: for what is not safe to do twice.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn once_if<T, E, F, Fut>(&self, operation: F, is_fault: impl Fn(&E) -> bool) -> Result<T, CallError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut operation = Some(operation);
        let single = || {
            let operation = operation.take();
            async move {
                match operation {
                    Some(operation) => operation().await,
                    // With one try the closure runs once; a second run would wait for its deadline.
                    None => std::future::pending().await,
                }
            }
        };
        self.tries(1, single, is_fault).await
    }

    async fn tries<T, E, F, Fut>(
        &self,
        max_tries: u32,
        mut operation: F,
        is_fault: impl Fn(&E) -> bool,
    ) -> Result<T, CallError<E>>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let Inner { target, settings, breaker, budget } = &*self.inner;
        let patience = crate::context::remaining().map_or(settings.deadline, |left| left.min(settings.deadline));
        let deadline = Instant::now() + patience;
        budget.earn();
        let mut number = 1;
        loop {
            let permit = match breaker.admit() {
                Ok(permit) => permit,
                Err(retry_after) => {
                    self.count("open");
                    return Err(CallError::Open { target, retry_after });
                }
            };
            let error = match tokio::time::timeout_at(deadline, operation()).await {
                Ok(Ok(value)) => {
                    permit.succeeded();
                    self.count("ok");
                    return Ok(value);
                }
                Ok(Err(error)) if !is_fault(&error) => {
                    permit.succeeded();
                    self.count("refused");
                    return Err(CallError::Failed(error));
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    blame(permit, patience, settings.deadline);
                    self.count("deadline");
                    return Err(CallError::Deadline { target });
                }
            };
            permit.failed();
            let pause = pause_before(number + 1);
            if number >= max_tries || Instant::now() + pause >= deadline || !budget.spend() {
                self.count("failed");
                return Err(CallError::Failed(error));
            }
            RETRIES.with_label_values(&[*target]).inc();
            tokio::time::sleep(pause).await;
            number += 1;
        }
    }

    fn count(&self, outcome: &str) {
        CALLS.with_label_values(&[self.inner.target, outcome]).inc();
    }
}

/// A deadline shortened by the caller's haste says nothing about the dependency, unless at least half of its usual time was given.
fn blame(permit: Permit<'_>, given: Duration, usual: Duration) {
    if given * 2 >= usual { permit.failed() } else { permit.abandoned() }
}

fn pause_before(number: u32) -> Duration {
    let ceiling = BASE_PAUSE.saturating_mul(1 << number.saturating_sub(2).min(8)).min(MAX_PAUSE);
    rand::rng().random_range(Duration::ZERO..=ceiling)
}

impl<E> CallError<E> {
    /// Translates the dependency's own answer, for example a gRPC status into a [`RemoteError`](crate::grpc::RemoteError).
    pub fn map<F>(self, translate: impl FnOnce(E) -> F) -> CallError<F> {
        match self {
            Self::Open { target, retry_after } => CallError::Open { target, retry_after },
            Self::Deadline { target } => CallError::Deadline { target },
            Self::Failed(error) => CallError::Failed(translate(error)),
        }
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { target, .. } => write!(out, "{target} is not called because it keeps failing"),
            Self::Deadline { target } => write!(out, "{target} gave no answer in time"),
            Self::Failed(error) => error.fmt(out),
        }
    }
}

impl<E: std::error::Error> std::error::Error for CallError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open { .. } | Self::Deadline { .. } => None,
            Self::Failed(error) => error.source(),
        }
    }
}

impl<E: Explain> Explain for CallError<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Open { .. } | Self::Deadline { .. } => ErrorKind::Unavailable,
            Self::Failed(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } | Self::Deadline { .. } => codes::DEPENDENCY_DOWN,
            Self::Failed(error) => error.code(),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Open { .. } | Self::Deadline { .. } => self.to_string(),
            Self::Failed(error) => error.detail(),
        }
    }

    fn fields(&self) -> Vec<FieldProblem> {
        match self {
            Self::Open { .. } | Self::Deadline { .. } => Vec::new(),
            Self::Failed(error) => error.fields(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Open { retry_after, .. } => Some(*retry_after),
            Self::Deadline { .. } => None,
            Self::Failed(error) => error.retry_after(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn guard(settings: GuardSettings) -> Guard {
        Guard::new("test", settings)
    }

    fn generous() -> GuardSettings {
        GuardSettings { retry_budget: 10.0, ..GuardSettings::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_fault_is_repeated_and_then_answered() {
        let calls = AtomicU32::new(0);
        let result: Result<u32, CallError<&str>> = guard(generous())
            .call(|| async { if calls.fetch_add(1, Ordering::SeqCst) < 2 { Err("reset") } else { Ok(7) } })
            .await;
        assert_eq!((result.unwrap(), calls.into_inner()), (7, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_no_fault_is_neither_repeated_nor_held_against_the_dependency() {
        let guard = guard(GuardSettings { failure_threshold: 1, ..generous() });
        let calls = AtomicU32::new(0);
        for _ in 0..5 {
            let result: Result<(), _> = guard
                .call_if(
                    || async {
                        calls.fetch_add(1, Ordering::SeqCst);
                        Err("no such product")
                    },
                    |_| false,
                )
                .await;
            assert!(matches!(result, Err(CallError::Failed("no such product"))));
        }
        assert_eq!(calls.into_inner(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_must_not_be_repeated_is_made_once() {
        let calls = AtomicU32::new(0);
        let result: Result<(), _> = guard(generous())
            .once_if(
                || async {
                    calls.fetch_add(1, Ordering::SeqCst);
                    Err("reset")
                },
                |_| true,
            )
            .await;
        assert!(matches!(result, Err(CallError::Failed("reset"))));
        assert_eq!(calls.into_inner(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_covers_the_whole_call() {
        let before = Instant::now();
        let result: Result<(), CallError<&str>> = guard(generous())
            .call(|| async {
                tokio::time::sleep(Duration::from_millis(700)).await;
                Err("slow")
            })
            .await;
        assert!(matches!(result, Err(CallError::Deadline { .. })), "{result:?}");
        assert_eq!(before.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_dependency_gets_at_most_a_tenth_more_calls() {
        let settings = GuardSettings { failure_threshold: u32::MAX, ..GuardSettings::default() };
        let guard = guard(settings);
        let calls = AtomicU32::new(0);
        for _ in 0..1000 {
            let _: Result<(), CallError<&str>> = guard
                .call(|| async {
                    calls.fetch_add(1, Ordering::SeqCst);
                    Err("down")
                })
                .await;
        }
        let extra = calls.into_inner() - 1000;
        assert!((90..=120).contains(&extra), "{extra} retries");
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_breaker_refuses_at_once_until_one_probe_succeeds() {
        let guard = guard(GuardSettings { failure_threshold: 3, max_tries: 1, ..GuardSettings::default() });
        for _ in 0..3 {
            let _: Result<(), CallError<&str>> = guard.call(|| async { Err("down") }).await;
        }
        let refused: Result<(), CallError<&str>> =
            guard.call(|| async { unreachable!("an open breaker does not call") }).await;
        assert!(matches!(refused, Err(CallError::Open { retry_after, .. }) if retry_after <= Duration::from_secs(2)));
        tokio::time::advance(Duration::from_millis(2100)).await;
        let slow_probe = tokio::spawn({
            let guard = guard.clone();
            async move {
                guard
                    .call(|| async {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        Ok::<_, &str>(1)
                    })
                    .await
            }
        });
        tokio::task::yield_now().await;
        let second: Result<u32, CallError<&str>> = guard.call(|| async { Ok(2) }).await;
        assert!(matches!(second, Err(CallError::Open { .. })), "one probe at a time");
        assert_eq!(slow_probe.await.unwrap().unwrap(), 1);
        let third: Result<u32, CallError<&str>> = guard.call(|| async { Ok(3) }).await;
        assert_eq!(third.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_leaves_during_the_probe_does_not_lock_the_breaker() {
        let guard = guard(GuardSettings { failure_threshold: 1, max_tries: 1, ..GuardSettings::default() });
        let _: Result<(), CallError<&str>> = guard.call(|| async { Err("down") }).await;
        tokio::time::advance(Duration::from_secs(3)).await;
        let probe = guard.call(std::future::pending::<Result<(), &str>>);
        assert!(tokio::time::timeout(Duration::from_millis(10), probe).await.is_err());
        let next: Result<u32, CallError<&str>> = guard.call(|| async { Ok(1) }).await;
        assert_eq!(next.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hasty_request_shortens_the_deadline_without_blaming_the_dependency() {
        let guard = guard(GuardSettings { failure_threshold: 1, ..GuardSettings::default() });
        let before = Instant::now();
        let context = crate::context::RequestContext {
            request_id: "".into(),
            path: "/".into(),
            deadline: before + Duration::from_millis(100),
            changes: false,
        };
        let hasty = context.scope(guard.call(std::future::pending::<Result<(), &str>>)).await;
        assert!(matches!(hasty, Err(CallError::Deadline { .. })));
        assert_eq!(before.elapsed(), Duration::from_millis(100));
        assert!(guard.call(|| async { Ok::<_, &str>(()) }).await.is_ok(), "the breaker stays closed");
        let slow: Result<(), CallError<&str>> = guard.call(std::future::pending).await;
        assert!(matches!(slow, Err(CallError::Deadline { .. })));
        let refused: Result<(), CallError<&str>> = guard.call(|| async { Ok(()) }).await;
        assert!(matches!(refused, Err(CallError::Open { .. })), "its own full deadline counts");
    }
}
