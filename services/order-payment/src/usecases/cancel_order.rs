//! Cancels an order before it is completed. The answer 202 means that the wish is durable; the order's own history tells
//! when it came true, or that the payment was faster.

use common::OrderId;
use messaging::{Cause, Committed, RequestKey, StoredAnswer};
use sha2::{Digest as _, Sha256};

use super::compensate_order::{ask_to_give_up, ended, told};
use super::{App, Change, Failure, MOST_MEETINGS, Shopper};
use crate::domain::{Order, OrderStatus, Reason};
use crate::metrics;

pub const ROUTE: &str = "/v1/orders/{id}/cancel";

/// The answer and whether it was given before.
#[derive(Clone, Debug)]
pub struct Cancelled {
    pub answer: StoredAnswer,
    pub replayed: bool,
}

/// Safe to repeat with the same key.
///
/// # Errors
/// [`Failure::NotFound`] for another's order, [`Failure::StateConflict`] once the money is being taken.
pub async fn cancel_order(
    app: &App,
    shopper: Shopper,
    key: &str,
    id: OrderId,
    render: impl Fn(&Order) -> StoredAnswer + Send + Sync,
) -> Result<Cancelled, Failure> {
    if shopper.region != app.region {
        return Err(Failure::Misdirected(shopper.region));
    }
    let request = RequestKey {
        subject: shopper.user.uuid(),
        method: "POST",
        route: ROUTE,
        key: key.to_owned(),
        fingerprint: Sha256::digest(format!("cancel\u{1f}{id}")).into(),
    };
    if let Some(answer) = app.store.find_answer(&request).await? {
        metrics::replay(ROUTE);
        return Ok(Cancelled { answer, replayed: true });
    }
    for _ in 0..MOST_MEETINGS {
        match try_cancel(app, shopper, request.clone(), id, &render).await {
            Err(failure) if failure.is_lost() => {}
            outcome => return outcome,
        }
    }
    Err(Failure::Commit(messaging::CommitError::Refused(super::error::Conflict::Lost)))
}

async fn try_cancel(
    app: &App,
    shopper: Shopper,
    request: RequestKey,
    id: OrderId,
    render: &(dyn Fn(&Order) -> StoredAnswer + Send + Sync),
) -> Result<Cancelled, Failure> {
    let order = app.store.order(id).await?.filter(|order| order.user == shopper.user).ok_or(Failure::NotFound)?;
    let answer = render(&order);
    let done = Cancelled { answer: answer.clone(), replayed: false };
    match order.status {
        // With store credit alone nobody has to be asked; whoever commits first wins.
        status
            if status == OrderStatus::Created || (status == OrderStatus::PaymentPending && order.rest().is_zero()) =>
        {
            let change = Change { answer: Some(answer), ..ended(order, Reason::Cancelled, app.clock.now())? };
            match app.store.commit(Cause::Request(request), change).await? {
                Committed::Repeated(Some(answer)) => return Ok(Cancelled { answer, replayed: true }),
                _ => told(app, id, status, Reason::Cancelled),
            }
            Ok(done)
        }
        OrderStatus::PaymentPending => {
            match ask_to_give_up(app, Cause::Request(request), id, Reason::Cancelled, Some(answer)).await? {
                true => Ok(done),
                false => Err(Failure::StateConflict("the payment is being taken")),
            }
        }
        OrderStatus::Created | OrderStatus::Completed | OrderStatus::Compensated => {
            Err(Failure::StateConflict("the order has ended"))
        }
    }
}
