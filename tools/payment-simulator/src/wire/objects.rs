//! The JSON objects of answers, webhooks and books.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use crate::domain::{CaptureMethod, Change, Decline, Entry, Event, Intent, Refund, Summary};

pub fn intent(intent: &Intent) -> Value {
    json!({
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount,
        "amount_capturable": intent.capturable(),
        "amount_received": intent.received(),
        "canceled_at": intent.canceled_ms.map(seconds),
        "cancellation_reason": intent.cancellation_reason,
        "capture_method": match intent.capture {
            CaptureMethod::Automatic => "automatic",
            CaptureMethod::Manual => "manual",
        },
        "confirmation_method": "automatic",
        "created": seconds(intent.created_ms),
        "currency": intent.currency.code(),
        "last_payment_error": intent.decline.map(payment_error),
        "latest_charge": intent.charge,
        "livemode": false,
        "metadata": intent.metadata,
        "next_action": null,
        "payment_method": intent.card.as_ref().map(|card| card.as_str()),
        "payment_method_types": ["card"],
        "status": intent.status.code(),
    })
}

/// The same with its charge in it, if there is one yet.
pub fn intent_with_charge(with: &Intent) -> Value {
    let mut shown = intent(with);
    if with.charge.is_some() {
        shown["latest_charge"] = charge(with);
    }
    shown
}

pub fn refund(refund: &Refund) -> Value {
    json!({
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "charge": refund.charge,
        "created": seconds(refund.created_ms),
        "currency": refund.currency.code(),
        "metadata": refund.metadata,
        "payment_intent": refund.intent,
        "reason": refund.reason,
        "status": "succeeded",
    })
}

/// The webhook's body for `change`.
pub fn event(id: &str, event: Event, change: &Change, now_ms: i64, key: Option<&str>) -> Value {
    let object = match event {
        Event::ChargeRefunded => charge(&change.intent),
        _ => intent(&change.intent),
    };
    json!({
        "id": id,
        "object": "event",
        "created": seconds(now_ms),
        "data": {"object": object},
        "livemode": false,
        "pending_webhooks": 1,
        "request": {"id": null, "idempotency_key": key},
        "type": event.code(),
    })
}

pub fn list(url: &str, data: Vec<Value>, has_more: bool) -> Value {
    json!({"object": "list", "url": url, "data": data, "has_more": has_more})
}

/// `next_page` goes back into `page` to read on.
pub fn search_result(url: &str, data: Vec<Value>, next_page: Option<String>) -> Value {
    json!({"object": "search_result", "url": url, "data": data, "has_more": next_page.is_some(), "next_page": next_page})
}

pub fn book_entry(entry: &Entry) -> Value {
    json!({
        "sequence": entry.sequence,
        "kind": entry.kind.code(),
        "account": entry.account.code(),
        "reference": entry.reference,
        "attempt": entry.attempt,
        "intent": entry.intent,
        "charge": entry.charge,
        "refund": entry.refund,
        "amount": entry.amount,
        "currency": entry.currency.code(),
        "at": rfc3339(entry.at_ms),
        "epoch": entry.epoch,
    })
}

pub fn summary(summary: &Summary) -> Value {
    /// References listed by name; more of them would not help the reader.
    const MOST_NAMED: usize = 100;
    let totals = summary.totals.iter().map(|(currency, totals)| {
        let sums = json!({
            "authorised": totals.authorised,
            "captured": totals.captured,
            "voided": totals.voided,
            "refunded": totals.refunded,
            "net": totals.net(),
        });
        ((*currency).to_owned(), sums)
    });
    json!({
        "entries": summary.entries,
        "currencies": totals.collect::<serde_json::Map<_, _>>(),
        "movements": summary.movements,
        "orders": summary.orders,
        "orders_charged": summary.orders_charged,
        "orders_charged_twice": summary.charged_twice.len(),
        "charged_twice": summary.charged_twice.iter().take(MOST_NAMED).collect::<Vec<_>>(),
        "orders_captured_twice": summary.captured_twice.len(),
        "captured_twice": summary.captured_twice.iter().take(MOST_NAMED).collect::<Vec<_>>(),
    })
}

fn charge(intent: &Intent) -> Value {
    json!({
        "id": intent.charge,
        "object": "charge",
        "amount": intent.amount,
        "amount_captured": intent.received(),
        "amount_refunded": intent.refunded,
        "captured": intent.received() > 0,
        "created": seconds(intent.created_ms),
        "currency": intent.currency.code(),
        "livemode": false,
        "metadata": intent.metadata,
        "payment_intent": intent.id,
        "refunded": intent.refunded == intent.taken,
        "status": "succeeded",
    })
}

fn payment_error(decline: Decline) -> Value {
    json!({"type": "card_error", "code": "card_declined", "decline_code": decline.code(), "message": decline.message()})
}

fn seconds(ms: i64) -> i64 {
    ms.div_euclid(1000)
}

fn rfc3339(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}
