//! `CompensateOrder`: ends an order without a sale, because the stock was refused or a deadline has passed. An order whose
//! payment is under way is only *asked* to be given up: the payment worker does it with the gateway's word.

use chrono::{DateTime, Utc};
use common::{Explain as _, OrderId};
use messaging::Cause;

use super::error::Conflict;
use super::one_by_one::Failures;
use super::store_credit::complete_by_credit;
use super::{App, AttemptStep, Change, Failure, MOST_MEETINGS};
use crate::domain::{LedgerKind, Order, OrderStatus, Reason, WrongState};
use crate::metrics;

/// Overdue orders per sweep: a backlog is worked off within seconds, and no sweep holds the database for long.
const SWEEP: u16 = 100;

/// On `StockRejected`. Safe to repeat.
///
/// # Errors
/// [`Failure`]; the message is delivered again or parked.
pub async fn stock_was_rejected(app: &App, cause: Cause, id: OrderId) -> Result<(), Failure> {
    for _ in 0..MOST_MEETINGS {
        let order = app.store.order(id).await?.ok_or_else(|| Failure::UnknownOrder(id.to_string()))?;
        let outcome = match order.status {
            OrderStatus::Created => compensate(app, cause.clone(), order, Reason::OutOfStock).await,
            OrderStatus::Compensated => {
                app.store.commit(cause.clone(), Change::default()).await.map(drop).map_err(Failure::from)
            }
            OrderStatus::PaymentPending | OrderStatus::Completed => {
                return Err(Failure::broken(format!("stock of order {id} was rejected after it was reserved")));
            }
        };
        match outcome {
            Err(failure) if failure.is_lost() => {}
            outcome => return outcome,
        }
    }
    Err(Failure::Commit(messaging::CommitError::Refused(Conflict::Lost)))
}

/// Gives up on orders that are past their deadline; returns how many it found. Whoever comes first wins: an order that
/// moves meanwhile is left alone. One that cannot be given up does not keep those behind it from their end.
///
/// # Errors
/// The last [`Failure`] of the sweep, when there was one; the next sweep finds the same orders.
pub async fn sweep_deadlines(app: &App) -> Result<usize, Failure> {
    let overdue = app.store.overdue(app.clock.now(), SWEEP).await?;
    let (found, mut failures) = (overdue.len(), Failures::default());
    for order in overdue {
        let id = order.id;
        let outcome = match order.status {
            OrderStatus::Created => compensate(app, Cause::Duty("expire-order"), order, Reason::Expired).await,
            OrderStatus::PaymentPending if order.rest().is_zero() => complete_by_credit(app, id).await,
            OrderStatus::PaymentPending => {
                ask_to_give_up(app, Cause::Duty("expire-payment"), id, Reason::Expired, None).await.map(drop)
            }
            OrderStatus::Completed | OrderStatus::Compensated => Ok(()),
        };
        match outcome {
            Ok(()) => {}
            Err(failure) if failure.is_lost() => {}
            Err(failure) => {
                tracing::warn!(order.id = %id, error = %failure, code = failure.code(), "an order past its deadline could not be given up");
                if !failures.go_on_after(failure) {
                    break;
                }
            }
        }
    }
    failures.outcome().map(|()| found)
}

/// Nothing has been sent to the gateway for this order: it ends here.
pub(super) async fn compensate(app: &App, cause: Cause, order: Order, reason: Reason) -> Result<(), Failure> {
    let (id, from) = (order.id, order.status);
    let committed = app.store.commit(cause, ended(order, reason, app.clock.now())?).await?;
    if committed == messaging::Committed::Applied {
        told(app, id, from, reason);
    }
    Ok(())
}

/// The end of an order without a sale; store credit that was set aside for it is free again.
pub(super) fn ended(order: Order, reason: Reason, now: DateTime<Utc>) -> Result<Change, WrongState> {
    let ledger = order.credit_moves(LedgerKind::CreditRelease, now);
    Ok(Change { order: Some(order.compensate(reason, now)?), ledger, ..Change::default() })
}

/// Marks the payment of an order as one to give up. `false`: it is too late, the money is being taken.
pub(super) async fn ask_to_give_up(
    app: &App,
    cause: Cause,
    id: OrderId,
    reason: Reason,
    answer: Option<messaging::StoredAnswer>,
) -> Result<bool, Failure> {
    let attempt = app
        .store
        .charge_of(id)
        .await?
        .ok_or_else(|| Failure::broken(format!("order {id} is being paid without an attempt")))?;
    // A shopper's second thought does not stop a capture; a deadline does, if the gateway agrees.
    if attempt.state.is_settled() || (attempt.capture_requested && reason == Reason::Cancelled) {
        return Ok(false);
    }
    let version = attempt.version;
    let mut given_up = attempt;
    given_up.give_up(reason, app.clock.now());
    // Whoever works on it loses its next commit and stops; the next worker sees the wish.
    given_up.leased_until = None;
    let change = Change { attempts: vec![AttemptStep::after(version, given_up)], answer, ..Change::default() };
    app.store.commit(cause, change).await?;
    app.signals.payments.notify_one();
    Ok(true)
}

pub(super) fn told(app: &App, id: OrderId, from: OrderStatus, reason: Reason) {
    metrics::transition(Some(from.code()), "COMPENSATED", &reason.code().to_ascii_lowercase());
    tracing::info!(order.id = %id, reason = reason.code(), "order compensated");
    app.signals.orders.notify_waiters();
}
