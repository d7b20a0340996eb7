//! How events travel: committed with the change that caused them, carried to Kafka by a relay, applied once by consumers.
//!
//! The one way to write is [`Database::commit`]: fence, cause (request or message), state and outbox in one transaction;
//! [`Database::commit_many`] is the same for many changes at once, and [`Together`] is where changes meet that share a commit,
//! [`Gathered`] where questions do.
//! [`Relay`] publishes what was committed; [`Consumer`] hands each event to a [`Handler`], keeps order per key, and parks
//! what cannot be applied; [`BatchConsumer`] and [`Firehose`] are the same for clicks, where a batch is the unit,
//! [`Aside`] is where a batch puts what cannot be read, and [`Rewind`] how it asks for what it should have had before; [`Tail`] lets every process hear everything;
//! [`read_through`] reads a whole topic once more.
//!
//! Not decided here: what an event means (services), what it looks like (`contracts`), how a process lives (`chassis`).

pub mod aside;
pub mod batch;
mod boundary;
pub mod commit;
pub mod commit_many;
pub mod consumer;
pub mod crash;
pub mod database;
pub mod firehose;
mod gathered;
pub mod kafka;
mod lag;
pub mod metrics;
pub mod operators;
pub mod parked;
pub mod parking;
mod partitions;
pub mod publisher;
pub mod relay;
pub mod rewind;
pub mod schema;
pub mod tail;
pub mod through;
pub mod together;
pub mod trail;
mod transaction;

pub use aside::{Aside, PutAside, TopicAside};
pub use batch::{BatchConsumer, BatchHandler};
pub use commit::{Cause, Change, CommitError, Committed, Outgoing, RequestKey, StoredAnswer, WriteError};
pub use commit_many::{Member, Written};
pub use consumer::{Consumer, Delivery, Handler, Verdict};
pub use database::{Database, DatabaseSettings, Epoch};
pub use firehose::{Firehose, FirehoseError, Loose};
pub use gathered::Gathered;
pub use kafka::{KafkaSettings, KafkaTls, Record, create_topics};
pub use operators::Action;
pub use parking::{Redriven, Which, redrive, redrive_some};
pub use publisher::{PublishError, Publisher};
pub use relay::Relay;
pub use rewind::Rewind;
pub use schema::migrate;
pub use tail::{Hears, Tail};
pub use through::read_through;
pub use together::Together;
