//! Names of categories and attributes in the languages of the shop, as staff has written them change by change. Decided here: what a
//! name may be, which of them a reader sees, and what the facets that every shop has are called. Not decided here: what a key is in
//! words (`product::label_of`), which stands wherever nobody has written a name.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};
use common::{FieldProblem, Region, UserId};

use super::plain_text;
use super::product::{CategoryPath, is_name, label_of};

/// Categories and attributes that have names at a time. Every process that serves has all of them in memory: with the longest names in
/// three languages that is five megabytes, and no shop we know has half as many.
pub const MOST_NAMED: usize = 5_000;
/// Longest name, in characters: it has to fit beside a box to tick.
const MAX_NAME: usize = 80;
/// As for the attributes of products.
const MAX_KEY: usize = 64;
/// Longest path of a category that gets a name: an address and the record of acts take no longer one.
const MAX_PATH: usize = 256;

/// What the facets of every shop are called, in each language of it.
const BUILT_IN: &[(&str, [(&str, &str); 3])] = &[
    ("category", [("de", "Kategorie"), ("en", "Category"), ("fr", "Catégorie")]),
    ("brand", [("de", "Marke"), ("en", "Brand"), ("fr", "Marque")]),
    ("family", [("de", "Produktart"), ("en", "Product type"), ("fr", "Type de produit")]),
    ("price", [("de", "Preis"), ("en", "Price"), ("fr", "Prix")]),
    ("availability", [("de", "Verfügbarkeit"), ("en", "Availability"), ("fr", "Disponibilité")]),
];

/// What can have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nameable {
    Category,
    Attribute,
}

/// What has a name: `/audio/headphones` is a category, `screen_size` an attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelKey(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither the path of a category nor the key of an attribute")]
pub struct InvalidKey;

impl Nameable {
    /// The key of the category with this path, or of the attribute with this key.
    ///
    /// # Errors
    /// [`InvalidKey`] for what no product can have.
    pub fn key(self, text: &str) -> Result<LabelKey, InvalidKey> {
        match self {
            Self::Category if text.len() <= MAX_PATH => {
                CategoryPath::parse(text).map(|path| LabelKey::of_category(path.as_str())).map_err(|_| InvalidKey)
            }
            Self::Attribute if is_name(text, MAX_KEY) => Ok(LabelKey(text.to_owned())),
            Self::Category | Self::Attribute => Err(InvalidKey),
        }
    }
}

impl LabelKey {
    /// A key as the log has it.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        match text.strip_prefix('/') {
            Some(path) => Nameable::Category.key(path),
            None => Nameable::Attribute.key(text),
        }
    }

    fn of_category(path: &str) -> Self {
        Self(format!("/{path}"))
    }

    pub fn kind(&self) -> Nameable {
        if self.0.starts_with('/') { Nameable::Category } else { Nameable::Attribute }
    }

    /// As the log has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of the category, or the key of the attribute.
    pub fn bare(&self) -> &str {
        self.0.strip_prefix('/').unwrap_or(&self.0)
    }
}

impl Borrow<str> for LabelKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabelKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The languages that names are written in: those of all regions (BCP 47 primary tags).
pub fn languages() -> BTreeSet<&'static str> {
    Region::ALL.iter().flat_map(|region| region.languages()).copied().collect()
}

/// The names of one thing, by language; none of one that has lost its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// Names as staff writes them, by language.
    ///
    /// # Errors
    /// Everything that is wrong with them, with its place below `/labels`.
    pub fn check(said: BTreeMap<String, String>) -> Result<Self, Vec<FieldProblem>> {
        let known = languages();
        let mut faults = Vec::new();
        if said.is_empty() {
            faults.push(FieldProblem::new("/labels", "invalid", "at least one name"));
        }
        if said.keys().any(|language| !known.contains(language.as_str())) {
            let list: Vec<&str> = known.iter().copied().collect();
            let message = format!("names are in the languages of the shop: {}", list.join(", "));
            faults.push(FieldProblem::new("/labels", "invalid", message));
        }
        for language in &known {
            if let Some(fault) = said.get(*language).and_then(|name| fault(name)) {
                faults.push(FieldProblem::new(format!("/labels/{language}"), "invalid", fault));
            }
        }
        if faults.is_empty() { Ok(Self(said)) } else { Err(faults) }
    }

    /// Names as a store kept them, also in a language that the shop has no more; `None` if one of them is no name.
    pub fn kept(names: BTreeMap<String, String>) -> Option<Self> {
        names.values().all(|name| fault(name).is_none()).then_some(Self(names))
    }

    pub fn of(&self, language: &str) -> Option<&str> {
        self.0.get(language).map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Languages and names, by language.
    pub fn all(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

/// What is wrong with a name.
fn fault(name: &str) -> Option<String> {
    let is_one_line = name.trim() == name && !name.chars().any(char::is_control);
    if !is_one_line || !(1..=MAX_NAME).contains(&name.chars().count()) {
        Some(format!("1 to {MAX_NAME} characters on one line, without spaces around them"))
    } else if name.contains(['<', '>']) {
        Some("a name is plain text, without angle brackets".to_owned())
    } else {
        plain_text::fault(name).map(str::to_owned)
    }
}

/// One change: from then on these are the names, and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRevision {
    /// Its place in the log, from 1 without gaps.
    pub number: i64,
    pub key: LabelKey,
    pub names: Names,
    pub changed_at: DateTime<Utc>,
    pub changed_by: UserId,
}

/// The names that there are, as the numbered changes have made them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelBook {
    number: i64,
    named: BTreeMap<LabelKey, LabelRevision>,
}

/// A change that does not follow the ones that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("label change {found} does not follow {known}")]
pub struct Gap {
    known: i64,
    found: i64,
}

/// What becomes of wanted names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Unchanged { revision: i64 },
    Next { number: i64, created: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepProblem {
    #[error("it has no names")]
    NotThere,
    #[error("at most {MOST_NAMED} categories and attributes have names")]
    TooMany,
}

impl LabelBook {
    /// The number of the last change that is in it.
    pub fn number(&self) -> i64 {
        self.number
    }

    /// Takes the next change in.
    ///
    /// # Errors
    /// [`Gap`] for any other; nothing has changed.
    pub fn follow(&mut self, revision: LabelRevision) -> Result<(), Gap> {
        if revision.number != self.number + 1 {
            return Err(Gap { known: self.number, found: revision.number });
        }
        self.number = revision.number;
        if revision.names.is_empty() {
            self.named.remove(&revision.key);
        } else {
            self.named.insert(revision.key.clone(), revision);
        }
        Ok(())
    }

    /// The change that gave `key` the names it has.
    pub fn find(&self, key: &LabelKey) -> Option<&LabelRevision> {
        self.named.get(key)
    }

    /// Everything of this kind that has names, by key.
    pub fn all(&self, kind: Nameable) -> impl Iterator<Item = &LabelRevision> {
        self.named.values().filter(move |revision| revision.key.kind() == kind)
    }

    /// The step to these names; to none: it loses those it has.
    ///
    /// # Errors
    /// [`StepProblem`].
    pub fn step_to(&self, key: &LabelKey, names: &Names) -> Result<Step, StepProblem> {
        match self.named.get(key) {
            None if names.is_empty() => Err(StepProblem::NotThere),
            None if self.named.len() >= MOST_NAMED => Err(StepProblem::TooMany),
            Some(known) if known.names == *names => Ok(Step::Unchanged { revision: known.number }),
            known => Ok(Step::Next { number: self.number + 1, created: known.is_none() }),
        }
    }
}

/// Somebody who reads the shop: what things are called for them, by the language they asked for, else by the region's first.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    pub language: &'a str,
    pub region: Region,
    pub book: &'a LabelBook,
}

impl Reader<'_> {
    /// The category with this path; `audio/headphones` without a name reads `Headphones`.
    pub fn category(&self, path: &str) -> String {
        let last = path.rsplit('/').next().unwrap_or(path);
        self.written(LabelKey::of_category(path).as_str()).unwrap_or_else(|| label_of(last))
    }

    /// An attribute or option; `screen_size` without a name reads `Screen size`.
    pub fn attribute(&self, key: &str) -> String {
        self.written(key).unwrap_or_else(|| label_of(key))
    }

    /// A facet of a search: one that every shop has, or `attr.` and the key of an attribute.
    pub fn facet(&self, key: &str) -> String {
        if let Some(key) = key.strip_prefix("attr.") {
            return self.attribute(key);
        }
        let names = BUILT_IN.iter().find(|(facet, _)| *facet == key).map(|(_, names)| names);
        let of =
            |language: &str| names?.iter().find(|(known, _)| *known == language).map(|(_, name)| (*name).to_owned());
        self.languages().find_map(of).unwrap_or_else(|| label_of(key))
    }

    fn written(&self, key: &str) -> Option<String> {
        let names = &self.book.named.get(key)?.names;
        self.languages().find_map(|language| names.of(language)).map(str::to_owned)
    }

    fn languages(&self) -> impl Iterator<Item = &str> {
        [self.language].into_iter().chain(self.region.languages().first().copied())
    }
}

#[cfg(test)]
#[path = "labels_tests.rs"]
mod tests;
