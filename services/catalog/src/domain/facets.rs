//! What a search offers to narrow it by. Decided here: which facets there are, in which order, how many values each shows, and where
//! price ranges lie. Not decided here: who counts (the index, or the stand-in). Each count is what choosing that value would give:
//! a facet is counted within the filters of all other kinds, never within its own.

use std::collections::{BTreeMap, BTreeSet};

use common::Currency;

use super::search_query::Filters;

/// Values shown of a facet.
pub const BUCKETS: usize = 30;
/// Pairs of keys and values looked at for the facets of attributes, those with the most products first.
pub const ATTRIBUTE_PAIRS: usize = 200;
/// Attribute facets of one answer, those with the most products first, and their values.
const ATTRIBUTE_FACETS: usize = 12;
const ATTRIBUTE_VALUES: usize = 20;
/// Bounds between price ranges, in major units.
const PRICE_BOUNDS: [i64; 6] = [25, 50, 100, 250, 500, 1000];

/// One value of a facet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub value: String,
    pub count: u64,
    pub selected: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facet {
    pub key: String,
    pub buckets: Vec<Bucket>,
}

/// Prices in minor units. Both bounds are within, as they are within the filter that choosing it sets; what costs a bound is counted on
/// both sides of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceRange {
    /// `25-50`, in major units.
    pub name: String,
    pub from: i64,
    /// `None`: as much as you like.
    pub to: Option<i64>,
}

impl PriceRange {
    pub fn contains(&self, minor: i64) -> bool {
        minor >= self.from && self.to.is_none_or(|to| minor <= to)
    }

    /// The bounds of the query are its bounds.
    fn is_chosen(&self, chosen: &Filters) -> bool {
        let asked = chosen.price_min.is_some() || chosen.price_max.is_some();
        asked && chosen.price_min.unwrap_or(0) == self.from && chosen.price_max == self.to
    }
}

/// `0-25`, `25-50` … `1000-` in that currency.
pub fn price_ranges(currency: Currency) -> Vec<PriceRange> {
    let minor = |major: i64| major * 10_i64.pow(currency.exponent());
    let lower = [0].into_iter().chain(PRICE_BOUNDS);
    let upper = PRICE_BOUNDS.into_iter().map(Some).chain([None]);
    let range = |(from, to): (i64, Option<i64>)| PriceRange {
        name: to.map_or_else(|| format!("{from}-"), |to| format!("{from}-{to}")),
        from: minor(from),
        to: to.map(minor),
    };
    lower.zip(upper).map(range).collect()
}

/// What was counted: values with their products, those with the most first, equal ones by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub categories: Vec<(String, u64)>,
    pub brands: Vec<(String, u64)>,
    pub families: Vec<(String, u64)>,
    pub prices: Vec<(PriceRange, u64)>,
    /// `key=value` of all attributes, within all filters; at most [`ATTRIBUTE_PAIRS`].
    pub pairs: Vec<(String, u64)>,
    /// Values of each attribute that is filtered by, without that filter.
    pub own: BTreeMap<String, Vec<(String, u64)>>,
}

/// The facets of an answer. One without values is left out.
pub fn facets(counted: Counted, chosen: &Filters) -> Vec<Facet> {
    let price = |(range, count): (PriceRange, u64)| {
        (count > 0).then(|| Bucket { selected: range.is_chosen(chosen), value: range.name, count })
    };
    let mut facets = vec![
        facet("category".to_owned(), counted.categories, &chosen.categories),
        facet("brand".to_owned(), counted.brands, &chosen.brands),
        facet("family".to_owned(), counted.families, &chosen.families),
        Facet { key: "price".to_owned(), buckets: counted.prices.into_iter().filter_map(price).collect() },
    ];
    facets.extend(of_attributes(counted.pairs, counted.own, chosen));
    facets.retain(|facet| !facet.buckets.is_empty());
    facets
}

fn facet(key: String, values: Vec<(String, u64)>, chosen: &BTreeSet<String>) -> Facet {
    let bucket = |(value, count): (String, u64)| Bucket { selected: chosen.contains(&value), value, count };
    let mut buckets: Vec<Bucket> = values.into_iter().map(bucket).collect();
    // A chosen value stays visible even when nothing has it, so that it can be unchosen.
    for value in chosen {
        if !buckets.iter().any(|bucket| bucket.value == *value) {
            buckets.push(Bucket { value: value.clone(), count: 0, selected: true });
        }
    }
    Facet { key, buckets }
}

/// The first so many, and every chosen one behind them: with its true count, however few products it has.
pub fn keep_first(values: &mut Vec<(String, u64)>, size: usize, chosen: &BTreeSet<String>) {
    let mut place = 0;
    values.retain(|(value, _)| {
        place += 1;
        place <= size || chosen.contains(value)
    });
}

/// Groups `key=value` pairs by key. A key with a chosen value was counted by itself, without its own filter.
fn of_attributes(
    pairs: Vec<(String, u64)>,
    own: BTreeMap<String, Vec<(String, u64)>>,
    chosen: &Filters,
) -> impl Iterator<Item = Facet> {
    let mut by_key: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for (pair, count) in pairs {
        if let Some((key, value)) = pair.split_once('=') {
            by_key.entry(key.to_owned()).or_default().push((value.to_owned(), count));
        }
    }
    by_key.extend(own);
    let mut ordered: Vec<_> = by_key.into_iter().collect();
    let weight = |(key, values): &(String, Vec<(String, u64)>)| {
        (chosen.attributes.contains_key(key), values.iter().map(|(_, count)| count).sum::<u64>())
    };
    ordered.sort_by(|one, other| weight(other).cmp(&weight(one)).then_with(|| one.0.cmp(&other.0)));
    ordered.truncate(ATTRIBUTE_FACETS);
    let nothing = BTreeSet::new();
    ordered.into_iter().map(move |(key, mut values)| {
        let chosen = chosen.attributes.get(&key).unwrap_or(&nothing);
        keep_first(&mut values, ATTRIBUTE_VALUES, chosen);
        facet(format!("attr.{key}"), values, chosen)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(list: &[(&str, u64)]) -> Vec<(String, u64)> {
        list.iter().map(|(value, count)| ((*value).to_owned(), *count)).collect()
    }

    #[test]
    fn a_chosen_value_is_shown_even_without_products_and_its_facet_comes_first() {
        let chosen = Filters {
            brands: ["Gone".to_owned()].into(),
            attributes: [("colour".to_owned(), ["red".to_owned()].into())].into(),
            ..Filters::default()
        };
        let counted = Counted {
            brands: values(&[("Acme", 3)]),
            pairs: values(&[("size=M", 9), ("colour=red", 1)]),
            own: [("colour".to_owned(), values(&[("blue", 4), ("red", 1)]))].into(),
            ..Counted::default()
        };
        let facets = facets(counted, &chosen);
        let keys: Vec<_> = facets.iter().map(|facet| facet.key.as_str()).collect();
        assert_eq!(keys, ["brand", "attr.colour", "attr.size"]);
        assert_eq!(facets[0].buckets[1], Bucket { value: "Gone".to_owned(), count: 0, selected: true });
        let colours: Vec<_> = facets[1].buckets.iter().map(|bucket| (bucket.count, bucket.selected)).collect();
        assert_eq!(colours, [(4, false), (1, true)]);
    }

    #[test]
    fn a_chosen_value_keeps_its_count_however_many_have_more() {
        let many = (0..50).map(|number| (format!("colour{number:02}"), 100 - number)).collect();
        let chosen = Filters {
            attributes: [("colour".to_owned(), ["colour42".to_owned()].into())].into(),
            ..Filters::default()
        };
        let counted = Counted { own: [("colour".to_owned(), many)].into(), ..Counted::default() };
        let colours = facets(counted, &chosen).remove(0).buckets;
        assert_eq!(colours.len(), ATTRIBUTE_VALUES + 1);
        assert_eq!(colours[20], Bucket { value: "colour42".to_owned(), count: 58, selected: true });
    }

    #[test]
    fn price_ranges_follow_the_currency_and_have_no_gaps() {
        let ranges = price_ranges(Currency::Eur);
        assert_eq!(ranges[0], PriceRange { name: "0-25".to_owned(), from: 0, to: Some(2_500) });
        assert_eq!(ranges[6], PriceRange { name: "1000-".to_owned(), from: 100_000, to: None });
        assert_eq!(price_ranges(Currency::Jpy)[1].from, 25);
        for (minor, within) in [(0, 1), (2_499, 1), (2_500, 2), (2_501, 1), (99_999, 1), (100_000, 2), (i64::MAX, 1)] {
            assert_eq!(ranges.iter().filter(|range| range.contains(minor)).count(), within, "{minor}");
        }
    }

    #[test]
    fn a_range_is_chosen_by_its_bounds() {
        let ranges = price_ranges(Currency::Eur);
        let selected = |min: Option<i64>, max: Option<i64>| {
            let chosen = Filters { price_min: min, price_max: max, ..Filters::default() };
            let counted =
                Counted { prices: ranges.iter().cloned().map(|range| (range, 1)).collect(), ..Counted::default() };
            let buckets = facets(counted, &chosen).remove(0).buckets;
            buckets.into_iter().filter(|bucket| bucket.selected).map(|bucket| bucket.value).collect::<Vec<_>>()
        };
        assert_eq!(selected(Some(2_500), Some(5_000)), ["25-50"]);
        assert_eq!(selected(None, Some(2_500)), ["0-25"]);
        assert_eq!(selected(Some(100_000), None), ["1000-"]);
        assert_eq!(selected(Some(2_500), Some(4_999)), [""; 0]);
        assert_eq!(selected(None, None), [""; 0]);
    }
}
