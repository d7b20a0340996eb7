//! Stories of the user service. Those in `schema`, `store` and `region` need the servers of the test stack.

mod clicks;
mod http_bad_input;
mod me;
mod region;
mod schema;
mod sessions;
mod sign_up;
mod store;
mod support;
