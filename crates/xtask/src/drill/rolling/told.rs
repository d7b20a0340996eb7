//! What the load of a rolling update tells when it has ended: `demo rolling` writes it as one line of JSON, `cargo xtask rolling` judges
//! it. Also decided here: what the load calls its clicks, because they are looked for in the topic afterwards.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::drill::told::Counts;

/// Digits of a click's number: more clicks than any load sends.
pub const DIGITS: usize = 9;

/// How the names of all clicks of one load begin. `run` names the load and is as long in every load.
pub fn clicks_of(run: &str) -> String {
    format!("rolling-{run}-")
}

/// The `event_id` of one click.
pub fn click(run: &str, number: u64) -> String {
    format!("{}{number:0DIGITS$}", clicks_of(run))
}

/// Everything that the load tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    pub run: String,
    /// What was asked for, for people, and what became of it. Nothing was asked again.
    pub asked: BTreeMap<String, Counts>,
    /// The client has repeated a request, so the counts do not tell everything.
    pub repeated: bool,
    /// Numbers of the clicks that were answered as accepted.
    pub clicks: Vec<u64>,
    /// Orders that were answered with success.
    pub orders: usize,
    /// Of these, those that are in no book.
    pub orders_missing: usize,
    /// Of these, those that did not end as their card says.
    pub orders_untrue: usize,
    /// Card and end to number of orders.
    pub ends: BTreeMap<String, usize>,
    /// Sums of shop, ledger and gateway, for people.
    pub books: Vec<String>,
    /// Shop, stock, ledger and gateway tell the same story and nothing is under way or parked.
    pub books_agree: bool,
    /// Events that are committed and were never sent.
    pub unsent: i64,
    /// Seconds from the end of the load until all of this was so.
    pub settled_after_s: f64,
}
