//! Product changes from the feed, batch by batch, to the search index. A record that no writer of ours can have made is
//! counted, logged and left behind: trying again cannot help, and the others must not wait for it.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use common::{Region, Sku};
use contracts::catalog::v1::{self, ProductChanged};
use contracts::{Envelope, Event, topics};
use messaging::{BatchHandler, Record};

use super::product_sale;
use crate::domain::product::{CategoryPath, Product, Revision, State, Text};
use crate::domain::trail::Trail;
use crate::metrics::{INDEX_LAG, INDEXED};
use crate::usecases::App;
use crate::usecases::index_products::index_products;

pub struct Indexer {
    app: Arc<App>,
}

impl Indexer {
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[async_trait]
impl BatchHandler for Indexer {
    async fn handle(&self, partition: i32, records: &[Record]) -> anyhow::Result<()> {
        let mut revisions = Vec::with_capacity(records.len());
        for record in records {
            match read(record, self.app.region) {
                Ok(revision) => revisions.push(revision),
                Err(reason) => {
                    INDEXED.with_label_values(&["impossible"]).inc();
                    tracing::error!(partition, offset = record.offset, reason, "a product change is left behind");
                }
            }
        }
        let products = &self.app.products;
        let applied = index_products(&*products.index, &*products.cache, &revisions).await?;
        for (outcome, count) in [("written", applied.written), ("stale", applied.stale), ("refused", applied.refused)] {
            INDEXED.with_label_values(&[outcome]).inc_by(count as u64);
        }
        let now = self.app.clock.now();
        for revision in &revisions {
            INDEX_LAG.with_label_values::<&str>(&[]).observe((now - revision.changed_at).as_seconds_f64().max(0.0));
        }
        Ok(())
    }
}

/// The revision that a record tells of.
pub(super) fn read(record: &Record, region: Region) -> Result<Revision, String> {
    let envelope = Envelope::from_headers(|name| record.header(name)).map_err(|error| error.to_string())?;
    if envelope.region != region {
        return Err(format!("it comes from region {}", envelope.region));
    }
    let event = Event::decode(&topics::PRODUCT_CHANGED, &record.payload).map_err(|error| error.to_string())?;
    let Event::ProductChanged(change) = event else { return Err("it is no product change".to_owned()) };
    if change.sku.as_bytes() != &record.key[..] || change.revision != envelope.version {
        return Err("its key or version contradicts its content".to_owned());
    }
    revision(change).map_err(|error| error.to_string())
}

/// An event that is no revision; the text names the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a product change has an impossible {0}")]
pub struct ImpossibleChange(pub &'static str);

/// The revision of an event. Options do not travel; whoever needs them asks the store.
///
/// # Errors
/// [`ImpossibleChange`] for what no writer of ours can have written.
pub fn revision(event: ProductChanged) -> Result<Revision, ImpossibleChange> {
    let sku = Sku::parse(&event.sku).map_err(|_| ImpossibleChange("sku"))?;
    if event.revision < 1 {
        return Err(ImpossibleChange("revision"));
    }
    let changed_at = DateTime::from_timestamp_millis(event.changed_at_ms).ok_or(ImpossibleChange("time"))?;
    let number = event.revision;
    let former = Some(&event.former_category).filter(|category| !category.is_empty());
    let moved_from = former.map(|category| CategoryPath::parse(category)).transpose();
    let moved_from = moved_from.map_err(|_| ImpossibleChange("former category"))?;
    let state = if event.deleted { State::Deleted(sku) } else { State::Live(product(sku, event)?) };
    // Who changed it and what it cost before is asked of the store.
    Ok(Revision { number, state, changed_at, traceparent: None, author: None, trail: Trail::default(), moved_from })
}

fn product(sku: Sku, event: ProductChanged) -> Result<Product, ImpossibleChange> {
    let prices = product_sale::price_list(event.prices, event.special_prices);
    let variants: Option<Vec<_>> = event.variants.into_iter().map(product_sale::variant).collect();
    Ok(Product {
        sku,
        family: event.family.parse().map_err(|_| ImpossibleChange("family"))?,
        schema: event.schema.max(1),
        category: CategoryPath::parse(&event.category).map_err(|_| ImpossibleChange("category"))?,
        brand: event.brand,
        texts: event
            .texts
            .into_iter()
            .map(|v1::LocalisedText { language, name, description }| Text { language, name, description })
            .collect(),
        prices: prices.ok_or(ImpossibleChange("price"))?,
        attributes: event.attributes.into_iter().map(product_sale::attribute).collect(),
        options: Vec::new(),
        images: event.images,
        assortment: product_sale::assortment(event.offered).ok_or(ImpossibleChange("assortment"))?,
        variants: variants.ok_or(ImpossibleChange("variant"))?,
    })
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use common::MessageId;

    use super::*;

    fn record(region: Region, version: i64) -> (Record, Revision) {
        let revision = Revision {
            number: 3,
            state: State::Deleted(Sku::parse("A-1").unwrap()),
            changed_at: DateTime::<Utc>::UNIX_EPOCH,
            traceparent: None,
            author: None,
            trail: Trail::default(),
            moved_from: None,
        };
        let id = MessageId::derive("A-1", version, "product.changed");
        let envelope = Envelope { id, region, epoch: 1, version, occurred_at_ms: 0, source_lsn: 0, traceparent: None };
        let headers = envelope
            .to_headers("product.changed", "internal")
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let payload = Event::from(ProductChanged {
            sku: "A-1".to_owned(),
            revision: 3,
            deleted: true,
            ..ProductChanged::default()
        })
        .encode()
        .into();
        (Record { topic: "t".to_owned(), partition: 0, offset: 0, key: "A-1".into(), payload, headers }, revision)
    }

    #[test]
    fn a_change_of_our_region_is_read() {
        let (record, revision) = record(Region::Eu, 3);
        assert_eq!(read(&record, Region::Eu), Ok(revision));
    }

    #[test]
    fn a_record_that_contradicts_itself_or_comes_from_elsewhere_is_left_behind() {
        let good = || record(Region::Eu, 3).0;
        assert!(read(&record(Region::Us, 3).0, Region::Eu).is_err());
        assert!(read(&record(Region::Eu, 4).0, Region::Eu).is_err());
        assert!(read(&Record { key: "B".into(), ..good() }, Region::Eu).is_err());
        assert!(read(&Record { payload: vec![0xff, 0xff].into(), ..good() }, Region::Eu).is_err());
        assert!(read(&Record { payload: Vec::new().into(), ..good() }, Region::Eu).is_err());
        assert!(read(&Record { headers: Vec::new(), ..good() }, Region::Eu).is_err());
    }
}
