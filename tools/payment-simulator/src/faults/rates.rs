//! Faults by rate, for campaigns: so many of a thousand orders meet this one. Which order meets which fault follows from the
//! seed and the order's reference alone, so that a run repeats exactly however its calls interleave, and a restart of this
//! process changes nothing.
//!
//! A rated fault acts where the token's own fault would: declines at the confirmation, everything else at the call that
//! charges, once per payment. A magic card or amount overrules the rates.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::{Call, Fault};
use crate::domain::{CaptureMethod, Decline};

/// The names of `--fault-rates`, in the order in which they share the line from 0 to 1.
const NAMES: &[(&str, Fault)] = &[
    ("timeout_charged", Fault::HoldAfter),
    ("timeout_not_charged", Fault::HoldBefore),
    ("error500_charged", Fault::ErrorAfter),
    ("reset", Fault::ResetBefore),
    ("reset_charged", Fault::CutAfter),
    ("throttled", Fault::TooManyBefore),
    ("slow", Fault::Slow),
    ("processing", Fault::SettleLater),
    ("webhook_twice", Fault::WebhookTwice),
    ("webhook_early", Fault::WebhookEarly),
    ("webhook_late", Fault::WebhookLate),
    ("webhook_lost", Fault::WebhookLost),
    ("declined", Fault::Decline(Decline::Generic)),
];

/// How often each fault is met, from one seed. The default meets none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultRates {
    pub seed: u64,
    rates: Vec<(&'static str, Fault, f64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RatesError {
    #[error("{0:?} is not name=rate with a rate from 0 to 1")]
    Unreadable(String),
    #[error("there is no fault named {0:?}")]
    Unknown(String),
    #[error("{0:?} is given twice")]
    Twice(String),
    #[error("the rates are more than 1 together")]
    TooMany,
}

impl FromStr for FaultRates {
    type Err = RatesError;

    /// `timeout_charged=0.01,reset=0.005`; empty means none. The seed is given apart.
    fn from_str(text: &str) -> Result<Self, RatesError> {
        let mut rates: Vec<(&'static str, Fault, f64)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let unreadable = || RatesError::Unreadable(part.to_owned());
            let (name, rate) = part.split_once('=').ok_or_else(unreadable)?;
            let rate: f64 = rate.trim().parse().map_err(|_| unreadable())?;
            if !(0.0..=1.0).contains(&rate) {
                return Err(unreadable());
            }
            let known = NAMES.iter().find(|(known, _)| *known == name.trim());
            let (name, fault) = known.ok_or_else(|| RatesError::Unknown(name.trim().to_owned()))?;
            if rates.iter().any(|(known, ..)| known == name) {
                return Err(RatesError::Twice((*name).to_owned()));
            }
            rates.push((name, *fault, rate));
        }
        // Always in the order of the table, so that the order in which they were written does not matter.
        rates.sort_by_key(|(name, ..)| NAMES.iter().position(|(known, _)| known == name));
        if rates.iter().map(|(.., rate)| rate).sum::<f64>() > 1.0 + 1e-9 {
            return Err(RatesError::TooMany);
        }
        Ok(Self { seed: 0, rates })
    }
}

impl fmt::Display for FaultRates {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.rates.iter().map(|(name, _, rate)| format!("{name}={rate}")).collect();
        out.write_str(&parts.join(","))
    }
}

impl FaultRates {
    /// The same rates from another seed.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The fault that the order meets at `call`, if any.
    pub fn planned(&self, call: Call, capture: CaptureMethod, reference: &str) -> Option<Fault> {
        let fault = self.of(reference)?;
        super::meets(fault, call, capture).then_some(fault)
    }

    /// The one fault of an order.
    fn of(&self, reference: &str) -> Option<Fault> {
        if self.rates.is_empty() {
            return None;
        }
        let place = place(self.seed, reference);
        let mut end = 0.0;
        for (_, fault, rate) in &self.rates {
            end += rate;
            if place < end {
                return Some(*fault);
            }
        }
        None
    }
}

/// A place on the line from 0 (included) to 1 (excluded), the same for ever.
fn place(seed: u64, reference: &str) -> f64 {
    let digest = Sha256::digest([&seed.to_be_bytes(), reference.as_bytes()].concat());
    let mut first = [0_u8; 4];
    first.copy_from_slice(&digest[..4]);
    f64::from(u32::from_be_bytes(first)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(text: &str, seed: u64) -> FaultRates {
        text.parse::<FaultRates>().unwrap().seeded(seed)
    }

    #[test]
    fn the_rates_are_met_and_follow_from_seed_and_reference_alone() {
        let some = rates("timeout_charged=0.1, webhook_lost=0.05,declined=0.02", 7);
        let met = |rates: &FaultRates, call| {
            (0..20_000)
                .filter_map(|number| rates.planned(call, CaptureMethod::Manual, &format!("o-{number}")))
                .collect::<Vec<_>>()
        };
        let (captures, confirms) = (met(&some, Call::Capture), met(&some, Call::Confirm));
        let count = |fault| captures.iter().filter(|met| **met == fault).count();
        assert!((1_800..2_200).contains(&count(Fault::HoldAfter)), "{}", count(Fault::HoldAfter));
        assert!((850..1_150).contains(&count(Fault::WebhookLost)), "{}", count(Fault::WebhookLost));
        assert!((300..500).contains(&confirms.len()), "{}", confirms.len());
        let reordered = rates("declined=0.02,webhook_lost=0.05,timeout_charged=0.1", 7);
        assert_eq!(captures, met(&reordered, Call::Capture));
        assert_ne!(captures, met(&rates("timeout_charged=0.1,webhook_lost=0.05", 8), Call::Capture));
        assert!(met(&FaultRates::default(), Call::Capture).is_empty());
    }

    #[test]
    fn rates_that_cannot_be_are_refused_by_name() {
        for (text, expected) in [
            ("timeout_charged", RatesError::Unreadable("timeout_charged".to_owned())),
            ("reset=1.5", RatesError::Unreadable("reset=1.5".to_owned())),
            ("reset=NaN", RatesError::Unreadable("reset=NaN".to_owned())),
            ("fire=0.1", RatesError::Unknown("fire".to_owned())),
            ("reset=0.1,reset=0.1", RatesError::Twice("reset".to_owned())),
            ("reset=0.6,slow=0.6", RatesError::TooMany),
        ] {
            assert_eq!(text.parse::<FaultRates>(), Err(expected), "{text}");
        }
        assert_eq!(rates("slow=0.5, reset=0.1", 0).to_string(), "reset=0.1,slow=0.5");
    }
}
