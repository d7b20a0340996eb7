//! What messaging promises, tried on real PostgreSQL and Kafka.

mod aside;
mod commit;
mod commit_many;
mod consumer;
mod lag;
mod relay;
mod schema;
mod world;
