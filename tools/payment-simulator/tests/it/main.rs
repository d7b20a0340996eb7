//! The gateway as its clients meet it: a real port, a real HTTP client, a real state file.

mod books;
mod durability;
mod faults;
mod fraud;
mod keys;
mod payments;
mod rates;
mod settlements;
mod square;
mod support;
mod webhooks;
