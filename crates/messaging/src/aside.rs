//! Where a handler of batches puts records that can never be handled: a topic beside theirs, with the reason, so that nothing that
//! was accepted is lost without a trace and none of it stops a partition.
//!
//! A topic and not the table of [`parking`](crate::parking): who works in batches has no database, and nothing queues behind
//! such a record. A record may be put aside twice, when its batch is handed over again; its headers say where it stood, so
//! that a repetition is known.

use async_trait::async_trait;
use common::Region;
use contracts::Topic;
use futures::future::try_join_all;

use crate::firehose::{Firehose, FirehoseError, Loose};
use crate::kafka::{KafkaSettings, Record};
use crate::metrics;

/// Where the record stood, why it stands here, and how long it was. What is kept of a long one is its beginning.
pub mod headers {
    pub const REASON: &str = "parked-reason";
    pub const TOPIC: &str = "parked-topic";
    pub const PARTITION: &str = "parked-partition";
    pub const OFFSET: &str = "parked-offset";
    pub const BYTES: &str = "parked-bytes";
}

/// Of a payload this much is kept: enough to see who wrote it and how. A whole one with its headers could be more than the
/// broker takes, and would then stop its partition after all.
pub const KEPT_BYTES: usize = 16 * 1024;
/// The same of a key; a proper one has 32 bytes.
const KEPT_OF_KEY: usize = 256;
/// Records under way at once: with what is kept of each, a small part of what the broker client may hold.
const AT_ONCE: usize = 64;

/// A record and why it cannot be handled. The reason is one of the program's own words: it becomes a label.
#[derive(Clone, Debug)]
pub struct PutAside {
    pub record: Record,
    pub reason: &'static str,
}

/// A place for records that cannot be handled.
#[async_trait]
pub trait Aside: Send + Sync {
    /// Resolves when all of them are safe.
    ///
    /// # Errors
    /// [`FirehoseError`]: at least one is not safe, and the batch must be handed over again.
    async fn put(&self, records: &[PutAside]) -> Result<(), FirehoseError>;
}

/// A topic as that place.
pub struct TopicAside {
    group: &'static str,
    topic: &'static Topic,
    firehose: Firehose,
}

impl TopicAside {
    /// `group` is the consumer group that puts aside, for metrics and logs.
    ///
    /// # Errors
    /// Settings that the broker client refuses.
    pub fn new(
        group: &'static str,
        topic: &'static Topic,
        region: Region,
        kafka: &KafkaSettings,
    ) -> anyhow::Result<Self> {
        Ok(Self { group, topic, firehose: Firehose::new(kafka, region)? })
    }

    async fn put_one(&self, PutAside { record, reason }: &PutAside) -> Result<(), FirehoseError> {
        let [partition, offset, bytes] =
            [i64::from(record.partition), record.offset, i64::try_from(record.payload.len()).unwrap_or(i64::MAX)]
                .map(|number| number.to_string());
        let beside = [
            (headers::REASON, *reason),
            (headers::TOPIC, record.topic.as_str()),
            (headers::PARTITION, partition.as_str()),
            (headers::OFFSET, offset.as_str()),
            (headers::BYTES, bytes.as_str()),
        ];
        let (key, payload) = (beginning(&record.key, KEPT_OF_KEY), beginning(&record.payload, KEPT_BYTES));
        self.firehose.publish_all(&[Loose { topic: self.topic, key, payload, beside: &beside }]).await
    }
}

#[async_trait]
impl Aside for TopicAside {
    async fn put(&self, records: &[PutAside]) -> Result<(), FirehoseError> {
        for some in records.chunks(AT_ONCE) {
            try_join_all(some.iter().map(|record| self.put_one(record))).await?;
        }
        metrics::CONSUMED.with_label_values(&[self.group, "parked"]).inc_by(records.len() as u64);
        // One line however many they are: a flood of bad records must not become a flood of lines.
        if let Some(PutAside { record, reason }) = records.first() {
            let (topic, count) = (&record.topic, records.len());
            tracing::error!(group = self.group, %topic, partition = record.partition, offset = record.offset, reason, count, "message parked");
        }
        Ok(())
    }
}

fn beginning(bytes: &[u8], most: usize) -> &[u8] {
    bytes.get(..most).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_record_the_beginning_is_kept_and_a_short_one_is_whole() {
        assert_eq!(beginning(b"abc", 2), b"ab");
        assert_eq!(beginning(b"abc", 3), b"abc");
        assert_eq!(beginning(b"", 3), b"");
    }
}
