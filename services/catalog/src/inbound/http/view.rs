//! Products as the API shows them: one language, one currency, the availability of now.

use common::{Money, Region};
use serde::Serialize;

use crate::domain::inventory::Level;
use crate::domain::product::{Product, label_of};

#[derive(Debug, Serialize)]
pub struct ProductView {
    sku: String,
    family: &'static str,
    name: String,
    description: String,
    brand: String,
    category: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<MoneyView>,
    attributes: Vec<AttributeView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<OptionView>,
    images: Vec<String>,
    availability: &'static str,
    revision: i64,
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
    pub fn new(product: &Product, revision: i64, availability: Option<Level>, language: &str, region: Region) -> Self {
        let text = product.text(&[language]);
        let attribute = |attribute: &crate::domain::product::Attribute| AttributeView {
            key: attribute.key.clone(),
            label: attribute.label(),
            value: attribute.value.clone(),
            unit: attribute.unit.clone(),
        };
        let option = |option: &crate::domain::product::ProductOption| OptionView {
            key: option.key.clone(),
            label: label_of(&option.key),
            values: option.values.clone(),
        };
        Self {
            sku: product.sku.to_string(),
            family: product.family.code(),
            name: text.map(|text| text.name.clone()).unwrap_or_default(),
            description: text.map(|text| text.description.clone()).unwrap_or_default(),
            brand: product.brand.clone(),
            category: product.category.to_string(),
            price: product.prices.in_currency(region.currency()).map(MoneyView::from),
            attributes: product.attributes.iter().map(attribute).collect(),
            options: product.options.iter().map(option).collect(),
            images: product.images.clone(),
            availability: availability_code(availability),
            revision,
        }
    }
}

/// `unknown` when the stock could not be asked: the order will tell.
pub fn availability_code(level: Option<Level>) -> &'static str {
    level.map_or("unknown", Level::code)
}
