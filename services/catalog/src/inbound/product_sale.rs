//! What decides about a product's sale, read from events. `None` for what no writer of ours can have written.

use chrono::{DateTime, Utc};
use common::{Money, Sku};
use contracts::catalog::v1;
use contracts::common::v1 as wire;

use crate::domain::assortment::{Assortment, Window};
use crate::domain::price::{Price, PriceList};
use crate::domain::product::{Attribute, Variant};

pub(super) fn attribute(v1::Attribute { key, value, unit }: v1::Attribute) -> Attribute {
    Attribute { key, value, unit: Some(unit).filter(|unit| !unit.is_empty()) }
}

pub(super) fn price_list(usual: Vec<wire::Money>, special: Vec<v1::SpecialPrice>) -> Option<PriceList> {
    let usual = usual.into_iter().map(|amount| Money::try_from(amount).ok().map(Price::usual));
    let prices: Option<Vec<Price>> = usual.chain(special.into_iter().map(special_price)).collect();
    PriceList::of(prices?).ok()
}

fn special_price(event: v1::SpecialPrice) -> Option<Price> {
    let region = if event.region.is_empty() { None } else { Some(event.region.parse().ok()?) };
    Some(Price { region, amount: Money::try_from(event.amount?).ok()?, valid: window(event.valid?)? })
}

pub(super) fn assortment(offered: Vec<v1::Offered>) -> Option<Assortment> {
    let one = |offered: v1::Offered| Some((offered.region.parse().ok()?, window(offered.shown?)?));
    let windows: Option<Vec<_>> = offered.into_iter().map(one).collect();
    windows.map(Assortment::of)
}

pub(super) fn variant(event: v1::Variant) -> Option<Variant> {
    let has_prices = !event.prices.is_empty() || !event.special_prices.is_empty();
    Some(Variant {
        sku: Sku::parse(&event.sku).ok()?,
        attributes: event.attributes.into_iter().map(attribute).collect(),
        prices: if has_prices { Some(price_list(event.prices, event.special_prices)?) } else { None },
        images: event.images,
    })
}

fn window(window: v1::Window) -> Option<Window> {
    Window::new(moment(window.from_ms)?, moment(window.until_ms)?).ok()
}

/// 0 is no moment.
fn moment(millis: i64) -> Option<Option<DateTime<Utc>>> {
    if millis == 0 { Some(None) } else { DateTime::from_timestamp_millis(millis).map(Some) }
}
