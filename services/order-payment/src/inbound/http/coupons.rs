//! `/v1/admin/coupons/{code}`: how often a coupon was used. Its limits are the catalog's, beside the promotion that it brings.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chassis::Problem;
use chassis::extract::{Caller, Json, Path};
use serde::Serialize;

use super::Api;
use super::orders::{private, problem, shopper};
use super::refunds::is_staff;
use crate::usecases::coupons;
use crate::usecases::refund_order::Asker;

pub fn router() -> Router<Api> {
    Router::new().route("/v1/admin/coupons/{code}", get(show))
}

#[derive(Serialize)]
struct CountView {
    code: String,
    /// By orders that have not ended without a sale.
    used: u64,
}

async fn show(State(api): State<Api>, caller: Caller, Path(code): Path<String>) -> Result<Response, Problem> {
    let asker = Asker { shopper: shopper(&caller), staff: is_staff(&caller) };
    let (code, count) = coupons::uses(api.app(), asker, &code).await.map_err(problem)?;
    Ok((private(), Json(CountView { code: code.to_string(), used: count.used })).into_response())
}
