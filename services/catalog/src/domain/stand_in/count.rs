//! What the stand-in counts. One walk over everything that fits the words: what fails no filter is found and counts everywhere; what
//! fails those of one kind alone counts in that kind's facet, since another value of it would show it; what fails more counts nowhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::StandIn;
use super::entry::Entry;
use super::find::{Fit, is_in};
use super::pairs::PairId;
use crate::domain::facets::{ATTRIBUTE_PAIRS, BUCKETS, Counted, Facet, PriceRange, facets, keep_first, price_ranges};
use crate::domain::product::CategoryPath;
use crate::domain::search_query::Filters;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind<'a> {
    Category,
    Brand,
    Family,
    Price,
    Attribute(&'a str),
}

/// The filters with the numbers of their attributes.
struct Chosen<'a> {
    filters: &'a Filters,
    /// Key to the numbers of its values; values that no product has are none.
    attributes: Vec<(&'a str, Vec<PairId>)>,
}

/// Numbers of products.
struct Tally<'a> {
    categories: HashMap<&'a str, u64>,
    brands: HashMap<&'a str, u64>,
    families: HashMap<&'a str, u64>,
    prices: Vec<(PriceRange, u64)>,
    /// By number of the pair.
    pairs: Vec<u64>,
    own: BTreeMap<&'a str, HashMap<PairId, u64>>,
}

impl StandIn {
    /// Those of `fits` that pass the filters, and the facets.
    pub(super) fn counted(&self, mut fits: Vec<Fit>, filters: &Filters, at: DateTime<Utc>) -> (Vec<Fit>, Vec<Facet>) {
        let number = |(key, values): (&str, &BTreeSet<String>)| -> Vec<PairId> {
            values.iter().filter_map(|value| self.pairs.id(&format!("{key}={value}"))).collect()
        };
        let attributes = filters.attributes.iter().map(|(key, values)| (key.as_str(), number((key.as_str(), values))));
        let chosen = Chosen { filters, attributes: attributes.collect() };
        let mut tally = Tally {
            categories: HashMap::new(),
            brands: HashMap::new(),
            families: HashMap::new(),
            prices: price_ranges(self.region.currency()).into_iter().map(|range| (range, 0)).collect(),
            pairs: vec![0; self.pairs.end()],
            own: filters.attributes.keys().map(|key| (key.as_str(), HashMap::new())).collect(),
        };
        fits.retain(|fit| {
            let entry = self.entry(fit.slot);
            let Some((entry, minor)) = entry.and_then(|entry| Some((entry, entry.minor_at(at)?))) else { return false };
            match chosen.failed(entry, minor) {
                Failed::None => {
                    self.tally(&mut tally, entry, minor, None);
                    true
                }
                Failed::One(kind) => {
                    self.tally(&mut tally, entry, minor, Some(kind));
                    false
                }
                Failed::Several => false,
            }
        });
        (fits, facets(self.summed(tally, filters), filters))
    }

    /// Counts a product in the facet of the kind it fails, or in all.
    fn tally<'a>(&'a self, tally: &mut Tally<'a>, entry: &'a Entry, minor: i64, failed: Option<Kind<'_>>) {
        let counts = |kind: Kind<'_>| failed.is_none_or(|failed| failed == kind);
        if counts(Kind::Category) {
            *tally.categories.entry(&entry.category).or_default() += 1;
        }
        if counts(Kind::Brand) {
            *tally.brands.entry(&entry.brand).or_default() += 1;
        }
        if counts(Kind::Family) {
            *tally.families.entry(entry.family.code()).or_default() += 1;
        }
        if counts(Kind::Price) {
            // What costs a bound is in the ranges on both sides of it.
            for (_, count) in tally.prices.iter_mut().filter(|(range, _)| range.contains(minor)) {
                *count += 1;
            }
        }
        if failed.is_none() {
            for pair in &entry.pairs {
                if let Some(count) = tally.pairs.get_mut(*pair as usize) {
                    *count += 1;
                }
            }
        }
        for (key, own) in &mut tally.own {
            if !counts(Kind::Attribute(key)) {
                continue;
            }
            for pair in &entry.pairs {
                if self.pairs.text(*pair).split_once('=').is_some_and(|(other, _)| other == *key) {
                    *own.entry(*pair).or_default() += 1;
                }
            }
        }
    }

    fn summed(&self, tally: Tally<'_>, chosen: &Filters) -> Counted {
        let nothing = BTreeSet::new();
        // Categories were counted where products stand, and count for everything above as well.
        let mut lineages: HashMap<String, u64> = HashMap::new();
        for (path, count) in tally.categories {
            let lineage = CategoryPath::parse(path).ok();
            for wider in lineage.iter().flat_map(CategoryPath::lineage) {
                *lineages.entry(wider.to_owned()).or_default() += count;
            }
        }
        let pairs = (0..).zip(tally.pairs).filter(|(_, count)| *count > 0);
        let pairs = pairs.map(|(pair, count)| (self.pairs.text(pair).to_owned(), count));
        let own = |(key, counts): (&str, HashMap<PairId, u64>)| {
            let value = |pair: PairId| self.pairs.text(pair).split_once('=').map_or("", |(_, value)| value).to_owned();
            let values = counts.into_iter().map(|(pair, count)| (value(pair), count));
            (key.to_owned(), most(values, BUCKETS, chosen.attributes.get(key).unwrap_or(&nothing)))
        };
        Counted {
            categories: most(lineages, BUCKETS, &chosen.categories),
            brands: most(named(tally.brands), BUCKETS, &chosen.brands),
            families: most(named(tally.families), BUCKETS, &chosen.families),
            prices: tally.prices,
            pairs: most(pairs, ATTRIBUTE_PAIRS, &nothing),
            own: tally.own.into_iter().map(own).collect(),
        }
    }
}

fn named(counts: HashMap<&str, u64>) -> Vec<(String, u64)> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// The values with the most products, equal ones by name, and those that are chosen.
fn most(counts: impl IntoIterator<Item = (String, u64)>, size: usize, chosen: &BTreeSet<String>) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_unstable_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    keep_first(&mut counts, size, chosen);
    counts
}

/// The kinds of filter that a product does not pass.
enum Failed<'a> {
    None,
    One(Kind<'a>),
    Several,
}

impl<'a> Chosen<'a> {
    fn failed(&self, entry: &Entry, minor: i64) -> Failed<'a> {
        let Filters { categories, brands, families, price_min, price_max, .. } = self.filters;
        let one_of = |chosen: &BTreeSet<String>, value: &str| chosen.is_empty() || chosen.contains(value);
        let in_category = categories.is_empty() || categories.iter().any(|path| is_in(&entry.category, path));
        let in_price = price_min.is_none_or(|least| minor >= least) && price_max.is_none_or(|most| minor <= most);
        let passes = [
            (Kind::Category, in_category),
            (Kind::Brand, one_of(brands, &entry.brand)),
            (Kind::Family, one_of(families, entry.family.code())),
            (Kind::Price, in_price),
        ];
        let has_one = |values: &Vec<PairId>| entry.pairs.iter().any(|pair| values.contains(pair));
        let attributes = self.attributes.iter().map(|(key, values)| (Kind::Attribute(key), has_one(values)));
        let mut failed = passes.into_iter().chain(attributes).filter(|(_, passes)| !passes).map(|(kind, _)| kind);
        match (failed.next(), failed.next()) {
            (None, _) => Failed::None,
            (Some(kind), None) => Failed::One(kind),
            (Some(_), Some(_)) => Failed::Several,
        }
    }
}
