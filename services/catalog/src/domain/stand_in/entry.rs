//! One product as the stand-in keeps it: what a list shows and what it is chosen and counted by, and nothing else. Descriptions and
//! further pictures are left to the product's page.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::{Region, Sku};

use super::lexicon::Tongues;
use super::pairs::{PairId, Pairs};
use crate::domain::assortment::{Assortment, Window};
use crate::domain::price::{Price, PriceList};
use crate::domain::product::{CategoryPath, Family, Product, Revision, Text};
use crate::domain::product_words::{is_wordy, numbers};
use crate::domain::words::{Tongue, places, plain};

/// Words of one product that it is found by, over all languages: a name of the longest kind has fifty in each, and so do the usual
/// attributes together. What is beyond is not found here, and answers to words say that there may be more.
const MOST_WORDS: usize = 400;
/// Memory of an entry beside its texts: the struct, its place among the SKUs and the second copy of its SKU there, and what the
/// allocator rounds up.
const ENTRY: usize = 380;
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
    /// Attributes of the product and of its variants, each once.
    pub pairs: Box<[PairId]>,
    /// SKUs of its variants, parted by spaces.
    variants: Box<str>,
    /// It has words that are not kept: those of descriptions, or too many.
    pub is_read_in_part: bool,
}

/// What a product is found by.
#[derive(Debug, Default)]
pub(super) struct Terms {
    pub terms: BTreeMap<String, Tongues>,
    /// Words of its names and its brand as they are spelt.
    pub spelt: BTreeSet<String>,
    /// There were more.
    pub is_cut: bool,
}

/// The fingerprint of a number. Two that collide show a product too many at worst.
pub(super) fn fingerprint(number: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    number.hash(&mut hasher);
    hasher.finish()
}

impl Entry {
    /// `None`: it is no product, or nobody of `region` ever sees it.
    pub(super) fn of(revision: &Revision, region: Region, shared: &mut Shared, pairs: &mut Pairs) -> Option<Self> {
        let product = revision.live()?;
        let shown = product.assortment.window(region)?;
        let prices = product.prices.timeline(region).into_boxed_slice();
        if prices.is_empty() {
            return None;
        }
        let names = product.texts.iter().map(|text| (shared.share(&text.language), text.name.as_str().into()));
        let names = names.collect();
        let variants: Vec<&str> = product.variants.iter().map(|variant| variant.sku.as_str()).collect();
        let of_variants = product.variants.iter().flat_map(|variant| &variant.attributes);
        let attributes: BTreeSet<String> = product
            .attributes
            .iter()
            .chain(of_variants)
            .map(|attribute| format!("{}={}", attribute.key, attribute.value))
            .collect();
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
            pairs: attributes.iter().filter_map(|pair| pairs.take(pair)).collect(),
            variants: variants.join(" ").into_boxed_str(),
            is_read_in_part: product.texts.iter().any(|text| !text.description.is_empty()),
        })
    }

    /// What it costs at that moment, in minor units of the region's currency; `None`: it is not for sale then.
    pub(super) fn minor_at(&self, at: DateTime<Utc>) -> Option<i64> {
        let valid = self.prices.iter().find(|price| price.valid.contains(at)).filter(|_| self.shown.contains(at));
        valid.map(|price| price.amount.minor())
    }

    pub(super) fn name_in(&self, language: &str) -> Option<&str> {
        self.names.iter().find(|(known, _)| **known == *language).map(|(_, name)| &**name)
    }

    /// The texts that are searched in a language, as the index keeps them: what has no language is searched in each.
    fn texts<'a>(&'a self, tongue: Tongue, pairs: &'a Pairs) -> impl Iterator<Item = Cow<'a, str>> {
        let values =
            self.pairs.iter().filter_map(move |pair| pairs.text(*pair).split_once('=')).map(|(_, value)| value);
        let category = Cow::Owned(self.category.replace(['/', '-', '_'], " "));
        let plain = [&*self.brand].into_iter().chain(self.name_in(tongue.code()));
        let plain = plain
            .chain([self.sku.as_str()])
            .chain(self.variants.split(' '))
            .chain(values.filter(|value| is_wordy(value)));
        plain.map(Cow::Borrowed).chain([category])
    }

    /// The words it is found by.
    pub(super) fn terms(&self, pairs: &Pairs) -> Terms {
        let mut found = Terms::default();
        for tongue in Tongue::ALL {
            let texts = self.texts(tongue, pairs);
            for term in texts.flat_map(|text| places(tongue, &text)).flatten() {
                if found.terms.len() == MOST_WORDS && !found.terms.contains_key(&term) {
                    found.is_cut = true;
                    continue;
                }
                let tongues = found.terms.entry(term).or_default();
                *tongues = tongues.and(tongue);
            }
        }
        let names = Tongue::ALL.into_iter().filter_map(|tongue| self.name_in(tongue.code()));
        found.spelt = names.chain([&*self.brand]).flat_map(plain).take(MOST_WORDS).collect();
        found
    }

    /// Whether these words stand together in one of its texts.
    pub(super) fn says(&self, tongue: Tongue, words: &[String], pairs: &Pairs) -> bool {
        self.texts(tongue, pairs).any(|text| {
            let places = places(tongue, &text);
            let here = |window: &[Vec<String>]| window.iter().zip(words).all(|(place, word)| place.contains(word));
            places.windows(words.len().max(1)).any(here)
        })
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
        let pairs = size_of_val(&*self.pairs) + self.variants.len();
        ENTRY + 2 * self.sku.as_str().len() + names + picture + prices + pairs + NUMBER * self.numbers.len()
    }

    /// Gives back what it shares.
    pub(super) fn leave(self, shared: &mut Shared, pairs: &mut Pairs) {
        let Self { names, category, brand, pairs: own, .. } = self;
        own.iter().for_each(|pair| pairs.give_back(*pair));
        let languages = names.into_iter().map(|(language, _)| language);
        languages.chain([category, brand]).for_each(|text| shared.give_back(text));
    }
}
