//! Tells the edge which copies of our answers are out of date, by the keys that the answers carried (`Cache-Tag`).
//!
//! The feed of product changes is the queue: it lasts, it is bounded, and its place moves only when the edge has taken a batch. While
//! the edge is away a batch is tried again with growing pauses; meanwhile copies live as long as their `s-maxage` says.
//!
//! A change is told when it is [`HELD`] old, not at once: whoever asks right after a purge is answered by us, and the edge keeps that
//! answer. It must not be the old one, which our own copies and the index give for a moment more. When the indexer is behind, a list
//! may still be fetched too early; then it lives as long as its `s-maxage` says.
//!
//! What pages show otherwise without a change of a product is told by `edge_news`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::SharedClock;
use contracts::catalog::v1::ProductChanged;
use contracts::{Event, topics};
use messaging::{BatchHandler, Record};

use super::http::finished::{SHOP_KEY, category_key, product_key};
use crate::domain::product::CategoryPath;
use crate::metrics::PURGED;
use crate::usecases::ports::purger::{PurgeDown, Purger};

/// How old a change is when the edge is told, in milliseconds: the way into the index, its refresh (500), and the longest that an
/// answer of ours is remembered (1,000).
pub(super) const HELD: i64 = 2_000;

pub struct Purges {
    purger: Arc<dyn Purger>,
    clock: SharedClock,
}

impl Purges {
    pub fn new(purger: Arc<dyn Purger>, clock: SharedClock) -> Self {
        Self { purger, clock }
    }
}

#[async_trait]
impl BatchHandler for Purges {
    async fn handle(&self, _: i32, records: &[Record]) -> anyhow::Result<()> {
        let changes: Vec<ProductChanged> = records.iter().filter_map(change).collect();
        let keys: BTreeSet<String> = changes.iter().flat_map(keys).collect();
        let keys: Vec<String> = keys.into_iter().collect();
        let Some(newest) = changes.iter().map(|change| change.changed_at_ms).max().filter(|_| !keys.is_empty()) else {
            return Ok(());
        };
        tokio::time::sleep(until_old_enough(newest, self.clock.now().timestamp_millis())).await;
        Ok(purge(&*self.purger, &keys).await?)
    }
}

/// Tells the edge once, and counts what became of it. When to try again is the caller's to know: the feed waits for the edge, `edge_news`
/// gives up.
pub(super) async fn purge(edge: &dyn Purger, keys: &[String]) -> Result<(), PurgeDown> {
    let purged = edge.purge(keys).await;
    PURGED.with_label_values(&[if purged.is_ok() { "taken" } else { "refused" }]).inc_by(keys.len() as u64);
    purged
}

/// Never longer than [`HELD`], whatever the clock of the writer says.
fn until_old_enough(changed_at_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(changed_at_ms.saturating_add(HELD).saturating_sub(now_ms).clamp(0, HELD).unsigned_abs())
}

/// What cannot be read is the indexer's to complain about.
fn change(record: &Record) -> Option<ProductChanged> {
    match Event::decode(&topics::PRODUCT_CHANGED, &record.payload) {
        Ok(Event::ProductChanged(change)) => Some(change),
        Ok(_) | Err(_) => None,
    }
}

/// The page of the product and the strips it is on, the lists of its category and those above, also where it stood before, and those of the
/// whole shop.
fn keys(change: &ProductChanged) -> Vec<String> {
    let Ok(sku) = common::Sku::parse(&change.sku) else { return Vec::new() };
    let mut keys = vec![product_key(&sku), SHOP_KEY.to_owned()];
    for category in [&change.category, &change.former_category] {
        if let Ok(category) = CategoryPath::parse(category) {
            keys.extend(category.lineage().map(category_key));
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use common::{Clock as _, ManualClock, SystemClock};

    use super::*;

    fn record(change: ProductChanged) -> Record {
        Record {
            topic: "t".to_owned(),
            partition: 0,
            offset: 0,
            key: change.sku.clone().into(),
            payload: Event::from(change).encode().into(),
            headers: Vec::new(),
        }
    }

    #[test]
    fn a_change_names_its_page_and_every_list_that_it_is_on() {
        let change = ProductChanged {
            sku: "A-1".to_owned(),
            category: "audio/headphones".to_owned(),
            ..ProductChanged::default()
        };
        assert_eq!(keys(&change), ["p-A-1", "shop", "c-audio", "c-audio/headphones"]);
        let moved = ProductChanged { former_category: "home/radio".to_owned(), ..change };
        assert_eq!(keys(&moved), ["p-A-1", "shop", "c-audio", "c-audio/headphones", "c-home", "c-home/radio"]);
        let gone = ProductChanged { category: String::new(), deleted: true, ..moved };
        assert_eq!(keys(&gone), ["p-A-1", "shop", "c-home", "c-home/radio"], "the lists that it was on");
        let crooked = ProductChanged { sku: "../".to_owned(), ..ProductChanged::default() };
        assert!(keys(&crooked).is_empty());
    }

    #[derive(Default)]
    struct Edge(Mutex<Vec<Instant>>);

    #[async_trait]
    impl Purger for Edge {
        async fn purge(&self, _: &[String]) -> Result<(), PurgeDown> {
            self.0.lock().unwrap().push(Instant::now());
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_edge_is_told_when_nobody_gives_the_old_answer_any_more() {
        let now = SystemClock.now();
        let edge = Arc::new(Edge::default());
        let purges = Purges::new(edge.clone(), Arc::new(ManualClock::at(now)));
        let changed_at_ms = now.timestamp_millis() - HELD + 100;
        let change = ProductChanged { sku: "A-1".to_owned(), changed_at_ms, ..ProductChanged::default() };
        let begun = Instant::now();
        purges.handle(0, &[record(change)]).await.unwrap();
        assert!(edge.0.lock().unwrap()[0] - begun >= Duration::from_millis(100));
        assert_eq!(until_old_enough(0, HELD), Duration::ZERO);
        assert_eq!(until_old_enough(i64::MAX, 0), Duration::from_millis(HELD.unsigned_abs()), "a clock that is ahead");
        assert_eq!(until_old_enough(i64::MIN, 0), Duration::ZERO);
    }
}
