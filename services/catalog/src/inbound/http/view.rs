//! Products as the API shows them: one language, one currency, the availability of now.

use chrono::{DateTime, SecondsFormat, Utc};
use common::{Money, Prices};
use serde::Serialize;

use crate::domain::inventory::Level;
use crate::domain::labels::Reader;
use crate::domain::product::{Attribute, Offer, Product, ProductOption};
use crate::usecases::get_product::{ProductPage, VariantPage};

#[derive(Debug, Serialize)]
pub struct ProductView {
    sku: String,
    family: &'static str,
    name: String,
    description: String,
    brand: String,
    category: String,
    /// The category and those above it, the widest first; on the page of a product only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    breadcrumbs: Vec<CrumbView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<MoneyView>,
    /// Whether the price contains the tax, as the law of the region wants it shown.
    price_includes_tax: bool,
    #[serde(flatten)]
    reduction: Option<ReductionView>,
    attributes: Vec<AttributeView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<OptionView>,
    images: Vec<String>,
    availability: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    variants: Vec<VariantView>,
    revision: i64,
}

/// Beside a price that is announced as lower than before: what the law asks to be said.
#[derive(Debug, Serialize)]
struct ReductionView {
    lowest_price_of_30_days: MoneyView,
    /// The first moment after the reduction.
    price_until: String,
}

#[derive(Debug, Serialize)]
struct CrumbView {
    path: String,
    label: String,
}

#[derive(Debug, Serialize)]
struct VariantView {
    sku: String,
    attributes: Vec<AttributeView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<MoneyView>,
    #[serde(flatten)]
    reduction: Option<ReductionView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    availability: &'static str,
}

#[derive(Debug, Serialize)]
pub struct MoneyView {
    amount: String,
    currency: &'static str,
}

#[derive(Debug, Serialize)]
struct AttributeView {
    key: String,
    label: String,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
}

#[derive(Debug, Serialize)]
struct OptionView {
    key: String,
    label: String,
    values: Vec<String>,
}

impl From<Money> for MoneyView {
    fn from(money: Money) -> Self {
        Self { amount: money.amount_string(), currency: money.currency().code() }
    }
}

impl ProductView {
    /// A product of a list: its price of now, without what it cost before.
    pub fn new(
        product: &Product,
        revision: i64,
        availability: Option<Level>,
        reader: Reader<'_>,
        at: DateTime<Utc>,
    ) -> Self {
        let (text, region) = (product.text(&[reader.language]), reader.region);
        Self {
            sku: product.sku.to_string(),
            family: product.family.code(),
            name: text.map(|text| text.name.clone()).unwrap_or_default(),
            description: text.map(|text| text.description.clone()).unwrap_or_default(),
            brand: product.brand.clone(),
            category: product.category.to_string(),
            breadcrumbs: Vec::new(),
            price: product.price_at(region, at).map(|price| price.amount.into()),
            price_includes_tax: region.prices() == Prices::Inclusive,
            reduction: None,
            attributes: product.attributes.iter().map(|attribute| AttributeView::new(attribute, reader)).collect(),
            options: product.options.iter().map(|option| OptionView::new(option, reader)).collect(),
            images: product.images.clone(),
            availability: availability_code(availability),
            variants: Vec::new(),
            revision,
        }
    }

    /// A product on its own page; `product` is that of the page.
    pub fn of_page(product: &Product, page: &ProductPage, reader: Reader<'_>) -> Self {
        let plain = Self::new(product, page.revision.number, page.availability, reader, page.at);
        let variants = page.variants.iter().map(|variant| VariantView::new(product, variant, reader));
        let crumb = |path: &str| CrumbView { path: path.to_owned(), label: reader.category(path) };
        Self {
            breadcrumbs: product.category.lineage().map(crumb).collect(),
            reduction: ReductionView::of(Some(page.offer)),
            variants: variants.collect(),
            ..plain
        }
    }
}

impl ReductionView {
    fn of(offer: Option<Offer>) -> Option<Self> {
        let offer = offer?;
        Some(Self {
            lowest_price_of_30_days: offer.reduced_from?.into(),
            price_until: offer.price.valid.until()?.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        })
    }
}

impl VariantView {
    fn new(product: &Product, page: &VariantPage, reader: Reader<'_>) -> Self {
        let variant = product.variant(&page.sku);
        let attributes = variant.iter().flat_map(|variant| &variant.attributes);
        Self {
            sku: page.sku.to_string(),
            attributes: attributes.map(|attribute| AttributeView::new(attribute, reader)).collect(),
            price: page.offer.map(|offer| offer.price.amount.into()),
            reduction: ReductionView::of(page.offer),
            images: variant.map(|variant| variant.images.clone()).unwrap_or_default(),
            availability: availability_code(page.availability),
        }
    }
}

impl AttributeView {
    fn new(attribute: &Attribute, reader: Reader<'_>) -> Self {
        Self {
            key: attribute.key.clone(),
            label: reader.attribute(&attribute.key),
            value: attribute.value.clone(),
            unit: attribute.unit.clone(),
        }
    }
}

impl OptionView {
    fn new(option: &ProductOption, reader: Reader<'_>) -> Self {
        Self { key: option.key.clone(), label: reader.attribute(&option.key), values: option.values.clone() }
    }
}

/// `unknown` when the stock could not be asked: the order will tell.
pub fn availability_code(level: Option<Level>) -> &'static str {
    level.map_or("unknown", Level::code)
}
