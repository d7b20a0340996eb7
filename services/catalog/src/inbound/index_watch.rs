//! The watcher of the search index: compares it with the store again and again. Woken by time and by nothing else.

use std::time::Duration;

use common::SharedClock;
use tokio_util::sync::CancellationToken;

use crate::metrics::INDEX_DRIFT;
use crate::usecases::audit_index::{Drift, audit_index};
use crate::usecases::index_products::IndexProductsError;
use crate::usecases::ports::products::{IndexAudit, ProductStore};

/// Between two audits: a difference is no emergency, and the reading of the whole store is not free.
const EVERY: Duration = Duration::from_secs(30 * 60);
/// Between two portions of 500 products: a hundred thousand products take a minute, and nobody waits for it.
const PACE: Duration = Duration::from_millis(250);

/// Until `shutdown`. `store` shows products as whoever writes the index sees them.
pub async fn audit(store: &dyn ProductStore, index: &dyn IndexAudit, clock: SharedClock, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        // First the pause: a process that has just started catches up with the feed.
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.cancelled() => return,
        }
        tokio::select! {
            outcome = look(store, index, &clock, PACE) => {
                if let Err(error) = outcome {
                    tracing::warn!(error = %error, "the search index could not be compared; it is tried again");
                }
            }
            () = shutdown.cancelled() => return,
        }
    }
}

/// One audit, told and counted.
///
/// # Errors
/// A store or an index that does not answer.
pub async fn look(
    store: &dyn ProductStore,
    index: &dyn IndexAudit,
    clock: &SharedClock,
    pace: Duration,
) -> Result<Drift, IndexProductsError> {
    let drift = audit_index(store, index, clock, pace).await?;
    for (kind, count) in &drift.found {
        INDEX_DRIFT.with_label_values(&[*kind]).inc_by(*count as u64);
    }
    tracing::info!(
        compared = drift.compared,
        differed = drift.total(),
        repaired = drift.repaired,
        under_way = drift.under_way,
        "search index and store compared"
    );
    Ok(drift)
}
