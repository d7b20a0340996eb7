//! Events to Kafka, acknowledged. The relay publishes outbox rows through it; the catalog publishes product revisions,
//! whose outbox is the document store.

use std::sync::Arc;
use std::time::Duration;

use common::Region;
use contracts::{Envelope, Topic};
use futures::future::join_all;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use crate::commit::Outgoing;
use crate::crash::{self, Boundary, Crashed};
use crate::database::Epoch;
use crate::kafka::KafkaSettings;

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the broker client could not be made")]
    Client(#[source] KafkaError),
    #[error("the broker did not take every event")]
    NotTaken(#[source] KafkaError),
    #[error(transparent)]
    Crashed(#[from] Crashed),
}

impl PublishError {
    /// Whether the event is larger than any record may be: sending it again cannot help.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::NotTaken(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge))
    }
}

/// Sends events of one region.
#[derive(Clone)]
pub struct Publisher {
    producer: FutureProducer,
    settings: Arc<KafkaSettings>,
    region: Region,
    epoch: Epoch,
}

impl Publisher {
    /// # Errors
    /// [`PublishError::Client`] for settings the client refuses.
    pub fn new(settings: &KafkaSettings, region: Region, epoch: Epoch) -> Result<Self, PublishError> {
        // What goes together is queued together, a round of the relay at a time. Lingering for more would be felt once per hop.
        let producer = settings.producer(Duration::ZERO).create().map_err(PublishError::Client)?;
        Ok(Self { producer, settings: Arc::new(settings.clone()), region, epoch })
    }

    /// Publishes `events`, in order per key; resolves when the broker has all of them.
    ///
    /// # Errors
    /// [`PublishError::NotTaken`] when at least one was not taken. Others may have been: publish all again.
    pub async fn publish_all(&self, events: &[Outgoing], occurred_at_ms: i64) -> Result<(), PublishError> {
        self.publish_each(events, occurred_at_ms).await?.into_iter().collect()
    }

    /// As [`Publisher::publish_all`], and tells of each event, in their order, whether the broker has it: one that it will
    /// never take is no reason to send the others again.
    ///
    /// # Errors
    /// [`PublishError::Crashed`] alone.
    pub async fn publish_each(
        &self,
        events: &[Outgoing],
        occurred_at_ms: i64,
    ) -> Result<Vec<Result<(), PublishError>>, PublishError> {
        Ok(crash::around(Boundary::PublishDirectly, self.send_all(events, occurred_at_ms)).await?)
    }

    async fn send_all(&self, events: &[Outgoing], occurred_at_ms: i64) -> Vec<Result<(), PublishError>> {
        let traceparent = contracts::trace::current_traceparent();
        let sends = events.iter().map(|outgoing| {
            let envelope = Envelope {
                id: outgoing.message_id(),
                region: self.region,
                epoch: self.epoch.get(),
                version: outgoing.version,
                occurred_at_ms,
                source_lsn: 0,
                traceparent: traceparent.clone(),
            };
            let (topic, key, payload) =
                (outgoing.event.topic(), outgoing.event.key().to_owned(), outgoing.event.encode());
            async move { self.send(topic, &key, &payload, &envelope).await }
        });
        join_all(sends).await
    }

    /// Queues the record at once (so the order of calls is the order of records) and resolves with its acknowledgement.
    pub(crate) fn send(
        &self,
        topic: &Topic,
        key: &str,
        payload: &[u8],
        envelope: &Envelope,
    ) -> impl Future<Output = Result<(), PublishError>> + use<> {
        let name = self.settings.topic_name(topic, self.region);
        let mut headers = OwnedHeaders::new();
        for (name, value) in envelope.to_headers(topic.kind, topic.class.code()) {
            headers = headers.insert(Header { key: name, value: Some(&value) });
        }
        let queued = self
            .producer
            .send_result(FutureRecord::to(&name).key(key).payload(payload).headers(headers))
            .map_err(|(error, _)| error);
        async move {
            match queued.map_err(PublishError::NotTaken)?.await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err((error, _))) => Err(PublishError::NotTaken(error)),
                Err(_cancelled) => Err(PublishError::NotTaken(KafkaError::Canceled)),
            }
        }
    }

    /// Waits until what was queued is sent, at most `limit`.
    pub async fn flush(&self, limit: Duration) {
        let producer = self.producer.clone();
        let _ = tokio::task::spawn_blocking(move || producer.flush(limit)).await;
    }
}
