//! The service from outside: use cases on both stores, the HTTP answers, the stream of clicks with a real broker, traces.

mod answers;
mod store;
mod stream;
mod support;
mod traces;
