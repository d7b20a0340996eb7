//! Which products to show to whom: candidates and what is known go in, an ordered list with reasons comes out.
//!
//! Decided here: scores, reasons, what is left out. Not decided here: where candidates come from (`usecases`).

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use common::Sku;

use super::click::Feature;
use super::interest::{Profile, Rating};
use super::recent::Recent;

/// Why a product is shown; part of the public answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Of a category this person cares about.
    YourCategory,
    /// Of a category and a brand this person cares about.
    YourBrand,
    Trending,
    New,
    ViewedTogether,
    BoughtTogether,
    SameBrand,
    SameCategory,
    RecentlyViewed,
    /// Came next in visits like this one.
    VisitsLikeYours,
}

impl Reason {
    pub const ALL: [Self; 10] = [
        Self::YourCategory,
        Self::YourBrand,
        Self::Trending,
        Self::New,
        Self::ViewedTogether,
        Self::BoughtTogether,
        Self::SameBrand,
        Self::SameCategory,
        Self::RecentlyViewed,
        Self::VisitsLikeYours,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::YourCategory => "your-category",
            Self::YourBrand => "your-brand",
            Self::Trending => "trending",
            Self::New => "new",
            Self::ViewedTogether => "viewed-together",
            Self::BoughtTogether => "bought-together",
            Self::SameBrand => "same-brand",
            Self::SameCategory => "same-category",
            Self::RecentlyViewed => "recently-viewed",
            Self::VisitsLikeYours => "visits-like-yours",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub sku: Sku,
    pub reason: Reason,
}

/// A product of a list of popular products; the list is strongest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Popular {
    pub sku: Sku,
    pub weight: f64,
}

/// How long a list is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Products that are shown at once: one category fills no more than its share of these.
    pub shown: usize,
    /// Products that are kept, those that are shown among them: some may have gone when the list is shown, at first or again.
    pub kept: usize,
}

impl Length {
    /// Half as many again as are shown, and ten at least.
    pub fn of(shown: usize) -> Self {
        Self { shown, kept: shown + (shown / 2).max(10) }
    }
}

/// A brand the person likes as much as anything lifts a product by half; liking the category decides, the brand refines.
const BRAND_LIFT: f64 = 0.5;

/// A product that is in everything as the person likes it best is lifted by a quarter.
const TASTE_LIFT: f64 = 0.25;

/// Even the least popular product of a list gets this share of the list's weight: interest counts more than the crowd.
const POPULARITY_FLOOR: f64 = 0.25;

/// Items of one category in a personal list, at most this share of it, so that one strong interest does not fill the page.
const CATEGORY_SHARE: f64 = 0.6;

/// Products for one person: their categories' popular products, weighed by how much they care; what they have seen lately is
/// left out. `lists` are the popular products of each category.
pub fn for_you(
    profile: &Profile,
    recent: &[Recent],
    lists: &HashMap<String, Vec<Popular>>,
    features: &HashMap<Sku, Feature>,
    length: Length,
) -> Vec<Item> {
    let seen: HashSet<&Sku> = recent.iter().map(|recent| &recent.sku).collect();
    let mut scored: Vec<(f64, &Sku, &str, Reason)> = Vec::new();
    for category in &profile.categories {
        let liking = share(&profile.categories, &category.key);
        let popular = lists.get(&category.key).map(Vec::as_slice).unwrap_or_default();
        let strongest = popular.first().map_or(1.0, |first| first.weight.max(f64::MIN_POSITIVE));
        for product in popular.iter().filter(|product| !seen.contains(&product.sku)) {
            let (brand, taste) = features.get(&product.sku).map_or((0.0, 0.0), |feature| {
                (share(&profile.brands, &feature.brand), taste(&profile.attributes, feature))
            });
            let crowd = POPULARITY_FLOOR + (1.0 - POPULARITY_FLOOR) * (product.weight / strongest).clamp(0.0, 1.0);
            let reason = if brand > 0.0 { Reason::YourBrand } else { Reason::YourCategory };
            let lift = 1.0 + BRAND_LIFT * brand + TASTE_LIFT * taste;
            scored.push((liking * crowd * lift, &product.sku, &category.key, reason));
        }
    }
    scored.sort_by(|one, two| two.0.total_cmp(&one.0).then_with(|| one.1.cmp(two.1)));
    let chosen = varied(scored.into_iter(), |(_, _, category, _)| *category, length.shown);
    let chosen = chosen.into_iter().map(|(_, sku, _, reason)| Item { sku: sku.clone(), reason });
    unique(chosen.collect(), length.kept)
}

/// Puts what is too much of one category behind everything else; the order stays otherwise.
pub fn varied<T, C: Eq + Hash>(list: impl Iterator<Item = T>, category: impl Fn(&T) -> C, limit: usize) -> Vec<T> {
    let per_category = ((limit as f64 * CATEGORY_SHARE).ceil() as usize).max(1);
    let mut used: HashMap<C, usize> = HashMap::new();
    let (mut chosen, mut spare) = (Vec::new(), Vec::new());
    for entry in list {
        let count = used.entry(category(&entry)).or_default();
        *count += 1;
        if *count <= per_category { chosen.push(entry) } else { spare.push(entry) }
    }
    // What was left out for variety still beats an empty place.
    chosen.append(&mut spare);
    chosen
}

/// How strong `key` is in a list, as a share of its strongest entry.
pub fn share(list: &[Rating], key: &str) -> f64 {
    let strongest = list.first().map_or(1.0, |first| first.weight.max(f64::MIN_POSITIVE));
    list.iter().find(|rating| rating.key == key).map_or(0.0, |rating| rating.weight / strongest)
}

/// How much a product is as the person likes it: 0 to 1, the mean over its attributes, so that one with many of them is no better
/// for that.
pub fn taste(attributes: &[Rating], feature: &Feature) -> f64 {
    let sum: f64 = feature.attributes.iter().map(|attribute| share(attributes, attribute)).sum();
    // At most a dozen attributes.
    sum / feature.attributes.len().max(1) as f64
}

/// Products like the one at hand: same brand first, each group in the order of the lists given (popular before new).
pub fn similar(
    at_hand: &Sku,
    feature: &Feature,
    candidates: &[Sku],
    features: &HashMap<Sku, Feature>,
    limit: usize,
) -> Vec<Item> {
    let others = candidates.iter().filter(|sku| *sku != at_hand);
    let same_brand =
        |sku: &&Sku| features.get(*sku).is_some_and(|other| !other.brand.is_empty() && other.brand == feature.brand);
    let (brand, rest): (Vec<&Sku>, Vec<&Sku>) = others.partition(same_brand);
    let item = |reason| move |sku: &Sku| Item { sku: sku.clone(), reason };
    let list = brand.into_iter().map(item(Reason::SameBrand)).chain(rest.into_iter().map(item(Reason::SameCategory)));
    unique(list.collect(), limit)
}

/// What was looked at last and not bought, newest first.
pub fn go_on(recent: &[Recent], limit: usize) -> Vec<Item> {
    let open = recent.iter().filter(|recent| !recent.bought);
    open.take(limit).map(|recent| Item { sku: recent.sku.clone(), reason: Reason::RecentlyViewed }).collect()
}

/// Fills `items` up to `limit` with `more`, leaving out what is in it already and what `left_out` names.
pub fn fill(items: Vec<Item>, more: &[Sku], reason: Reason, left_out: &HashSet<&Sku>, limit: usize) -> Vec<Item> {
    let more = more.iter().filter(|sku| !left_out.contains(sku)).map(|sku| Item { sku: sku.clone(), reason });
    unique(items.into_iter().chain(more).collect(), limit)
}

/// Each product once, the first reason wins.
pub fn unique(items: Vec<Item>, limit: usize) -> Vec<Item> {
    let mut seen = HashSet::new();
    items.into_iter().filter(|item| seen.insert(item.sku.clone())).take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::super::click::Position;
    use super::*;

    fn sku(name: &str) -> Sku {
        Sku::parse(name).expect("a SKU")
    }

    fn rating(key: &str, weight: f64) -> Rating {
        Rating { key: key.to_owned(), weight }
    }

    fn profile(categories: &[(&str, f64)], brands: &[(&str, f64)]) -> Profile {
        let list = |pairs: &[(&str, f64)]| pairs.iter().map(|(key, weight)| rating(key, *weight)).collect();
        Profile {
            categories: list(categories),
            brands: list(brands),
            families: vec![],
            skus: vec![],
            attributes: vec![],
            position: Position { partition: 0, offset: 0, received_at_ms: 0 },
            traceparent: None,
        }
    }

    fn popular(names: &[(&str, f64)]) -> Vec<Popular> {
        names.iter().map(|(name, weight)| Popular { sku: sku(name), weight: *weight }).collect()
    }

    fn feature(brand: &str) -> Feature {
        let (category, family) = ("coats".to_owned(), "fashion".to_owned());
        Feature { category, brand: brand.to_owned(), family, ..Feature::default() }
    }

    const TEN: Length = Length { shown: 10, kept: 10 };
    const FIVE: Length = Length { shown: 5, kept: 5 };

    fn names(items: &[Item]) -> Vec<&str> {
        items.iter().map(|item| item.sku.as_str()).collect()
    }

    #[test]
    fn the_stronger_interest_comes_first_and_the_brand_refines() {
        let lists = HashMap::from([
            ("coats".to_owned(), popular(&[("C1", 10.0), ("C2", 9.0)])),
            ("drones".to_owned(), popular(&[("D1", 100.0)])),
        ]);
        let features = HashMap::from([(sku("C2"), feature("Aurel"))]);
        let list =
            for_you(&profile(&[("coats", 8.0), ("drones", 2.0)], &[("Aurel", 3.0)]), &[], &lists, &features, TEN);
        assert_eq!(names(&list), ["C2", "C1", "D1"]);
        assert_eq!(list[0].reason, Reason::YourBrand);
        assert_eq!(list[1].reason, Reason::YourCategory);
    }

    #[test]
    fn between_near_equals_the_one_that_is_as_they_like_it_comes_first() {
        let lists = HashMap::from([("coats".to_owned(), popular(&[("C1", 10.0), ("C2", 9.0), ("C3", 1.0)]))]);
        let black = |attributes: &[&str]| {
            let attributes = attributes.iter().map(|attribute| (*attribute).to_owned()).collect();
            Feature { attributes, ..feature("Aurel") }
        };
        let features = HashMap::from([
            (sku("C1"), black(&["colour=white", "cut=slim"])),
            (sku("C2"), black(&["colour=black", "cut=slim"])),
            (sku("C3"), black(&["colour=black", "cut=loose"])),
        ]);
        let strangers = profile(&[("coats", 8.0)], &[]);
        assert_eq!(names(&for_you(&strangers, &[], &lists, &features, TEN)), ["C1", "C2", "C3"]);
        let attributes = vec![Rating { key: "colour=black".to_owned(), weight: 6.0 }];
        let likes_black = Profile { attributes, ..strangers };
        assert_eq!(
            names(&for_you(&likes_black, &[], &lists, &features, TEN)),
            ["C2", "C1", "C3"],
            "and not the far one"
        );
        let half = taste(&likes_black.attributes, &features[&sku("C2")]);
        assert!((half - 0.5).abs() < 1e-9, "of two attributes one is liked: {half}");
        assert!(taste(&likes_black.attributes, &feature("Aurel")).abs() < 1e-9, "nothing is known about it");
    }

    #[test]
    fn what_was_seen_lately_is_left_out() {
        let lists = HashMap::from([("coats".to_owned(), popular(&[("C1", 10.0), ("C2", 9.0)]))]);
        let recent = [Recent { sku: sku("C1"), at_ms: 0, bought: false }];
        let list = for_you(&profile(&[("coats", 8.0)], &[]), &recent, &lists, &HashMap::new(), TEN);
        assert_eq!(names(&list), ["C2"]);
    }

    #[test]
    fn one_interest_does_not_fill_the_page_when_there_are_others() {
        let many: Vec<(String, f64)> = (0..20).map(|n| (format!("C{n:02}"), 10.0)).collect();
        let many: Vec<(&str, f64)> = many.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
        let lists = HashMap::from([
            ("coats".to_owned(), popular(&many)),
            ("drones".to_owned(), popular(&[("D1", 1.0), ("D2", 1.0)])),
        ]);
        let list = for_you(&profile(&[("coats", 8.0), ("drones", 0.5)], &[]), &[], &lists, &HashMap::new(), FIVE);
        assert_eq!(names(&list), ["C00", "C01", "C02", "D1", "D2"]);
        let alone = for_you(&profile(&[("coats", 8.0)], &[]), &[], &lists, &HashMap::new(), FIVE);
        assert_eq!(alone.len(), 5, "without other interests the page is full all the same");
    }

    #[test]
    fn what_is_kept_behind_a_list_does_not_change_what_is_shown_of_it() {
        let many: Vec<(String, f64)> = (0..20).map(|n| (format!("C{n:02}"), 10.0)).collect();
        let many: Vec<(&str, f64)> = many.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
        let lists = HashMap::from([
            ("coats".to_owned(), popular(&many)),
            ("drones".to_owned(), popular(&[("D1", 1.0), ("D2", 1.0)])),
        ]);
        let likes = profile(&[("coats", 8.0), ("drones", 0.5)], &[]);
        let shown = for_you(&likes, &[], &lists, &HashMap::new(), FIVE);
        let kept = for_you(&likes, &[], &lists, &HashMap::new(), Length::of(5));
        assert_eq!((names(&kept)[..5].to_vec(), kept.len()), (names(&shown), 15));
    }

    #[test]
    fn similar_products_put_the_brand_first_and_leave_out_the_one_at_hand() {
        let features =
            HashMap::from([(sku("A"), feature("Aurel")), (sku("B"), feature("Brume")), (sku("C"), feature("Aurel"))]);
        let list = similar(&sku("A"), &feature("Aurel"), &["A", "B", "C", "B"].map(sku), &features, 10);
        assert_eq!(names(&list), ["C", "B"]);
        assert_eq!((list[0].reason, list[1].reason), (Reason::SameBrand, Reason::SameCategory));
    }

    #[test]
    fn continuing_leaves_out_what_was_bought_and_filling_repeats_nothing() {
        let recent = [("A", true), ("B", false)].map(|(name, bought)| Recent { sku: sku(name), at_ms: 0, bought });
        let list = go_on(&recent, 10);
        assert_eq!(names(&list), ["B"]);
        let (a, c) = (sku("A"), [sku("B"), sku("A"), sku("C"), sku("D")]);
        assert_eq!(names(&fill(list, &c, Reason::Trending, &HashSet::from([&a]), 2)), ["B", "C"]);
    }
}
