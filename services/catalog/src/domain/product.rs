//! What a product is, and what a revision of one is. A product is never changed: a newer revision takes its place, and a
//! tombstone ends it. The numbers of a product's revisions go 1, 2, 3, and whoever writes a number first has it.
//!
//! Not decided here: which texts are accepted from outside (`draft.rs`), how many units are for sale (`inventory`).

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use common::{FieldProblem, Region, Sku, UserId};

use super::assortment::Assortment;
use super::price::{Price, PriceList};
use super::trail::{Runs, Trail, just_before};

/// How a product is made and handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    MadeToOrderFashion,
    Gadget,
    DigitalSubscription,
    General,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a product family")]
pub struct UnknownFamily;

impl Family {
    pub const ALL: [Self; 4] = [Self::MadeToOrderFashion, Self::Gadget, Self::DigitalSubscription, Self::General];

    pub fn code(self) -> &'static str {
        match self {
            Self::MadeToOrderFashion => "made_to_order_fashion",
            Self::Gadget => "gadget",
            Self::DigitalSubscription => "digital_subscription",
            Self::General => "general",
        }
    }
}

impl FromStr for Family {
    type Err = UnknownFamily;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|family| family.code() == text).ok_or(UnknownFamily)
    }
}

/// Where a product stands in the shop: 1 to 5 names of `a-z 0-9 _ -`, joined by `/`, the widest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CategoryPath(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a category is 1 to 5 names of 1 to 64 lower-case letters, digits, hyphens or underscores, joined by slashes")]
pub struct InvalidCategory;

impl CategoryPath {
    /// Deeper trees are not browsable; five is one more than the deepest shop we looked at.
    pub const MAX_DEPTH: usize = 5;

    /// # Errors
    /// [`InvalidCategory`] for another shape.
    pub fn parse(text: &str) -> Result<Self, InvalidCategory> {
        let names: Vec<&str> = text.split('/').collect();
        if names.len() <= Self::MAX_DEPTH && names.iter().all(|name| is_name(name, 64)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidCategory)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path and everything above it, the widest first: `a`, `a/b`, `a/b/c`.
    pub fn lineage(&self) -> impl Iterator<Item = &str> {
        let ends = self.0.match_indices('/').map(|(at, _)| at).chain([self.0.len()]);
        ends.map(|end| &self.0[..end])
    }
}

impl fmt::Display for CategoryPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Lower-case names that are safe in documents, index fields and URLs: they begin with a letter or digit, so neither an
/// operator (`$set`), a path (`a.b`) nor a magic word (`__proto__`) is one.
pub(super) fn is_name(text: &str, max_length: usize) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    begins_well && text.len() <= max_length && text.bytes().all(known)
}

/// Name and description in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Two lower-case letters (BCP 47 primary tag).
    pub language: String,
    pub name: String,
    pub description: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    pub key: String,
    pub value: String,
    pub unit: Option<String>,
}

/// A key in words, for people: `screen_size` reads `Screen size`.
pub fn label_of(key: &str) -> String {
    let words = key.replace(['_', '-'], " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Something the shopper chooses when ordering, such as a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductOption {
    pub key: String,
    pub values: Vec<String>,
}

/// One of several forms that a product is bought in, such as a size of a colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// What is ordered and lies on the shelf.
    pub sku: Sku,
    /// What tells it from the others.
    pub attributes: Vec<Attribute>,
    /// `None`: it costs what the product costs.
    pub prices: Option<PriceList>,
    pub images: Vec<String>,
}

/// A product as it can be sold. Made only by `ProductDraft::check` and by the stores, which hold checked products.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    pub sku: Sku,
    pub family: Family,
    /// The version of the family's schema that its attributes were checked against.
    pub schema: u32,
    pub category: CategoryPath,
    pub brand: String,
    /// At least one.
    pub texts: Vec<Text>,
    pub prices: PriceList,
    pub attributes: Vec<Attribute>,
    pub options: Vec<ProductOption>,
    /// `https` URLs or paths below the site.
    pub images: Vec<String>,
    pub assortment: Assortment,
    /// Without any, the product itself is what is ordered.
    pub variants: Vec<Variant>,
}

impl Product {
    /// Whether people of `region` may see and buy it at that moment.
    pub fn is_offered(&self, region: Region, at: DateTime<Utc>) -> bool {
        self.price_at(region, at).is_some()
    }

    /// What it costs in `region` at that moment; `None`: it is not offered there then.
    pub fn price_at(&self, region: Region, at: DateTime<Utc>) -> Option<Price> {
        self.assortment.offers(region, at).then(|| self.prices.at(region, at)).flatten()
    }

    /// As [`Product::price_at`], for the product itself or one of its variants. Where there are variants, the product itself
    /// is not for sale; one of them is.
    pub fn item_price_at(&self, item: &Sku, region: Region, at: DateTime<Utc>) -> Option<Price> {
        let prices = match self.variant(item) {
            Some(variant) => variant.prices.as_ref().unwrap_or(&self.prices),
            None if *item == self.sku && self.variants.is_empty() => &self.prices,
            None => return None,
        };
        self.assortment.offers(region, at).then(|| prices.at(region, at)).flatten()
    }

    pub fn variant(&self, sku: &Sku) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.sku == *sku)
    }

    /// What is ordered of it: itself, or one of its variants.
    pub fn bought(&self) -> impl Iterator<Item = &Sku> {
        let itself = self.variants.is_empty().then_some(&self.sku);
        itself.into_iter().chain(self.variants.iter().map(|variant| &variant.sku))
    }

    /// The moments at which what people of `region` see may change without a new revision, in no order.
    pub fn turns(&self, region: Region) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        let of_variants =
            self.variants.iter().filter_map(|variant| variant.prices.as_ref()).flat_map(move |own| own.turns(region));
        let windows = self.assortment.window(region).into_iter().flat_map(|window| window.turns().collect::<Vec<_>>());
        self.prices.turns(region).chain(of_variants).chain(windows)
    }

    /// The first such moment after `at`: nothing computed from this product may be kept for longer.
    pub fn next_turn(&self, region: Region, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.turns(region).filter(|turn| *turn > at).min()
    }

    /// The text in the first of `languages` that the product has, else in English, else in whatever there is.
    pub fn text<'a>(&'a self, languages: &[&str]) -> Option<&'a Text> {
        let in_language = |wanted: &str| self.texts.iter().find(|text| text.language == wanted);
        languages
            .iter()
            .find_map(|wanted| in_language(wanted))
            .or_else(|| in_language("en"))
            .or_else(|| self.texts.first())
    }
}

/// What one revision says about its product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Live(Product),
    /// The tombstone: gone, and older news about it is to be ignored.
    Deleted(Sku),
    /// The SKU is a variant of a product. Writing this under the variant's own SKU is what keeps two products from claiming
    /// one SKU: the number of a revision has one writer.
    VariantOf {
        sku: Sku,
        product: Sku,
    },
}

impl State {
    pub fn sku(&self) -> &Sku {
        match self {
            Self::Live(product) => &product.sku,
            Self::Deleted(sku) | Self::VariantOf { sku, .. } => sku,
        }
    }
}

/// Who made a revision, and why they say they did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    pub user: UserId,
    pub reason: Option<String>,
}

/// What an item costs at some moment, and what it may be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub price: Price,
    /// The lowest price of the thirty days before this one began, where the present one is a reduction: for a time only, and
    /// below that.
    pub reduced_from: Option<common::Money>,
}

/// One step in the life of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// From 1, without gaps.
    pub number: i64,
    pub state: State,
    pub changed_at: DateTime<Utc>,
    /// W3C trace context of the request that made it.
    pub traceparent: Option<String>,
    /// `None` for what was written before authors were kept.
    pub author: Option<Author>,
    /// Prices before this revision, in the region of the store.
    pub trail: Trail,
    /// The category it stood in before this revision, where it stands in another one now or nowhere: the lists there are out of
    /// date too.
    pub moved_from: Option<CategoryPath>,
}

impl Revision {
    /// The next one after `newest`. Time does not go back in the life of a product, whatever the clocks of two writers say.
    pub fn after(
        newest: Option<&Self>,
        number: i64,
        state: State,
        region: Region,
        now: DateTime<Utc>,
        author: Option<Author>,
    ) -> Self {
        // Stores keep milliseconds; what is kept must be what was meant.
        let now = DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now);
        let changed_at = newest.map_or(now, |newest| now.max(newest.changed_at + TimeDelta::milliseconds(1)));
        let trail = newest.map(|newest| {
            let until_now = newest.trail_until(region, just_before(changed_at));
            until_now.parted(&newest.state, &state)
        });
        let trail = trail.unwrap_or_default();
        let stood = newest.and_then(Self::live).map(|product| &product.category);
        let stands = if let State::Live(product) = &state { Some(&product.category) } else { None };
        let moved_from = stood.filter(|stood| stands != Some(*stood)).cloned();
        Self { number, state, changed_at, traceparent: None, author, trail, moved_from }
    }

    /// The trail with this revision's own prices until `at`.
    pub fn trail_until(&self, region: Region, at: DateTime<Utc>) -> Trail {
        self.trail.follow(&self.state, region, self.changed_at, at)
    }

    /// What `item`, the product or one of its variants, costs in `region` at that moment; `None`: it is not offered.
    pub fn offer(&self, item: &Sku, region: Region, at: DateTime<Utc>) -> Option<Offer> {
        let product = self.live()?;
        let price = match product.variant(item) {
            Some(_) => product.item_price_at(item, region, at)?,
            None => product.price_at(region, at)?,
        };
        if !price.is_temporary() {
            return Some(Offer { price, reduced_from: None });
        }
        let trail = self.trail_until(region, at);
        let lowest = trail.judging(item, &product.sku).and_then(Runs::lowest_before);
        Some(Offer { price, reduced_from: lowest.filter(|lowest| lowest.minor() > price.amount.minor()) })
    }

    pub fn sku(&self) -> &Sku {
        self.state.sku()
    }

    pub fn live(&self) -> Option<&Product> {
        match &self.state {
            State::Live(product) => Some(product),
            State::Deleted(_) | State::VariantOf { .. } => None,
        }
    }

    /// The product whose variant this SKU is.
    pub fn variant_of(&self) -> Option<&Sku> {
        match &self.state {
            State::VariantOf { product, .. } => Some(product),
            State::Live(_) | State::Deleted(_) => None,
        }
    }
}

/// What becomes of a wanted state, given the newest revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The newest revision says so already.
    Unchanged,
    /// To be written under this number.
    Next { number: i64, created: bool },
}

/// The step from `newest` to `wanted`. A product that comes back after its tombstone continues the numbers, so that late
/// news from its earlier life stays old.
pub fn step_to(newest: Option<&Revision>, wanted: &State) -> Step {
    match newest {
        None if matches!(wanted, State::Deleted(_)) => Step::Unchanged,
        // The claim of a variant is its product's; deleting the variant means writing the product without it.
        Some(newest) if newest.variant_of().is_some() && matches!(wanted, State::Deleted(_)) => Step::Unchanged,
        None => Step::Next { number: 1, created: true },
        Some(newest) if newest.state == *wanted => Step::Unchanged,
        Some(newest) => Step::Next { number: newest.number + 1, created: newest.live().is_none() },
    }
}

/// Why a product was not accepted: the fields at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} fields of the product are not acceptable", .0.len())]
pub struct InvalidProduct(pub Vec<FieldProblem>);

#[cfg(test)]
mod tests {
    use common::{Currency, Money};

    use super::*;

    fn product(name: &str) -> Product {
        Product {
            sku: Sku::parse("A-1").unwrap(),
            family: Family::Gadget,
            schema: 1,
            category: CategoryPath::parse("audio/headphones").unwrap(),
            brand: "Acme".to_owned(),
            texts: vec![Text { language: "en".to_owned(), name: name.to_owned(), description: String::new() }],
            prices: PriceList::new([Money::from_minor(100, Currency::Eur).unwrap()]).unwrap(),
            attributes: Vec::new(),
            options: Vec::new(),
            images: Vec::new(),
            assortment: Assortment::everywhere(),
            variants: Vec::new(),
        }
    }

    fn revision(number: i64, state: State) -> Revision {
        Revision {
            number,
            state,
            changed_at: DateTime::<Utc>::UNIX_EPOCH,
            traceparent: None,
            author: None,
            trail: Trail::default(),
            moved_from: None,
        }
    }

    #[test]
    fn a_revision_says_where_its_product_stood_before() {
        let at = |category: &str| {
            State::Live(Product { category: CategoryPath::parse(category).unwrap(), ..product("one") })
        };
        let gone = || State::Deleted(Sku::parse("A-1").unwrap());
        let table = [
            (None, at("a/b"), None),
            (Some(at("a/b")), at("a/b"), None),
            (Some(at("a/b")), at("a/c"), Some("a/b")),
            (Some(at("a/b")), gone(), Some("a/b")),
            (Some(gone()), at("a/b"), None),
        ];
        for (before, after, moved_from) in table {
            let before = before.map(|state| revision(1, state));
            let next = Revision::after(before.as_ref(), 2, after, Region::Eu, DateTime::UNIX_EPOCH, None);
            assert_eq!(next.moved_from.as_ref().map(CategoryPath::as_str), moved_from, "{before:?}");
        }
    }

    #[test]
    fn revisions_go_on_by_one_and_only_when_something_changed() {
        let live = || State::Live(product("one"));
        let gone = || State::Deleted(Sku::parse("A-1").unwrap());
        let table = [
            (None, live(), Step::Next { number: 1, created: true }),
            (None, gone(), Step::Unchanged),
            (Some(revision(1, live())), live(), Step::Unchanged),
            (Some(revision(1, live())), State::Live(product("two")), Step::Next { number: 2, created: false }),
            (Some(revision(4, live())), gone(), Step::Next { number: 5, created: false }),
            (Some(revision(5, gone())), gone(), Step::Unchanged),
            (Some(revision(5, gone())), live(), Step::Next { number: 6, created: true }),
        ];
        for (newest, wanted, expected) in table {
            assert_eq!(step_to(newest.as_ref(), &wanted), expected, "{newest:?} {wanted:?}");
        }
    }

    #[test]
    fn a_category_is_a_short_path_of_plain_names() {
        for text in ["a", "fashion/coats", "a/b/c/d/e", "01-x/y_z"] {
            assert_eq!(CategoryPath::parse(text).map(|path| path.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "/", "a/", "/a", "a//b", "A", "a/b/c/d/e/f", "a b", "../x", "ä", "$a", "a.b"] {
            assert_eq!(CategoryPath::parse(text), Err(InvalidCategory), "{text:?}");
        }
        let path = CategoryPath::parse("a/b/c").unwrap();
        assert_eq!(path.lineage().collect::<Vec<_>>(), ["a", "a/b", "a/b/c"]);
    }

    #[test]
    fn a_text_falls_back_to_english_and_then_to_anything() {
        let mut product = product("english");
        product.texts.push(Text { language: "de".to_owned(), name: "deutsch".to_owned(), description: String::new() });
        let name = |product: &Product, languages: &[&str]| product.text(languages).map(|text| text.name.clone());
        assert_eq!(name(&product, &["fr", "de"]).as_deref(), Some("deutsch"));
        assert_eq!(name(&product, &["fr"]).as_deref(), Some("english"));
        product.texts.remove(0);
        assert_eq!(name(&product, &["fr"]).as_deref(), Some("deutsch"));
    }

    #[test]
    fn keys_read_as_words() {
        assert_eq!(label_of("screen_size"), "Screen size");
        assert_eq!(label_of(""), "");
    }
}
