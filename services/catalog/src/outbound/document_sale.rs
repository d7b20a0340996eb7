//! The parts of a product's document that decide about its sale: special prices, regions and times, variants, and the trail
//! of earlier prices. Times are milliseconds since 1970. Lists instead of maps: a SKU may have a dot in it, a key may not.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::{Money, Region, Sku};
use serde::{Deserialize, Serialize};

use super::document::AttributeBody;
use crate::domain::assortment::{Assortment, Window};
use crate::domain::price::{Price, PriceList};
use crate::domain::product::{Attribute, Variant};
use crate::domain::trail::{Runs, Trail};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WindowBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_ms: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SpecialPriceBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    currency: String,
    amount: String,
    valid: WindowBody,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AssortmentBody {
    region: String,
    shown: WindowBody,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct VariantBody {
    sku: String,
    attributes: Vec<AttributeBody>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    prices: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    special_prices: Vec<SpecialPriceBody>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RunsBody {
    sku: String,
    past: Vec<RunBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    now: Option<RunBody>,
}

/// An amount and the moment it ended or, for the present one, began.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RunBody {
    at_ms: i64,
    currency: String,
    amount: String,
}

impl From<Window> for WindowBody {
    fn from(window: Window) -> Self {
        Self {
            from_ms: window.from().map(|at| at.timestamp_millis()),
            until_ms: window.until().map(|at| at.timestamp_millis()),
        }
    }
}

impl WindowBody {
    fn read(&self) -> Option<Window> {
        let moment = |millis: Option<i64>| match millis {
            None => Some(None),
            Some(millis) => DateTime::from_timestamp_millis(millis).map(Some),
        };
        Window::new(moment(self.from_ms)?, moment(self.until_ms)?).ok()
    }
}

impl From<&Variant> for VariantBody {
    fn from(variant: &Variant) -> Self {
        Self {
            sku: variant.sku.to_string(),
            attributes: variant.attributes.iter().cloned().map(AttributeBody::from).collect(),
            prices: variant.prices.as_ref().map(usual).unwrap_or_default(),
            special_prices: variant.prices.as_ref().map(special).unwrap_or_default(),
            images: variant.images.clone(),
        }
    }
}

pub(super) fn variant(body: VariantBody) -> Result<Variant, &'static str> {
    let has_prices = !body.prices.is_empty() || !body.special_prices.is_empty();
    Ok(Variant {
        sku: Sku::parse(&body.sku).map_err(|_| "variants")?,
        attributes: body.attributes.into_iter().map(Attribute::from).collect(),
        prices: if has_prices { Some(price_list(&body.prices, &body.special_prices)?) } else { None },
        images: body.images,
    })
}

/// Currency code to amount.
pub(super) fn usual(prices: &PriceList) -> BTreeMap<String, String> {
    prices.usual().map(|price| (price.currency().code().to_owned(), price.amount_string())).collect()
}

pub(super) fn special(prices: &PriceList) -> Vec<SpecialPriceBody> {
    let body = |price: Price| SpecialPriceBody {
        region: price.region.map(|region| region.code().to_owned()),
        currency: price.amount.currency().code().to_owned(),
        amount: price.amount.amount_string(),
        valid: price.valid.into(),
    };
    prices.special().map(body).collect()
}

pub(super) fn price_list(
    usual: &BTreeMap<String, String>,
    special: &[SpecialPriceBody],
) -> Result<PriceList, &'static str> {
    let usual = usual
        .iter()
        .map(|(currency, amount)| PriceList::parse_one(currency, amount).map(Price::usual).map_err(|_| "prices"));
    let special = special.iter().map(|body| body.read().ok_or("special_prices"));
    let prices: Vec<Price> = usual.chain(special).collect::<Result<_, _>>()?;
    PriceList::of(prices).map_err(|_| "prices")
}

impl SpecialPriceBody {
    fn read(&self) -> Option<Price> {
        Some(Price {
            region: match &self.region {
                None => None,
                Some(code) => Some(code.parse::<Region>().ok()?),
            },
            amount: PriceList::parse_one(&self.currency, &self.amount).ok()?,
            valid: self.valid.read()?,
        })
    }
}

pub(super) fn assortment_body(assortment: &Assortment) -> Vec<AssortmentBody> {
    let body =
        |(region, window): (Region, Window)| AssortmentBody { region: region.code().to_owned(), shown: window.into() };
    assortment.iter().map(body).collect()
}

pub(super) fn assortment(bodies: &[AssortmentBody]) -> Result<Assortment, &'static str> {
    let window = |body: &AssortmentBody| Some((body.region.parse::<Region>().ok()?, body.shown.read()?));
    let windows: Option<Vec<_>> = bodies.iter().map(window).collect();
    windows.map(Assortment::of).ok_or("assortment")
}

pub(super) fn runs(trail: &Trail) -> Vec<RunsBody> {
    let body = |(at, amount): &(DateTime<Utc>, Money)| RunBody {
        at_ms: at.timestamp_millis(),
        currency: amount.currency().code().to_owned(),
        amount: amount.amount_string(),
    };
    let bodies = trail.iter().map(|(sku, runs)| RunsBody {
        sku: sku.to_string(),
        past: runs.past().iter().map(body).collect(),
        now: runs.now().as_ref().map(body),
    });
    bodies.collect()
}

pub(super) fn trail(bodies: Vec<RunsBody>) -> Result<Trail, &'static str> {
    let run = |body: &RunBody| {
        let amount = PriceList::parse_one(&body.currency, &body.amount).ok()?;
        Some((DateTime::from_timestamp_millis(body.at_ms)?, amount))
    };
    let runs = |body: RunsBody| {
        let past: Option<Vec<_>> = body.past.iter().map(run).collect();
        let now = match &body.now {
            None => None,
            Some(body) => Some(run(body)?),
        };
        Some((Sku::parse(&body.sku).ok()?, Runs::kept(past?, now)))
    };
    let all: Option<Vec<_>> = bodies.into_iter().map(runs).collect();
    all.map(Trail::kept).ok_or("trail")
}
