//! Clicks to Kafka: confirmed when the broker has them on all in-sync copies.

use std::time::Duration;

use async_trait::async_trait;
use chassis::resilience::{CallError, Guard, GuardSettings};
use common::Explain as _;
use messaging::{Firehose, FirehoseError, Loose};

use super::Broker;
use super::line::Line;
use crate::usecases::ports::Down;

/// A little more than the firehose's own patience, so that its answer is the one that is told.
const DEADLINE: Duration = Duration::from_millis(2500);
/// With a spill at hand nobody waits for a broker that long: a healthy one confirms within some milliseconds.
const DEADLINE_BEFORE_SPILL: Duration = Duration::from_millis(750);

pub struct KafkaBroker {
    firehose: Firehose,
    guard: Guard,
    /// What tells of refused events has its own: a topic that cannot be written must not stand for the broker.
    refused: Guard,
}

impl KafkaBroker {
    pub fn new(firehose: Firehose, spills: bool) -> Self {
        let deadline = if spills { DEADLINE_BEFORE_SPILL } else { DEADLINE };
        let guard = |target| Guard::new(target, GuardSettings { deadline, ..GuardSettings::default() });
        Self { firehose, guard: guard("kafka-clicks"), refused: guard("kafka-clicks-refused") }
    }
}

#[async_trait]
impl Broker for KafkaBroker {
    async fn publish(&self, lines: &[Line<'_>]) -> Result<(), Down> {
        // A full queue says that we are fast, not that the broker is down. Nothing is repeated: the browser or the spill will.
        let is_fault = |error: &FirehoseError| matches!(error, FirehoseError::NotConfirmed(_));
        // Handed to the client in this order; it keeps it per partition.
        let records: Vec<Loose<'_>> = lines
            .iter()
            .map(|line| Loose { topic: line.topic, key: line.key.as_bytes(), payload: &line.payload, beside: &[] })
            .collect();
        let all = || self.firehose.publish_all(&records);
        let guard = if lines.iter().all(Line::is_refused) { &self.refused } else { &self.guard };
        guard.once_if(all, is_fault).await.map_err(down)
    }
}

fn down(error: CallError<FirehoseError>) -> Down {
    Down { target: "the click log", retry_after: error.retry_after(), source: anyhow::Error::new(error) }
}
