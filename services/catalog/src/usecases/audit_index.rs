//! AuditIndex: compares the search index with the store, product by product and in both directions, reports what differs and puts
//! it right. The index is a projection that anybody may rebuild, so repairing it hides nothing: each difference is counted and
//! logged first, because a healthy pipeline makes none.
//!
//! A product that changed a moment ago may still be on its way; it is left to the pipeline and counted apart. Store and index are
//! read one after the other, and both go on meanwhile: so a difference is believed only when it is still there at a second look, and
//! nothing is taken out of the index that was written since it was seen there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use common::{SharedClock, Sku};

use super::index_products::IndexProductsError;
use super::ports::products::{Difference, IndexAudit, ProductStore, Seen};
use crate::domain::product::Revision;

/// Products compared at once: what one read of the store may ask for.
const PORTION: usize = 500;
/// A change younger than this may still be on its way. The pipeline takes a second; after a restart of the broker, a minute.
const UNDER_WAY: chrono::Duration = chrono::Duration::seconds(120);
/// Between the two looks at a difference: within it whoever follows the stock has written a level that moved, and the pipeline a change.
const SECOND_LOOK: Duration = Duration::from_secs(3);

/// What an audit found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Products looked at, from either side.
    pub compared: usize,
    /// By kind of difference.
    pub found: BTreeMap<&'static str, usize>,
    pub repaired: usize,
    /// Different, but changed so lately that the pipeline will do it.
    pub under_way: usize,
}

impl Drift {
    /// Differences that should not be there.
    pub fn total(&self) -> usize {
        self.found.values().sum()
    }

    fn note(&mut self, sku: &Sku, difference: Difference) {
        tracing::error!(product.sku = %sku, kind = difference.code(), "the search index differs from the store");
        *self.found.entry(difference.code()).or_default() += 1;
    }
}

/// Looks at every product of the store and of the index. Waits `pace` between portions, so that shoppers do not notice.
///
/// # Errors
/// A store or an index that does not answer; what was repaired until then stays so.
pub async fn audit_index(
    store: &dyn ProductStore,
    index: &dyn IndexAudit,
    clock: &SharedClock,
    pace: Duration,
) -> Result<Drift, IndexProductsError> {
    let mut drift = Drift::default();
    for portion in store.skus().await?.chunks(PORTION) {
        compare(store, index, clock, portion, &mut drift).await?;
        tokio::time::sleep(pace).await;
    }
    strangers(store, index, pace, &mut drift).await?;
    Ok(drift)
}

async fn compare(
    store: &dyn ProductStore,
    index: &dyn IndexAudit,
    clock: &SharedClock,
    skus: &[Sku],
    drift: &mut Drift,
) -> Result<(), IndexProductsError> {
    let newest = store.newest_readable(skus).await?;
    drift.compared += newest.len();
    let differences = index.differences(&newest).await?;
    let now = clock.now();
    let mut suspects = Vec::new();
    for revision in newest.iter().filter(|revision| differences.contains_key(revision.sku())) {
        if now - revision.changed_at < UNDER_WAY {
            drift.under_way += 1;
        } else {
            suspects.push(revision.sku().clone());
        }
    }
    if suspects.is_empty() {
        return Ok(());
    }
    tokio::time::sleep(SECOND_LOOK).await;
    look_again(store, index, clock, &suspects, drift).await
}

/// Reports and repairs those of `suspects` that still differ.
async fn look_again(
    store: &dyn ProductStore,
    index: &dyn IndexAudit,
    clock: &SharedClock,
    suspects: &[Sku],
    drift: &mut Drift,
) -> Result<(), IndexProductsError> {
    // The index before the store. What is stored is indexed afterwards, so a document seen here with a revision that the store does
    // not have then is ahead indeed; read the other way round, each change that comes in between would look so.
    let seen = index.seen(suspects).await?;
    let seen: HashMap<&Sku, &Seen> = seen.iter().map(|seen| (&seen.sku, seen)).collect();
    let newest = store.newest_readable(suspects).await?;
    let differences = index.differences(&newest).await?;
    let now = clock.now();
    let (mut wrong, mut ahead) = (Vec::new(), Vec::new());
    for revision in newest {
        let Some(difference) = differences.get(revision.sku()).copied() else { continue };
        let was_ahead = seen.get(revision.sku()).copied().filter(|seen| seen.version > revision.number);
        if now - revision.changed_at < UNDER_WAY || (difference == Difference::Ahead && was_ahead.is_none()) {
            drift.under_way += 1;
            continue;
        }
        drift.note(revision.sku(), difference);
        match was_ahead {
            // It can only be taken away: the index would keep it against anything older.
            Some(seen) if difference == Difference::Ahead => ahead.push(seen.clone()),
            Some(_) | None => wrong.push(revision),
        }
    }
    if !ahead.is_empty() {
        drift.repaired += index.remove(&ahead).await?;
    }
    if !wrong.is_empty() {
        drift.repaired += index.restore(&wrong).await?.written;
    }
    Ok(())
}

/// What the index has and the store never had. The index is read first here too, so a product that is made meanwhile is none.
async fn strangers(
    store: &dyn ProductStore,
    index: &dyn IndexAudit,
    pace: Duration,
    drift: &mut Drift,
) -> Result<(), IndexProductsError> {
    let mut after = None;
    loop {
        let seen = index.seen_after(after.as_ref(), PORTION).await?;
        let Some(last) = seen.last().map(|seen| seen.sku.clone()) else { return Ok(()) };
        let skus: Vec<Sku> = seen.iter().map(|seen| seen.sku.clone()).collect();
        let known = store.newest_readable(&skus).await?;
        let known: BTreeSet<&Sku> = known.iter().map(Revision::sku).collect();
        let mut unknown: Vec<Seen> = Vec::new();
        for seen in seen {
            // A product of the store that cannot be read is no stranger: asked for by itself, it is an error.
            if !known.contains(&seen.sku) && matches!(store.newest(&seen.sku).await, Ok(None)) {
                unknown.push(seen);
            }
        }
        unknown.iter().for_each(|seen| drift.note(&seen.sku, Difference::Unknown));
        drift.compared += unknown.len();
        if !unknown.is_empty() {
            drift.repaired += index.remove(&unknown).await?;
        }
        after = Some(last);
        tokio::time::sleep(pace).await;
    }
}
