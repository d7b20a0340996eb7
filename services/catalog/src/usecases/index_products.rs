//! Brings the index up to the store: change by change as the feed tells them, or all at once into a new index.

use std::collections::HashMap;

use common::Sku;
use futures::StreamExt as _;

use super::ports::products::{Applied, IndexBuilder, IndexDown, ProductCache, ProductIndex, ProductStore, StoreDown};
use crate::domain::product::Revision;

/// Revisions sent to the index at once.
const PORTION: usize = 500;

#[derive(Debug, thiserror::Error)]
pub enum IndexProductsError {
    #[error(transparent)]
    Store(#[from] StoreDown),
    #[error(transparent)]
    Index(#[from] IndexDown),
}

/// Applies changes from the feed. They may come twice, late, or in any order: the newest revision stays.
pub async fn index_products(
    index: &dyn ProductIndex,
    cache: &dyn ProductCache,
    revisions: &[Revision],
) -> Result<Applied, IndexDown> {
    let newest = newest_of_each(revisions);
    let mut sum = Applied { stale: revisions.len() - newest.len(), ..Applied::default() };
    for portion in newest.chunks(PORTION) {
        sum = sum.and(index.apply(portion).await?);
    }
    // The page must not stay behind the search for longer than needed.
    let skus: Vec<_> = newest.iter().map(|revision| revision.sku().clone()).collect();
    cache.forget(&skus).await;
    Ok(sum)
}

/// Of several changes of one product only the last is worth the work.
fn newest_of_each(revisions: &[Revision]) -> Vec<Revision> {
    let mut newest: HashMap<&Sku, &Revision> = HashMap::new();
    for revision in revisions {
        let known = newest.entry(revision.sku()).or_insert(revision);
        if revision.number > known.number {
            *known = revision;
        }
    }
    newest.into_values().cloned().collect()
}

/// Builds a new index from the store and lets everybody use it. The old one answers until then, so search is never empty.
pub async fn rebuild_index(
    store: &dyn ProductStore,
    builder: &dyn IndexBuilder,
) -> Result<Applied, IndexProductsError> {
    let index = builder.begin().await?;
    let sum = fill(store, builder, &index).await?;
    builder.switch_to(&index).await?;
    // Changes that went to the old index while we were reading are in the store; a second reading finds them, and finds the
    // rest in place already.
    fill(store, builder, &index).await?;
    Ok(sum)
}

/// Fills `index` with everything the store has. Versions decide, so the order of reading does not matter.
pub async fn fill(
    store: &dyn ProductStore,
    builder: &dyn IndexBuilder,
    index: &str,
) -> Result<Applied, IndexProductsError> {
    let mut portions = store.all().await?.chunks(PORTION);
    let mut sum = Applied::default();
    while let Some(portion) = portions.next().await {
        let portion = portion.into_iter().collect::<Result<Vec<_>, _>>()?;
        sum = sum.and(builder.fill(index, &portion).await?);
    }
    Ok(sum)
}

impl Applied {
    fn and(self, other: Self) -> Self {
        Self {
            written: self.written + other.written,
            stale: self.stale + other.stale,
            refused: self.refused + other.refused,
        }
    }
}
