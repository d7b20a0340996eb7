//! Products: the store, the index, what pages show, what interests change, and the way of a change from one to the other.

mod cache;
mod http;
mod index;
mod personal;
mod pipeline;
mod search;
mod store_suite;
mod world;
