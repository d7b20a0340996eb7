//! What an operator may look at and do in any service that consumes events: its parked messages, over HTTP, audited.
//!
//! Decided here: the routes below `/v1/admin/parked-messages/<service>`, who may use them, and what of a message is shown:
//! ids, never what says something about a person. Not decided here: what redriving means (`messaging::parking`), and what an
//! operator may do to a service's own things (each service's `inbound/http`).

mod bodies;
mod operator;
mod parked;
mod shown;

pub use operator::{Operator, STAFF, WhyBody, reason};
pub use parked::{Desk, router};
pub use shown::shown;
