//! Baselines that count: items, pairs of items, and pairs in their order.

use std::collections::HashMap;

use crate::data::{Item, Visit};
use crate::model::{Model, SHOWN, best};

fn distinct(visit: &Visit) -> Vec<Item> {
    let mut items = visit.items();
    items.sort_unstable();
    items.dedup();
    items
}

/// The same list for everybody.
#[derive(Default)]
pub struct Popularity {
    counts: HashMap<Item, f64>,
}

impl Model for Popularity {
    fn name(&self) -> &'static str {
        "popularity"
    }

    fn learn(&mut self, visit: &Visit) {
        distinct(visit).into_iter().for_each(|item| *self.counts.entry(item).or_default() += 1.0);
    }

    fn answer(&self, visit: &[Item]) -> Vec<Item> {
        best(self.counts.iter().map(|(item, count)| (*item, *count)).collect(), visit)
    }
}

/// What was looked at in this visit, most often first, the later first among equals; then what is popular.
#[derive(Default)]
pub struct VisitPopularity {
    shop: Popularity,
}

impl Model for VisitPopularity {
    fn name(&self) -> &'static str {
        "popularity in the visit"
    }

    fn learn(&mut self, visit: &Visit) {
        self.shop.learn(visit);
    }

    fn answer(&self, visit: &[Item]) -> Vec<Item> {
        let mut counts: HashMap<Item, f64> = HashMap::new();
        for (place, item) in visit.iter().enumerate() {
            let count = counts.entry(*item).or_default();
            *count = count.floor() + 1.0 + place as f64 / (visit.len() as f64 + 1.0);
        }
        let mut list = best(counts.into_iter().collect(), visit);
        for item in self.shop.answer(visit) {
            if list.len() < SHOWN && !list.contains(&item) {
                list.push(item);
            }
        }
        list
    }
}

/// Weights from one item to others.
#[derive(Default)]
struct Table(HashMap<Item, HashMap<Item, f64>>);

impl Table {
    fn add(&mut self, from: Item, to: Item, weight: f64) {
        if from != to {
            *self.0.entry(from).or_default().entry(to).or_default() += weight;
        }
    }

    fn from(&self, visit: &[Item]) -> impl Iterator<Item = (Item, f64)> + '_ {
        let row = visit.last().and_then(|last| self.0.get(last));
        row.into_iter().flatten().map(|(item, weight)| (*item, *weight))
    }
}

/// Looked at in the same visit as the newest item, most often first.
#[derive(Default)]
pub struct AssociationRules {
    pairs: Table,
}

impl Model for AssociationRules {
    fn name(&self) -> &'static str {
        "association rules"
    }

    fn learn(&mut self, visit: &Visit) {
        let items = distinct(visit);
        for one in &items {
            items.iter().for_each(|other| self.pairs.add(*one, *other, 1.0));
        }
    }

    fn answer(&self, visit: &[Item]) -> Vec<Item> {
        best(self.pairs.from(visit).collect(), visit)
    }
}

/// Looked at after the newest item, at most ten steps later, by one over the distance.
#[derive(Default)]
pub struct SequentialRules {
    after: Table,
}

impl Model for SequentialRules {
    fn name(&self) -> &'static str {
        "sequential rules"
    }

    fn learn(&mut self, visit: &Visit) {
        let items = visit.items();
        for later in 1..items.len() {
            for distance in 1..=later.min(10) {
                self.after.add(items[later - distance], items[later], 1.0 / distance as f64);
            }
        }
    }

    fn answer(&self, visit: &[Item]) -> Vec<Item> {
        best(self.after.from(visit).collect(), visit)
    }
}

/// Cosine of the newest item's visits with another's, damped by 20 visits.
#[derive(Default)]
pub struct ItemNeighbours {
    pairs: AssociationRules,
    counts: Popularity,
}

impl Model for ItemNeighbours {
    fn name(&self) -> &'static str {
        "item-kNN"
    }

    fn learn(&mut self, visit: &Visit) {
        self.pairs.learn(visit);
        self.counts.learn(visit);
    }

    fn answer(&self, visit: &[Item]) -> Vec<Item> {
        let damped = |item: &Item| self.counts.counts.get(item).copied().unwrap_or_default() + 20.0;
        let own = visit.last().map_or(1.0, damped);
        let scored = self.pairs.pairs.from(visit).map(|(item, count)| (item, count / (own * damped(&item)).sqrt()));
        best(scored.collect(), visit)
    }
}
