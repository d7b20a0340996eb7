//! A revision as a document: the same shape in MongoDB and, as JSON, in the cache. Money is text, since neither a double nor
//! a decimal of the wire is the same everywhere.
//!
//! `_id` is `{product, revision}`: the unique key of the collection is what decides who wrote a number first.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::Sku;
use serde::{Deserialize, Serialize};

use crate::domain::price::PriceList;
use crate::domain::product::{Attribute, CategoryPath, Product, ProductOption, Revision, State, Text};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevisionDocument {
    #[serde(rename = "_id")]
    id: Id,
    pub sku: String,
    pub revision: i64,
    pub published: bool,
    /// A tombstone has no `product`.
    deleted: bool,
    changed_at_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    product: Option<ProductBody>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Id {
    product: String,
    revision: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ProductBody {
    family: String,
    category: String,
    brand: String,
    texts: Vec<TextBody>,
    /// Currency code to amount.
    prices: BTreeMap<String, String>,
    #[serde(default)]
    attributes: Vec<AttributeBody>,
    #[serde(default)]
    options: Vec<OptionBody>,
    #[serde(default)]
    images: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct TextBody {
    language: String,
    name: String,
    description: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct AttributeBody {
    key: String,
    value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct OptionBody {
    key: String,
    values: Vec<String>,
}

/// A stored document that is no revision: somebody wrote past this service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revision {revision} of {sku} is inconsistent in {field}")]
pub struct Inconsistent {
    pub sku: String,
    pub revision: i64,
    pub field: &'static str,
}

impl From<&Revision> for RevisionDocument {
    fn from(revision: &Revision) -> Self {
        let sku = revision.sku().to_string();
        Self {
            id: Id { product: sku.clone(), revision: revision.number },
            sku,
            revision: revision.number,
            published: false,
            deleted: revision.live().is_none(),
            changed_at_ms: revision.changed_at.timestamp_millis(),
            traceparent: revision.traceparent.clone(),
            product: revision.live().map(body),
        }
    }
}

impl TryFrom<RevisionDocument> for Revision {
    type Error = Inconsistent;

    fn try_from(document: RevisionDocument) -> Result<Self, Inconsistent> {
        let RevisionDocument { sku, revision, deleted, changed_at_ms, traceparent, product, .. } = document;
        let wrong = |field| Inconsistent { sku: sku.clone(), revision, field };
        let key = Sku::parse(&sku).map_err(|_| wrong("sku"))?;
        let state = match (deleted, product) {
            (true, None) => State::Deleted(key),
            (false, Some(body)) => State::Live(product_of(key, body).map_err(wrong)?),
            _ => return Err(wrong("deleted")),
        };
        let changed_at: DateTime<Utc> =
            DateTime::from_timestamp_millis(changed_at_ms).ok_or_else(|| wrong("changed_at_ms"))?;
        Ok(Revision { number: revision, state, changed_at, traceparent })
    }
}

fn body(product: &Product) -> ProductBody {
    ProductBody {
        family: product.family.code().to_owned(),
        category: product.category.to_string(),
        brand: product.brand.clone(),
        texts: product
            .texts
            .iter()
            .cloned()
            .map(|Text { language, name, description }| TextBody { language, name, description })
            .collect(),
        prices: product
            .prices
            .iter()
            .map(|price| (price.currency().code().to_owned(), price.amount_string()))
            .collect(),
        attributes: product
            .attributes
            .iter()
            .cloned()
            .map(|Attribute { key, value, unit }| AttributeBody { key, value, unit })
            .collect(),
        options: product
            .options
            .iter()
            .cloned()
            .map(|ProductOption { key, values }| OptionBody { key, values })
            .collect(),
        images: product.images.clone(),
    }
}

fn product_of(sku: Sku, body: ProductBody) -> Result<Product, &'static str> {
    let prices: Result<Vec<_>, _> =
        body.prices.iter().map(|(currency, amount)| PriceList::parse_one(currency, amount)).collect();
    Ok(Product {
        sku,
        family: body.family.parse().map_err(|_| "family")?,
        category: CategoryPath::parse(&body.category).map_err(|_| "category")?,
        brand: body.brand,
        texts: body
            .texts
            .into_iter()
            .map(|TextBody { language, name, description }| Text { language, name, description })
            .collect(),
        prices: prices.and_then(PriceList::new).map_err(|_| "prices")?,
        attributes: body
            .attributes
            .into_iter()
            .map(|AttributeBody { key, value, unit }| Attribute { key, value, unit })
            .collect(),
        options: body.options.into_iter().map(|OptionBody { key, values }| ProductOption { key, values }).collect(),
        images: body.images,
    })
}

#[cfg(test)]
mod tests {
    use common::{Currency, Money};

    use super::*;
    use crate::domain::product::Family;

    fn live() -> Revision {
        let product = Product {
            sku: Sku::parse("A-1").unwrap(),
            family: Family::MadeToOrderFashion,
            category: CategoryPath::parse("fashion/coats").unwrap(),
            brand: "Acme".to_owned(),
            texts: vec![Text { language: "de".to_owned(), name: "Mantel".to_owned(), description: "Warm".to_owned() }],
            prices: PriceList::new([
                Money::from_minor(4990, Currency::Eur).unwrap(),
                Money::from_minor(100, Currency::Jpy).unwrap(),
            ])
            .unwrap(),
            attributes: vec![Attribute {
                key: "length".to_owned(),
                value: "90".to_owned(),
                unit: Some("cm".to_owned()),
            }],
            options: vec![ProductOption { key: "size".to_owned(), values: vec!["S".to_owned(), "M".to_owned()] }],
            images: vec!["/static/products/a-1.svg".to_owned()],
        };
        Revision {
            number: 7,
            state: State::Live(product),
            changed_at: DateTime::from_timestamp_millis(1_700_000_000_123).unwrap(),
            traceparent: Some("t".to_owned()),
        }
    }

    #[test]
    fn a_revision_survives_being_a_document() {
        let gone = Revision { state: State::Deleted(Sku::parse("A-1").unwrap()), traceparent: None, ..live() };
        for revision in [live(), gone] {
            let json = serde_json::to_string(&RevisionDocument::from(&revision)).unwrap();
            let document: RevisionDocument = serde_json::from_str(&json).unwrap();
            assert_eq!(Revision::try_from(document), Ok(revision));
        }
    }

    #[test]
    fn a_document_written_by_others_is_named() {
        let mut document = RevisionDocument::from(&live());
        document.product.as_mut().unwrap().prices.insert("EUR".to_owned(), "0".to_owned());
        let expected = Inconsistent { sku: "A-1".to_owned(), revision: 7, field: "prices" };
        assert_eq!(Revision::try_from(document), Err(expected));
        let contradiction = RevisionDocument { deleted: true, ..RevisionDocument::from(&live()) };
        assert!(Revision::try_from(contradiction).is_err());
    }
}
