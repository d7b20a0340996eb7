//! `GET /v1/search` and `GET /v1/search/completions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use chassis::Problem;
use chassis::extract::{Json, Language};
use http::HeaderMap;
use serde::Serialize;

use super::Browsing;
use super::pages::{self, OwnPageView};
use super::view::ProductView;
use crate::domain::labels::Reader;
use crate::domain::ranking::Rank;
use crate::domain::search_query::{SearchQuery, Sort, completion_text};
use crate::domain::standing::Standing;
use crate::usecases::App;
use crate::usecases::list_products::Listed;
use crate::usecases::ports::products::{Bucket, Completion, Facet};
use crate::usecases::search_products::{Ranked, SearchAnswer, search_products};
use crate::usecases::stand_in::{self, Answered};

pub fn router(app: Arc<App>) -> Router {
    Router::new().route("/v1/search", get(search)).route("/v1/search/completions", get(completions)).with_state(app)
}

#[derive(Debug, Serialize)]
struct SearchView {
    items: Vec<ItemView>,
    facets: Vec<FacetView>,
    total: TotalView,
    #[serde(skip_serializing_if = "Option::is_none")]
    corrected_query: Option<String>,
    /// `as_asked`; `corrected`: these fit the corrected query; `loose`: these fit some of the words, or nearly.
    reading: &'static str,
    /// When nothing is left: how many products fit without the filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    without_filters: Option<u64>,
    query_id: String,
    page: OwnPageView,
    /// Made without the index.
    degraded: bool,
    /// What it lacks for that reason.
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    without: &'static [&'static str],
}

#[derive(Debug, Serialize)]
struct ItemView {
    #[serde(flatten)]
    product: ProductView,
    score: f64,
    /// Field to the passage that fits, HTML-encoded with `<em>` around the words.
    highlights: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<ExplainView>,
}

/// score = relevance × availability × popularity × (1 + interest)
#[derive(Debug, Serialize)]
struct ExplainView {
    relevance: f64,
    availability: f64,
    popularity: f64,
    interest: f64,
}

impl ExplainView {
    /// The index gives the first three as one number, where words are what it sorts by; else it gives none.
    fn of(rank: Rank, standing: Standing, is_scored: bool) -> Self {
        let standing = if is_scored { standing } else { Standing::default() };
        Self {
            relevance: rank.relevance / standing.factor(),
            availability: standing.availability_factor(),
            popularity: standing.popularity_factor(),
            interest: rank.boost,
        }
    }
}

#[derive(Debug, Serialize)]
struct FacetView {
    key: String,
    label: String,
    buckets: Vec<BucketView>,
}

#[derive(Debug, Serialize)]
struct BucketView {
    value: String,
    /// Of a category.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    count: u64,
    selected: bool,
}

#[derive(Debug, Serialize)]
struct TotalView {
    value: u64,
    /// `eq`, or `gte` when there are more than were counted.
    relation: &'static str,
}

async fn search(
    State(app): State<Arc<App>>,
    browsing: Browsing,
    Language(language): Language,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = pages::parameters(query.as_deref())?;
    let query = SearchQuery::parse(&parameters, app.region.currency())?;
    let answer = search_products(&app, &query, language, browsing.shopper(query.visitor)).await?;
    let headers = pages::headers(language, answer.personal, uri.path(), &parameters, answer.next_cursor.as_deref());
    let products = answer.items.iter().map(|item| &item.listed.hit.product);
    let headers = pages::until_turn(headers, products, app.region, app.clock.now());
    let headers = pages::degraded(headers, answer.degraded);
    if !(answer.personal || answer.degraded) {
        return Ok(pages::tagged(headers, &view(&app, &query, answer, language), &asked));
    }
    // Nobody keeps these, so nobody can ask whether they changed.
    Ok((headers, Json(view(&app, &query, answer, language))).into_response())
}

fn view(app: &App, query: &SearchQuery, answer: SearchAnswer, language: &str) -> SearchView {
    let (names, now) = (app.products.labels.shown(), app.clock.now());
    let reader = Reader { language, region: app.region, book: &names };
    let product = |Listed { hit, availability }: &Listed| {
        ProductView::new(&hit.product, hit.revision, *availability, reader, now)
    };
    let is_scored = query.text.is_some() && query.sort == Sort::Relevance;
    let item = |Ranked { listed, rank }: Ranked| ItemView {
        product: product(&listed),
        score: rank.score(),
        explain: query.explain.then(|| ExplainView::of(rank, listed.hit.standing, is_scored)),
        highlights: listed.hit.highlights.into_iter().collect(),
    };
    SearchView {
        items: answer.items.into_iter().map(item).collect(),
        facets: answer.facets.into_iter().map(|facet| FacetView::new(facet, reader)).collect(),
        total: TotalView { value: answer.total.value, relation: if answer.total.exact { "eq" } else { "gte" } },
        corrected_query: answer.corrected,
        reading: answer.reading.word(),
        without_filters: (answer.total.value == 0).then_some(answer.without_filters),
        query_id: answer.query_id.to_string(),
        page: OwnPageView { cursor: answer.cursor, next_cursor: answer.next_cursor },
        degraded: answer.degraded,
        without: if answer.degraded { stand_in::WITHOUT } else { &[] },
    }
}

impl FacetView {
    fn new(facet: Facet, reader: Reader<'_>) -> Self {
        let of_categories = facet.key == "category";
        let bucket = |Bucket { value, count, selected }| BucketView {
            label: of_categories.then(|| reader.category(&value)),
            value,
            count,
            selected,
        };
        Self {
            label: reader.facet(&facet.key),
            buckets: facet.buckets.into_iter().map(bucket).collect(),
            key: facet.key,
        }
    }
}

#[derive(Debug, Serialize)]
struct CompletionsView {
    items: Vec<CompletionView>,
    degraded: bool,
}

#[derive(Debug, Serialize)]
struct CompletionView {
    text: String,
    kind: &'static str,
}

async fn completions(
    State(app): State<Arc<App>>,
    Language(language): Language,
    RawQuery(query): RawQuery,
) -> Result<(HeaderMap, Json<CompletionsView>), Problem> {
    let text = completion_text(&pages::parameters(query.as_deref())?)?;
    let Answered { value, degraded } = match text {
        Some(text) => stand_in::completions(&app, &text, language).await?,
        None => Answered { value: Vec::new(), degraded: false },
    };
    let items = value.into_iter().map(|Completion { text, kind }| CompletionView { text, kind }).collect();
    let headers = pages::headers(language, false, "/v1/search/completions", &[], None);
    Ok((pages::degraded(headers, degraded), Json(CompletionsView { items, degraded })))
}
