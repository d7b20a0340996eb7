//! Clicks to Kafka: one record per request, keyed by the pseudonym, answered when the broker has it.

use std::time::Duration;

use async_trait::async_trait;
use chassis::resilience::{CallError, Guard, GuardSettings};
use common::Explain as _;
use contracts::topics::CLICKSTREAM_RAW;
use contracts::user::v1::{self, ClicksReported};
use messaging::{Firehose, FirehoseError};
use prost::Message as _;

use crate::domain::{Click, ClickType};
use crate::usecases::ports::{ClickBatch, ClickLog, Down};

/// A little more than the firehose's own patience, so that its answer is the one that is told.
const DEADLINE: Duration = Duration::from_millis(2500);

pub struct KafkaClicks {
    firehose: Firehose,
    guard: Guard,
}

impl KafkaClicks {
    pub fn new(firehose: Firehose) -> Self {
        Self {
            firehose,
            guard: Guard::new("kafka-clicks", GuardSettings { deadline: DEADLINE, ..GuardSettings::default() }),
        }
    }
}

#[async_trait]
impl ClickLog for KafkaClicks {
    async fn append(&self, batch: ClickBatch) -> Result<(), Down> {
        let key = batch.pseudonym.clone();
        let payload = ClicksReported::from(batch).encode_to_vec();
        // A full queue says that we are fast, not that the broker is down. Nothing is repeated: the browser will.
        let is_fault = |error: &FirehoseError| matches!(error, FirehoseError::NotConfirmed(_));
        self.guard.once_if(|| self.firehose.publish(&CLICKSTREAM_RAW, &key, &payload), is_fault).await.map_err(down)
    }
}

fn down(error: CallError<FirehoseError>) -> Down {
    Down { target: "the click log", retry_after: error.retry_after(), source: anyhow::Error::new(error) }
}

impl From<ClickBatch> for ClicksReported {
    fn from(batch: ClickBatch) -> Self {
        Self {
            pseudonym: batch.pseudonym,
            personalisation_consent: batch.personalisation_consent,
            received_at_ms: batch.received_at.timestamp_millis(),
            clicks: batch.clicks.into_iter().map(v1::Click::from).collect(),
        }
    }
}

impl From<Click> for v1::Click {
    fn from(click: Click) -> Self {
        Self {
            event_id: click.event_id,
            r#type: v1::ClickType::from(click.kind) as i32,
            sku: click.sku.map(|sku| sku.to_string()).unwrap_or_default(),
            query: click.query.unwrap_or_default(),
            list_id: click.list_id.unwrap_or_default(),
            position: click.position.unwrap_or_default(),
            at_ms: click.at.timestamp_millis(),
        }
    }
}

impl From<ClickType> for v1::ClickType {
    fn from(kind: ClickType) -> Self {
        match kind {
            ClickType::View => Self::View,
            ClickType::Search => Self::Search,
            ClickType::Add => Self::Add,
            ClickType::Remove => Self::Remove,
            ClickType::Buy => Self::Buy,
            ClickType::Impression => Self::Impression,
            ClickType::Custom => Self::Custom,
        }
    }
}
