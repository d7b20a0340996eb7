//! A search: the index and the person's interests are asked at the same time, the top of the answer is woven from both.
//!
//! While the index is away the stand-in of this process answers, and the answer says so. Its order is another one: a cursor of its
//! answers is answered by it as long as it can, also when the index is back, so that nobody loses their place.
//!
//! Paging: a cursor names a position, and the order that the list was begun in. Where interests wove the first [`WINDOW`] hits, it
//! carries that order, so that going on and going back show the list as it was begun, whatever the person clicks meanwhile; a list that
//! was begun plain stays plain. What was not there at the beginning comes at the end of the window.
//!
//! A plain list goes on with what was not shown yet: the index changes between two pages, so places alone would repeat what moved down
//! and pass over what moved up. Its cursor says what was shown last, at most [`WINDOW`] products, and the place behind them; from some
//! way before that place on it is asked for once more, and what was shown is left out. Beyond [`DEEPEST`] there is no next page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{ErrorKind, Explain, MessageId};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::App;
use super::list_products::{Listed, traits, with_levels};
use super::personalise::{Shopper, interests_of};
use super::ports::products::{Facet, Found, Hit, IndexDown, Page, Reading, Total};
use super::stand_in::Answered;
use crate::domain::cursor::InvalidCursor;
use crate::domain::ranking::{Interests, Rank, WINDOW, weave};
use crate::domain::search_query::{DEEPEST, SearchQuery, Sort};

#[derive(Clone, Debug)]
pub struct Ranked {
    pub listed: Listed,
    pub rank: Rank,
}

#[derive(Clone, Debug)]
pub struct SearchAnswer {
    pub items: Vec<Ranked>,
    pub facets: Vec<Facet>,
    pub total: Total,
    pub corrected: Option<String>,
    pub reading: Reading,
    /// How many products fit the words, whatever the filters leave of them.
    pub without_filters: u64,
    /// Names this answer in the clicks it causes. The same list for the same question to whoever may share it has the same name.
    pub query_id: Uuid,
    /// Names this very page; absent at the beginning of a list that is nobody's own.
    pub cursor: Option<String>,
    pub next_cursor: Option<String>,
    /// The answer is for one person and must not be shared.
    pub personal: bool,
    /// The index was away: this is what the process could tell without it.
    pub degraded: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
    #[error(transparent)]
    Index(#[from] IndexDown),
}

impl Explain for SearchError {
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

/// One page of the answer to `query`.
pub async fn search_products(
    app: &App,
    query: &SearchQuery,
    language: &str,
    shopper: Shopper,
) -> Result<SearchAnswer, SearchError> {
    let scope = query.scope();
    let place = match &query.cursor {
        Some(cursor) => Place::decode(&app.products.cursors.open(&scope, cursor)?)?,
        None => Place::default(),
    };
    let begin = place.position;
    let end = begin + query.limit;
    // Whether somebody has a profile is not known yet; for somebody who might, the whole window is fetched at once.
    let may_weave = shopper.is_somebody() && query.sort == Sort::Relevance && place.order == Order::Fresh;
    let in_window = begin < WINDOW && (may_weave || matches!(place.order, Order::Begun(_)));
    let shown: &[Print] = match &place.order {
        Order::Plain(shown) => shown,
        Order::Fresh | Order::Begun(_) => &[],
    };
    let page = if in_window {
        Page { query, language, from: 0, size: end.max(WINDOW) }
    } else {
        // From the top, as long as all that was shown is remembered. Deeper half of it: what was not shown may have moved up by as many
        // places, and what was shown before them may have moved down by as many and is remembered still.
        let back = if shown.len() < WINDOW { shown.len() } else { WINDOW / 2 };
        // However much of it was shown, a page is left.
        Page { query, language, from: begin.saturating_sub(back), size: shown.len() + query.limit }
    };
    let (found, interests) =
        tokio::join!(ask(app, page, &place), async { if may_weave { interests_of(app, shopper).await } else { None } });
    let Answered { value: found, degraded } = found?;
    let Found { hits, facets, total, corrected, reading, without_filters } = found;
    let mut ranked = woven(hits, interests.as_ref());
    let begun: Option<Vec<Print>> = match &place.order {
        Order::Fresh => interests.map(|_| ranked.iter().take(WINDOW).map(|(hit, _)| print(hit)).collect()),
        Order::Plain(_) => None,
        Order::Begun(prints) => Some(prints.clone()),
    };
    let (next, is_left) = if in_window {
        if let Order::Begun(prints) = &place.order {
            ranked = as_begun(ranked, prints);
        }
        ranked = ranked.into_iter().skip(begin).take(query.limit).collect();
        (end, total.value > end as u64)
    } else {
        let (fresh, passed, is_left) = not_shown(ranked, shown, query.limit);
        ranked = fresh;
        (page.from + passed, is_left || total.value > (page.from + page.size) as u64)
    };
    let goes_on = ranked.len() == query.limit && is_left && next + query.limit <= DEEPEST;
    let seal = |position: usize, plain: Vec<Print>| {
        let order = begun.clone().map_or(Order::Plain(plain), Order::Begun);
        app.products.cursors.seal(&scope, &Place { position, of_stand_in: degraded, order }.encode())
    };
    let next_cursor = goes_on.then(|| seal(next, shown_last(shown, &ranked)));
    let cursor = query.cursor.clone().or_else(|| may_weave.then(|| seal(begin, shown.to_vec())));
    let (hits, ranks): (Vec<Hit>, Vec<Rank>) = ranked.into_iter().unzip();
    let listed = with_levels(app, hits, degraded).await;
    let items: Vec<Ranked> = listed.into_iter().zip(ranks).map(|(listed, rank)| Ranked { listed, rank }).collect();
    let personal = shopper.is_somebody() || matches!(place.order, Order::Begun(_));
    let query_id = if personal { common::ids::random() } else { name_of(&scope, &place, language, &items) };
    Ok(SearchAnswer {
        items,
        facets,
        total,
        corrected,
        reading,
        without_filters,
        query_id,
        cursor,
        next_cursor,
        personal,
        degraded,
    })
}

/// A name that follows from the answer, so that who has the answer already can be told that it did not change.
fn name_of(scope: &str, place: &Place, language: &str, items: &[Ranked]) -> Uuid {
    let shown = items.iter().map(|item| format!(";{}@{}", item.listed.hit.product.sku, item.listed.hit.revision));
    let answer = format!("{language} {} {scope}{}", place.encode(), shown.collect::<String>());
    MessageId::derive(&answer, items.len() as i64, "search.answer").uuid()
}

/// The first [`WINDOW`] hits by interest, those behind them as they came.
fn woven(mut hits: Vec<Hit>, interests: Option<&Interests>) -> Vec<(Hit, Rank)> {
    let behind = hits.split_off(hits.len().min(WINDOW));
    let scored = |hits: Vec<Hit>| {
        hits.into_iter()
            .map(|hit| {
                let relevance = hit.relevance;
                (hit, relevance)
            })
            .collect()
    };
    let mut ranked = weave(scored(hits), interests, traits);
    ranked.extend(weave(scored(behind), None, traits));
    ranked
}

/// The index's answer, or that of the stand-in.
async fn ask(app: &App, page: Page<'_>, place: &Place) -> Result<Answered<Found>, IndexDown> {
    let instead = || app.products.stand_in.search(page, app.clock.now());
    if let Some(value) = place.of_stand_in.then(instead).flatten() {
        return Ok(Answered { value, degraded: true });
    }
    app.products.stand_in.unless(app.products.index.search(page).await, instead)
}

/// What is remembered of a product of the window: enough to tell a hundred apart, and short enough for a cursor. Two that collide
/// stand beside each other; none is lost.
type Print = [u8; 3];

fn print(hit: &Hit) -> Print {
    let digest = Sha256::digest(hit.product.sku.as_str());
    [digest[0], digest[1], digest[2]]
}

/// The window in the order it was begun in; what was not there then stands at its end.
fn as_begun(mut ranked: Vec<(Hit, Rank)>, prints: &[Print]) -> Vec<(Hit, Rank)> {
    let behind = ranked.split_off(ranked.len().min(WINDOW));
    ranked.sort_by_cached_key(|(hit, _)| {
        let print = print(hit);
        prints.iter().position(|begun| *begun == print).unwrap_or(prints.len())
    });
    ranked.extend(behind);
    ranked
}

/// The first `limit` that were not shown before, the places up to the last of them, and whether one more is behind it. A print that was
/// shown stands for one product, so that of two that collide one is left.
fn not_shown(ranked: Vec<(Hit, Rank)>, shown: &[Print], limit: usize) -> (Vec<(Hit, Rank)>, usize, bool) {
    let (mut shown, mut page, mut passed) = (shown.to_vec(), Vec::with_capacity(limit), 0);
    for (place, (hit, rank)) in (1..).zip(ranked) {
        let print = print(&hit);
        if let Some(at) = shown.iter().position(|shown| *shown == print) {
            shown.swap_remove(at);
        } else if page.len() == limit {
            return (page, passed, true);
        } else {
            page.push((hit, rank));
            passed = place;
        }
    }
    (page, passed, false)
}

/// What was shown last, after another page.
fn shown_last(before: &[Print], page: &[(Hit, Rank)]) -> Vec<Print> {
    let mut shown: Vec<Print> = before.iter().copied().chain(page.iter().map(|(hit, _)| print(hit))).collect();
    shown.drain(..shown.len().saturating_sub(WINDOW));
    shown
}

/// In which order the list was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Order {
    /// It begins now.
    #[default]
    Fresh,
    /// In that of the index, or of the stand-in; with what was shown last, at most [`WINDOW`] products.
    Plain(Vec<Print>),
    /// Woven with interests, as they were then: the window.
    Begun(Vec<Print>),
}

/// Where a page begins, and in whose order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    position: usize,
    of_stand_in: bool,
    order: Order,
}

impl Place {
    const OF_STAND_IN: char = '~';
    const PRINTS: char = ';';
    /// Stands behind prints that were shown. A process of the release before passes over it and takes them for the order that the list was
    /// begun in, which has them in front as well: during a roll-out nobody loses their place.
    const SHOWN: u8 = 0;

    fn encode(&self) -> String {
        let mark = if self.of_stand_in { String::from(Self::OF_STAND_IN) } else { String::new() };
        let prints = match &self.order {
            Order::Fresh => None,
            Order::Plain(shown) if shown.is_empty() => None,
            Order::Plain(shown) => Some([shown.as_flattened(), &[Self::SHOWN][..]].concat()),
            Order::Begun(prints) => Some(prints.concat()),
        };
        let prints = prints.map(|bytes| format!("{}{}", Self::PRINTS, URL_SAFE_NO_PAD.encode(bytes)));
        format!("{mark}{}{}", self.position, prints.unwrap_or_default())
    }

    /// A cursor always names an order: one that names none is of a plain list.
    fn decode(payload: &str) -> Result<Self, InvalidCursor> {
        let own = payload.strip_prefix(Self::OF_STAND_IN);
        let (position, order) = match own.unwrap_or(payload).split_once(Self::PRINTS) {
            None => (own.unwrap_or(payload), Order::Plain(Vec::new())),
            Some((position, prints)) => {
                let bytes = URL_SAFE_NO_PAD.decode(prints).map_err(|_| InvalidCursor)?;
                let (prints, mark) = bytes.as_chunks::<3>();
                let prints = prints.iter().take(WINDOW).copied().collect();
                (position, if mark == [Self::SHOWN] { Order::Plain(prints) } else { Order::Begun(prints) })
            }
        };
        let position = position.parse().ok().filter(|position| *position < DEEPEST).ok_or(InvalidCursor)?;
        Ok(Self { position, of_stand_in: own.is_some(), order })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_place_survives_being_a_cursor(
            position in 0..DEEPEST, of_stand_in in any::<bool>(), is_begun in any::<bool>(), prints in prop::collection::vec(any::<Print>(), 0..=WINDOW)
        ) {
            let order = if is_begun { Order::Begun(prints) } else { Order::Plain(prints) };
            let place = Place { position, of_stand_in, order };
            let cursor = place.encode();
            prop_assert!(cursor.len() < 500, "it fits into an address");
            prop_assert_eq!(Place::decode(&cursor), Ok(place));
        }

        #[test]
        fn no_text_makes_the_reader_fall(text in ".{0,40}") {
            prop_assert!(Place::decode(&text).is_ok_and(|place| place.position < DEEPEST) || Place::decode(&text) == Err(InvalidCursor));
        }
    }
}
