//! Where clicks go so that *accepted* means durable: to the broker, and when it does not confirm, to the spill on this machine's disk,
//! from which they follow. When neither has them the caller hears it, with a time to come again, and nothing was promised. What tells
//! of refused events goes the same way, and the answer waits for both.
//!
//! Decided here: the order of these two. A batch that the broker may have taken without saying so is spilled all the same and comes
//! twice; readers know each event, and each record of refused ones, by its id and count it once. And that refused events cost no good
//! one its place: where nobody has room for them they are dropped and counted, unless the request holds nothing else.

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
    /// Publishes all, those of one key in the order given. After an error some of them may still arrive. What tells of refused events
    /// goes in a call of its own.
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
        // An increase from nothing is seen by nobody: the count is there before the first loss.
        metrics::REFUSED_CLICKS_LOST.inc_by(0);
        Self { broker, spill, records }
    }
}

#[async_trait]
impl ClickLog for DurableClicks {
    async fn append(&self, batch: &ClickBatch<'_>) -> Result<(), Down> {
        let lines = wire::lines(batch, self.records);
        let (good, refused) = lines.split_at(lines.partition_point(|line| !line.is_refused()));
        // One write to the disk for all that the broker did not confirm.
        let (unsaid, down) = match join(self.tell(good), self.tell(refused)).await {
            (Ok(()), Ok(())) => return Ok(()),
            (Err(down), Err(_)) => (&*lines, down),
            (Err(down), Ok(())) => (good, down),
            (Ok(()), Err(down)) => (refused, down),
        };
        if self.keep(unsaid).await {
            return Ok(());
        }
        let (good_left, refused_left) = unsaid.split_at(unsaid.partition_point(|line| !line.is_refused()));
        if good.is_empty() || refused_left.is_empty() || !self.keep(good_left).await {
            return Err(told_when(down));
        }
        metrics::REFUSED_CLICKS_LOST.inc_by(refused_left.len() as u64);
        tracing::debug!(error = format!("{:#}", down.source), "refused clicks are told to nobody");
        Ok(())
    }
}

impl DurableClicks {
    async fn tell(&self, lines: &[Line<'_>]) -> Result<(), Down> {
        if lines.is_empty() { Ok(()) } else { self.broker.publish(lines).await }
    }

    /// Are these on the disk?
    async fn keep(&self, lines: &[Line<'_>]) -> bool {
        if lines.is_empty() {
            return true;
        }
        let Some(spill) = &self.spill else { return false };
        let (outcome, kept) = match spill.append(lines).await {
            Ok(()) => ("kept", true),
            Err(Full::NoRoom) => ("no-room", false),
            Err(Full::Disk) => ("disk", false),
        };
        metrics::SPILLED.with_label_values(&[outcome]).inc_by(lines.len() as u64);
        kept
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
