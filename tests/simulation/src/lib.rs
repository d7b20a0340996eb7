//! The whole order saga from one seed: the use cases and rules of order-payment and catalog, over the stores in memory that
//! pass the same suite as PostgreSQL, with a bus, clocks, shoppers and a gateway that do everything a real day can bring.
//!
//! Decided here: what may go wrong, in which order things happen, and what must hold in spite of it. Not tried here: SQL,
//! the broker's and the gateway's wire formats, and threads; those have tests with real servers.

pub mod bus;
pub mod campaign;
pub mod checks;
pub mod coverage;
pub mod extras;
pub mod faults;
pub mod gateway;
mod last_look;
mod lists;
pub mod processes;
pub mod rng;
pub mod run;
mod saga_trace;
pub mod setup;
mod shelves;
pub mod shoppers;
pub mod staff;
pub mod stock;
pub mod stores;
pub mod trace;
pub mod world;
