//! Settings of the broker client, and records as this crate sees them. The only file that turns our settings into
//! librdkafka's; the reasons stand beside the values.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use common::Region;
use contracts::Topic;
use contracts::topics::Cleanup;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Headers as _, Message as _, OwnedMessage};
use serde::Deserialize;

/// Longest a produce may take before it counts as failed; below the time after which a relay's claim looks dead.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// Where the brokers are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// Put before every topic and group name; empty except in tests that share a broker.
    #[serde(default)]
    pub topic_prefix: String,
    /// Copies of each topic when it is created: 3 in a data centre, 1 on a laptop.
    #[serde(default = "one")]
    pub replication: i32,
    #[serde(default)]
    pub tls: KafkaTls,
}

/// How brokers and we prove who we are; all empty on a laptop, all given in a data centre.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaTls {
    /// PEM file of the authority that signed the brokers' certificates; empty: connections are not encrypted.
    pub ca_file: String,
    /// PEM files of our own certificate and its key; the broker takes our rights from its name.
    pub certificate_file: String,
    pub key_file: String,
}

fn one() -> i32 {
    1
}

impl KafkaSettings {
    pub fn topic_name(&self, topic: &Topic, region: Region) -> String {
        format!("{}{}", self.topic_prefix, topic.name(region))
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set_log_level(RDKafkaLogLevel::Warning);
        if !self.tls.ca_file.is_empty() {
            config
                .set("security.protocol", "ssl")
                .set("ssl.ca.location", &self.tls.ca_file)
                .set("ssl.certificate.location", &self.tls.certificate_file)
                .set("ssl.key.location", &self.tls.key_file);
        }
        config
    }

    /// Idempotent, acknowledged by all in-sync copies, order kept per partition across retries.
    pub(crate) fn producer(&self, linger: Duration) -> ClientConfig {
        let mut config = self.base();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.codec", "zstd")
            .set("linger.ms", linger.as_millis().to_string())
            .set("delivery.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string())
            // Bounds memory when the broker is away: what does not fit is refused to the caller at once.
            .set("queue.buffering.max.messages", "20000")
            .set("queue.buffering.max.kbytes", "32768");
        config
    }

    /// Starts at the earliest record, commits only what we say is done, joins without stopping the others.
    pub(crate) fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.base();
        config
            .set("group.id", format!("{}{group}", self.topic_prefix))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "10000")
            // New topics and partitions are noticed soon after a deploy.
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("fetch.wait.max.ms", "100")
            // Bounds the memory of records fetched ahead.
            .set("queued.max.messages.kbytes", "8192")
            .set("fetch.queue.backoff.ms", "50");
        if let Some(member) = crate::crash::member() {
            config.set("group.instance.id", member);
        }
        config
    }
}

/// One record, with the headers we know.
#[derive(Clone, Debug)]
pub struct Record {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Bytes,
    pub payload: Bytes,
    pub headers: Vec<(String, String)>,
}

impl Record {
    pub(crate) fn from_message(message: &OwnedMessage) -> Self {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers
                .iter()
                // A doubled or endless header list must not cost us memory: real events carry ten.
                .take(32)
                .map(|header| {
                    (header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned())
                })
                .collect()
        });
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: Bytes::copy_from_slice(message.key().unwrap_or_default()),
            payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
            headers,
        }
    }

    /// First value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn traceparent(&self) -> Option<&str> {
        self.header(contracts::envelope::headers::TRACEPARENT)
    }
}

/// How long the brokers may take to say what there is, and to make what there is not.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Creates the topics that do not exist yet, with the partitions, retention and cleanup of the topic table. Those that exist are
/// not named to the broker: in a data centre topics are objects of the charts, and a service has no right to make any, which the
/// broker would say even of one that is there.
///
/// # Errors
/// What the broker said; existing topics are left as they are.
pub async fn create_topics(settings: &KafkaSettings, region: Region, topics: &[&'static Topic]) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = settings.base().create()?;
    let (admin, there) = tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(None, ADMIN_TIMEOUT);
        (admin, metadata)
    })
    .await?;
    // We see the topics that we may describe: ours are among them.
    let there = there.context("ask the brokers which topics there are")?;
    let topics: Vec<&'static Topic> = topics
        .iter()
        .copied()
        .filter(|topic| {
            let name = settings.topic_name(topic, region);
            !there.topics().iter().any(|known| known.name() == name)
        })
        .collect();
    if topics.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = topics.iter().map(|topic| settings.topic_name(topic, region)).collect();
    let retentions: Vec<String> = topics.iter().map(|topic| topic.retention.as_millis().to_string()).collect();
    let wanted: Vec<NewTopic<'_>> = topics
        .iter()
        .zip(&names)
        .zip(&retentions)
        .map(|((topic, name), retention)| {
            let new = NewTopic::new(name, topic.partitions, TopicReplication::Fixed(settings.replication))
                .set("cleanup.policy", topic.cleanup.code())
                .set("retention.ms", retention);
            match topic.cleanup {
                Cleanup::Delete => new,
                // The broker does not heed the retention of such a topic.
                Cleanup::Compact => new.set("min.compaction.lag.ms", retention),
            }
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)).request_timeout(Some(ADMIN_TIMEOUT));
    for outcome in admin.create_topics(&wanted, &options).await? {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => anyhow::bail!("topic {name} could not be created: {code}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_makes_connections_encrypted_and_its_absence_leaves_them_plain() {
        let plain = KafkaSettings {
            brokers: "k:1".to_owned(),
            topic_prefix: String::new(),
            replication: 1,
            tls: KafkaTls::default(),
        };
        assert_eq!(plain.base().get("security.protocol"), None);
        let named =
            KafkaTls { ca_file: "ca".to_owned(), certificate_file: "crt".to_owned(), key_file: "key".to_owned() };
        let proven = KafkaSettings { tls: named, ..plain };
        for config in [proven.producer(Duration::ZERO), proven.consumer("group")] {
            assert_eq!(config.get("security.protocol"), Some("ssl"));
            assert_eq!(config.get("ssl.certificate.location"), Some("crt"));
        }
    }
}
