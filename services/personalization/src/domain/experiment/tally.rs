//! Sums per arm, and what they show. Everything here is about nobody in particular.

use super::evidence::{self, Arms, Evidence, Guard, Interval, Measure, Verdict};
use super::plan::Plan;
use super::{Arm, WHOLE};

/// What is summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Count {
    /// Who was shown something and has not withdrawn.
    Persons,
    /// Those of them who bought.
    Buyers,
    Orders,
    /// What they spent, each as far as it counts.
    Revenue,
    /// The squares of what each spent.
    Squares,
    /// Those of them who got an answer without the store.
    Degraded,
    /// Who withdrew their consent after they had been shown something.
    Withdrew,
}

impl Count {
    pub const ALL: [Self; 7] =
        [Self::Persons, Self::Buyers, Self::Orders, Self::Revenue, Self::Squares, Self::Degraded, Self::Withdrew];

    pub fn code(self) -> &'static str {
        match self {
            Self::Persons => "persons",
            Self::Buyers => "buyers",
            Self::Orders => "orders",
            Self::Revenue => "revenue",
            Self::Squares => "squares",
            Self::Degraded => "degraded",
            Self::Withdrew => "withdrew",
        }
    }
}

/// One change of one sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    pub series: String,
    pub arm: Arm,
    pub of: Count,
    pub by: i64,
}

impl Delta {
    pub fn of(series: &str, arm: Arm, of: Count, by: i64) -> Self {
        Self { series: series.to_owned(), arm, of, by }
    }
}

/// The sums of one arm; money in the smallest unit of the region's currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub persons: i64,
    pub buyers: i64,
    pub orders: i64,
    pub revenue_minor: i64,
    pub squares: i64,
    pub degraded: i64,
    pub withdrew: i64,
}

impl Tally {
    pub fn get(&self, of: Count) -> i64 {
        match of {
            Count::Persons => self.persons,
            Count::Buyers => self.buyers,
            Count::Orders => self.orders,
            Count::Revenue => self.revenue_minor,
            Count::Squares => self.squares,
            Count::Degraded => self.degraded,
            Count::Withdrew => self.withdrew,
        }
    }

    pub fn add(&mut self, of: Count, by: i64) {
        let sum = match of {
            Count::Persons => &mut self.persons,
            Count::Buyers => &mut self.buyers,
            Count::Orders => &mut self.orders,
            Count::Revenue => &mut self.revenue_minor,
            Count::Squares => &mut self.squares,
            Count::Degraded => &mut self.degraded,
            Count::Withdrew => &mut self.withdrew,
        };
        *sum = sum.saturating_add(by);
    }

    fn conversion(self) -> Measure {
        measure(self.persons, self.buyers, self.buyers)
    }

    fn revenue(self) -> Measure {
        measure(self.persons, self.revenue_minor, self.squares)
    }

    fn degradation(self) -> Measure {
        measure(self.persons, self.degraded, self.degraded)
    }

    /// Of everybody who was put into the arm.
    fn withdrawal(self) -> Measure {
        measure(self.persons.saturating_add(self.withdrew), self.withdrew, self.withdrew)
    }
}

/// A sum is below zero only after sums were lost and records of people were not; then it says nothing.
fn measure(people: i64, sum: i64, squares: i64) -> Measure {
    Measure { visitors: people.max(0) as u64, sum: sum.max(0) as f64, squares: squares.max(0) as f64 }
}

/// The sums of both arms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByArm {
    pub control: Tally,
    pub treatment: Tally,
}

impl ByArm {
    pub fn of(&self, arm: Arm) -> &Tally {
        match arm {
            Arm::Control => &self.control,
            Arm::Treatment => &self.treatment,
        }
    }

    pub fn of_mut(&mut self, arm: Arm) -> &mut Tally {
        match arm {
            Arm::Control => &mut self.control,
            Arm::Treatment => &mut self.treatment,
        }
    }

    pub fn add(&mut self, delta: &Delta) {
        self.of_mut(delta.arm).add(delta.of, delta.by);
    }

    fn arms(&self, measure: fn(Tally) -> Measure) -> Arms {
        Arms { control: measure(self.control), treatment: measure(self.treatment) }
    }
}

/// How often an experiment may be called decided when there is nothing.
const ERROR: f64 = 0.05;

/// A guard may get worse by this share of the people: half of one in a hundred.
const TOLERATED: f64 = 0.005;

/// What one guard says.
#[derive(Clone, Debug, PartialEq)]
pub struct Guarded {
    pub name: &'static str,
    /// Treatment minus control, as a share of the people.
    pub difference: Option<Interval>,
    pub tolerated: f64,
}

/// What an experiment shows at this moment. Differences are treatment minus control, per person.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub sums: ByArm,
    pub conversion: Option<Interval>,
    /// In the smallest unit.
    pub revenue: Option<Interval>,
    pub dealt_as_set: bool,
    pub guards: Vec<Guarded>,
    pub verdict: Verdict,
}

/// Reads the sums of a plan.
pub fn find(plan: &Plan, sums: ByArm) -> Finding {
    let guard = |name, measure: fn(Tally) -> Measure| Guard { name, arms: sums.arms(measure), tolerated: TOLERATED };
    let guards: [Guard<'static>; 2] =
        [guard("degraded answers", Tally::degradation), guard("withdrawals", Tally::withdrawal)];
    let evidence = Evidence {
        treated_share: f64::from(plan.treated) / f64::from(WHOLE),
        dealt: sums.arms(Tally::withdrawal),
        conversion: sums.arms(Tally::conversion),
        revenue: sums.arms(Tally::revenue),
        expected_conversion: f64::from(plan.conversion) / f64::from(WHOLE),
        expected_revenue: f64::from(plan.revenue_minor),
        guards: &guards,
        error: ERROR,
    };
    // The same share of the error as in the verdict, so that what is shown is what was judged.
    let guarded = |guard: &Guard<'static>| {
        let difference = evidence::interval(&guard.arms, guard.tolerated, ERROR / guards.len() as f64);
        Guarded { name: guard.name, difference, tolerated: guard.tolerated }
    };
    Finding {
        sums,
        conversion: evidence.conversion_interval(),
        revenue: evidence.revenue_interval(),
        dealt_as_set: evidence.dealt_as_set(),
        guards: guards.iter().map(guarded).collect(),
        verdict: evidence.verdict(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Plans;
    use super::*;

    fn plan() -> Plan {
        let text = "name=x change=off treated=5000 conversion=100 revenue=50 most=10000";
        Plans::parse(text).expect("a plan").iter().next().expect("one").clone()
    }

    /// Buyers spend 5,000 each.
    fn tally(persons: i64, buyers: i64) -> Tally {
        let (orders, revenue_minor, squares) = (buyers, buyers * 5_000, buyers * 25_000_000);
        Tally { persons, buyers, orders, revenue_minor, squares, ..Tally::default() }
    }

    #[test]
    fn sums_are_read_as_the_arithmetic_wants_them() {
        let base = tally(50_000, 5_000);
        for (control, treatment, verdict) in [
            (tally(0, 0), tally(0, 0), Verdict::Open),
            (base, tally(50_000, 5_010), Verdict::Open),
            (base, tally(50_000, 5_600), Verdict::Better),
            (base, tally(50_000, 4_400), Verdict::Worse),
            (base, tally(45_000, 5_600), Verdict::Misdealt),
            (base, Tally { degraded: 2_000, ..tally(50_000, 5_600) }, Verdict::Harmful("degraded answers".to_owned())),
            (base, Tally { withdrew: 900, ..tally(49_900, 5_600) }, Verdict::Harmful("withdrawals".to_owned())),
            // Who left was dealt all the same.
            (base, Tally { withdrew: 2_000, ..tally(48_000, 4_800) }, Verdict::Harmful("withdrawals".to_owned())),
            // Too few buyers say nothing; that of two large arms one sells nothing does.
            (tally(9_000, 90), tally(9_000, 9), Verdict::Open),
            (tally(50_000, 500), tally(50_000, 0), Verdict::Worse),
            (base, Tally { persons: -3, squares: -1, ..Tally::default() }, Verdict::Misdealt),
        ] {
            let finding = find(&plan(), ByArm { control, treatment });
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert_eq!(finding.dealt_as_set, verdict != Verdict::Misdealt);
        }
        let better = find(&plan(), ByArm { control: base, treatment: tally(50_000, 5_600) });
        let (conversion, revenue) = (better.conversion.expect("enough"), better.revenue.expect("enough"));
        assert!(conversion.low > 0.0 && conversion.low < 0.012 && conversion.high > 0.012, "{conversion:?}");
        assert!(revenue.low < 60.0 && revenue.high > 60.0, "{revenue:?}");
    }

    #[test]
    fn every_sum_has_a_name_of_its_own_and_changes_alone() {
        for of in Count::ALL {
            let mut sums = ByArm::default();
            sums.add(&Delta::of("x", Arm::Treatment, of, 3));
            assert_eq!(sums.control, Tally::default());
            let changed: Vec<Count> =
                Count::ALL.into_iter().filter(|of| sums.of(Arm::Treatment).get(*of) == 3).collect();
            assert_eq!(changed, [of]);
        }
    }
}
