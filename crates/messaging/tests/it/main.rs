//! What messaging promises, tried on real PostgreSQL and Kafka.

mod aside;
mod back_pressure;
mod commit;
mod commit_many;
mod consumer;
mod lag;
mod relay;
mod rewind;
mod schema;
mod through;
mod world;
