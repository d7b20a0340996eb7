//! Every metric of this service. Labels have few values: never an id.

use std::sync::LazyLock;

use prometheus::{IntCounter, IntCounterVec, register_int_counter, register_int_counter_vec};

/// Transitions of reservations, as part of the order saga.
pub static RESERVATION_TRANSITIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "shopsphere_saga_transitions_total",
        "Transitions of a saga participant that were committed.",
        &["from", "to", "reason"]
    )
    // Fails only when two metrics share a name, which every test of this crate would show.
    .expect("metric names of a process are distinct")
});

/// Units that entered the stock.
pub static UNITS_RECEIVED: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!("shopsphere_stock_units_received_total", "Units that entered the stock.")
        .expect("metric names of a process are distinct")
});

/// Times a decision was overtaken by another one and was made again.
pub static DECISIONS_OVERTAKEN: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!("shopsphere_stock_decisions_overtaken_total", "Decisions about stock made again because another one came first.")
        .expect("metric names of a process are distinct")
});
