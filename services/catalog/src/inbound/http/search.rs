//! `GET /v1/search` and `GET /v1/search/completions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, RawQuery, State};
use axum::routing::get;
use chassis::Problem;
use chassis::extract::{Json, Language};
use http::HeaderMap;
use serde::Serialize;

use super::Browsing;
use super::pages::{self, PageView};
use super::view::ProductView;
use crate::domain::product::label_of;
use crate::domain::search_query::{SearchQuery, completion_text};
use crate::usecases::App;
use crate::usecases::list_products::Listed;
use crate::usecases::ports::products::{Bucket, Completion, Facet};
use crate::usecases::search_products::{Ranked, SearchAnswer, search_products};

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
    page: PageView,
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

/// score = relevance × (1 + interest)
#[derive(Debug, Serialize)]
struct ExplainView {
    relevance: f64,
    interest: f64,
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
) -> Result<(HeaderMap, Json<SearchView>), Problem> {
    let parameters = pages::parameters(query.as_deref())?;
    let query = SearchQuery::parse(&parameters, app.region.currency())?;
    let answer = search_products(&app, &query, language, browsing.shopper(query.visitor)).await?;
    let headers = pages::headers(language, answer.personal, uri.path(), &parameters, answer.next_cursor.as_deref());
    Ok((headers, Json(view(&app, &query, answer, language))))
}

fn view(app: &App, query: &SearchQuery, answer: SearchAnswer, language: &str) -> SearchView {
    let (region, now) = (app.region, app.clock.now());
    let product = |Listed { hit, availability }: &Listed| {
        ProductView::new(&hit.product, hit.revision, *availability, language, region, now)
    };
    let item = |Ranked { listed, rank }: Ranked| ItemView {
        product: product(&listed),
        score: rank.score(),
        highlights: listed.hit.highlights.into_iter().collect(),
        explain: query.explain.then_some(ExplainView { relevance: rank.relevance, interest: rank.boost }),
    };
    SearchView {
        items: answer.items.into_iter().map(item).collect(),
        facets: answer.facets.into_iter().map(FacetView::from).collect(),
        total: TotalView { value: answer.total.value, relation: if answer.total.exact { "eq" } else { "gte" } },
        corrected_query: answer.corrected,
        reading: answer.reading.word(),
        without_filters: (answer.total.value == 0).then_some(answer.without_filters),
        query_id: answer.query_id.to_string(),
        page: PageView { next_cursor: answer.next_cursor },
    }
}

impl From<Facet> for FacetView {
    fn from(facet: Facet) -> Self {
        let label = label_of(facet.key.strip_prefix("attr.").unwrap_or(&facet.key));
        let bucket = |Bucket { value, count, selected }| BucketView { value, count, selected };
        Self { label, buckets: facet.buckets.into_iter().map(bucket).collect(), key: facet.key }
    }
}

#[derive(Debug, Serialize)]
struct CompletionsView {
    items: Vec<CompletionView>,
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
    let found = match text {
        Some(text) => app.products.index.completions(&text, language).await?,
        None => Vec::new(),
    };
    let items = found.into_iter().map(|Completion { text, kind }| CompletionView { text, kind }).collect();
    Ok((pages::headers(language, false, "/v1/search/completions", &[], None), Json(CompletionsView { items })))
}
