//! Whether the counts of a stock row follow from its movements. Movements are only ever added to, so they are the truth; a
//! row is their sum, kept beside them because it is asked for so often. Decided here: which sum each count must be. Not
//! decided here: what to do about a difference; nothing repairs itself, a person must find out which of the two is wrong.

use std::collections::HashMap;

use super::inventory::{MovementKind, StockLevel, SupplyKind};
use super::shelves::Place;

/// One row, its movements added up by kind, and the units its promises still wait for; all of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    pub place: Place,
    /// `None`: there are movements of a row that is not there.
    pub row: Option<StockLevel>,
    pub sums: HashMap<MovementKind, i64>,
    pub waiting: i64,
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
}
