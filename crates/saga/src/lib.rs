//! The order saga as one table of steps, and what follows from it: who subscribes to what, the page in the docs, every
//! state that can come about, and a watch over what was really published.
//!
//! Decided here: which steps there are. Not decided here: how a service takes them; its rules and its store do that, and
//! tests hold them to this table. Nobody coordinates the saga with it: no service asks this crate what to do.

pub mod explore;
pub mod monitor;
pub mod page;
pub mod state;
pub mod steps;
pub mod subscriptions;

pub use state::{Case, Message, Participant};
pub use steps::{STEPS, Step, Trigger};
