//! Orders, payments, ledger: the saga's owner. See the README of this service for the map.

pub mod config;
pub mod domain;
pub mod inbound;
pub mod metrics;
pub mod outbound;
pub mod usecases;
pub mod wiring;

pub use wiring::{MIGRATOR, Service};
