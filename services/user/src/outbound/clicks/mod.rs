//! Where clicks go so that *accepted* means durable: to the broker, and when it does not confirm, to the spill on this machine's disk,
//! from which they follow. When neither has them the caller hears it, with a time to come again, and nothing was promised.
//!
//! Decided here: the order of these two. A batch that the broker may have taken without saying so is spilled all the same and comes
//! twice; readers know each event by its id and count it once. Events that were refused go beside it, where they can, and cost no
//! good one its place: they are never spilled.

mod kafka;
pub mod line;
pub mod spill;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join;
use serde::Deserialize;

pub use self::kafka::KafkaBroker;
use self::line::Line;
use self::spill::{Full, Spill};
use crate::metrics;
use crate::usecases::ports::{ClickBatch, ClickLog, Down};

/// When nobody says better: about the time in which a broker elects another leader.
const COME_AGAIN: Duration = Duration::from_secs(2);

/// Takes records and keeps them on all in-sync copies.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Publishes all, those of one key in the order given. After an error some of them may still arrive. Refused events go in a call
    /// of their own.
    async fn publish(&self, lines: &[Line<'_>]) -> Result<(), Down>;
}

/// What one record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Records {
    /// The events of one request.
    Report,
    /// One event.
    Event,
}

pub struct DurableClicks {
    broker: Arc<dyn Broker>,
    spill: Option<Spill>,
    records: Records,
}

impl DurableClicks {
    pub fn new(broker: Arc<dyn Broker>, spill: Option<Spill>, records: Records) -> Self {
        Self { broker, spill, records }
    }
}

#[async_trait]
impl ClickLog for DurableClicks {
    async fn append(&self, batch: &ClickBatch<'_>) -> Result<(), Down> {
        let lines = wire::lines(batch, self.records);
        let (good, refused) = lines.split_at(lines.partition_point(|line| !line.is_refused()));
        join(self.accept(good), tell_refused(&*self.broker, refused)).await.0
    }
}

impl DurableClicks {
    async fn accept(&self, lines: &[Line<'_>]) -> Result<(), Down> {
        if lines.is_empty() {
            return Ok(());
        }
        let Err(down) = self.broker.publish(lines).await else { return Ok(()) };
        let Some(spill) = &self.spill else { return Err(told_when(down)) };
        let (outcome, result) = match spill.append(lines).await {
            Ok(()) => ("kept", Ok(())),
            Err(Full::NoRoom) => ("no-room", Err(told_when(down))),
            Err(Full::Disk) => ("disk", Err(told_when(down))),
        };
        metrics::SPILLED.with_label_values(&[outcome]).inc_by(lines.len() as u64);
        result
    }
}

/// Publishes refused events, if the broker takes them.
async fn tell_refused(broker: &dyn Broker, lines: &[Line<'_>]) {
    if !lines.is_empty()
        && let Err(down) = broker.publish(lines).await
    {
        metrics::REFUSED_CLICKS_LOST.inc_by(lines.len() as u64);
        tracing::debug!(error = format!("{:#}", down.source), "refused clicks are told to nobody");
    }
}

/// For roles that take no clicks.
pub struct NoClicks;

#[async_trait]
impl ClickLog for NoClicks {
    async fn append(&self, _: &ClickBatch<'_>) -> Result<(), Down> {
        let source = anyhow::anyhow!("this role takes no clicks");
        Err(Down { target: "the click log", retry_after: Some(COME_AGAIN), source })
    }
}

fn told_when(down: Down) -> Down {
    Down { retry_after: down.retry_after.or(Some(COME_AGAIN)), ..down }
}
