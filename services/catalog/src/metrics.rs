//! Every metric of this service. Labels have few values: never an id.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use crate::usecases::ports::stock::OpenFindings;

/// Committed transitions of reservations, as this service's part of the order saga.
pub static SAGA_TRANSITIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_saga_transitions_total",
        "committed transitions of reservations",
        &["from", "to", "reason"],
    )
});

/// Units that entered the stock.
pub static UNITS_RECEIVED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_stock_units_received_total", "units that entered the stock", &[])
});

/// Units that a count of the shelves found or missed.
pub static UNITS_CORRECTED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_stock_units_corrected_total", "units found or missed by a count", &["kind"])
});

/// Decisions about a reservation made again because another one came first.
pub static DECISIONS_OVERTAKEN: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_stock_decisions_overtaken_total",
        "decisions made again because another came first",
        &["verb"],
    )
});

/// Commits that decided about new orders, and the orders in them: together they say how many are folded into one.
pub static RESERVATIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_stock_reservations_total",
        "commits that decided about new orders, and the orders in them",
        &["counted"],
    )
});

/// Holds past their time that order-payment was asked about, by its answer: open, over, unknown. `unknown` is an incident.
pub static HOLDS_ASKED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_stock_holds_asked_total",
        "overdue holds by what their owner answered",
        &["answer"],
    )
});

/// Stock rows compared with their movements.
pub static ROWS_AUDITED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_stock_rows_audited_total", "stock rows compared with their movements", &[])
});

/// Movements added up for it.
pub static MOVEMENTS_AUDITED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_stock_movements_audited_total",
        "movements of the stock added up to be compared with its rows",
        &[],
    )
});

static AUDITED_WITHIN: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    chassis::metrics::gauge(
        "shopsphere_stock_audited_within_seconds",
        "time within which every stock row was compared with all of its movements",
        &[],
    )
});

/// Counts found not to follow from their movements; each is an incident.
pub static STOCK_FINDINGS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_stock_findings_total", "counts found not to follow from their movements", &[])
});

static FINDINGS_OPEN: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    chassis::metrics::gauge(
        "shopsphere_stock_findings_open",
        "findings of the stock that nobody has resolved, by the count that is wrong",
        &["counter"],
    )
});

static FINDINGS_OLDEST: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    chassis::metrics::gauge(
        "shopsphere_stock_findings_oldest_seconds",
        "age of the oldest finding of the stock that nobody has resolved, by the count that is wrong",
        &["counter"],
    )
});

/// Shows the findings that are open; a count without any disappears.
pub fn show_findings(open: &[OpenFindings], now: DateTime<Utc>) {
    FINDINGS_OPEN.reset();
    FINDINGS_OLDEST.reset();
    for OpenFindings { counter, count, since } in open {
        FINDINGS_OPEN.with_label_values(&[*counter]).set(i64::try_from(*count).unwrap_or(i64::MAX));
        FINDINGS_OLDEST.with_label_values(&[*counter]).set((now - *since).num_seconds().max(0));
    }
}

/// Shows within which time every row was compared with all of its movements by this process: what is older is not undiscovered.
pub fn show_audited_within(time: Duration) {
    AUDITED_WITHIN.with_label_values::<&str>(&[]).set(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
}

/// Look-ups of a person's interests by outcome: found, none, late, failed, unreadable.
pub static INTEREST_READS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_interest_reads_total", "look-ups of interests by outcome", &["outcome"])
});

/// Product changes given to the search index by outcome: written, stale, refused, impossible.
pub static INDEXED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_index_changes_total",
        "product changes given to the index by outcome",
        &["outcome"],
    )
});

/// Documents of the index written anew because the stock or the trends moved.
pub static STANDINGS_WRITTEN: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_index_standings_total",
        "documents written anew because availability or popularity changed",
        &[],
    )
});

/// From the change of a product until the index has it.
pub static INDEX_LAG: LazyLock<HistogramVec> = LazyLock::new(|| {
    chassis::metrics::histogram(
        "shopsphere_index_lag_seconds",
        "time from a product's change until the index has it",
        &[],
    )
});

/// Revisions told to the feed.
pub static PUBLISHED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_products_published_total", "product revisions told to the feed", &[])
});

/// Revisions that no record of the feed can carry. Each is an incident: their readers never hear of them.
pub static LEFT_OUT: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_products_left_out_total",
        "product revisions too large to be told to the feed",
        &[],
    )
});

/// Documents of the store that cannot be read, each counted once by each process. Each is a product that is left as it was.
pub static UNREADABLE: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_products_unreadable_total",
        "documents of the product store that could not be read",
        &[],
    )
});

/// Product pages made by outcome: made, absent, down. Hits are counted with the requests of their route.
pub static PAGES_MADE: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_pages_made_total", "product pages made by outcome", &["outcome"])
});

/// Product pages taken away before their time by cause: changed, stock, forgotten.
pub static PAGES_DROPPED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_pages_dropped_total", "product pages dropped by cause", &["cause"])
});

/// Memory of the finished pages.
pub static PAGES_BYTES: LazyLock<IntGaugeVec> =
    LazyLock::new(|| chassis::metrics::gauge("shopsphere_pages_bytes", "memory of finished product pages", &[]));

/// Searches by how they were answered: asked (of the index), remembered; and how many of those asked travelled grouped, or fell apart
/// since the answers of their group were too large together.
pub static SEARCHES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_searches_total", "searches by how they were answered", &["how"])
});

/// Calls for recommendations by outcome: answered, late, failed.
pub static STRIPS_ASKED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_strips_asked_total", "calls for recommendations by outcome", &["outcome"])
});

/// Keys that the edge was told to forget by outcome: taken, refused (and told again), given_up (their copies end by their age).
pub static PURGED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_edge_purges_total", "keys told to the edge by outcome", &["outcome"])
});

/// Products of the search index that differed from the store, by kind: missing, behind, ahead, content, unknown. Each was
/// repaired, and each is a question to the pipeline.
pub static INDEX_DRIFT: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_index_drift_total",
        "products of the search index that differed from the store",
        &["kind"],
    )
});

/// Answers that the stand-in gave while the index was away, by what was asked: search, list, categories, completions; and
/// `unable` for those that it could not give.
pub static STOOD_IN: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_stand_in_answers_total",
        "answers of the stand-in while the index was away",
        &["outcome"],
    )
});

/// Memory of the stand-in, as reckoned.
pub static STAND_IN_BYTES: LazyLock<IntGaugeVec> =
    LazyLock::new(|| chassis::metrics::gauge("shopsphere_stand_in_bytes", "memory of the index's stand-in", &[]));

/// Products in the stand-in by state: findable, left_out (a revision found no room).
pub static STAND_IN_PRODUCTS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    chassis::metrics::gauge("shopsphere_stand_in_products", "products of the index's stand-in by state", &["state"])
});
