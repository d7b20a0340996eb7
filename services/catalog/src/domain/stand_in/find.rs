//! What the stand-in finds. Decided here: which questions it asks itself, as the index is asked (as it stands, else corrected, else
//! loosely), and the order. What words fit is decided in `meant`, what is counted in `count`. Pure, and quick enough to be done where it
//! is asked: everything is a walk over lists whose length is bounded by what `meant` allows or by the number of products.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

use chrono::{DateTime, Utc};
use common::Sku;

use super::StandIn;
use super::lexicon::Slot;
use super::meant::Fits;
use crate::domain::facets::Facet;
use crate::domain::product::{CategoryPath, Product};
use crate::domain::search_query::{Reading, SearchQuery, Sort, Strictness};

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub query: &'a SearchQuery,
    /// Words are searched in it and in English.
    pub language: &'a str,
    /// The moment whose prices hold.
    pub at: DateTime<Utc>,
    pub from: usize,
    pub size: usize,
}

/// A product as far as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub product: Product,
    pub revision: i64,
    /// 1 where the question has no words.
    pub relevance: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Picked {
    pub kept: Vec<Kept>,
    pub facets: Vec<Facet>,
    /// How many fit words and filters.
    pub total: usize,
    /// All that may fit are here and were looked at.
    pub exact: bool,
    /// How many fit the words.
    pub without_filters: usize,
    /// The words as somebody may have meant them.
    pub corrected: Option<String>,
    pub reading: Reading,
}

/// A product that fits some words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    pub slot: Slot,
    pub relevance: f64,
}

impl StandIn {
    /// One part of the answer to a search.
    pub fn search(&self, ask: Ask<'_>) -> Picked {
        let Some(text) = &ask.query.text else {
            let all = (0..).zip(&self.entries).filter(|(_, entry)| entry.is_some());
            let found = all.map(|(slot, _)| Fit { slot, relevance: 1.0 }).collect();
            return self.pick(ask, self.for_sale(Fits { found, exact: true }, ask.at), None, Reading::AsAsked);
        };
        let fitting = |text: &str, strictness| self.for_sale(self.fitting(text, ask.language, strictness), ask.at);
        let corrected = self.corrected(text);
        let first = fitting(text, Strictness::Exact);
        if !first.found.is_empty() {
            return self.pick(ask, first, corrected, Reading::AsAsked);
        }
        if let Some(better) = &corrected {
            let second = fitting(better, Strictness::Exact);
            if !second.found.is_empty() {
                return self.pick(ask, second, corrected, Reading::Corrected);
            }
        }
        let last = fitting(corrected.as_deref().unwrap_or(text), Strictness::Loose);
        self.pick(ask, last, corrected, Reading::Loose)
    }

    fn for_sale(&self, mut fits: Fits, at: DateTime<Utc>) -> Fits {
        fits.found.retain(|fit| self.price(*fit, at).is_some());
        fits
    }

    fn pick(&self, ask: Ask<'_>, fits: Fits, corrected: Option<String>, reading: Reading) -> Picked {
        let Ask { query, at, from, size, .. } = ask;
        let without_filters = fits.found.len();
        let (mut found, facets) = self.counted(fits.found, &query.filters, at);
        let total = found.len();
        let order = |one: &Fit, other: &Fit| self.order(query.sort, at, *one, *other);
        let end = from.saturating_add(size);
        if end < found.len() {
            // Only what is shown has to be in order.
            found.select_nth_unstable_by(end, order);
            found.truncate(end);
        }
        found.sort_unstable_by(order);
        let kept = found.into_iter().skip(from).filter_map(|fit| self.kept(fit)).collect();
        // A description may have words that nobody looked at here.
        let all_words = query.text.is_none() || self.read_in_part == 0;
        let exact = fits.exact && all_words && self.left_out == 0;
        Picked { kept, facets, total, exact, without_filters, corrected, reading }
    }

    /// Products after `after` in the order of their SKUs.
    pub fn list(
        &self,
        category: Option<&CategoryPath>,
        after: Option<&Sku>,
        size: usize,
        at: DateTime<Utc>,
    ) -> Vec<Kept> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let slots = self.known.range::<Sku, _>((from, Bound::Unbounded)).filter_map(|(_, known)| known.slot);
        let wanted = slots.filter(|slot| {
            let entry = self.entry(*slot).filter(|entry| entry.minor_at(at).is_some());
            entry.is_some_and(|entry| category.is_none_or(|category| is_in(&entry.category, category.as_str())))
        });
        wanted.filter_map(|slot| self.kept(Fit { slot, relevance: 1.0 })).take(size).collect()
    }

    /// Category paths with the number of products in and below each, by path.
    pub fn categories(&self, at: DateTime<Utc>) -> Vec<(String, u64)> {
        let mut leaves: BTreeMap<&str, u64> = BTreeMap::new();
        for entry in self.entries.iter().flatten().filter(|entry| entry.minor_at(at).is_some()) {
            *leaves.entry(&entry.category).or_default() += 1;
        }
        let mut all: BTreeMap<String, u64> = BTreeMap::new();
        for (path, count) in leaves {
            let lineage = CategoryPath::parse(path).ok();
            for wider in lineage.iter().flat_map(CategoryPath::lineage) {
                *all.entry(wider.to_owned()).or_default() += count;
            }
        }
        all.into_iter().collect()
    }

    fn price(&self, fit: Fit, at: DateTime<Utc>) -> Option<i64> {
        self.entry(fit.slot)?.minor_at(at)
    }

    fn kept(&self, fit: Fit) -> Option<Kept> {
        let entry = self.entry(fit.slot)?;
        Some(Kept { product: entry.product()?, revision: entry.revision, relevance: fit.relevance })
    }

    /// As the index sorts; the SKU last, so that equal products keep one order on all pages.
    fn order(&self, sort: Sort, at: DateTime<Utc>, one: Fit, other: Fit) -> Ordering {
        let entries = (self.entry(one.slot), self.entry(other.slot));
        let by = match sort {
            Sort::Relevance => other.relevance.total_cmp(&one.relevance),
            Sort::PriceAscending => self.price(one, at).cmp(&self.price(other, at)),
            Sort::PriceDescending => self.price(other, at).cmp(&self.price(one, at)),
            Sort::Newest => entries.1.map(|entry| entry.changed_at).cmp(&entries.0.map(|entry| entry.changed_at)),
        };
        by.then_with(|| entries.0.map(|entry| &entry.sku).cmp(&entries.1.map(|entry| &entry.sku)))
    }
}

/// Whether `category` is `path` or below it.
pub(super) fn is_in(category: &str, path: &str) -> bool {
    category.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
