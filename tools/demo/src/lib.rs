//! The demonstration: fills the shop, shops in it as real people would, and adds everything up at the end.
//!
//! It knows the public and admin HTTP API and nothing of the services' insides. Only two judges look behind it: the closing check reads the
//! databases, as an operator would, and the gateway's own books; `clicks` reads the topics of clicks and what Redis holds of those who
//! clicked.

pub mod api;
pub mod baskets;
pub mod campaign;
pub mod catalog_data;
pub mod catalog_drill;
pub mod clicks;
pub mod closing_check;
pub mod crowd;
pub mod follow;
pub mod gateway_books;
pub mod generate;
pub mod goods;
pub mod icecat;
pub mod import;
pub mod orders;
pub mod plan;
pub mod price_truth;
pub mod rolling;
pub mod run;
pub mod seed;
pub mod shopper;
pub mod stack;
pub mod step;
pub mod stock;
pub mod strays;
