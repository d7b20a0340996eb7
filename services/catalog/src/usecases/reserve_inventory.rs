//! ReserveInventory: a new order holds all its lines or none. Safe to repeat and safe to come late: an order that was
//! already compensated reserves nothing. Orders that come at the same time are committed together.

use common::MessageId;

use super::App;
use super::ports::stock::{Committed, Request, Reserved, StoreError};
use super::stock_error::{MAX_DECISIONS, StockError};
use crate::domain::reservation::{Asked, Decision};
use crate::metrics;

/// The answer to other services is the event committed with the step: StockReserved, or StockRejected naming a line.
///
/// # Errors
/// [`StockError`] from the store or after too many lost races; nothing was changed.
pub async fn reserve_inventory(app: &App, cause: MessageId, asked: Asked) -> Result<Committed, StockError> {
    let order = asked.order;
    let request = Request { cause, asked, traceparent: contracts::trace::current_traceparent() };
    for _ in 0..MAX_DECISIONS {
        match app.reservations.reserve(&*app.stock, &app.clock, request.clone()).await {
            Some(Err(StoreError::Overtaken)) | None => {
                metrics::DECISIONS_OVERTAKEN.with_label_values(&["reserve"]).inc();
            }
            Some(outcome) => {
                let Reserved { committed, status } = outcome?;
                if let Some(status) = status {
                    metrics::SAGA_TRANSITIONS.with_label_values(&["NONE", status.code(), "order_created"]).inc();
                    tracing::info!(order.id = %order, from = "NONE", to = status.code(), reason = "order_created", "reservation changed");
                }
                return Ok(committed);
            }
        }
    }
    Err(StockError::Contended)
}

/// Counts the step that a committed decision took.
pub(super) fn noted(
    outcome: Result<Committed, StoreError>,
    decision: &Decision,
    reason: &str,
) -> Result<Committed, StoreError> {
    if let (Ok(Committed::Applied), Decision::Step(step)) = (&outcome, decision) {
        let from = step.before.map_or("NONE", |(status, _)| status.code());
        metrics::SAGA_TRANSITIONS.with_label_values(&[from, step.after.status.code(), reason]).inc();
        tracing::info!(order.id = %step.after.order, from, to = step.after.status.code(), reason, "reservation changed");
    }
    outcome
}
