//! Counts a batch of clicks into what is known: one read, one decision, one write, which on a cluster is one for the shop and then one for people.
//!
//! The store says up to where a partition is counted, not the broker: a batch is counted only if it joins that, and what it comes to is
//! written only while it is still so. So neither a store that has lost something nor a process that has lost its partition leaves a
//! hole, or takes back what others have counted (ADR 0066).

use super::Learner;
use super::count_experiments::withdraw;
use super::error::StoreUnavailable;
use super::ports::Saved;
use crate::domain::{Batch, PersonChange, Position};

/// How far back clicks are counted again when the store has forgotten up to where they were: one hour. What is counted again goes before
/// what happens now, partition by partition, and learners are built for three times the live rate: after an hour's clicks pages follow
/// again within half an hour, after the day that the topic keeps it would take half a day. An hour has the visits that are still
/// going on; tastes that are older grow again from clicks, as they do when Redis is lost for any other reason.
pub const COUNTED_AGAIN_MS: i64 = 60 * 60 * 1000;

/// Whether what stands before a batch may still be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// It may: a batch that does not join is refused.
    Readable,
    /// It was asked for and is gone, or nobody wants it: this batch is the first. If nothing at all is known of the partition, whoever said
    /// no before `since_ms`, in milliseconds since 1970-01-01 UTC, is forgotten with it.
    Gone { since_ms: i64 },
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    pub people: usize,
    pub products: usize,
    /// Reports that were counted before and changed nothing.
    pub repeated: usize,
    /// Events that came again in other reports, or may have.
    pub repeated_events: usize,
    /// Those of them that may never have been counted.
    pub doubtful_events: usize,
}

/// Why a batch is not counted, or not all of it. What was stored of it is skipped when it comes again.
#[derive(Debug, thiserror::Error)]
pub enum NotFolded {
    /// There are records between what is counted and the batch; they are to come first. Nothing of it is stored.
    #[error("what stands before these clicks is not counted")]
    Hole { counted: Option<Position> },
    /// The batch is to be tried again: what it finds then is newer.
    #[error("this partition was counted by somebody else meanwhile")]
    Overtaken,
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
}

/// Safe to repeat: what was counted before is skipped.
///
/// `before_write` is called with the decided outcome, so that the caller can tell each click's trace where it was written.
///
/// # Errors
/// [`NotFolded`].
pub async fn fold_clicks(
    app: &Learner,
    partition: i32,
    batch: &Batch,
    earlier: Earlier,
    before_write: impl FnOnce(&mut crate::domain::Outcome),
) -> Result<Folded, NotFolded> {
    if batch.is_empty() {
        return Ok(Folded::default());
    }
    let mut stored = app.interests.stored(partition, batch).await?;
    let counted = stored.counted.lowest();
    if !batch.joins(counted) {
        match earlier {
            Earlier::Readable => return Err(NotFolded::Hole { counted }),
            // A click of somebody who has withdrawn since may still lie on a disk of the intake.
            Earlier::Gone { since_ms } if counted.is_none() => {
                stored.refusals_since = stored.refusals_since.max(Some(since_ms));
            }
            Earlier::Gone { .. } => {}
        }
    }
    let mut outcome = batch.decide(&stored);
    let folded = Folded {
        people: outcome.people.len(),
        products: outcome.gains.len(),
        repeated: outcome.repeated,
        repeated_events: outcome.repeated_events,
        doubtful_events: outcome.doubtful_events,
    };
    before_write(&mut outcome);
    let forgotten = outcome.people.iter().filter(|(_, change)| *change == PersonChange::Forgotten);
    // Before the batch counts as counted, so that a crash in between is made good by the next delivery.
    withdraw(&app.trials, forgotten.map(|(who, _)| who).collect()).await?;
    let newest = batch.reports().map(|report| report.position.received_at_ms).max().unwrap_or_default();
    match app.interests.save(partition, &outcome, newest).await? {
        Saved::Written => Ok(folded),
        Saved::Overtaken => Err(NotFolded::Overtaken),
    }
}
