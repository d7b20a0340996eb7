//! Every metric of this service.

use std::sync::LazyLock;

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

/// Clicks by what became of their record: folded, repeated, refused, bot.
pub static REPORTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_click_reports_total", "click records by what became of them", &["outcome"])
});

/// Records that were put aside, by reason.
pub static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_click_reports_refused_total",
        "click records put aside because they cannot be counted, by reason",
        &["reason"],
    )
});

/// Clicks of records that count: left out as unknown-type or too-many, or given another time as future or stale.
pub static ODD_CLICKS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_click_oddities_total",
        "clicks that were left out of their report or given another time, by reason",
        &["reason"],
    )
});

/// Events that were left out: known (they came again in another record and were counted once), in-doubt (so late that nobody knows
/// whether they were counted).
pub static REPEATED_EVENTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_click_repeated_events_total",
        "events that were left out because they were counted, or may have been, by why",
        &["why"],
    )
});

/// Batches that were not counted as they came: hole (earlier records come first), overtaken (somebody else has counted meanwhile).
pub static BATCHES_NOT_COUNTED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_click_batches_not_counted_total",
        "batches of clicks that were not counted as they came, by reason",
        &["reason"],
    )
});

/// Time to count one batch, with both round trips.
pub static FOLD_DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    chassis::metrics::histogram("shopsphere_interest_fold_duration_seconds", "time to count one batch of clicks", &[])
});

/// From the receipt of a record to its being visible in Redis.
pub static FRESHNESS: LazyLock<HistogramVec> = LazyLock::new(|| {
    chassis::metrics::histogram(
        "shopsphere_interest_freshness_seconds",
        "from the receipt of a click to its rating",
        &[],
    )
});

/// Answers by kind and whether they were degraded.
pub static RECOMMENDATIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_recommendations_total", "recommendation answers", &["kind", "degraded"])
});

/// Lists that were made to stay, by what became of them: written, not-first (another process was first, the person has clicked since, or they
/// are known no more), no-room (too many wait to be written, so this one is made anew at the next question).
pub static KEPT_LISTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_kept_lists_total", "lists made to stay, by what became of them", &["outcome"])
});

/// Steps of visits that the index of this process took in.
pub static VISIT_STEPS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_visit_steps_total", "steps of visits taken into the index", &[])
});

/// Times that the stream of visits did not reach back to the index: steps between the two are missing in it for good.
pub static VISIT_GAPS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_visit_gaps_total",
        "times that steps of visits were forgotten before the index took them in",
        &[],
    )
});

/// Products learned from the catalog.
pub static PRODUCTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_products_learned_total",
        "product changes by what became of them",
        &["outcome"],
    )
});

/// Paid orders by what became of them: counted in an experiment, other (of nobody in one, or counted before), refused.
pub static EXPERIMENT_ORDERS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_experiment_orders_total",
        "paid orders by what became of them in experiments",
        &["outcome"],
    )
});

/// Sums of running experiments as they stand in the store; each answering process tells the same.
pub static EXPERIMENT_SUMS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    chassis::metrics::gauge(
        "shopsphere_experiment_sum",
        "persons, buyers, orders, revenue in the smallest unit, degraded and withdrew, per experiment and arm",
        &["experiment", "arm", "of"],
    )
});

/// People in experiments who were written down, again or for the first time.
pub static EXPOSURES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_experiment_exposures_total", "people in experiments written down", &[])
});
