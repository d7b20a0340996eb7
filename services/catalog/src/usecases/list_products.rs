//! The products of the shop or of a category, page by page in the order of their SKUs.
//!
//! For somebody with interests the first page begins with a *shelf*: products that suit them, from anywhere in the list, at
//! most half of the page. The rest follows in the usual order without those on the shelf, and the cursor carries the
//! shelf's SKUs that are still ahead. So the list changes with a person's clicks, while leafing through it shows each
//! product exactly once, whatever happens to the profile in between. A page with a shelf has a cursor of its own: going back with it
//! shows what stood there.

use std::collections::HashMap;

use common::{ErrorKind, Explain, Sku};
use futures::future::join_all;

use super::App;
use super::get_product::levels;
use super::personalise::{Shopper, interests_of};
use super::ports::products::{Hit, IndexDown};
use super::ports::stock::MAX_SKUS;
use super::stand_in::Answered;
use crate::domain::cursor::InvalidCursor;
use crate::domain::inventory::Level;
use crate::domain::product::Product;
use crate::domain::ranking::{Traits, WINDOW, weave};
use crate::domain::search_query::ListQuery;
use crate::domain::standing::Standing;

/// Longest shelf: two rows of a page. Its SKUs travel in the cursor.
const LONGEST_SHELF: usize = 24;

#[derive(Clone, Debug)]
pub struct Listed {
    pub hit: Hit,
    /// `None` when the stock could not be asked in time.
    pub availability: Option<Level>,
}

#[derive(Clone, Debug)]
pub struct ProductList {
    pub items: Vec<Listed>,
    /// Names this very page: with it the same products come in the same order, also when interests have changed meanwhile.
    pub cursor: Option<String>,
    pub next_cursor: Option<String>,
    /// The answer is for one person and must not be shared.
    pub personal: bool,
    /// The index was away: products as far as this process has them.
    pub degraded: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
    #[error(transparent)]
    Index(#[from] IndexDown),
}

impl Explain for ListError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Cursor(error) => error.kind(),
            Self::Index(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Cursor(error) => error.code(),
            Self::Index(error) => error.code(),
        }
    }
}

/// Where a list goes on: after which SKU, without which ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Position {
    after: Option<Sku>,
    shown: Vec<Sku>,
}

/// One page of the list.
pub async fn list_products(
    app: &App,
    query: &ListQuery,
    language: &str,
    shopper: Shopper,
) -> Result<ProductList, ListError> {
    let scope = query.scope();
    let begin = match &query.cursor {
        Some(cursor) => Begin::decode(&app.products.cursors.open(&scope, cursor)?)?,
        None => Begin::Top,
    };
    let (position, may_have_shelf) = match &begin {
        Begin::At(position) => (position.clone(), false),
        Begin::Top | Begin::Shelf(_) => (Position::default(), true),
    };
    // Enough that the page is full after what was shown before has been left out, and one more to know whether it goes on.
    let most_left_out = if may_have_shelf { LONGEST_SHELF } else { position.shown.len() };
    let (category, after) = (query.category.as_ref(), position.after.as_ref());
    let ahead = query.limit + most_left_out + 1;
    let plain = async {
        let plain = app.products.index.list(category, after, ahead, language).await;
        let instead = || app.products.stand_in.list(category, after, ahead, app.clock.now());
        app.products.stand_in.unless(plain, instead)
    };
    let shelf = async {
        match &begin {
            Begin::Top => shelf(app, query, language, shopper).await.unwrap_or_default(),
            Begin::Shelf(skus) => shelf_again(app, skus).await,
            Begin::At(_) => Vec::new(),
        }
    };
    let (plain, shelf) = tokio::join!(plain, shelf);
    // A personal answer stays personal on its first page even when the shelf turned out empty: the choice itself is personal.
    let personal = matches!(begin, Begin::Shelf(_)) || (begin == Begin::Top && shopper.is_somebody());
    let on_shelf: Vec<Sku> = shelf.iter().map(|hit| hit.product.sku.clone()).collect();
    let Answered { value: plain, degraded } = plain?;
    let (items, next) = page_of(plain, shelf, position, query.limit);
    let next_cursor = next.map(|next| app.products.cursors.seal(&scope, &next.encode()));
    let cursor = match begin {
        // Nothing but the place in the list decides what stands there: asked again without a cursor it is the same.
        Begin::Top if on_shelf.is_empty() => None,
        Begin::Top => Some(app.products.cursors.seal(&scope, &Begin::Shelf(on_shelf).encode())),
        Begin::Shelf(_) | Begin::At(_) => query.cursor.clone(),
    };
    Ok(ProductList { items: with_levels(app, items, degraded).await, cursor, next_cursor, personal, degraded })
}

/// The shelf as it was shown before, without what is no longer sold here.
async fn shelf_again(app: &App, skus: &[Sku]) -> Vec<Hit> {
    let found = skus.iter().map(|sku| async move {
        let revision = app.products.cache.newest(sku, &app.products.store).await.ok()??;
        let product = revision.live().filter(|product| product.is_offered(app.region, app.clock.now()))?;
        Some(Hit {
            product: product.clone(),
            revision: revision.number,
            relevance: 1.0,
            highlights: Vec::new(),
            standing: Standing::default(),
        })
    });
    join_all(found).await.into_iter().flatten().collect()
}

/// What suits the shopper best. Reads the profile first, since it decides what to look for; without one nothing is asked.
async fn shelf(app: &App, query: &ListQuery, language: &str, shopper: Shopper) -> Option<Vec<Hit>> {
    let interests = interests_of(app, shopper).await?;
    let candidates = app.products.index.interesting(query.category.as_ref(), &interests, WINDOW, language).await;
    let candidates =
        candidates.inspect_err(|error| tracing::warn!(reason = %error, "the list is not personal")).ok()?;
    // How the index came to its order does not matter here: interest alone decides on the shelf.
    let candidates = candidates.into_iter().map(|hit| (hit, 1.0)).collect();
    let woven = weave(candidates, Some(&interests), traits);
    let length = (query.limit / 2).clamp(1, LONGEST_SHELF);
    Some(woven.into_iter().filter(|(_, rank)| rank.boost > 0.0).map(|(hit, _)| hit).take(length).collect())
}

/// The page and where the next one begins, from `plain` hits in SKU order and the shelf before them.
fn page_of(plain: Vec<Hit>, shelf: Vec<Hit>, position: Position, limit: usize) -> (Vec<Hit>, Option<Position>) {
    let mut shown = position.shown;
    shown.extend(shelf.iter().map(|hit| hit.product.sku.clone()));
    let mut items = shelf;
    let mut after = position.after;
    let mut goes_on = false;
    for hit in plain {
        let sku = hit.product.sku.clone();
        if shown.contains(&sku) {
            if items.len() < limit {
                after = Some(sku);
            }
            continue;
        }
        if items.len() == limit {
            goes_on = true;
            break;
        }
        after = Some(sku);
        items.push(hit);
    }
    // What lies behind us cannot come again, so the cursor need not carry it.
    if let Some(after) = &after {
        shown.retain(|sku| sku > after);
    }
    (items, goes_on.then_some(Position { after, shown }))
}

/// What ranking looks at in a hit.
pub(super) fn traits(hit: &Hit) -> Traits<'_> {
    traits_of(&hit.product)
}

/// What ranking looks at in a product.
pub(super) fn traits_of(product: &Product) -> Traits<'_> {
    Traits {
        sku: product.sku.as_str(),
        category: &product.category,
        brand: &product.brand,
        family: product.family.code(),
    }
}

/// Adds what the stock says, with one question for the page. What comes in forms is not in the stock by itself, and a hit of the index does
/// not name them: then its document says how soon the soonest of them is there. The stand-in (`degraded`) knows neither.
pub(super) async fn with_levels(app: &App, hits: Vec<Hit>, degraded: bool) -> Vec<Listed> {
    let mut skus: Vec<Sku> = hits.iter().flat_map(|hit| hit.product.bought()).cloned().collect();
    // What was not asked about, or comes in forms that nobody named, is not known to be out.
    let is_whole = skus.len() <= MAX_SKUS && !degraded;
    skus.truncate(MAX_SKUS);
    let levels: Option<HashMap<Sku, Level>> = levels(app, &skus).await;
    let soonest = |hit: &Hit| {
        let found = levels.as_ref()?;
        let of_forms = hit.product.bought().filter_map(|sku| found.get(sku).copied());
        // What nobody ever received cannot be sold.
        let nobody = || is_whole.then_some(Level::Out);
        of_forms.min_by_key(|level| level.distance()).or(hit.standing.level).or_else(nobody)
    };
    hits.into_iter().map(|hit| Listed { availability: soonest(&hit), hit }).collect()
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Begin {
    Top,
    /// The top again, with the shelf that stood there.
    Shelf(Vec<Sku>),
    At(Position),
}

impl Begin {
    const SHELF: &str = "s";

    fn encode(&self) -> String {
        match self {
            Self::Top => String::new(),
            Self::Shelf(skus) => {
                std::iter::once(Self::SHELF).chain(skus.iter().map(Sku::as_str)).collect::<Vec<_>>().join(";")
            }
            Self::At(position) => position.encode(),
        }
    }

    fn decode(text: &str) -> Result<Self, InvalidCursor> {
        match text.split_once(';') {
            Some((Self::SHELF, skus)) => {
                let skus = skus.split(';').take(LONGEST_SHELF).map(Sku::parse).collect::<Result<_, _>>();
                skus.map(Self::Shelf).map_err(|_| InvalidCursor)
            }
            _ => Position::decode(text).map(Self::At),
        }
    }
}

impl Position {
    /// SKUs contain no `;`.
    fn encode(&self) -> String {
        let skus = self.after.iter().chain(&self.shown).map(Sku::as_str);
        let mark = if self.after.is_some() { "1" } else { "0" };
        std::iter::once(mark).chain(skus).collect::<Vec<_>>().join(";")
    }

    fn decode(text: &str) -> Result<Self, InvalidCursor> {
        let mut parts = text.split(';');
        let has_after = parts.next() == Some("1");
        let mut skus = parts.map(Sku::parse).collect::<Result<Vec<_>, _>>().map_err(|_| InvalidCursor)?;
        let after = if has_after && !skus.is_empty() { Some(skus.remove(0)) } else { None };
        Ok(Self { after, shown: skus })
    }
}

#[cfg(test)]
mod tests {
    use common::{Currency, Money};
    use proptest::prelude::*;

    use super::*;
    use crate::domain::assortment::Assortment;
    use crate::domain::price::PriceList;
    use crate::domain::product::{CategoryPath, Family, Product};

    fn hit(sku: &str) -> Hit {
        let product = Product {
            sku: Sku::parse(sku).unwrap(),
            family: Family::General,
            schema: 1,
            category: CategoryPath::parse("a").unwrap(),
            brand: "x".to_owned(),
            texts: Vec::new(),
            prices: PriceList::new([Money::from_minor(1, Currency::Eur).unwrap()]).unwrap(),
            attributes: Vec::new(),
            options: Vec::new(),
            images: Vec::new(),
            assortment: Assortment::everywhere(),
            variants: Vec::new(),
        };
        Hit { product, revision: 1, relevance: 1.0, highlights: Vec::new(), standing: Standing::default() }
    }

    /// Leafs through `all` as a client does.
    fn leaf_through(all: &[String], shelf: &[String], limit: usize) -> Vec<String> {
        let mut position = Some(Position::default());
        let mut seen = Vec::new();
        let mut shelf = shelf.to_vec();
        while let Some(here) = position {
            let here = Position::decode(&here.encode()).unwrap();
            let left_out = LONGEST_SHELF.max(here.shown.len());
            let ahead = all.iter().filter(|sku| here.after.as_ref().is_none_or(|after| sku.as_str() > after.as_str()));
            let plain = ahead.take(limit + left_out + 1).map(|sku| hit(sku)).collect();
            let (items, next) =
                page_of(plain, std::mem::take(&mut shelf).iter().map(|sku| hit(sku)).collect(), here, limit);
            assert!(items.len() <= limit && (items.len() == limit || next.is_none()));
            seen.extend(items.into_iter().map(|hit| hit.product.sku.to_string()));
            position = next;
        }
        seen
    }

    proptest! {
        #[test]
        fn leafing_through_shows_every_product_once(count in 0_usize..120, limit in 1_usize..40, picks in prop::collection::btree_set(0_usize..120, 0..30)) {
            let all: Vec<String> = (0..count).map(|number| format!("S{number:03}")).collect();
            let shelf: Vec<String> = picks.into_iter().rev().filter_map(|at| all.get(at).cloned()).take((limit / 2).clamp(1, LONGEST_SHELF)).collect();
            let mut seen = leaf_through(&all, &shelf, limit);
            prop_assert!(seen.starts_with(&shelf));
            seen.sort();
            prop_assert_eq!(seen, all);
        }
    }
}
