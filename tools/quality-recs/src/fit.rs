//! Where the weights of the mixture come from: the last days of the training part, each predicted from the days before it. The
//! development cases are not opened.

use std::rc::Rc;

use recommender::{Mixture, Part};

use crate::data::{Items, Visit};
use crate::judge::Quality;
use crate::model::{Model as _, Ours};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Days the weights are learned from, and days after them that tell whether they are good.
const LEARNED: i64 = 3;
const CHECKED: i64 = 3;
/// By then the weights move by less than a thousandth.
const ROUNDS: usize = 100;

/// What one click looked like to each part, and to the mixture that ships.
struct Tried {
    day: i64,
    shares: [f32; 4],
}

pub fn run(train: &[Visit], items: Items) {
    let names = Rc::new(items.names);
    let last = train.iter().map(Visit::ended_ms).max().unwrap_or_default() / DAY_MS;
    let first = last - LEARNED - CHECKED + 1;
    let mut ours = Ours::new(names);
    let mut tried: Vec<Tried> = Vec::new();
    let mut checked: Vec<Quality> = Vec::new();
    for day in first - 1..=last {
        // What ended by the evening before is known.
        let known = |visit: &&Visit| {
            let ended = visit.ended_ms() / DAY_MS;
            if day < first { ended < first } else { ended == day - 1 && day > first }
        };
        train.iter().filter(known).for_each(|visit| ours.learn(visit));
        for visit in train.iter().filter(|visit| day >= first && visit.began_ms() / DAY_MS == day) {
            let items = visit.items();
            for cut in (1..items.len()).filter(|cut| items[*cut] != items[cut - 1]) {
                let (seen, next) = (&items[..cut], items[cut]);
                let name = ours.name_of(next);
                let shares = ours.ask(seen, |question| Mixture::shares_of(&ours.index, question, name));
                tried.push(Tried { day, shares });
                if day > last - CHECKED {
                    let place = ours.answer(seen).iter().position(|item| *item == next);
                    checked.push(Quality::of_place(place.map(|place| place + 1)));
                }
            }
        }
    }
    let learned = weights(tried.iter().filter(|tried| tried.day <= last - CHECKED).map(|tried| tried.shares));
    let quality = Quality::mean(checked.iter().copied());
    println!("clicks of {LEARNED} days for the weights and {} of {CHECKED} days to check", checked.len());
    for (part, (learned, ships)) in Part::ALL.iter().zip(learned.iter().zip(Mixture::default().weights)) {
        println!("{part:?}\tlearned {learned:.3}\tships {ships:.2}");
    }
    println!("as it ships, on the days to check: HR@20 {:.4}\tMRR@20 {:.4}", quality.hit_rate, quality.reciprocal_rank);
}

/// The weights under which what was clicked is likeliest: each click is shared out among the parts by how much each foresaw it.
pub fn weights(clicks: impl Iterator<Item = [f32; 4]>) -> [f64; 4] {
    let clicks: Vec<[f64; 4]> = clicks.map(|shares| shares.map(f64::from)).collect();
    let mut weights = [0.25; 4];
    for _ in 0..ROUNDS {
        let mut credit = [0.0; 4];
        for shares in &clicks {
            let whole: f64 = shares.iter().zip(weights).map(|(share, weight)| share * weight).sum();
            if whole > 0.0 {
                (0..4).for_each(|part| credit[part] += shares[part] * weights[part] / whole);
            }
        }
        let whole: f64 = credit.iter().sum();
        if whole > 0.0 {
            weights = credit.map(|credit| credit / whole);
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_believed_as_often_as_it_is_right() {
        let clicks = (0..100).map(|n| if n < 70 { [0.5, 0.0, 0.0, 0.0] } else { [0.0, 0.2, 0.0, 0.0] });
        let found = weights(clicks);
        assert!((found[0] - 0.7).abs() < 1e-6 && (found[1] - 0.3).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn of_two_parts_that_are_right_the_surer_one_is_believed() {
        let found = weights((0..100).map(|_| [0.6, 0.1, 0.0, 0.0]));
        assert!(found[0] > 0.99, "{found:?}");
    }
}
