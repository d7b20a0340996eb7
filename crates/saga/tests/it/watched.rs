//! The watch: real histories pass, and one that the table does not allow is named with its record.

use common::{MessageId, Region};
use contracts::{Envelope, Event, catalog, order};
use saga::monitor::{Monitor, Seen};

fn seen(event: impl Into<Event>, version: i64, at_ms: i64) -> Seen {
    let event = event.into();
    let envelope = Envelope {
        id: MessageId::derive(event.key(), version, event.kind()),
        region: Region::ALL[0],
        epoch: 1,
        version,
        occurred_at_ms: at_ms,
        source_lsn: 0,
        traceparent: None,
    };
    Seen { place: format!("{} 0 {at_ms}", event.kind()), event, envelope }
}

fn created() -> order::v1::OrderCreated {
    let lines = vec![order::v1::OrderLine { sku: "A".to_owned(), quantity: 1 }];
    order::v1::OrderCreated { order_id: "o".to_owned(), user_id: "u".to_owned(), lines, ..Default::default() }
}

fn completed() -> order::v1::OrderCompleted {
    let lines = vec![order::v1::OrderLine { sku: "A".to_owned(), quantity: 1 }];
    order::v1::OrderCompleted { order_id: "o".to_owned(), user_id: "u".to_owned(), lines, ..Default::default() }
}

fn id<T>(make: impl Fn(String) -> T) -> T {
    make("o".to_owned())
}

fn a_sale() -> Vec<Seen> {
    vec![
        seen(created(), 1, 1),
        seen(id(|order_id| catalog::v1::StockReserved { order_id }), 1, 2),
        seen(id(|order_id| order::v1::OrderPaymentPending { order_id, attempt: 1 }), 2, 3),
        seen(completed(), 3, 4),
        seen(id(|order_id| catalog::v1::StockFinalised { order_id }), 2, 5),
        seen(id(|order_id| catalog::v1::ShipmentCreated { order_id, ..Default::default() }), 2, 6),
    ]
}

fn compensated(version: i64, at_ms: i64) -> Seen {
    seen(id(|order_id| order::v1::OrderCompensated { order_id, ..Default::default() }), version, at_ms)
}

#[test]
fn honest_histories_are_inside_at_every_length() {
    let monitor = Monitor::new().unwrap();
    let sale = a_sale();
    for length in 1..=sale.len() {
        let findings = monitor.look(&sale[..length], true);
        assert_eq!(findings.outside, [], "{length}");
        // Without its shipment it is the whole sale of a download.
        assert_eq!(findings.ended, usize::from(length >= sale.len() - 1));
    }
    let twice: Vec<Seen> = sale.iter().chain(&sale).cloned().collect();
    let findings = monitor.look(&twice, true);
    assert_eq!((findings.outside.len(), findings.repetitions, findings.orders), (0, sale.len(), 1));
    let cancelled = [seen(created(), 1, 1), compensated(2, 2)];
    assert_eq!(monitor.look(&cancelled, true).outside, []);
}

#[test]
fn a_trace_outside_the_model_is_reported_with_its_record() {
    let monitor = Monitor::new().unwrap();
    let sale = a_sale();
    let mut both_ends = sale.clone();
    both_ends.push(compensated(4, 9));
    let mut skipped = vec![sale[0].clone()];
    skipped.push(seen(completed(), 2, 4));
    let mut other_lines = sale[..3].to_vec();
    other_lines.push(seen(order::v1::OrderCompleted { lines: Vec::new(), ..completed() }, 3, 4));
    let mut goods_first = sale[..3].to_vec();
    goods_first.push(sale[5].clone());
    let mut told_again = sale.clone();
    told_again.push(seen(id(|order_id| catalog::v1::StockReserved { order_id }), 3, 9));
    let table = [
        ("an order that ended twice", both_ends, "order.compensated v4"),
        ("completed without a payment", skipped, "order.completed v2"),
        ("completed with other lines", other_lines, "order.completed v3"),
        ("goods that left before the money", goods_first, "shipment.created v2"),
        ("a reservation told twice", told_again, "stock.reserved v3"),
    ];
    for (what, records, record) in table {
        let findings = monitor.look(&records, true);
        assert_eq!(findings.outside.len(), 1, "{what}");
        assert_eq!(findings.outside[0].order, "o");
        assert!(findings.outside[0].record.starts_with(record), "{what}: {:?}", findings.outside[0]);
    }
}

#[test]
fn a_topic_that_lost_its_beginning_is_no_fault_while_the_fleet_runs() {
    let monitor = Monitor::new().unwrap();
    let tail = &a_sale()[3..];
    assert_eq!((monitor.look(tail, false).partial, monitor.look(tail, false).outside.len()), (1, 0));
    assert_eq!(monitor.look(tail, true).outside.len(), 1);
}
