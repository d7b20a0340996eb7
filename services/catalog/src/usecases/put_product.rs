//! Staff change what is for sale. A change is the insert of the next revision; if somebody else took that number first,
//! nothing is written and the caller is told. Writing what is there already writes nothing.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use common::{ErrorKind, Explain, Sku};

use super::App;
use super::claim_skus::{CLAIMS_WAIT, Obstacle, claim_skus};
use super::ports::products::{Insertion, StoreDown};
use crate::domain::product::{Author, Product, Revision, State, Step, step_to};

/// Products of one batch.
pub const MAX_BATCH: usize = 500;

/// On whose behalf something is written.
#[derive(Clone, Debug, Default)]
pub struct By<'a> {
    /// Kept with each revision.
    pub author: Option<Author>,
    pub traceparent: Option<&'a str>,
}

impl By<'_> {
    pub(super) fn revision(&self, app: &App, newest: Option<&Revision>, number: i64, state: State) -> Revision {
        let next = Revision::after(newest, number, state, app.region, app.clock.now(), self.author.clone());
        Revision { traceparent: self.traceparent.map(str::to_owned), ..next }
    }
}

/// What a batch did. Products that met another writer are named by their place in the batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    pub created: usize,
    pub changed: usize,
    pub unchanged: usize,
    pub overtaken: Vec<(usize, Sku)>,
    /// Products that want a SKU of another product, and that SKU.
    pub in_use: Vec<(usize, Sku)>,
}

/// What became of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub revision: i64,
    pub created: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum PutProductError {
    #[error("there is no such product")]
    NotFound,
    /// The caller named a revision that is not the newest.
    #[error("the product has another revision; nothing was changed")]
    Outdated,
    #[error("somebody else changed the product at the same moment; nothing was changed")]
    Overtaken,
    #[error("the SKU {0} belongs to another product; nothing was changed")]
    InUse(Sku),
    #[error(transparent)]
    Store(#[from] StoreDown),
}

impl Explain for PutProductError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Outdated => ErrorKind::PreconditionFailed,
            Self::Overtaken | Self::InUse(_) => ErrorKind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::Outdated => "precondition-failed",
            Self::Overtaken => "version-conflict",
            Self::InUse(_) => "state-conflict",
            Self::Store(error) => error.code(),
        }
    }
}

/// A product of a batch.
#[derive(Clone, Debug)]
pub struct Wish {
    pub product: Product,
    /// The revision it was made from, 0 for none: with a later one in the store it is overtaken. `None`: it was made from
    /// nothing and takes the place of whatever is there.
    pub base: Option<i64>,
}

/// Writes up to [`MAX_BATCH`] products, whatever they were before: see [`put_wishes`].
pub async fn put_products(app: &App, products: Vec<Product>, by: &By<'_>) -> Result<BatchOutcome, StoreDown> {
    put_wishes(app, products.into_iter().map(|product| Wish { product, base: None }).collect(), by).await
}

/// Writes up to [`MAX_BATCH`] products, each by itself: some may be written while others meet another writer. A SKU that
/// occurs twice counts with its last place; the earlier ones are overtaken.
pub async fn put_wishes(app: &App, wishes: Vec<Wish>, by: &By<'_>) -> Result<BatchOutcome, StoreDown> {
    let skus: Vec<Sku> = wishes.iter().map(|wish| wish.product.sku.clone()).collect();
    let newest = app.products.store.newest_many(&skus).await?;
    let newest: HashMap<&Sku, &Revision> = newest.iter().map(|revision| (revision.sku(), revision)).collect();
    let mut outcome = BatchOutcome::default();
    let last_place: HashMap<Sku, usize> = skus.iter().cloned().enumerate().map(|(place, sku)| (sku, place)).collect();
    let mut waiting = Waiting::default();
    for (place, Wish { product, base }) in wishes.into_iter().enumerate() {
        if last_place.get(&product.sku) != Some(&place) {
            outcome.overtaken.push((place, product.sku));
            continue;
        }
        let before = newest.get(&product.sku).copied();
        if base.is_some_and(|base| before.map_or(0, |newest| newest.number) != base) {
            outcome.overtaken.push((place, product.sku));
            continue;
        }
        let wanted = State::Live(product);
        let Step::Next { number, created } = step_to(before, &wanted) else {
            outcome.unchanged += 1;
            continue;
        };
        if let State::Live(product) = &wanted {
            if waiting.claimed_since.is_some_and(|since| app.clock.now() - since > CLAIMS_WAIT) {
                waiting.write(app, &mut outcome).await?;
            }
            if !product.variants.is_empty() {
                waiting.claimed_since = waiting.claimed_since.or(Some(app.clock.now()));
            }
            match claim_skus(app, product, before, by).await? {
                Some(Obstacle::InUse(sku)) => {
                    outcome.in_use.push((place, sku));
                    continue;
                }
                Some(Obstacle::Overtaken) => {
                    outcome.overtaken.push((place, product.sku.clone()));
                    continue;
                }
                None => {}
            }
        }
        waiting.places.push((place, created));
        waiting.revisions.push(by.revision(app, before, number, wanted));
    }
    waiting.write(app, &mut outcome).await?;
    outcome.overtaken.sort();
    Ok(outcome)
}

/// Revisions of a batch that are not written yet.
#[derive(Default)]
struct Waiting {
    revisions: Vec<Revision>,
    /// The place of each in the batch, and whether it creates its product.
    places: Vec<(usize, bool)>,
    /// When the first of their variants was claimed.
    claimed_since: Option<DateTime<Utc>>,
}

impl Waiting {
    async fn write(&mut self, app: &App, outcome: &mut BatchOutcome) -> Result<(), StoreDown> {
        let Self { revisions, places, .. } = std::mem::take(self);
        if revisions.is_empty() {
            return Ok(());
        }
        let insertions = app.products.store.insert(&revisions).await?;
        let mut written = Vec::new();
        for ((insertion, revision), (place, created)) in insertions.into_iter().zip(revisions).zip(places) {
            match insertion {
                Insertion::Taken => outcome.overtaken.push((place, revision.sku().clone())),
                Insertion::Written if created => outcome.created += 1,
                Insertion::Written => outcome.changed += 1,
            }
            written.push(revision.sku().clone());
        }
        app.products.cache.forget(&written).await;
        Ok(())
    }
}

/// Brings one product to `wanted`. `expected` is the revision the caller has seen, if it said so.
pub async fn put_product(
    app: &App,
    wanted: State,
    expected: Option<i64>,
    by: &By<'_>,
) -> Result<Written, PutProductError> {
    let sku = wanted.sku().clone();
    let newest = app.products.store.newest(&sku).await?;
    let is_there = newest.as_ref().is_some_and(|revision| revision.live().is_some());
    if matches!(wanted, State::Deleted(_)) && !is_there {
        return Err(PutProductError::NotFound);
    }
    let number_now = newest.as_ref().map(|revision| revision.number);
    if expected.is_some() && expected != number_now.filter(|_| is_there) {
        return Err(PutProductError::Outdated);
    }
    let Step::Next { number, created } = step_to(newest.as_ref(), &wanted) else {
        return Ok(Written { revision: number_now.unwrap_or_default(), created: false });
    };
    if let State::Live(product) = &wanted {
        match claim_skus(app, product, newest.as_ref(), by).await? {
            Some(Obstacle::InUse(sku)) => return Err(PutProductError::InUse(sku)),
            Some(Obstacle::Overtaken) => return Err(PutProductError::Overtaken),
            None => {}
        }
    }
    let revision = by.revision(app, newest.as_ref(), number, wanted);
    let insertions = app.products.store.insert(&[revision]).await?;
    app.products.cache.forget(&[sku]).await;
    match insertions.first() {
        Some(Insertion::Written) => Ok(Written { revision: number, created }),
        // With a revision named, losing the race means that it is outdated now.
        _ if expected.is_some() => Err(PutProductError::Outdated),
        _ => Err(PutProductError::Overtaken),
    }
}
