//! What a schedule is about: who orders what, with which card, what the shop has, and how patient it is.

use order_payment::usecases::Rules;

use crate::extras::Extras;
use crate::rng::Rng;

/// How a card behaves at the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card {
    Good,
    Declined,
    DeclinedAtCapture,
    /// Decided by the bank later: yes.
    Slow,
    /// Decided by the bank later: no.
    SlowNo,
    /// Wants the shopper to act, and the shopper never does.
    Action,
    /// The gateway does not know the token.
    Unknown,
}

impl Card {
    pub const ALL: [Self; 7] =
        [Self::Good, Self::Declined, Self::DeclinedAtCapture, Self::Slow, Self::SlowNo, Self::Action, Self::Unknown];

    /// The token says how the card behaves, as the gateway's test cards do.
    pub fn token(self) -> &'static str {
        match self {
            Self::Good => "tok_good",
            Self::Declined => "tok_declined",
            Self::DeclinedAtCapture => "tok_declined_at_capture",
            Self::Slow => "tok_slow",
            Self::SlowNo => "tok_slow_no",
            Self::Action => "tok_action",
            Self::Unknown => "tok_unknown",
        }
    }

    pub fn of(token: &str) -> Self {
        Self::ALL.into_iter().find(|card| card.token() == token).unwrap_or(Self::Unknown)
    }
}

/// One shopper's wish.
#[derive(Clone, Debug)]
pub struct Wish {
    pub card: Card,
    /// SKU and units.
    pub lines: Vec<(&'static str, u32)>,
    pub at_us: i64,
    /// A second tab sends the same request at about the same time.
    pub twin_after_us: Option<i64>,
    pub cancel_after_us: Option<i64>,
}

pub struct Setup {
    pub two_of_each: bool,
    pub wishes: Vec<Wish>,
    pub rules: Rules,
    /// Units of LAMP (counted) and PHONE (serialised).
    pub lamps: u32,
    pub phones: u32,
    /// How far each process's clock is off.
    pub skew_us: [i64; 6],
    pub extras: Extras,
}

/// The price of everything, in minor units per unit.
pub const PRICE_MINOR: i64 = 1_990;

impl Setup {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 3);
        let mut rules = Rules::default();
        // Half of the schedules give an order seconds instead of minutes, so that its deadline meets every step of it.
        if rng.percent(50) {
            rules.stock_deadline = chrono::Duration::milliseconds(rng.between(20, 8_000));
        }
        if rng.percent(50) {
            rules.payment_deadline = chrono::Duration::milliseconds(rng.between(20, 8_000));
        }
        let count = [1, 1, 2, 2, 3][usize::try_from(rng.below(5)).unwrap_or(0)];
        let wishes: Vec<Wish> = (0..count).map(|_| wish(&mut rng)).collect();
        let extras = Extras::new(seed, count);
        extras.bend(&mut rules);
        let mut skew_us = [0; 6];
        if rng.percent(12) {
            for skew in skew_us.iter_mut().take(5) {
                *skew = rng.between(-300_000_000, 300_000_000);
            }
        }
        Self {
            two_of_each: rng.percent(50),
            wishes,
            rules,
            lamps: u32::try_from(rng.between(1, 3)).unwrap_or(1),
            phones: u32::try_from(rng.between(1, 2)).unwrap_or(1),
            skew_us,
            extras,
        }
    }
}

fn wish(rng: &mut Rng) -> Wish {
    let card = match rng.below(100) {
        0..=61 => Card::Good,
        62..=71 => Card::Declined,
        72..=78 => Card::DeclinedAtCapture,
        79..=86 => Card::Slow,
        87..=91 => Card::SlowNo,
        92..=95 => Card::Action,
        _ => Card::Unknown,
    };
    let lines = match rng.below(10) {
        0..=5 => vec![("LAMP", 1)],
        6..=7 => vec![("LAMP", 1), ("PHONE", 1)],
        8 => vec![("LAMP", 2), ("SONG", 1)],
        _ => vec![("SONG", 1)],
    };
    Wish {
        card,
        lines,
        at_us: rng.between(0, 500_000),
        twin_after_us: rng.percent(15).then(|| rng.between(0, 60_000)),
        cancel_after_us: rng
            .percent(30)
            .then(|| if rng.percent(85) { rng.between(0, 1_500_000) } else { rng.between(0, 900_000_000) }),
    }
}

impl Wish {
    /// What all of it costs.
    pub fn total_minor(&self) -> i64 {
        PRICE_MINOR * self.lines.iter().map(|(_, units)| i64::from(*units)).sum::<i64>()
    }
}

/// Where the virtual clock begins, in Unix seconds: 2026-01-01.
pub const fn start_s() -> i64 {
    1_767_225_600
}
