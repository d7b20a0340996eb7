//! How good a list of products is, given what people said about them. Pure.
//!
//! Ratings go from 0 (not wanted) to 3 (exactly that); what nobody rated counts as 0, except in the condensed measure, which
//! leaves it out. Two systems are compared query by query, never by their means alone.

use std::collections::BTreeMap;

/// A rating from here on is a product that fits; the highest is the thing itself.
const FITS: u8 = 2;
const EXACTLY: u8 = 3;
/// Places that are looked at, and for recall.
const TOP: usize = 10;
const DEEP: usize = 50;
/// A query tells systems apart when this share of its judged products fits; with fewer nothing can be found, with more nothing missed.
const MIXED: std::ops::RangeInclusive<f64> = 0.05..=0.60;
/// Flips of the paired test.
const ROUNDS: u32 = 100_000;

pub type Ratings = BTreeMap<String, u8>;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measures {
    pub ndcg: f64,
    /// The same without the products that nobody rated.
    pub condensed: f64,
    /// Share of the first ten that somebody rated.
    pub judged: f64,
    pub precision: f64,
    /// Of all that fit, how many are among the first fifty; `None` where nothing fits.
    pub recall: Option<f64>,
    /// One over the place of the first exact product.
    pub reciprocal: f64,
}

pub fn measure(ratings: &Ratings, ranked: &[String]) -> Measures {
    let mut seen = std::collections::BTreeSet::new();
    let known: Vec<Option<u8>> =
        ranked.iter().filter(|id| seen.insert(*id)).map(|id| ratings.get(id).copied()).collect();
    let share = |found: usize, of: usize| found as f64 / of as f64;
    let among =
        |places: usize, wanted: u8| known.iter().take(places).flatten().filter(|rating| **rating >= wanted).count();
    let fitting = ratings.values().filter(|rating| **rating >= FITS).count();
    let exact = known.iter().take(TOP).position(|rating| *rating == Some(EXACTLY));
    let plain: Vec<u8> = known.iter().map(|rating| rating.unwrap_or(0)).collect();
    let condensed: Vec<u8> = known.iter().copied().flatten().collect();
    Measures {
        ndcg: ndcg(&plain, ratings),
        condensed: ndcg(&condensed, ratings),
        judged: share(known.iter().take(TOP).flatten().count(), TOP),
        precision: share(among(TOP, FITS), TOP),
        recall: (fitting > 0).then(|| share(among(DEEP, FITS), fitting)),
        reciprocal: exact.map_or(0.0, |place| 1.0 / (place as f64 + 1.0)),
    }
}

fn ndcg(found: &[u8], ratings: &Ratings) -> f64 {
    let mut best: Vec<u8> = ratings.values().copied().collect();
    best.sort_unstable_by(|one, other| other.cmp(one));
    let gain = |list: &[u8]| -> f64 {
        let gains = list.iter().take(TOP).enumerate();
        gains.map(|(place, rating)| (f64::from(*rating).exp2() - 1.0) / (place as f64 + 2.0).log2()).sum()
    };
    let ideal = gain(&best);
    if ideal > 0.0 { gain(found) / ideal } else { 0.0 }
}

/// Something can be found: at least one rating above zero.
pub fn is_answerable(ratings: &Ratings) -> bool {
    ratings.values().any(|rating| *rating > 0)
}

/// The query tells systems apart.
pub fn is_mixed(ratings: &Ratings) -> bool {
    let fitting = ratings.values().filter(|rating| **rating >= FITS).count();
    !ratings.is_empty() && MIXED.contains(&(fitting as f64 / ratings.len() as f64))
}

pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (count, sum) = values.into_iter().fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

/// How often chance alone, giving each difference a sign by a coin, makes a mean at least as far from zero: two-sided.
pub fn by_chance(differences: &[f64]) -> f64 {
    let observed = mean(differences.iter().copied()).abs();
    let mut coin = Coin(0x9e37_79b9_7f4a_7c15);
    let mut as_far = 1_u32;
    for _ in 0..ROUNDS {
        let flipped = mean(differences.iter().map(|difference| if coin.heads() { *difference } else { -difference }));
        // Sums in another order differ in their last digits.
        as_far += u32::from(flipped.abs() >= observed - 1e-12);
    }
    f64::from(as_far) / f64::from(ROUNDS + 1)
}

/// The same flips in each run (xorshift).
struct Coin(u64);

impl Coin {
    fn heads(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 63 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratings(list: &[(&str, u8)]) -> Ratings {
        list.iter().map(|(id, rating)| ((*id).to_owned(), *rating)).collect()
    }

    fn ranked(ids: &str) -> Vec<String> {
        ids.chars().map(String::from).collect()
    }

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn the_best_order_scores_one_and_the_worst_less() {
        let ratings = ratings(&[("a", 3), ("b", 2), ("c", 0)]);
        assert!(near(measure(&ratings, &ranked("abc")).ndcg, 1.0));
        let worst = measure(&ratings, &ranked("cba"));
        let expected = (3.0 / 3_f64.log2() + 7.0 / 4_f64.log2()) / (7.0 / 2_f64.log2() + 3.0 / 3_f64.log2());
        assert!(near(worst.ndcg, expected), "{worst:?}");
        assert!(near(worst.reciprocal, 1.0 / 3.0) && near(worst.precision, 0.2));
    }

    #[test]
    fn what_nobody_rated_counts_as_nothing_unless_condensed() {
        let ratings = ratings(&[("a", 3)]);
        let found = measure(&ratings, &ranked("xya"));
        assert!(near(found.ndcg, 1.0 / 4_f64.log2()) && near(found.condensed, 1.0) && near(found.judged, 0.1));
        assert_eq!(found.recall, Some(1.0));
    }

    #[test]
    fn a_product_counts_once_and_an_empty_list_scores_nothing() {
        let ratings = ratings(&[("a", 3), ("b", 3)]);
        assert!(measure(&ratings, &ranked("aaaa")).ndcg < 1.0);
        assert_eq!(measure(&ratings, &[]), Measures { recall: Some(0.0), ..Measures::default() });
        assert_eq!(measure(&self::ratings(&[("a", 0)]), &ranked("a")).recall, None);
    }

    #[test]
    fn a_query_is_mixed_when_some_but_not_most_of_its_products_fit() {
        assert!(is_mixed(&ratings(&[("a", 3), ("b", 1)])));
        assert!(!is_mixed(&ratings(&[("a", 3), ("b", 2)])));
        assert!(!is_mixed(&ratings(&[("a", 1), ("b", 0)])) && !is_mixed(&Ratings::new()));
        assert!(is_answerable(&ratings(&[("a", 1)])) && !is_answerable(&ratings(&[("a", 0)])));
    }

    #[test]
    fn chance_explains_no_difference_and_not_a_steady_one() {
        assert!(by_chance(&[0.1, -0.1, 0.2, -0.2]) > 0.5);
        assert!(by_chance(&[0.1; 20]) < 0.001);
        assert!(near(by_chance(&[0.0; 5]), 1.0));
    }
}
