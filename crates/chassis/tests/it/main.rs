//! Stories of chassis: small services on real ports, asked as a client would, and a whole process started and stopped.

mod auth;
mod cores;
mod grpc;
mod http;
mod lifecycle;
mod process;
mod stack;
mod support;
mod telemetry;
