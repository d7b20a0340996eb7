//! A product as staff writes and reads it: the same JSON in requests, answers, imports and exports. What is exported can be
//! imported again and changes nothing.

use std::collections::BTreeMap;

use chassis::extract::distinct;
use common::Sku;
use serde::{Deserialize, Serialize};

use crate::domain::draft::{AttributeDraft, OfferedDraft, PriceDraft, ProductDraft, TextDraft, VariantDraft};
use crate::domain::product::Product;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductBody {
    /// Part of the path where one product is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    family: String,
    category: String,
    brand: String,
    /// Language to text.
    #[serde(deserialize_with = "distinct")]
    texts: BTreeMap<String, TextBody>,
    /// Currency code to amount, as text.
    #[serde(default, deserialize_with = "distinct")]
    prices: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    special_prices: Vec<PriceBody>,
    #[serde(default)]
    attributes: Vec<AttributeBody>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    options: Vec<OptionBody>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    offered: Vec<OfferedBody>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    variants: Vec<VariantBody>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TextBody {
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
}

/// A price for one region or for a time.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    currency: String,
    amount: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttributeBody {
    key: String,
    value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OptionBody {
    key: String,
    values: Vec<String>,
}

/// A region the product is offered in, and when.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfferedBody {
    region: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantBody {
    sku: String,
    attributes: Vec<AttributeBody>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "distinct")]
    prices: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    special_prices: Vec<PriceBody>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
}

impl ProductBody {
    /// `sku` where the path names it.
    pub fn into_draft(self, sku: Option<&Sku>) -> ProductDraft {
        let text = |(language, TextBody { name, description })| TextDraft { language, name, description };
        ProductDraft {
            sku: sku.map(Sku::to_string).or(self.sku).unwrap_or_default(),
            family: self.family,
            category: self.category,
            brand: self.brand,
            texts: self.texts.into_iter().map(text).collect(),
            prices: self.prices.into_iter().collect(),
            special_prices: self.special_prices.into_iter().map(PriceDraft::from).collect(),
            attributes: self.attributes.into_iter().map(AttributeDraft::from).collect(),
            options: self.options.into_iter().map(|OptionBody { key, values }| (key, values)).collect(),
            images: self.images,
            offered: self.offered.into_iter().map(OfferedDraft::from).collect(),
            variants: self.variants.into_iter().map(VariantDraft::from).collect(),
        }
    }

    pub fn of(product: &Product) -> Self {
        let draft = ProductDraft::of(product);
        let text = |TextDraft { language, name, description }: TextDraft| (language, TextBody { name, description });
        Self {
            sku: Some(draft.sku),
            family: draft.family,
            category: draft.category,
            brand: draft.brand,
            texts: draft.texts.into_iter().map(text).collect(),
            prices: draft.prices.into_iter().collect(),
            special_prices: draft.special_prices.into_iter().map(PriceBody::from).collect(),
            attributes: draft.attributes.into_iter().map(AttributeBody::from).collect(),
            options: draft.options.into_iter().map(|(key, values)| OptionBody { key, values }).collect(),
            images: draft.images,
            offered: draft.offered.into_iter().map(OfferedBody::from).collect(),
            variants: draft.variants.into_iter().map(VariantBody::from).collect(),
        }
    }
}

/// The wire's struct and the domain's draft have the same fields.
macro_rules! same_fields {
    ($($body:ident <=> $draft:ident { $($field:ident),+ }),+ $(,)?) => {$(
        impl From<$body> for $draft {
            fn from(body: $body) -> Self {
                Self { $($field: body.$field),+ }
            }
        }

        impl From<$draft> for $body {
            fn from(draft: $draft) -> Self {
                Self { $($field: draft.$field),+ }
            }
        }
    )+};
}

same_fields! {
    AttributeBody <=> AttributeDraft { key, value, unit },
    PriceBody <=> PriceDraft { region, currency, amount, from, until },
    OfferedBody <=> OfferedDraft { region, from, until },
}

impl From<VariantBody> for VariantDraft {
    fn from(body: VariantBody) -> Self {
        Self {
            sku: body.sku,
            attributes: body.attributes.into_iter().map(AttributeDraft::from).collect(),
            prices: body.prices.into_iter().collect(),
            special_prices: body.special_prices.into_iter().map(PriceDraft::from).collect(),
            images: body.images,
        }
    }
}

impl From<VariantDraft> for VariantBody {
    fn from(draft: VariantDraft) -> Self {
        Self {
            sku: draft.sku,
            attributes: draft.attributes.into_iter().map(AttributeBody::from).collect(),
            prices: draft.prices.into_iter().collect(),
            special_prices: draft.special_prices.into_iter().map(PriceBody::from).collect(),
            images: draft.images,
        }
    }
}
