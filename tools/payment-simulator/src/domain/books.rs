//! The gateway's own books: every movement of money in the order it happened, never changed, never removed. They are the
//! truth against which the shop's ledger is compared, so the sums below are made from the entries and from nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::Currency;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Money set aside by the bank; nothing has been paid.
    Authorise,
    /// Money taken: the customer has paid.
    Capture,
    /// An authorisation given up by an accepted cancel.
    Void,
    /// Money given back.
    Refund,
}

impl EntryKind {
    pub const ALL: [Self; 4] = [Self::Authorise, Self::Capture, Self::Void, Self::Refund];

    pub fn code(self) -> &'static str {
        match self {
            Self::Authorise => "authorise",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }
}

/// One movement of money. `amount` is in minor units and never negative; `kind` tells the direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From 1, without gaps.
    pub sequence: u64,
    pub kind: EntryKind,
    /// `metadata[order_id]` of the intent at that moment.
    pub reference: Option<String>,
    pub intent: String,
    pub charge: String,
    pub refund: Option<String>,
    pub amount: i64,
    pub currency: Currency,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// The region's epoch as the caller named it in `ShopSphere-Epoch`.
    pub epoch: Option<u64>,
}

/// Sums of one currency, minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub authorised: i64,
    pub captured: i64,
    pub voided: i64,
    pub refunded: i64,
}

impl Totals {
    /// What the merchant has after refunds.
    pub fn net(&self) -> i64 {
        self.captured - self.refunded
    }
}

/// What the books say in total.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub entries: u64,
    pub totals: BTreeMap<&'static str, Totals>,
    /// References with at least one movement.
    pub orders: u64,
    /// References with exactly one standing capture.
    pub orders_charged: u64,
    /// References with more than one standing capture: customers who paid twice.
    pub charged_twice: BTreeSet<String>,
}

/// Adds the books up. A capture *stands* until it has been refunded in full. Entries without a reference count under their intent.
pub fn summarise<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Summary {
    let mut summary = Summary::default();
    let mut standing: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for entry in entries {
        summary.entries += 1;
        let totals = summary.totals.entry(entry.currency.code()).or_default();
        let reference = entry.reference.clone().unwrap_or_else(|| entry.intent.clone());
        let charge = standing.entry(reference).or_default().entry(entry.charge.clone()).or_default();
        match entry.kind {
            EntryKind::Authorise => totals.authorised += entry.amount,
            EntryKind::Void => totals.voided += entry.amount,
            EntryKind::Capture => {
                totals.captured += entry.amount;
                *charge += entry.amount;
            }
            EntryKind::Refund => {
                totals.refunded += entry.amount;
                *charge -= entry.amount;
            }
        }
    }
    summary.orders = standing.len() as u64;
    for (reference, charges) in standing {
        match charges.values().filter(|left| **left > 0).count() {
            0 => {}
            1 => summary.orders_charged += 1,
            _ => {
                summary.charged_twice.insert(reference);
            }
        }
    }
    summary
}
