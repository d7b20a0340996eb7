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

/// The runs of a product's items: of the product itself, and of each variant that has prices of its own.
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

    /// Goes on from a revision's first moment until `to`, with all turns of its prices in between.
    pub fn follow(&self, state: &State, region: Region, from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        let mut next = self.clone();
        let product = match state {
            State::Live(product) => Some(product),
            State::Deleted(_) | State::VariantOf { .. } => None,
        };
        for at in moments(product, region, from, to) {
            let prices = product.map(|product| prices_at(product, region, at)).unwrap_or_default();
            for (item, runs) in &mut next.0 {
                if !prices.contains_key(item) {
                    runs.set(at, None);
                }
            }
            for (item, price) in prices {
                next.0.entry(item).or_default().set(at, Some(price));
            }
        }
        next.0.retain(|_, runs| !runs.is_forgotten());
        next
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

/// What each item with prices of its own costs at that moment; an item that is not for sale is absent.
fn prices_at(product: &Product, region: Region, at: DateTime<Utc>) -> BTreeMap<Sku, Money> {
    let own = std::iter::once((&product.sku, &product.prices));
    let of_variants = product.variants.iter().filter_map(|variant| Some((&variant.sku, variant.prices.as_ref()?)));
    let on_sale = product.assortment.offers(region, at);
    own.chain(of_variants)
        .filter(|_| on_sale)
        .filter_map(|(item, prices)| Some((item.clone(), prices.at(region, at)?.amount)))
        .collect()
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
            let price = revision.live().and_then(|product| prices_at(product, region, at).remove(item));
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
