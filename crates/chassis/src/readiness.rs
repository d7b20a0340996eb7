//! Whether this process can do its work now: named checks, asked together, each with a bound on its time.
//!
//! Two lists. *Ready* decides whether a balancer sends requests here. *Writable* decides with it whether this site may be
//! called the active one (`/healthz/site`). Liveness looks at no check at all, else the failure of a database would restart
//! the whole fleet.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::future::join_all;

/// A balancer asks every second or two; a check that takes longer than this counts as failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// A list of named checks. Clones share the list.
#[derive(Clone, Default)]
pub struct Checks(Arc<RwLock<Vec<(&'static str, Check)>>>);

/// What one check said.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    pub name: &'static str,
    pub ok: bool,
    /// Empty when `ok`. Shown on the admin port only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Checks {
    /// Adds a check; `ask` is called at each probe and bounded to one second.
    pub fn add<F, Fut, E>(&self, name: &'static str, ask: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        let check: Check = Arc::new(move || {
            let answer = ask();
            Box::pin(async move { answer.await.map_err(|error| error.to_string()) })
        });
        self.0.write().unwrap_or_else(PoisonError::into_inner).push((name, check));
    }

    /// Asks all checks at once.
    pub async fn ask(&self) -> Vec<Finding> {
        let checks = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        join_all(checks.into_iter().map(|(name, check)| async move {
            let reason = match tokio::time::timeout(CHECK_TIMEOUT, check()).await {
                Ok(Ok(())) => String::new(),
                Ok(Err(reason)) => reason,
                Err(_) => format!("no answer within {} ms", CHECK_TIMEOUT.as_millis()),
            };
            Finding { name, ok: reason.is_empty(), reason }
        }))
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_counts_as_failed_after_a_second() {
        let checks = Checks::default();
        checks.add("redis", || async { Ok::<_, String>(()) });
        checks.add("kafka", || async { Err("no broker") });
        checks.add("postgres", std::future::pending::<Result<(), String>>);
        let before = tokio::time::Instant::now();
        let findings = checks.ask().await;
        assert_eq!(before.elapsed(), CHECK_TIMEOUT);
        assert_eq!(
            findings.iter().map(|finding| (finding.name, finding.ok)).collect::<Vec<_>>(),
            [("redis", true), ("kafka", false), ("postgres", false)]
        );
        assert_eq!(findings[1].reason, "no broker");
    }
}
