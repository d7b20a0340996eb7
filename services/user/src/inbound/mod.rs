//! Who may ask: shoppers and browsers over HTTP, and a clock for what was interrupted.

pub mod http;
pub mod timer;
