//! Reads a topic from its beginning to its end, once: for whoever has lost what it had learned from a topic that keeps the newest record of
//! each key ([`Cleanup::Compact`](contracts::topics::Cleanup)). The consumer group of that topic stands where it has committed and would not
//! hear of these records again.
//!
//! No group, so nothing is shared out and nothing is committed; the group goes on meanwhile, and the handler must bear it that both bring
//! the same record, in any order between them. What is written after the end of a partition was reached is the group's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use common::Region;
use contracts::Topic;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::batch::BatchHandler;
use crate::kafka::{KafkaSettings, Record};
use crate::metrics;

/// Records handed over at once, and their bytes: bounds what is held, whatever the number of partitions.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 4 << 20;
/// A broker that says nothing for so long, no record and no end, is taken to be away.
const SILENCE: Duration = Duration::from_secs(30);

/// Records that were read and not handed over yet, by partition.
#[derive(Default)]
struct Held {
    partitions: BTreeMap<i32, Vec<Record>>,
    records: usize,
    bytes: usize,
}

impl Held {
    fn add(&mut self, record: Record) {
        self.records += 1;
        self.bytes += record.key.len() + record.payload.len();
        self.partitions.entry(record.partition).or_default().push(record);
    }

    fn is_enough(&self) -> bool {
        self.records >= BATCH || self.bytes >= BATCH_BYTES
    }

    /// Hands everything over and says how many records that were.
    async fn hand_over(&mut self, to: &dyn BatchHandler) -> anyhow::Result<usize> {
        let held = std::mem::take(self);
        for (partition, records) in &held.partitions {
            to.handle(*partition, records).await?;
        }
        Ok(held.records)
    }
}

/// Hands each record of `topic` to `handler`, in order within a partition, and says how many there were. `name` is for metrics. May be given
/// up at any moment, and begins anew at the next call.
///
/// # Errors
/// Settings that the broker client refuses, a broker that is away or silent for half a minute, or what the handler says: nothing is tried a
/// second time.
pub async fn read_through(
    name: &'static str,
    topic: &Topic,
    region: Region,
    kafka: &KafkaSettings,
    handler: &dyn BatchHandler,
) -> anyhow::Result<usize> {
    // The client wants a group's name even where none is joined; one that is only assigned partitions never tells the broker.
    let consumer: StreamConsumer = kafka.consumer(name).set("enable.partition.eof", "true").create()?;
    let mut all = TopicPartitionList::new();
    for partition in 0..topic.partitions {
        all.add_partition_offset(&kafka.topic_name(topic, region), partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let mut unfinished: BTreeSet<i32> = (0..topic.partitions).collect();
    let (mut held, mut read) = (Held::default(), 0);
    while !unfinished.is_empty() {
        let received = tokio::time::timeout(SILENCE, consumer.recv()).await.context("the broker says nothing")?;
        match received {
            Ok(message) => held.add(Record::from_message(&message.detach())),
            Err(KafkaError::PartitionEOF(partition)) => {
                unfinished.remove(&partition);
            }
            Err(error) => return Err(error).context("a topic cannot be read through"),
        }
        if held.is_enough() || unfinished.is_empty() {
            read += held.hand_over(handler).await?;
        }
    }
    metrics::CONSUMED.with_label_values(&[name, "read"]).inc_by(read as u64);
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_by_number_and_by_bytes_over_all_partitions() {
        let record = |partition, bytes: usize| Record {
            topic: String::new(),
            partition,
            offset: 0,
            key: "k".into(),
            payload: vec![0; bytes - 1].into(),
            headers: Vec::new(),
        };
        for (most, bytes, why) in [(BATCH, 100, "many small ones"), (4, 1 << 20, "a few large ones")] {
            let mut held = Held::default();
            for number in 1..=most {
                held.add(record(i32::from(number % 2 == 0), bytes));
                assert_eq!(held.is_enough(), number == most, "{number}, {why}");
            }
        }
    }
}
