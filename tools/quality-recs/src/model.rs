//! What can be judged: something that takes in visits that are over and answers a visit so far. Ours is one of them.

use std::rc::Rc;

use recommender::{Index, Limits, Mixture, Question};

use crate::data::{Item, Visit};

/// Places that count.
pub const SHOWN: usize = 20;

pub trait Model {
    fn name(&self) -> &'static str;

    /// Takes in a visit that is over.
    fn learn(&mut self, visit: &Visit);

    /// What to show after `visit`, best first, at most [`SHOWN`]; the newest item of the visit stands last in it.
    fn answer(&self, visit: &[Item]) -> Vec<Item>;
}

/// The `SHOWN` best of a table of weights, without the item just clicked.
pub fn best(mut scored: Vec<(Item, f64)>, visit: &[Item]) -> Vec<Item> {
    scored.retain(|(item, _)| Some(item) != visit.last());
    scored.sort_by(|one, two| two.1.total_cmp(&one.1).then(one.0.cmp(&two.0)));
    scored.truncate(SHOWN);
    scored.into_iter().map(|(item, _)| item).collect()
}

/// The items of a visit, newest first, each once.
pub fn newest_first(visit: &[Item]) -> Vec<Item> {
    let mut list: Vec<Item> = Vec::with_capacity(visit.len());
    for item in visit.iter().rev() {
        if !list.contains(item) {
            list.push(*item);
        }
    }
    list
}

/// The index and the mixture that the service ships.
pub struct Ours {
    pub index: Index,
    pub mixture: Mixture,
    names: Rc<Vec<String>>,
    numbers: std::collections::HashMap<String, Item>,
    learned: u64,
}

impl Ours {
    pub fn new(names: Rc<Vec<String>>) -> Self {
        let numbers = names.iter().enumerate().map(|(number, name)| (name.clone(), number as Item)).collect();
        Self { index: Index::new(Limits::default()), mixture: Mixture::default(), names, numbers, learned: 0 }
    }

    /// Calls `with` with the question for a visit.
    pub fn ask<T>(&self, visit: &[Item], with: impl FnOnce(&Question<'_>) -> T) -> T {
        let newest = newest_first(visit);
        let names: Vec<&str> = newest.iter().map(|item| self.name_of(*item)).collect();
        with(&Question { visit: &names, own: None, seen_too: true })
    }

    pub fn name_of(&self, item: Item) -> &str {
        &self.names[item as usize]
    }
}

impl Model for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn learn(&mut self, visit: &Visit) {
        self.learned += 1;
        for click in &visit.clicks {
            self.index.learn(self.learned, click.at_ms, &self.names[click.item as usize], false);
        }
    }

    fn answer(&self, visit: &[Item]) -> Vec<Item> {
        self.ask(visit, |question| {
            let suggestions = self.mixture.suggest(&self.index, question, SHOWN);
            suggestions.iter().filter_map(|suggestion| self.numbers.get(suggestion.item).copied()).collect()
        })
    }
}
