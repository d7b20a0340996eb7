//! AuditIndex: compares the search index with the store, product by product and in both directions, reports what differs and puts
//! it right. The index is a projection that anybody may rebuild, so repairing it hides nothing: each difference is counted and
//! logged first, because a healthy pipeline makes none.
//!
//! A product that changed a moment ago may still be on its way; it is left to the pipeline and counted apart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::Sku;
use futures::StreamExt as _;

use super::index_products::IndexProductsError;
use super::ports::products::{Difference, IndexAudit, ProductStore};
use crate::domain::product::Revision;

/// Products compared at once: what one read of the store may ask for.
const PORTION: usize = 500;
/// A change younger than this may still be on its way. The pipeline takes a second; after a restart of the broker, a minute.
const UNDER_WAY: chrono::Duration = chrono::Duration::seconds(120);

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
    now: DateTime<Utc>,
    pace: Duration,
) -> Result<Drift, IndexProductsError> {
    let mut drift = Drift::default();
    let mut portions = store.all().await?.chunks(PORTION);
    while let Some(portion) = portions.next().await {
        let portion = portion.into_iter().collect::<Result<Vec<Revision>, _>>()?;
        // Of the revisions of a product only the newest says anything, and it may be in another portion.
        let skus: BTreeSet<Sku> = portion.iter().map(|revision| revision.sku().clone()).collect();
        let newest = store.newest_many(&skus.into_iter().collect::<Vec<_>>()).await?;
        compare(index, &newest, now, &mut drift).await?;
        tokio::time::sleep(pace).await;
    }
    strangers(store, index, pace, &mut drift).await?;
    Ok(drift)
}

async fn compare(
    index: &dyn IndexAudit,
    newest: &[Revision],
    now: DateTime<Utc>,
    drift: &mut Drift,
) -> Result<(), IndexProductsError> {
    let differences = index.differences(newest).await?;
    drift.compared += newest.len();
    let mut wrong = Vec::new();
    for revision in newest {
        let Some(difference) = differences.get(revision.sku()) else { continue };
        if now - revision.changed_at < UNDER_WAY {
            drift.under_way += 1;
        } else {
            drift.note(revision.sku(), *difference);
            wrong.push(revision.clone());
        }
    }
    if !wrong.is_empty() {
        drift.repaired += index.restore(&wrong).await?.written;
    }
    Ok(())
}

/// What the index has and the store never had.
async fn strangers(
    store: &dyn ProductStore,
    index: &dyn IndexAudit,
    pace: Duration,
    drift: &mut Drift,
) -> Result<(), IndexProductsError> {
    let mut after = None;
    loop {
        let skus = index.skus_after(after.as_ref(), PORTION).await?;
        let Some(last) = skus.last().cloned() else { return Ok(()) };
        let known = store.newest_many(&skus).await?;
        let known: BTreeSet<&Sku> = known.iter().map(Revision::sku).collect();
        let unknown: Vec<Sku> = skus.iter().filter(|sku| !known.contains(sku)).cloned().collect();
        unknown.iter().for_each(|sku| drift.note(sku, Difference::Unknown));
        drift.compared += unknown.len();
        if !unknown.is_empty() {
            drift.repaired += index.remove(&unknown).await?;
        }
        after = Some(last);
        tokio::time::sleep(pace).await;
    }
}
