//! Retries as a share of calls: a dependency in trouble must not get three times its load. Each call earns a fraction of a
//! retry; a retry spends a whole one.

use std::sync::atomic::{AtomicI64, Ordering};

/// Fractions are counted in thousandths.
const ONE: i64 = 1000;

/// Retries available after a quiet start, and the most that can be saved up: a short hiccup is bridged, an outage is not fed.
const RESERVE: i64 = 10;

pub(super) struct RetryBudget {
    earned_per_call: i64,
    balance: AtomicI64,
}

impl RetryBudget {
    /// `ratio`: retries per call, for example 0.1.
    pub(super) fn new(ratio: f64) -> Self {
        Self { earned_per_call: (ratio.clamp(0.0, 10.0) * ONE as f64) as i64, balance: AtomicI64::new(RESERVE * ONE) }
    }

    pub(super) fn earn(&self) {
        let ceiling = RESERVE * ONE;
        let _ = self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| {
            Some((balance + self.earned_per_call).min(ceiling))
        });
    }

    /// Whether one more try may be made.
    pub(super) fn spend(&self) -> bool {
        self.balance
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |balance| (balance >= ONE).then_some(balance - ONE))
            .is_ok()
    }
}
