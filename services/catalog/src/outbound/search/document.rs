//! A product as the index keeps it, and back. Only what is searched, filtered, sorted by or shown in lists is in it.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use common::{Currency, Money, Sku};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::price::PriceList;
use crate::domain::product::{Attribute, CategoryPath, Product, Revision, Text};

/// Fields of the mapping in `migrations/catalog/elasticsearch/products.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ProductDocument {
    pub sku: String,
    pub revision: i64,
    #[serde(default)]
    deleted: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    changed_at: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    family: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    category: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lineage: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    category_words: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    brand: String,
    /// Language to text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    name: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    description: BTreeMap<String, String>,
    /// Currency to minor units.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    prices: BTreeMap<String, i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attrs: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attribute_words: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<AttributeBody>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    popularity: i64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    complete: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    complete_brand: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct AttributeBody {
    key: String,
    value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
}

/// serde hands fields by reference.
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl From<&Revision> for ProductDocument {
    fn from(revision: &Revision) -> Self {
        let sku = revision.sku().to_string();
        let changed_at = revision.changed_at.timestamp_millis();
        let Some(product) = revision.live() else {
            return Self { sku, revision: revision.number, deleted: true, changed_at, ..Self::default() };
        };
        let texts = || product.texts.iter();
        let name: BTreeMap<_, _> = texts().map(|text| (text.language.clone(), text.name.clone())).collect();
        Self {
            sku,
            revision: revision.number,
            deleted: false,
            changed_at,
            family: product.family.code().to_owned(),
            category: product.category.to_string(),
            lineage: product.category.lineage().map(str::to_owned).collect(),
            category_words: product.category.as_str().replace(['/', '-', '_'], " "),
            brand: product.brand.clone(),
            description: texts()
                .filter(|text| !text.description.is_empty())
                .map(|text| (text.language.clone(), text.description.clone()))
                .collect(),
            prices: product.prices.iter().map(|price| (price.currency().code().to_owned(), price.minor())).collect(),
            attrs: product
                .attributes
                .iter()
                .map(|attribute| format!("{}={}", attribute.key, attribute.value))
                .collect(),
            attribute_words: product.attributes.iter().map(|attribute| attribute.value.clone()).collect(),
            attributes: product
                .attributes
                .iter()
                .cloned()
                .map(|Attribute { key, value, unit }| AttributeBody { key, value, unit })
                .collect(),
            images: product.images.clone(),
            popularity: 0,
            complete: name.clone(),
            complete_brand: product.brand.clone(),
            name,
        }
    }
}

impl ProductDocument {
    /// The product as far as the document has it; `None` for a document that is none of ours.
    pub(super) fn into_product(self) -> Option<Product> {
        let description = self.description;
        let texts = self.name.into_iter().map(|(language, name)| {
            let description = description.get(&language).cloned().unwrap_or_default();
            Text { language, name, description }
        });
        let price = |(currency, minor): (&String, &i64)| {
            currency.parse::<Currency>().and_then(|currency| Money::from_minor(*minor, currency)).ok()
        };
        Some(Product {
            sku: Sku::parse(&self.sku).ok()?,
            family: self.family.parse().ok()?,
            category: CategoryPath::parse(&self.category).ok()?,
            brand: self.brand,
            texts: texts.collect(),
            prices: PriceList::new(self.prices.iter().filter_map(price)).ok()?,
            attributes: self
                .attributes
                .into_iter()
                .map(|AttributeBody { key, value, unit }| Attribute { key, value, unit })
                .collect(),
            options: Vec::new(),
            images: self.images,
        })
    }
}

/// The lines of a bulk request. The revision is the version: the index keeps whichever is higher, and a tombstone is a
/// document like any other, so that it outlives everything that might still arrive late.
pub(super) fn bulk(revisions: &[Revision]) -> Bytes {
    let mut lines = BytesMut::with_capacity(revisions.len() * 2048);
    for revision in revisions {
        let action =
            json!({"index": {"_id": revision.sku().as_str(), "version": revision.number, "version_type": "external"}});
        lines.put_slice(action.to_string().as_bytes());
        lines.put_u8(b'\n');
        // A struct of texts and numbers always becomes JSON.
        lines.put_slice(&serde_json::to_vec(&ProductDocument::from(revision)).unwrap_or_default());
        lines.put_u8(b'\n');
    }
    lines.freeze()
}
