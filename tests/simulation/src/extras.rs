//! What few schedules have beside orders: store credit, refunds by staff, a first gateway that is away so that a second one carries what is
//! new, money that the gateway took without an order, and one person who tries several cards. Drawn from a stream of its own, so that all other schedules are as they were.
//!
//! Decided here: who has which, and when. One schedule in seven has one of them, and few have all: they cost time, and together they hide
//! each other no more than faults do.

use chrono::Duration;
use order_payment::domain::CardTesting;
use order_payment::usecases::Rules;

use crate::rng::Rng;
use crate::setup::PRICE_MINOR;

/// How much of an order its shopper's store credit pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spend {
    Nothing,
    /// Half of one unit.
    Part,
    Whole,
}

/// Less than any order costs.
pub const PART_MINOR: i64 = PRICE_MINOR / 2;

/// What staff gives back of one order once it is paid: each in per cent of the total, all at the same moment. Never all of it, so that
/// no goods come back with the money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GiveBack {
    /// Index of the shopper.
    pub of: usize,
    pub percents: Vec<i64>,
    pub after_us: i64,
    pub to: Option<&'static str>,
}

/// The first gateway answers nobody for a while, and after some of it an operator lets new payments begin at the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    pub from_us: i64,
    pub switch_us: i64,
    pub until_us: i64,
}

/// Money that is taken although no order of ours asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray {
    pub at_us: i64,
    pub minor: i64,
    /// Made at the second gateway.
    pub second: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// By shopper; empty when nobody has any.
    pub credit: Vec<Spend>,
    pub give_back: Vec<GiveBack>,
    pub outage: Option<Outage>,
    pub strays: Vec<Stray>,
    /// Everything is ordered by one person, and one declined card of theirs is as many as may be.
    pub one_person: bool,
}

impl Extras {
    pub fn new(seed: u64, shoppers: usize) -> Self {
        let mut rng = Rng::new(seed, 4);
        let roll = rng.below(100);
        let has = |from: u64, to: u64| (from..to).contains(&roll) || roll == 12;
        let mut extras = Self::default();
        if has(0, 3) {
            extras.credit = (0..shoppers).map(|_| rng.pick(&[Spend::Part, Spend::Whole, Spend::Nothing])).collect();
        }
        // Some of them together with the change of gateway: a refund goes where its charge was made.
        if has(3, 9) {
            extras.give_back = (0..shoppers).map(|of| give_back(&mut rng, of)).collect();
        }
        if has(7, 10) {
            let from_us = rng.between(0, 800_000);
            // Often so early that orders of this schedule still have their payment before them.
            let reaction_us = if rng.percent(60) { 400_000 } else { 20_000_000 };
            let switch_us = from_us + rng.between(50_000, reaction_us);
            extras.outage = Some(Outage { from_us, switch_us, until_us: switch_us + rng.between(0, 90_000_000) });
        }
        if has(10, 12) {
            let count = rng.below(2) + 1;
            extras.strays = (0..count)
                .map(|_| Stray {
                    at_us: rng.between(0, 60_000_000),
                    minor: rng.between(1, 9_999),
                    second: rng.percent(30),
                })
                .collect();
        }
        // Never with credit, which is counted by shopper.
        extras.one_person = (13..16).contains(&roll);
        extras
    }

    pub fn spend(&self, shopper: usize) -> Spend {
        self.credit.get(shopper).copied().unwrap_or(Spend::Nothing)
    }

    /// A day is longer than a schedule: strays go back within minutes.
    pub fn bend(&self, rules: &mut Rules) {
        if !self.strays.is_empty() {
            rules.orphan_deadline = Duration::minutes(10);
        }
        if self.one_person {
            rules.card_testing = CardTesting { most_declined: 1, within: Duration::days(1) };
        }
    }
}

fn give_back(rng: &mut Rng, of: usize) -> GiveBack {
    // One part; two parts that fit; two that do not fit together, so that one of them must be refused.
    let percents = match rng.below(3) {
        0 => vec![30],
        1 => vec![30, 40],
        _ => vec![70, 70],
    };
    let to = rng.pick(&[None, None, Some("card"), Some("store_credit")]);
    GiveBack { of, percents, after_us: rng.between(0, 2_000_000), to }
}
