//! What can be judged: something that takes in visits that are over and answers a visit so far. Ours is one of them.

use std::rc::Rc;

use recommender::{Index, Limits, Mixture, Question};

use crate::data::{Item, Visit};

/// Places that count.
pub const SHOWN: usize = 20;

/// Ours in the comparison with published methods, all of which may foretell that somebody goes back.
pub const OURS: &str = "ours";
/// Ours as a page is given it: new items only.
pub const SHIPS: &str = "ours as it ships";
/// The strongest baseline in the comparison, and under the rule of a page.
pub const STRONGEST: &str = "VMIS-kNN";
pub const STRONGEST_OF_NEW: &str = "VMIS-kNN of new items";

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
    /// Asked as the service asks, whose pages leave out what was looked at; else as the published methods are compared.
    as_it_ships: bool,
    names: Rc<Vec<String>>,
    numbers: std::collections::HashMap<String, Item>,
    learned: u64,
}

impl Ours {
    pub fn new(names: Rc<Vec<String>>) -> Self {
        let numbers = names.iter().enumerate().map(|(number, name)| (name.clone(), number as Item)).collect();
        let (index, mixture) = (Index::new(Limits::default()), Mixture::default());
        Self { index, mixture, as_it_ships: false, names, numbers, learned: 0 }
    }

    pub fn as_it_ships(names: Rc<Vec<String>>) -> Self {
        Self { as_it_ships: true, ..Self::new(names) }
    }

    /// Calls `with` with the question for a visit.
    pub fn ask<T>(&self, visit: &[Item], with: impl FnOnce(&Question<'_>) -> T) -> T {
        let newest = newest_first(visit);
        let names: Vec<&str> = newest.iter().map(|item| self.name_of(*item)).collect();
        let question =
            if self.as_it_ships { Question::of_a_page(&names, None) } else { Question::of_a_comparison(&names) };
        with(&question)
    }

    pub fn name_of(&self, item: Item) -> &str {
        &self.names[item as usize]
    }
}

impl Model for Ours {
    fn name(&self) -> &'static str {
        if self.as_it_ships { SHIPS } else { OURS }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baselines::VisitNeighbours;
    use crate::data::Click;

    fn visit(items: &[Item]) -> Visit {
        let clicks = (0..).zip(items).map(|(at_ms, item)| Click { at_ms, item: *item });
        Visit { name: String::new(), clicks: clicks.collect() }
    }

    #[test]
    fn what_ships_and_what_it_is_compared_with_foretell_no_item_of_the_visit_and_the_others_do() {
        let names = Rc::new(["A", "B", "C"].map(str::to_owned).to_vec());
        let models: [(Box<dyn Model>, bool); 4] = [
            (Box::new(Ours::new(names.clone())), true),
            (Box::new(VisitNeighbours::indexed()), true),
            (Box::new(Ours::as_it_ships(names)), false),
            (Box::new(VisitNeighbours::of_new_items()), false),
        ];
        for (mut model, goes_back) in models {
            (0..3).for_each(|_| model.learn(&visit(&[0, 1, 0, 2])));
            // Somebody who looked at A and stands before B.
            let answer = model.answer(&[0, 1]);
            assert!(answer.contains(&2) && !answer.contains(&1), "{}: {answer:?}", model.name());
            assert_eq!(answer.contains(&0), goes_back, "{}: {answer:?}", model.name());
        }
    }
}
