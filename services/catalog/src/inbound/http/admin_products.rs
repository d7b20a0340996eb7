//! `/v1/admin/products`: staff changes what is for sale.
//!
//! `POST …/batch` takes up to 500 products. One that is not acceptable refuses the whole batch, so that an import is never
//! half understood; one that met another writer is named in the answer, since the others were written. `PUT …/{sku}` and
//! `DELETE …/{sku}` concern one product and take the revision the caller has seen as `If-Match: "7"`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use chassis::Problem;
use chassis::extract::{Caller, Json, Path, Query};
use common::{ErrorKind, FieldProblem, Sku};
use contracts::trace::current_traceparent;
use http::header::{CACHE_CONTROL, ETAG, IF_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::admin_prices::RevisionView;
use super::desk::Desk;
use super::product_body::ProductBody;
use crate::domain::product::{Author, InvalidProduct, Product, State as ProductState};
use crate::usecases::App;
use crate::usecases::pictures::missing_pictures;
use crate::usecases::put_product::{By, MAX_BATCH, Written, put_product, put_products};

/// 500 products with long texts; the edge lets 5 MiB through to staff.
const BODY_LIMIT_BYTES: usize = 4 * 1024 * 1024;

pub fn router(app: Arc<App>) -> Router {
    let routes = Router::new()
        .route("/v1/admin/products/batch", post(batch))
        .route("/v1/admin/products/{sku}", put(change).delete(remove).get(show))
        .with_state(app);
    chassis::http::body_limit(routes, BODY_LIMIT_BYTES)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchBody {
    /// Kept with every revision of the batch.
    reason: Option<String>,
    products: Vec<ProductBody>,
}

#[derive(Debug, Serialize)]
struct BatchAnswer {
    created: usize,
    changed: usize,
    unchanged: usize,
    rejected: Vec<RejectedView>,
}

#[derive(Debug, Serialize)]
struct RejectedView {
    index: usize,
    sku: String,
    code: &'static str,
    message: &'static str,
}

/// `?reason=…`: kept with the revision.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    reason: Option<String>,
}

/// Who writes, and why they say they do.
pub(super) fn author(caller: &Caller, reason: Option<&str>) -> Result<Author, Problem> {
    Ok(Author { user: caller.user_id, reason: reason.map(operations::reason).transpose()? })
}

#[derive(Debug, Serialize)]
struct WrittenView {
    sku: String,
    revision: i64,
}

async fn batch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(body): Json<BatchBody>,
) -> Result<Json<BatchAnswer>, Problem> {
    Desk::Products.open_to(&caller)?;
    let author = author(&caller, body.reason.as_deref())?;
    let products = checked(&app, body).await?;
    let count = products.len();
    let traceparent = current_traceparent();
    let by = By { author: Some(author), traceparent: traceparent.as_deref() };
    let outcome = put_products(&app, products, &by).await?;
    tracing::info!(
        staff.id = %caller.user_id,
        products = count,
        created = outcome.created,
        changed = outcome.changed,
        overtaken = outcome.overtaken.len(),
        "products written"
    );
    let overtaken = outcome.overtaken.into_iter().map(|(index, sku)| RejectedView {
        index,
        sku: sku.to_string(),
        code: "version-conflict",
        message: "somebody else changed this product at the same moment; it was not changed by this batch",
    });
    let in_use = outcome.in_use.into_iter().map(|(index, sku)| RejectedView {
        index,
        sku: sku.to_string(),
        code: "state-conflict",
        message: "this SKU belongs to another product; nothing of this product was changed",
    });
    let rejected = overtaken.chain(in_use);
    Ok(Json(BatchAnswer {
        created: outcome.created,
        changed: outcome.changed,
        unchanged: outcome.unchanged,
        rejected: rejected.collect(),
    }))
}

async fn checked(app: &App, body: BatchBody) -> Result<Vec<Product>, Problem> {
    if !(1..=MAX_BATCH).contains(&body.products.len()) {
        return Err(Problem::invalid_fields(vec![FieldProblem::new(
            "/products",
            "invalid",
            "a batch has 1 to 500 products",
        )]));
    }
    let (mut products, mut faults) = (Vec::with_capacity(body.products.len()), Vec::new());
    for (place, product) in body.products.into_iter().enumerate() {
        match accepted(app, product, None, &format!("/products/{place}")).await? {
            Ok(product) => products.push(product),
            Err(InvalidProduct(more)) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(products) } else { Err(Problem::invalid_fields(faults)) }
}

/// The product that `body` describes, if everything about it is acceptable: its fields, the schema of its family, its pictures.
async fn accepted(
    app: &App,
    body: ProductBody,
    sku: Option<&Sku>,
    place: &str,
) -> Result<Result<Product, InvalidProduct>, Problem> {
    let checked = match body.into_draft(sku).check(place) {
        Ok(product) => app.products.families.accept(product, place).await?,
        Err(error) => Err(error),
    };
    let Ok(product) = checked else { return Ok(checked) };
    let missing = missing_pictures(app, &product, place).await?;
    Ok(if missing.is_empty() { Ok(product) } else { Err(InvalidProduct(missing)) })
}

/// As somebody would write it, with who wrote it last.
async fn show(State(app): State<Arc<App>>, caller: Caller, Path(sku): Path<String>) -> Result<Response, Problem> {
    Desk::Products.open_to(&caller).or_else(|_| Desk::Prices.open_to(&caller))?;
    let sku = Sku::parse(&sku).map_err(|_| Problem::not_found())?;
    let newest = app.products.store.newest(&sku).await?.ok_or_else(Problem::not_found)?;
    let written = Written { revision: newest.number, created: false };
    Ok((tagged(written), Json(RevisionView::new(&newest))).into_response())
}

async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(sku): Path<String>,
    Query(why): Query<Why>,
    headers: HeaderMap,
    Json(body): Json<ProductBody>,
) -> Result<Response, Problem> {
    Desk::Products.open_to(&caller)?;
    let sku = Sku::parse(&sku).map_err(|_| Problem::not_found())?;
    let expected = expected_revision(&headers)?;
    if body.sku.as_deref().is_some_and(|own| own != sku.as_str()) {
        return Err(Problem::invalid_fields(vec![FieldProblem::new("/sku", "invalid", "differs from the path")]));
    }
    let product = accepted(&app, body, Some(&sku), "").await?;
    let product = product.map_err(|InvalidProduct(faults)| Problem::invalid_fields(faults))?;
    let traceparent = current_traceparent();
    let author = author(&caller, why.reason.as_deref())?;
    let by = By { author: Some(author), traceparent: traceparent.as_deref() };
    let written = put_product(&app, ProductState::Live(product), expected, &by).await?;
    tracing::info!(staff.id = %caller.user_id, product.sku = %sku, product.revision = written.revision, "product written");
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, tagged(written), Json(WrittenView { sku: sku.to_string(), revision: written.revision }))
        .into_response())
}

async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(sku): Path<String>,
    Query(why): Query<Why>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Desk::Products.open_to(&caller)?;
    let sku = Sku::parse(&sku).map_err(|_| Problem::not_found())?;
    let expected = expected_revision(&headers)?;
    let traceparent = current_traceparent();
    let author = author(&caller, why.reason.as_deref())?;
    let by = By { author: Some(author), traceparent: traceparent.as_deref() };
    let written = put_product(&app, ProductState::Deleted(sku.clone()), expected, &by).await?;
    tracing::info!(staff.id = %caller.user_id, product.sku = %sku, product.revision = written.revision, "product deleted");
    Ok((StatusCode::NO_CONTENT, tagged(written)).into_response())
}

pub(super) fn tagged(written: Written) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", written.revision)) {
        headers.insert(ETAG, tag);
    }
    headers
}

/// `If-Match: "7"` as 7; absent as no expectation.
pub(super) fn expected_revision(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let revision =
        value.to_str().ok().and_then(|text| text.trim().strip_prefix('"')?.strip_suffix('"')?.parse::<i64>().ok());
    match revision.filter(|revision| *revision >= 1) {
        Some(revision) => Ok(Some(revision)),
        None => Err(Problem::new(
            ErrorKind::Invalid,
            "malformed-request",
            "if-match is one revision number in double quotes",
        )),
    }
}
