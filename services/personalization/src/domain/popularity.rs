//! What the shop as a whole looks at and buys. Decided here: what one batch adds to a product's popularity, and which products
//! were looked at or bought together. Nobody can be found in it: it knows products and sums only.
//!
//! Popularity decays by *forward* weights: instead of shrinking all stored sums, a new click counts more than an old one by
//! `2^(age of the era / half-life)`. The sums only ever grow, so an increment is enough and nothing has to be rewritten.

use common::Sku;

use super::interest::BATCH_CAP;
use super::recent::{Recent, VISIT_MS};

/// A click counts half as much for what is trending after this long (3 days).
pub const TRENDING_HALF_LIFE_MS: i64 = 3 * 24 * 60 * 60 * 1000;

/// A pair counts half as much after this long (30 days): what goes together changes with the season, not with the week.
pub const PAIR_HALF_LIFE_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// Weights grow within one era and begin again at 1 in the next, under other keys. After 1,024 days a weight is 2^341, which
/// a double holds with room to spare (its end is 2^1023); what is trending starts afresh once in 2.8 years.
pub const ERA_MS: i64 = 1024 * 24 * 60 * 60 * 1000;

/// Partners counted per newly seen product, the latest before it: what was looked at five products ago says little.
pub const MAX_PARTNERS: usize = 4;

/// Pairs counted per person, batch and kind, so that a robot that opens every product cannot fill the lists.
pub const MAX_PAIRS: usize = 16;

/// The era of an instant, and the weight of one click at it.
pub fn era_and_weight(at_ms: i64, half_life_ms: i64) -> (i64, f64) {
    let at_ms = at_ms.max(0);
    let within = at_ms % ERA_MS;
    (at_ms / ERA_MS, (within as f64 / half_life_ms as f64).exp2())
}

/// A product became this much more popular.
#[derive(Clone, Debug, PartialEq)]
pub struct Gain {
    pub sku: Sku,
    pub category: String,
    pub weight: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PairKind {
    Viewed,
    Bought,
}

/// Two products were looked at, or bought, in one visit. Counts for both directions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    pub kind: PairKind,
    pub one: Sku,
    pub other: Sku,
}

/// What one person may add to one product's popularity with one batch: as much as to their own rating, and never negative.
pub fn contribution(gain: f64) -> f64 {
    gain.clamp(0.0, BATCH_CAP)
}

/// Pairs that are in `after` and were not in `before`: each product that is new to the visit, with the latest before it.
/// A purchase makes pairs among purchases.
pub fn pairs(before: &[Recent], after: &[Recent]) -> Vec<Pair> {
    let mut found = Vec::new();
    for kind in [PairKind::Viewed, PairKind::Bought] {
        let counts = |recent: &Recent| kind == PairKind::Viewed || recent.bought;
        let mut of_kind = Vec::new();
        let visit: Vec<&Recent> = after.iter().filter(|recent| counts(recent)).collect();
        for (place, newer) in visit.iter().enumerate() {
            let known = before.iter().filter(|recent| counts(recent)).find(|recent| recent.sku == newer.sku);
            if known.is_some_and(|known| newer.at_ms - known.at_ms <= VISIT_MS) {
                continue;
            }
            // `after` is newest first, so what follows was looked at before.
            let earlier = visit[place + 1..].iter().take_while(|older| newer.at_ms - older.at_ms <= VISIT_MS);
            of_kind.extend(earlier.take(MAX_PARTNERS).map(|older| Pair {
                kind,
                one: newer.sku.clone(),
                other: older.sku.clone(),
            }));
        }
        // Each kind by itself: what is looked at before a large order must not cost the pairs of the order.
        of_kind.truncate(MAX_PAIRS);
        found.append(&mut of_kind);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, at_ms: i64, bought: bool) -> Recent {
        Recent { sku: Sku::parse(name).expect("a SKU"), at_ms, bought }
    }

    fn names(pairs: &[Pair]) -> Vec<(PairKind, String, String)> {
        pairs.iter().map(|pair| (pair.kind, pair.one.to_string(), pair.other.to_string())).collect()
    }

    #[test]
    fn a_click_counts_twice_as_much_one_half_life_later_and_eras_begin_at_one() {
        let (era, early) = era_and_weight(ERA_MS * 20, TRENDING_HALF_LIFE_MS);
        let (same, later) = era_and_weight(ERA_MS * 20 + TRENDING_HALF_LIFE_MS, TRENDING_HALF_LIFE_MS);
        assert_eq!((era, same), (20, 20));
        assert!((early - 1.0).abs() < 1e-12 && (later / early - 2.0).abs() < 1e-9);
        assert!(era_and_weight(ERA_MS * 21 - 1, TRENDING_HALF_LIFE_MS).1.is_finite());
        assert_eq!(era_and_weight(-5, PAIR_HALF_LIFE_MS).0, 0);
    }

    #[test]
    fn products_of_one_visit_are_pairs_and_those_of_another_are_not() {
        let before = [seen("A", 0, false)];
        let after = [seen("C", VISIT_MS + 10, false), seen("B", VISIT_MS, false), seen("A", 0, false)];
        let found = names(&pairs(&before, &after));
        let expected =
            [("C", "B"), ("B", "A")].map(|(one, other)| (PairKind::Viewed, one.to_owned(), other.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn looking_again_in_the_same_visit_makes_no_new_pair() {
        let before = [seen("B", 10, false), seen("A", 0, false)];
        let after = [seen("A", 20, false), seen("B", 10, false)];
        assert!(pairs(&before, &after).is_empty());
    }

    #[test]
    fn purchases_pair_with_purchases_and_pairs_are_bounded() {
        let bought = [seen("B", 10, true), seen("A", 0, true)];
        assert!(names(&pairs(&[], &bought)).contains(&(PairKind::Bought, "B".to_owned(), "A".to_owned())));
        let robot: Vec<Recent> = (0..30).rev().map(|n| seen(&format!("S{n}"), n, true)).collect();
        let found = pairs(&[], &robot);
        for kind in [PairKind::Viewed, PairKind::Bought] {
            assert_eq!(found.iter().filter(|pair| pair.kind == kind).count(), MAX_PAIRS, "{kind:?}");
        }
    }

    #[test]
    fn nobody_can_make_a_product_unpopular_or_too_popular() {
        for (gain, counted) in [(-8.0, 0.0), (3.0, 3.0), (1e6, BATCH_CAP)] {
            assert!((contribution(gain) - counted).abs() < 1e-12);
        }
    }
}
