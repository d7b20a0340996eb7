//! The catalog service: what is for sale, at which price, how much of it there is, and who has it reserved.
//!
//! Two halves that share a process. *Products*: append-only revisions in MongoDB, a search index fed through Kafka, a cache,
//! ranking. *Stock*: counts, reservations, movements and shipments in PostgreSQL, driven by the order saga. Money is not
//! decided here: an order asks for a quote and freezes it.

pub mod config;
pub mod domain;
pub mod inbound;
pub mod metrics;
pub mod outbound;
pub mod usecases;
pub mod wiring;

pub use wiring::{MIGRATOR, Service};
