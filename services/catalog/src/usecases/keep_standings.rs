//! Keeps the documents of the index at what is known of how products stand. Decided here: that a document is written anew when its
//! standing changed and only then, however often the stock moved; under the revision it has, so that standings and revisions cannot
//! overtake each other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use common::Sku;

use super::get_product::level_of;
use super::ports::products::{ProductStore, StoreDown, TurningIndex};
use super::ports::standings::{StandingIndex, Standings};
use super::ports::stock::{MAX_SKUS, StockStore};
use super::renew_turned::{ROUND, RenewError};
use crate::domain::inventory::Level;
use crate::domain::product::{Product, Revision};
use crate::domain::standing::{Standing, grade_at};

/// What this process knows: the stock, which it asks each time, and what is trending, which it is told now and then.
pub struct Known {
    stock: Arc<dyn StockStore>,
    popular: ArcSwap<HashMap<Sku, u8>>,
}

impl Known {
    pub fn new(stock: Arc<dyn StockStore>) -> Self {
        Self { stock, popular: ArcSwap::default() }
    }

    /// From now on these are popular, the most wanted first, and no others.
    pub fn trending(&self, skus: Vec<Sku>) {
        let graded = skus.into_iter().enumerate().map(|(place, sku)| (sku, grade_at(place)));
        self.popular.store(Arc::new(graded.filter(|(_, grade)| *grade > 0).collect()));
    }

    /// What the stock says of `skus`; those of a question that failed are missing.
    pub async fn levels(&self, skus: &[Sku]) -> HashMap<Sku, Level> {
        let mut known = HashMap::with_capacity(skus.len());
        for portion in skus.chunks(MAX_SKUS) {
            match self.stock.availability(portion).await {
                Ok(found) => {
                    let levels: HashMap<Sku, Level> =
                        found.into_iter().map(|(sku, availability)| (sku, availability.level())).collect();
                    known.extend(portion.iter().map(|sku| (sku.clone(), level_of(&levels, sku))));
                }
                Err(error) => tracing::warn!(reason = %error, "documents are written without their availability"),
            }
        }
        known
    }
}

#[async_trait]
impl Standings for Known {
    async fn of(&self, revisions: &[Revision]) -> HashMap<Sku, Standing> {
        let products: Vec<&Product> = revisions.iter().filter_map(Revision::live).collect();
        let forms: HashSet<Sku> = products.iter().flat_map(|product| product.bought()).cloned().collect();
        let levels = self.levels(&forms.into_iter().collect::<Vec<_>>()).await;
        let popular = self.popular.load();
        let standing = |product: &&Product| {
            // As on its page: that of the form which is soonest there.
            let of_forms = product.bought().filter_map(|sku| levels.get(sku).copied());
            let level = of_forms.min_by_key(|level| level.distance());
            let popularity = popular.get(&product.sku).copied().unwrap_or(0);
            (product.sku.clone(), Standing { level, popularity })
        };
        products.iter().map(standing).collect()
    }
}

/// The products that `skus` are variants of.
///
/// # Errors
/// The store does not answer.
pub async fn owners_of(store: &dyn ProductStore, skus: &[Sku]) -> Result<HashSet<Sku>, StoreDown> {
    let mut owners = HashSet::new();
    for portion in skus.chunks(ROUND) {
        owners.extend(store.newest_readable(portion).await?.iter().filter_map(Revision::variant_of).cloned());
    }
    Ok(owners)
}

/// Writes anew the documents of `skus`, or of the products whose variants they are, that say something else than is known. Says how
/// many. One portion is under way at a time: the index sets the pace.
pub async fn keep_standings<I: TurningIndex + StandingIndex>(
    store: &dyn ProductStore,
    index: &I,
    known: &dyn Standings,
    skus: &[Sku],
) -> Result<usize, RenewError> {
    let mut renewed = 0;
    for portion in skus.chunks(ROUND) {
        let newest = store.newest_readable(portion).await?;
        let owners: HashSet<Sku> = newest.iter().filter_map(Revision::variant_of).cloned().collect();
        let owners: Vec<Sku> = owners.into_iter().filter(|owner| !portion.contains(owner)).collect();
        let mut live = newest;
        if !owners.is_empty() {
            live.extend(store.newest_readable(&owners).await?);
        }
        live.retain(|revision| revision.live().is_some());
        // A portion of variants may belong to as many products again.
        for live in live.chunks(ROUND) {
            let skus: Vec<Sku> = live.iter().map(|revision| revision.sku().clone()).collect();
            let (wanted, there) = (known.of(live).await, index.standings(&skus).await?);
            // Without a document it is the pipeline's to write, and then it has its standing.
            let differs = |revision: &&Revision| {
                let (wanted, there) = (wanted.get(revision.sku()), there.get(revision.sku()));
                wanted.zip(there).is_some_and(|(wanted, there)| wanted.level.is_some() && wanted != there)
            };
            let differing: Vec<Revision> = live.iter().filter(differs).cloned().collect();
            renewed += index.renew(&differing).await?.written;
        }
    }
    Ok(renewed)
}
