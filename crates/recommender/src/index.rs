//! The index: the newest visits of a shop, and for each item the newest visits it occurs in. It grows click by click, forgets the
//! oldest visit when it is full, and nothing else is kept: neighbours, pairs and paths are all read from the visits themselves, so
//! there is no second table that could disagree.
//!
//! Nobody can be found in it: a visit is a list of items and a time. Its key, which tells a later click where to go on, means
//! nothing outside, and a snapshot leaves it out once the visit is over.

use std::collections::VecDeque;

use crate::names::{Id, Names};
use crate::sums::Fast;

/// A visit goes on while its clicks are no further apart (30 minutes, the usual length of a pause that ends a shop visit).
pub const VISIT_GAP_MS: i64 = 30 * 60 * 1000;

/// Steps remembered per visit. One shop visit in a thousand is longer; a robot's is, and teaches nothing more.
pub const MAX_STEPS: usize = 64;

/// What an index may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Visits, the newest; at five items a visit one takes about 100 bytes.
    pub visits: usize,
    /// Visits remembered per item, the newest: an answer looks at no more, so that the most popular item costs no more than others.
    pub visits_per_item: usize,
}

impl Default for Limits {
    /// 200,000 visits are about 20 MB; the data the mixture was chosen on has 24,000 in a month.
    fn default() -> Self {
        Self { visits: 200_000, visits_per_item: 1_000 }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Visit {
    pub key: u64,
    /// Time of the newest click.
    pub at_ms: i64,
    /// In the order of the clicks; the same item twice in a row is one step.
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub item: Id,
    pub bought: bool,
}

#[derive(Clone, Debug, Default)]
struct Places {
    /// Numbers of visits, in the order in which the item came up in them.
    visits: VecDeque<u32>,
    /// In how many remembered visits the item occurs, listed or not.
    count: u32,
}

#[derive(Clone, Debug)]
pub struct Index {
    limits: Limits,
    pub(crate) names: Names,
    pub(crate) visits: VecDeque<Visit>,
    /// Number of the oldest visit. Numbers go round after four thousand million; all comparing is done on differences.
    oldest: u32,
    places: Vec<Places>,
    open: Fast<u64, u32>,
    newest_ms: i64,
}

impl Index {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: Limits { visits: limits.visits.max(1), visits_per_item: limits.visits_per_item.max(1) },
            names: Names::default(),
            visits: VecDeque::new(),
            oldest: 0,
            places: Vec::new(),
            open: Fast::default(),
            newest_ms: i64::MIN,
        }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Visits remembered.
    pub fn len(&self) -> usize {
        self.visits.len()
    }

    pub fn is_empty(&self) -> bool {
        self.visits.is_empty()
    }

    /// Items that occur in them.
    pub fn items(&self) -> usize {
        self.names.len()
    }

    /// Time of the newest click.
    pub fn newest_ms(&self) -> Option<i64> {
        (!self.is_empty()).then_some(self.newest_ms)
    }

    pub fn knows(&self, item: &str) -> bool {
        self.names.find(item).is_some()
    }

    /// What occurs in most visits, by falling count.
    pub fn most_seen(&self, count: usize) -> Vec<&str> {
        let mut all: Vec<(u32, Id)> = (0..).zip(&self.places).map(|(id, places): (Id, _)| (places.count, id)).collect();
        all.retain(|(count, _)| *count > 0);
        all.sort_unstable_by_key(|(count, id)| (std::cmp::Reverse(*count), *id));
        all.into_iter().take(count).map(|(_, id)| self.names.name(id)).collect()
    }

    /// Takes in one click of the visit that `key` names; a new visit begins when there is none or it is over.
    pub fn learn(&mut self, key: u64, at_ms: i64, item: &str, bought: bool) {
        let place = self.open.get(&key).map(|number| number.wrapping_sub(self.oldest) as usize);
        let goes_on = |visit: &&mut Visit| visit.key == key && at_ms.saturating_sub(visit.at_ms) <= VISIT_GAP_MS;
        let place = place.filter(|place| self.visits.get_mut(*place).as_ref().is_some_and(goes_on));
        let place = place.unwrap_or_else(|| self.begin(key, at_ms));
        self.newest_ms = self.newest_ms.max(at_ms);
        let number = self.oldest.wrapping_add(place as u32);
        let visit = &mut self.visits[place];
        visit.at_ms = visit.at_ms.max(at_ms);
        let known = self.names.find(item);
        if let Some(last) = visit.steps.last_mut().filter(|last| Some(last.item) == known) {
            last.bought |= bought;
            return;
        }
        if visit.steps.len() >= MAX_STEPS {
            return;
        }
        let id = self.names.give(item);
        let is_new = visit.steps.iter().all(|step| step.item != id);
        visit.steps.push(Step { item: id, bought });
        if is_new {
            self.places.resize_with(self.names.places().max(self.places.len()), Places::default);
            let places = &mut self.places[id as usize];
            places.count += 1;
            places.visits.push_back(number);
            if places.visits.len() > self.limits.visits_per_item {
                places.visits.pop_front();
            }
        }
    }

    fn begin(&mut self, key: u64, at_ms: i64) -> usize {
        if self.visits.len() >= self.limits.visits {
            self.forget_oldest();
        }
        self.visits.push_back(Visit { key, at_ms, steps: Vec::new() });
        let place = self.visits.len() - 1;
        self.open.insert(key, self.oldest.wrapping_add(place as u32));
        place
    }

    fn forget_oldest(&mut self) {
        let Some(visit) = self.visits.pop_front() else { return };
        let gone = self.oldest;
        self.oldest = self.oldest.wrapping_add(1);
        if self.open.get(&visit.key) == Some(&gone) {
            self.open.remove(&visit.key);
        }
        let mut items: Vec<Id> = visit.steps.iter().map(|step| step.item).collect();
        items.sort_unstable();
        items.dedup();
        for item in items {
            let places = &mut self.places[item as usize];
            places.count -= 1;
            // A visit that went on long after it began may stand behind younger ones; it is passed over when read, and goes when
            // it has come to the front.
            while places.visits.front().is_some_and(|number| !is_held(*number, self.oldest, self.visits.len())) {
                places.visits.pop_front();
            }
            if places.count == 0 {
                places.visits.clear();
                self.names.take_back(item);
            }
        }
    }

    /// The newest visits with `item`, newest first.
    pub(crate) fn visits_with(&self, item: Id) -> impl Iterator<Item = (u32, &Visit)> {
        let listed = self.places.get(item as usize).into_iter().flat_map(|places| places.visits.iter().rev());
        listed.filter_map(|number| Some((*number, self.visits.get(number.wrapping_sub(self.oldest) as usize)?)))
    }

    pub(crate) fn visit(&self, number: u32) -> Option<&Visit> {
        self.visits.get(number.wrapping_sub(self.oldest) as usize)
    }

    /// How many visits ago one was begun; orders visits by age.
    pub(crate) fn age(&self, number: u32) -> usize {
        self.visits.len().saturating_sub(number.wrapping_sub(self.oldest) as usize)
    }
}

fn is_held(number: u32, oldest: u32, held: usize) -> bool {
    (number.wrapping_sub(oldest) as usize) < held
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn small(visits: usize, visits_per_item: usize) -> Index {
        Index::new(Limits { visits, visits_per_item })
    }

    fn told(index: &Index) -> Vec<Vec<&str>> {
        let steps = |visit: &Visit| visit.steps.clone().into_iter().map(|step| index.names.name(step.item)).collect();
        index.visits.iter().map(steps).collect()
    }

    #[test]
    fn a_click_goes_on_its_visit_until_a_pause_ends_it() {
        let mut index = small(10, 10);
        index.learn(1, 0, "A", false);
        index.learn(2, 5, "X", false);
        index.learn(1, 10, "A", true);
        index.learn(1, VISIT_GAP_MS + 10, "B", false);
        index.learn(1, 2 * VISIT_GAP_MS + 11, "A", false);
        assert_eq!(told(&index), [vec!["A", "B"], vec!["X"], vec!["A"]]);
        assert_eq!(index.most_seen(2), ["A", "X"]);
        assert!(index.visits[0].steps[0].bought, "a purchase of what was just looked at is no step of its own");
    }

    #[test]
    fn a_full_index_forgets_the_oldest_visit_and_its_names() {
        let mut index = small(2, 10);
        for (key, item) in [(1, "A"), (2, "B"), (3, "C")] {
            index.learn(key, 0, item, false);
        }
        assert_eq!(told(&index), [["B"], ["C"]]);
        assert!(!index.knows("A") && index.knows("C"));
        index.learn(4, 0, "D", false);
        assert_eq!((index.items(), index.names.places()), (2, 2), "the number of what is gone is given again");
        // The visit of key 1 is gone: its next click begins another.
        index.learn(1, 1, "E", false);
        assert_eq!(told(&index), [["D"], ["E"]]);
    }

    #[test]
    fn a_robot_fills_one_visit_and_no_more() {
        let mut index = small(10, 10);
        (0..10_000).for_each(|n| index.learn(1, n, &format!("S{n}"), false));
        assert_eq!((index.len(), index.items()), (1, MAX_STEPS));
    }

    proptest! {
        /// Whatever comes, in whatever order: bounds hold, and what an item lists are visits that hold it.
        #[test]
        fn bounds_hold_and_lists_tell_the_truth(clicks in prop::collection::vec((0u64..12, 0i64..40, 0u8..9), 0..400)) {
            let mut index = small(6, 3);
            for (key, minutes, item) in clicks {
                index.learn(key, minutes * 2 * 60_000, &format!("S{item}"), false);
                prop_assert!(index.len() <= 6);
                prop_assert!(index.open.len() <= 12);
            }
            let held: std::collections::BTreeSet<Id> =
                index.visits.iter().flat_map(|visit| visit.steps.iter().map(|step| step.item)).collect();
            prop_assert_eq!(index.items(), held.len());
            for id in held {
                let listed: Vec<(u32, &Visit)> = index.visits_with(id).collect();
                prop_assert!(listed.len() <= 3);
                prop_assert!(listed.iter().all(|(_, visit)| visit.steps.iter().any(|step| step.item == id)));
                let count = index.visits.iter().filter(|visit| visit.steps.iter().any(|step| step.item == id)).count();
                prop_assert_eq!(index.places[id as usize].count as usize, count);
            }
        }
    }
}
