//! What an experiment showed. It may be looked at after every visitor: each interval here holds at all times together, not at one
//! that was fixed beforehand, so stopping early because it looks good does not deceive.
//!
//! The method is the mixture sequential probability ratio test: the difference of two means is weighed against a normal spread of
//! possible effects; turned round it gives an interval for the difference. The spread is set before the experiment begins.

/// How often a fair deal may be called a misdeal. A fault in a program loses visitors by the hundred and shows itself at this strict
/// level too; a doubt by chance would waste an experiment.
pub const MISDEALT_ERROR: f64 = 0.001;

/// Running sums of one measure over the visitors of one arm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measure {
    pub visitors: u64,
    pub sum: f64,
    pub squares: f64,
}

impl Measure {
    pub fn add(&mut self, value: f64) {
        self.visitors += 1;
        self.sum += value;
        self.squares += value * value;
    }

    pub fn mean(&self) -> f64 {
        self.sum / (self.visitors.max(1) as f64)
    }

    fn variance(&self) -> f64 {
        let count = self.visitors.max(1) as f64;
        (self.squares / count - self.mean() * self.mean()).max(0.0)
    }

    /// Variance of the mean.
    fn spread(&self) -> f64 {
        self.variance() / (self.visitors.max(1) as f64)
    }
}

/// What was measured on one arm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Arms {
    pub control: Measure,
    pub treatment: Measure,
}

impl Arms {
    /// Variance of the difference of the means. No smaller than if both arms were alike: a small arm whose few large purchases are
    /// still to come believes that it varies little, and would be sure too soon.
    fn spread(&self) -> f64 {
        let (control, treatment) = (&self.control, &self.treatment);
        let own = treatment.spread() + control.spread();
        let [some, others] = [control, treatment].map(|arm| arm.visitors.max(1) as f64);
        let both = Measure {
            visitors: control.visitors + treatment.visitors,
            sum: control.sum + treatment.sum,
            squares: control.squares + treatment.squares,
        };
        own.max(both.variance() * (1.0 / some + 1.0 / others))
    }

    /// How many would have bought in the smaller arm if both bought alike. Not how many did: what sells nothing at all is to be found.
    fn fewest_buyers(&self) -> f64 {
        let (control, treatment) = (&self.control, &self.treatment);
        let visitors = control.visitors + treatment.visitors;
        let bought = (control.sum + treatment.sum) / (visitors.max(1) as f64);
        bought * control.visitors.min(treatment.visitors) as f64
    }
}

/// Before an arm has so many visitors the mean of a rare thing is not normal, and nothing is said.
pub const LEAST_VISITORS: u64 = 1_000;

/// Before an arm has so many buyers nothing is said of what is sold: visitors alone are not enough where one in a hundred buys, and
/// some of these much.
pub const LEAST_BUYERS: f64 = 100.0;

/// Treatment minus control, with an interval that holds at every look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// The interval; `None` while there is too little. `expected` is a difference that would matter, fixed beforehand: the interval is
/// narrowest when the truth is about as large, and holds whatever the truth is. `error` is how often it may miss the truth.
pub fn interval(arms: &Arms, expected: f64, error: f64) -> Option<Interval> {
    if arms.control.visitors.min(arms.treatment.visitors) < LEAST_VISITORS {
        return None;
    }
    let difference = arms.treatment.mean() - arms.control.mean();
    let spread = arms.spread();
    let mixed = expected * expected;
    if spread <= 0.0 || mixed <= 0.0 {
        return None;
    }
    let room = spread * (spread + mixed) / mixed;
    let half = (room * (((spread + mixed) / spread).ln() + 2.0 * (1.0 / error).ln())).sqrt();
    Some(Interval { low: difference - half, high: difference + half })
}

/// Whether people arrived in the arms as they were dealt out; if not, something loses visitors of one arm and nothing else may be
/// believed. A Bayes factor of "some other share" against "the share that was set": it exceeds 1/error with at most `error`
/// probability at any time.
pub fn dealt_as_set(arms: &Arms, treated_share: f64, error: f64) -> bool {
    let (treated, rest) = (arms.treatment.visitors as f64, arms.control.visitors as f64);
    // A uniform prior on the share gives the beta function of both counts.
    let other = ln_factorial(treated) + ln_factorial(rest) - ln_factorial(treated + rest + 1.0);
    let set = treated * treated_share.ln() + rest * (1.0 - treated_share).ln();
    other - set < (1.0 / error).ln()
}

/// Stirling's series: exact to ten digits from 10 on, and summed up below.
fn ln_factorial(number: f64) -> f64 {
    if number < 10.0 {
        return (1..=number as u32).map(|factor| f64::from(factor).ln()).sum();
    }
    number * number.ln() - number + 0.5 * (std::f64::consts::TAU * number).ln() + 1.0 / (12.0 * number)
        - 1.0 / (360.0 * number.powi(3))
}

/// Something that must not get worse.
#[derive(Clone, Copy, Debug)]
pub struct Guard<'a> {
    pub name: &'a str,
    pub arms: Arms,
    /// More than this much worse stops the experiment. Measures are such that more is worse: errors, slow answers, returns.
    pub tolerated: f64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing can be said, and never will be from these numbers.
    Misdealt,
    /// Stop: this guard got worse than is tolerated.
    Harmful(String),
    Better,
    Worse,
    /// Go on.
    Open,
}

/// Everything that was measured. Conversion and revenue share the error, so that looking at both deceives no more than at one.
pub struct Evidence<'a> {
    pub treated_share: f64,
    /// Everybody who was put into an arm, also those who left it since.
    pub dealt: Arms,
    /// 1 for a visitor who bought, else 0.
    pub conversion: Arms,
    /// In the smallest unit of one currency, capped per visitor by who counts, so that one order does not decide.
    pub revenue: Arms,
    /// Differences that would matter, fixed beforehand.
    pub expected_conversion: f64,
    pub expected_revenue: f64,
    pub guards: &'a [Guard<'a>],
    pub error: f64,
}

impl Evidence<'_> {
    pub fn dealt_as_set(&self) -> bool {
        dealt_as_set(&self.dealt, self.treated_share, MISDEALT_ERROR)
    }

    pub fn conversion_interval(&self) -> Option<Interval> {
        self.sold(&self.conversion, self.expected_conversion)
    }

    pub fn revenue_interval(&self) -> Option<Interval> {
        self.sold(&self.revenue, self.expected_revenue)
    }

    fn sold(&self, arms: &Arms, expected: f64) -> Option<Interval> {
        let enough = self.conversion.fewest_buyers() >= LEAST_BUYERS;
        if enough { interval(arms, expected, self.error / 2.0) } else { None }
    }

    pub fn verdict(&self) -> Verdict {
        if !self.dealt_as_set() {
            return Verdict::Misdealt;
        }
        let share = self.error / self.guards.len().max(1) as f64;
        for guard in self.guards {
            let worse = interval(&guard.arms, guard.tolerated, share);
            if worse.is_some_and(|worse| worse.low > guard.tolerated) {
                return Verdict::Harmful(guard.name.to_owned());
            }
        }
        let found = [self.conversion_interval(), self.revenue_interval()];
        let above = found.iter().flatten().any(|interval| interval.low > 0.0);
        let below = found.iter().flatten().any(|interval| interval.high < 0.0);
        match (above, below) {
            (_, true) => Verdict::Worse,
            (true, false) => Verdict::Better,
            (false, false) => Verdict::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// splitmix64: the same shoppers for the same seed.
    struct Chance(u64);

    impl Chance {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    /// One in ten buys, for 20 to 80 in the smallest unit.
    const BUYS: f64 = 0.10;
    const SHOPPERS: u32 = 100_000;
    const LOOK_EVERY: u32 = 1_000;
    const ERROR: f64 = 0.05;

    /// Shoppers of whom the treated buy `lift` times as often, looked at after every thousand; the first word that is not "go on".
    fn told(seed: u64, lift: f64) -> Verdict {
        let mut chance = Chance(seed.wrapping_mul(0x5851_f42d_4c95_7f2d));
        let (mut conversion, mut revenue) = (Arms::default(), Arms::default());
        for shopper in 1..=SHOPPERS {
            let is_treated = chance.next() < 0.5;
            let buys = chance.next() < if is_treated { BUYS * lift } else { BUYS };
            let spends = if buys { 20.0 + 60.0 * chance.next() } else { 0.0 };
            let pick = |arms: &mut Arms, value: f64| {
                (if is_treated { &mut arms.treatment } else { &mut arms.control }).add(value);
            };
            pick(&mut conversion, f64::from(u8::from(buys)));
            pick(&mut revenue, spends);
            if shopper % LOOK_EVERY == 0 {
                let evidence = Evidence {
                    treated_share: 0.5,
                    dealt: conversion,
                    conversion,
                    revenue,
                    expected_conversion: BUYS * 0.1,
                    expected_revenue: 5.0 * 0.1,
                    guards: &[],
                    error: ERROR,
                };
                match evidence.verdict() {
                    Verdict::Open => {}
                    verdict => return verdict,
                }
            }
        }
        Verdict::Open
    }

    #[test]
    fn a_tenth_more_is_found_and_where_there_is_nothing_nothing_is_found() {
        let found = (0..100).filter(|seed| told(*seed, 1.10) == Verdict::Better).count();
        assert!(found >= 95, "{found} of 100");
        let false_alarms: Vec<u64> = (0..300).filter(|seed| told(*seed, 1.0) != Verdict::Open).collect();
        let of_a_hundred = false_alarms.iter().filter(|seed| **seed < 100).count();
        assert!(of_a_hundred <= 5 && false_alarms.len() <= 15, "looked at a hundred times each: {false_alarms:?}");
    }

    /// One in a hundred buys, most for little and a few for a hundred times as much, and one in ten is treated, to nothing. Whether
    /// anything is found, looked at after every thousand shoppers.
    fn is_fooled(seed: u64) -> bool {
        let mut chance = Chance(seed.wrapping_mul(0x5851_f42d_4c95_7f2d));
        let (mut conversion, mut revenue) = (Arms::default(), Arms::default());
        (1..=200_000_u32).any(|shopper| {
            let is_treated = chance.next() < 0.1;
            let buys = chance.next() < 0.01;
            let spends = if buys { (20.0 * (1.0 - chance.next()).powf(-1.0 / 1.2)).min(2_000.0) } else { 0.0 };
            for (arms, value) in [(&mut conversion, f64::from(u8::from(buys))), (&mut revenue, spends)] {
                (if is_treated { &mut arms.treatment } else { &mut arms.control }).add(value);
            }
            let (treated_share, dealt, expected_conversion, expected_revenue) = (0.1, conversion, 0.001, 0.6);
            shopper % LOOK_EVERY == 0
                && Evidence {
                    treated_share,
                    dealt,
                    conversion,
                    revenue,
                    expected_conversion,
                    expected_revenue,
                    guards: &[],
                    error: ERROR,
                }
                .verdict()
                    != Verdict::Open
        })
    }

    #[test]
    fn a_small_arm_and_a_few_large_purchases_do_not_deceive() {
        let fooled: Vec<u64> = (0..100).filter(|seed| is_fooled(*seed)).collect();
        assert!(fooled.len() <= 5, "{fooled:?}");
    }

    #[test]
    fn a_loss_is_told_as_a_loss() {
        assert!((0..20).all(|seed| told(seed, 0.85) == Verdict::Worse));
    }

    fn arms(control: (u64, f64), treatment: (u64, f64)) -> Arms {
        let measure = |(visitors, share): (u64, f64)| {
            let sum = visitors as f64 * share;
            Measure { visitors, sum, squares: sum }
        };
        Arms { control: measure(control), treatment: measure(treatment) }
    }

    #[test]
    fn lost_visitors_are_noticed_and_chance_is_not_taken_for_loss() {
        assert!(dealt_as_set(&arms((50_200, 0.1), (49_800, 0.1)), 0.5, 0.001));
        assert!(!dealt_as_set(&arms((51_500, 0.1), (48_500, 0.1)), 0.5, 0.001));
        assert!(dealt_as_set(&arms((9_000, 0.1), (1_000, 0.1)), 0.1, 0.001));
        assert!(dealt_as_set(&Arms::default(), 0.5, 0.001), "nobody came, and nobody is missing");
        // Looked at after every visitor, a fair deal is doubted for at most one seed in twenty.
        let doubted = (0..100_u64).filter(|seed| {
            let mut chance = Chance(*seed);
            let mut arms = Arms::default();
            (0..2_000).any(|_| {
                let arm = if chance.next() < 0.5 { &mut arms.treatment } else { &mut arms.control };
                arm.add(0.0);
                !dealt_as_set(&arms, 0.5, 0.05)
            })
        });
        assert!(doubted.count() <= 5);
    }

    #[test]
    fn a_guard_stops_what_sells_better() {
        let slow = Guard { name: "slow answers", arms: arms((50_000, 0.01), (50_000, 0.05)), tolerated: 0.005 };
        let sells = arms((50_000, 0.10), (50_000, 0.13));
        let verdict = |guards: &[Guard<'_>], treated_share| {
            let (expected_conversion, expected_revenue) = (0.01, 0.01);
            let (dealt, conversion, revenue, error) = (sells, sells, sells, ERROR);
            Evidence { treated_share, dealt, conversion, revenue, expected_conversion, expected_revenue, guards, error }
                .verdict()
        };
        assert_eq!(verdict(&[], 0.5), Verdict::Better);
        assert_eq!(verdict(&[slow], 0.5), Verdict::Harmful("slow answers".to_owned()));
        let within = Guard { arms: arms((50_000, 0.01), (50_000, 0.012)), ..slow };
        assert_eq!(verdict(&[within], 0.5), Verdict::Better);
        assert_eq!(verdict(&[], 0.4), Verdict::Misdealt, "what is misdealt cannot be better");
    }

    #[test]
    fn too_little_says_nothing_and_factorials_are_right() {
        assert_eq!(interval(&arms((999, 0.0), (5_000, 1.0)), 0.1, 0.05), None);
        assert_eq!(interval(&arms((5_000, 0.0), (5_000, 0.0)), 0.1, 0.05), None, "nobody bought anything");
        for (number, exact) in [(0.0, 0.0), (5.0, 120.0_f64.ln()), (20.0, 2_432_902_008_176_640_000.0_f64.ln())] {
            assert!((ln_factorial(number) - exact).abs() < 1e-8, "{number}");
        }
    }
}
