//! Who may ask: the streams of clicks and of products, gRPC, and HTTP.

pub mod clicks;
pub mod grpc;
pub mod http;
pub mod products;
pub mod trace;
