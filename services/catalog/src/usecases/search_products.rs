//! A search: the index and the person's interests are asked at the same time, the top of the answer is woven from both.
//!
//! While the index is away the stand-in of this process answers, and the answer says so. Its order is another one: a cursor of its
//! answers is answered by it as long as it can, also when the index is back, so that nobody loses their place.
//!
//! Paging: a cursor names a position. Inside the window the order of a person with interests is woven anew for each page;
//! it is the same order as long as the profile is. Beyond [`DEEPEST`] there is no next page.

use common::{ErrorKind, Explain, MessageId};
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
    let may_weave = shopper.is_somebody() && query.sort == Sort::Relevance && begin < WINDOW;
    let page = if may_weave {
        Page { query, language, from: 0, size: end.max(WINDOW) }
    } else {
        Page { query, language, from: begin, size: query.limit }
    };
    let (found, interests) =
        tokio::join!(ask(app, page, place), async { if may_weave { interests_of(app, shopper).await } else { None } });
    let Answered { value: found, degraded } = found?;
    let Found { hits, facets, total, corrected, reading, without_filters } = found;
    let mut ranked = woven(hits, interests.as_ref());
    if may_weave {
        ranked = ranked.into_iter().skip(begin).take(query.limit).collect();
    }
    let goes_on = ranked.len() == query.limit && total.value > end as u64 && end + query.limit <= DEEPEST;
    let next_cursor =
        goes_on.then(|| app.products.cursors.seal(&scope, &Place { position: end, of_stand_in: degraded }.encode()));
    let (hits, ranks): (Vec<Hit>, Vec<Rank>) = ranked.into_iter().unzip();
    let listed = with_levels(app, hits).await;
    let items: Vec<Ranked> = listed.into_iter().zip(ranks).map(|(listed, rank)| Ranked { listed, rank }).collect();
    let personal = shopper.is_somebody();
    let query_id = if personal { common::ids::random() } else { name_of(&scope, place, language, &items) };
    Ok(SearchAnswer {
        items,
        facets,
        total,
        corrected,
        reading,
        without_filters,
        query_id,
        next_cursor,
        personal,
        degraded,
    })
}

/// A name that follows from the answer, so that who has the answer already can be told that it did not change.
fn name_of(scope: &str, place: Place, language: &str, items: &[Ranked]) -> Uuid {
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
async fn ask(app: &App, page: Page<'_>, place: Place) -> Result<Answered<Found>, IndexDown> {
    let instead = || app.products.stand_in.search(page, app.clock.now());
    if let Some(value) = place.of_stand_in.then(instead).flatten() {
        return Ok(Answered { value, degraded: true });
    }
    app.products.stand_in.unless(app.products.index.search(page).await, instead)
}

/// Where a page begins, and in whose order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    position: usize,
    of_stand_in: bool,
}

impl Place {
    const OF_STAND_IN: char = '~';

    fn encode(self) -> String {
        let mark = if self.of_stand_in { String::from(Self::OF_STAND_IN) } else { String::new() };
        format!("{mark}{}", self.position)
    }

    fn decode(payload: &str) -> Result<Self, InvalidCursor> {
        let own = payload.strip_prefix(Self::OF_STAND_IN);
        let position = own.unwrap_or(payload).parse().ok().filter(|position| *position < DEEPEST);
        Ok(Self { position: position.ok_or(InvalidCursor)?, of_stand_in: own.is_some() })
    }
}
