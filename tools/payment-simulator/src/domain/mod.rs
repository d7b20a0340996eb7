//! What a gateway may do with money: the life of a payment intent, its refunds, and the entries each step writes into
//! the books. Pure: no async, no I/O, no clock, no wire format; ids and instants come in as arguments.
//!
//! Not decided here: who may ask, which faults are played, how an answer looks.

mod books;
mod card;
mod currency;
mod intent;
#[cfg(test)]
mod tests;

pub use books::{Account, Entry, EntryKind, Summary, Summing, Totals, summarise};
pub use card::{Card, Decline};
pub use currency::Currency;
pub use intent::{CaptureMethod, Change, Event, Intent, Refund, Refusal, Status, Verdict};
