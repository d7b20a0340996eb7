//! A product as somebody wants it, before it is one. Decided here: every rule a text from outside must keep to become part
//! of a [`Product`]. All faults are told at once, each with a pointer to its place.
//!
//! Images are references that this service never opens; what they may point at is restricted all the same, because others
//! who read the catalog might.

use std::collections::BTreeSet;

use common::{FieldProblem, Sku};

pub use super::draft_sale::{MOST_VARIANTS, OfferedDraft, PriceDraft, VariantDraft};
use super::draft_size::{self, MOST_BYTES};
use super::plain_text;
use super::product::{Attribute, CategoryPath, InvalidProduct, Product, ProductOption, Text, is_name};

/// Longest brand name, in characters.
const MAX_BRAND: usize = 100;
/// Longest product name, in characters.
const MAX_NAME: usize = 300;
/// Longest description, in characters: ten times the longest we have seen in real catalogs.
const MAX_DESCRIPTION: usize = 20_000;
/// Languages of one product: more than any region has.
const MAX_LANGUAGES: usize = 10;
/// Attributes of one product; real data sheets stay below.
const MAX_ATTRIBUTES: usize = 100;
/// Longest key, in bytes.
const MAX_KEY: usize = 64;
/// Longest value of an attribute or option, in characters.
const MAX_VALUE: usize = 500;
/// Longest unit, in characters.
const MAX_UNIT: usize = 20;
/// Choices of one product, and values of one choice.
const MAX_OPTIONS: usize = 10;
const MAX_OPTION_VALUES: usize = 50;
const MAX_IMAGES: usize = 20;
/// Longest image reference, in bytes.
const MAX_IMAGE: usize = 500;

/// Texts as they came.
#[derive(Clone, Debug, Default)]
pub struct ProductDraft {
    pub sku: String,
    pub family: String,
    pub category: String,
    pub brand: String,
    pub texts: Vec<TextDraft>,
    /// Currency code and amount.
    pub prices: Vec<(String, String)>,
    /// For one region, or for a time.
    pub special_prices: Vec<PriceDraft>,
    pub attributes: Vec<AttributeDraft>,
    pub options: Vec<(String, Vec<String>)>,
    pub images: Vec<String>,
    /// The regions it is offered in; none named: everywhere.
    pub offered: Vec<OfferedDraft>,
    pub variants: Vec<VariantDraft>,
}

#[derive(Clone, Debug, Default)]
pub struct TextDraft {
    pub language: String,
    pub name: String,
    pub description: String,
}

#[derive(Clone, Debug, Default)]
pub struct AttributeDraft {
    pub key: String,
    pub value: String,
    pub unit: Option<String>,
}

impl From<&Attribute> for AttributeDraft {
    fn from(attribute: &Attribute) -> Self {
        let Attribute { key, value, unit } = attribute.clone();
        Self { key, value, unit }
    }
}

impl ProductDraft {
    /// As somebody would write `product`; checking it gives the same product.
    pub fn of(product: &Product) -> Self {
        let text = |text: &Text| TextDraft {
            language: text.language.clone(),
            name: text.name.clone(),
            description: text.description.clone(),
        };
        let usual = product.prices.usual();
        Self {
            sku: product.sku.to_string(),
            family: product.family.code().to_owned(),
            category: product.category.to_string(),
            brand: product.brand.clone(),
            texts: product.texts.iter().map(text).collect(),
            prices: usual.map(|price| (price.currency().code().to_owned(), price.amount_string())).collect(),
            special_prices: product.prices.special().map(|price| (&price).into()).collect(),
            attributes: product.attributes.iter().map(AttributeDraft::from).collect(),
            options: product.options.iter().map(|option| (option.key.clone(), option.values.clone())).collect(),
            images: product.images.clone(),
            offered: OfferedDraft::of(&product.assortment),
            variants: product.variants.iter().map(VariantDraft::of).collect(),
        }
    }

    /// The product, if every field is acceptable. `place` is the JSON pointer of the draft in the request.
    ///
    /// # Errors
    /// [`InvalidProduct`] with all faults.
    pub fn check(self, place: &str) -> Result<Product, InvalidProduct> {
        let mut faults = Faults { place, list: Vec::new() };
        let bytes = draft_size::bytes(&self);
        let sku = faults.keep("/sku", Sku::parse(&self.sku));
        let family = faults.keep("/family", self.family.parse());
        let category = faults.keep("/category", CategoryPath::parse(&self.category));
        faults.text("/brand", &self.brand, 1, MAX_BRAND);
        let texts = faults.texts(self.texts);
        let prices = faults.price_list("", &self.prices, &self.special_prices);
        let attributes = faults.attributes("", self.attributes);
        let options = faults.options(self.options);
        faults.images("", &self.images);
        let assortment = faults.assortment(&self.offered);
        let variants = faults.variants(&self.sku, self.variants);
        // A field that is too long by itself has said so already.
        if bytes > MOST_BYTES && faults.list.is_empty() {
            faults.add("", "a product has at most 512 KiB of text in all");
        }
        let checked = (sku, family, category, prices, assortment.zip(variants));
        match checked {
            (Some(sku), Some(family), Some(category), Some(prices), Some((assortment, variants)))
                if faults.list.is_empty() =>
            {
                Ok(Product {
                    sku,
                    family,
                    schema: 1,
                    category,
                    brand: self.brand,
                    texts,
                    prices,
                    attributes,
                    options,
                    images: self.images,
                    assortment,
                    variants,
                })
            }
            _ => Err(InvalidProduct(faults.list)),
        }
    }
}

pub(super) struct Faults<'a> {
    place: &'a str,
    list: Vec<FieldProblem>,
}

impl Faults<'_> {
    pub(super) fn add(&mut self, pointer: &str, message: impl Into<String>) {
        self.list.push(FieldProblem::new(format!("{}{pointer}", self.place), "invalid", message));
    }

    pub(super) fn keep<T, E: std::fmt::Display>(&mut self, pointer: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(pointer, error.to_string())).ok()
    }

    /// Length in characters, and nothing invisible that could break a log or a page.
    fn text(&mut self, pointer: &str, text: &str, min: usize, max: usize) {
        let length = text.chars().count();
        if length < min || length > max {
            self.add(pointer, format!("has {min} to {max} characters"));
        } else if let Some(message) = plain_text::fault(text) {
            self.add(pointer, message);
        }
    }

    pub(super) fn count(&mut self, pointer: &str, count: usize, min: usize, max: usize) -> bool {
        let fits = (min..=max).contains(&count);
        if !fits {
            self.add(pointer, format!("has {min} to {max} entries"));
        }
        fits
    }

    fn key(&mut self, pointer: &str, key: &str, known: &mut BTreeSet<String>) {
        if !is_name(key, MAX_KEY) {
            self.add(pointer, "a key is 1 to 64 lower-case letters, digits, hyphens or underscores");
        } else if !known.insert(key.to_owned()) {
            self.add(pointer, "this key occurs twice");
        }
    }

    fn texts(&mut self, drafts: Vec<TextDraft>) -> Vec<Text> {
        if !self.count("/texts", drafts.len(), 1, MAX_LANGUAGES) {
            return Vec::new();
        }
        let mut known = BTreeSet::new();
        let mut texts = Vec::with_capacity(drafts.len());
        for TextDraft { language, name, description } in drafts {
            // A wrong language may be anything, so it does not become part of the pointer.
            if language.len() != 2
                || !language.bytes().all(|byte| byte.is_ascii_lowercase())
                || !known.insert(language.clone())
            {
                self.add("/texts", "a language is two lower-case letters and occurs once");
                continue;
            }
            self.text(&format!("/texts/{language}/name"), &name, 1, MAX_NAME);
            self.text(&format!("/texts/{language}/description"), &description, 0, MAX_DESCRIPTION);
            texts.push(Text { language, name, description });
        }
        texts.sort_by(|one, other| one.language.cmp(&other.language));
        texts
    }

    /// Those of the product, or of one of its variants at `pointer`.
    pub(super) fn attributes(&mut self, pointer: &str, drafts: Vec<AttributeDraft>) -> Vec<Attribute> {
        if !self.count(&format!("{pointer}/attributes"), drafts.len(), 0, MAX_ATTRIBUTES) {
            return Vec::new();
        }
        let mut known = BTreeSet::new();
        let mut attributes = Vec::with_capacity(drafts.len());
        for (index, AttributeDraft { key, value, unit }) in drafts.into_iter().enumerate() {
            self.key(&format!("{pointer}/attributes/{index}/key"), &key, &mut known);
            self.text(&format!("{pointer}/attributes/{index}/value"), &value, 1, MAX_VALUE);
            if let Some(unit) = &unit {
                self.text(&format!("{pointer}/attributes/{index}/unit"), unit, 1, MAX_UNIT);
            }
            attributes.push(Attribute { key, value, unit });
        }
        attributes
    }

    fn options(&mut self, drafts: Vec<(String, Vec<String>)>) -> Vec<ProductOption> {
        if !self.count("/options", drafts.len(), 0, MAX_OPTIONS) {
            return Vec::new();
        }
        let mut known = BTreeSet::new();
        let mut options = Vec::with_capacity(drafts.len());
        for (index, (key, values)) in drafts.into_iter().enumerate() {
            self.key(&format!("/options/{index}/key"), &key, &mut known);
            if self.count(&format!("/options/{index}/values"), values.len(), 1, MAX_OPTION_VALUES) {
                for (at, value) in values.iter().enumerate() {
                    self.text(&format!("/options/{index}/values/{at}"), value, 1, MAX_VALUE);
                }
            }
            options.push(ProductOption { key, values });
        }
        options
    }

    pub(super) fn images(&mut self, pointer: &str, images: &[String]) {
        if !self.count(&format!("{pointer}/images"), images.len(), 0, MAX_IMAGES) {
            return;
        }
        for (index, image) in images.iter().enumerate() {
            if image.len() > MAX_IMAGE || !(is_site_path(image) || is_public_https(image)) {
                self.add(
                    &format!("{pointer}/images/{index}"),
                    "an image is a path below this site or an https URL of a named public host",
                );
            }
        }
    }
}

/// `/static/products/a.svg`: no host, no dots that climb, no query.
fn is_site_path(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-' | b'~');
    text.starts_with('/')
        && !text.starts_with("//")
        && text.bytes().all(known)
        && !text.split('/').any(|part| part == ".." || part == ".")
}

/// `https` to a host name with a dot whose last label is a word: no address in any spelling, no port, no user, no local name.
fn is_public_https(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let label_is_plain = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let labels: Vec<&str> = host.split('.').collect();
    let last_is_word =
        labels.last().is_some_and(|last| last.len() >= 2 && last.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let is_local = labels.last().is_some_and(|last| {
        ["local", "localhost", "internal", "lan", "home", "arpa", "test"].contains(&last.to_ascii_lowercase().as_str())
    });
    let path_is_plain = path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'`' | b'@' | b'#'));
    labels.len() >= 2 && labels.iter().all(|label| label_is_plain(label)) && last_is_word && !is_local && path_is_plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> ProductDraft {
        ProductDraft {
            sku: "FA-1".to_owned(),
            family: "gadget".to_owned(),
            category: "audio/headphones".to_owned(),
            brand: "Acme".to_owned(),
            texts: vec![TextDraft {
                language: "en".to_owned(),
                name: "Headphones".to_owned(),
                description: "Loud.\nVery.".to_owned(),
            }],
            prices: vec![("EUR".to_owned(), "49.90".to_owned())],
            attributes: vec![attribute("colour", "red")],
            options: vec![("size".to_owned(), vec!["S".to_owned()])],
            images: vec!["/static/products/fa-1.svg".to_owned(), "https://images.example.com/a.jpg?w=1".to_owned()],
            ..ProductDraft::default()
        }
    }

    fn attribute(key: &str, value: &str) -> AttributeDraft {
        AttributeDraft { key: key.to_owned(), value: value.to_owned(), unit: None }
    }

    fn pointers(draft: ProductDraft) -> Vec<String> {
        draft
            .check("/products/3")
            .err()
            .map(|error| error.0.into_iter().map(|fault| fault.pointer).collect())
            .unwrap_or_default()
    }

    #[test]
    fn a_well_formed_draft_becomes_a_product() {
        let product = draft().check("").unwrap();
        assert_eq!((product.sku.as_str(), product.prices.iter().count(), product.attributes.len()), ("FA-1", 1, 1));
    }

    #[test]
    fn all_faults_are_told_at_once_and_with_their_place() {
        let broken = ProductDraft { sku: "../".to_owned(), family: "toy".to_owned(), prices: Vec::new(), ..draft() };
        assert_eq!(pointers(broken), ["/products/3/sku", "/products/3/family", "/products/3/prices"]);
    }

    #[test]
    fn attribute_keys_that_could_be_operators_paths_or_magic_are_refused() {
        for key in ["$set", "a.b", "__proto__", "", "A", "a b", "ä", &"a".repeat(65)] {
            let draft = ProductDraft { attributes: vec![attribute(key, "x")], ..draft() };
            assert_eq!(pointers(draft), ["/products/3/attributes/0/key"], "{key:?}");
        }
        let many = (0..1000).map(|number| attribute(&format!("k{number}"), "x")).collect();
        assert_eq!(pointers(ProductDraft { attributes: many, ..draft() }), ["/products/3/attributes"]);
        let twice = vec![attribute("colour", "red"), attribute("colour", "blue")];
        assert_eq!(pointers(ProductDraft { attributes: twice, ..draft() }), ["/products/3/attributes/1/key"]);
    }

    #[test]
    fn prices_that_are_not_exact_positive_amounts_are_refused() {
        for (currency, amount) in
            [("EUR", "0"), ("EUR", "-1"), ("EUR", "1e-9"), ("EUR", "99999999.995"), ("EURO", "1"), ("JPY", "1.5")]
        {
            let draft = ProductDraft { prices: vec![(currency.to_owned(), amount.to_owned())], ..draft() };
            assert_eq!(pointers(draft), [format!("/products/3/prices/{currency}")], "{amount} {currency}");
        }
        let twice = vec![("EUR".to_owned(), "1".to_owned()), ("EUR".to_owned(), "2".to_owned())];
        assert_eq!(pointers(ProductDraft { prices: twice, ..draft() }), ["/products/3/prices"]);
    }

    #[test]
    fn images_point_at_public_names_or_our_own_site_only() {
        let hostile = [
            "http://example.com/a.png",
            "https://169.254.169.254/latest",
            "https://2852039166/",
            "https://[::ffff:a9fe:a9fe]/",
            "https://0x7f.1/",
            "https://localhost/a",
            "https://metadata.google.internal/",
            "https://user@example.com/",
            "https://example.com:8080/",
            "https://example.com/a@b",
            "https://example.com\\@inside/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "//example.com/a",
            "/static/../secret",
            "javascript:alert(1)",
            "",
        ];
        for image in hostile {
            assert_eq!(
                pointers(ProductDraft { images: vec![image.to_owned()], ..draft() }),
                ["/products/3/images/0"],
                "{image}"
            );
        }
    }

    #[test]
    fn texts_have_a_language_a_name_and_bounds() {
        let text = |language: &str, name: &str| TextDraft {
            language: language.to_owned(),
            name: name.to_owned(),
            description: String::new(),
        };
        let table = [
            (vec![], "/products/3/texts"),
            (vec![text("eng", "x")], "/products/3/texts"),
            (vec![text("en", "x"), text("en", "y")], "/products/3/texts"),
            (vec![text("en", "")], "/products/3/texts/en/name"),
            (vec![text("en", "a\0b")], "/products/3/texts/en/name"),
            (vec![text("en", &"x".repeat(301))], "/products/3/texts/en/name"),
        ];
        for (texts, pointer) in table {
            assert_eq!(pointers(ProductDraft { texts: texts.clone(), ..draft() }), [pointer], "{texts:?}");
        }
    }
}
