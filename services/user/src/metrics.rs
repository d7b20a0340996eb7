//! Every metric of the user service.

use std::sync::LazyLock;

use prometheus::{IntCounter, IntCounterVec};

/// Sign-ups by how they ended: registered, known, refused, failed.
pub static SIGN_UPS: LazyLock<IntCounterVec> =
    LazyLock::new(|| chassis::metrics::counter("shopsphere_sign_ups_total", "sign-ups by outcome", &["outcome"]));

/// What the reconciler did with interrupted sign-ups: completed, postponed, abandoned.
pub static RECONCILED_SIGN_UPS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_sign_ups_reconciled_total", "interrupted sign-ups by outcome", &["outcome"])
});

/// Logins by outcome: ok, refused, limited, failed.
pub static LOG_INS: LazyLock<IntCounterVec> =
    LazyLock::new(|| chassis::metrics::counter("shopsphere_log_ins_total", "logins by outcome", &["outcome"]));

/// Refresh tokens presented a second time. Each ended a session.
pub static REPLAYED_REFRESH_TOKENS: LazyLock<IntCounter> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_refresh_tokens_replayed_total", "refresh tokens used twice", &[])
        .with_label_values(&[] as &[&str])
});

/// Clicks answered as accepted and durable.
pub static CLICKS_ACCEPTED: LazyLock<IntCounter> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_clicks_accepted_total", "clicks accepted and durable", &[])
        .with_label_values(&[] as &[&str])
});

/// Clicks refused, by reason.
pub static CLICKS_REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_clicks_refused_total", "clicks refused by reason", &["reason"])
});

/// Clicks answered as accepted and not kept, because the person or the browser does not want it.
pub static CLICKS_NOT_KEPT: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_clicks_not_kept_total", "clicks not kept by reason", &["reason"])
});
