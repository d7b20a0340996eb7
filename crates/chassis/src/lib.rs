//! How a process of ShopSphere behaves, whatever it is for: it reads its configuration and refuses what it does not know, it
//! tells whether it is ready, it answers in one shape, it stops without losing work, and it protects itself from what it calls.
//!
//! Decided here: configuration layers, lifecycle and roles, telemetry, HTTP and gRPC in and out, who is calling, the admin
//! port, deadlines, circuit breakers and limits. Not decided here: anything of the business, and anything about Kafka or
//! PostgreSQL (`messaging` does those; the two crates do not know each other).

pub mod admin;
pub mod auth;
pub mod config;
pub mod context;
mod cores;
mod entry;
pub mod extract;
pub mod grpc;
pub mod http;
pub mod http_client;
pub mod lifecycle;
pub mod limiter;
pub mod metrics;
pub mod problem;
pub mod readiness;
pub mod redis_client;
pub mod resilience;
mod server;
pub mod telemetry;

pub use entry::{Role, Service, main};
pub use lifecycle::Process;
pub use problem::Problem;
