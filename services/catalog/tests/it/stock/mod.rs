//! Stories of stock and reservations: one suite for both stores, the saga's deliveries in any order, crashes, crowds, and
//! what the tables refuse by themselves.

mod audit;
mod batches;
mod centres;
mod corrections;
mod crashes;
mod crowd;
mod entitlements;
mod equivalence;
mod holds;
mod quotes;
mod receipts;
mod refunds;
mod refusals;
mod reigns;
mod saga;
mod store_suite;
mod travel;
pub mod world;
