//! Log-ins of one account that are, or may be, under way at once. The provider answers one that meets another with the same words as a
//! wrong password, because it protects itself against guesses in parallel. So its "no" to such a one says nothing about the password.
//!
//! Decided here: when that is so, and of how many accounts it is remembered. Known in this process only: when a process was killed in
//! the middle of a log-in, the next one may once be told "no".

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A log-in whose answer nobody waited for may still be worked on: three times the longest wait for one.
const MAY_GO_ON: Duration = Duration::from_secs(12);
/// Accounts remembered: a hundred log-ins a second, all of them lost, for as long as that. Of more a "no" is taken for what it says.
const MOST_ACCOUNTS: usize = 1_200;

#[derive(Debug, Default)]
struct Account {
    running: u32,
    begun: u64,
    lost_at: Option<Instant>,
}

impl Account {
    fn is_idle(&self, now: Instant) -> bool {
        self.running == 0 && !self.may_go_on(now)
    }

    fn may_go_on(&self, now: Instant) -> bool {
        self.lost_at.is_some_and(|lost| now.duration_since(lost) < MAY_GO_ON)
    }
}

/// By a hash of the address, which is nobody's business here.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    hasher: RandomState,
    accounts: Mutex<HashMap<u64, Account>>,
}

/// One log-in. Dropped before it was answered, it may go on at the provider.
#[derive(Debug)]
pub(super) struct LogIn<'a> {
    all: &'a UnderWay,
    account: u64,
    number: u64,
    met: bool,
    answered: bool,
}

impl UnderWay {
    pub(super) fn begin(&self, address: &str) -> LogIn<'_> {
        let account = self.hasher.hash_one(address.to_ascii_lowercase());
        let now = Instant::now();
        let mut accounts = self.accounts();
        if accounts.len() >= MOST_ACCOUNTS && !accounts.contains_key(&account) {
            accounts.retain(|_, known| !known.is_idle(now));
        }
        if accounts.len() >= MOST_ACCOUNTS && !accounts.contains_key(&account) {
            return LogIn { all: self, account, number: 0, met: false, answered: true };
        }
        let known = accounts.entry(account).or_default();
        let met = known.running > 0 || known.may_go_on(now);
        known.running += 1;
        known.begun += 1;
        LogIn { all: self, account, number: known.begun, met, answered: false }
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<u64, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogIn<'_> {
    /// The provider answered. `true`: another log-in of this account was, or may have been, under way meanwhile.
    pub(super) fn answered(mut self) -> bool {
        let met_later = self.all.accounts().get(&self.account).is_some_and(|known| known.begun > self.number);
        let counted = self.number > 0;
        self.answered = true;
        counted && (self.met || met_later)
    }
}

impl Drop for LogIn<'_> {
    fn drop(&mut self) {
        if self.number == 0 {
            return;
        }
        let now = Instant::now();
        let mut accounts = self.all.accounts();
        let Some(known) = accounts.get_mut(&self.account) else { return };
        known.running = known.running.saturating_sub(1);
        if !self.answered {
            known.lost_at = Some(now);
        }
        if known.is_idle(now) {
            accounts.remove(&self.account);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_meets_no_other_is_answered_as_the_provider_says() {
        let all = UnderWay::default();
        assert!(!all.begin("a@shop.example").answered());
        assert!(!all.begin("a@shop.example").answered(), "the first has ended");
        let other = all.begin("b@shop.example");
        assert!(!all.begin("a@shop.example").answered(), "another account is another matter");
        assert!(!other.answered());
        assert!(all.accounts().is_empty(), "nothing is remembered of it");
    }

    #[test]
    fn of_two_at_once_neither_is_told_that_its_password_is_wrong() {
        let all = UnderWay::default();
        let first = all.begin("a@shop.example");
        let second = all.begin("A@shop.example");
        assert!(second.answered());
        assert!(first.answered(), "the second may have come first at the provider");
        assert!(!all.begin("a@shop.example").answered());
    }

    #[test]
    fn one_that_was_given_up_may_go_on_for_a_while() {
        let all = UnderWay::default();
        drop(all.begin("a@shop.example"));
        assert!(all.begin("a@shop.example").answered());
        let long_ago = Instant::now().checked_sub(MAY_GO_ON);
        all.accounts().values_mut().for_each(|known| known.lost_at = long_ago);
        assert!(!all.begin("a@shop.example").answered());
    }

    #[test]
    fn as_many_accounts_are_remembered_as_there_is_room_for() {
        let all = UnderWay::default();
        let lost = |number: usize| drop(all.begin(&format!("{number}@shop.example")));
        (0..MOST_ACCOUNTS + 5).for_each(lost);
        assert_eq!(all.accounts().len(), MOST_ACCOUNTS);
        let long_ago = Instant::now().checked_sub(MAY_GO_ON);
        all.accounts().values_mut().for_each(|known| known.lost_at = long_ago);
        lost(9_999);
        assert_eq!(all.accounts().len(), 1);
    }
}
