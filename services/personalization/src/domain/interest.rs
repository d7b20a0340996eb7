//! How much a person cares about a product, its category, brand, family and attributes: decided here, from clicks alone.
//!
//! A rating is a sum of click weights, each halved for every [`HALF_LIFE_MS`] of its age. Sums do not care about order, so
//! within one batch the clicks of a person may come in any order; and a sum can be continued from its stored value, so a
//! profile is a few numbers and not a history. Bounds keep anybody from making a profile, or from making it matter, without
//! limit: per batch, per rating and per list.

use std::collections::{BTreeMap, HashMap};

use common::Sku;

use super::click::{Click, ClickKind, Feature, Position, Report};

/// An interest is worth half as much after this long (7 days). People come back to goods of this price for about a week before
/// they decide; what was looked at a month ago should weigh about a sixteenth, and does.
pub const HALF_LIFE_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// The most that one batch can move one rating, up or down (two purchases). A hundred thousand faked views of a product in one
/// burst count as much as sixteen honest ones.
pub const BATCH_CAP: f64 = 16.0;

/// No rating grows beyond this: four capped batches. Further clicks would only make a person slower to change their mind.
pub const RATING_CEILING: f64 = 64.0;

/// Ratings below this are forgotten: a single view of four half-lives ago.
pub const RATING_FLOOR: f64 = 1.0 / 16.0;

/// Ratings kept per list. Together with keys of usual length a profile stays in the low hundreds of bytes for a typical person
/// and below 4 KiB for anybody whose categories have names of a usual length; more would not change the first page of results.
pub const MAX_SKUS: usize = 32;
pub const MAX_CATEGORIES: usize = 16;
pub const MAX_BRANDS: usize = 16;
pub const MAX_FAMILIES: usize = 8;
pub const MAX_ATTRIBUTES: usize = 24;

/// What one click says: looking is cheap, choosing a result of one's own search says more, the basket says a lot, the purchase
/// most. Taking something out of the basket takes back what putting it in said. Impressions and custom events say nothing
/// about interest: the shop showed something, nobody asked for it.
pub fn weight(kind: ClickKind) -> f64 {
    match kind {
        ClickKind::View => 1.0,
        ClickKind::Search => 2.0,
        ClickKind::Add => 4.0,
        ClickKind::Buy => 8.0,
        ClickKind::Remove => -4.0,
        ClickKind::Impression | ClickKind::Custom => 0.0,
    }
}

/// The share of a weight that is left after `age_ms`; 1 for anything in the future.
pub fn decay(age_ms: i64) -> f64 {
    // Ages are far below 2^53 ms, where the conversion would begin to round.
    (-(age_ms.max(0) as f64) / HALF_LIFE_MS as f64).exp2()
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rating {
    pub key: String,
    pub weight: f64,
}

/// A person's interests at one moment. Lists are strongest first and bounded.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub categories: Vec<Rating>,
    pub brands: Vec<Rating>,
    pub families: Vec<Rating>,
    pub skus: Vec<Rating>,
    /// What the products were like: `colour=black`.
    pub attributes: Vec<Rating>,
    /// What is counted in. Its receipt time is also the moment for which the weights hold.
    pub position: Position,
    /// Trace of the newest click.
    pub traceparent: Option<String>,
}

impl Profile {
    /// Milliseconds since 1970-01-01 UTC for which the weights hold.
    pub fn as_of_ms(&self) -> i64 {
        self.position.received_at_ms
    }

    /// Continues `before` with reports that are not counted in it; `None` when there is nothing to continue and nothing new.
    ///
    /// All reports concern one person and are in the order of the stream. Products without a known feature rate only themselves.
    pub fn fold(before: Option<Profile>, reports: &[&Report], features: &HashMap<Sku, Feature>) -> Option<Profile> {
        let Some(newest) = reports.last() else { return before };
        let received_at_ms = reports.iter().map(|report| report.position.received_at_ms).max().unwrap_or_default();
        let as_of_ms = received_at_ms.max(before.as_ref().map_or(i64::MIN, Profile::as_of_ms));
        let clicks = || reports.iter().flat_map(|report| &report.clicks);
        let gains = Gains::of(clicks(), as_of_ms, features);
        let traceparent = reports.iter().rev().find_map(|report| report.traceparent.clone());
        let (aged, before) = match before {
            Some(before) => (decay(as_of_ms - before.as_of_ms()), before),
            None => (1.0, Profile::empty(newest.position)),
        };
        Some(Profile {
            categories: add(before.categories, aged, gains.categories, MAX_CATEGORIES),
            brands: add(before.brands, aged, gains.brands, MAX_BRANDS),
            families: add(before.families, aged, gains.families, MAX_FAMILIES),
            skus: add(before.skus, aged, gains.skus, MAX_SKUS),
            attributes: add(before.attributes, aged, gains.attributes, MAX_ATTRIBUTES),
            position: Position { received_at_ms: as_of_ms, ..newest.position },
            traceparent: traceparent.or(before.traceparent),
        })
    }

    fn empty(position: Position) -> Self {
        let none = Vec::new;
        let (categories, brands, families) = (none(), none(), none());
        Self { categories, brands, families, skus: none(), attributes: none(), position, traceparent: None }
    }
}

/// What a batch adds to each rating of one person, capped.
#[derive(Debug, Default)]
pub struct Gains {
    pub skus: BTreeMap<String, f64>,
    categories: BTreeMap<String, f64>,
    brands: BTreeMap<String, f64>,
    families: BTreeMap<String, f64>,
    attributes: BTreeMap<String, f64>,
}

impl Gains {
    /// The cap is applied to the sum and not click by click, so that the order of clicks cannot matter.
    pub fn of<'a>(clicks: impl Iterator<Item = &'a Click>, as_of_ms: i64, features: &HashMap<Sku, Feature>) -> Self {
        let mut per_sku: BTreeMap<&Sku, f64> = BTreeMap::new();
        for click in clicks {
            let gain = weight(click.kind) * decay(as_of_ms - click.at_ms);
            if let Some(sku) = &click.sku
                && gain != 0.0
            {
                *per_sku.entry(sku).or_default() += gain;
            }
        }
        let mut gains = Self::default();
        for (sku, gain) in per_sku {
            let gain = capped(gain);
            if let Some(feature) = features.get(sku) {
                for (list, key) in [
                    (&mut gains.categories, &feature.category),
                    (&mut gains.brands, &feature.brand),
                    (&mut gains.families, &feature.family),
                ] {
                    if !key.is_empty() {
                        *list.entry(key.clone()).or_default() += gain;
                    }
                }
                for attribute in &feature.attributes {
                    *gains.attributes.entry(attribute.clone()).or_default() += gain;
                }
            }
            gains.skus.insert(sku.as_str().to_owned(), gain);
        }
        gains
    }
}

fn capped(gain: f64) -> f64 {
    gain.clamp(-BATCH_CAP, BATCH_CAP)
}

/// Ages a list, adds what is gained, forgets what is faint, keeps the strongest `limit`.
fn add(before: Vec<Rating>, aged: f64, gained: BTreeMap<String, f64>, limit: usize) -> Vec<Rating> {
    let mut sums: BTreeMap<String, f64> = gained.into_iter().map(|(key, gain)| (key, capped(gain))).collect();
    for rating in before {
        *sums.entry(rating.key).or_default() += rating.weight * aged;
    }
    let mut list: Vec<Rating> = sums
        .into_iter()
        .map(|(key, weight)| Rating { key, weight: weight.min(RATING_CEILING) })
        .filter(|rating| rating.weight >= RATING_FLOOR)
        .collect();
    // The key decides between equals, so that the same clicks always leave the same profile.
    list.sort_by(|one, two| two.weight.total_cmp(&one.weight).then_with(|| one.key.cmp(&two.key)));
    list.truncate(limit);
    list
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::click::Pseudonym;
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn sku(number: usize) -> Sku {
        Sku::parse(&format!("S-{number:03}")).expect("a SKU")
    }

    fn click(kind: ClickKind, number: usize, at_ms: i64) -> Click {
        Click { kind, sku: Some(sku(number)), at_ms, mark: None }
    }

    fn report(offset: i64, received_at_ms: i64, clicks: Vec<Click>) -> Report {
        Report {
            pseudonym: Pseudonym::parse(&"a".repeat(32)).expect("a pseudonym"),
            consent: true,
            position: Position { partition: 0, offset, received_at_ms },
            traceparent: Some(format!("00-{offset:032x}-00f067aa0ba902b7-01")),
            clicks,
        }
    }

    /// Ten products share a category, five a brand, all of them the family; every third is of one colour.
    fn features() -> HashMap<Sku, Feature> {
        (0..100)
            .map(|number| {
                let (category, brand) = (format!("c{}", number / 10), format!("b{}", number / 5));
                let attributes = vec![format!("colour={}", number % 3), format!("shape={}", number % 50)];
                let family = "gadget".to_owned();
                (sku(number), Feature { category, brand, family, attributes, ..Feature::default() })
            })
            .collect()
    }

    fn fold(before: Option<Profile>, reports: &[Report]) -> Profile {
        Profile::fold(before, &reports.iter().collect::<Vec<_>>(), &features()).expect("a profile")
    }

    fn rated(list: &[Rating], key: &str) -> f64 {
        list.iter().find(|rating| rating.key == key).map_or(0.0, |rating| rating.weight)
    }

    fn near(one: f64, two: f64) -> bool {
        (one - two).abs() < 1e-9 * (1.0 + one.abs())
    }

    #[test]
    fn a_view_says_less_than_a_search_an_add_and_a_purchase() {
        use ClickKind::*;
        let order = [Remove, Impression, View, Search, Add, Buy].map(weight);
        assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "{order:?}");
        assert!(near(weight(Add) + weight(Remove), 0.0));
    }

    #[test]
    fn what_a_click_says_halves_with_each_half_life() {
        let table = [(0, 1.0), (HALF_LIFE_MS, 0.5), (2 * HALF_LIFE_MS, 0.25), (-5, 1.0)];
        for (age, left) in table {
            let profile = fold(None, &[report(0, NOW, vec![click(ClickKind::View, 1, NOW - age)])]);
            assert!(near(rated(&profile.skus, "S-001"), left), "{age}: {profile:?}");
            assert!(near(rated(&profile.categories, "c0"), left));
        }
        let old = fold(None, &[report(0, NOW, vec![click(ClickKind::Buy, 1, NOW)])]);
        let later =
            fold(Some(old), &[report(1, NOW + HALF_LIFE_MS, vec![click(ClickKind::View, 2, NOW + HALF_LIFE_MS)])]);
        assert!(near(rated(&later.skus, "S-001"), 4.0), "{later:?}");
        assert!(near(rated(&later.categories, "c0"), 5.0));
    }

    #[test]
    fn a_hundred_thousand_faked_views_count_as_one_capped_batch() {
        let flood = (0..100_000).map(|_| click(ClickKind::View, 7, NOW)).collect();
        let profile = fold(None, &[report(0, NOW, flood)]);
        assert!(near(rated(&profile.skus, "S-007"), BATCH_CAP));
        assert!(near(rated(&profile.categories, "c0"), BATCH_CAP));
    }

    #[test]
    fn many_batches_reach_the_ceiling_and_no_further() {
        let mut profile = None;
        for offset in 0..100 {
            profile = Some(fold(profile, &[report(offset, NOW, vec![click(ClickKind::Buy, 7, NOW); 10])]));
        }
        assert!(near(rated(&profile.expect("a profile").skus, "S-007"), RATING_CEILING));
    }

    #[test]
    fn a_product_taken_out_again_leaves_no_rating() {
        let clicks = vec![click(ClickKind::Add, 7, NOW), click(ClickKind::Remove, 7, NOW)];
        let profile = fold(None, &[report(0, NOW, clicks)]);
        assert!(profile.skus.is_empty() && profile.categories.is_empty(), "{profile:?}");
    }

    #[test]
    fn an_unknown_product_rates_only_itself() {
        let profile = fold(None, &[report(0, NOW, vec![click(ClickKind::View, 500, NOW)])]);
        assert!(near(rated(&profile.skus, "S-500"), 1.0));
        assert!(profile.categories.is_empty() && profile.brands.is_empty() && profile.families.is_empty());
        assert!(profile.attributes.is_empty());
    }

    #[test]
    fn what_products_have_in_common_is_liked_with_each_of_them_and_fades_alike() {
        let clicks = [1, 4, 7, 2].map(|number| click(ClickKind::View, number, NOW)).to_vec();
        let profile = fold(None, &[report(0, NOW, clicks)]);
        assert!(near(rated(&profile.attributes, "colour=1"), 3.0), "{profile:?}");
        assert!(near(rated(&profile.attributes, "colour=2"), 1.0) && near(rated(&profile.attributes, "shape=7"), 1.0));
        assert_eq!(profile.attributes[0].key, "colour=1");
        let taken_back = vec![click(ClickKind::Remove, 2, NOW + HALF_LIFE_MS)];
        let later = fold(Some(profile), &[report(1, NOW + HALF_LIFE_MS, taken_back)]);
        assert!(near(rated(&later.attributes, "colour=1"), 1.5), "{later:?}");
        assert!(near(rated(&later.attributes, "colour=2"), 0.0));
    }

    #[test]
    fn the_newest_trace_and_position_stay_with_the_profile() {
        let profile = fold(None, &[report(4, NOW, vec![]), report(9, NOW + 5, vec![])]);
        assert_eq!(profile.position, Position { partition: 0, offset: 9, received_at_ms: NOW + 5 });
        assert_eq!(profile.traceparent, report(9, NOW, vec![]).traceparent);
        let silent = Report { traceparent: None, ..report(10, NOW + 6, vec![]) };
        assert_eq!(fold(Some(profile.clone()), &[silent]).traceparent, profile.traceparent);
    }

    fn any_click() -> impl Strategy<Value = Click> {
        use ClickKind::*;
        let kind = prop::sample::select(vec![View, Search, Add, Remove, Buy, Impression, Custom]);
        (kind, 0_usize..120, 0_i64..HALF_LIFE_MS * 3).prop_map(|(kind, number, age)| click(kind, number, NOW - age))
    }

    proptest! {
        #[test]
        fn the_order_of_clicks_within_a_batch_does_not_matter(clicks in prop::collection::vec(any_click(), 0..200), turn in 0_usize..200) {
            let straight = fold(None, &[report(0, NOW, clicks.clone())]);
            let mut turned = clicks;
            turned.reverse();
            if !turned.is_empty() {
                let by = turn % turned.len();
                turned.rotate_left(by);
            }
            let crooked = fold(None, &[report(0, NOW, turned)]);
            for (one, two) in [(&straight.categories, &crooked.categories), (&straight.families, &crooked.families)] {
                for rating in one {
                    prop_assert!(near(rating.weight, rated(two, &rating.key)), "{rating:?} {two:?}");
                }
            }
        }

        #[test]
        fn one_batch_or_two_reports_of_it_give_the_same(clicks in prop::collection::vec(any_click(), 1..100), cut in 0_usize..100) {
            let whole = fold(None, &[report(1, NOW, clicks.clone())]);
            let (head, tail) = clicks.split_at(cut % clicks.len());
            let parts = fold(None, &[report(0, NOW, head.to_vec()), report(1, NOW, tail.to_vec())]);
            prop_assert_eq!(whole.skus, parts.skus);
        }

        #[test]
        fn every_list_is_bounded_sorted_and_in_range(rounds in prop::collection::vec(prop::collection::vec(any_click(), 0..150), 1..6)) {
            let mut profile = None;
            for (offset, clicks) in (0..).zip(rounds) {
                profile = Some(fold(profile, &[report(offset, NOW + offset, clicks)]));
            }
            let profile = profile.expect("a profile");
            for (list, limit) in [(&profile.skus, MAX_SKUS), (&profile.categories, MAX_CATEGORIES), (&profile.brands, MAX_BRANDS), (&profile.families, MAX_FAMILIES), (&profile.attributes, MAX_ATTRIBUTES)] {
                prop_assert!(list.len() <= limit);
                prop_assert!(list.windows(2).all(|pair| pair[0].weight >= pair[1].weight));
                prop_assert!(list.iter().all(|rating| (RATING_FLOOR..=RATING_CEILING).contains(&rating.weight)));
            }
        }
    }
}
