//! A product of the Icecat dataset, turned into one of ours. Decided here: which of its fields we take, how numbers are written,
//! and into which category a title puts it. Images are not taken: they lie with somebody else.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

use crate::generate::{Attribute, Product, Text, prices};

/// What the shop takes; longer texts are cut, further attributes left out.
const MAX_NAME: usize = 300;
const MAX_VALUE: usize = 500;
const MAX_KEY: usize = 64;
const MAX_BRAND: usize = 100;
const MAX_ATTRIBUTES: usize = 100;

#[derive(Deserialize)]
struct Row {
    id: String,
    title: String,
    short_description: Option<String>,
    supplier: String,
    /// The manufacturer's number.
    #[serde(default)]
    name: String,
    #[serde(default)]
    ean: Vec<String>,
    /// Cents of a dollar.
    price: u64,
    #[serde(default)]
    attributes: serde_json::Map<String, Value>,
}

/// # Errors
/// A line that is no product of the dataset.
pub fn product(line: &[u8]) -> anyhow::Result<Product> {
    let row: Row = serde_json::from_slice(line).context("a line of the dataset is not a product")?;
    let name = cut(&row.title, MAX_NAME);
    let description = row.short_description.as_deref().map(|text| cut(text, 2_000)).filter(|text| !text.is_empty());
    let text = Text { description: description.unwrap_or_else(|| name.clone()), name };
    let brand = cut(&row.supplier, MAX_BRAND);
    // The list price in dollars is a tenth above that in euros, as everywhere in the demo.
    let euro_cents = u32::try_from(row.price * 100 / 110).unwrap_or(u32::MAX).max(1);
    Ok(Product {
        sku: format!("IC-{}", row.id),
        family: "general",
        category: category(&row.title).to_owned(),
        brand: if brand.is_empty() { "Unbranded".to_owned() } else { brand },
        texts: BTreeMap::from([("en", text)]),
        prices: prices(euro_cents, 1),
        attributes: numbers(&row).into_iter().chain(attributes(&row.attributes)).take(MAX_ATTRIBUTES).collect(),
        options: Vec::new(),
        images: Vec::new(),
    })
}

/// The numbers on the box, under the names that the shop's search knows them by.
fn numbers(row: &Row) -> Vec<Attribute> {
    let numbers = [("part_number", cut(&row.name, MAX_VALUE)), ("ean", cut(&row.ean.join(" "), MAX_VALUE))];
    let attribute = |(key, value): (&str, String)| Attribute { key: key.to_owned(), value, unit: None };
    numbers.into_iter().filter(|(_, value)| !value.is_empty()).map(attribute).collect()
}

/// Texts first: they are what people search for. Then switches, then numbers.
fn attributes(fields: &serde_json::Map<String, Value>) -> Vec<Attribute> {
    let mut known: BTreeSet<String> = ["part_number", "ean"].map(str::to_owned).into();
    let mut list = Vec::new();
    for kind in ["attr_t_", "attr_b_", "attr_n_"] {
        for (field, value) in fields {
            let Some(key) = field.strip_prefix(kind).map(key) else { continue };
            let Some(value) = written(value) else { continue };
            if !key.is_empty() && list.len() < MAX_ATTRIBUTES && known.insert(key.clone()) {
                let unit = if kind == "attr_n_" { unit(&key).map(str::to_owned) } else { None };
                list.push(Attribute { key, value, unit });
            }
        }
    }
    list
}

/// Lower-case letters, digits, `_` and `-`, beginning with a letter.
fn key(text: &str) -> String {
    let allowed = text
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '-' { letter.to_ascii_lowercase() } else { '_' });
    let key: String = allowed.collect();
    let key = key.trim_matches(|letter| letter == '_' || letter == '-');
    let begins_well = key.starts_with(|letter: char| letter.is_ascii_lowercase());
    let key = if begins_well || key.is_empty() { key.to_owned() } else { format!("x_{key}") };
    key.chars().take(MAX_KEY).collect()
}

fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(cut(text, MAX_VALUE)).filter(|text| !text.is_empty()),
        Value::Bool(flag) => Some(if *flag { "yes" } else { "no" }.to_owned()),
        // 175.0 is written 175, 27.5 stays.
        Value::Number(number) => number.as_f64().map(|number| number.to_string()),
        _ => None,
    }
}

/// Without markup and control characters, without space around, at most `max` characters: the shop's texts are plain.
fn cut(text: &str, max: usize) -> String {
    let text = without_markup(text);
    let plain: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(max).collect();
    plain.trim().to_owned()
}

/// A space instead of each tag. An angle bracket that begins none stays.
fn without_markup(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find('<') {
        let inside = &rest[begin + 1..];
        let is_tag = inside.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '/' || letter == '!');
        plain.push_str(&rest[..begin]);
        match inside.find('>').filter(|_| is_tag) {
            Some(end) => {
                plain.push(' ');
                rest = &inside[end + 1..];
            }
            None => {
                plain.push('<');
                rest = inside;
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// The dataset names no units; these are its conventions for the most frequent numbers.
fn unit(key: &str) -> Option<&'static str> {
    match key {
        "width" | "height" | "depth" | "package_width" | "package_height" | "package_depth" => Some("mm"),
        "weight" | "package_weight" => Some("g"),
        "cable_length" => Some("m"),
        "display_diagonal" => Some("in"),
        "processor_frequency" => Some("GHz"),
        "internal_memory" | "maximum_internal_memory" => Some("GB"),
        _ => None,
    }
}

/// The first word that occurs in the title decides; what belongs to something stands before the thing itself, because a case for
/// a notebook is a case.
const SHELVES: &[(&str, &str)] = &[
    ("toner", "office/ink-and-toner"),
    ("cartridge", "office/ink-and-toner"),
    ("ribbon", "office/ink-and-toner"),
    ("drum", "office/ink-and-toner"),
    ("label", "office/labels"),
    ("photo paper", "office/paper"),
    ("paper", "office/paper"),
    ("printer cabinet", "office/furniture"),
    ("puzzle", "home/games"),
    ("coffee", "home/kitchen"),
    ("lamp", "home/light"),
    ("patch", "electronics/network-cables"),
    ("networking cable", "electronics/network-cables"),
    ("fiber optic", "electronics/network-cables"),
    ("cord", "electronics/power-cables"),
    ("cable", "electronics/cables"),
    ("adapter", "electronics/adapters"),
    ("adaptor", "electronics/adapters"),
    ("bag", "computers/bags-and-cases"),
    ("backpack", "computers/bags-and-cases"),
    ("case", "computers/bags-and-cases"),
    ("mount", "electronics/mounts"),
    ("bracket", "electronics/mounts"),
    ("rack", "electronics/racks"),
    ("privacy filter", "computers/monitor-accessories"),
    ("screen protector", "electronics/mobile-accessories"),
    ("battery", "electronics/batteries"),
    ("power supply", "electronics/power-supplies"),
    ("uninterruptible", "electronics/ups"),
    ("(ups)", "electronics/ups"),
    ("power distribution", "electronics/power-distribution"),
    ("surge", "electronics/power-distribution"),
    ("outlet", "electronics/power-distribution"),
    ("charger", "electronics/chargers"),
    ("memory card", "computers/memory-cards"),
    ("memory module", "computers/memory"),
    ("ddr", "computers/memory"),
    ("processor", "computers/processors"),
    ("motherboard", "computers/motherboards"),
    ("graphics card", "computers/graphics-cards"),
    ("ssd", "computers/drives"),
    ("hard drive", "computers/drives"),
    ("hdd", "computers/drives"),
    ("usb flash", "computers/drives"),
    ("tape", "computers/storage-media"),
    ("cd-r", "computers/storage-media"),
    ("dvd", "computers/storage-media"),
    ("blu-ray", "computers/storage-media"),
    ("kvm", "computers/kvm"),
    ("switch", "electronics/network-devices"),
    ("router", "electronics/network-devices"),
    ("access point", "electronics/network-devices"),
    ("network card", "electronics/network-devices"),
    ("transceiver", "electronics/network-devices"),
    ("keyboard", "computers/keyboards"),
    ("mouse", "computers/mice"),
    ("headset", "electronics/headphones"),
    ("headphone", "electronics/headphones"),
    ("speaker", "electronics/speakers"),
    ("projector", "electronics/projectors"),
    ("projection", "electronics/projectors"),
    ("camera", "electronics/cameras"),
    ("lens", "electronics/cameras"),
    ("telephone", "electronics/phones"),
    ("phone", "electronics/phones"),
    ("tablet", "computers/tablets"),
    ("monitor", "computers/monitors"),
    ("laserjet", "office/printers"),
    ("multifunctional", "office/printers"),
    ("printer", "office/printers"),
    ("scanner", "office/scanners"),
    ("calculator", "office/calculators"),
    ("notebook", "computers/notebooks"),
    ("server", "computers/servers"),
    ("workstation", "computers/desktops"),
    ("pc", "computers/desktops"),
    ("tv", "electronics/televisions"),
    ("software", "computers/software"),
    ("windows", "computers/software"),
];

fn category(title: &str) -> &'static str {
    let title = format!(" {} ", title.to_lowercase());
    let found = SHELVES.iter().find(|(word, _)| match *word {
        // Short words occur inside others: only as words of their own.
        "pc" | "tv" | "ddr" => title.contains(&format!(" {word} ")),
        word => title.contains(word),
    });
    found.map_or("electronics/other", |(_, category)| *category)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"id":"7","title":"ACME 80 Original\u2028Cyan cartridge","supplier":"ACME","price":11000,
        "name":"AC-80","ean":["4006381333931","0882780756472"],"attributes":
        {"attr_n_width":175.0,"attr_n_depth":27.5,"attr_t_type":"Original","attr_b_colour":true,"attr_t_empty":"","attr_n_type":3.0,
         "attr_t_2nd__name":"x"}}"#;

    #[test]
    fn a_line_becomes_a_product_of_ours() {
        let product = product(LINE.as_bytes()).expect("a product");
        assert_eq!(
            (product.sku.as_str(), product.family, product.category.as_str()),
            ("IC-7", "general", "office/ink-and-toner")
        );
        assert_eq!((product.prices["EUR"].as_str(), product.prices["USD"].as_str()), ("100.00", "110.00"));
        let attribute = |key: &str| {
            product.attributes.iter().find(|attribute| attribute.key == key).map(|found| found.value.as_str())
        };
        assert_eq!((attribute("part_number"), attribute("ean")), (Some("AC-80"), Some("4006381333931 0882780756472")));
        assert_eq!(attribute("width"), Some("175"));
        assert_eq!(attribute("depth"), Some("27.5"));
        assert_eq!(attribute("type"), Some("Original"), "the text, not the number of the same name");
        assert_eq!((attribute("colour"), attribute("empty"), attribute("x_2nd__name")), (Some("yes"), None, Some("x")));
    }

    #[test]
    fn an_accessory_stands_with_its_kind_and_not_with_the_thing_it_is_for() {
        for (title, shelf) in [
            ("Targus 15 inch notebook bag", "computers/bags-and-cases"),
            ("Lenovo notebook 14", "computers/notebooks"),
            ("Category 6 patch cable 3 m", "electronics/network-cables"),
            ("Something else", "electronics/other"),
        ] {
            assert_eq!(category(title), shelf, "{title}");
        }
    }

    #[test]
    fn markup_is_taken_out_and_other_brackets_stay() {
        let described = "<div>Cables <br />< 2 m</div> <img src=\"https://x\">and 3 > 2";
        assert_eq!(without_markup(described), " Cables  < 2 m   and 3 > 2");
    }

    #[test]
    fn what_is_no_product_is_refused() {
        assert!(product(b"{}").is_err() && product(b"not json").is_err());
    }
}
