//! Kafka for one test: the broker of the test stack, topics under a prefix of the test's own, and a reader that reads a
//! topic from its beginning.

use std::time::{Duration, Instant};

use common::ids;
use contracts::Topic;
use messaging::{KafkaSettings, KafkaTls};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::postgres::region;
use crate::servers::servers;

/// How long a busy broker may take over one answer.
const BROKER_PATIENCE: Duration = Duration::from_secs(10);

/// A record as the test reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub payload: Vec<u8>,
    pub headers: Vec<(String, String)>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Settings under which every topic and group name is this test's own; the topics exist when it returns.
///
/// # Panics
/// Without the test stack.
pub async fn topics(wanted: &[&'static Topic]) -> KafkaSettings {
    let settings = KafkaSettings {
        brokers: servers().kafka,
        topic_prefix: format!("t{}.", ids::time_ordered().simple()),
        replication: 1,
        tls: KafkaTls::default(),
    };
    messaging::create_topics(&settings, region(), wanted)
        .await
        .expect("topics can be created on the broker of the test stack");
    settings
}

/// Everything in a topic now, in the order of partitions and offsets.
///
/// # Panics
/// When the broker does not answer within ten seconds.
pub async fn read_all(settings: &KafkaSettings, topic: &'static Topic) -> Vec<Seen> {
    let (brokers, name) = (settings.brokers.clone(), settings.topic_name(topic, region()));
    tokio::task::spawn_blocking(move || read_topic(&brokers, &name)).await.expect("reading does not panic")
}

/// Asks again while the broker says what passes by itself: a busy one may not have heard yet that it leads a topic it has just made.
fn answered<T>(ask: impl Fn() -> KafkaResult<T>) -> T {
    let until = Instant::now() + BROKER_PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) if Instant::now() >= until => panic!("the broker answers: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn read_topic(brokers: &str, name: &str) -> Vec<Seen> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", format!("reader-{}", ids::random()))
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer can be made");
    let metadata = answered(|| {
        let metadata = consumer.fetch_metadata(Some(name), BROKER_PATIENCE)?;
        match metadata.topics().iter().find_map(|topic| topic.error()) {
            Some(error) => Err(KafkaError::MetadataFetch(error.into())),
            None => Ok(metadata),
        }
    });
    let partitions: Vec<i32> =
        metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id()).collect();
    let mut list = TopicPartitionList::new();
    let mut left: i64 = 0;
    for partition in partitions {
        let (low, high) = answered(|| consumer.fetch_watermarks(name, partition, BROKER_PATIENCE));
        left += high - low;
        list.add_partition_offset(name, partition, Offset::Beginning).expect("an offset can be named");
    }
    consumer.assign(&list).expect("partitions can be assigned");
    let mut seen = Vec::new();
    while left > 0 {
        let message = answered(|| consumer.poll(BROKER_PATIENCE).expect("a record comes while some are left"));
        left -= 1;
        seen.push(Seen {
            partition: message.partition(),
            offset: message.offset(),
            key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
            payload: message.payload().unwrap_or_default().to_vec(),
            headers: message.headers().map_or_else(Vec::new, |headers| {
                headers
                    .iter()
                    .map(|header| {
                        (header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned())
                    })
                    .collect()
            }),
        });
    }
    seen.sort_by_key(|record| (record.partition, record.offset));
    seen
}

/// Puts raw bytes with raw headers on a topic, as a broken or hostile producer would.
///
/// # Panics
/// When the broker does not take the record.
pub async fn put_raw(
    settings: &KafkaSettings,
    topic: &'static Topic,
    key: &str,
    payload: &[u8],
    headers: &[(&str, &str)],
) {
    use rdkafka::message::{Header, OwnedHeaders};
    use rdkafka::producer::{FutureProducer, FutureRecord};
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", &settings.brokers).create().expect("a producer can be made");
    let list = headers
        .iter()
        .fold(OwnedHeaders::new(), |list, (name, value)| list.insert(Header { key: name, value: Some(*value) }));
    let name = settings.topic_name(topic, region());
    producer
        .send(FutureRecord::to(&name).key(key).payload(payload).headers(list), BROKER_PATIENCE)
        .await
        .expect("the broker takes the record");
}
