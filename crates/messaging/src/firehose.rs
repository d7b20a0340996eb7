//! Clicks to Kafka: many, small, without a transaction. A call resolves when the broker has the record on all in-sync
//! copies, because *accepted* must mean *durable*.

use std::time::Duration;

use common::{ErrorKind, Explain, Region};
use contracts::Topic;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::sync::Semaphore;

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

/// A bounded producer of small records.
pub struct Firehose {
    producer: FutureProducer,
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
        let producer = settings.producer(Duration::from_millis(5)).set("compression.level", "1").create()?;
        Ok(Self { producer, settings: settings.clone(), region, in_flight: Semaphore::new(IN_FLIGHT) })
    }

    /// Publishes one record and resolves when it is durable. The record carries the current trace.
    ///
    /// # Errors
    /// [`FirehoseError`]; after [`FirehoseError::NotConfirmed`] the record may still arrive.
    pub async fn publish(&self, topic: &Topic, key: &str, payload: &[u8]) -> Result<(), FirehoseError> {
        self.publish_beside(topic, key.as_bytes(), payload, &[]).await
    }

    /// As [`publish`](Self::publish), with headers beside it.
    pub(crate) async fn publish_beside(
        &self,
        topic: &Topic,
        key: &[u8],
        payload: &[u8],
        beside: &[(&str, &str)],
    ) -> Result<(), FirehoseError> {
        let outcome = self.try_publish(topic, key, payload, beside).await;
        let label = match outcome {
            Ok(()) => "confirmed",
            Err(FirehoseError::Overloaded) => "refused",
            Err(FirehoseError::NotConfirmed(_)) => "not_confirmed",
        };
        metrics::FIREHOSE.with_label_values(&[label]).inc();
        outcome
    }

    async fn try_publish(
        &self,
        topic: &Topic,
        key: &[u8],
        payload: &[u8],
        beside: &[(&str, &str)],
    ) -> Result<(), FirehoseError> {
        let _permit = self.in_flight.try_acquire().map_err(|_| FirehoseError::Overloaded)?;
        let name = self.settings.topic_name(topic, self.region);
        let mut headers = OwnedHeaders::new()
            .insert(Header { key: contracts::envelope::headers::DATA_CLASS, value: Some(topic.class.code()) });
        if let Some(traceparent) = contracts::trace::current_traceparent() {
            headers = headers.insert(Header { key: contracts::trace::TRACEPARENT, value: Some(&traceparent) });
        }
        for &(key, value) in beside {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let record = FutureRecord::to(&name).key(key).payload(payload).headers(headers);
        let queued = self.producer.send_result(record).map_err(|_| FirehoseError::Overloaded)?;
        match tokio::time::timeout(PATIENCE, queued).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err((error, _)))) => Err(FirehoseError::NotConfirmed(Some(error))),
            Ok(Err(_)) | Err(_) => Err(FirehoseError::NotConfirmed(None)),
        }
    }
}
