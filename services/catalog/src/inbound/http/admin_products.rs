//! `/v1/admin/products`: staff with the role `staff` change what is for sale.
//!
//! `POST …/batch` takes up to 500 products. One that is not acceptable refuses the whole batch, so that an import is never
//! half understood; one that met another writer is named in the answer, since the others were written. `PUT …/{sku}` and
//! `DELETE …/{sku}` concern one product and take the revision the caller has seen as `If-Match: "7"`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use chassis::Problem;
use chassis::extract::{Caller, Json, Path};
use common::{ErrorKind, FieldProblem, Sku};
use contracts::trace::current_traceparent;
use http::header::{CACHE_CONTROL, ETAG, IF_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::domain::draft::{AttributeDraft, ProductDraft, TextDraft};
use crate::domain::product::{InvalidProduct, Product, State as ProductState};
use crate::usecases::App;
use crate::usecases::put_product::{MAX_BATCH, Written, put_product, put_products};

/// 500 products with long texts; the edge lets 5 MiB through to staff.
const BODY_LIMIT_BYTES: usize = 4 * 1024 * 1024;

pub fn router(app: Arc<App>) -> Router {
    let routes = Router::new()
        .route("/v1/admin/products/batch", post(batch))
        .route("/v1/admin/products/{sku}", put(change).delete(remove))
        .with_state(app);
    chassis::http::body_limit(routes, BODY_LIMIT_BYTES)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchBody {
    products: Vec<ProductBody>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProductBody {
    /// Part of the path where one product is meant.
    sku: Option<String>,
    family: String,
    category: String,
    brand: String,
    /// Language to text.
    texts: BTreeMap<String, TextBody>,
    /// Currency code to amount, as text.
    prices: BTreeMap<String, String>,
    #[serde(default)]
    attributes: Vec<AttributeBody>,
    #[serde(default)]
    options: Vec<OptionBody>,
    #[serde(default)]
    images: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TextBody {
    name: String,
    #[serde(default)]
    description: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttributeBody {
    key: String,
    value: String,
    unit: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OptionBody {
    key: String,
    values: Vec<String>,
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
    caller.require_role("staff")?;
    let products = checked(body)?;
    let count = products.len();
    let outcome = put_products(&app, products, current_traceparent().as_deref()).await?;
    tracing::info!(
        staff.id = %caller.user_id,
        products = count,
        created = outcome.created,
        changed = outcome.changed,
        overtaken = outcome.overtaken.len(),
        "products written"
    );
    let rejected = outcome.overtaken.into_iter().map(|(index, sku)| RejectedView {
        index,
        sku: sku.to_string(),
        code: "version-conflict",
        message: "somebody else changed this product at the same moment; it was not changed by this batch",
    });
    Ok(Json(BatchAnswer {
        created: outcome.created,
        changed: outcome.changed,
        unchanged: outcome.unchanged,
        rejected: rejected.collect(),
    }))
}

fn checked(body: BatchBody) -> Result<Vec<Product>, Problem> {
    if !(1..=MAX_BATCH).contains(&body.products.len()) {
        return Err(Problem::invalid_fields(vec![FieldProblem::new(
            "/products",
            "invalid",
            "a batch has 1 to 500 products",
        )]));
    }
    let (mut products, mut faults) = (Vec::with_capacity(body.products.len()), Vec::new());
    for (place, product) in body.products.into_iter().enumerate() {
        match product.into_draft(None).check(&format!("/products/{place}")) {
            Ok(product) => products.push(product),
            Err(InvalidProduct(more)) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(products) } else { Err(Problem::invalid_fields(faults)) }
}

async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(sku): Path<String>,
    headers: HeaderMap,
    Json(body): Json<ProductBody>,
) -> Result<Response, Problem> {
    caller.require_role("staff")?;
    let sku = Sku::parse(&sku).map_err(|_| Problem::not_found())?;
    let expected = expected_revision(&headers)?;
    if body.sku.as_deref().is_some_and(|own| own != sku.as_str()) {
        return Err(Problem::invalid_fields(vec![FieldProblem::new("/sku", "invalid", "differs from the path")]));
    }
    let product =
        body.into_draft(Some(&sku)).check("").map_err(|InvalidProduct(faults)| Problem::invalid_fields(faults))?;
    let written = put_product(&app, ProductState::Live(product), expected, current_traceparent().as_deref()).await?;
    tracing::info!(staff.id = %caller.user_id, product.sku = %sku, product.revision = written.revision, "product written");
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, tagged(written), Json(WrittenView { sku: sku.to_string(), revision: written.revision }))
        .into_response())
}

async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(sku): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.require_role("staff")?;
    let sku = Sku::parse(&sku).map_err(|_| Problem::not_found())?;
    let expected = expected_revision(&headers)?;
    let written =
        put_product(&app, ProductState::Deleted(sku.clone()), expected, current_traceparent().as_deref()).await?;
    tracing::info!(staff.id = %caller.user_id, product.sku = %sku, product.revision = written.revision, "product deleted");
    Ok((StatusCode::NO_CONTENT, tagged(written)).into_response())
}

fn tagged(written: Written) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", written.revision)) {
        headers.insert(ETAG, tag);
    }
    headers
}

/// `If-Match: "7"` as 7; absent as no expectation.
fn expected_revision(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
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

impl ProductBody {
    fn into_draft(self, sku: Option<&Sku>) -> ProductDraft {
        let text = |(language, TextBody { name, description })| TextDraft { language, name, description };
        ProductDraft {
            sku: sku.map(Sku::to_string).or(self.sku).unwrap_or_default(),
            family: self.family,
            category: self.category,
            brand: self.brand,
            texts: self.texts.into_iter().map(text).collect(),
            prices: self.prices.into_iter().collect(),
            attributes: self
                .attributes
                .into_iter()
                .map(|AttributeBody { key, value, unit }| AttributeDraft { key, value, unit })
                .collect(),
            options: self.options.into_iter().map(|OptionBody { key, values }| (key, values)).collect(),
            images: self.images,
        }
    }
}
