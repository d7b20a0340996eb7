//! Steps of payments that wait at the same time share a commit: what an attempt learned, what it is about to do, how it ended.
//!
//! Decided here: which changes may share one, and that nobody waits for company. Whoever comes first leads: commits for all that
//! wait, on its own task, and hands each its outcome; while two are under way, others gather. Each is answered as if it had been
//! alone: `commit_many` tries them one by one when one of them is refused. Not decided here: what a step is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use common::Region;
use messaging::commit_many::{Member, Written};
use messaging::{Cause, Committed, Database, WriteError};
use sqlx::PgConnection;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Semaphore, oneshot};

use super::commit;
use crate::domain::OrderStatus;
use crate::outbound::events;
use crate::usecases::Change;
use crate::usecases::error::{CommitError, Conflict};

/// Commits under way at a time: while one waits for the disk, the next is written.
const LEADERS: usize = 2;
/// Steps of one commit: what a few workers carry at a time, so that locks are held for some fifty short statements at most.
const MOST_TOGETHER: usize = 16;

type Outcome = Result<Committed, CommitError>;

struct Waiting {
    member: Member,
    change: Change,
    outcome: oneshot::Sender<Outcome>,
}

/// Where such steps meet.
#[derive(Debug)]
pub(super) struct Together {
    waiting: Mutex<VecDeque<Waiting>>,
    leaders: Semaphore,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Waiting").finish_non_exhaustive()
    }
}

impl Default for Together {
    fn default() -> Self {
        Self { waiting: Mutex::default(), leaders: Semaphore::new(LEADERS) }
    }
}

/// Is this change a step of one payment, and does it lock nothing but its own order and attempts? What asks for a refund, finds
/// money or is an operator's word goes by itself: it comes seldom. So does what moves a person's store credit and what ends an order
/// without a sale, which may give a coupon's use back: those rows belong to many orders, and two batches could wait in a circle.
pub(super) fn is_payment_step(cause: &Cause, change: &Change) -> bool {
    let Change { person, order, coupon, attempts, ledger, refunds, orphans, findings, action, answer } = change;
    let by_duty = matches!(cause, Cause::Duty(_)) && answer.is_none() && person.is_none() && coupon.is_none();
    let small = refunds.is_empty() && orphans.is_empty() && findings.is_empty() && action.is_none();
    let sells = order.as_ref().is_none_or(|step| step.from.is_some() && step.order.status == OrderStatus::Completed);
    let of_nobody = ledger.iter().all(|transaction| transaction.user.is_none());
    attempts.len() == 1 && by_duty && small && sells && of_nobody
}

impl Together {
    /// Commits one step, alone or with others. The queue is as long as there are callers, and each waits for its outcome.
    pub(super) async fn commit(&self, database: &Database, cause: Cause, change: Change) -> Outcome {
        let head = messaging::Change { cause, events: events::of(&change), answer: None };
        let (sender, mut outcome) = oneshot::channel();
        self.queue().push_back(Waiting { member: Member::new(head), change, outcome: sender });
        loop {
            tokio::select! {
                biased;
                told = &mut outcome => return told.unwrap_or(Err(CommitError::OutcomeUnknown)),
                leading = self.leaders.acquire() => {
                    // Closed never: then the outcome can only come from another leader.
                    let Ok(_leading) = leading else { return outcome.await.unwrap_or(Err(CommitError::OutcomeUnknown)) };
                    // Those who are ready in this moment come along.
                    tokio::task::yield_now().await;
                    match outcome.try_recv() {
                        Ok(told) => return told,
                        // The other leader took ours along and went away.
                        Err(TryRecvError::Closed) => return Err(CommitError::OutcomeUnknown),
                        Err(TryRecvError::Empty) => self.commit_next(database).await,
                    }
                }
            }
        }
    }

    async fn commit_next(&self, database: &Database) {
        let mut batch: Vec<Waiting> = {
            let mut queue = self.queue();
            let count = queue.len().min(MOST_TOGETHER);
            queue.drain(..count).collect()
        };
        if batch.is_empty() {
            return;
        }
        // Rows are locked in the order of orders: two batches that meet wait for each other and not in a circle.
        batch.sort_by_key(|waiting| waiting.change.attempts.first().map(|step| step.attempt.order));
        let (mut members, mut changes, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
        for waiting in batch {
            members.push(waiting.member);
            changes.push(waiting.change);
            outcomes.push(waiting.outcome);
        }
        let (changes, region): (Arc<[Change]>, Region) = (changes.into(), database.region());
        let committed = database
            .commit_many(members, move |tx, fresh| {
                let changes = Arc::clone(&changes);
                Box::pin(async move { write(tx, region, &changes, &fresh).await })
            })
            .await;
        for (outcome, committed) in outcomes.into_iter().zip(committed) {
            // A caller that went away looks at the attempt again when its lease is over.
            let _ = outcome.send(committed);
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(
    tx: &mut PgConnection,
    region: Region,
    changes: &[Change],
    fresh: &[usize],
) -> Result<Written<Conflict>, WriteError<Conflict>> {
    for member in fresh {
        commit::write_rows(tx, region, &changes[*member]).await?;
    }
    // After all of them: a check that runs at once would meet half a transaction of the next.
    if fresh.iter().any(|member| commit::has_named_checks(&changes[*member])) {
        commit::check_now(tx).await?;
    }
    Ok(Written::default())
}
