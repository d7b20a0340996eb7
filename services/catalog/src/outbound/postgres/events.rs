//! Facts as events: what other services are told about a step.

use common::OrderId;
use contracts::{catalog::v1, order};
use messaging::Outgoing;

use crate::domain::reservation::{Decision, Fact, Step};
use crate::domain::shipment::ShipmentLine;

/// The events of a decision.
pub(in crate::outbound) fn of_decision(decision: &Decision) -> Vec<Outgoing> {
    match decision {
        Decision::Step(step) => of_step(step),
        Decision::Nothing => Vec::new(),
    }
}

pub(in crate::outbound) fn of_step(step: &Step) -> Vec<Outgoing> {
    step.told().map(|(version, fact)| of_fact(fact, step.after.order, version)).collect()
}

fn of_fact(fact: &Fact, order: OrderId, version: i64) -> Outgoing {
    let order_id = order.to_string();
    match fact {
        Fact::Reserved => Outgoing::new(v1::StockReserved { order_id }, version),
        Fact::Rejected(sku) => Outgoing::new(v1::StockRejected { order_id, sku: sku.to_string() }, version),
        Fact::Released => Outgoing::new(v1::StockReleased { order_id }, version),
        Fact::Finalised => Outgoing::new(v1::StockFinalised { order_id }, version),
        Fact::Shipped(shipment) => Outgoing::new(
            v1::ShipmentCreated {
                order_id,
                shipment_id: shipment.id.to_string(),
                fulfilment_centre: shipment.centre.to_string(),
                created_at_ms: shipment.created_at.timestamp_millis(),
                lines: shipment.lines.iter().map(line).collect(),
            },
            version,
        ),
    }
}

fn line(line: &ShipmentLine) -> v1::ShipmentLine {
    let options = line.options.iter().map(|(key, value)| order::v1::Choice { key: key.clone(), value: value.clone() });
    v1::ShipmentLine { sku: line.sku.to_string(), quantity: line.quantity, options: options.collect() }
}
