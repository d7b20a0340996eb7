//! A search: the index and the person's interests are asked at the same time, the top of the answer is woven from both.
//!
//! Paging: a cursor names a position. Inside the window the order of a person with interests is woven anew for each page;
//! it is the same order as long as the profile is. Beyond [`DEEPEST`] there is no next page.

use common::{ErrorKind, Explain};
use uuid::Uuid;

use super::App;
use super::list_products::{Listed, traits, with_levels};
use super::personalise::{Shopper, interests_of};
use super::ports::products::{Facet, Found, Hit, IndexDown, Page, Reading, Total};
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
    /// Names this answer in the clicks it causes.
    pub query_id: Uuid,
    pub next_cursor: Option<String>,
    /// The answer is for one person and must not be shared.
    pub personal: bool,
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
    let begin = match &query.cursor {
        Some(cursor) => position(&app.products.cursors.open(&scope, cursor)?)?,
        None => 0,
    };
    let end = begin + query.limit;
    // Whether somebody has a profile is not known yet; for somebody who might, the whole window is fetched at once.
    let may_weave = shopper.is_somebody() && query.sort == Sort::Relevance && begin < WINDOW;
    let page = if may_weave {
        Page { query, language, from: 0, size: end.max(WINDOW) }
    } else {
        Page { query, language, from: begin, size: query.limit }
    };
    let (found, interests) = tokio::join!(app.products.index.search(page), async {
        if may_weave { interests_of(app, shopper).await } else { None }
    });
    let Found { hits, facets, total, corrected, reading, without_filters } = found?;
    let mut ranked = woven(hits, interests.as_ref());
    if may_weave {
        ranked = ranked.into_iter().skip(begin).take(query.limit).collect();
    }
    let goes_on = ranked.len() == query.limit && total.value > end as u64 && end + query.limit <= DEEPEST;
    let next_cursor = goes_on.then(|| app.products.cursors.seal(&scope, &end.to_string()));
    let (hits, ranks): (Vec<Hit>, Vec<Rank>) = ranked.into_iter().unzip();
    let listed = with_levels(app, hits).await;
    let items = listed.into_iter().zip(ranks).map(|(listed, rank)| Ranked { listed, rank }).collect();
    let personal = shopper.is_somebody();
    let query_id = common::ids::random();
    Ok(SearchAnswer { items, facets, total, corrected, reading, without_filters, query_id, next_cursor, personal })
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

fn position(payload: &str) -> Result<usize, InvalidCursor> {
    payload.parse().ok().filter(|position| *position < DEEPEST).ok_or(InvalidCursor)
}
