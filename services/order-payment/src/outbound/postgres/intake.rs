//! Order intake: orders that arrive while a commit is under way share the next one.
//!
//! Decided here: how many share a commit, how many may wait, and that nobody waits for company. Two lanes take turns at the
//! queue: a lane that is free takes what is there, one order or many, and commits it; while both are busy, arrivals queue.
//! An idle intake therefore adds nothing, and a busy one needs no timer. Each caller gets its own answer, after its commit.
//! Not decided here: what an order is allowed to be.

use std::sync::Arc;
use std::time::Duration;

use messaging::{Cause, Committed, Database, Member, WriteError, Written};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{coupons, placements};
use crate::domain::{CouponUse, OrderStep};
use crate::metrics;
use crate::outbound::events;
use crate::usecases::Change;
use crate::usecases::error::{CommitError, Conflict};

/// Commits under way at a time: while one waits for the disk, the other is being written. A third would only cut the batches
/// smaller.
const LANES: usize = 2;
/// Orders that may wait for a lane: what some sixteen full commits take, well below the patience of a request. Whoever comes
/// after them is told at once that it is too much.
const MOST_WAITING: usize = 1_024;
/// Time for orders that were taken in before a stop; the requests behind them are drained meanwhile.
const LAST_ORDERS: Duration = Duration::from_secs(10);

type Outcome = Result<Committed, CommitError>;

struct Waiting {
    member: Member,
    change: Change,
    answer: oneshot::Sender<Outcome>,
}

/// Where orders are handed in.
#[derive(Clone, Debug)]
pub struct Intake {
    queue: mpsc::Sender<Waiting>,
}

/// The other end: commits what was handed in, until it is told to stop.
pub struct Lanes {
    database: Database,
    most_together: usize,
    queue: Mutex<mpsc::Receiver<Waiting>>,
}

/// An intake whose commits have at most `most_together` orders.
pub fn intake(database: Database, most_together: usize) -> (Intake, Lanes) {
    let (handed_in, queue) = mpsc::channel(MOST_WAITING);
    (Intake { queue: handed_in }, Lanes { database, most_together, queue: Mutex::new(queue) })
}

impl Intake {
    /// Commits one order, alone or with others.
    ///
    /// # Errors
    /// As a commit of its own; [`CommitError::Busy`] when too many wait already.
    pub async fn commit(&self, cause: Cause, change: Change) -> Outcome {
        let head = messaging::Change { cause, events: events::of(&change), answer: change.answer.clone() };
        let (answer, answered) = oneshot::channel();
        match self.queue.try_send(Waiting { member: Member::new(head), change, answer }) {
            Ok(()) => answered.await.unwrap_or(Err(CommitError::OutcomeUnknown)),
            Err(_) => {
                metrics::intake_full();
                Err(CommitError::Busy)
            }
        }
    }
}

impl Lanes {
    /// Until `shutdown`, and then until the queue is empty.
    pub async fn run(self, shutdown: CancellationToken) {
        let lanes = futures::future::join_all((0..LANES).map(|_| self.lane()));
        tokio::select! {
            _ = lanes => {}
            () = async {
                shutdown.cancelled().await;
                tokio::time::sleep(LAST_ORDERS).await;
            } => {}
        }
    }

    /// Ends when nobody can hand in orders any more and all are answered.
    async fn lane(&self) {
        let mut batch = Vec::with_capacity(self.most_together);
        loop {
            // Whoever holds the queue waits for the first arrival; the other lane is then the next in turn.
            let taken = self.queue.lock().await.recv_many(&mut batch, self.most_together).await;
            if taken == 0 {
                return;
            }
            self.commit(std::mem::take(&mut batch)).await;
        }
    }

    async fn commit(&self, batch: Vec<Waiting>) {
        let (mut members, mut changes, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for waiting in batch {
            // Somebody who went away before their order was begun gets none; a repetition finds the key free.
            if waiting.answer.is_closed() {
                continue;
            }
            members.push(waiting.member);
            changes.push(waiting.change);
            answers.push(waiting.answer);
        }
        let changes: Arc<[Change]> = changes.into();
        let outcomes = self
            .database
            .commit_many(members, move |tx, fresh| {
                let changes = Arc::clone(&changes);
                Box::pin(async move { write(tx, &changes, &fresh).await })
            })
            .await;
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Nobody listens any more: the answer is stored under their key.
            let _ = answer.send(outcome);
        }
    }
}

async fn write(
    tx: &mut sqlx::PgConnection,
    changes: &[Change],
    fresh: &[usize],
) -> Result<Written<Conflict>, WriteError<Conflict>> {
    let mut steps: Vec<_> =
        fresh.iter().filter_map(|member| Some((*member, placements::placement(&changes[*member])?))).collect();
    let mut written = without_coupon(tx, changes, &mut steps).await?;
    let placed = placements::insert(tx, &steps.iter().map(|(_, step)| *step).collect::<Vec<_>>()).await?;
    let known = steps.iter().filter(|(_, step)| !placed.contains(&step.order.id.uuid()));
    written.refused.extend(known.map(|(member, _)| (*member, Conflict::OrderExists)));
    Ok(written)
}

/// Takes the uses of coupons that the batch needs, in one round trip, and none where nobody brings one. Orders that get none are
/// taken out and refused; their neighbours stay, and so does what they knew of the limits.
async fn without_coupon(
    tx: &mut sqlx::PgConnection,
    changes: &[Change],
    steps: &mut Vec<(usize, &OrderStep)>,
) -> Result<Written<Conflict>, WriteError<Conflict>> {
    let coupon = |member: usize| changes[member].coupon.as_ref();
    let wanted: Vec<_> =
        steps.iter().filter_map(|(member, step)| Some((step.order.id, step.order.user, coupon(*member)?))).collect();
    let Some(region) = steps.first().map(|(_, step)| step.order.region).filter(|_| !wanted.is_empty()) else {
        return Ok(Written::default());
    };
    let taken = coupons::take(tx, region, &wanted).await?;
    let has_none =
        |(member, step): &(usize, &OrderStep)| coupon(*member).is_some() && !taken.contains(&step.order.id.uuid());
    let refused: Vec<(usize, Conflict)> =
        steps.extract_if(.., |step| has_none(step)).map(|(member, _)| (member, Conflict::CouponUsed)).collect();
    let words: Vec<&CouponUse> = refused.iter().filter_map(|(member, _)| coupon(*member)).collect();
    let stays = !words.is_empty() && coupons::hear(tx, &words).await?;
    Ok(Written { refused, stays, ..Written::default() })
}
