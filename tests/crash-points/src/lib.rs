//! Crash-point completeness: the real programs of order-payment and catalog, started on real servers, are killed before and
//! after every [`messaging::crash::Boundary`], started again, and what they left is compared in PostgreSQL, in the gateway's
//! books and in Kafka.
//!
//! The programs that can die on order are made here (`src/bin/mortal.rs`): the same services with another `main`. The
//! programs that are deployed have no such setting, in any build.

pub mod behaviours;
pub mod books;
pub mod desk;
pub mod fate;
pub mod invariants;
pub mod issuer;
pub mod matrix;
pub mod owner;
pub mod process;
pub mod report;
pub mod sandbox;
pub mod shop;
