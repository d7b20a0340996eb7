//! The workbench: real stores per test, crash points, waiting for a condition, work on other threads, a receiver for traces.
//!
//! A development dependency only. The servers it uses are those of the test stack, which `./dev test` starts and
//! `./dev servers up --offset 2000` starts by hand; only a Redis Cluster is started by the test that wants one.

pub mod aside;
pub mod crash;
pub mod kafka;
pub mod postgres;
pub mod redis_cluster;
pub mod servers;
pub mod spans;
pub mod wait;

pub use postgres::TestDatabase;
pub use redis_cluster::RedisCluster;
pub use servers::{Servers, servers};
pub use xtask::progress::skipped;
pub use xtask::test_run::browser;
