//! How a person's interests are woven into an order of products. Decided here: how much an interest may move a product,
//! and that nothing is added, lost or moved without one. Not decided here: how interests arise (personalization), which
//! products are candidates (the index).
//!
//! A product's score is its relevance times `1 + boost`. The boost lies between 0 and [`MAX_BOOST`], so that a liked
//! product can pass one that fits the query up to twice as well, and never one that fits better still.

use std::collections::HashMap;

use super::product::CategoryPath;

/// Largest sum of all shares below.
pub const MAX_BOOST: f64 = 1.0;
/// Shares of the boost. The category says most about what somebody is looking for; one product says least, since it has
/// been seen already.
const CATEGORY_SHARE: f64 = 0.5;
const BRAND_SHARE: f64 = 0.3;
const FAMILY_SHARE: f64 = 0.1;
const SKU_SHARE: f64 = 0.1;
/// Products that take part in the weaving, from the top. Beyond them nobody looks before searching anew.
pub const WINDOW: usize = 100;

/// What one person cares about: decayed weights, any finite number above zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interests {
    pub categories: HashMap<String, f64>,
    pub brands: HashMap<String, f64>,
    pub families: HashMap<String, f64>,
    pub skus: HashMap<String, f64>,
    /// W3C trace context of the newest click, so that a page can be linked to what changed it.
    pub traceparent: Option<String>,
}

impl Interests {
    pub fn is_empty(&self) -> bool {
        self.categories.is_empty() && self.brands.is_empty() && self.families.is_empty() && self.skus.is_empty()
    }

    /// The keys of `weights` with the greatest weights, the greatest first; equal weights by name.
    pub fn strongest(weights: &HashMap<String, f64>, count: usize) -> Vec<&str> {
        let mut keys: Vec<(&str, f64)> = weights
            .iter()
            .map(|(key, weight)| (key.as_str(), sane(*weight)))
            .filter(|(_, weight)| *weight > 0.0)
            .collect();
        keys.sort_by(|one, other| other.1.total_cmp(&one.1).then_with(|| one.0.cmp(other.0)));
        keys.truncate(count);
        keys.into_iter().map(|(key, _)| key).collect()
    }
}

/// What ranking looks at in a product.
#[derive(Clone, Copy, Debug)]
pub struct Traits<'a> {
    pub sku: &'a str,
    pub category: &'a CategoryPath,
    pub brand: &'a str,
    pub family: &'a str,
}

/// Why a product stands where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rank {
    pub relevance: f64,
    /// 0 to [`MAX_BOOST`].
    pub boost: f64,
}

impl Rank {
    pub fn score(self) -> f64 {
        self.relevance * (1.0 + self.boost)
    }
}

/// Orders `items` by score, the best first; equal scores keep the order they came in. Without interests nothing moves.
pub fn weave<T>(
    items: Vec<(T, f64)>,
    interests: Option<&Interests>,
    traits: impl for<'a> Fn(&'a T) -> Traits<'a>,
) -> Vec<(T, Rank)> {
    let mut ranked: Vec<(T, Rank)> = items
        .into_iter()
        .map(|(item, relevance)| {
            let boost = interests.map_or(0.0, |interests| boost(interests, traits(&item)));
            (item, Rank { relevance: sane(relevance), boost })
        })
        .collect();
    if interests.is_some_and(|interests| !interests.is_empty()) {
        ranked.sort_by(|one, other| other.1.score().total_cmp(&one.1.score()));
    }
    ranked
}

/// How much `interests` lift a product: 0 to [`MAX_BOOST`].
pub fn boost(interests: &Interests, product: Traits<'_>) -> f64 {
    // An interest in something wide holds for everything inside it; the strongest one on the way counts.
    let category = product.category.lineage().map(|path| share(&interests.categories, path)).fold(0.0, f64::max);
    let sum = CATEGORY_SHARE * category
        + BRAND_SHARE * share(&interests.brands, product.brand)
        + FAMILY_SHARE * share(&interests.families, product.family)
        + SKU_SHARE * share(&interests.skus, product.sku);
    sum.clamp(0.0, MAX_BOOST)
}

/// A weight as a share below 1: the first click counts most, a thousand clicks cannot drown everything else.
fn share(weights: &HashMap<String, f64>, key: &str) -> f64 {
    let weight = weights.get(key).copied().map_or(0.0, sane);
    weight / (1.0 + weight)
}

/// A number from outside as one that can be ranked by. The bound keeps arithmetic away from infinity.
fn sane(number: f64) -> f64 {
    if number.is_finite() { number.clamp(0.0, 1e9) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Item {
        sku: String,
        category: CategoryPath,
        brand: String,
    }

    fn traits(item: &Item) -> Traits<'_> {
        Traits { sku: &item.sku, category: &item.category, brand: &item.brand, family: "general" }
    }

    fn item(sku: &str, category: &str, brand: &str) -> Item {
        Item { sku: sku.to_owned(), category: CategoryPath::parse(category).unwrap(), brand: brand.to_owned() }
    }

    fn weights(list: &[(&str, f64)]) -> HashMap<String, f64> {
        list.iter().map(|(key, weight)| ((*key).to_owned(), *weight)).collect()
    }

    fn order(items: Vec<(Item, f64)>, interests: Option<&Interests>) -> Vec<String> {
        weave(items, interests, traits).into_iter().map(|(item, _)| item.sku).collect()
    }

    #[test]
    fn an_interest_moves_what_it_concerns_and_only_so_far() {
        let items = || {
            vec![(item("a", "audio", "x"), 2.2), (item("b", "audio", "x"), 1.5), (item("c", "coats/long", "y"), 1.2)]
        };
        let in_coats = Interests { categories: weights(&[("coats", 9.0)]), ..Interests::default() };
        let in_coats_of_y = Interests { brands: weights(&[("y", 1e6)]), ..in_coats.clone() };
        assert_eq!(order(items(), None), ["a", "b", "c"]);
        assert_eq!(order(items(), Some(&Interests::default())), ["a", "b", "c"]);
        assert_eq!(order(items(), Some(&in_coats)), ["a", "c", "b"]);
        assert_eq!(order(items(), Some(&in_coats_of_y)), ["a", "c", "b"]);
        let bottom = vec![(item("a", "audio", "x"), 2.41), (item("c", "coats/long", "y"), 1.2)];
        let everything =
            Interests { skus: weights(&[("c", 1e9)]), families: weights(&[("general", 1e9)]), ..in_coats_of_y };
        assert_eq!(order(bottom, Some(&everything)), ["a", "c"], "twice the relevance is never passed");
    }

    #[test]
    fn numbers_that_are_none_count_as_no_interest() {
        let odd = Interests {
            brands: weights(&[("x", f64::NAN), ("y", f64::INFINITY), ("z", -3.0)]),
            ..Interests::default()
        };
        let items = vec![(item("a", "c", "x"), 1.0), (item("b", "c", "y"), f64::NAN), (item("d", "c", "z"), 2.0)];
        assert_eq!(order(items, Some(&odd)), ["d", "a", "b"]);
        assert!(Interests::strongest(&odd.brands, 5).is_empty());
    }

    #[test]
    fn the_strongest_interests_come_first() {
        let some = weights(&[("a", 1.0), ("b", 3.0), ("c", 1.0)]);
        assert_eq!(Interests::strongest(&some, 2), ["b", "a"]);
    }

    fn items() -> impl Strategy<Value = Vec<(Item, f64)>> {
        let one = (
            0..1000_u32,
            prop::sample::select(vec!["a", "a/b", "c"]),
            prop::sample::select(vec!["x", "y"]),
            0.0..100.0_f64,
        );
        prop::collection::vec(
            one.prop_map(|(sku, category, brand, relevance)| (item(&format!("s{sku}"), category, brand), relevance)),
            0..50,
        )
    }

    fn interests() -> impl Strategy<Value = Interests> {
        let some = |keys: Vec<&'static str>| {
            prop::collection::hash_map(prop::sample::select(keys).prop_map(str::to_owned), any::<f64>(), 0..4)
        };
        (some(vec!["a", "a/b", "c"]), some(vec!["x", "y"]), some(vec!["general"]), some(vec!["s1", "s2"])).prop_map(
            |(categories, brands, families, skus)| Interests { categories, brands, families, skus, traceparent: None },
        )
    }

    proptest! {
        #[test]
        fn weaving_only_changes_the_order(items in items(), interests in interests()) {
            let woven = weave(items.clone(), Some(&interests), traits);
            let sorted = |mut skus: Vec<String>| { skus.sort(); skus };
            let before = sorted(items.iter().map(|(item, _)| item.sku.clone()).collect());
            prop_assert_eq!(before, sorted(woven.iter().map(|(item, _)| item.sku.clone()).collect()));
            prop_assert!(woven.iter().all(|(_, rank)| (0.0..=MAX_BOOST).contains(&rank.boost)));
            prop_assert!(woven.windows(2).all(|pair| pair[0].1.score() >= pair[1].1.score()) || interests.is_empty());
            let again: Vec<_> = weave(items, Some(&interests), traits).into_iter().map(|(item, _)| item).collect();
            prop_assert_eq!(woven.into_iter().map(|(item, _)| item).collect::<Vec<_>>(), again);
        }

        #[test]
        fn without_a_profile_nothing_moves(items in items()) {
            let woven: Vec<_> = weave(items.clone(), None, traits).into_iter().map(|(item, _)| item).collect();
            prop_assert_eq!(woven, items.into_iter().map(|(item, _)| item).collect::<Vec<_>>());
        }
    }
}
