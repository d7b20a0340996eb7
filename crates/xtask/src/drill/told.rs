//! What the load of a drill tells when it has ended: `demo drill` writes it as one line of JSON, `cargo xtask drill` judges it. Only
//! counts; what of them is promised is decided in `promise`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A line of the load's output: from here on it asks.
pub const BEGINS: &str = "the load begins";
/// A line of the load's output: nothing is asked any more, and what must be so afterwards is looked at.
pub const ENDS: &str = "the load has ended";

/// Questions of one kind. None was asked again, so each has one end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    pub asked: usize,
    /// No answer, one that is no success, or the answer to another question.
    pub failed: usize,
    /// A search that found nothing where something is.
    pub empty: usize,
    /// Answered well and marked as made without the index.
    pub from_stand_in: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Why answers failed, and how often.
    pub why: BTreeMap<String, usize>,
}

/// Everything that one load tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    pub searches: Counts,
    pub pages: Counts,
    pub writes: Counts,
    /// What had not come back in time after the load: changes that are not found, pages and changes that are not answered.
    pub missing: Vec<String>,
    /// Seconds from the end of the load until everything was as it was written.
    pub whole_after_s: f64,
}
