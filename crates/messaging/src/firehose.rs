//! Clicks to Kafka: many, small, without a transaction. A call resolves when the broker has the record on all in-sync
//! copies, because *accepted* must mean *durable*.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use common::{ErrorKind, Explain, Region};
use contracts::Topic;
use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use tokio::sync::{Notify, Semaphore};

use crate::kafka::KafkaSettings;
use crate::metrics;

/// Records under way at once: about what a healthy broker acknowledges in 100 ms. More means that it does not keep up,
/// and the caller should hear that now and not after a long wait.
const IN_FLIGHT: usize = 10_000;
/// Longest wait for an acknowledgement; a browser does not wait longer.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum FirehoseError {
    #[error("too many events are under way; nothing was accepted, send them again later")]
    Overloaded,
    #[error("the event log did not confirm in time; send the events again, duplicates are recognised")]
    NotConfirmed(#[source] Option<KafkaError>),
}

impl Explain for FirehoseError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn code(&self) -> &'static str {
        "overloaded"
    }

    fn retry_after(&self) -> Option<Duration> {
        Some(Duration::from_secs(2))
    }
}

/// A record of a stream without a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Loose<'a> {
    pub topic: &'static Topic,
    pub key: &'a [u8],
    pub payload: &'a [u8],
    /// Headers beside the class of its data and the current trace.
    pub beside: &'a [(&'a str, &'a str)],
}

/// Records of one caller that the broker has not confirmed yet. One for all of them: a caller that is woken, and something allocated, for
/// each event would cost more than the event.
struct Pending {
    left: AtomicUsize,
    failed: OnceLock<KafkaError>,
    all: Notify,
}

impl Pending {
    fn end(&self, records: usize) {
        if self.left.fetch_sub(records, Ordering::AcqRel) == records {
            self.all.notify_one();
        }
    }
}

struct Confirming;

impl ClientContext for Confirming {}

impl ProducerContext for Confirming {
    type DeliveryOpaque = Arc<Pending>;

    fn delivery(&self, outcome: &DeliveryResult<'_>, pending: Arc<Pending>) {
        if let Err((error, _)) = outcome {
            // The first says enough.
            let _ = pending.failed.set(error.clone());
        }
        pending.end(1);
    }
}

/// A bounded producer of small records.
pub struct Firehose {
    producer: ThreadedProducer<Confirming>,
    settings: KafkaSettings,
    region: Region,
    in_flight: Semaphore,
}

impl Firehose {
    /// # Errors
    /// Settings that the broker client refuses.
    pub fn new(settings: &KafkaSettings, region: Region) -> anyhow::Result<Self> {
        // Clicks of 5 ms share a batch: far fewer requests for a delay that nobody sees.
        // Level 1 of zstd takes off what level 3 does for two thirds of the time.
        let mut config = settings.producer(Duration::from_millis(5));
        let producer = config.set("compression.level", "1").create_with_context(Confirming)?;
        Ok(Self { producer, settings: settings.clone(), region, in_flight: Semaphore::new(IN_FLIGHT) })
    }

    /// Publishes one record and resolves when it is durable. The record carries the current trace.
    ///
    /// # Errors
    /// [`FirehoseError`]; after [`FirehoseError::NotConfirmed`] the record may still arrive.
    pub async fn publish(&self, topic: &'static Topic, key: &str, payload: &[u8]) -> Result<(), FirehoseError> {
        self.publish_all(&[Loose { topic, key: key.as_bytes(), payload, beside: &[] }]).await
    }

    /// Publishes `records`, those of a partition in their order, and resolves when all of them are durable.
    ///
    /// # Errors
    /// [`FirehoseError`]; after either some of the records may still arrive.
    pub async fn publish_all(&self, records: &[Loose<'_>]) -> Result<(), FirehoseError> {
        let outcome = self.try_publish(records).await;
        let label = match outcome {
            Ok(()) => "confirmed",
            Err(FirehoseError::Overloaded) => "refused",
            Err(FirehoseError::NotConfirmed(_)) => "not_confirmed",
        };
        metrics::FIREHOSE.with_label_values(&[label]).inc_by(records.len() as u64);
        outcome
    }

    async fn try_publish(&self, records: &[Loose<'_>]) -> Result<(), FirehoseError> {
        if records.is_empty() {
            return Ok(());
        }
        let places = u32::try_from(records.len()).map_err(|_| FirehoseError::Overloaded)?;
        let _places = self.in_flight.try_acquire_many(places).map_err(|_| FirehoseError::Overloaded)?;
        let pending =
            Arc::new(Pending { left: AtomicUsize::new(records.len()), failed: OnceLock::new(), all: Notify::new() });
        let traceparent = contracts::trace::current_traceparent();
        let mut named: Option<(&str, String)> = None;
        for (place, record) in records.iter().enumerate() {
            let name = match named.take() {
                Some((kind, name)) if kind == record.topic.kind => name,
                _ => self.settings.topic_name(record.topic, self.region),
            };
            let sent = self.producer.send(
                BaseRecord::with_opaque_to(&name, Arc::clone(&pending))
                    .key(record.key)
                    .payload(record.payload)
                    .headers(headers(record, traceparent.as_deref())),
            );
            if sent.is_err() {
                // Those before it are on their way and may arrive; nobody waits for them.
                pending.end(records.len() - place);
                return Err(FirehoseError::Overloaded);
            }
            named = Some((record.topic.kind, name));
        }
        match tokio::time::timeout(PATIENCE, pending.all.notified()).await {
            Ok(()) => match pending.failed.get() {
                None => Ok(()),
                Some(error) => Err(FirehoseError::NotConfirmed(Some(error.clone()))),
            },
            Err(_) => Err(FirehoseError::NotConfirmed(None)),
        }
    }
}

fn headers(record: &Loose<'_>, traceparent: Option<&str>) -> OwnedHeaders {
    let class = Header { key: contracts::envelope::headers::DATA_CLASS, value: Some(record.topic.class.code()) };
    let mut headers = OwnedHeaders::new_with_capacity(2 + record.beside.len()).insert(class);
    if let Some(traceparent) = traceparent {
        headers = headers.insert(Header { key: contracts::trace::TRACEPARENT, value: Some(traceparent) });
    }
    record.beside.iter().fold(headers, |headers, &(key, value)| headers.insert(Header { key, value: Some(value) }))
}
