//! The demo catalog, made from the word tables: the same products with the same texts and prices every time, on every machine.
//!
//! A SKU is made of what the product is, so that adding words adds products and never renames any.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::catalog_data::Said;
use crate::catalog_data::digital::{PERIODS, PLANS, Period, Plan, SERVICES, Service};
use crate::catalog_data::fashion::{COLOURS, DESIGNS, FABRICS, Fabric, GARMENTS, Garment, HOUSES, MAKING};
use crate::catalog_data::gadgets::{GADGETS, Gadget, LEVELS, MAKERS, PROMISES, SERIES};

/// Designs per garment and fabric.
const DESIGNS_PER_FABRIC: usize = 4;

/// A product as the batch endpoint takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Product {
    pub sku: String,
    pub family: &'static str,
    pub category: String,
    pub brand: String,
    pub texts: BTreeMap<&'static str, Text>,
    /// Currency to amount.
    pub prices: BTreeMap<&'static str, String>,
    pub attributes: Vec<Attribute>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Choice>,
    /// Always empty: we have no pictures, and a link to somebody else's would be a call out of the region.
    pub images: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Text {
    pub name: String,
    pub description: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attribute {
    pub key: String,
    pub value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    pub key: &'static str,
    pub values: Vec<String>,
}

/// How a product is supplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supply {
    MadeToOrder,
    /// Units with serial numbers, this many in the first receipt.
    Serialised(u32),
    /// Units without numbers.
    Counted(u32),
    Unlimited,
}

/// A product and its supply.
#[derive(Clone, Debug)]
pub struct Offer {
    pub product: Product,
    pub supply: Supply,
}

/// The whole demo catalog, in SKU order.
pub fn catalog() -> Vec<Offer> {
    let mut offers = Vec::new();
    for garment in GARMENTS {
        for (place, code) in garment.fabrics.iter().enumerate() {
            // The tables name each other by code; a test holds that every code is there.
            let Some(fabric) = FABRICS.iter().find(|fabric| fabric.code == *code) else { continue };
            let first = spread(&format!("{}-{}", garment.code, fabric.code));
            for number in 0..DESIGNS_PER_FABRIC {
                // Five is prime to the number of designs, so the four of one fabric differ.
                let design = DESIGNS[(first + place + number * 5) % DESIGNS.len()];
                offers.push(fashion(garment, fabric, design));
            }
        }
    }
    for gadget in GADGETS {
        for (series, name) in SERIES.iter().enumerate() {
            offers.extend(LEVELS.iter().enumerate().map(|(level, _)| gadgets(gadget, series, name, level)));
        }
    }
    for service in SERVICES {
        for plan in PLANS {
            offers.extend(PERIODS.iter().map(|period| subscription(service, plan, period)));
        }
    }
    offers.sort_by(|one, other| one.product.sku.cmp(&other.product.sku));
    offers
}

fn fashion(garment: &Garment, fabric: &Fabric, design: &str) -> Offer {
    let sku = format!("FA-{}-{}-{}", garment.code, fabric.code.to_uppercase(), design.to_uppercase());
    let seed = spread(&sku);
    let weeks = 2 + seed % 5;
    let making = MAKING[seed % MAKING.len()];
    let time = |weeks: usize| {
        [
            format!("Made for you in about {weeks} weeks."),
            format!("Für Sie gefertigt in etwa {weeks} Wochen."),
            format!("Délai de fabrication : environ {weeks} semaines."),
        ]
    };
    let [time_en, time_de, time_fr] = time(weeks);
    let noun = garment.noun;
    let texts = BTreeMap::from([
        (
            "en",
            text(
                format!("{design} {} {}", noun.en, fabric.of.en),
                [garment.about.en, fabric.about.en, making.en, &time_en],
            ),
        ),
        (
            "de",
            text(
                format!("{} {design} {}", noun.de, fabric.of.de),
                [garment.about.de, fabric.about.de, making.de, &time_de],
            ),
        ),
        (
            "fr",
            text(
                format!("{} {design} {}", noun.fr, fabric.of.fr),
                [garment.about.fr, fabric.about.fr, making.fr, &time_fr],
            ),
        ),
    ]);
    // Colours of a design lie five apart in the list, so that neighbours in the shop differ.
    let colours = (0..5).map(|number| COLOURS[(seed + number * 5) % COLOURS.len()].to_owned());
    let others = garment.fabrics.iter().filter(|other| **other != fabric.code).take(2).map(|other| (*other).to_owned());
    let options = vec![
        Choice { key: "size", values: garment.sizes.iter().map(|size| (*size).to_owned()).collect() },
        Choice { key: "colour", values: colours.collect() },
        Choice { key: "fabric", values: std::iter::once(fabric.code.to_owned()).chain(others).collect() },
    ];
    let attributes = vec![
        plain("material", fabric.code),
        measured("fabric_weight", fabric.grams_per_m2, "g/m²"),
        measured("production_time", u32::try_from(weeks).unwrap_or(2), "weeks"),
        plain("design", design),
    ];
    // A design may cost up to a fifth more.
    let cents = garment.price * fabric.factor * (100 + u32::try_from(seed % 21).unwrap_or(0)) / 100;
    let brand = HOUSES[(seed / 7) % HOUSES.len()].to_owned();
    let category = garment.category.to_owned();
    let product = Product {
        sku,
        family: "made_to_order_fashion",
        category,
        brand,
        texts,
        prices: prices(cents, 100),
        attributes,
        options,
        images: Vec::new(),
    };
    Offer { product, supply: Supply::MadeToOrder }
}

fn gadgets(gadget: &Gadget, series: usize, series_name: &str, level: usize) -> Offer {
    let (level_name, factor) = LEVELS[level];
    let dashed = |name: &str| if name.is_empty() { String::new() } else { format!("-{}", name.to_uppercase()) };
    let sku = format!("GA-{}{}{}", gadget.code, dashed(series_name), dashed(level_name));
    let seed = spread(&sku);
    let maker = MAKERS[spread(&format!("{}-{series_name}", gadget.code)) % MAKERS.len()];
    let spaced = if level_name.is_empty() { String::new() } else { format!(" {level_name}") };
    let model = format!("{maker} {series_name}{spaced}");
    let (first, second) = (seed % PROMISES.len(), (seed / 8) % PROMISES.len());
    // Two different promises; the next one when both dice fall alike.
    let promises = [PROMISES[first], PROMISES[if first == second { (second + 1) % PROMISES.len() } else { second }]];
    let noun = gadget.noun;
    let texts = BTreeMap::from([
        ("en", text(format!("{model} {}", noun.en), [gadget.about.en, promises[0].en, promises[1].en])),
        ("de", text(format!("{model} {}", noun.de), [gadget.about.de, promises[0].de, promises[1].de])),
        ("fr", text(format!("{} {model}", noun.fr), [gadget.about.fr, promises[0].fr, promises[1].fr])),
    ]);
    let growth = u32::try_from(level * 2 + series).unwrap_or(0);
    let mut attributes: Vec<Attribute> = gadget
        .figures
        .iter()
        .map(|figure| measured(figure.key, figure.base + figure.step * growth, figure.unit))
        .collect();
    attributes.push(measured("warranty", 24 + 12 * u32::try_from(level).unwrap_or(0), "months"));
    attributes.push(plain("colour", COLOURS[seed % COLOURS.len()]));
    let cents = gadget.price * factor * (100 + 12 * u32::try_from(series).unwrap_or(0)) / 100;
    let category = gadget.category.to_owned();
    let product = Product {
        sku,
        family: "gadget",
        category,
        brand: maker.to_owned(),
        texts,
        prices: prices(cents, 10),
        attributes,
        options: Vec::new(),
        images: Vec::new(),
    };
    // One gadget in forty is nearly sold out, so that an empty shelf can be seen in the shop.
    let units = if seed % 40 == 7 { 3 } else { 400 + u32::try_from(seed % 600).unwrap_or(0) };
    Offer { product, supply: Supply::Serialised(units) }
}

fn subscription(service: &Service, plan: &Plan, period: &Period) -> Offer {
    let sku = format!("DS-{}-{}-{}", service.code, plan.code, period.code);
    let name = |noun: &str, plan: &str, period: &str| format!("{} {noun}, {plan}, {period}", service.name);
    let parts: [Said; 3] = [service.about, plan.about, period.about];
    let texts = BTreeMap::from([
        ("en", text(name(service.noun.en, plan.name.en, period.name.en), parts.map(|part| part.en))),
        ("de", text(name(service.noun.de, plan.name.de, period.name.de), parts.map(|part| part.de))),
        ("fr", text(name(service.noun.fr, plan.name.fr, period.name.fr), parts.map(|part| part.fr))),
    ]);
    let attributes = vec![
        plain("billing_period", period.value),
        measured("term", period.months, "months"),
        measured("seats", plan.seats, "pcs"),
        plain("plan", &plan.code.to_lowercase()),
    ];
    let cents = service.cents * plan.factor / 100 * period.charged;
    let options = vec![Choice { key: "billing_period", values: vec![period.value.to_owned()] }];
    let category = service.category.to_owned();
    let product = Product {
        sku,
        family: "digital_subscription",
        category,
        brand: service.name.to_owned(),
        texts,
        prices: prices(cents, 10),
        attributes,
        options,
        images: Vec::new(),
    };
    Offer { product, supply: Supply::Unlimited }
}

/// Fixed list prices of the demo, not exchange rates: hundredths of the price in euros.
const PRICE_LISTS: [(&str, u32); 3] = [("EUR", 100), ("USD", 110), ("SGD", 148)];

/// Prices as a shop writes them: rounded up to whole steps of `step` cents.
pub fn prices(euro_cents: u32, step: u32) -> BTreeMap<&'static str, String> {
    let amount = |factor: u32| {
        // Wide enough for any price of the tables or of an import times a factor of two.
        let cents = u64::from(euro_cents) * u64::from(factor) / 100;
        let rounded = cents.div_ceil(u64::from(step)) * u64::from(step);
        format!("{}.{:02}", rounded / 100, rounded % 100)
    };
    PRICE_LISTS.into_iter().map(|(currency, factor)| (currency, amount(factor))).collect()
}

fn text<const N: usize>(name: String, sentences: [&str; N]) -> Text {
    Text { name, description: sentences.join(" ") }
}

fn plain(key: &str, value: &str) -> Attribute {
    Attribute { key: key.to_owned(), value: value.to_owned(), unit: None }
}

fn measured(key: &str, value: u32, unit: &str) -> Attribute {
    Attribute { key: key.to_owned(), value: value.to_string(), unit: Some(unit.to_owned()) }
}

/// A number that depends on the text and on nothing else: the dice of the catalog and of the plan. FNV-1a, then two rounds of
/// mixing, because names here differ in their last letter only and FNV alone would leave that in a few bits. Below 2^31, so that
/// it fits a `usize` anywhere.
pub fn spread(text: &str) -> usize {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    usize::try_from((mixed >> 32) & 0x7fff_ffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use common::{Currency, Money, Sku};

    use super::*;

    #[test]
    fn the_catalog_is_large_enough_and_every_product_is_itself() {
        let offers = catalog();
        assert!(offers.len() >= 600, "{}", offers.len());
        let skus: BTreeSet<&str> = offers.iter().map(|offer| offer.product.sku.as_str()).collect();
        assert_eq!(skus.len(), offers.len(), "each SKU once");
        assert!(skus.iter().all(|sku| Sku::parse(sku).is_ok()));
        for language in ["en", "de", "fr"] {
            let names: BTreeSet<&str> =
                offers.iter().map(|offer| offer.product.texts[language].name.as_str()).collect();
            assert_eq!(names.len(), offers.len(), "each {language} name once");
        }
        for family in ["made_to_order_fashion", "gadget", "digital_subscription"] {
            assert!(offers.iter().filter(|offer| offer.product.family == family).count() >= 80, "{family}");
        }
    }

    #[test]
    fn every_garment_names_fabrics_that_exist() {
        for garment in GARMENTS {
            for code in garment.fabrics {
                assert!(FABRICS.iter().any(|fabric| fabric.code == code), "{} {code}", garment.code);
            }
        }
    }

    #[test]
    fn every_price_is_money_in_three_currencies() {
        for offer in catalog() {
            assert_eq!(offer.product.prices.len(), 3);
            for (currency, amount) in &offer.product.prices {
                let currency: Currency = currency.parse().expect("a currency");
                let money = Money::parse(amount, currency).expect("an amount");
                assert!(money.minor() > 0 && money.minor() < 1_000_000, "{} {amount}", offer.product.sku);
            }
        }
    }

    #[test]
    fn every_text_is_there_and_no_two_languages_are_the_same() {
        for offer in catalog() {
            let texts = &offer.product.texts;
            assert!(
                texts.values().all(|text| text.description.len() > 60 && text.name.len() > 5),
                "{}",
                offer.product.sku
            );
            assert_ne!(texts["en"].description, texts["de"].description);
            assert_ne!(texts["fr"].description, texts["de"].description);
            assert!(
                ["fashion/", "gadgets/", "digital/"]
                    .iter()
                    .any(|department| offer.product.category.starts_with(department))
            );
        }
    }

    /// The same on every machine and every day: whoever changes a table changes this number knowingly.
    #[test]
    fn the_catalog_never_changes_by_itself() {
        let json =
            serde_json::to_string(&catalog().iter().map(|offer| &offer.product).collect::<Vec<_>>()).expect("JSON");
        assert_eq!(catalog().len(), 650);
        assert_eq!(spread(&json), CATALOG_FINGERPRINT);
    }

    const CATALOG_FINGERPRINT: usize = 1_038_660_570;
}
