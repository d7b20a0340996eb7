//! The desk of prices and the history of products. `PUT /v1/admin/products/{sku}/prices` changes nothing but prices;
//! `GET …/prices` says what an item cost at each moment; `GET …/revisions` says who changed the product, when and why;
//! `GET /v1/admin/products/{sku}` is the product as somebody would write it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use chassis::Problem;
use chassis::extract::{Caller, Json, Path, Query, distinct};
use chrono::{DateTime, SecondsFormat, Utc};
use common::{Money, Sku};
use contracts::trace::current_traceparent;
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::admin_products::{author, expected_revision, tagged};
use super::desk::Desk;
use super::product_body::{PriceBody, ProductBody};
use super::view::MoneyView;
use crate::domain::draft::ProductDraft;
use crate::domain::product::{InvalidProduct, Revision, State as ProductState};
use crate::usecases::App;
use crate::usecases::product_history::{PAGE, prices_of, revisions};
use crate::usecases::put_product::{By, Written, put_product};

/// Sixty prices fit with room to spare.
const BODY_LIMIT_BYTES: usize = 64 * 1024;

pub fn router(app: Arc<App>) -> Router {
    let routes = Router::new()
        .route("/v1/admin/products/{sku}/prices", put(change).get(history))
        .route("/v1/admin/products/{sku}/revisions", get(life))
        .with_state(app);
    chassis::http::body_limit(routes, BODY_LIMIT_BYTES)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PricesBody {
    reason: String,
    /// The usual price of each currency.
    #[serde(default, deserialize_with = "distinct")]
    prices: BTreeMap<String, String>,
    /// For one region or for a time.
    #[serde(default)]
    special_prices: Vec<PriceBody>,
}

#[derive(Debug, Serialize)]
struct ChangedView {
    sku: String,
    revision: i64,
}

async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(sku): Path<String>,
    headers: HeaderMap,
    Json(body): Json<PricesBody>,
) -> Result<Response, Problem> {
    Desk::Prices.open_to(&caller)?;
    let sku = known(&sku)?;
    let author = author(&caller, Some(&body.reason))?;
    let expected = expected_revision(&headers)?;
    let newest = app.products.store.newest(&sku).await?.ok_or_else(Problem::not_found)?;
    let product = newest.live().ok_or_else(Problem::not_found)?;
    let wanted = ProductDraft {
        prices: body.prices.into_iter().collect(),
        special_prices: body.special_prices.into_iter().map(Into::into).collect(),
        ..ProductDraft::of(product)
    };
    let mut wanted = wanted.check("").map_err(|InvalidProduct(faults)| Problem::invalid_fields(faults))?;
    // Prices are not what a schema speaks of.
    wanted.schema = product.schema;
    let traceparent = current_traceparent();
    let by = By { author: Some(author), traceparent: traceparent.as_deref() };
    // The prices were laid over that revision: any later one is somebody else's change.
    let expected = Some(expected.unwrap_or(newest.number));
    let written = put_product(&app, ProductState::Live(wanted), expected, &by).await?;
    let Written { revision, .. } = written;
    tracing::info!(staff.id = %caller.user_id, product.sku = %sku, product.revision = revision, "prices written");
    Ok((tagged(written), Json(ChangedView { sku: sku.to_string(), revision })).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryQuery {
    /// A variant; else the product.
    item: Option<String>,
}

#[derive(Debug, Serialize)]
struct HistoryView {
    sku: String,
    item: String,
    steps: Vec<StepView>,
    is_cut: bool,
    lowest_price_of_30_days: Option<MoneyView>,
    /// The same, as product pages compute it.
    shown_lowest_price_of_30_days: Option<MoneyView>,
}

#[derive(Debug, Serialize)]
struct StepView {
    from: String,
    /// Absent: not for sale.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<MoneyView>,
}

async fn history(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(sku): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<HistoryView>, Problem> {
    Desk::Prices.open_to(&caller).or_else(|_| Desk::Products.open_to(&caller))?;
    let sku = known(&sku)?;
    let item = query.item.as_deref().map(known).transpose()?.unwrap_or_else(|| sku.clone());
    let found = prices_of(&app, &sku, &item).await?.ok_or_else(Problem::not_found)?;
    let step =
        |(at, price): (DateTime<Utc>, Option<Money>)| StepView { from: written(at), price: price.map(MoneyView::from) };
    Ok(Json(HistoryView {
        sku: sku.to_string(),
        item: item.to_string(),
        steps: found.steps.into_iter().map(step).collect(),
        is_cut: found.is_cut,
        lowest_price_of_30_days: found.lowest_before_present.map(MoneyView::from),
        shown_lowest_price_of_30_days: found.shown.map(MoneyView::from),
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LifeQuery {
    /// Only revisions before this number.
    before: Option<i64>,
}

#[derive(Debug, Serialize)]
struct LifeView {
    items: Vec<RevisionView>,
    /// `before` of the next page.
    next_before: Option<i64>,
}

#[derive(Debug, Serialize)]
pub(super) struct RevisionView {
    revision: i64,
    changed_at: String,
    deleted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<ProductBody>,
}

async fn life(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(sku): Path<String>,
    Query(query): Query<LifeQuery>,
) -> Result<Json<LifeView>, Problem> {
    Desk::Products.open_to(&caller).or_else(|_| Desk::Prices.open_to(&caller))?;
    let found = revisions(&app, &known(&sku)?, query.before).await?;
    if found.is_empty() && query.before.is_none() {
        return Err(Problem::not_found());
    }
    let next_before = found.last().filter(|_| found.len() == PAGE).map(|oldest| oldest.number);
    Ok(Json(LifeView { items: found.iter().map(RevisionView::new).collect(), next_before }))
}

impl RevisionView {
    pub fn new(revision: &Revision) -> Self {
        let author = revision.author.as_ref();
        Self {
            revision: revision.number,
            changed_at: written(revision.changed_at),
            deleted: matches!(revision.state, ProductState::Deleted(_)),
            variant_of: revision.variant_of().map(Sku::to_string),
            author: author.map(|author| author.user.to_string()),
            reason: author.and_then(|author| author.reason.clone()),
            schema: revision.live().map(|product| product.schema),
            product: revision.live().map(ProductBody::of),
        }
    }
}

/// A text that is no SKU names nothing.
fn known(text: &str) -> Result<Sku, Problem> {
    Sku::parse(text).map_err(|_| Problem::not_found())
}

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
