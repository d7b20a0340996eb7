//! From the steps of orders to the events other services hear.

use common::Money;
use contracts::order::v1;
use messaging::Outgoing;

use crate::domain::{Order, OrderEvent, OrderStep, PricedLine, Reason, RefundLine};
use crate::usecases::{Change, RefundStep};

/// The events a change means to others; each carries the order's version.
pub fn of(change: &Change) -> Vec<Outgoing> {
    change.order.iter().map(outgoing).chain(change.refunds.iter().filter_map(refunded)).collect()
}

fn outgoing(step: &OrderStep) -> Outgoing {
    let order = &step.order;
    let (order_id, at_ms) = (order.id.to_string(), step.at.timestamp_millis());
    match step.event {
        OrderEvent::Created => {
            let created = v1::OrderCreated {
                order_id,
                user_id: order.user.to_string(),
                lines: lines(order),
                total: Some(total(order.total)),
                created_at_ms: at_ms,
                ship_to_country: order.address.open().country.clone(),
            };
            Outgoing::new(created, order.version)
        }
        OrderEvent::PaymentPending { attempt } => {
            let deadline_at_ms = order.deadline_at.timestamp_millis();
            Outgoing::new(v1::OrderPaymentPending { order_id, attempt, deadline_at_ms }, order.version)
        }
        OrderEvent::Completed => {
            let completed = v1::OrderCompleted {
                order_id,
                user_id: order.user.to_string(),
                lines: lines(order),
                total: Some(total(order.total)),
                completed_at_ms: at_ms,
            };
            Outgoing::new(completed, order.version)
        }
        OrderEvent::Compensated { reason } => {
            let reason = match reason {
                Reason::OutOfStock => v1::CompensationReason::OutOfStock,
                Reason::PaymentDeclined => v1::CompensationReason::PaymentDeclined,
                Reason::Expired => v1::CompensationReason::Expired,
                Reason::Cancelled => v1::CompensationReason::Cancelled,
            };
            let compensated = v1::OrderCompensated { order_id, reason: reason as i32, compensated_at_ms: at_ms };
            Outgoing::new(compensated, order.version)
        }
    }
}

/// A refund of a sale that stands. Its version is its number among those of its order.
fn refunded(step: &RefundStep) -> Option<Outgoing> {
    let (whole, refund) = (step.told?.whole, &step.refund);
    let line =
        |line: &RefundLine| v1::OrderLine { sku: line.sku.to_string(), quantity: line.quantity, options: Vec::new() };
    let refunded = v1::OrderRefunded {
        order_id: refund.order.to_string(),
        refund_id: refund.id.to_string(),
        amount: Some(total(refund.amount)),
        whole,
        lines: refund.lines.iter().map(line).collect(),
        refunded_at_ms: refund.ended_at.unwrap_or(refund.asked_at).timestamp_millis(),
    };
    Some(Outgoing::new(refunded, i64::from(refund.number)))
}

fn lines(order: &Order) -> Vec<v1::OrderLine> {
    let choice = |(key, value): &(String, String)| v1::Choice { key: key.clone(), value: value.clone() };
    let line = |line: &PricedLine| v1::OrderLine {
        sku: line.sku.to_string(),
        quantity: line.quantity,
        options: line.options.iter().map(choice).collect(),
    };
    order.lines.iter().map(line).collect()
}

fn total(money: Money) -> contracts::common::v1::Money {
    money.into()
}
