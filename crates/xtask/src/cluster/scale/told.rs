//! What a step of load tells when it has ended: `demo step` writes it as one line of JSON, `cargo xtask cluster scale` judges it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::drill::told::Counts;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// What was asked for, for people, and what became of it. Nothing was asked again.
    pub asked: BTreeMap<String, Counts>,
    /// The client has repeated a request, so the counts do not tell everything.
    pub repeated: bool,
}

/// Requests of all kinds, and those of them that failed; also one that a limit has turned away, because this load is below all limits.
pub fn sums(told: &Told) -> (usize, usize) {
    told.asked
        .values()
        .fold((0, 0), |(asked, failed), counts| (asked + counts.asked, failed + counts.failed + counts.empty))
}
