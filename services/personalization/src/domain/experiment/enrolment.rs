//! What is remembered about one person who is in experiments, and how it becomes sums. Decided here: a person counts once, an order counts
//! once and only after the person was shown something, and who withdraws leaves no trace in any arm but that somebody did.
//!
//! An order is known by a mark, and no mark is ever forgotten: of one person the first [`MOST_ORDERS`] orders count. So a person needs
//! half a kilobyte at most for an experiment, however often the stream is read again.

use super::Arm;
use super::plan::Plans;
use super::tally::{Count, Delta};
use crate::domain::Pseudonym;

/// Orders of one person that count. Who buys more often within an experiment is no shopper as the others are, and what counts of their
/// money has its own bound.
pub const MOST_ORDERS: usize = 32;

/// Experiments remembered of one person: those that run, twice over. The oldest is forgotten first.
pub const MOST_ENROLMENTS: usize = 8;

/// One person in one experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    pub series: String,
    pub arm: Arm,
    /// When they were first shown something of it.
    pub since_ms: i64,
    /// What counts of their money at most.
    pub most_minor: i64,
    /// What counts of their money so far.
    pub spent_minor: i64,
    /// They got an answer without the store.
    pub degraded: bool,
    /// Marks of the orders that count.
    pub orders: Vec<u32>,
}

/// One person in all experiments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enrolments(pub Vec<Enrolment>);

/// That a person was shown what experiments may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    pub at_ms: i64,
    pub degraded: bool,
}

/// An order that was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// By which a repetition is known; see [`super::super::seen`].
    pub mark: u32,
    pub minor: i64,
    pub at_ms: i64,
}

impl Enrolments {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first exposure makes a person of an arm; later ones may tell that an answer was degraded.
    pub fn exposed(&mut self, plans: &Plans, key: &[u8], who: &Pseudonym, exposure: Exposure) -> Vec<Delta> {
        let mut deltas = Vec::new();
        for plan in plans.iter() {
            let series = plan.series();
            let place = self.0.iter().position(|known| known.series == series).unwrap_or_else(|| {
                let arm = plan.arm(key, who);
                deltas.push(Delta::of(&series, arm, Count::Persons, 1));
                let (since_ms, most_minor) = (exposure.at_ms, plan.most_minor);
                let (spent_minor, degraded, orders) = (0, false, Vec::new());
                self.0.push(Enrolment { series, arm, since_ms, most_minor, spent_minor, degraded, orders });
                self.0.len() - 1
            });
            let known = &mut self.0[place];
            if exposure.degraded && !known.degraded {
                known.degraded = true;
                deltas.push(Delta::of(&known.series, known.arm, Count::Degraded, 1));
            }
        }
        if self.0.len() > MOST_ENROLMENTS {
            self.0.drain(..self.0.len() - MOST_ENROLMENTS);
        }
        deltas
    }

    /// An order counts in each experiment that its person was shown before it, once.
    pub fn bought(&mut self, purchase: &Purchase) -> Vec<Delta> {
        let mut deltas = Vec::new();
        for known in &mut self.0 {
            let counts = purchase.at_ms >= known.since_ms
                && !known.orders.contains(&purchase.mark)
                && known.orders.len() < MOST_ORDERS;
            if !counts {
                continue;
            }
            let before = known.spent_minor;
            known.spent_minor = before.saturating_add(purchase.minor.max(0)).min(known.most_minor);
            let first = known.orders.is_empty();
            known.orders.push(purchase.mark);
            let mut count = |of, by| deltas.push(Delta::of(&known.series, known.arm, of, by));
            count(Count::Orders, 1);
            if first {
                count(Count::Buyers, 1);
            }
            if known.spent_minor != before {
                count(Count::Revenue, known.spent_minor - before);
                count(Count::Squares, known.spent_minor * known.spent_minor - before * before);
            }
        }
        deltas
    }

    /// Takes back all that this person added.
    pub fn withdrawn(&mut self) -> Vec<Delta> {
        let mut deltas = Vec::new();
        for known in self.0.drain(..) {
            let bought = i64::from(!known.orders.is_empty());
            // At most 32 marks, which fits.
            let orders = known.orders.len() as i64;
            for (of, by) in [
                (Count::Persons, -1),
                (Count::Buyers, -bought),
                (Count::Orders, -orders),
                (Count::Revenue, -known.spent_minor),
                (Count::Squares, -(known.spent_minor * known.spent_minor)),
                (Count::Degraded, -i64::from(known.degraded)),
                (Count::Withdrew, 1),
            ] {
                if by != 0 {
                    deltas.push(Delta::of(&known.series, known.arm, of, by));
                }
            }
        }
        deltas
    }
}

#[cfg(test)]
mod tests {
    use super::super::tally::{ByArm, Tally};
    use super::*;

    const KEY: &[u8] = b"a-key-of-the-test-stack";

    fn plans(names: &[&str]) -> Plans {
        let plan = |name: &&str| format!("name={name} change=off treated=5000 conversion=100 revenue=50 most=10000");
        Plans::parse(&names.iter().map(plan).collect::<Vec<_>>().join(";")).expect("plans")
    }

    fn who() -> Pseudonym {
        Pseudonym::parse(&"a".repeat(32)).expect("a pseudonym")
    }

    fn exposure(at_ms: i64) -> Exposure {
        Exposure { at_ms, degraded: false }
    }

    fn order(mark: u32, minor: i64, at_ms: i64) -> Purchase {
        Purchase { mark, minor, at_ms }
    }

    /// Both arms together of one series.
    fn sum(deltas: &[Delta]) -> Tally {
        let mut sums = ByArm::default();
        deltas.iter().for_each(|delta| sums.add(delta));
        let (one, other) = (sums.control, sums.treatment);
        if one == Tally::default() { other } else { one }
    }

    #[test]
    fn a_person_and_each_order_count_once_and_only_after_the_exposure() {
        let mut person = Enrolments::default();
        let mut deltas = person.exposed(&plans(&["x"]), KEY, &who(), exposure(100));
        for step in [
            person.exposed(&plans(&["x"]), KEY, &who(), exposure(50)),
            person.bought(&order(1, 700, 99)),
            person.bought(&order(2, 700, 100)),
            person.bought(&order(2, 700, 100)),
            person.bought(&order(3, 300, 200)),
            person.bought(&order(2, 700, 100)),
        ] {
            deltas.extend(step);
        }
        let (persons, buyers, orders) = (1, 1, 2);
        let expected = Tally { persons, buyers, orders, revenue_minor: 1_000, squares: 1_000_000, ..Tally::default() };
        assert_eq!(sum(&deltas), expected);
    }

    #[test]
    fn what_one_person_spends_and_how_often_is_bounded_and_never_counted_again() {
        let mut person = Enrolments::default();
        let mut deltas = person.exposed(&plans(&["x"]), KEY, &who(), exposure(0));
        // Read three times from the beginning, as by a group that lost its place.
        for _ in 0..3 {
            for mark in 0..100 {
                deltas.extend(person.bought(&order(mark, 1_000, 1)));
            }
        }
        let sum = sum(&deltas);
        assert_eq!((sum.orders, sum.buyers), (MOST_ORDERS as i64, 1));
        assert_eq!((sum.revenue_minor, sum.squares), (10_000, 100_000_000), "the most that counts of a person");
        let mut odd = Enrolments::default();
        odd.exposed(&plans(&["x"]), KEY, &who(), exposure(0));
        odd.bought(&order(1, i64::MAX, 1));
        odd.bought(&order(2, i64::MIN, 1));
        assert_eq!(odd.0[0].spent_minor, 10_000);
    }

    #[test]
    fn who_withdraws_leaves_nothing_but_that_somebody_did() {
        let mut person = Enrolments::default();
        let plans = plans(&["x"]);
        let mut deltas = person.exposed(&plans, KEY, &who(), Exposure { at_ms: 0, degraded: true });
        deltas.extend(person.bought(&order(1, 700, 1)));
        deltas.extend(person.withdrawn());
        assert_eq!(sum(&deltas), Tally { withdrew: 1, ..Tally::default() });
        assert!(person.is_empty() && person.bought(&order(2, 700, 2)).is_empty());
        assert!(person.withdrawn().is_empty(), "once");
    }

    #[test]
    fn a_degraded_answer_counts_once_and_old_experiments_are_forgotten() {
        let mut person = Enrolments::default();
        let mut deltas = Vec::new();
        for degraded in [false, true, true] {
            deltas.extend(person.exposed(&plans(&["x"]), KEY, &who(), Exposure { at_ms: 0, degraded }));
        }
        assert_eq!((sum(&deltas).persons, sum(&deltas).degraded), (1, 1));
        for season in 0..5 {
            let names = [format!("a{season}"), format!("b{season}")];
            person.exposed(&plans(&[&names[0], &names[1]]), KEY, &who(), exposure(0));
        }
        assert_eq!(person.0.len(), MOST_ENROLMENTS);
        assert_eq!(person.0[0].series, "a1.5000.off.100.50.10000");
    }
}
