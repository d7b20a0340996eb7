//! On `StockReserved`: the order becomes `PAYMENT_PENDING` and gets the one attempt to charge it, in one commit. The payment
//! worker goes on from there.

use common::OrderId;
use messaging::Cause;

use super::store_credit::complete_by_credit;
use super::{App, AttemptStep, Change, Failure, MOST_MEETINGS};
use crate::domain::{Attempt, OrderStatus};
use crate::metrics;

/// The stock of an order is held. Safe to repeat.
///
/// # Errors
/// [`Failure`]; the message is delivered again or parked.
pub async fn begin_payment(app: &App, cause: Cause, id: OrderId) -> Result<(), Failure> {
    for _ in 0..MOST_MEETINGS {
        match try_begin(app, cause.clone(), id).await {
            Err(failure) if failure.is_lost() => {}
            outcome => return outcome,
        }
    }
    Err(Failure::Commit(messaging::CommitError::Refused(super::error::Conflict::Lost)))
}

async fn try_begin(app: &App, cause: Cause, id: OrderId) -> Result<(), Failure> {
    let order = app.store.order(id).await?.ok_or_else(|| Failure::UnknownOrder(id.to_string()))?;
    let by_credit = order.rest().is_zero();
    let change = match order.status {
        OrderStatus::Created => {
            let now = app.clock.now();
            let charge = (!by_credit).then(|| Attempt::charge(&order, contracts::trace::current_traceparent(), now));
            let attempt = charge.map(|charge| Attempt { via: app.gateway.choice(), ..charge });
            let step = order.begin_payment(u32::from(!by_credit), app.rules.payment_deadline, now)?;
            Change {
                order: Some(step),
                attempts: attempt.into_iter().map(AttemptStep::new).collect(),
                ..Change::default()
            }
        }
        // A repetition; only the message is recorded.
        OrderStatus::PaymentPending | OrderStatus::Completed => Change::default(),
        // Given up before the stock was held. OrderCompensated is on its way or there; the catalog releases on it, and
        // remembers it if it came first.
        OrderStatus::Compensated => {
            tracing::info!(order.id = %id, "stock was held for an order that is given up");
            Change::default()
        }
    };
    let begins = change.order.is_some();
    let committed = app.store.commit(cause, change).await?;
    if begins && committed == messaging::Committed::Applied {
        metrics::transition(Some("CREATED"), "PAYMENT_PENDING", "stock_reserved");
        tracing::info!(order.id = %id, "payment begins");
        app.signals.payments.notify_one();
        app.signals.orders.notify_waiters();
    }
    // Store credit pays it all: nobody has to be asked. If this stops here, the sweep goes on.
    if by_credit { complete_by_credit(app, id).await } else { Ok(()) }
}
