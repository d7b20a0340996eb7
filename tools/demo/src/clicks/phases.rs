//! What is done to the region at this moment, as `cargo xtask clicks` says on our standard input. When it is closed, the load is over.

use std::io::{BufRead as _, stdin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use xtask::drill::clicks::told::{PHASE, QUIET};

/// A phase by its number; the same name comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    number: u64,
    pub name: String,
}

pub struct Phases {
    now: Mutex<Phase>,
    over: AtomicBool,
}

impl Default for Phases {
    fn default() -> Self {
        Self { now: Mutex::new(Phase { number: 0, name: QUIET.to_owned() }), over: AtomicBool::new(false) }
    }
}

impl Phases {
    /// Listens until standard input is closed.
    pub fn listen() -> Arc<Self> {
        let phases = Arc::new(Self::default());
        let heard = phases.clone();
        // Not a task: reading of standard input cannot be given up, and the program must be able to end before.
        std::thread::spawn(move || {
            for line in stdin().lock().lines().map_while(Result::ok) {
                heard.hear(&line);
            }
            heard.over.store(true, Ordering::Relaxed);
        });
        phases
    }

    fn hear(&self, line: &str) {
        if let Some(name) = line.strip_prefix(PHASE) {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            *now = Phase { number: now.number + 1, name: name.to_owned() };
        }
    }

    pub fn now(&self) -> Phase {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn are_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_before_a_kill_and_ended_after_the_repair_was_in_no_phase() {
        let phases = Phases::default();
        let before = phases.now();
        phases.hear("something else");
        assert_eq!(phases.now(), before);
        phases.hear("phase kafka");
        assert_eq!(phases.now().name, "kafka");
        phases.hear("phase quiet");
        assert_eq!(phases.now().name, before.name);
        assert_ne!(phases.now(), before, "the same name, and not the same phase");
    }
}
