//! Every metric of this service. Labels have few values: never an id.

use std::sync::LazyLock;

use prometheus::IntCounterVec;

/// Committed transitions of reservations, as this service's part of the order saga.
pub static SAGA_TRANSITIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_saga_transitions_total", "committed transitions of reservations", &["from", "to", "reason"])
});

/// Units that entered the stock.
pub static UNITS_RECEIVED: LazyLock<IntCounterVec> =
    LazyLock::new(|| chassis::metrics::counter("shopsphere_stock_units_received_total", "units that entered the stock", &[]));

/// Decisions about a reservation made again because another one came first.
pub static DECISIONS_OVERTAKEN: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_stock_decisions_overtaken_total", "decisions made again because another came first", &["verb"])
});
