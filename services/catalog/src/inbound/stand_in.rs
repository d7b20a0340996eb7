//! Fills the index's stand-in of this process from the store, and keeps it true by the feed.
//!
//! The feed is heard before the store is read, so a change is in one of them. What the feed lost all the same (a broker away for
//! longer than it keeps, a record that cannot be read) is found by reading the store again now and then.

use std::sync::Arc;
use std::time::Duration;

use common::Region;
use messaging::{Hears, Record};
use tokio_util::sync::CancellationToken;

use super::indexer;
use crate::usecases::ports::products::ProductStore;
use crate::usecases::stand_in::{StandIn, fill};

/// After a portion of 200 products: a hundred thousand wait ten seconds in all, beside the first requests of the process.
const PACE: Duration = Duration::from_millis(20);
/// The second reading: a consumer that was still finding its place while the first went on has missed nothing after it.
const SECOND: Duration = Duration::from_secs(60);
/// Between later readings. They cost the store what an audit of the index costs it, in every process that serves.
const EVERY: Duration = Duration::from_secs(6 * 3_600);
/// Takes in what the feed tells.
pub struct News {
    stand_in: Arc<StandIn>,
    region: Region,
}

impl News {
    pub fn new(stand_in: Arc<StandIn>, region: Region) -> Self {
        Self { stand_in, region }
    }
}

impl Hears for News {
    fn hear(&self, record: &Record) {
        // A record that cannot be read is the indexer's to complain about.
        if let Ok(revision) = indexer::read(record, self.region) {
            self.stand_in.apply(&[revision]);
        }
    }
}

/// Several who hear the same, in their order.
pub struct All(pub Vec<Arc<dyn Hears>>);

impl Hears for All {
    fn hear(&self, record: &Record) {
        self.0.iter().for_each(|one| one.hear(record));
    }
}

/// Fills `stand_in` and fills it again, until `shutdown`.
pub async fn keep(store: Arc<dyn ProductStore>, stand_in: Arc<StandIn>, shutdown: CancellationToken) {
    for wait in std::iter::once(SECOND).chain(std::iter::repeat(EVERY)) {
        let filled_and_waited = async {
            fill(&*store, &stand_in, PACE).await;
            tokio::time::sleep(wait).await;
        };
        tokio::select! {
            () = filled_and_waited => {}
            () = shutdown.cancelled() => return,
        }
    }
}
