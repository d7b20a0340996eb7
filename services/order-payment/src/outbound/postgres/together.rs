//! Steps of payments share commits (`messaging::Together`): that one begins, what an attempt learned, what it is about to do, how it
//! ended. Decided here: which changes may share one, and that a batch is written in one statement per table. Not decided here: what a
//! step is.

use std::sync::Arc;

use futures::future::BoxFuture;
use messaging::{Cause, Database, Together, WriteError, Written};
use sqlx::PgConnection;

use super::{attempts, commit, orders};
use crate::domain::OrderStatus;
use crate::usecases::Change;
use crate::usecases::error::Conflict;

/// Commits under way at a time: while one waits for the disk, the next is written.
const LEADERS: usize = 2;
/// Steps of one commit: as many as are under way in one process. A batch has the same few statements however many there are.
const MOST_TOGETHER: usize = 64;

/// Where such steps meet.
pub(super) fn together(database: Database) -> Together<Change, Conflict> {
    Together::new(database, LEADERS, MOST_TOGETHER, write)
}

/// Is this change a step of one payment, and does it lock nothing but its own order and attempts? What asks for a refund, finds
/// money or is an operator's word goes by itself: it comes seldom. So does what moves a person's store credit and what ends an order
/// without a sale, which may give a coupon's use back: those rows belong to many orders, and two batches could wait in a circle.
pub(super) fn is_payment_step(cause: &Cause, change: &Change) -> bool {
    let Change { person, order, coupon, attempts, ledger, refunds, orphans, findings, action, answer } = change;
    let by_itself = !matches!(cause, Cause::Request(_)) && answer.is_none() && person.is_none() && coupon.is_none();
    let small = refunds.is_empty() && orphans.is_empty() && findings.is_empty() && action.is_none();
    let goes_on = |status| matches!(status, OrderStatus::PaymentPending | OrderStatus::Completed);
    let sells = order.as_ref().is_none_or(|step| step.from.is_some() && goes_on(step.order.status));
    let of_nobody = ledger.iter().all(|transaction| transaction.user.is_none());
    attempts.len() == 1 && by_itself && small && sells && of_nobody
}

fn write<'t>(
    tx: &'t mut PgConnection,
    changes: Arc<[Change]>,
    fresh: Arc<[usize]>,
) -> BoxFuture<'t, Result<Written<Conflict>, WriteError<Conflict>>> {
    Box::pin(async move { write_all(tx, &changes, &fresh).await })
}

async fn write_all(
    tx: &mut PgConnection,
    changes: &[Change],
    fresh: &[usize],
) -> Result<Written<Conflict>, WriteError<Conflict>> {
    let mut left: Vec<(usize, &Change)> = fresh.iter().map(|member| (*member, &changes[*member])).collect();
    let moved =
        orders::advance(tx, &left.iter().filter_map(|(_, change)| change.order.as_ref()).collect::<Vec<_>>()).await?;
    // Whose order went on without it has lost; nothing of it is written, and its neighbours stay.
    let lost = |change: &Change| change.order.as_ref().is_some_and(|step| !moved.contains(&step.order.id));
    let refused = left.extract_if(.., |(_, change)| lost(change)).map(|(member, _)| (member, Conflict::Lost)).collect();
    attempts::write(tx, &left.iter().flat_map(|(_, change)| &change.attempts).collect::<Vec<_>>()).await?;
    commit::ledger(tx, &left.iter().flat_map(|(_, change)| &change.ledger).collect::<Vec<_>>()).await?;
    // After all of them: a check that runs at once would meet half a transaction of the next.
    if left.iter().any(|(_, change)| commit::has_named_checks(change)) {
        commit::check_now(tx).await?;
    }
    Ok(Written { refused, ..Written::default() })
}
