//! How good answers are, and whether one model's are better than another's.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::data::{Case, Item};
use crate::model::SHOWN;

/// Answers of one model to all cases, in their order, with the time each took.
pub struct Answers {
    pub model: &'static str,
    pub mode: &'static str,
    pub lists: Vec<Vec<Item>>,
    pub micros: Vec<f64>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Quality {
    pub hit_rate: f64,
    pub reciprocal_rank: f64,
    pub gain: f64,
}

impl Quality {
    /// Of the place of one target, counted from 1.
    pub fn of_place(place: Option<usize>) -> Self {
        place.filter(|place| *place <= SHOWN).map_or(Self::default(), |place| Self {
            hit_rate: 1.0,
            reciprocal_rank: 1.0 / place as f64,
            gain: 1.0 / (place as f64 + 1.0).log2(),
        })
    }

    pub fn mean(list: impl Iterator<Item = Self>) -> Self {
        let (mut sum, mut count) = (Self::default(), 0.0);
        for one in list {
            sum.hit_rate += one.hit_rate;
            sum.reciprocal_rank += one.reciprocal_rank;
            sum.gain += one.gain;
            count += 1.0;
        }
        let count = f64::max(count, 1.0);
        Self { hit_rate: sum.hit_rate / count, reciprocal_rank: sum.reciprocal_rank / count, gain: sum.gain / count }
    }
}

/// The quality of each answer. A case without a target is a broken data set.
pub fn each(lists: &[Vec<Item>], cases: &[Case], targets: &HashMap<String, Item>) -> Vec<Quality> {
    let place = |(list, case): (&Vec<Item>, &Case)| {
        let target = targets.get(&case.id)?;
        list.iter().position(|item| item == target).map(|place| place + 1)
    };
    lists.iter().zip(cases).map(|pair| Quality::of_place(place(pair))).collect()
}

pub fn shown(lists: &[Vec<Item>]) -> usize {
    lists.iter().flatten().collect::<HashSet<_>>().len()
}

/// Mean percentile of popularity of what is listed: 1 is the most popular item, ½ what chance would give.
pub fn popularity<'a>(listed: impl Iterator<Item = &'a Item>, percentiles: &HashMap<Item, f64>) -> f64 {
    let (sum, count) = listed
        .fold((0.0, 0.0), |(sum, count), item| (sum + percentiles.get(item).copied().unwrap_or_default(), count + 1.0));
    sum / f64::max(count, 1.0)
}

/// Percentile of each item by how many visits it occurs in.
pub fn percentiles(counts: &HashMap<Item, usize>) -> HashMap<Item, f64> {
    let mut order: Vec<(&Item, &usize)> = counts.iter().collect();
    order.sort_by_key(|(item, count)| (**count, **item));
    let last = order.len().saturating_sub(1).max(1) as f64;
    order.into_iter().enumerate().map(|(place, (item, _))| (*item, place as f64 / last)).collect()
}

/// The given share of sorted times.
pub fn percentile(mut micros: Vec<f64>, share: f64) -> f64 {
    micros.sort_by(f64::total_cmp);
    let place = ((micros.len() as f64 * share).ceil() as usize).clamp(1, micros.len().max(1));
    micros.get(place - 1).copied().unwrap_or_default()
}

/// How likely a difference at least this great is when both models are equally good: the differences of whole visits change
/// their sign by chance, since cases of one visit depend on each other. The smallest answer is one over the number of tries.
pub fn paired_test(ours: &[f64], theirs: &[f64], cases: &[Case]) -> f64 {
    const TRIES: u32 = 10_000;
    let mut by_visit: BTreeMap<&str, f64> = BTreeMap::new();
    for ((ours, theirs), case) in ours.iter().zip(theirs).zip(cases) {
        *by_visit.entry(&case.visit).or_default() += ours - theirs;
    }
    let differences: Vec<f64> = by_visit.into_values().collect();
    let measured = differences.iter().sum::<f64>().abs();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut as_great = 0;
    for _ in 0..TRIES {
        let mut sum = 0.0;
        for difference in &differences {
            // xorshift64: a fixed beginning, so that the same data always give the same answer.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            sum += if random >> 63 == 0 { *difference } else { -difference };
        }
        as_great += u32::from(sum.abs() >= measured - 1e-9);
    }
    f64::from(as_great.max(1)) / f64::from(TRIES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(visit: usize, place: usize) -> Case {
        Case { id: format!("{visit}:{place}"), visit: visit.to_string(), items: vec![0], at_ms: 0 }
    }

    #[test]
    fn a_place_is_worth_what_the_measures_say() {
        let cases = [case(1, 1), case(1, 2), case(2, 1)];
        let targets = HashMap::from([("1:1".to_owned(), 7), ("1:2".to_owned(), 8), ("2:1".to_owned(), 9)]);
        let far: Vec<Item> = (100..120).chain([9]).collect();
        let quality = each(&[vec![7], vec![1, 2, 8], far], &cases, &targets);
        let mean = Quality::mean(quality.into_iter());
        assert!((mean.hit_rate - 2.0 / 3.0).abs() < 1e-9);
        assert!((mean.reciprocal_rank - (1.0 + 1.0 / 3.0) / 3.0).abs() < 1e-9);
        assert!((mean.gain - (1.0 + 0.5) / 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_real_difference_is_unlikely_by_chance_and_none_is_likely() {
        let cases: Vec<Case> = (0..200).map(|n| case(n / 2, n % 2)).collect();
        let theirs: Vec<f64> = (0..200).map(|n| f64::from(n % 3 == 0)).collect();
        let better: Vec<f64> = (0..200).map(|n| f64::from(n % 3 == 0 || n % 4 == 0)).collect();
        assert!(paired_test(&better, &theirs, &cases) < 0.001);
        let mixed: Vec<f64> = (0..200).map(|n| f64::from((n + 1) % 3 == 0)).collect();
        assert!(paired_test(&mixed, &theirs, &cases) > 0.05);
        assert!((paired_test(&theirs, &theirs, &cases) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn percentiles_go_from_the_rarest_to_the_most_popular() {
        let percentiles = percentiles(&HashMap::from([(1, 5), (2, 1), (3, 9)]));
        assert!((popularity([2, 3].iter(), &percentiles) - 0.5).abs() < 1e-9);
        assert!((percentile(vec![3.0, 1.0, 2.0], 0.5) - 2.0).abs() < 1e-9);
    }
}
