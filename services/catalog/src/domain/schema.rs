//! What the attributes of a family are: their types, whether they must be there, and whether they tell variants apart.
//! A family has several versions of its schema at once: a product names the one it was checked against and keeps it until it is
//! written anew. Decided here: what is acceptable under a schema, and how a product goes over to a newer one.
//!
//! Version 1 of each family is open: it declares nothing and takes whatever keeps the general rules (`draft`).

use std::collections::{BTreeMap, BTreeSet};

use common::FieldProblem;

use super::product::{Attribute, Family, Product, is_name};

/// What the values of an attribute are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Decimal digits with a point; `unit` is the one unit it is given in.
    Number {
        unit: Option<String>,
    },
    /// `yes` or `no`.
    Flag,
    /// One of these.
    OneOf(Vec<String>),
}

/// One attribute of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub key: String,
    pub kind: Kind,
    pub required: bool,
    /// Told of each variant, not of the product. A product without variants tells it itself.
    pub per_variant: bool,
    /// The key it had in earlier versions.
    pub formerly: Option<String>,
    /// What a product gets that has none when it goes over.
    pub default: Option<String>,
}

/// One version of a family's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    pub family: Family,
    /// From 1, without gaps.
    pub version: u32,
    pub attributes: Vec<Declared>,
    /// Whether attributes that are not declared are taken too.
    pub open: bool,
}

/// Attributes of one schema: as many as a product has.
const MOST_ATTRIBUTES: usize = 100;
/// Values of one enumeration: all the countries of the world fit.
const MOST_VALUES: usize = 300;
/// As for products.
const MAX_KEY: usize = 64;
const MAX_VALUE: usize = 500;

impl Schema {
    /// Declares nothing.
    pub fn open(family: Family) -> Self {
        Self { family, version: 1, attributes: Vec::new(), open: true }
    }

    /// The schema, if it does not contradict itself.
    ///
    /// # Errors
    /// All faults, with pointers into the schema.
    pub fn check(self) -> Result<Self, Vec<FieldProblem>> {
        let mut faults = Vec::new();
        let mut fault = |pointer: String, message: &str| faults.push(FieldProblem::new(pointer, "invalid", message));
        if self.attributes.len() > MOST_ATTRIBUTES {
            fault("/attributes".to_owned(), "a schema has at most 100 attributes");
        }
        let mut known = BTreeSet::new();
        for (place, declared) in self.attributes.iter().take(MOST_ATTRIBUTES).enumerate() {
            let at = |field: &str| format!("/attributes/{place}/{field}");
            for (field, key) in [("key", Some(&declared.key)), ("formerly", declared.formerly.as_ref())] {
                if key.is_some_and(|key| !is_name(key, MAX_KEY)) {
                    fault(at(field), "a key is 1 to 64 lower-case letters, digits, hyphens or underscores");
                } else if key.is_some_and(|key| !known.insert(key.clone())) {
                    fault(at(field), "this key occurs twice");
                }
            }
            if let Kind::OneOf(values) = &declared.kind {
                let plain = |value: &String| !value.is_empty() && value.chars().count() <= MAX_VALUE;
                let distinct: BTreeSet<_> = values.iter().collect();
                if values.is_empty()
                    || values.len() > MOST_VALUES
                    || distinct.len() < values.len()
                    || !values.iter().all(plain)
                {
                    fault(at("values"), "an enumeration has 1 to 300 different values of 1 to 500 characters");
                }
            }
            if declared.default.as_ref().is_some_and(|value| declared.kind.refuses(value).is_some()) {
                fault(at("default"), "is no value of this attribute");
            }
        }
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }

    /// What of `product` this schema does not accept, with pointers below `place`.
    pub fn faults(&self, product: &Product, place: &str) -> Vec<FieldProblem> {
        let declared: BTreeMap<&str, &Declared> = self.attributes.iter().map(|own| (own.key.as_str(), own)).collect();
        let has_variants = !product.variants.is_empty();
        let mut faults = Vec::new();
        self.attribute_faults(
            &declared,
            &product.attributes,
            place,
            |own| !(own.per_variant && has_variants),
            &mut faults,
        );
        for (at, variant) in product.variants.iter().enumerate() {
            let place = format!("{place}/variants/{at}");
            self.attribute_faults(&declared, &variant.attributes, &place, |own| own.per_variant, &mut faults);
        }
        faults
    }

    fn attribute_faults(
        &self,
        declared: &BTreeMap<&str, &Declared>,
        attributes: &[Attribute],
        place: &str,
        belongs: impl Fn(&Declared) -> bool,
        faults: &mut Vec<FieldProblem>,
    ) {
        for (at, attribute) in attributes.iter().enumerate() {
            let mut fault = |field: &str, message: &str| {
                faults.push(FieldProblem::new(format!("{place}/attributes/{at}/{field}"), "invalid", message));
            };
            match declared.get(attribute.key.as_str()) {
                None if self.open => {}
                None => fault("key", "the family has no such attribute"),
                Some(own) if !belongs(own) => fault("key", "is told of the product or of its variants, not here"),
                Some(own) => {
                    if let Some(message) = own.kind.refuses(&attribute.value) {
                        fault("value", message);
                    }
                    let unit =
                        if let Kind::Number { unit } = &own.kind { unit.as_deref() } else { attribute.unit.as_deref() };
                    if attribute.unit.as_deref() != unit {
                        fault("unit", "the family gives this attribute in another unit");
                    }
                }
            }
        }
        for own in self.attributes.iter().filter(|own| own.required && belongs(own)) {
            if !attributes.iter().any(|attribute| attribute.key == own.key) {
                let message = format!("the attribute {} is required", own.key);
                faults.push(FieldProblem::new(format!("{place}/attributes"), "missing", message));
            }
        }
    }

    /// The product under this schema: renamed keys, values in the one spelling, defaults for what is missing. It comes from the
    /// version before; from an older one it goes over by [`Schemas::adopt`].
    ///
    /// # Errors
    /// What cannot be brought over; the product stays under the schema it has.
    pub fn adopt(&self, product: &Product) -> Result<Product, Vec<FieldProblem>> {
        let mut next = Product { schema: self.version, ..product.clone() };
        self.each(&mut next, |own, attributes| own.bring_over(attributes));
        self.each(&mut next, Declared::fill_in);
        let faults = self.faults(&next, "");
        if faults.is_empty() { Ok(next) } else { Err(faults) }
    }

    /// Does something for each declared attribute with those attributes that it stands among.
    fn each(&self, product: &mut Product, act: impl Fn(&Declared, &mut Vec<Attribute>)) {
        let has_variants = !product.variants.is_empty();
        for own in &self.attributes {
            if !(own.per_variant && has_variants) {
                act(own, &mut product.attributes);
            }
            if own.per_variant {
                product.variants.iter_mut().for_each(|variant| act(own, &mut variant.attributes));
            }
        }
    }
}

impl Declared {
    /// The key of now, and values in the one spelling.
    fn bring_over(&self, attributes: &mut [Attribute]) {
        let has_it = attributes.iter().any(|attribute| attribute.key == self.key);
        for attribute in attributes.iter_mut() {
            if !has_it && Some(&attribute.key) == self.formerly.as_ref() {
                attribute.key.clone_from(&self.key);
            }
            if attribute.key == self.key {
                self.kind.normalise(attribute);
            }
        }
    }

    fn fill_in(&self, attributes: &mut Vec<Attribute>) {
        if let Some(default) = self.default.as_ref().filter(|_| !attributes.iter().any(|own| own.key == self.key)) {
            let unit = if let Kind::Number { unit } = &self.kind { unit.clone() } else { None };
            attributes.push(Attribute { key: self.key.clone(), value: default.clone(), unit });
        }
    }
}

impl Kind {
    /// Why a value is none of this kind.
    fn refuses(&self, value: &str) -> Option<&'static str> {
        let fits = match self {
            Self::Text => true,
            Self::Number { .. } => is_number(value),
            Self::Flag => value == "yes" || value == "no",
            Self::OneOf(values) => values.iter().any(|own| own == value),
        };
        match self {
            _ if fits => None,
            Self::Text => None,
            Self::Number { .. } => Some("this attribute is a decimal number"),
            Self::Flag => Some("this attribute is yes or no"),
            Self::OneOf(_) => Some("is none of the values of this attribute"),
        }
    }

    /// One spelling for what means the same. What it cannot read it leaves, to be refused.
    fn normalise(&self, attribute: &mut Attribute) {
        match self {
            Self::Text => {}
            Self::Number { unit } => {
                let plain = attribute.value.trim().replace(',', ".");
                // "12.5 cm" of an earlier version, where the unit stood in the text.
                let bare = unit
                    .as_ref()
                    .and_then(|unit| plain.strip_suffix(unit.as_str()))
                    .map_or(plain.as_str(), str::trim_end);
                if is_number(bare) {
                    let had_unit = bare.len() < plain.len();
                    bare.clone_into(&mut attribute.value);
                    if had_unit || attribute.unit.is_none() {
                        attribute.unit.clone_from(unit);
                    }
                }
            }
            Self::Flag => {
                let said = match attribute.value.trim().to_ascii_lowercase().as_str() {
                    "yes" | "true" | "1" | "y" => Some("yes"),
                    "no" | "false" | "0" | "n" => Some("no"),
                    _ => None,
                };
                if let Some(said) = said {
                    said.clone_into(&mut attribute.value);
                }
            }
            Self::OneOf(values) => {
                let same = |own: &&String| own.to_lowercase() == attribute.value.trim().to_lowercase();
                if let Some(own) = values.iter().find(same) {
                    attribute.value.clone_from(own);
                }
            }
        }
    }
}

/// Digits with at most one point between them, and a minus before them: what everybody reads in the same way.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(whole) && are_digits(fraction)
}

/// Every version of every family, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schemas(BTreeMap<&'static str, Vec<Schema>>);

impl Schemas {
    /// All versions that were written; version 1 of each family is always there.
    pub fn of(written: impl IntoIterator<Item = Schema>) -> Self {
        let mut all: BTreeMap<&'static str, Vec<Schema>> = BTreeMap::new();
        for schema in written {
            all.entry(schema.family.code()).or_default().push(schema);
        }
        all.values_mut().for_each(|versions| versions.sort_by_key(|schema| schema.version));
        Self(all)
    }

    /// The versions of a family, the oldest first; never empty.
    pub fn versions(&self, family: Family) -> Vec<Schema> {
        let written = self.0.get(family.code()).map(Vec::as_slice).unwrap_or_default();
        std::iter::once(Schema::open(family)).chain(written.iter().filter(|own| own.version > 1).cloned()).collect()
    }

    pub fn newest(&self, family: Family) -> Schema {
        let written = self.0.get(family.code()).and_then(|versions| versions.last());
        written.cloned().unwrap_or_else(|| Schema::open(family))
    }

    /// The product under the newest schema of its family, where it can go over; else `None`. It goes through every version
    /// since its own, since each says only what a key was called in the one before. What one of them gave by default or would
    /// have refused does not matter: nobody asked the product while that version was the newest.
    pub fn adopt(&self, product: &Product) -> Option<Product> {
        let versions = self.0.get(product.family.code())?;
        let (newest, earlier) = versions.split_last()?;
        if newest.version <= product.schema {
            return None;
        }
        let mut carried = product.clone();
        for between in earlier.iter().filter(|between| between.version > product.schema) {
            between.each(&mut carried, |own, attributes| own.bring_over(attributes));
        }
        newest.adopt(&carried).ok()
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
