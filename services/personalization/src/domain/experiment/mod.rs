//! Two ways of doing a thing, tried on people at once. Decided here: who gets which. Which experiments run is read in [`plan`], what is
//! remembered and summed up of the people in them in [`enrolment`] and [`tally`], and what it showed is decided in [`evidence`].

pub mod enrolment;
pub mod evidence;
pub mod plan;
pub mod tally;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::click::Pseudonym;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arm {
    /// As it was.
    Control,
    /// As it may become.
    Treatment,
}

impl Arm {
    pub const ALL: [Self; 2] = [Self::Control, Self::Treatment];

    pub fn code(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Treatment => "treatment",
        }
    }
}

/// Shares are told in these, so that a twentieth of a percent can be tried.
pub const WHOLE: u16 = 10_000;

/// An experiment as far as dealing people out is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Experiment<'a> {
    /// Two experiments deal independently because their names differ.
    pub name: &'a str,
    /// How many of [`WHOLE`] get the treatment.
    pub treated: u16,
}

impl Experiment<'_> {
    /// The arm of a person: the same at each visit, in each process and each release, as long as key, name and share stay. Raising
    /// the share moves people into the treatment and nobody out of it. Without the key nobody can choose an arm.
    pub fn arm(&self, key: &[u8], who: &Pseudonym) -> Arm {
        // HMAC takes keys of any length; the error type exists for other algorithms.
        let mut mac =
            Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("an HMAC key has any length"));
        mac.update(b"experiment:");
        mac.update(self.name.as_bytes());
        // Ends the name: a pseudonym has a fixed length, so no name and person can be mistaken for others.
        mac.update(b"\0");
        mac.update(who.as_str().as_bytes());
        let hash = mac.finalize().into_bytes();
        let number = hash[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        // 2^64 is so much more than 10,000 that the remainder favours nobody by more than 10^-15.
        if number % u64::from(WHOLE) < u64::from(self.treated) { Arm::Treatment } else { Arm::Control }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"a-key-of-the-test-stack";

    /// Computed by another program from the definition.
    const RECORDED: &str = "tcctcttctctttctc";

    fn person(number: u32) -> Pseudonym {
        Pseudonym::parse(&format!("{number:032x}")).expect("a pseudonym")
    }

    fn treated(experiment: &Experiment<'_>, people: u32) -> Vec<bool> {
        (0..people).map(|number| experiment.arm(KEY, &person(number)) == Arm::Treatment).collect()
    }

    #[test]
    fn an_arm_is_kept_and_known_forever() {
        let experiment = Experiment { name: "visits", treated: 5_000 };
        // Recorded: another answer would move people in the middle of an experiment.
        let arms: String =
            treated(&experiment, 16).into_iter().map(|treated| if treated { 't' } else { 'c' }).collect();
        assert_eq!(arms, RECORDED);
        assert_eq!(treated(&experiment, 500), treated(&experiment, 500));
    }

    #[test]
    fn shares_are_kept_and_experiments_deal_independently() {
        let (one, other) = (Experiment { name: "one", treated: 2_000 }, Experiment { name: "other", treated: 5_000 });
        let (one, other) = (treated(&one, 4_000), treated(&other, 4_000));
        let share = |list: &[bool]| list.iter().filter(|treated| **treated).count() as f64 / list.len() as f64;
        // Five standard errors.
        assert!((share(&one) - 0.2).abs() < 0.032 && (share(&other) - 0.5).abs() < 0.04);
        let both: Vec<bool> = one.iter().zip(&other).map(|(one, other)| *one && *other).collect();
        assert!((share(&both) - 0.1).abs() < 0.024, "{}", share(&both));
    }

    #[test]
    fn raising_the_share_takes_nobody_out_and_the_key_matters() {
        let (few, many) = (Experiment { name: "x", treated: 1_000 }, Experiment { name: "x", treated: 3_000 });
        assert!(treated(&few, 2_000).iter().zip(treated(&many, 2_000)).all(|(few, many)| !few || many));
        let key = b"another-region's-key";
        let moved = |number: &u32| many.arm(key, &person(*number)) != many.arm(KEY, &person(*number));
        assert!((0..200).filter(moved).count() > 40, "another key deals anew");
        assert!(treated(&Experiment { name: "x", treated: 0 }, 100).iter().all(|treated| !treated));
        assert!(treated(&Experiment { name: "x", treated: WHOLE }, 100).iter().all(|treated| *treated));
    }
}
