//! A round over many things, of which one may fail: those behind it have their turn all the same.
//!
//! Decided here: when a round ends early. Not decided here: what becomes of the one that failed; the caller logs it, and the
//! next round meets it again.

use common::{ErrorKind, Explain as _};

use super::Failure;

/// Members of one round that cannot reach the books before the others are spared: each waits some seconds for a connection. More than
/// one, because a single row can be out of reach too, while somebody holds it.
const MOST_OUT_OF_REACH: u32 = 3;

/// What went wrong in a round so far.
#[derive(Debug, Default)]
pub(super) struct Failures {
    last: Option<Failure>,
    out_of_reach: u32,
}

impl Failures {
    /// Takes note of one; `false`: the round is over.
    pub(super) fn go_on_after(&mut self, failure: Failure) -> bool {
        if failure.kind() == ErrorKind::Unavailable && !failure.is_lost() {
            self.out_of_reach += 1;
        }
        self.last = Some(failure);
        !self.is_crash() && self.out_of_reach < MOST_OUT_OF_REACH
    }

    /// A test stopped the process in this round.
    pub(super) fn is_crash(&self) -> bool {
        self.last.as_ref().is_some_and(Failure::is_crash)
    }

    /// How the round ended: with its last failure, if there was one.
    pub(super) fn outcome(self) -> Result<(), Failure> {
        self.last.map_or(Ok(()), Err)
    }
}
