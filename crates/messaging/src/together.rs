//! Changes that wait at the same time share a commit.
//!
//! Decided here: that nobody waits for company, and who commits for whom. Whoever comes first leads: sees to a commit for all that
//! wait; while as many commits as there may be are under way, others gather. Each is answered as if it had been alone, also when
//! whoever led has gone away: [`Database::commit_many`] tries them one by one when the batch as a whole is refused. Not decided here:
//! which changes may share a commit, and how they are written.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use sqlx::PgConnection;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Semaphore, oneshot};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::commit::{CommitError, Committed, WriteError};
use crate::commit_many::{Member, Written};
use crate::crash;
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

    /// Commits `change`, alone or with others, which stand in the order of their places: two batches that meet at some rows mostly
    /// lock them in one order. (A plan of the database may lock in another; then one of them is tried again.)
    ///
    /// # Errors
    /// As a commit of its own.
    pub async fn commit(&self, member: Member, place: Uuid, change: C) -> Outcome<E> {
        let (sender, mut outcome) = oneshot::channel();
        self.queue().push_back(Waiting { member, place, change, outcome: sender });
        tokio::select! {
            biased;
            told = &mut outcome => return told.unwrap_or(Err(CommitError::OutcomeUnknown)),
            // Closed never: then the outcome can only come from another leader.
            leading = self.leaders.acquire() => if let Ok(_leading) = leading {
                // Those who are ready in this moment come along.
                tokio::task::yield_now().await;
                loop {
                    match outcome.try_recv() {
                        Ok(told) => return told,
                        Err(TryRecvError::Closed) => return Err(CommitError::OutcomeUnknown),
                        // Once round for each batch that stands before ours.
                        Err(TryRecvError::Empty) if self.commit_next().await => {}
                        // The other leader took ours along: there is nothing to lead.
                        Err(TryRecvError::Empty) => break,
                    }
                }
            }
        }
        outcome.await.unwrap_or(Err(CommitError::OutcomeUnknown))
    }

    /// `false`: nobody waits.
    async fn commit_next(&self) -> bool {
        let mut batch: Vec<Waiting<C, E>> = {
            let mut queue = self.queue();
            let count = queue.len().min(self.most);
            queue.drain(..count).collect()
        };
        if batch.is_empty() {
            return false;
        }
        batch.sort_by_key(|waiting| waiting.place);
        let (mut members, mut changes, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
        for waiting in batch {
            members.push(waiting.member);
            changes.push(waiting.change);
            outcomes.push(waiting.outcome);
        }
        let (changes, write, database): (Arc<[C]>, _, _) = (changes.into(), self.write, self.database.clone());
        let work = crash::carried(async move {
            let committed =
                database.commit_many(members, move |tx, fresh| write(tx, Arc::clone(&changes), fresh)).await;
            for (outcome, committed) in outcomes.into_iter().zip(committed) {
                // A caller that went away looks again at what became of its change.
                let _ = outcome.send(committed);
            }
        });
        // On a task of its own, so that nobody's deadline is that of those it leads for. When it panics, its callers learn that nothing is
        // known.
        let _ = tokio::spawn(work.in_current_span()).await;
        true
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiting<C, E>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
