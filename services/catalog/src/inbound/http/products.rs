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
use chassis::extract::{Json, Language, Path};
use common::{Money, Region, Sku};
use http::header::{CACHE_CONTROL, CONTENT_LANGUAGE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Browsing;
use super::pages::{self, PageView};
use super::view::{ProductView, availability_code};
use crate::domain::product::{Offer, label_of};
use crate::domain::search_query::ListQuery;
use crate::usecases::App;
use crate::usecases::get_product::{ProductPage, get_product};
use crate::usecases::list_products::list_products;

/// A page may be this old in a shared cache, in seconds, and be shown while it is renewed: prices are confirmed by the order.
const SHARED_PAGE: &str = "public, max-age=0, s-maxage=10, stale-while-revalidate=30";

/// Seconds after which no shared cache shows such a page any more.
const LONGEST_SHARED: i64 = 40;

pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/products", get(list))
        .route("/v1/products/{sku}", get(one))
        .route("/v1/categories", get(categories))
        .with_state(app)
}

#[derive(Debug, Serialize)]
struct ListView {
    items: Vec<ProductView>,
    page: PageView,
}

async fn list(
    State(app): State<Arc<App>>,
    browsing: Browsing,
    Language(language): Language,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
) -> Result<(HeaderMap, Json<ListView>), Problem> {
    let parameters = pages::parameters(query.as_deref())?;
    let query = ListQuery::parse(&parameters)?;
    let found = list_products(&app, &query, language, browsing.shopper(query.visitor)).await?;
    let headers = pages::headers(language, found.personal, uri.path(), &parameters, found.next_cursor.as_deref());
    let (region, now) = (app.region, app.clock.now());
    let items = found
        .items
        .iter()
        .map(|item| ProductView::new(&item.hit.product, item.hit.revision, item.availability, language, region, now));
    Ok((headers, Json(ListView { items: items.collect(), page: PageView { next_cursor: found.next_cursor } })))
}

async fn one(
    State(app): State<Arc<App>>,
    Language(language): Language,
    Path(sku): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // What is no SKU names nothing.
    let sku = Sku::parse(&sku).map_err(|_| Problem::not_found())?;
    let page = get_product(&app, &sku).await?;
    let tag = entity_tag(&page, &sku, language, app.region);
    let mut answer = HeaderMap::new();
    answer.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language));
    answer.insert(VARY, HeaderValue::from_static("Accept-Language"));
    answer.insert(CACHE_CONTROL, shared_page(&page, app.region));
    if let Ok(tag) = HeaderValue::try_from(&tag) {
        answer.insert(ETAG, tag);
    }
    if has_tag(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    let product = page.revision.live().ok_or_else(Problem::not_found)?;
    let view = ProductView::of_page(product, &page, language, app.region);
    Ok((answer, Json(view)).into_response())
}

/// How old a page may get in shared caches: never beyond the moment when its price or its sale ends by itself.
fn shared_page(page: &ProductPage, region: Region) -> HeaderValue {
    let left = page.right_until(region).map(|turn| (turn - page.at).num_seconds());
    match left {
        Some(left) if left < LONGEST_SHARED => {
            let rule = format!("public, max-age=0, s-maxage={}", left.min(10));
            HeaderValue::try_from(rule).unwrap_or(HeaderValue::from_static("no-store"))
        }
        _ => HeaderValue::from_static(SHARED_PAGE),
    }
}

/// Everything that decides the bytes of the answer. The region is in it: a copy from elsewhere never counts as fresh here.
fn entity_tag(page: &ProductPage, sku: &Sku, language: &str, region: Region) -> String {
    let offer = |offer: Option<Offer>| match offer {
        Some(Offer { price, reduced_from }) => {
            format!("{} {}", price.amount.minor(), reduced_from.map(Money::minor).unwrap_or_default())
        }
        None => String::new(),
    };
    let mut facts = format!(
        "{sku}\n{}\n{language}\n{}\n{}\n{}",
        page.revision.number,
        region.code(),
        availability_code(page.availability),
        offer(Some(page.offer)),
    );
    for variant in &page.variants {
        facts += &format!("\n{}\n{}", availability_code(variant.availability), offer(variant.offer));
    }
    format!("\"{}\"", hex::encode(&Sha256::digest(facts)[..12]))
}

/// Whether the caller has this version. Weak tags compare by their text, as the specification wants it for reads.
fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|own| own == "*" || own.strip_prefix("W/").unwrap_or(own) == tag)
}

#[derive(Debug, Serialize)]
struct CategoriesView {
    items: Vec<CategoryView>,
    page: PageView,
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
    State(app): State<Arc<App>>,
    Language(language): Language,
) -> Result<(HeaderMap, Json<CategoriesView>), Problem> {
    let categories = app.products.index.categories().await?;
    let view = |(path, products): (String, u64)| {
        let (parent, name) =
            path.rsplit_once('/').map_or((None, path.as_str()), |(parent, name)| (Some(parent.to_owned()), name));
        CategoryView { label: label_of(name), parent, products, path }
    };
    let items = categories.into_iter().map(view).collect();
    let headers = pages::headers(language, false, "/v1/categories", &[], None);
    Ok((headers, Json(CategoriesView { items, page: PageView { next_cursor: None } })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_any_list_of_tags() {
        let has = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(value));
            has_tag(&headers, "\"abc\"")
        };
        assert!(has("\"abc\"") && has("\"x\", W/\"abc\"") && has("*"));
        assert!(!has("\"abcd\"") && !has("abc") && !has(""));
    }
}
