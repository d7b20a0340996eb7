//! One product as the stand-in keeps it: what a list shows and what it is chosen by, and nothing else. Descriptions, attributes and
//! further pictures are left to the product's page.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::{Region, Sku};

use super::words::words;
use crate::domain::assortment::{Assortment, Window};
use crate::domain::price::{Price, PriceList};
use crate::domain::product::{CategoryPath, Family, Product, Revision, Text};
use crate::domain::product_words::numbers;

/// Words of one product that it is found by; names of the longest allowed kind have fewer.
const MOST_WORDS: usize = 64;
/// Memory of an entry beside its texts: the struct, its place among the SKUs and the second copy of its SKU there, and what the
/// allocator rounds up.
const ENTRY: usize = 330;
/// Memory of a name beside its letters.
const NAME: usize = 48;
/// Memory of a shared text beside its letters.
const SHARED: usize = 48;
/// Memory of a number that it is found by: once here, once in the tree of all numbers.
const NUMBER: usize = 34;

/// Texts that many products share, each kept once.
#[derive(Debug, Default)]
pub(super) struct Shared {
    texts: HashSet<Arc<str>>,
    bytes: usize,
}

impl Shared {
    pub(super) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        self.texts.insert(text.clone());
        self.bytes += SHARED + text.len();
        text
    }

    /// Forgets `text` when whoever gives it back was the last who had it.
    fn give_back(&mut self, text: Arc<str>) {
        if Arc::strong_count(&text) <= 2 && self.texts.remove(&text) {
            self.bytes -= SHARED + text.len();
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub sku: Sku,
    pub revision: i64,
    pub changed_at: DateTime<Utc>,
    pub family: Family,
    pub category: Arc<str>,
    pub brand: Arc<str>,
    /// Language and name.
    names: Box<[(Arc<str>, Box<str>)]>,
    picture: Option<Box<str>>,
    /// Of the region, one after the other.
    prices: Box<[Price]>,
    shown: Window,
    /// Fingerprints of the numbers it is known by.
    pub numbers: Box<[u64]>,
}

/// The fingerprint of a number. Two that collide show a product too many at worst.
pub(super) fn fingerprint(number: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    number.hash(&mut hasher);
    hasher.finish()
}

impl Entry {
    /// `None`: it is no product, or nobody of `region` ever sees it.
    pub(super) fn of(revision: &Revision, region: Region, shared: &mut Shared) -> Option<Self> {
        let product = revision.live()?;
        let shown = product.assortment.window(region)?;
        let prices = product.prices.timeline(region).into_boxed_slice();
        if prices.is_empty() {
            return None;
        }
        let names = product.texts.iter().map(|text| (shared.share(&text.language), text.name.as_str().into()));
        let names = names.collect();
        Some(Self {
            sku: product.sku.clone(),
            revision: revision.number,
            changed_at: revision.changed_at,
            family: product.family,
            category: shared.share(product.category.as_str()),
            brand: shared.share(&product.brand),
            names,
            picture: product.images.first().map(|image| image.as_str().into()),
            prices,
            shown,
            numbers: numbers(product).iter().map(|number| fingerprint(number)).collect(),
        })
    }

    /// What it costs at that moment, in minor units of the region's currency; `None`: it is not for sale then.
    pub(super) fn minor_at(&self, at: DateTime<Utc>) -> Option<i64> {
        let valid = self.prices.iter().find(|price| price.valid.contains(at)).filter(|_| self.shown.contains(at));
        valid.map(|price| price.amount.minor())
    }

    /// The name in `language`, else in English, else in whatever there is.
    pub(super) fn name(&self, language: &str) -> Option<&str> {
        let named = |wanted: &str| self.names.iter().find(|(known, _)| **known == *wanted);
        named(language).or_else(|| named("en")).or(self.names.first()).map(|(_, name)| &**name)
    }

    /// The words it is found by.
    pub(super) fn words(&self) -> BTreeSet<String> {
        let names = self.names.iter().flat_map(|(_, name)| words(name));
        words(&self.brand).chain(words(&self.category)).chain(names).take(MOST_WORDS).collect()
    }

    /// The product as far as it is kept.
    pub(super) fn product(&self) -> Option<Product> {
        let text = |(language, name): &(Arc<str>, Box<str>)| Text {
            language: language.to_string(),
            name: name.to_string(),
            description: String::new(),
        };
        Some(Product {
            sku: self.sku.clone(),
            family: self.family,
            schema: 1,
            category: CategoryPath::parse(&self.category).ok()?,
            brand: self.brand.to_string(),
            texts: self.names.iter().map(text).collect(),
            prices: PriceList::of(self.prices.iter().copied()).ok()?,
            attributes: Vec::new(),
            options: Vec::new(),
            images: self.picture.iter().map(ToString::to_string).collect(),
            // Who is not to see it does not find it.
            assortment: Assortment::everywhere(),
            variants: Vec::new(),
        })
    }

    /// What it takes of the memory, without its words.
    pub(super) fn bytes(&self) -> usize {
        let names: usize = self.names.iter().map(|(_, name)| NAME + name.len()).sum();
        let picture = self.picture.as_ref().map_or(0, |picture| 16 + picture.len());
        let prices = size_of_val(&*self.prices);
        ENTRY + 2 * self.sku.as_str().len() + names + picture + prices + NUMBER * self.numbers.len()
    }

    /// Gives back what it shares.
    pub(super) fn leave(self, shared: &mut Shared) {
        let Self { names, category, brand, .. } = self;
        let languages = names.into_iter().map(|(language, _)| language);
        languages.chain([category, brand]).for_each(|text| shared.give_back(text));
    }
}
