//! The experiments of this process: what runs, who is in which arm, and who was shown something and is not written down yet.
//!
//! An answer never waits for an exposure. It is noted here, and one task writes down what was noted. What is noted and lost with the
//! process costs a person their first answers in the experiment, in either arm alike; the next answer notes it again.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::Currency;

use crate::domain::Pseudonym;
use crate::domain::experiment::Arm;
use crate::domain::experiment::enrolment::Exposure;
use crate::domain::experiment::plan::{Change, Part, Plans};

/// People noted and not written down: some seconds of a busy process, about 2 MB. Who comes when it is full is noted at their next answer.
const MOST_WAITING: usize = 20_000;

/// People remembered as written down, about 8 MB, so that their next answers cost the store nothing.
const MOST_WRITTEN: usize = 100_000;

/// They are asked about again after this long: the store may have lost them, or they withdrew and agreed again.
const REMEMBER_MS: i64 = 60 * 60 * 1_000;

pub struct Running {
    plans: Plans,
    key: Vec<u8>,
    currency: Currency,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    waiting: HashMap<Pseudonym, Exposure>,
    /// With whether a degraded answer is written down, too.
    written: HashSet<(Pseudonym, bool)>,
    began_ms: i64,
}

impl Running {
    /// `key` is the region's: without it nobody can tell or choose an arm. Money of other currencies is none of this region.
    pub fn new(plans: Plans, key: &[u8], currency: Currency) -> Self {
        Self { plans, key: key.to_vec(), currency, noted: Mutex::default() }
    }

    pub fn plans(&self) -> &Plans {
        &self.plans
    }

    pub fn key(&self) -> &[u8] {
        &self.key
    }

    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// The arms of a person, and what they change together.
    pub fn parts(&self, who: &Pseudonym) -> (Vec<Part>, Change) {
        let mut change = Change::Nothing;
        let parts = self.plans.iter().map(|plan| {
            let arm = plan.arm(&self.key, who);
            if arm == Arm::Treatment {
                change = change.max(plan.change);
            }
            Part { experiment: plan.name.clone(), arm }
        });
        (parts.collect(), change)
    }

    /// Notes that somebody was shown an answer. Tells whether there was room.
    pub fn note(&self, who: &Pseudonym, exposure: Exposure) -> bool {
        let mut noted = self.noted();
        if exposure.at_ms - noted.began_ms > REMEMBER_MS || noted.written.len() >= MOST_WRITTEN {
            noted.written.clear();
            noted.began_ms = exposure.at_ms;
        }
        if noted.written.contains(&(who.clone(), exposure.degraded)) {
            return true;
        }
        if let Some(waiting) = noted.waiting.get_mut(who) {
            waiting.degraded |= exposure.degraded;
            return true;
        }
        let room = noted.waiting.len() < MOST_WAITING;
        if room {
            noted.waiting.insert(who.clone(), exposure);
        }
        room
    }

    /// Takes at most `limit` of what was noted.
    pub(super) fn take(&self, limit: usize) -> Vec<(Pseudonym, Exposure)> {
        let mut noted = self.noted();
        let who: Vec<Pseudonym> = noted.waiting.keys().take(limit).cloned().collect();
        who.into_iter().filter_map(|who| noted.waiting.remove_entry(&who)).collect()
    }

    /// The store did not take them: they wait again, with the time at which they were first shown something.
    pub(super) fn put_back(&self, exposures: Vec<(Pseudonym, Exposure)>) {
        let mut noted = self.noted();
        for (who, exposure) in exposures {
            let later = noted.waiting.get(&who).is_some_and(|later| later.degraded);
            noted.waiting.insert(who, Exposure { degraded: exposure.degraded || later, ..exposure });
        }
    }

    pub(super) fn written(&self, exposures: Vec<(Pseudonym, Exposure)>) {
        let mut noted = self.noted();
        for (who, exposure) in exposures {
            if exposure.degraded {
                noted.written.insert((who.clone(), true));
            }
            noted.written.insert((who, false));
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        // Nothing here can be left half done.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Running {
        let text = "name=a change=popular treated=5000 conversion=100 revenue=50 most=10000; \
                    name=b change=off treated=5000 conversion=100 revenue=50 most=10000";
        Running::new(Plans::parse(text).expect("plans"), b"a-key-of-the-test-stack", Currency::Eur)
    }

    fn person(number: u32) -> Pseudonym {
        Pseudonym::parse(&format!("{number:032x}")).expect("a pseudonym")
    }

    fn shown(at_ms: i64, degraded: bool) -> Exposure {
        Exposure { at_ms, degraded }
    }

    #[test]
    fn the_change_is_the_strongest_of_the_treatments() {
        for number in 0..64 {
            let (parts, change) = running().parts(&person(number));
            let expected = match (parts[0].arm, parts[1].arm) {
                (_, Arm::Treatment) => Change::Off,
                (Arm::Treatment, Arm::Control) => Change::Popular,
                (Arm::Control, Arm::Control) => Change::Nothing,
            };
            assert_eq!(change, expected);
        }
    }

    #[test]
    fn somebody_is_noted_once_until_it_may_be_forgotten() {
        let running = running();
        assert!(running.note(&person(1), shown(1, false)) && running.note(&person(1), shown(2, true)));
        let taken = running.take(10);
        assert_eq!(taken, [(person(1), shown(1, true))]);
        running.put_back(taken);
        let taken = running.take(10);
        assert_eq!(taken, [(person(1), shown(1, true))], "what the store did not take waits as it was");
        running.written(taken);
        for degraded in [false, true] {
            running.note(&person(1), shown(3, degraded));
        }
        assert!(running.take(10).is_empty());
        running.note(&person(1), shown(REMEMBER_MS + 3, false));
        assert_eq!(running.take(10).len(), 1);
    }

    #[test]
    fn a_crowd_does_not_fill_the_memory() {
        let running = running();
        let full = (0..30_000).filter(|number| running.note(&person(*number), shown(1, false))).count();
        assert_eq!(full, MOST_WAITING);
        assert_eq!((running.take(500).len(), running.take(usize::MAX).len()), (500, MOST_WAITING - 500));
    }
}
