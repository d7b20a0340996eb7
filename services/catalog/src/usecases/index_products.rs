//! Brings the index up to the store: change by change as the feed tells them, or all at once into a new index.

use std::collections::HashMap;
use std::time::Duration;

use common::Sku;
use tokio::time::Instant;

use super::ports::products::{Applied, IndexBuilder, IndexDown, ProductCache, ProductIndex, ProductStore, StoreDown};
use crate::domain::product::Revision;

/// Revisions sent to the index at once.
const PORTION: usize = 500;
/// Products between two lines of progress.
const TELL_EVERY: usize = 5_000;

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

/// Builds a new index from the store and lets everybody use it. The old one, or whoever stands in for an index that was lost, answers
/// until then, so search is never empty. A new one that cannot be filled or turns out to lack products is deleted, and nobody sees it.
/// `patience` is how long a search may take that met the old one.
///
/// # Errors
/// A store or an index that does not answer. When everybody was switched already, the old index stays as the sign that
/// [`finish_rebuild`] is still to be done.
pub async fn rebuild_index(
    store: &dyn ProductStore,
    builder: &dyn IndexBuilder,
    patience: Duration,
) -> Result<Applied, IndexProductsError> {
    let index = builder.begin().await?;
    let applied = match fill_and_count(store, builder, &index).await {
        Ok(applied) => applied,
        Err(error) => {
            if let Err(left) = builder.discard(&index).await {
                tracing::warn!(search.index = %index, reason = %left, "a search index that was not finished is left behind");
            }
            return Err(error);
        }
    };
    let former = builder.switch_to(&index).await?;
    finish_rebuild(store, builder, &index, former.as_slice(), patience).await?;
    Ok(applied)
}

/// What is to be done after everybody was switched to `index`: it is filled once more, and only then are the `former` ones deleted, so
/// whoever finds one beside `index` knows that this was not done. Safe to repeat.
///
/// Changes that went to the old index between the second reading and the switch are in the store as well. Prices that turned and
/// availability that moved went there too, under the revision that the new index has already: so everything is written once more.
///
/// # Errors
/// A store or an index that does not answer; the former indexes stay.
pub async fn finish_rebuild(
    store: &dyn ProductStore,
    builder: &dyn IndexBuilder,
    index: &str,
    former: &[String],
    patience: Duration,
) -> Result<(), IndexProductsError> {
    let switched = Instant::now();
    fill(store, builder, index, Writing::Again).await?;
    if former.is_empty() {
        return Ok(());
    }
    // A search that met the old index just before the switch would find it gone, and its shopper would get the stand-in's answer.
    tokio::time::sleep_until(switched + patience).await;
    for former in former {
        builder.discard(former).await?;
    }
    Ok(())
}

async fn fill_and_count(
    store: &dyn ProductStore,
    builder: &dyn IndexBuilder,
    index: &str,
) -> Result<Applied, IndexProductsError> {
    let first = fill(store, builder, index, Writing::New).await?;
    // The reading took a while: a second one finds what changed meanwhile, and finds the rest in place already.
    let second = fill(store, builder, index, Writing::New).await?;
    let refused = first.applied.refused + second.applied.refused;
    let found = builder.count(index).await?;
    tracing::info!(products = second.products, found, refused, "the new search index is counted");
    if found + refused < second.products {
        return Err(
            IndexDown(format!("the new index has {found} of {} products; the old one stays", second.products)).into()
        );
    }
    Ok(first.applied)
}

/// What a reading of the whole store came to.
struct Filled {
    applied: Applied,
    /// Different products, tombstones among them.
    products: usize,
}

#[derive(Clone, Copy)]
enum Writing {
    /// What the index has already stays as it is.
    New,
    /// Over the same revision too.
    Again,
}

/// Fills `index` with the newest revision of everything the store has. Versions decide, so the order of reading does not matter. One
/// portion is under way at a time: the index sets the pace.
async fn fill(
    store: &dyn ProductStore,
    builder: &dyn IndexBuilder,
    index: &str,
    writing: Writing,
) -> Result<Filled, IndexProductsError> {
    let (mut applied, mut products, mut told) = (Applied::default(), 0, 0);
    for portion in store.skus().await?.chunks(PORTION) {
        let portion = store.newest_readable(portion).await?;
        let written = match writing {
            Writing::New => builder.fill(index, &portion).await?,
            Writing::Again => builder.fill_again(index, &portion).await?,
        };
        applied = applied.and(written);
        products += portion.len();
        if products - told >= TELL_EVERY {
            told = products;
            tracing::info!(products, written = applied.written, "the search index is being filled");
        }
    }
    Ok(Filled { applied, products })
}
