//! The stream of product changes: what we learn from it is category, brand, family and what a product is like.

use async_trait::async_trait;
use common::Sku;
use contracts::catalog::v1::ProductChanged;
use messaging::{BatchHandler, Record};
use prost::Message as _;

use crate::domain::Feature;
use crate::metrics;
use crate::usecases::ports::ProductRevision;
use crate::usecases::{Learner, learn_products};

pub struct ProductConsumer {
    pub learner: Learner,
}

#[async_trait]
impl BatchHandler for ProductConsumer {
    async fn handle(&self, partition: i32, records: &[Record]) -> anyhow::Result<()> {
        let products: Vec<ProductRevision> = records.iter().filter_map(read).collect();
        let learned = learn_products(&self.learner, &products).await?;
        let refused = records.len() - products.len();
        metrics::PRODUCTS.with_label_values(&["learned"]).inc_by(learned as u64);
        metrics::PRODUCTS.with_label_values(&["known"]).inc_by((products.len() - learned) as u64);
        metrics::PRODUCTS.with_label_values(&["refused"]).inc_by(refused as u64);
        tracing::debug!(partition, learned, refused, "products learned");
        Ok(())
    }
}

/// A record that is no product can never become one: it is counted and passed over.
fn read(record: &Record) -> Option<ProductRevision> {
    let change = ProductChanged::decode(record.payload.clone()).ok();
    let product = change.filter(|change| change.revision > 0).and_then(|change| {
        let attributes = change.attributes.iter();
        let attributes = attributes.filter_map(|one| Feature::attribute(&one.key, &one.value, &one.unit));
        let attributes = attributes.take(Feature::MOST_ATTRIBUTES).collect();
        let feature = Feature { category: change.category, brand: change.brand, family: change.family, attributes };
        let feature = Some(feature).filter(|_| !change.deleted);
        if feature.as_ref().is_some_and(|feature| !feature.fits()) {
            return None;
        }
        Some(ProductRevision {
            sku: Sku::parse(&change.sku).ok()?,
            revision: change.revision,
            changed_at_ms: change.changed_at_ms,
            feature,
        })
    });
    if product.is_none() {
        tracing::warn!(partition = record.partition, offset = record.offset, "product record refused");
    }
    product
}

#[cfg(test)]
mod tests {
    use contracts::catalog::v1::Attribute;

    use super::*;

    fn record(change: &ProductChanged) -> Record {
        let payload = change.encode_to_vec().into();
        Record {
            topic: String::new(),
            partition: 0,
            offset: 0,
            key: change.sku.clone().into(),
            payload,
            headers: Vec::new(),
        }
    }

    #[test]
    fn a_tombstone_is_a_product_without_features_and_nonsense_is_none() {
        let change = ProductChanged {
            sku: "A".to_owned(),
            revision: 3,
            category: "coats".to_owned(),
            ..ProductChanged::default()
        };
        assert_eq!(
            read(&record(&change)).and_then(|product| product.feature).map(|feature| feature.category),
            Some("coats".to_owned())
        );
        let gone = ProductChanged { deleted: true, ..change.clone() };
        assert_eq!(read(&record(&gone)).map(|product| product.feature.is_none()), Some(true));
        let attribute =
            |number: usize| Attribute { key: format!("k{number}"), value: "v".to_owned(), unit: String::new() };
        let manifold = ProductChanged { attributes: (0..100).map(attribute).collect(), ..change.clone() };
        let learned = read(&record(&manifold)).and_then(|product| product.feature).expect("a feature");
        assert_eq!((learned.attributes.len(), learned.attributes[0].as_str()), (Feature::MOST_ATTRIBUTES, "k0=v"));
        let longest = ProductChanged { brand: "b".repeat(Feature::LONGEST), ..change.clone() };
        assert!(read(&record(&longest)).is_some());
        for broken in [
            ProductChanged { revision: 0, ..change.clone() },
            ProductChanged { sku: "a b".to_owned(), ..change.clone() },
            ProductChanged { category: "c".repeat(10_240), ..change.clone() },
            ProductChanged { brand: "b".repeat(Feature::LONGEST + 1), ..change },
        ] {
            assert!(read(&record(&broken)).is_none());
        }
    }
}
