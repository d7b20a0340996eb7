//! `GET /v1/products`, `GET /v1/products/{sku}`, `GET /v1/categories`: what is for sale.
//!
//! A product page is the same for everybody in a region and language, so it may be kept by shared caches for a few seconds
//! and asked for again by its `ETag`. A list may be personal, and then belongs to nobody else.

use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chassis::Problem;
use chassis::extract::{Language, Path};
use chassis::http::AtHand;
use common::Sku;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::Browsing;
use super::finished::{CACHE_TAG, Pages, SHOP_KEY, category_key};
use super::pages::{self, OwnPageView, PageView};
use super::view::ProductView;
use crate::domain::labels::Reader;
use crate::domain::search_query::ListQuery;
use crate::usecases::App;
use crate::usecases::list_products::list_products;
use crate::usecases::stand_in::{self, Answered};

/// Lists are made anew, the product page is finished; `pages` knows both in their encodings.
pub fn router(app: Arc<App>, pages: Arc<Pages>) -> Router {
    let page: Router = Router::new().route("/v1/products/{sku}", get(one)).with_state(pages.clone());
    let lists = Router::new().route("/v1/products", get(list)).route("/v1/categories", get(categories));
    lists.with_state((app, pages)).merge(page)
}

#[derive(Debug, Serialize)]
struct ListView {
    items: Vec<ProductView>,
    page: OwnPageView,
    /// Made without the index: names, brands, prices and one picture.
    degraded: bool,
}

async fn list(
    State((app, pages)): State<(Arc<App>, Arc<Pages>)>,
    browsing: Browsing,
    Language(language): Language,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
    asked: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = pages::parameters(query.as_deref())?;
    let query = ListQuery::parse(&parameters)?;
    let found = list_products(&app, &query, language, browsing.shopper(query.visitor)).await?;
    let headers = pages::headers(language, found.personal, uri.path(), &parameters, found.next_cursor.as_deref());
    let (region, now) = (app.region, app.clock.now());
    let headers = pages::until_turn(headers, found.items.iter().map(|item| &item.hit.product), region, now);
    let (degraded, mut headers) = (found.degraded, pages::degraded(headers, found.degraded));
    let key = query.category.as_ref().map(|category| category_key(category.as_str()));
    if let Ok(key) = HeaderValue::try_from(key.unwrap_or_else(|| SHOP_KEY.to_owned())) {
        headers.insert(CACHE_TAG, key);
    }
    let names = app.products.labels.shown();
    let reader = Reader { language, region, book: &names };
    let items = found
        .items
        .iter()
        .map(|item| ProductView::new(&item.hit.product, item.hit.revision, item.availability, reader, now));
    let page = OwnPageView { cursor: found.cursor, next_cursor: found.next_cursor };
    let view = ListView { items: items.collect(), page, degraded };
    Ok(pages::encoded(pages.bodies(), headers, &view, &asked).await)
}

async fn one(
    State(pages): State<Arc<Pages>>,
    Language(language): Language,
    Path(sku): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // What is no SKU names nothing.
    let sku = Sku::parse(&sku).map_err(|_| Problem::not_found())?;
    let AtHand { changed, headers, body } = pages.answer(sku, language, &headers).await?;
    Ok(if changed { (headers, body).into_response() } else { (StatusCode::NOT_MODIFIED, headers).into_response() })
}

#[derive(Debug, Serialize)]
struct CategoriesView {
    items: Vec<CategoryView>,
    page: PageView,
    degraded: bool,
}

#[derive(Debug, Serialize)]
struct CategoryView {
    path: String,
    label: String,
    /// Path of the category above; absent at the top.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// Products in it and below.
    products: u64,
}

async fn categories(
    State((app, pages)): State<(Arc<App>, Arc<Pages>)>,
    Language(language): Language,
    asked: HeaderMap,
) -> Result<Response, Problem> {
    let Answered { value: categories, degraded } = stand_in::categories(&app).await?;
    let names = app.products.labels.shown();
    let reader = Reader { language, region: app.region, book: &names };
    let view = |(path, products): (String, u64)| {
        let parent = path.rsplit_once('/').map(|(parent, _)| parent.to_owned());
        CategoryView { label: reader.category(&path), parent, products, path }
    };
    let items = categories.into_iter().map(view).collect();
    let mut headers = pages::degraded(pages::headers(language, false, "/v1/categories", &[], None), degraded);
    headers.insert(CACHE_TAG, HeaderValue::from_static(SHOP_KEY));
    let view = CategoriesView { items, page: PageView { next_cursor: None }, degraded };
    Ok(pages::encoded(pages.bodies(), headers, &view, &asked).await)
}
