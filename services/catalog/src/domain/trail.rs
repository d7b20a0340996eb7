//! What an item cost before: enough of it to say the lowest price of the thirty days before the present price began, which is
//! what a shop must show beside a reduction (directive 98/6/EC, article 6a). Computed from revision to revision; whoever
//! computes it from all revisions of the product comes to the same (`price_history`).
//!
//! Small for ever: of earlier prices only those are kept that can still be the lowest of some later time span, that is
//! those without a lower one after them. When even these are too many, two neighbours become one that has the lower price and
//! the later end, so that what is shown may be too low and never too high.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use common::{Money, Region, Sku};

use super::product::{Product, Revision, State};

/// How far back the lowest price counts.
pub const SPAN: TimeDelta = TimeDelta::days(30);

/// Earlier prices kept for one item: a price that rises each half day for a month.
const MOST_PAST: usize = 60;

/// Items kept: the product, a hundred variants, and as many again that were taken away or exchanged twice within the span. The
/// validator of the store has the same number.
const MOST_ITEMS: usize = 301;

/// The prices of one item in one region, up to some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// When each ended and what it was; both rise.
    past: Vec<(DateTime<Utc>, Money)>,
    /// The price at that moment and since when it holds without a break.
    now: Option<(DateTime<Utc>, Money)>,
}

impl Runs {
    /// Runs as a store kept them.
    pub fn kept(past: Vec<(DateTime<Utc>, Money)>, now: Option<(DateTime<Utc>, Money)>) -> Self {
        Self { past, now }
    }

    pub fn past(&self) -> &[(DateTime<Utc>, Money)] {
        &self.past
    }

    pub fn now(&self) -> Option<(DateTime<Utc>, Money)> {
        self.now
    }

    /// The lowest price of the thirty days before the present one began.
    pub fn lowest_before(&self) -> Option<Money> {
        self.past.first().map(|(_, price)| *price)
    }

    /// From `at` on the price is this one; `None`: the item is not for sale.
    fn set(&mut self, at: DateTime<Utc>, price: Option<Money>) {
        if self.now.map(|(_, now)| now) != price {
            if let Some((_, ended)) = self.now.take() {
                self.past.truncate(self.past.partition_point(|(_, earlier)| earlier.minor() < ended.minor()));
                self.past.push((at, ended));
            }
            self.now = price.map(|price| (at, price));
        }
        let begun = self.now.map_or(at, |(since, _)| since);
        self.past.retain(|(until, _)| *until > begun - SPAN);
        while self.past.len() > MOST_PAST {
            let (_, lower) = self.past.remove(0);
            if let Some(first) = self.past.first_mut() {
                first.1 = lower;
            }
        }
    }

    fn is_forgotten(&self) -> bool {
        self.now.is_none() && self.past.is_empty()
    }
}

/// The runs of a product's items: of the product itself, and of each variant that has prices of its own or had them within the
/// span. Every other variant has always cost what its product cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail(BTreeMap<Sku, Runs>);

impl Trail {
    /// A trail as a store kept it.
    pub fn kept(runs: impl IntoIterator<Item = (Sku, Runs)>) -> Self {
        Self(runs.into_iter().collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Sku, &Runs)> {
        self.0.iter()
    }

    pub fn of(&self, item: &Sku) -> Option<&Runs> {
        self.0.get(item)
    }

    /// What the price of `item`, a variant of `product` or the product itself, is compared with.
    pub fn judging(&self, item: &Sku, product: &Sku) -> Option<&Runs> {
        self.of(item).or_else(|| self.of(product))
    }

    /// Goes on from a revision's first moment until `to`, with all turns of its prices in between.
    pub fn follow(&self, state: &State, region: Region, from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        let mut next = self.clone();
        let product = match state {
            State::Live(product) => Some(product),
            State::Deleted(_) | State::VariantOf { .. } => None,
        };
        for item in product.into_iter().flat_map(priced_items) {
            next.0.entry(item.clone()).or_default();
        }
        for at in moments(product, region, from, to) {
            for (item, runs) in &mut next.0 {
                runs.set(at, product.and_then(|product| price_of(product, item, region, at)));
            }
        }
        next.0.retain(|_, runs| !runs.is_forgotten());
        next.forget_like_the_product(product);
        next.bound();
        next
    }

    /// At the change from `former` to `next`: a variant that cost what its product cost, and that now has prices of its own or
    /// is taken away, takes the past of the product along. Else it would have none when it is reduced, or comes back.
    pub(super) fn parted(mut self, former: &State, next: &State) -> Self {
        let State::Live(former) = former else { return self };
        let Some(runs) = self.of(&former.sku).cloned() else { return self };
        let stays = |item: &Sku| match next {
            State::Live(next) => next.variant(item).is_some_and(|variant| variant.prices.is_none()),
            State::Deleted(_) | State::VariantOf { .. } => false,
        };
        for variant in former.variants.iter().filter(|variant| variant.prices.is_none() && !stays(&variant.sku)) {
            self.0.entry(variant.sku.clone()).or_insert_with(|| runs.clone());
        }
        self.bound();
        self
    }

    /// A variant without prices of its own whose past is its product's again needs no place of its own.
    fn forget_like_the_product(&mut self, product: Option<&Product>) {
        let Some(product) = product else { return };
        let Some(runs) = self.of(&product.sku).cloned() else { return };
        let is_like_it = |item: &Sku| product.variant(item).is_some_and(|variant| variant.prices.is_none());
        self.0.retain(|item, own| *own != runs || !is_like_it(item));
    }

    /// What went out of sale first is forgotten when there are too many: it would have to come back within the span, and
    /// reduced, to be missed.
    fn bound(&mut self) {
        while self.0.len() > MOST_ITEMS {
            let gone = self.0.iter().filter(|(_, runs)| runs.now.is_none());
            let first = gone.min_by_key(|(_, runs)| runs.past.last().map(|(until, _)| *until));
            let Some(item) = first.map(|(item, _)| item.clone()) else { return };
            self.0.remove(&item);
        }
    }
}

/// The last moment of a revision that is followed at `at`: times are of the millisecond.
pub(super) fn just_before(at: DateTime<Utc>) -> DateTime<Utc> {
    at - TimeDelta::milliseconds(1)
}

/// The revision's first moment and every later one until `to` at which its prices may change.
fn moments(product: Option<&Product>, region: Region, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let turns = product.into_iter().flat_map(|product| product.turns(region));
    let mut moments: Vec<_> = turns.filter(|turn| from < *turn && *turn <= to).collect();
    moments.push(from);
    moments.sort_unstable();
    moments.dedup();
    moments
}

/// The product and its variants with prices of their own.
fn priced_items(product: &Product) -> impl Iterator<Item = &Sku> {
    let own = product.variants.iter().filter(|variant| variant.prices.is_some()).map(|variant| &variant.sku);
    std::iter::once(&product.sku).chain(own)
}

/// What the product or one of its variants costs at that moment; `None`: it is not for sale, or none of them.
fn price_of(product: &Product, item: &Sku, region: Region, at: DateTime<Utc>) -> Option<Money> {
    let prices = match product.variant(item) {
        Some(variant) => variant.prices.as_ref().unwrap_or(&product.prices),
        None if *item == product.sku => &product.prices,
        None => return None,
    };
    product.assortment.offers(region, at).then(|| prices.at(region, at)).flatten().map(|price| price.amount)
}

/// One step of an item's price: from when, and to what.
pub type PriceStep = (DateTime<Utc>, Option<Money>);

/// Every step of `item`'s price until `to`, from all revisions of its product in order. This is the whole truth, as long as
/// it is; [`Trail`] is the part of it that pages need.
pub fn price_history(revisions: &[Revision], item: &Sku, region: Region, to: DateTime<Utc>) -> Vec<PriceStep> {
    let mut steps: Vec<PriceStep> = Vec::new();
    for (place, revision) in revisions.iter().enumerate() {
        let end = revisions.get(place + 1).map_or(to, |next| just_before(next.changed_at).min(to));
        for at in moments(revision.live(), region, revision.changed_at, end) {
            let price = revision.live().and_then(|product| price_of(product, item, region, at));
            if steps.last().map_or(price.is_some(), |(_, last)| *last != price) {
                steps.push((at, price));
            }
        }
    }
    steps
}

/// The lowest price that held at any moment of the time span, its end excluded.
pub fn lowest_between(steps: &[PriceStep], from: DateTime<Utc>, to: DateTime<Utc>) -> Option<Money> {
    let until = |place: usize| steps.get(place + 1).map_or(to, |(next, _)| *next);
    let within = steps.iter().enumerate().filter(|(place, (at, _))| *at < to && until(*place) > from);
    within.filter_map(|(_, (_, price))| *price).min_by_key(|price| price.minor())
}

#[cfg(test)]
#[path = "trail_tests.rs"]
mod tests;
