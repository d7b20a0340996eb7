//! Moves a saga that does not move by itself: its open attempt becomes due now, or its last event goes out once more, or
//! there is nothing to do, and the answer says which. Changes no state of the order; safe to repeat.

use common::{OrderId, UserId};
use messaging::Action;

use super::desk::{Desk, Nudge, SagaFile};
use super::{App, Failure};
use crate::domain::OrderStatus;

/// What a retry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// The worker takes the attempt up within a second; if one has it at this moment, when that one lets go.
    MadeDue {
        attempt: u32,
    },
    /// Whoever has not heard it hears it now.
    ToldAgain {
        topic: String,
    },
    NothingToDo(&'static str),
}

/// # Errors
/// [`Failure::NotFound`] for an order that is not here.
pub async fn retry_saga(
    app: &App,
    desk: &dyn Desk,
    actor: UserId,
    order: OrderId,
    reason: String,
) -> Result<Retried, Failure> {
    let file = desk.saga(order).await?.ok_or(Failure::NotFound)?;
    let (nudge, retried) = match decide(&file) {
        Ok(decided) => decided,
        Err(why) => return Ok(Retried::NothingToDo(why)),
    };
    let outcome = match &retried {
        Retried::MadeDue { attempt } => format!("attempt {attempt} is due now"),
        Retried::ToldAgain { topic } => format!("{topic} is published again"),
        Retried::NothingToDo(why) => (*why).to_owned(),
    };
    let action = Action { actor, name: "saga.retry", subject: order.to_string(), reason, outcome };
    if !desk.nudge(order, nudge, &action, app.clock.now()).await? {
        return Ok(Retried::NothingToDo("it moved by itself meanwhile"));
    }
    app.signals.payments.notify_one();
    tracing::info!(order.id = %order, operator.id = %actor, outcome = action.outcome, "saga retried");
    Ok(retried)
}

/// What helps, or why nothing does.
fn decide(file: &SagaFile) -> Result<(Nudge, Retried), &'static str> {
    if let Some(open) = file.attempts.iter().find(|attempt| !attempt.card.state.is_settled()) {
        return Ok((Nudge::MakeDue, Retried::MadeDue { attempt: open.card.number }));
    }
    let last = file.told.last().ok_or("none of its events is kept any more")?;
    if last.published_at.is_none() {
        return Err("its last event has not left the outbox: see to the relay");
    }
    if file.card.status == OrderStatus::Completed && file.shipped {
        return Err("it has ended and its goods are on their way");
    }
    Ok((Nudge::TellAgain, Retried::ToldAgain { topic: last.topic.clone() }))
}
