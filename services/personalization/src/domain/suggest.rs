//! From what visits suggest to what is shown: products that are gone or were just seen leave, what this person cares about rises,
//! one category does not fill the page. Decided here: by how much. Where suggestions come from is the index's business.

use std::collections::{HashMap, HashSet};

use common::Sku;

use super::click::Feature;
use super::interest::Profile;
use super::recent::Recent;
use super::recommend::{Item, Length, Reason, share, taste, varied};

/// A product that the index of visits suggests.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggested {
    pub sku: Sku,
    /// How likely it comes next.
    pub share: f64,
    /// What each way of guessing gives to it, in the order of `recommender::Part::ALL`.
    pub parts: [f32; 4],
}

/// A suggestion that is shown, and what made it so.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    pub item: Item,
    pub suggested: Suggested,
    /// By how much the person's interests raise it; 1 for a stranger.
    pub lift: f64,
}

/// The strongest category lifts by a quarter, the strongest brand by a quarter, what is as they like it in everything by a quarter: what was looked at just now, which the share
/// already tells, counts more than what was liked last week.
const CATEGORY_LIFT: f64 = 0.25;
const BRAND_LIFT: f64 = 0.25;
const TASTE_LIFT: f64 = 0.25;

/// The same question gives the same list while nobody clicks: there is no chance in it.
pub fn choose(
    suggested: Vec<Suggested>,
    profile: Option<&Profile>,
    recent: &[Recent],
    features: &HashMap<Sku, Feature>,
    length: Length,
) -> Vec<Chosen> {
    let seen: HashSet<&Sku> = recent.iter().map(|recent| &recent.sku).collect();
    let mut scored: Vec<(f64, Chosen)> = Vec::with_capacity(suggested.len());
    for suggested in suggested {
        let Some(feature) = features.get(&suggested.sku).filter(|_| !seen.contains(&suggested.sku)) else { continue };
        let lift = profile.map_or(1.0, |profile| {
            let (category, brand) =
                (share(&profile.categories, &feature.category), share(&profile.brands, &feature.brand));
            let taste = taste(&profile.attributes, feature);
            1.0 + CATEGORY_LIFT * category + BRAND_LIFT * brand + TASTE_LIFT * taste
        });
        let item = Item { sku: suggested.sku.clone(), reason: Reason::VisitsLikeYours };
        scored.push((suggested.share * lift, Chosen { item, suggested, lift }));
    }
    scored.sort_by(|one, two| two.0.total_cmp(&one.0).then_with(|| one.1.item.sku.cmp(&two.1.item.sku)));
    let in_order = scored.into_iter().map(|(_, chosen)| chosen);
    let category = |chosen: &Chosen| features.get(&chosen.item.sku).map(|feature| feature.category.clone());
    let mut list = varied(in_order, category, length.shown);
    list.truncate(length.kept);
    list
}

#[cfg(test)]
mod tests {
    use super::super::click::Position;
    use super::super::interest::Rating;
    use super::*;

    fn sku(name: &str) -> Sku {
        Sku::parse(name).expect("a SKU")
    }

    fn suggested(list: &[(&str, f64)]) -> Vec<Suggested> {
        list.iter().map(|(name, share)| Suggested { sku: sku(name), share: *share, parts: [0.0; 4] }).collect()
    }

    fn features(list: &[(&str, &str)]) -> HashMap<Sku, Feature> {
        let feature = |category: &str| Feature {
            category: category.to_owned(),
            brand: "Aurel".to_owned(),
            family: "gadget".to_owned(),
            attributes: vec![format!("for={category}")],
            ..Feature::default()
        };
        list.iter().map(|(name, category)| (sku(name), feature(category))).collect()
    }

    fn cares_for(category: &str) -> Profile {
        Profile {
            categories: vec![Rating { key: category.to_owned(), weight: 3.0 }],
            brands: vec![],
            families: vec![],
            skus: vec![],
            attributes: vec![],
            position: Position { partition: 0, offset: 0, received_at_ms: 0 },
            traceparent: None,
        }
    }

    fn at_once(shown: usize) -> Length {
        Length { shown, kept: shown }
    }

    fn names(list: &[Chosen]) -> Vec<&str> {
        list.iter().map(|chosen| chosen.item.sku.as_str()).collect()
    }

    #[test]
    fn what_is_gone_and_what_was_seen_is_left_out() {
        let recent = [Recent { sku: sku("B"), at_ms: 0, bought: false }];
        let features = features(&[("A", "coats"), ("B", "coats")]);
        let list = choose(suggested(&[("GONE", 0.5), ("B", 0.3), ("A", 0.1)]), None, &recent, &features, at_once(10));
        assert_eq!(names(&list), ["A"]);
    }

    #[test]
    fn interest_decides_between_near_equals_and_not_between_far_ones() {
        let features = features(&[("A", "coats"), ("B", "drones"), ("C", "drones")]);
        let list = choose(
            suggested(&[("A", 0.30), ("B", 0.28), ("C", 0.1)]),
            Some(&cares_for("drones")),
            &[],
            &features,
            at_once(9),
        );
        assert_eq!(names(&list), ["B", "A", "C"]);
        assert!((list[0].lift - 1.25).abs() < 1e-9 && (list[1].lift - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_as_somebody_likes_it_rises_by_as_much_as_its_category_would() {
        let features = features(&[("A", "coats"), ("B", "drones")]);
        let attributes = vec![Rating { key: "for=drones".to_owned(), weight: 3.0 }];
        let likes = Profile { attributes, ..cares_for("nothing there is") };
        let list = choose(suggested(&[("A", 0.30), ("B", 0.28)]), Some(&likes), &[], &features, at_once(9));
        assert_eq!(names(&list), ["B", "A"]);
        assert!((list[0].lift - 1.25).abs() < 1e-9, "{list:?}");
    }

    #[test]
    fn one_category_does_not_fill_the_page_while_there_are_others() {
        let products = [("A", "coats"), ("B", "coats"), ("C", "coats"), ("D", "coats"), ("E", "drones")];
        let shares = [("A", 0.5), ("B", 0.4), ("C", 0.3), ("D", 0.2), ("E", 0.1)];
        let list = choose(suggested(&shares), None, &[], &features(&products), at_once(4));
        assert_eq!(names(&list), ["A", "B", "C", "E"]);
        assert_eq!(
            names(&choose(suggested(&shares[..4]), None, &[], &features(&products), at_once(4))),
            ["A", "B", "C", "D"]
        );
    }
}
