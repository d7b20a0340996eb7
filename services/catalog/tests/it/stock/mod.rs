//! Stories of stock and reservations: one suite for both stores, the saga's deliveries in any order, crashes, crowds, and
//! what the tables refuse by themselves.

mod bare_shop;
mod crashes;
mod crowd;
mod equivalence;
mod quotes;
mod receipts;
mod refusals;
mod saga;
mod store_suite;
mod travel;
mod world;
