//! The gateway's own books: every movement of money in the order it happened, never changed, never removed. They are the
//! truth against which the shop's ledger is compared, so the sums below are made from the entries and from nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Currency;

/// The merchant's account: each wire API has one of its own, and all of them are in the same books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Account {
    /// PaymentIntents.
    #[default]
    Intents,
    /// Square Payments.
    Square,
}

impl Account {
    pub fn code(self) -> &'static str {
        match self {
            Self::Intents => "intents",
            Self::Square => "square",
        }
    }
}

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
    pub account: Account,
    /// The merchant's reference of the intent at that moment.
    pub reference: Option<String>,
    /// Which of the merchant's attempts it was, as the merchant named it.
    pub attempt: Option<String>,
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
    /// Entries of each kind.
    pub movements: BTreeMap<&'static str, u64>,
    /// References with at least one movement.
    pub orders: u64,
    /// References with exactly one standing capture.
    pub orders_charged: u64,
    /// References with more than one standing capture: customers who paid twice.
    pub charged_twice: BTreeSet<String>,
    /// References that were ever captured more than once, also when it was given back since.
    pub captured_twice: BTreeSet<String>,
}

/// Adds up all of them.
pub fn summarise<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Summary {
    let mut summing = Summing::default();
    entries.into_iter().for_each(|entry| summing.add(entry));
    summing.finish()
}

/// Adds entries up one by one, so that no more of large books is in memory than what is known of each order.
#[derive(Default)]
pub struct Summing {
    summary: Summary,
    orders: HashMap<String, Charged>,
}

#[derive(Default)]
struct Charged {
    captures: u32,
    /// What is left of each charge. One, unless something is wrong.
    charges: Vec<(String, i64)>,
}

impl Summing {
    /// Entries without a reference count under their intent.
    pub fn add(&mut self, entry: &Entry) {
        let summary = &mut self.summary;
        summary.entries += 1;
        *summary.movements.entry(entry.kind.code()).or_default() += 1;
        let totals = summary.totals.entry(entry.currency.code()).or_default();
        let order = self.orders.entry(entry.reference.as_ref().unwrap_or(&entry.intent).clone()).or_default();
        let moved = match entry.kind {
            EntryKind::Authorise => {
                totals.authorised += entry.amount;
                0
            }
            EntryKind::Void => {
                totals.voided += entry.amount;
                0
            }
            EntryKind::Capture => {
                totals.captured += entry.amount;
                order.captures += 1;
                entry.amount
            }
            EntryKind::Refund => {
                totals.refunded += entry.amount;
                -entry.amount
            }
        };
        if moved == 0 {
            return;
        }
        match order.charges.iter_mut().find(|(charge, _)| *charge == entry.charge) {
            Some((_, left)) => *left += moved,
            None => order.charges.push((entry.charge.clone(), moved)),
        }
    }

    /// A capture *stands* until it has been refunded in full.
    pub fn finish(self) -> Summary {
        let mut summary = self.summary;
        summary.orders = self.orders.len() as u64;
        for (reference, order) in self.orders {
            match order.charges.iter().filter(|(_, left)| *left > 0).count() {
                0 => {}
                1 => summary.orders_charged += 1,
                _ => {
                    summary.charged_twice.insert(reference.clone());
                }
            }
            if order.captures > 1 {
                summary.captured_twice.insert(reference);
            }
        }
        summary
    }
}
