//! Baselines that look for visits like this one: S-kNN, V-SkNN and VMIS-kNN are one algorithm with different settings.

use std::collections::HashMap;

use crate::data::{Item, Visit};
use crate::model::{Model, STRONGEST, STRONGEST_OF_NEW, best, newest_first};

pub struct VisitNeighbours {
    name: &'static str,
    /// Neighbours that count, out of the newest so many visits that share an item.
    neighbours: usize,
    compared: usize,
    /// Items of the visit that are looked for; all, if 0.
    last: usize,
    /// Later items of the visit weigh more, and what a neighbour shares only with earlier ones counts less.
    decays: bool,
    /// How much rarer items count more.
    rarity: f64,
    /// Items of the visit are left out, as on a page of the shop.
    new_only: bool,
    visits: Vec<Vec<Item>>,
    places: HashMap<Item, Vec<u32>>,
}

impl VisitNeighbours {
    fn new(name: &'static str, neighbours: usize, compared: usize) -> Self {
        let (visits, places) = (Vec::new(), HashMap::new());
        Self { name, neighbours, compared, last: 0, decays: true, rarity: 0.0, new_only: false, visits, places }
    }

    pub fn plain() -> Self {
        Self { decays: false, ..Self::new("S-kNN", 100, 500) }
    }

    pub fn sequential() -> Self {
        Self { rarity: 5.0, ..Self::new("V-SkNN", 500, 5_000) }
    }

    pub fn indexed() -> Self {
        Self { rarity: 2.0, last: 4, ..Self::new(STRONGEST, 288, 1_502) }
    }

    /// The same under the rule of a page, which what ships has to keep.
    pub fn of_new_items() -> Self {
        Self { name: STRONGEST_OF_NEW, new_only: true, ..Self::indexed() }
    }

    /// Visits with their likeness and how far back the newest common item lies (1: the newest).
    fn alike(&self, visit: &[Item]) -> Vec<(u32, f64, usize)> {
        let window = &visit[visit.len().saturating_sub(if self.last == 0 { visit.len() } else { self.last })..];
        let mut found: HashMap<u32, (f64, usize)> = HashMap::new();
        for item in newest_first(window) {
            let back = window.iter().rev().position(|other| *other == item).unwrap_or_default();
            let weight = if self.decays { (window.len() - back) as f64 / window.len() as f64 } else { 1.0 };
            let places = self.places.get(&item).map(Vec::as_slice).unwrap_or_default();
            for number in places.iter().rev().take(self.compared) {
                found.entry(*number).or_insert((0.0, back + 1)).0 += weight;
            }
        }
        let mut list: Vec<(u32, f64, usize)> =
            found.into_iter().map(|(number, (likeness, back))| (number, likeness, back)).collect();
        list.sort_by_key(|(number, ..)| std::cmp::Reverse(*number));
        list.truncate(self.compared);
        if !self.decays {
            // The cosine of two sets.
            let own = newest_first(visit).len() as f64;
            list.iter_mut().for_each(|(number, likeness, _)| {
                *likeness /= (own * self.visits[*number as usize].len() as f64).sqrt();
            });
        }
        list.sort_by(|one, two| two.1.total_cmp(&one.1));
        list.truncate(self.neighbours);
        list
    }
}

impl Model for VisitNeighbours {
    fn name(&self) -> &'static str {
        self.name
    }

    fn learn(&mut self, visit: &Visit) {
        let mut items = visit.items();
        items.sort_unstable();
        items.dedup();
        for item in &items {
            self.places.entry(*item).or_default().push(self.visits.len() as u32);
        }
        self.visits.push(items);
    }

    fn answer(&self, visit: &[Item]) -> Vec<Item> {
        let mut scores: HashMap<Item, f64> = HashMap::new();
        for (number, likeness, back) in self.alike(visit) {
            let near = if self.decays { (1.0 - 0.1 * back as f64).max(0.0) } else { 1.0 };
            for item in &self.visits[number as usize] {
                let known = self.places.get(item).map_or(1, Vec::len);
                let rare = 1.0 + self.rarity * (self.visits.len() as f64 / known as f64).ln();
                *scores.entry(*item).or_default() += likeness * near * rare;
            }
        }
        scores.retain(|item, _| !self.new_only || !visit.contains(item));
        best(scores.into_iter().collect(), visit)
    }
}
