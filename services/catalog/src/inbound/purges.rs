//! Tells the edge which copies of our answers are out of date, by the keys that the answers carried (`Cache-Tag`).
//!
//! The feed of product changes is the queue: it lasts, it is bounded, and its place moves only when the edge has taken a batch. While
//! the edge is away a batch is tried again with growing pauses; meanwhile copies live as long as their `s-maxage` says.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use contracts::{Event, topics};
use messaging::{BatchHandler, Record};

use super::http::finished::{category_key, product_key};
use crate::domain::product::CategoryPath;
use crate::metrics::PURGED;
use crate::usecases::ports::purger::Purger;

pub struct Purges(Arc<dyn Purger>);

impl Purges {
    pub fn new(purger: Arc<dyn Purger>) -> Self {
        Self(purger)
    }
}

#[async_trait]
impl BatchHandler for Purges {
    async fn handle(&self, _: i32, records: &[Record]) -> anyhow::Result<()> {
        let keys: BTreeSet<String> = records.iter().flat_map(keys).collect();
        let keys: Vec<String> = keys.into_iter().collect();
        if keys.is_empty() {
            return Ok(());
        }
        let purged = self.0.purge(&keys).await;
        PURGED.with_label_values(&[if purged.is_ok() { "taken" } else { "refused" }]).inc_by(keys.len() as u64);
        Ok(purged?)
    }
}

/// The page of the product, and the lists of its category and those above. What cannot be read is the indexer's to complain about.
fn keys(record: &Record) -> Vec<String> {
    let Ok(Event::ProductChanged(change)) = Event::decode(&topics::PRODUCT_CHANGED, &record.payload) else {
        return Vec::new();
    };
    let Ok(sku) = common::Sku::parse(&change.sku) else { return Vec::new() };
    let mut keys = vec![product_key(&sku)];
    if let Ok(category) = CategoryPath::parse(&change.category) {
        keys.extend(category.lineage().map(category_key));
    }
    keys
}

#[cfg(test)]
mod tests {
    use contracts::catalog::v1::ProductChanged;

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
        assert_eq!(keys(&record(change)), ["p-A-1", "c-audio", "c-audio/headphones"]);
        let gone = ProductChanged { sku: "A-1".to_owned(), deleted: true, ..ProductChanged::default() };
        assert_eq!(keys(&record(gone)), ["p-A-1"]);
        let crooked = ProductChanged { sku: "../".to_owned(), ..ProductChanged::default() };
        assert!(keys(&record(crooked)).is_empty());
    }
}
