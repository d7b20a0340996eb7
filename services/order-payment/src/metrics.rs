//! Every metric of this service.

use std::sync::LazyLock;

use prometheus::{IntCounterVec, IntGaugeVec};

use crate::usecases::ports::Backlog;

static TRANSITIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_saga_transitions_total",
        "steps of orders from one status to the next",
        &["from", "to", "reason"],
    )
});

static ATTEMPTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_payment_attempts_total", "payment attempts by outcome", &["outcome"])
});

static SCREENED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_payment_screened_total",
        "charges that were refused or made to wait before the gateway was asked, or that the fraud check said nothing about",
        &["outcome"],
    )
});

static GATEWAY_CALLS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_gateway_calls_total",
        "calls to the payment gateway by meaning of the answer",
        &["operation", "answer"],
    )
});

static REPLAYS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_idempotency_replays_total",
        "requests answered from a stored answer",
        &["route"],
    )
});

static REFUNDS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_refunds_total", "steps of refunds by target and state", &["target", "state"])
});

static INTAKE: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter(
        "shopsphere_order_intake_refused_total",
        "orders turned away before a commit",
        &["reason"],
    )
});

static WEBHOOKS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_payment_webhooks_total", "verified webhooks by novelty", &["kind"])
});

static ALARMS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    chassis::metrics::counter("shopsphere_payment_alarms_total", "payment incidents that need a person", &["kind"])
});

static RECONCILED_AT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "when the gateway's books were last compared with ours (Unix seconds)";
    chassis::metrics::gauge("shopsphere_payment_reconciled_timestamp_seconds", help, &["gateway"])
});

static SEALED_AT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    chassis::metrics::gauge(
        "shopsphere_ledger_sealed_timestamp_seconds",
        "when the books were last sealed (Unix seconds)",
        &["ledger"],
    )
});

static OPEN: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    chassis::metrics::gauge(
        "shopsphere_saga_open",
        "orders, attempts, findings and webhooks that are open, and parcels that are owed for long",
        &["what", "state"],
    )
});

static OLDEST: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    chassis::metrics::gauge(
        "shopsphere_saga_oldest_seconds",
        "age of the oldest open order, attempt and finding, and of the oldest payment whose goods are owed",
        &["what", "state"],
    )
});

static SETTLEMENT_DIFFERENCE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "the gateway's file of the last settled day less our ledger, minor units";
    chassis::metrics::gauge("shopsphere_payment_settlement_difference_minor", help, &["gateway", "currency"])
});

static SETTLED_UNTIL: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "when the last settled day was closed by the gateway (Unix seconds)";
    chassis::metrics::gauge("shopsphere_payment_settled_timestamp_seconds", help, &["gateway"])
});

/// A day was settled with this difference.
pub fn settlement_difference(gateway: &str, currency: &str, minor: i64) {
    SETTLEMENT_DIFFERENCE.with_label_values(&[gateway, currency]).set(minor);
}

/// Until then every movement at the gateway has been compared with its file.
pub fn settled_until(gateway: &str, at_unix: i64) {
    SETTLED_UNTIL.with_label_values(&[gateway]).set(at_unix);
}

/// An order moved. `from` is `None` when it was placed.
pub fn transition(from: Option<&str>, to: &str, reason: &str) {
    TRANSITIONS.with_label_values(&[from.unwrap_or("NONE"), to, reason]).inc();
}

/// An attempt ended, or became unknown for a while.
pub fn attempt(outcome: &str) {
    ATTEMPTS.with_label_values(&[outcome]).inc();
}

/// Shows at nought what alerts count, so that the first of it is an increase.
pub fn begin() {
    for outcome in ["waits", "card_testing", "fraud_check", "unassessed"] {
        SCREENED.with_label_values(&[outcome]);
    }
    for outcome in ["captured", "declined", "refused"] {
        ATTEMPTS.with_label_values(&[outcome]);
    }
    for kind in ["gateway", "orphan", "refund", "settlement", "webhook"] {
        ALARMS.with_label_values(&[kind]);
    }
}

/// A charge was not simply tried: what held or refused it, or that nobody looked at it.
pub fn screened(outcome: &str) {
    SCREENED.with_label_values(&[outcome]).inc();
}

/// The gateway answered, or did not.
pub fn gateway_call(operation: &str, answer: &str) {
    GATEWAY_CALLS.with_label_values(&[operation, answer]).inc();
}

/// A request got the answer it got before.
pub fn replay(route: &str) {
    REPLAYS.with_label_values(&[route]).inc();
}

/// A refund came to be, or ended.
pub fn refund(target: &str, state: &str) {
    REFUNDS.with_label_values(&[target, state]).inc();
}

/// An order was turned away because too many wait to be committed.
pub fn intake_full() {
    INTAKE.with_label_values(&["full"]).inc();
}

/// A verified webhook: `new`, `again` or `clash`.
pub fn webhook(kind: &str) {
    WEBHOOKS.with_label_values(&[kind]).inc();
}

/// Something that a person must look at.
pub fn alarm(kind: &str) {
    ALARMS.with_label_values(&[kind]).inc();
}

pub fn sealed(at_unix: i64) {
    SEALED_AT.with_label_values(&["main"]).set(at_unix);
}

pub fn reconciled(at_unix: i64) {
    RECONCILED_AT.with_label_values(&["main"]).set(at_unix);
}

/// Shows what is open; states that are empty now disappear.
pub fn show_backlog(backlog: &Backlog) {
    OPEN.reset();
    OLDEST.reset();
    for row in &backlog.open {
        OPEN.with_label_values(&[row.what, &row.state]).set(row.count);
        OLDEST.with_label_values(&[row.what, &row.state]).set(row.oldest_s);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_alarm_of_each_kind_is_an_increase() {
        super::begin();
        let shown = prometheus::TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap();
        for kind in ["gateway", "orphan", "refund", "settlement", "webhook"] {
            assert!(shown.contains(&format!("shopsphere_payment_alarms_total{{kind=\"{kind}\"}} ")), "{kind}");
        }
    }
}
