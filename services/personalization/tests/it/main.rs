//! The service from outside: use cases on both stores and on a Redis Cluster, the HTTP answers, the stream of clicks with a real
//! broker and what is no click in it, up to where it is counted, traces, the index of visits, lists that stay for a session and how
//! they are kept, experiments on paid orders.

mod answers;
mod books;
mod cluster;
mod experiments;
mod lists;
mod poison;
mod sessions;
mod store;
mod stream;
mod support;
mod traces;
mod visits;
