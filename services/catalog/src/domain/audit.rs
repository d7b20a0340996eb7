//! Whether the counts of a stock row follow from its movements. Movements are only ever added to, so they are the truth; a
//! row is their sum, kept beside them because it is asked for so often. Decided here: which sum each count must be, and how a walk over all
//! rows is cut into looks of a bounded size, in the middle of a row if it must. Not decided here: what to do about a difference; nothing
//! repairs itself, a person must find out which of the two is wrong.

use std::collections::{BTreeMap, HashMap};

use super::inventory::{MovementKind, StockLevel, SupplyKind};
use super::shelves::Place;

/// Units by kind of movement.
pub type Sums = HashMap<MovementKind, i64>;

/// One row, its movements added up by kind, and the units its promises still wait for; row, promises and last movement are of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    pub place: Place,
    /// `None`: there are movements of a row that is not there.
    pub row: Option<StockLevel>,
    pub sums: Sums,
    pub waiting: i64,
}

/// How much one look reads: rows, and movements of all of them together. Both at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    pub rows: u16,
    pub movements: u32,
}

/// Where a walk goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// At the row after this one.
    After(Place),
    /// In a row with more movements than were left to read.
    Within(Part),
}

/// Movements of one row, added up from its first one on, or from where the look before stopped. Numbers of movements are drawn under the lock of
/// their row, so none with a lower number than a part's last can appear once the part is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub place: Place,
    /// How many they are.
    pub movements: u64,
    /// Number of the last of them.
    pub through: i64,
    pub sums: Sums,
}

/// A part of the walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub audited: Vec<Audited>,
    /// Movements read, those of a row that is not at its end among them.
    pub read: u64,
    /// `None`: the walk is at its end.
    pub next: Option<Mark>,
}

impl Mark {
    /// Whether the row of `place` is still to be looked at.
    pub fn is_before(&self, place: &Place) -> bool {
        match self {
            Self::After(done) => place > done,
            Self::Within(part) => place >= &part.place,
        }
    }

    /// The last movement that was read: its row, and its number there; of a row that is done, the highest there can be.
    pub fn last_read(&self) -> (&Place, i64) {
        match self {
            Self::After(done) => (done, i64::MAX),
            Self::Within(part) => (&part.place, part.through),
        }
    }
}

impl Part {
    fn add(&mut self, next: Self) {
        self.movements += next.movements;
        self.through = self.through.max(next.through);
        for (kind, units) in next.sums {
            *self.sums.entry(kind).or_default() += units;
        }
    }
}

impl Look {
    /// Puts together what a store read from `from` on: the next rows in their order, each with the units its promises wait for, and the
    /// next movements of places up to the last of these rows or, when they are the last rows of all, of all places. Of both no more than
    /// `most`.
    pub fn of(from: Option<&Mark>, rows: Vec<(Place, StockLevel, i64)>, parts: Vec<Part>, most: Most) -> Self {
        let read: u64 = parts.iter().map(|part| part.movements).sum();
        let full = rows.len() >= usize::from(most.rows);
        let last_row = rows.last().map(|(place, ..)| place.clone()).filter(|_| full);
        let mut whole: BTreeMap<Place, Part> = BTreeMap::new();
        if let Some(Mark::Within(part)) = from {
            whole.insert(part.place.clone(), part.clone());
        }
        for part in parts {
            match whole.get_mut(&part.place) {
                Some(known) => known.add(part),
                None => drop(whole.insert(part.place.clone(), part)),
            }
        }
        // There may be more of the last place: it is compared when all of it was read.
        let cut = if read >= u64::from(most.movements) { whole.pop_last() } else { None };
        let mut audited = Vec::with_capacity(rows.len());
        for (place, row, waiting) in rows {
            if cut.as_ref().is_some_and(|(last, _)| place >= *last) {
                break;
            }
            let sums = whole.remove(&place).map(|part| part.sums).unwrap_or_default();
            audited.push(Audited { place, row: Some(row), sums, waiting });
        }
        let without_row = |part: Part| Audited { place: part.place, row: None, sums: part.sums, waiting: 0 };
        audited.extend(whole.into_values().map(without_row));
        audited.sort_by(|one, other| one.place.cmp(&other.place));
        let next = match cut {
            Some((_, part)) => Some(Mark::Within(part)),
            None => last_row.map(Mark::After),
        };
        Self { audited, read, next }
    }
}

/// A count that does not follow from the movements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub place: Place,
    pub counter: &'static str,
    pub expected: i64,
    pub found: i64,
}

impl Finding {
    const COUNTERS: [&str; 8] = ["row", "available", "held", "sold", "returned", "received", "back_ordered", "waiting"];

    /// The counter of that name.
    pub fn counter_of(name: &str) -> Option<&'static str> {
        Self::COUNTERS.into_iter().find(|counter| *counter == name)
    }
}

impl Audited {
    pub fn findings(&self) -> Vec<Finding> {
        use MovementKind::{BackOrdered, Covered, Found, Held, Lost, Received, Released, Returned, Sold};
        let sum = |kind| self.sums.get(&kind).copied().unwrap_or(0);
        let finding = |counter, expected, found| Finding { place: self.place.clone(), counter, expected, found };
        let Some(row) = &self.row else {
            return vec![finding("row", self.sums.values().sum(), 0)];
        };
        let owed = sum(BackOrdered) - sum(Covered);
        let came_in = sum(Received) + sum(Found) - sum(Lost);
        // What is not counted comes in as it is held and goes as it is given back.
        let (available, received) = match row.kind {
            SupplyKind::Counted | SupplyKind::Serialised => {
                (came_in + owed - sum(Held) + sum(Released) + sum(Returned), came_in)
            }
            SupplyKind::MadeToOrder | SupplyKind::Unlimited => (0, sum(Held) - sum(Released) - sum(Returned)),
        };
        [
            ("available", available, row.available),
            ("held", sum(Held) - sum(Released) - sum(Sold), row.held),
            ("sold", sum(Sold), row.sold),
            ("returned", sum(Returned), row.returned),
            ("received", received, row.received),
            ("back_ordered", owed, row.back_ordered),
            // Each promise that is owed belongs to somebody who waits.
            ("waiting", owed, self.waiting),
        ]
        .into_iter()
        .filter(|(_, expected, found)| expected != found)
        .map(|(counter, expected, found)| finding(counter, expected, found))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use common::Sku;

    use super::super::centre::Centre;
    use super::*;

    fn audited(row: Option<StockLevel>, sums: &[(MovementKind, i64)]) -> Audited {
        let place = (Sku::parse("A").unwrap(), Centre::parse("near").unwrap());
        Audited { place, row, sums: sums.iter().copied().collect(), waiting: 0 }
    }

    /// Each count is wrong once, and only that one is named.
    #[test]
    fn each_count_that_does_not_follow_is_named() {
        use MovementKind::{Found, Held, Lost, Received, Released, Sold};
        let sums = [(Received, 11), (Found, 2), (Lost, 3), (Held, 6), (Released, 1), (Sold, 2)];
        let right =
            StockLevel { available: 5, held: 3, sold: 2, received: 10, ..StockLevel::empty(SupplyKind::Counted) };
        assert_eq!(audited(Some(right.clone()), &sums).findings(), []);
        let wrong = |change: fn(&mut StockLevel)| {
            let mut row = right.clone();
            change(&mut row);
            audited(Some(row), &sums).findings().into_iter().map(|finding| finding.counter).collect::<Vec<_>>()
        };
        assert_eq!(wrong(|row| row.available = 4), ["available"]);
        assert_eq!(wrong(|row| row.held = 4), ["held"]);
        assert_eq!(wrong(|row| row.sold = 4), ["sold"]);
        assert_eq!(wrong(|row| row.returned = 4), ["returned"]);
        assert_eq!(wrong(|row| row.received = 4), ["received"]);
        assert_eq!(wrong(|row| row.back_ordered = 4), ["back_ordered"]);
        let forgotten = Audited { waiting: 1, ..audited(Some(right.clone()), &sums) };
        assert_eq!(forgotten.findings()[0].counter, "waiting");
        assert_eq!(audited(None, &sums).findings()[0].counter, "row");
    }

    fn at(sku: &str) -> Place {
        (Sku::parse(sku).unwrap(), Centre::parse("near").unwrap())
    }

    fn part(sku: &str, movements: u64, through: i64) -> Part {
        let units = i64::try_from(movements).unwrap();
        Part { place: at(sku), movements, through, sums: HashMap::from([(MovementKind::Received, units)]) }
    }

    fn row(sku: &str) -> (Place, StockLevel, i64) {
        (at(sku), StockLevel::empty(SupplyKind::Counted), 0)
    }

    /// Rows that are compared, with what of them was received.
    fn compared(look: &Look) -> Vec<(&str, i64)> {
        let received = |row: &Audited| row.sums.get(&MovementKind::Received).copied().unwrap_or(0);
        look.audited.iter().map(|row| (row.place.0.as_str(), received(row))).collect()
    }

    #[test]
    fn a_row_is_compared_when_all_of_it_was_read_and_not_before() {
        let most = Most { rows: 3, movements: 10 };
        let rows = || vec![row("A"), row("B"), row("C")];
        // Two rows are whole; of the third there may be more, and it has no part in this look.
        let first = Look::of(None, rows(), vec![part("A", 4, 9), part("B", 6, 8)], most);
        assert_eq!((compared(&first), first.read), (vec![("A", 4)], 10));
        assert_eq!(first.next, Some(Mark::Within(part("B", 6, 8))));
        // The next look reads on, and again not to the end; then to its end and beyond.
        let second = Look::of(first.next.as_ref(), vec![row("B"), row("C")], vec![part("B", 10, 40)], most);
        assert_eq!((compared(&second), &second.next), (vec![], &Some(Mark::Within(part("B", 16, 40)))));
        let third =
            Look::of(second.next.as_ref(), vec![row("B"), row("C")], vec![part("B", 1, 41), part("C", 2, 7)], most);
        assert_eq!((compared(&third), &third.next, third.read), (vec![("B", 17), ("C", 2)], &None, 3));
    }

    #[test]
    fn a_row_that_ended_with_the_look_before_is_compared_by_the_next() {
        let most = Most { rows: 2, movements: 10 };
        let before = Mark::Within(part("B", 10, 40));
        let look = Look::of(Some(&before), vec![row("B"), row("C")], vec![part("C", 1, 50)], most);
        assert_eq!((compared(&look), &look.next), (vec![("B", 10), ("C", 1)], &Some(Mark::After(at("C")))));
        let alone = Look::of(Some(&before), Vec::new(), Vec::new(), most);
        assert_eq!((compared(&alone), alone.audited[0].row.is_none(), &alone.next), (vec![("B", 10)], true, &None));
    }

    #[test]
    fn rows_without_movements_and_movements_without_a_row_are_compared_in_their_order() {
        let most = Most { rows: 5, movements: 10 };
        let look = Look::of(None, vec![row("A"), row("C")], vec![part("B", 2, 3), part("D", 1, 4)], most);
        assert_eq!(compared(&look), [("A", 0), ("B", 2), ("C", 0), ("D", 1)]);
        let without: Vec<bool> = look.audited.iter().map(|audited| audited.row.is_none()).collect();
        assert_eq!((without, look.next), (vec![false, true, false, true], None));
    }
}
