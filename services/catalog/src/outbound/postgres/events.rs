//! Facts as events: what other services are told about a step.

use common::OrderId;
use contracts::catalog::v1;
use messaging::Outgoing;

use crate::domain::reservation::{Decision, Fact};

/// The events of a decision. Their version is the version the step gave the reservation.
pub(super) fn of_decision(decision: &Decision) -> Vec<Outgoing> {
    let Decision::Step(step) = decision else { return Vec::new() };
    step.facts.iter().map(|fact| of_fact(fact, step.after.order, step.after.version)).collect()
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
                fulfilment_centre: shipment.fulfilment_centre.clone(),
                created_at_ms: shipment.created_at.timestamp_millis(),
            },
            version,
        ),
    }
}
