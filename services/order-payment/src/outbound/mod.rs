//! What we use: our books, the catalog's prices, the payment gateway, the shop's fraud check; and stand-ins for tests.

mod events;
pub mod fraud;
pub mod gate;
pub mod gateway;
pub mod memory;
mod memory_accounts;
pub mod memory_carts;
mod memory_claims;
pub mod memory_coupons;
mod memory_settlements;
mod memory_views;
mod memory_webhooks;
pub mod postgres;
pub mod prices;
