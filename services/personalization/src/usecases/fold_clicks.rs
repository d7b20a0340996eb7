//! Counts a batch of clicks into what is known: one read, one decision, one write.

use super::Learner;
use super::count_experiments::withdraw;
use super::error::StoreUnavailable;
use crate::domain::{Batch, PersonChange};

/// What a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    pub people: usize,
    pub products: usize,
    /// Reports that were counted before and changed nothing.
    pub repeated: usize,
    /// Events that came again in other reports.
    pub repeated_events: usize,
}

/// Safe to repeat: what was counted before is skipped.
///
/// `before_write` is called with the decided outcome, so that the caller can tell each click's trace where it was written.
///
/// # Errors
/// [`StoreUnavailable`]: nothing is written, the batch is to be tried again.
pub async fn fold_clicks(
    app: &Learner,
    partition: i32,
    batch: &Batch,
    before_write: impl FnOnce(&mut crate::domain::Outcome),
) -> Result<Folded, StoreUnavailable> {
    if batch.is_empty() {
        return Ok(Folded::default());
    }
    let stored = app.interests.stored(partition, batch).await?;
    let mut outcome = batch.decide(&stored);
    let folded = Folded {
        people: outcome.people.len(),
        products: outcome.gains.len(),
        repeated: outcome.repeated,
        repeated_events: outcome.repeated_events,
    };
    before_write(&mut outcome);
    let forgotten = outcome.people.iter().filter(|(_, change)| *change == PersonChange::Forgotten);
    // Before the batch counts as counted, so that a crash in between is made good by the next delivery.
    withdraw(&app.trials, forgotten.map(|(who, _)| who).collect()).await?;
    let newest = batch.reports().map(|report| report.position.received_at_ms).max().unwrap_or_default();
    app.interests.save(&outcome, newest).await?;
    Ok(folded)
}
