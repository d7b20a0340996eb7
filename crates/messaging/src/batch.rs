//! Consumes records in batches per partition, for streams where one record is too little to be worth a round trip. No
//! inbox: the handler makes a second delivery harmless by itself, for example by the offset stored with its result.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::Region;
use contracts::Topic;
use rdkafka::consumer::Consumer as _;
use tokio_util::sync::CancellationToken;

use crate::crash;
use crate::kafka::{KafkaSettings, Record};
use crate::lag::{self, Follower};
use crate::metrics;
use crate::partitions::{self, Stop, Work};
use crate::rewind::Rewind;

/// Most records of one batch: bounds the memory of a fold and what is done again after a crash.
const BATCH: usize = 1_000;
/// Back-off while the handler's store is away.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// What a batch does. May be called again with the same records, or with a batch cut differently.
#[async_trait]
pub trait BatchHandler: Send + Sync {
    /// # Errors
    /// The batch is handed over again after a pause; a record that can never be handled must be counted, and put
    /// [aside](crate::Aside) or skipped. After a [`Rewind`] nothing may be done of the batch: the partition is read again from there, if
    /// the topic still has anything between, and if not, [`handle_as_first`](Self::handle_as_first) gets the batch.
    async fn handle(&self, partition: i32, records: &[Record]) -> anyhow::Result<()>;

    /// What `handle` does, once it has asked for earlier records and there are none to be had.
    ///
    /// # Errors
    /// As `handle`; a [`Rewind`] is like any other.
    async fn handle_as_first(&self, partition: i32, records: &[Record]) -> anyhow::Result<()> {
        self.handle(partition, records).await
    }
}

/// A consumer group that works in batches.
pub struct BatchConsumer {
    consumer: Follower,
    batches: Batches,
}

struct Batches {
    group: &'static str,
    handler: Arc<dyn BatchHandler>,
}

impl BatchConsumer {
    /// # Errors
    /// Settings that the broker client refuses.
    pub fn new(
        group: &'static str,
        topics: &[&Topic],
        region: Region,
        kafka: &KafkaSettings,
        handler: Arc<dyn BatchHandler>,
    ) -> anyhow::Result<Self> {
        let consumer = lag::follower(group, kafka)?;
        let names: Vec<String> = topics.iter().map(|topic| kafka.topic_name(topic, region)).collect();
        consumer.subscribe(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Self { consumer, batches: Batches { group, handler } })
    }

    /// Consumes until `shutdown`.
    ///
    /// # Errors
    /// Only a crash point ends it early.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), crash::Crashed> {
        partitions::run(self.consumer, Arc::new(self.batches), shutdown).await
    }
}

#[async_trait]
impl Work for Batches {
    async fn handle(&self, records: &[Record], shutdown: &CancellationToken) -> Result<usize, Stop> {
        self.until_done(records, shutdown, false).await
    }

    async fn handle_as_first(&self, records: &[Record], shutdown: &CancellationToken) -> Result<usize, Stop> {
        self.until_done(records, shutdown, true).await
    }

    fn batch(&self) -> usize {
        BATCH
    }
}

impl Batches {
    async fn until_done(&self, records: &[Record], shutdown: &CancellationToken, first: bool) -> Result<usize, Stop> {
        let Some(partition) = records.first().map(|record| record.partition) else { return Ok(0) };
        let mut pause = FIRST_PAUSE;
        loop {
            crash::point("batch.before_handle")?;
            let outcome = if first {
                self.handler.handle_as_first(partition, records).await
            } else {
                self.handler.handle(partition, records).await
            };
            crash::point("batch.after_handle")?;
            let Err(error) = outcome else {
                metrics::CONSUMED.with_label_values(&[self.group, "done"]).inc_by(records.len() as u64);
                return Ok(records.len());
            };
            if let Some(wish) = error.downcast_ref::<Rewind>().filter(|_| !first) {
                return Err(Stop::Behind(*wish));
            }
            tracing::warn!(group = self.group, error = format!("{error:#}"), "batch will be retried");
            metrics::CONSUMED.with_label_values(&[self.group, "retry"]).inc();
            tokio::select! {
                () = shutdown.cancelled() => return Err(Stop::ShuttingDown),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LAST_PAUSE),
            }
        }
    }
}
