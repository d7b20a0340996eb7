//! What of an event an operator sees. What says something about a person is covered with stars; an event that is not
//! described here shows its kind and key only, so that a new field is never shown by accident.

use contracts::{Event, common::v1::Money, order::v1::OrderLine};
use serde_json::{Value, json};

/// In the place of what is not shown.
const COVERED: &str = "***";

/// The event as JSON.
pub fn shown(event: &Event) -> Value {
    let body = match event {
        Event::UserRegistered(event) => json!({
            "user_id": COVERED,
            "residency_region": event.residency_region,
            "registered_at_ms": event.registered_at_ms,
            "personalisation_consent": COVERED,
        }),
        Event::OrderCreated(event) => json!({
            "order_id": event.order_id,
            "user_id": COVERED,
            "lines": lines(&event.lines),
            "total": event.total.as_ref().map(money),
            "created_at_ms": event.created_at_ms,
            "ship_to_country": COVERED,
        }),
        Event::OrderPaymentPending(event) => json!({ "order_id": event.order_id, "attempt": event.attempt }),
        Event::OrderCompleted(event) => json!({
            "order_id": event.order_id,
            "user_id": COVERED,
            "lines": lines(&event.lines),
            "total": event.total.as_ref().map(money),
            "completed_at_ms": event.completed_at_ms,
        }),
        Event::OrderCompensated(event) => json!({
            "order_id": event.order_id,
            "reason": event.reason().as_str_name().trim_start_matches("COMPENSATION_REASON_"),
            "compensated_at_ms": event.compensated_at_ms,
        }),
        Event::StockReserved(event) => json!({ "order_id": event.order_id }),
        Event::StockRejected(event) => json!({ "order_id": event.order_id, "sku": event.sku }),
        Event::StockReleased(event) => json!({ "order_id": event.order_id }),
        Event::StockFinalised(event) => json!({ "order_id": event.order_id }),
        Event::ShipmentCreated(event) => json!({
            "order_id": event.order_id,
            "shipment_id": event.shipment_id,
            "fulfilment_centre": event.fulfilment_centre,
            "created_at_ms": event.created_at_ms,
        }),
        other => json!({ "key": key(other) }),
    };
    json!({ "kind": event.kind(), "body": body })
}

/// The key of events about one person is that person.
fn key(event: &Event) -> &str {
    if event.topic().key == "user_id" { COVERED } else { event.key() }
}

fn lines(lines: &[OrderLine]) -> Vec<Value> {
    lines.iter().map(|line| json!({ "sku": line.sku, "quantity": line.quantity })).collect()
}

/// Units and billionths of one, exactly as they travel; a service that reads them knows the digits of the currency.
fn money(money: &Money) -> Value {
    json!({ "currency": money.currency, "units": money.units, "nanos": money.nanos })
}

#[cfg(test)]
mod tests {
    use contracts::{order, user};

    use super::*;

    const PERSON: &str = "6f9619ff-8b86-4011-b42d-00c04fc964ff";

    #[test]
    fn nothing_about_a_person_is_shown() {
        let registered = user::v1::UserRegistered {
            user_id: PERSON.to_owned(),
            residency_region: "here".to_owned(),
            registered_at_ms: 1,
            personalisation_consent: true,
        };
        let created = order::v1::OrderCreated {
            order_id: "o1".to_owned(),
            user_id: PERSON.to_owned(),
            lines: vec![OrderLine { sku: "LAMP-1".to_owned(), quantity: 2, options: Vec::new() }],
            ship_to_country: "IS".to_owned(),
            ..Default::default()
        };
        for event in [Event::from(registered), Event::from(created)] {
            let text = shown(&event).to_string();
            assert!(!text.contains(PERSON) && !text.contains("\"IS\"") && !text.contains("true"), "{text}");
            assert!(text.contains(event.kind()), "{text}");
        }
    }

    #[test]
    fn what_an_operator_needs_is_shown() {
        let event = order::v1::OrderCompensated {
            order_id: "o1".to_owned(),
            reason: order::v1::CompensationReason::Expired as i32,
            compensated_at_ms: 7,
        };
        let expected = json!({
            "kind": "order.compensated",
            "body": { "order_id": "o1", "reason": "EXPIRED", "compensated_at_ms": 7 },
        });
        assert_eq!(shown(&event.into()), expected);
    }
}
