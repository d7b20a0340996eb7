//! Who may ask: the streams of clicks, of products and of paid orders, gRPC, and HTTP.

pub mod clicks;
pub mod grpc;
pub mod http;
pub mod orders;
pub mod products;
pub mod trace;
