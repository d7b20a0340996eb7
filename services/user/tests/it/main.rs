//! Stories of the user service. Those in `click_log`, `schema`, `session_store`, `store` and `region` need the servers of the test stack.

mod browser;
mod click_log;
mod clicks;
mod http_bad_input;
mod me;
mod region;
mod schema;
mod session_store;
mod sessions;
mod sign_up;
mod spill;
mod store;
mod support;
