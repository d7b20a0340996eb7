//! Changes that wait at the same time share a commit.
//!
//! Decided here: that nobody waits for company, and who commits for whom. Whoever comes first leads: commits for all that wait, on
//! its own task, and hands each its outcome; while as many commits as there may be are under way, others gather. Each is answered as
//! if it had been alone: [`Database::commit_many`] tries them one by one when one of them is refused. Not decided here: which changes
//! may share a commit, and how they are written.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use sqlx::PgConnection;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use crate::commit::{CommitError, Committed, WriteError};
use crate::commit_many::{Member, Written};
use crate::database::Database;

type Outcome<E> = Result<Committed, CommitError<E>>;

/// Writes those of `changes` that the places name; see [`Database::commit_many`].
pub type WriteShared<C, E> =
    for<'t> fn(&'t mut PgConnection, Arc<[C]>, Arc<[usize]>) -> BoxFuture<'t, Result<Written<E>, WriteError<E>>>;

/// Where changes of one kind meet.
pub struct Together<C, E> {
    database: Database,
    write: WriteShared<C, E>,
    /// Changes of one commit: bounds how long its locks are held, and what is done again when one of them is refused.
    most: usize,
    /// As long as there are callers, and each waits for its outcome.
    waiting: Mutex<VecDeque<Waiting<C, E>>>,
    leaders: Semaphore,
}

struct Waiting<C, E> {
    member: Member,
    place: Uuid,
    change: C,
    outcome: oneshot::Sender<Outcome<E>>,
}

impl<C, E> fmt::Debug for Together<C, E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Together").field("most", &self.most).finish_non_exhaustive()
    }
}

impl<C, E> Together<C, E>
where
    C: Send + Sync + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    /// At most `leaders` commits under way at a time, of at most `most` changes each.
    #[must_use]
    pub fn new(database: Database, leaders: usize, most: usize, write: WriteShared<C, E>) -> Self {
        Self { database, write, most, waiting: Mutex::default(), leaders: Semaphore::new(leaders) }
    }

    /// Commits `change`, alone or with others. Those of one commit are written in the order of their places, so that two batches
    /// that meet at some rows wait for each other and not in a circle.
    ///
    /// # Errors
    /// As a commit of its own; the outcome is unknown too when whoever committed for it was dropped on the way.
    pub async fn commit(&self, member: Member, place: Uuid, change: C) -> Outcome<E> {
        let (sender, mut outcome) = oneshot::channel();
        self.queue().push_back(Waiting { member, place, change, outcome: sender });
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
                        Err(TryRecvError::Empty) => self.commit_next().await,
                    }
                }
            }
        }
    }

    async fn commit_next(&self) {
        let mut batch: Vec<Waiting<C, E>> = {
            let mut queue = self.queue();
            let count = queue.len().min(self.most);
            queue.drain(..count).collect()
        };
        if batch.is_empty() {
            return;
        }
        batch.sort_by_key(|waiting| waiting.place);
        let (mut members, mut changes, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
        for waiting in batch {
            members.push(waiting.member);
            changes.push(waiting.change);
            outcomes.push(waiting.outcome);
        }
        let (changes, write): (Arc<[C]>, _) = (changes.into(), self.write);
        let committed =
            self.database.commit_many(members, move |tx, fresh| write(tx, Arc::clone(&changes), fresh)).await;
        for (outcome, committed) in outcomes.into_iter().zip(committed) {
            // A caller that went away looks again at what became of its change.
            let _ = outcome.send(committed);
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiting<C, E>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
