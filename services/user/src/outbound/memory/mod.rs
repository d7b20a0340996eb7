//! The same ports without servers, for tests of the use cases. They keep the promises of the real ones (the store suite runs
//! against both) and stop at the same kind of crash points.

mod identities;
mod people;
mod sessions;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

pub use identities::{Fault, MemoryIdentities};
pub use people::MemoryPeople;
pub use sessions::MemorySessions;

use crate::domain::Click;
use crate::usecases::ports::{Attempt, ClickBatch, ClickLog, Down, Limits};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn down(target: &'static str, source: impl Into<anyhow::Error>) -> Down {
    Down { target, retry_after: Some(Duration::from_secs(1)), source: source.into() }
}

/// A click log that keeps everything, or refuses everything.
#[derive(Default)]
pub struct MemoryClicks {
    batches: Mutex<Vec<ClickBatch<'static>>>,
    refusing: Mutex<bool>,
}

impl MemoryClicks {
    pub fn batches(&self) -> Vec<ClickBatch<'static>> {
        lock(&self.batches).clone()
    }

    pub fn refuse(&self) {
        *lock(&self.refusing) = true;
    }

    pub fn accept(&self) {
        *lock(&self.refusing) = false;
    }
}

#[async_trait]
impl ClickLog for MemoryClicks {
    async fn append(&self, batch: &ClickBatch<'_>) -> Result<(), Down> {
        if *lock(&self.refusing) {
            return Err(down("the click log", anyhow::anyhow!("told to refuse")));
        }
        let ClickBatch { pseudonym, personalisation_consent, bot, received_at, clicks, refused } = batch.clone();
        let clicks = clicks.into_iter().map(owned).collect();
        lock(&self.batches).push(ClickBatch { pseudonym, personalisation_consent, bot, received_at, clicks, refused });
        Ok(())
    }
}

fn owned(click: Click<'_>) -> Click<'static> {
    fn text(text: Cow<'_, str>) -> Cow<'static, str> {
        Cow::Owned(text.into_owned())
    }
    Click {
        event_id: text(click.event_id),
        kind: click.kind,
        sku: click.sku.map(text),
        query: click.query.map(text),
        list_id: click.list_id.map(text),
        position: click.position,
        at: click.at,
        clock: click.clock,
    }
}

/// Admits everything until it is told to refuse.
#[derive(Default)]
pub struct OpenLimits {
    refusing: Mutex<bool>,
    asked: Mutex<Vec<IpAddr>>,
}

impl OpenLimits {
    pub fn refuse(&self) {
        *lock(&self.refusing) = true;
    }
}

impl Limits for OpenLimits {
    fn admit(&self, attempt: Attempt<'_>) -> Result<(), Duration> {
        let source = match attempt {
            Attempt::SignUp { source }
            | Attempt::LogIn { source, .. }
            | Attempt::Refresh { source }
            | Attempt::ReportClicks { source, .. } => source,
        };
        lock(&self.asked).push(source);
        if *lock(&self.refusing) { Err(Duration::from_secs(7)) } else { Ok(()) }
    }
}
