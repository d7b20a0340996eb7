//! The stream of product changes: what we learn from it is category, brand, family, what a product is like, and when it is offered in
//! our region. A product that is never offered here, because it names other regions only or has no price in our currency, is gone for us.

use async_trait::async_trait;
use common::{Region, Sku};
use contracts::catalog::v1::{self, ProductChanged};
use messaging::{BatchHandler, Record};
use prost::Message as _;

use crate::domain::{Feature, Window};
use crate::metrics;
use crate::usecases::ports::ProductRevision;
use crate::usecases::{Learner, learn_products};

pub struct ProductConsumer {
    pub learner: Learner,
    /// Whose products are shown.
    pub region: Region,
}

#[async_trait]
impl BatchHandler for ProductConsumer {
    async fn handle(&self, partition: i32, records: &[Record]) -> anyhow::Result<()> {
        let products: Vec<ProductRevision> = records.iter().filter_map(|record| read(record, self.region)).collect();
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
fn read(record: &Record, region: Region) -> Option<ProductRevision> {
    let change = ProductChanged::decode(record.payload.clone()).ok();
    let product = change.filter(|change| change.revision > 0).and_then(|change| {
        let offered = offered(&change, region);
        let attributes = change.attributes.iter();
        let attributes = attributes.filter_map(|one| Feature::attribute(&one.key, &one.value, &one.unit));
        let attributes = attributes.take(Feature::MOST_ATTRIBUTES).collect();
        let (category, brand, family) = (change.category, change.brand, change.family);
        let feature = offered.map(|offered| Feature { category, brand, family, attributes, offered });
        let feature = feature.filter(|_| !change.deleted);
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

/// When a product is offered in `region`; `None`: never. One that names no region is offered wherever it has a price; what says nothing
/// about prices says nothing against it.
fn offered(change: &ProductChanged, region: Region) -> Option<Window> {
    let priced = priced(change, region)?;
    if change.offered.is_empty() {
        return Some(priced);
    }
    let here = change.offered.iter().find(|offered| offered.region == region.code())?;
    both(priced, window(here.shown.as_ref()))
}

/// From when until when a product has a price in `region`; `None`: never. Without a usual price these are its special ones, from the
/// beginning of the first to the end of the last; in gaps between them it counts as priced.
fn priced(change: &ProductChanged, region: Region) -> Option<Window> {
    let ours = region.currency().code();
    let is_usual = change.prices.iter().any(|price| price.currency == ours);
    if is_usual || (change.prices.is_empty() && change.special_prices.is_empty()) {
        return Some(Window::default());
    }
    let special = change.special_prices.iter().filter(|price| {
        let is_here = price.region.is_empty() || price.region == region.code();
        is_here && price.amount.as_ref().is_some_and(|amount| amount.currency == ours)
    });
    special.map(|price| window(price.valid.as_ref())).reduce(|one, other| {
        let is_open = one.until_ms == 0 || other.until_ms == 0;
        let until_ms = if is_open { 0 } else { one.until_ms.max(other.until_ms) };
        Window { from_ms: one.from_ms.min(other.from_ms), until_ms }
    })
}

/// What says nothing is open on both sides.
fn window(told: Option<&v1::Window>) -> Window {
    told.map(|told| Window { from_ms: told.from_ms, until_ms: told.until_ms }).unwrap_or_default()
}

/// When both are open; `None`: never.
fn both(one: Window, other: Window) -> Option<Window> {
    let from_ms = one.from_ms.max(other.from_ms);
    let until_ms = match (one.until_ms, other.until_ms) {
        (0, until_ms) | (until_ms, 0) => until_ms,
        (one, other) => one.min(other),
    };
    (until_ms == 0 || from_ms < until_ms).then_some(Window { from_ms, until_ms })
}

#[cfg(test)]
mod tests {
    use common::Money;
    use contracts::catalog::v1::{Attribute, Offered, SpecialPrice};

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

    const HERE: Region = Region::ALL[0];
    const ELSEWHERE: Region = Region::ALL[1];

    #[test]
    fn what_is_offered_elsewhere_only_is_gone_and_a_window_is_kept() {
        let product = ProductChanged { sku: "A".to_owned(), revision: 1, ..ProductChanged::default() };
        let offered = |region: Region, from_ms, until_ms| Offered {
            region: region.code().to_owned(),
            shown: Some(v1::Window { from_ms, until_ms }),
        };
        let price = |region: Region| {
            contracts::common::v1::Money::from(Money::from_minor(500, region.currency()).expect("an amount"))
        };
        let special = |region| SpecialPrice { amount: Some(price(region)), ..SpecialPrice::default() };
        let window = |from_ms, until_ms| Some(Window { from_ms, until_ms });
        for (change, expected, why) in [
            (product.clone(), window(0, 0), "it says nothing"),
            (
                ProductChanged { offered: vec![offered(ELSEWHERE, 1, 2), offered(HERE, 5, 9)], ..product.clone() },
                window(5, 9),
                "here for a time",
            ),
            (ProductChanged { offered: vec![offered(ELSEWHERE, 0, 0)], ..product.clone() }, None, "in another region"),
            (ProductChanged { prices: vec![price(ELSEWHERE)], ..product.clone() }, None, "no price of ours"),
            (
                ProductChanged { prices: vec![price(ELSEWHERE), price(HERE)], ..product.clone() },
                window(0, 0),
                "a price of ours among others",
            ),
            (
                ProductChanged {
                    special_prices: vec![special(HERE)],
                    prices: vec![price(ELSEWHERE)],
                    ..product.clone()
                },
                window(0, 0),
                "a special price of ours",
            ),
        ] {
            let read = read(&record(&change), HERE).expect("a product");
            assert_eq!(read.feature.map(|feature| feature.offered), expected, "{why}");
        }
    }

    /// Shown without a price, it could not be bought.
    #[test]
    fn a_special_price_offers_a_product_where_and_while_it_is_valid() {
        let amount =
            |minor| contracts::common::v1::Money::from(Money::from_minor(minor, HERE.currency()).expect("an amount"));
        let special = |region: &str, from_ms, until_ms| SpecialPrice {
            region: region.to_owned(),
            amount: Some(amount(500)),
            valid: Some(v1::Window { from_ms, until_ms }),
        };
        let usual = || amount(900);
        let shown = |from_ms, until_ms| {
            vec![Offered { region: HERE.code().to_owned(), shown: Some(v1::Window { from_ms, until_ms }) }]
        };
        let window = |from_ms, until_ms| Some(Window { from_ms, until_ms });
        let (here, there) = (HERE.code(), ELSEWHERE.code());
        for (special_prices, prices, offered, expected, why) in [
            (vec![special(here, 10, 20)], vec![], vec![], window(10, 20), "for a time"),
            (vec![special("", 10, 20)], vec![], vec![], window(10, 20), "in every region of the currency"),
            (vec![special(there, 10, 20)], vec![], vec![], None, "a price of another region"),
            (vec![special(here, 10, 20), special("", 30, 40)], vec![], vec![], window(10, 40), "twice"),
            (vec![special(here, 10, 20), special("", 30, 0)], vec![], vec![], window(10, 0), "and from then on"),
            (vec![special(here, 10, 20)], vec![usual()], vec![], window(0, 0), "the usual price goes on"),
            (vec![special(here, 10, 20)], vec![], shown(15, 0), window(15, 20), "shown later"),
            (vec![special(here, 10, 0)], vec![], shown(0, 15), window(10, 15), "shown no longer"),
            (vec![special(here, 10, 20)], vec![], shown(20, 30), None, "shown when there is no price"),
        ] {
            let product = ProductChanged { sku: "A".to_owned(), revision: 1, ..ProductChanged::default() };
            let change = ProductChanged { special_prices, prices, offered, ..product };
            let read = read(&record(&change), HERE).expect("a product");
            assert_eq!(read.feature.map(|feature| feature.offered), expected, "{why}");
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
            read(&record(&change), HERE).and_then(|product| product.feature).map(|feature| feature.category),
            Some("coats".to_owned())
        );
        let gone = ProductChanged { deleted: true, ..change.clone() };
        assert_eq!(read(&record(&gone), HERE).map(|product| product.feature.is_none()), Some(true));
        let attribute =
            |number: usize| Attribute { key: format!("k{number}"), value: "v".to_owned(), unit: String::new() };
        let manifold = ProductChanged { attributes: (0..100).map(attribute).collect(), ..change.clone() };
        let learned = read(&record(&manifold), HERE).and_then(|product| product.feature).expect("a feature");
        assert_eq!((learned.attributes.len(), learned.attributes[0].as_str()), (Feature::MOST_ATTRIBUTES, "k0=v"));
        let longest = ProductChanged { brand: "b".repeat(Feature::LONGEST), ..change.clone() };
        assert!(read(&record(&longest), HERE).is_some());
        for broken in [
            ProductChanged { revision: 0, ..change.clone() },
            ProductChanged { sku: "a b".to_owned(), ..change.clone() },
            ProductChanged { category: "c".repeat(10_240), ..change.clone() },
            ProductChanged { brand: "b".repeat(Feature::LONGEST + 1), ..change },
        ] {
            assert!(read(&record(&broken), HERE).is_none());
        }
    }
}
