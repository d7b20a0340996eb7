//! A product as the index keeps it, and back. Only what is searched, filtered, sorted by or shown in lists is in it.

use std::collections::{BTreeMap, HashMap};

use bytes::{BufMut as _, Bytes, BytesMut};
use chrono::{DateTime, Utc};
use common::{Currency, Money, Region, Sku};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::assortment::{Assortment, Window};
use crate::domain::price::{Price, PriceList};
use crate::domain::product::{Attribute, CategoryPath, Product, Revision, Text};
use crate::domain::product_words::{is_wordy, kinds, numbers};
use crate::domain::standing::Standing;

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
    /// Language to the words of the name that tell what the thing is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    kinds: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    numbers: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    description: BTreeMap<String, String>,
    /// Currency to minor units, as they were when this was written; [`Self::turns_at`] says until when that is right.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    prices: BTreeMap<String, i64>,
    /// Prices of the region, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    timeline: Vec<PriceBody>,
    /// Nobody of the region finds it before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown_from: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown_until: Option<i64>,
    /// When this must be written anew although there is no new revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    turns_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    variant_skus: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attrs: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attribute_words: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<AttributeBody>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    /// A grade; written by whoever follows the trends, under the same revision.
    #[serde(default, skip_serializing_if = "is_zero")]
    popularity: i64,
    /// As the public API spells it; absent where nobody could say. Written by whoever follows the stock, under the same revision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    availability: String,
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

#[derive(Debug, Serialize, Deserialize)]
struct PriceBody {
    currency: String,
    minor: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

/// serde hands fields by reference.
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl ProductDocument {
    /// What the index of `region` keeps of `revision`, which stands so, at that moment.
    pub(super) fn of(revision: &Revision, standing: Standing, region: Region, at: DateTime<Utc>) -> Self {
        let sku = revision.sku().to_string();
        let changed_at = revision.changed_at.timestamp_millis();
        let Some(product) = revision.live() else {
            return Self { sku, revision: revision.number, deleted: true, changed_at, ..Self::default() };
        };
        let texts = || product.texts.iter();
        let shown = product.assortment.window(region);
        // Completions take no filter, so what may not be seen must not be in them; `turns_at` is when that changes.
        let is_offered = product.is_offered(region, at);
        // Somebody who looks for size M finds what comes in size M.
        let of_variants = || product.variants.iter().flat_map(|variant| &variant.attributes);
        let attributes = || product.attributes.iter().chain(of_variants());
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
            kinds: texts().map(|text| (text.language.clone(), kinds(&text.name, &text.language))).collect(),
            numbers: numbers(product),
            description: texts()
                .filter(|text| !text.description.is_empty())
                .map(|text| (text.language.clone(), text.description.clone()))
                .collect(),
            prices: prices(&product.prices, region, at),
            timeline: product.prices.timeline(region).into_iter().map(PriceBody::from).collect(),
            shown_from: shown.and_then(|window| window.from()).map(|at| at.timestamp_millis()),
            // A region it is not offered in never shows it.
            shown_until: shown.map_or(Some(0), |window| window.until().map(|at| at.timestamp_millis())),
            turns_at: product.next_turn(region, at).map(|at| at.timestamp_millis()),
            variant_skus: product.variants.iter().map(|variant| variant.sku.to_string()).collect(),
            attrs: distinct(attributes().map(|attribute| format!("{}={}", attribute.key, attribute.value))),
            attribute_words: distinct(
                attributes().map(|attribute| attribute.value.clone()).filter(|value| is_wordy(value)),
            ),
            attributes: product
                .attributes
                .iter()
                .cloned()
                .map(|Attribute { key, value, unit }| AttributeBody { key, value, unit })
                .collect(),
            images: product.images.clone(),
            popularity: standing.popularity.into(),
            availability: standing.level.map(|level| level.code().to_owned()).unwrap_or_default(),
            complete: if is_offered { name.clone() } else { BTreeMap::new() },
            complete_brand: if is_offered { product.brand.clone() } else { String::new() },
            name,
        }
    }

    /// The product as far as the document has it; `None` for a document that is none of ours.
    pub(super) fn into_product(self) -> Option<Product> {
        let description = self.description;
        let texts = self.name.into_iter().map(|(language, name)| {
            let description = description.get(&language).cloned().unwrap_or_default();
            Text { language, name, description }
        });
        let money = |currency: &str, minor: i64| {
            currency.parse::<Currency>().and_then(|currency| Money::from_minor(minor, currency)).ok()
        };
        let listed = self.timeline.iter().filter_map(|body| {
            let moment = |millis: Option<i64>| millis.and_then(DateTime::from_timestamp_millis);
            // Nobody pays it when the product is not shown any more.
            let until = moment(body.until).into_iter().chain(moment(self.shown_until)).min();
            let valid = Window::new(moment(body.from), until).ok()?;
            Some(Price { region: None, amount: money(&body.currency, body.minor)?, valid })
        });
        // A document from before there were timelines.
        let kept = self.prices.iter().filter(|_| self.timeline.is_empty());
        let kept = kept.filter_map(|(currency, minor)| money(currency, *minor)).map(Price::usual);
        Some(Product {
            sku: Sku::parse(&self.sku).ok()?,
            family: self.family.parse().ok()?,
            schema: 1,
            category: CategoryPath::parse(&self.category).ok()?,
            brand: self.brand,
            texts: texts.collect(),
            prices: PriceList::of(listed.chain(kept)).ok()?,
            attributes: self
                .attributes
                .into_iter()
                .map(|AttributeBody { key, value, unit }| Attribute { key, value, unit })
                .collect(),
            options: Vec::new(),
            images: self.images,
            // Who is not to see it does not find it.
            assortment: Assortment::everywhere(),
            variants: Vec::new(),
        })
    }
}

impl From<Price> for PriceBody {
    fn from(price: Price) -> Self {
        let millis = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp_millis());
        Self {
            currency: price.amount.currency().code().to_owned(),
            minor: price.amount.minor(),
            from: millis(price.valid.from()),
            until: millis(price.valid.until()),
        }
    }
}

/// In the region's currency what is in force, in the others what is usual.
fn prices(list: &PriceList, region: Region, at: DateTime<Utc>) -> BTreeMap<String, i64> {
    let elsewhere = list.usual().filter(|price| price.currency() != region.currency());
    let here = list.at(region, at).map(|price| price.amount);
    elsewhere.chain(here).map(|price| (price.currency().code().to_owned(), price.minor())).collect()
}

/// What is known of the products of a request.
pub(super) type Standings = HashMap<Sku, Standing>;

/// In the order of their first place.
fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut known = std::collections::HashSet::new();
    texts.filter(|text| known.insert(text.clone())).collect()
}

/// Bytes at which a bulk request is sent and the next one begins. Elasticsearch refuses one of 100 MB, and five hundred of the largest
/// products are more.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// The lines of bulk requests. The revision is the version: the index keeps whichever is higher, and a tombstone is a
/// document like any other, so that it outlives everything that might still arrive late.
pub(super) fn bulk(revisions: &[Revision], standings: &Standings, region: Region, at: DateTime<Utc>) -> Vec<Bytes> {
    lines(revisions, standings, region, at, "external")
}

/// How revisions become requests: [`bulk`] or [`renewal`].
pub(super) type Lines = fn(&[Revision], &Standings, Region, DateTime<Utc>) -> Vec<Bytes>;

/// The same for documents that are written again under the revision they have.
pub(super) fn renewal(revisions: &[Revision], standings: &Standings, region: Region, at: DateTime<Utc>) -> Vec<Bytes> {
    lines(revisions, standings, region, at, "external_gte")
}

fn lines(
    revisions: &[Revision],
    standings: &Standings,
    region: Region,
    at: DateTime<Utc>,
    version_type: &str,
) -> Vec<Bytes> {
    let (mut requests, mut lines) = (Vec::new(), BytesMut::with_capacity(revisions.len() * 2048));
    for revision in revisions {
        let action = json!({"index": {"_id": revision.sku().as_str(), "version": revision.number, "version_type": version_type}});
        lines.put_slice(action.to_string().as_bytes());
        lines.put_u8(b'\n');
        // A struct of texts and numbers always becomes JSON.
        let standing = standings.get(revision.sku()).copied().unwrap_or_default();
        lines.put_slice(&serde_json::to_vec(&ProductDocument::of(revision, standing, region, at)).unwrap_or_default());
        lines.put_u8(b'\n');
        if lines.len() >= MOST_BYTES {
            requests.push(lines.split().freeze());
        }
    }
    if !lines.is_empty() {
        requests.push(lines.freeze());
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::product::{Family, State};
    use crate::domain::trail::Trail;

    #[test]
    fn requests_are_cut_between_documents_and_by_their_bytes() {
        let large = Product {
            sku: Sku::parse("A-1").unwrap(),
            family: Family::Gadget,
            schema: 1,
            category: CategoryPath::parse("audio").unwrap(),
            brand: "Acme".to_owned(),
            texts: vec![Text {
                language: "en".to_owned(),
                name: "Radio".to_owned(),
                description: "x".repeat(MOST_BYTES * 2 / 5),
            }],
            prices: PriceList::new([Money::from_minor(100, Currency::Eur).unwrap()]).unwrap(),
            attributes: Vec::new(),
            options: Vec::new(),
            images: Vec::new(),
            assortment: Assortment::everywhere(),
            variants: Vec::new(),
        };
        let revision = |number: i64| Revision {
            number,
            state: State::Live(large.clone()),
            changed_at: DateTime::UNIX_EPOCH,
            traceparent: None,
            author: None,
            trail: Trail::default(),
            moved_from: None,
        };
        let revisions: Vec<Revision> = (1..=4).map(revision).collect();
        let documents = |revisions: &[Revision]| -> Vec<usize> {
            let requests = bulk(revisions, &Standings::new(), Region::Eu, DateTime::UNIX_EPOCH);
            assert!(requests.iter().all(|request| request.ends_with(b"}\n")));
            requests.iter().map(|request| request.split(|byte| *byte == b'\n').count() / 2).collect()
        };
        assert_eq!(documents(&revisions), [3, 1]);
        assert_eq!(documents(&revisions[..3]), [3], "no request without a document");
    }
}
