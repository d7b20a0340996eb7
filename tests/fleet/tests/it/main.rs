//! Stories across the whole fleet on real servers, as a shopper and an operator see it. `./dev test` starts the region
//! they run against.

mod bad_input;
mod card_testing;
mod clicks;
mod kills;
mod operators;
mod orders;
mod ownership;
mod price_truth;
mod saga;
mod same_key;
mod traces;
