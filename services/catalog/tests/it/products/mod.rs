//! Products: the store, the index, what pages show, what interests change, and the way of a change from one to the other.

mod cache;
mod families;
mod http;
mod imports;
mod index;
mod personal;
mod pictures;
mod pipeline;
mod sale;
mod search;
mod store_suite;
mod world;
