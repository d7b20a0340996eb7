//! What somebody will look at next, from what others looked at in their visits.
//!
//! Decided here: what is remembered of visits ([`Index`]) and how candidates are weighed ([`Mixture`]). Pure: no clock, no I/O, no
//! dependency; the service feeds it from a stream and the quality lab from files, and both run exactly this code. Not decided
//! here: whose visit it is, what may be shown, and where the bytes of a snapshot lie.

mod index;
mod mixture;
mod names;
mod parts;
mod snapshot;
mod sums;

pub use index::{Index, Limits, MAX_STEPS, VISIT_GAP_MS};
pub use mixture::{Mixture, Part, Question, Suggestion};
pub use snapshot::Damaged;
