//! Products: the store, the index, what pages show, what interests change, and the way of a change from one to the other.

mod bad_input;
mod cache;
mod drift;
mod families;
mod finished;
mod grouping;
mod http;
mod imports;
mod index;
mod large;
mod personal;
mod pictures;
mod pipeline;
mod promotions;
mod purges;
mod sale;
mod search;
mod search_contract;
mod search_words;
mod second_look;
mod stand_in;
mod standings;
mod store_suite;
mod strip;
mod unreadable;
mod world;
