//! What messaging promises, tried on real PostgreSQL and Kafka.

mod commit;
mod consumer;
mod relay;
mod schema;
mod world;
