//! What the stand-in finds. Decided here: what fits, in which order, and how much work a question may be. Pure, and quick enough to be
//! done where it is asked: everything is a walk over lists whose length is bounded by [`STEPS`] or by the number of products.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use chrono::{DateTime, Utc};
use common::Sku;

use super::StandIn;
use super::entry::{Entry, fingerprint};
use super::lexicon::Slot;
use super::words::{beginning, fold, words};
use crate::domain::product::{CategoryPath, Product};
use crate::domain::product_words::{code, number};
use crate::domain::search_query::{Filters, SearchQuery, Sort};

/// Products looked at for the words of one question, over all words: some milliseconds. Words that too many products have are left out
/// first, since they tell least.
const STEPS: usize = 500_000;
/// Words of the products that one word of the question may stand for, by their beginnings.
const MEANT: usize = 64;
/// A word that only begins like the one that is looked for.
const BEGINS: f64 = 0.6;
/// The text, or a word of it, is a number of the product: as in the index, more than any words, and more than one word.
const IS_ITS_NUMBER: f64 = 1000.0;
const HAS_ITS_NUMBER: f64 = 20.0;

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub query: &'a SearchQuery,
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
    /// How many fit words and filters.
    pub total: usize,
    /// All that may fit are here and were looked at.
    pub exact: bool,
    /// How many fit the words.
    pub without_filters: usize,
    /// Nothing fits all of the words; these fit some.
    pub loose: bool,
}

/// The question is about something that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("attributes are not kept outside the index")]
pub struct NotKept;

/// A product that fits some words.
#[derive(Clone, Copy, Debug)]
struct Fit {
    slot: Slot,
    relevance: f64,
}

/// What the words of a text come to.
struct Fits {
    found: Vec<Fit>,
    exact: bool,
    loose: bool,
}

/// One word of a question and the lists of products that fit it.
struct Meant<'a> {
    lists: Vec<(&'a [Slot], f64)>,
    steps: usize,
}

impl StandIn {
    /// One part of the answer to a search.
    ///
    /// # Errors
    /// [`NotKept`] for a filter by attributes.
    pub fn search(&self, ask: Ask<'_>) -> Result<Picked, NotKept> {
        let Ask { query, at, from, size } = ask;
        if !query.filters.attributes.is_empty() {
            return Err(NotKept);
        }
        let Fits { mut found, exact, loose } = match &query.text {
            Some(text) => self.fitting(text),
            None => {
                let all = (0..).zip(&self.entries).filter(|(_, entry)| entry.is_some());
                Fits { found: all.map(|(slot, _)| Fit { slot, relevance: 1.0 }).collect(), exact: true, loose: false }
            }
        };
        found.retain(|fit| self.price(*fit, at).is_some());
        let without_filters = found.len();
        found.retain(|fit| self.entry(fit.slot).is_some_and(|entry| passes(entry, &query.filters, at)));
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
        Ok(Picked { kept, total, exact: exact && self.left_out == 0, without_filters, loose })
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

    /// Up to `most` brands, then up to `most` names of products for what has been typed.
    pub fn completions(
        &self,
        text: &str,
        language: &str,
        most: usize,
        at: DateTime<Utc>,
    ) -> (Vec<String>, Vec<String>) {
        let begun = fold(text);
        let mut found = self.fitting(text).found;
        found.retain(|fit| self.price(*fit, at).is_some());
        found.sort_unstable_by(|one, other| self.order(Sort::Relevance, at, *one, *other));
        let entries = || found.iter().filter_map(|fit| self.entry(fit.slot));
        let brands: BTreeSet<&str> =
            entries().map(|entry| &*entry.brand).filter(|brand| fold(brand).starts_with(&begun)).collect();
        let mut names: Vec<String> = Vec::new();
        for name in entries().filter_map(|entry| entry.name(language)) {
            if names.len() == most {
                break;
            }
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        (brands.into_iter().take(most).map(str::to_owned).collect(), names)
    }

    /// The products that fit all words of `text` or one of its numbers; if there are none, those that fit some.
    fn fitting(&self, text: &str) -> Fits {
        let mut numbered: BTreeMap<Slot, f64> = BTreeMap::new();
        let whole = number(text).map(|number| (number, IS_ITS_NUMBER));
        let parts = text.split_whitespace().filter_map(code).map(|number| (number, HAS_ITS_NUMBER));
        for (number, worth) in parts.chain(whole) {
            let number = fingerprint(&number);
            for (_, slot) in self.numbers.range((number, Slot::MIN)..=(number, Slot::MAX)) {
                numbered.insert(*slot, worth);
            }
        }
        let (by_words, exact, loose) = self.by_words(text, numbered.is_empty());
        let mut found: Vec<Fit> = Vec::with_capacity(by_words.len() + numbered.len());
        for fit in by_words {
            found.push(Fit { relevance: fit.relevance + numbered.remove(&fit.slot).unwrap_or(0.0), ..fit });
        }
        found.extend(numbered.into_iter().map(|(slot, relevance)| Fit { slot, relevance }));
        Fits { found, exact, loose }
    }

    /// Fits of all words, else, where that is wanted, of some; whether all lists were looked at; whether these fit only some.
    fn by_words(&self, text: &str, or_some: bool) -> (Vec<Fit>, bool, bool) {
        let asked: BTreeSet<String> = words(text).collect();
        let mut meant: Vec<Meant<'_>> = asked.iter().map(|word| self.meant(word)).collect();
        // The rare words first: they tell most and cost least.
        meant.sort_by_key(|word| word.steps);
        let (mut left, mut exact) = (STEPS, true);
        let mut of_all = 0_u32;
        // Which of the words each product has, as bits, and what they are worth. A question has far fewer words than bits.
        let mut has = vec![0_u32; self.entries.len()];
        let mut worth = vec![0.0_f64; self.entries.len()];
        let mut touched: Vec<Slot> = Vec::new();
        for (place, word) in meant.iter().enumerate().take(u32::BITS as usize) {
            if word.steps > left && !touched.is_empty() {
                exact = false;
                break;
            }
            let bit = 1_u32 << place;
            of_all |= bit;
            for (list, share) in &word.lists {
                exact &= list.len() <= left;
                let value = share * self.rarity(list.len());
                for slot in list.iter().copied().take(left) {
                    let at = slot as usize;
                    if has[at] & bit == 0 {
                        if has[at] == 0 {
                            touched.push(slot);
                        }
                        has[at] |= bit;
                        worth[at] += value;
                    }
                }
                left = left.saturating_sub(list.len());
            }
        }
        let fits = |all: bool| -> Vec<Fit> {
            let chosen = touched.iter().filter(|slot| !all || has[**slot as usize] == of_all);
            chosen.map(|slot| Fit { slot: *slot, relevance: worth[*slot as usize] }).collect()
        };
        let strict = fits(true);
        if strict.is_empty() && or_some && !touched.is_empty() {
            (fits(false), exact, true)
        } else {
            (strict, exact, false)
        }
    }

    /// The lists of the word itself, then of those that begin like it.
    fn meant(&self, word: &str) -> Meant<'_> {
        let itself = self.words.exactly(word);
        let mut lists = vec![(itself, 1.0)];
        if let Some(beginning) = beginning(word) {
            let others = self.words.beginning(beginning).filter(|(other, _)| *other != word).take(MEANT);
            lists.extend(others.map(|(_, list)| (list, BEGINS)));
        }
        Meant { steps: lists.iter().map(|(list, _)| list.len()).sum(), lists }
    }

    /// How much a word tells that so many products have.
    fn rarity(&self, having: usize) -> f64 {
        (1.0 + self.count() as f64 / (1.0 + having as f64)).ln()
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

fn passes(entry: &Entry, filters: &Filters, at: DateTime<Utc>) -> bool {
    let one_of = |chosen: &BTreeSet<String>, value: &str| chosen.is_empty() || chosen.contains(value);
    let minor = entry.minor_at(at);
    let category = filters.categories.is_empty() || filters.categories.iter().any(|path| is_in(&entry.category, path));
    category
        && one_of(&filters.brands, &entry.brand)
        && one_of(&filters.families, entry.family.code())
        && filters.price_min.is_none_or(|least| minor.is_some_and(|minor| minor >= least))
        && filters.price_max.is_none_or(|most| minor.is_some_and(|minor| minor <= most))
}

/// Whether `category` is `path` or below it.
fn is_in(category: &str, path: &str) -> bool {
    category.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
