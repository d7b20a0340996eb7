//! A revision as a document: the same shape in MongoDB and, as JSON, in the cache. Money is text, since neither a double nor
//! a decimal of the wire is the same everywhere.
//!
//! `_id` is `{product, revision}`: the unique key of the collection is what decides who wrote a number first.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::Sku;
use serde::{Deserialize, Serialize};

use super::document_sale::{self, AssortmentBody, RunsBody, SpecialPriceBody, VariantBody};
use crate::domain::product::{Attribute, Author, CategoryPath, Product, ProductOption, Revision, State, Text};

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
    /// The product whose variant this SKU is. Older programs read such a document as a tombstone, which is nearly right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variant_of: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    author: Option<AuthorBody>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    trail: Vec<RunsBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved_from: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct AuthorBody {
    user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Id {
    product: String,
    revision: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ProductBody {
    family: String,
    #[serde(default = "first_schema")]
    schema: i32,
    category: String,
    brand: String,
    texts: Vec<TextBody>,
    /// Currency code to amount.
    prices: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    special_prices: Vec<SpecialPriceBody>,
    #[serde(default)]
    attributes: Vec<AttributeBody>,
    #[serde(default)]
    options: Vec<OptionBody>,
    #[serde(default)]
    images: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    assortment: Vec<AssortmentBody>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    variants: Vec<VariantBody>,
}

/// What products written before there were versions were checked against.
fn first_schema() -> i32 {
    1
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct TextBody {
    language: String,
    name: String,
    description: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AttributeBody {
    key: String,
    value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
}

impl From<Attribute> for AttributeBody {
    fn from(Attribute { key, value, unit }: Attribute) -> Self {
        Self { key, value, unit }
    }
}

impl From<AttributeBody> for Attribute {
    fn from(AttributeBody { key, value, unit }: AttributeBody) -> Self {
        Self { key, value, unit }
    }
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
            // Nobody needs to hear that a SKU is a variant: its product tells.
            published: revision.variant_of().is_some(),
            deleted: revision.live().is_none(),
            changed_at_ms: revision.changed_at.timestamp_millis(),
            traceparent: revision.traceparent.clone(),
            product: revision.live().map(body),
            variant_of: revision.variant_of().map(Sku::to_string),
            author: revision
                .author
                .as_ref()
                .map(|author| AuthorBody { user: author.user.to_string(), reason: author.reason.clone() }),
            trail: document_sale::runs(&revision.trail),
            moved_from: revision.moved_from.as_ref().map(CategoryPath::to_string),
        }
    }
}

impl TryFrom<RevisionDocument> for Revision {
    type Error = Inconsistent;

    fn try_from(document: RevisionDocument) -> Result<Self, Inconsistent> {
        let RevisionDocument { sku, revision, deleted, changed_at_ms, traceparent, product, .. } = document;
        let (variant_of, author, trail) = (document.variant_of, document.author, document.trail);
        let moved_from = document.moved_from;
        let wrong = |field| Inconsistent { sku: sku.clone(), revision, field };
        let key = Sku::parse(&sku).map_err(|_| wrong("sku"))?;
        let state = match (deleted, product, variant_of) {
            (true, None, None) => State::Deleted(key),
            (true, None, Some(product)) => {
                State::VariantOf { sku: key, product: Sku::parse(&product).map_err(|_| wrong("variant_of"))? }
            }
            (false, Some(body), None) => State::Live(product_of(key, body).map_err(wrong)?),
            _ => return Err(wrong("deleted")),
        };
        let changed_at: DateTime<Utc> =
            DateTime::from_timestamp_millis(changed_at_ms).ok_or_else(|| wrong("changed_at_ms"))?;
        let author = author.map(|AuthorBody { user, reason }| user.parse().map(|user| Author { user, reason }));
        let author = author.transpose().map_err(|_| wrong("author"))?;
        let trail = document_sale::trail(trail).map_err(wrong)?;
        let moved_from = moved_from.map(|category| CategoryPath::parse(&category));
        let moved_from = moved_from.transpose().map_err(|_| wrong("moved_from"))?;
        Ok(Revision { number: revision, state, changed_at, traceparent, author, trail, moved_from })
    }
}

fn body(product: &Product) -> ProductBody {
    ProductBody {
        family: product.family.code().to_owned(),
        // A version has few digits.
        schema: i32::try_from(product.schema).unwrap_or(i32::MAX),
        category: product.category.to_string(),
        brand: product.brand.clone(),
        texts: product
            .texts
            .iter()
            .cloned()
            .map(|Text { language, name, description }| TextBody { language, name, description })
            .collect(),
        prices: document_sale::usual(&product.prices),
        special_prices: document_sale::special(&product.prices),
        attributes: product.attributes.iter().cloned().map(AttributeBody::from).collect(),
        options: product
            .options
            .iter()
            .cloned()
            .map(|ProductOption { key, values }| OptionBody { key, values })
            .collect(),
        images: product.images.clone(),
        assortment: document_sale::assortment_body(&product.assortment),
        variants: product.variants.iter().map(VariantBody::from).collect(),
    }
}

fn product_of(sku: Sku, body: ProductBody) -> Result<Product, &'static str> {
    Ok(Product {
        sku,
        family: body.family.parse().map_err(|_| "family")?,
        schema: u32::try_from(body.schema).map_err(|_| "schema")?,
        category: CategoryPath::parse(&body.category).map_err(|_| "category")?,
        brand: body.brand,
        texts: body
            .texts
            .into_iter()
            .map(|TextBody { language, name, description }| Text { language, name, description })
            .collect(),
        prices: document_sale::price_list(&body.prices, &body.special_prices)?,
        attributes: body.attributes.into_iter().map(Attribute::from).collect(),
        options: body.options.into_iter().map(|OptionBody { key, values }| ProductOption { key, values }).collect(),
        images: body.images,
        assortment: document_sale::assortment(&body.assortment)?,
        variants: body.variants.into_iter().map(document_sale::variant).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use common::{Currency, Money, Region, UserId};

    use super::*;
    use crate::domain::assortment::{Assortment, Window};
    use crate::domain::price::{Price, PriceList};
    use crate::domain::product::{Family, Variant};
    use crate::domain::trail::{Runs, Trail};

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(millis).unwrap()
    }

    fn live() -> Revision {
        let euro = |minor| Money::from_minor(minor, Currency::Eur).unwrap();
        let sale = Price {
            region: Some(Region::Eu),
            amount: euro(3990),
            valid: Window::new(Some(at(1_800_000_000_001)), Some(at(1_800_000_000_999))).unwrap(),
        };
        let product = Product {
            sku: Sku::parse("A-1").unwrap(),
            family: Family::MadeToOrderFashion,
            schema: 3,
            category: CategoryPath::parse("fashion/coats").unwrap(),
            brand: "Acme".to_owned(),
            texts: vec![Text { language: "de".to_owned(), name: "Mantel".to_owned(), description: "Warm".to_owned() }],
            prices: PriceList::of([
                Price::usual(euro(4990)),
                Price::usual(Money::from_minor(100, Currency::Jpy).unwrap()),
                sale,
            ])
            .unwrap(),
            attributes: vec![Attribute {
                key: "length".to_owned(),
                value: "90".to_owned(),
                unit: Some("cm".to_owned()),
            }],
            options: vec![ProductOption { key: "size".to_owned(), values: vec!["S".to_owned(), "M".to_owned()] }],
            images: vec!["/static/products/a-1.svg".to_owned()],
            assortment: Assortment::of([(Region::Eu, Window::new(None, Some(at(1_900_000_000_000))).unwrap())]),
            variants: vec![Variant {
                sku: Sku::parse("A-1.xl").unwrap(),
                attributes: vec![Attribute { key: "size".to_owned(), value: "XL".to_owned(), unit: None }],
                prices: Some(PriceList::new([euro(5990)]).unwrap()),
                images: Vec::new(),
            }],
        };
        let runs = Runs::kept(vec![(at(1_690_000_000_000), euro(4500))], Some((at(1_690_000_000_000), euro(4990))));
        Revision {
            number: 7,
            state: State::Live(product),
            changed_at: DateTime::from_timestamp_millis(1_700_000_000_123).unwrap(),
            traceparent: Some("t".to_owned()),
            author: Some(Author { user: UserId::from_uuid(common::ids::random()), reason: Some("new".to_owned()) }),
            trail: Trail::kept([(Sku::parse("A-1.xl").unwrap(), runs)]),
            moved_from: Some(CategoryPath::parse("fashion").unwrap()),
        }
    }

    #[test]
    fn a_revision_survives_being_a_document() {
        let gone = Revision { state: State::Deleted(Sku::parse("A-1").unwrap()), traceparent: None, ..live() };
        let state = State::VariantOf { sku: Sku::parse("A-1.xl").unwrap(), product: Sku::parse("A-1").unwrap() };
        let variant = Revision { state, author: None, trail: Trail::default(), ..live() };
        for revision in [live(), gone, variant] {
            let json = serde_json::to_string(&RevisionDocument::from(&revision)).unwrap();
            let document: RevisionDocument = serde_json::from_str(&json).unwrap();
            assert_eq!(Revision::try_from(document), Ok(revision));
        }
    }

    #[test]
    fn a_document_from_before_there_were_schemas_variants_and_authors_is_read() {
        let json = r#"{"_id": {"product": "A", "revision": 1}, "sku": "A", "revision": 1, "published": true, "deleted": false,
            "changed_at_ms": 5, "product": {"family": "gadget", "category": "a", "brand": "x", "prices": {"EUR": "1.00"},
            "texts": [{"language": "en", "name": "A", "description": ""}]}}"#;
        let revision = Revision::try_from(serde_json::from_str::<RevisionDocument>(json).unwrap()).unwrap();
        let product = revision.live().unwrap();
        assert_eq!((product.schema, product.variants.len(), revision.author.is_some()), (1, 0, false));
        assert!(product.is_offered(Region::Eu, at(0)) && !product.is_offered(Region::Us, at(0)));
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
