//! The strip below a product: what goes with it, in the order that suits the shopper, with what each costs and whether it is there.
//!
//! Asked at the same time: personalization for the candidates and Redis for the shopper's interests, each with a patience of its own.
//! Without the first, neighbours from the category stand in; without the second the order is the plain one. What is not sold here
//! or sold out is not recommended. Orders name variants, so candidates may be some, and somebody may stand before one: each counts
//! as its product, which is on a strip once and never on its own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use common::{MessageId, Sku};
use futures::future::join_all;
use uuid::Uuid;

use super::App;
use super::get_product::{level_of, levels, newest_page};
use super::list_products::traits_of;
use super::personalise::{Shopper, interests_of};
use super::ports::recommender::{Candidate, Candidates, Recommender, StripKind};
use super::ports::stock::MAX_SKUS;
use crate::domain::inventory::Level;
use crate::domain::product::{Product, Revision};
use crate::domain::ranking::weave;

/// Most products of a strip.
pub const LONGEST_STRIP: usize = 24;
/// Candidates asked for each that is shown: some are sold out, some not sold here.
const SPARE: usize = 2;
/// How much less a candidate counts than the one before it: an interest lifts a product over about ten others, not over all.
const STEP: f64 = 0.05;
/// The model's name when neighbours stand in.
const NEIGHBOURS: &str = "neighbours";

/// What a strip is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub kind: StripKind,
    pub sku: &'a Sku,
    pub limit: usize,
    pub language: &'a str,
}

#[derive(Clone, Debug)]
pub struct StripItem {
    pub product: Product,
    pub revision: i64,
    /// `None` when the stock could not be asked in time.
    pub availability: Option<Level>,
    pub reason: String,
}

#[derive(Clone, Debug)]
pub struct Strip {
    pub items: Vec<StripItem>,
    pub model: String,
    pub degraded: bool,
    /// Names this strip in the clicks it causes: one person's by itself, else the same for all who are shown the same.
    pub list_id: Uuid,
    /// The answer is for one person and must not be shared.
    pub personal: bool,
}

/// What goes with a product. Never an error: an empty strip is a strip.
pub async fn strip(app: &App, recommender: &dyn Recommender, wanted: Wanted<'_>, shopper: Shopper) -> Strip {
    let limit = wanted.limit.clamp(1, LONGEST_STRIP);
    let most = limit * SPARE;
    let (candidates, interests, itself) = tokio::join!(
        recommender.recommend(wanted.kind, wanted.sku, shopper, most),
        interests_of(app, shopper),
        newest_page(app, wanted.sku)
    );
    // A product that cannot be read has no neighbours, and may have candidates all the same.
    let itself = itself.ok();
    let candidates = match candidates {
        Some(candidates) => candidates,
        None => neighbours(app, itself.as_deref(), wanted.language, most).await,
    };
    let sold = sold_here(app, itself.as_deref().map_or(wanted.sku, Revision::sku), candidates.items).await;
    let woven = weave(sold, interests.as_ref(), |item: &StripItem| traits_of(&item.product));
    let skus: Vec<Sku> = woven.iter().flat_map(|(item, _)| item.product.bought()).take(MAX_SKUS).cloned().collect();
    let levels = levels(app, &skus).await;
    let items = woven.into_iter().map(|(item, _)| StripItem {
        availability: levels.as_ref().and_then(|levels| nearest(levels, &item.product)),
        ..item
    });
    let items: Vec<StripItem> = items.filter(|item| item.availability != Some(Level::Out)).take(limit).collect();
    let personal = shopper.is_somebody();
    Strip {
        list_id: if personal { common::ids::random() } else { name_of(wanted, &candidates.model, &items) },
        items,
        model: candidates.model,
        degraded: candidates.degraded,
        personal,
    }
}

/// A name that follows from the strip, so that who has it already can be told that it did not change.
fn name_of(wanted: Wanted<'_>, model: &str, items: &[StripItem]) -> Uuid {
    let shown = items.iter().map(|item| format!(";{}@{}", item.product.sku, item.revision));
    let below = format!("{} {} {} {model}", wanted.language, wanted.kind.code(), wanted.sku);
    MessageId::derive(&(below + &shown.collect::<String>()), items.len() as i64, "strip.answer").uuid()
}

/// As a product's page has it: that of the variant which is soonest there.
fn nearest(levels: &HashMap<Sku, Level>, product: &Product) -> Option<Level> {
    product.bought().map(|sku| level_of(levels, sku)).min_by_key(|level| level.distance())
}

/// The candidates that can be bought here, without the product itself; each counts a little less than the one before.
async fn sold_here(app: &App, itself: &Sku, candidates: Vec<Candidate>) -> Vec<(StripItem, f64)> {
    let found = candidates.into_iter().filter(|candidate| candidate.sku != *itself).map(|candidate| async move {
        // One that cannot be read is one less on the strip.
        let revision: Arc<Revision> = newest_page(app, &candidate.sku).await.ok()?;
        let product = revision.live().filter(|product| product.is_offered(app.region, app.clock.now()))?;
        Some(StripItem {
            product: product.clone(),
            revision: revision.number,
            availability: None,
            reason: candidate.reason,
        })
    });
    let mut known = HashSet::from([itself.clone()]);
    let found = join_all(found).await.into_iter().flatten().filter(|item| known.insert(item.product.sku.clone()));
    found.enumerate().map(|(place, item)| (item, 1.0 / (1.0 + STEP * place as f64))).collect()
}

/// What stands beside it in its category, when nobody knows better.
async fn neighbours(app: &App, itself: Option<&Revision>, language: &str, most: usize) -> Candidates {
    let items = match itself.and_then(Revision::live) {
        Some(product) => app
            .products
            .index
            .list(Some(&product.category), None, most, language)
            .await
            .inspect_err(|error| tracing::warn!(reason = %error, "a strip is empty"))
            .unwrap_or_default(),
        None => Vec::new(),
    };
    let candidate = |sku: Sku| Candidate { sku, reason: "same_category".to_owned() };
    Candidates {
        items: items.into_iter().map(|hit| candidate(hit.product.sku)).collect(),
        model: NEIGHBOURS.to_owned(),
        degraded: true,
    }
}
