//! Follows topics from now on, in every process that asks: each sees every partition. For what a process keeps in its memory and
//! has to throw away when it is told of a change.
//!
//! No group, so nothing is shared out, nothing is committed and nothing is redelivered: a process that was away has forgotten what
//! it kept. What is missed while the broker is away comes when it is back; whoever keeps something bounds its age as well.

use std::sync::Arc;
use std::time::Duration;

use common::Region;
use contracts::Topic;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use crate::kafka::{KafkaSettings, Record};
use crate::metrics;

/// Between two complaints that the broker cannot be reached.
const PAUSE: Duration = Duration::from_millis(500);

/// Hears of each record.
pub trait Hears: Send + Sync {
    /// Called in order within a partition, in the task of the tail: quick, and without waiting for anything.
    fn hear(&self, record: &Record);
}

/// A reader without a group.
pub struct Tail {
    name: &'static str,
    consumer: StreamConsumer,
    hears: Arc<dyn Hears>,
}

impl Tail {
    /// Reads what comes after this moment. `name` is for metrics and logs.
    ///
    /// # Errors
    /// Settings that the broker client refuses.
    pub fn new(
        name: &'static str,
        topics: &[&Topic],
        region: Region,
        kafka: &KafkaSettings,
        hears: Arc<dyn Hears>,
    ) -> anyhow::Result<Self> {
        // The client wants a group's name even where none is joined; one that is only assigned partitions never tells the broker.
        let consumer: StreamConsumer = kafka.consumer(name).set("auto.offset.reset", "latest").create()?;
        let mut all = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..topic.partitions {
                all.add_partition_offset(&kafka.topic_name(topic, region), partition, Offset::End)?;
            }
        }
        consumer.assign(&all)?;
        Ok(Self { name, consumer, hears })
    }

    /// Hears until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            let received = tokio::select! {
                () = shutdown.cancelled() => return,
                received = self.consumer.recv() => received,
            };
            match received {
                Ok(message) => {
                    self.hears.hear(&Record::from_message(&message.detach()));
                    metrics::CONSUMED.with_label_values(&[self.name, "heard"]).inc();
                }
                Err(error) => {
                    tracing::warn!(tail = self.name, error = %error, "changes cannot be heard");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}
