//! Who may ask: shoppers and the gateway over HTTP, other services through events, and time itself.

pub mod events;
pub mod grpc;
pub mod http;
pub mod timers;
