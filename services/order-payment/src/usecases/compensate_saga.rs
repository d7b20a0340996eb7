//! An operator ends an order without a sale. Never past the gateway: an order whose payment has begun is only asked to be
//! given up, and ends when the gateway has accepted a cancel. If the money was taken meanwhile, the order completes and the
//! intent comes to nothing.

use common::{OrderId, UserId};
use messaging::{Action, Cause};

use super::compensate_order::{ended, told};
use super::error::Conflict;
use super::{App, AttemptStep, Change, Failure, MOST_MEETINGS};
use crate::domain::{Order, OrderStatus, Reason};

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compensated {
    /// It has ended.
    Now,
    /// The intent is committed; the gateway's word is awaited.
    Asked,
    /// It had ended without a sale before, or was being given up already; nothing was changed.
    Already,
}

/// Safe to repeat.
///
/// # Errors
/// [`Failure::NotFound`] for an order that is not here, [`Failure::StateConflict`] for one whose money is taken.
pub async fn compensate_saga(app: &App, actor: UserId, id: OrderId, reason: String) -> Result<Compensated, Failure> {
    for _ in 0..MOST_MEETINGS {
        let order = app.store.order(id).await?.ok_or(Failure::NotFound)?;
        let action = |outcome: &str| Action {
            actor,
            name: "saga.compensate",
            subject: id.to_string(),
            reason: reason.clone(),
            outcome: outcome.to_owned(),
        };
        let outcome = match order.status {
            OrderStatus::Created => end(app, order, action("compensated")).await,
            // With store credit alone nobody has to be asked; whoever commits first wins.
            OrderStatus::PaymentPending if order.rest().is_zero() => end(app, order, action("compensated")).await,
            OrderStatus::PaymentPending => ask(app, id, action("asked the gateway to agree")).await,
            OrderStatus::Compensated => return Ok(Compensated::Already),
            OrderStatus::Completed => {
                return Err(Failure::StateConflict("the order is completed; its money can only be refunded"));
            }
        };
        match outcome {
            Err(failure) if failure.is_lost() => {}
            outcome => return outcome,
        }
    }
    Err(Failure::Commit(messaging::CommitError::Refused(Conflict::Lost)))
}

/// Nothing was sent to the gateway: it ends here, and store credit that was set aside for it is free again.
async fn end(app: &App, order: Order, action: Action) -> Result<Compensated, Failure> {
    let (id, from) = (order.id, order.status);
    let change = Change { action: Some(action), ..ended(order, Reason::Cancelled, app.clock.now())? };
    app.store.commit(Cause::Duty("operator-compensates"), change).await?;
    told(app, id, from, Reason::Cancelled);
    Ok(Compensated::Now)
}

/// Stores the intent; the payment worker carries it to the gateway.
async fn ask(app: &App, id: OrderId, action: Action) -> Result<Compensated, Failure> {
    let attempt = app
        .store
        .charge_of(id)
        .await?
        .ok_or_else(|| Failure::broken(format!("order {id} is being paid without an attempt")))?;
    if attempt.state.is_settled() {
        return Err(Failure::StateConflict("the payment has just ended"));
    }
    if attempt.giving_up.is_some() {
        return Ok(Compensated::Already);
    }
    let version = attempt.version;
    let mut given_up = attempt;
    given_up.give_up(Reason::Cancelled, app.clock.now());
    // Whoever works on it loses its next commit and stops; the next worker sees the wish.
    given_up.leased_until = None;
    let change =
        Change { attempts: vec![AttemptStep::after(version, given_up)], action: Some(action), ..Change::default() };
    app.store.commit(Cause::Duty("operator-compensates"), change).await?;
    tracing::info!(order.id = %id, "an operator asked for the order to be given up");
    app.signals.payments.notify_one();
    Ok(Compensated::Asked)
}
