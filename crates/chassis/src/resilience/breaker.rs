//! A circuit breaker on consecutive faults. Three states, one function each for what a call may do in it: *closed* lets calls
//! through and counts faults in a row, *open* refuses until the cool-down is over, *probation* lets one call through to find
//! out. Transitions are logged and shown as a metric; single faults are not.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::BREAKER_STATE;

pub(super) struct Breaker {
    target: &'static str,
    threshold: u32,
    cooldown: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        faults: u32,
    },
    Open {
        until: Instant,
    },
    /// One probe is out.
    Probation,
}

/// Leave for one call. Dropped without a word (the caller went away) it decides nothing.
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
    settled: bool,
}

impl Breaker {
    pub(super) fn new(target: &'static str, threshold: u32, cooldown: Duration) -> Self {
        BREAKER_STATE.with_label_values(&[target]).set(0);
        Self { target, threshold: threshold.max(1), cooldown, state: Mutex::new(State::Closed { faults: 0 }) }
    }

    /// # Errors
    /// How long to wait, when the call must not be made.
    pub(super) fn admit(&self) -> Result<Permit<'_>, Duration> {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_probe = match *state {
            State::Closed { .. } => Self::when_closed(),
            State::Open { until } => self.when_open(&mut state, until, now)?,
            State::Probation => self.when_on_probation()?,
        };
        Ok(Permit { breaker: self, is_probe, settled: false })
    }

    fn when_closed() -> bool {
        false
    }

    fn when_open(&self, state: &mut State, until: Instant, now: Instant) -> Result<bool, Duration> {
        if now < until {
            return Err(until - now);
        }
        self.change(state, State::Probation);
        Ok(true)
    }

    /// The probe's outcome is not known yet; asking again after a cool-down is soon enough.
    fn when_on_probation(&self) -> Result<bool, Duration> {
        Err(self.cooldown)
    }

    fn settle(&self, is_probe: bool, succeeded: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let next = match (*state, succeeded) {
            (State::Closed { .. }, true) => State::Closed { faults: 0 },
            (State::Closed { faults }, false) if faults + 1 < self.threshold => State::Closed { faults: faults + 1 },
            (State::Closed { .. }, false) => State::Open { until: Instant::now() + self.cooldown },
            (State::Probation, true) if is_probe => State::Closed { faults: 0 },
            (State::Probation, false) if is_probe => State::Open { until: Instant::now() + self.cooldown },
            // A call admitted before the breaker opened ends late; it says nothing new.
            (other, _) => other,
        };
        self.change(&mut state, next);
    }

    /// The probe went away without an outcome: the next call probes.
    fn give_back(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::Probation {
            self.change(&mut state, State::Open { until: Instant::now() });
        }
    }

    fn change(&self, state: &mut State, next: State) {
        let (before, after) = (name(*state), name(next));
        *state = next;
        if before != after {
            BREAKER_STATE.with_label_values(&[self.target]).set(match next {
                State::Closed { .. } => 0,
                State::Probation => 1,
                State::Open { .. } => 2,
            });
            tracing::warn!(target_name = self.target, before, after, "circuit breaker changed");
        }
    }
}

fn name(state: State) -> &'static str {
    match state {
        State::Closed { .. } => "closed",
        State::Open { .. } => "open",
        State::Probation => "probation",
    }
}

impl Permit<'_> {
    pub(super) fn succeeded(mut self) {
        self.settled = true;
        self.breaker.settle(self.is_probe, true);
    }

    pub(super) fn failed(mut self) {
        self.settled = true;
        self.breaker.settle(self.is_probe, false);
    }

    /// The outcome says nothing about the dependency.
    pub(super) fn abandoned(self) {}
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_probe && !self.settled {
            self.breaker.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOLDOWN: Duration = Duration::from_secs(2);

    fn failing(times: u32) -> Breaker {
        let breaker = Breaker::new("breaker-test", 3, COOLDOWN);
        for _ in 0..times {
            breaker.admit().ok().unwrap().failed();
        }
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn faults_must_come_in_a_row() {
        let breaker = failing(2);
        breaker.admit().ok().unwrap().succeeded();
        breaker.admit().ok().unwrap().failed();
        breaker.admit().ok().unwrap().failed();
        assert!(breaker.admit().is_ok());
        breaker.admit().ok().unwrap().failed();
        assert!(breaker.admit().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_probe_opens_for_another_cooldown() {
        let breaker = failing(3);
        tokio::time::advance(COOLDOWN).await;
        breaker.admit().ok().unwrap().failed();
        tokio::time::advance(COOLDOWN - Duration::from_millis(1)).await;
        assert!(breaker.admit().is_err());
        tokio::time::advance(Duration::from_millis(1)).await;
        breaker.admit().ok().unwrap().succeeded();
        assert!(breaker.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_success_from_before_does_not_close_an_open_breaker() {
        let breaker = failing(2);
        let late = breaker.admit().ok().unwrap();
        breaker.admit().ok().unwrap().failed();
        late.succeeded();
        assert!(breaker.admit().is_err());
    }
}
