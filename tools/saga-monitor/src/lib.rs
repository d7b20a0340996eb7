//! Reads every record of a region's saga topics, from the beginning to what was there at the start of the reading. Decided
//! here: nothing; what fits the model is decided in `saga::monitor`.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use common::Region;
use contracts::{Envelope, Event, Topic};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use saga::Message;
use saga::monitor::Seen;

/// How long the broker may take for one answer; a broker that takes longer is not well enough to be judged.
const PATIENCE: Duration = Duration::from_secs(15);
/// Records of one topic that are read at most: a week of a laptop, and a bound on memory.
const MOST_RECORDS: i64 = 2_000_000;

/// All records of the saga's topics in `region`.
///
/// # Errors
/// A broker that does not answer, or a record that nobody could read.
pub fn read(brokers: &str, prefix: &str, region: Region) -> anyhow::Result<Vec<Seen>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "saga-monitor")
        .set("enable.auto.commit", "false")
        .create()
        .context("the broker's address")?;
    let mut records = Vec::new();
    for message in Message::ALL.iter().filter(|message| **message != Message::UserRegistered) {
        let topic = message.topic();
        read_topic(&consumer, &format!("{prefix}{}", topic.name(region)), topic, &mut records)?;
    }
    Ok(records)
}

fn read_topic(
    consumer: &BaseConsumer,
    name: &str,
    topic: &'static Topic,
    records: &mut Vec<Seen>,
) -> anyhow::Result<()> {
    let metadata = consumer.fetch_metadata(Some(name), PATIENCE).with_context(|| format!("topic {name}"))?;
    let partitions: Vec<i32> =
        metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id()).collect();
    if partitions.is_empty() {
        return Err(anyhow!("there is no topic {name}"));
    }
    let (mut list, mut left) = (TopicPartitionList::new(), 0);
    for partition in partitions {
        let (low, high) =
            consumer.fetch_watermarks(name, partition, PATIENCE).with_context(|| format!("topic {name}"))?;
        if high > low {
            left += high - low;
            list.add_partition_offset(name, partition, Offset::Offset(low))?;
        }
    }
    if left > MOST_RECORDS {
        return Err(anyhow!("topic {name} has {left} records, more than can be read at once"));
    }
    if left == 0 {
        return Ok(());
    }
    consumer.assign(&list)?;
    while left > 0 {
        let record = consumer.poll(PATIENCE).ok_or_else(|| anyhow!("topic {name}: {left} records did not come"))??;
        left -= 1;
        records.push(decode(&record, topic).with_context(|| place(&record))?);
    }
    consumer.assign(&TopicPartitionList::new())?;
    Ok(())
}

fn decode(record: &BorrowedMessage<'_>, topic: &'static Topic) -> anyhow::Result<Seen> {
    let header = |name: &str| {
        let headers = record.headers()?;
        let found = headers.iter().find(|header| header.key == name)?;
        std::str::from_utf8(found.value?).ok()
    };
    let envelope = Envelope::from_headers(header)?;
    let event = Event::decode(topic, record.payload().unwrap_or_default())?;
    Ok(Seen { event, envelope, place: place(record) })
}

fn place(record: &BorrowedMessage<'_>) -> String {
    format!("{} {} {}", record.topic(), record.partition(), record.offset())
}
