//! What decides about a product's sale, as events tell it.

use chrono::{DateTime, Utc};
use common::Region;
use contracts::catalog::v1;

use crate::domain::assortment::{Assortment, Window};
use crate::domain::price::{Price, PriceList};
use crate::domain::product::Variant;

pub(super) fn special_price(price: Price) -> v1::SpecialPrice {
    v1::SpecialPrice {
        region: price.region.map(|region| region.code().to_owned()).unwrap_or_default(),
        amount: Some(price.amount.into()),
        valid: Some(window(price.valid)),
    }
}

pub(super) fn offered(assortment: &Assortment) -> Vec<v1::Offered> {
    let one = |(region, shown): (Region, Window)| v1::Offered {
        region: region.code().to_owned(),
        shown: Some(window(shown)),
    };
    assortment.iter().map(one).collect()
}

pub(super) fn variant(variant: &Variant) -> v1::Variant {
    v1::Variant {
        sku: variant.sku.to_string(),
        attributes: variant.attributes.iter().cloned().map(super::attribute).collect(),
        prices: variant.prices.iter().flat_map(PriceList::usual).map(Into::into).collect(),
        special_prices: variant.prices.iter().flat_map(PriceList::special).map(special_price).collect(),
        images: variant.images.clone(),
    }
}

fn window(window: Window) -> v1::Window {
    let millis = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp_millis()).unwrap_or_default();
    v1::Window { from_ms: millis(window.from()), until_ms: millis(window.until()) }
}
