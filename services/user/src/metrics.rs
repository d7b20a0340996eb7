//! Every metric of the user service.

use std::sync::LazyLock;

use prometheus::{IntCounter, IntCounterVec, IntGauge};

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

/// Requests with clicks that were refused whole, by reason.
pub static CLICK_REQUESTS_REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_click_requests_refused_total",
        "requests with clicks that were refused whole, by reason",
        &["reason"],
    )
});

/// Clicks whose browser's clock was not believed: future, stale.
pub static CLICKS_WITH_A_WRONG_CLOCK: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_clicks_wrong_clock_total",
        "clicks whose time was clamped to the window before their receipt",
        &["told"],
    )
});

/// Clicks that were marked, because their browser says it is a program.
pub static CLICKS_OF_BOTS: LazyLock<IntCounter> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_clicks_of_bots_total", "clicks of browsers that are programs", &[])
        .with_label_values(&[] as &[&str])
});

/// Records that the broker did not confirm and that were handed to the disk, by what became of them: kept, no-room, disk. Good ones that
/// find no room beside refused ones are handed over once more, alone.
pub static SPILLED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_clicks_spilled_records_total",
        "records of clicks that the broker did not confirm, by outcome",
        &["outcome"],
    )
});

/// Records of refused clicks that neither the broker nor the disk took, beside good clicks that one of them did. They are gone; the
/// clicks are counted as refused all the same.
pub static REFUSED_CLICKS_LOST: LazyLock<IntCounter> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_clicks_refused_lost_records_total", "records of refused clicks not kept", &[])
        .with_label_values(&[] as &[&str])
});

/// Spilled records that the broker has confirmed since.
pub static REPLAYED: LazyLock<IntCounter> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_clicks_replayed_records_total", "spilled records confirmed later", &[])
        .with_label_values(&[] as &[&str])
});

/// Bytes on this machine's disk that wait for the broker.
pub static SPILL_BYTES: LazyLock<IntGauge> = LazyLock::new(|| {
    chassis::metrics::gauge("shopsphere_clicks_spill_bytes", "bytes of clicks on disk that wait for the broker", &[])
        .with_label_values(&[] as &[&str])
});

/// Since when the oldest of them wait, those of the file that is still written to as well; 0 while none do. A time and not an age, so
/// that it is right between two changes.
pub static SPILL_OLDEST: LazyLock<IntGauge> = LazyLock::new(|| {
    chassis::metrics::gauge(
        "shopsphere_clicks_spill_oldest_timestamp_seconds",
        "since when the oldest clicks on disk wait for the broker, in seconds since 1970; 0 while none do",
        &[],
    )
    .with_label_values(&[] as &[&str])
});
