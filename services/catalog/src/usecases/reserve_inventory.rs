//! ReserveInventory: a new order holds all its lines or none. Safe to repeat and safe to come late: an order that was
//! already compensated reserves nothing.

use common::{MessageId, OrderId};

use super::App;
use super::ports::stock::{Committed, StoreError};
use super::stock_error::{MAX_DECISIONS, StockError};
use crate::domain::lines::Lines;
use crate::domain::reservation::{self, Decision};
use crate::metrics;

pub struct ReserveInventory {
    pub order: OrderId,
    pub lines: Lines,
}

/// The answer to other services is the event committed with the step: StockReserved, or StockRejected naming a line.
///
/// # Errors
/// [`StockError`] from the store or after too many lost races; nothing was changed.
pub async fn reserve_inventory(
    app: &App,
    cause: MessageId,
    command: ReserveInventory,
) -> Result<Committed, StockError> {
    let ReserveInventory { order, lines } = command;
    for _ in 0..MAX_DECISIONS {
        let current = app.stock.reservation(order).await?;
        let now = app.clock.now();
        let decision = reservation::reserve(current.as_ref(), order, lines.clone(), now);
        let outcome = match app.stock.commit(cause, &decision).await {
            Err(StoreError::OutOfStock(short)) => {
                // Nothing of the first try stays. Units that come in between the two commits go to somebody else.
                conclude(app, cause, &reservation::reject(order, lines.clone(), short, now), "out_of_stock").await
            }
            outcome => noted(outcome, &decision, "order_created"),
        };
        match outcome {
            Err(StoreError::Overtaken) => metrics::DECISIONS_OVERTAKEN.with_label_values(&["reserve"]).inc(),
            outcome => return Ok(outcome?),
        }
    }
    Err(StockError::Contended)
}

/// Commits `decision` and counts the step it took.
pub(super) async fn conclude(
    app: &App,
    cause: MessageId,
    decision: &Decision,
    reason: &str,
) -> Result<Committed, StoreError> {
    noted(app.stock.commit(cause, decision).await, decision, reason)
}

fn noted(outcome: Result<Committed, StoreError>, decision: &Decision, reason: &str) -> Result<Committed, StoreError> {
    if let (Ok(Committed::Applied), Decision::Step(step)) = (&outcome, decision) {
        let from = step.before.map_or("NONE", |(status, _)| status.code());
        metrics::SAGA_TRANSITIONS.with_label_values(&[from, step.after.status.code(), reason]).inc();
        tracing::info!(order.id = %step.after.order, from, to = step.after.status.code(), reason, "reservation changed");
    }
    outcome
}
