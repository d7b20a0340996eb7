//! What messaging promises, tried on real PostgreSQL and Kafka.

mod commit;
mod commit_many;
mod consumer;
mod relay;
mod schema;
mod world;
