//! The four ways of guessing what comes next. Each reads the index afresh and gives shares of one; the mixture weighs them.
//!
//! Each is bounded by constants below, so an answer costs the same in a shop of any size.

use crate::index::{Index, Visit};
use crate::names::Id;
use crate::sums::{Fast, Sums};

/// Items of the visit whose visits are looked for: what was looked at seven items ago says next to nothing.
const LOOKED_BACK: usize = 6;
/// Visits compared with ours, the newest; and of them those that count, the most alike.
const COMPARED: usize = 2_500;
const NEIGHBOURS: usize = 500;
/// What stood before the common item counts half of what came after it.
const BEFORE: f32 = 0.5;

/// From how many items the second step goes out, and over how many visits of each.
const GO_ON_FROM: usize = 50;
const GO_ON_OVER: usize = 50;
/// A visit with more different items than this joins everything with everything, and says nothing about what belongs together.
const TOO_WIDE: usize = 40;

/// Somebody's visit so far, in numbers: the newest item first, each once.
pub(crate) struct Asked<'a> {
    pub index: &'a Index,
    pub seen: &'a [Id],
    /// The item looked at last, which is never suggested; absent for somebody who has looked at nothing.
    pub last: Option<Id>,
    /// The visit itself may be in the index already, and must not be its own neighbour.
    pub own: Option<u64>,
}

impl<'a> Asked<'a> {
    fn visits_with(&self, item: Id) -> impl Iterator<Item = (u32, &'a Visit)> + use<'a> {
        let own = self.own;
        self.index.visits_with(item).filter(move |(_, visit)| own != Some(visit.key))
    }
}

/// Visits like this one, by common items, later ones counting more; their items by the distance from the latest common one.
pub(crate) fn neighbours(asked: &Asked<'_>) -> Sums {
    let looked_back = &asked.seen[..asked.seen.len().min(LOOKED_BACK)];
    let mut alike: Fast<u32, (f32, usize)> = Fast::default();
    for (back, item) in looked_back.iter().enumerate() {
        let weight = (looked_back.len() - back) as f32 / looked_back.len() as f32;
        for (number, _) in asked.visits_with(*item) {
            alike.entry(number).or_insert((0.0, back)).0 += weight;
        }
    }
    let mut found: Vec<(usize, u32, f32, usize)> =
        alike.into_iter().map(|(number, (likeness, back))| (asked.index.age(number), number, likeness, back)).collect();
    found.sort_unstable_by_key(|(age, ..)| *age);
    found.truncate(COMPARED);
    found.sort_by(|one, two| two.2.total_cmp(&one.2));
    found.truncate(NEIGHBOURS);

    let mut sums = Sums::default();
    let mut nearest: Vec<(Id, f32)> = Vec::new();
    for (_, number, likeness, back) in found {
        let Some(visit) = asked.index.visit(number) else { continue };
        let common = looked_back[back];
        nearest.clear();
        for (at, _) in visit.steps.iter().enumerate().filter(|(_, step)| step.item == common) {
            for (place, step) in visit.steps.iter().enumerate().filter(|(_, step)| step.item != common) {
                let near = if place > at { 1.0 / (place - at) as f32 } else { BEFORE / (at - place) as f32 };
                nearest.push((step.item, near));
            }
        }
        // Of an item that stands there several times the nearest counts.
        nearest.sort_unstable_by(|one, two| one.0.cmp(&two.0).then(two.1.total_cmp(&one.1)));
        nearest.dedup_by_key(|(item, _)| *item);
        for (item, near) in &nearest {
            sums.add(*item, likeness * near / (back + 1) as f32);
        }
    }
    sums.shares(|item| Some(item) == asked.last)
}

/// What stands directly beside the item looked at last, before or after.
pub(crate) fn beside(asked: &Asked<'_>) -> Sums {
    let mut sums = Sums::default();
    let Some(last) = asked.last else { return sums };
    for (_, visit) in asked.visits_with(last) {
        for pair in visit.steps.windows(2) {
            match (pair[0].item == last, pair[1].item == last) {
                (true, false) => sums.add(pair[1].item, 1.0),
                (false, true) => sums.add(pair[0].item, 1.0),
                _ => {}
            }
        }
    }
    sums.shares(|item| Some(item) == asked.last)
}

/// One step further: what goes together with what `from` suggests.
pub(crate) fn further(asked: &Asked<'_>, from: &Sums) -> Sums {
    let mut sums = Sums::default();
    let mut together: Vec<Id> = Vec::new();
    for (item, share) in from.heaviest(GO_ON_FROM) {
        let mut around: Fast<Id, f32> = Fast::default();
        let mut pairs = 0.0;
        for (_, visit) in asked.visits_with(item).take(GO_ON_OVER) {
            together.clear();
            together.extend(visit.steps.iter().map(|step| step.item));
            together.sort_unstable();
            together.dedup();
            if together.len() <= TOO_WIDE {
                for other in together.iter().filter(|other| **other != item) {
                    *around.entry(*other).or_default() += 1.0;
                    pairs += 1.0;
                }
            }
        }
        // One more than there are, so that an item seen with one other once does not pass its whole share on.
        around.into_iter().for_each(|(other, count)| sums.add(other, share * count / (pairs + 1.0)));
    }
    sums.shares(|item| Some(item) == asked.last)
}

/// Back to what was looked at in this visit: a third of all clicks is. The later, the likelier.
pub(crate) fn again(asked: &Asked<'_>) -> Sums {
    let mut sums = Sums::default();
    let earlier = asked.seen.iter().filter(|item| Some(**item) != asked.last);
    earlier.enumerate().for_each(|(back, item)| sums.add(*item, 1.0 / (back + 1) as f32));
    sums.shares(|_| false)
}

/// What was bought in visits in which `item` was looked at or bought.
pub(crate) fn bought_with(asked: &Asked<'_>, item: Id) -> Sums {
    let mut sums = Sums::default();
    let mut bought: Vec<Id> = Vec::new();
    for (_, visit) in asked.visits_with(item) {
        bought.clear();
        bought.extend(visit.steps.iter().filter(|step| step.bought && step.item != item).map(|step| step.item));
        bought.sort_unstable();
        bought.dedup();
        bought.iter().for_each(|other| sums.add(*other, 1.0));
    }
    sums.shares(|_| false)
}
