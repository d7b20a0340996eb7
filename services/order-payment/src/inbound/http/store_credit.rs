//! `/v1/me/store-credit` and `/v1/admin/store-credit/grants`: what we owe a person, and staff's gifts.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chassis::Problem;
use chassis::extract::{Caller, IdempotencyKey, Json};
use messaging::StoredAnswer;
use serde::{Deserialize, Serialize};

use super::Api;
use super::bodies::{MoneyBody, bytes};
use super::money::MoneyView;
use super::orders::{private, problem, shopper, stored};
use super::refunds::is_staff;
use crate::usecases::refund_order::Asker;
use crate::usecases::store_credit::{self, Grant, RawGrant};

pub fn router() -> Router<Api> {
    Router::new().route("/v1/me/store-credit", get(show)).route(store_credit::ROUTE, post(grant))
}

#[derive(Serialize)]
struct CreditView {
    balance: MoneyView,
    /// Set aside for orders under way.
    held: MoneyView,
}

async fn show(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    let credit = store_credit::balance(api.app(), shopper(&caller)).await.map_err(problem)?;
    let view = CreditView { balance: credit.free.into(), held: credit.held.into() };
    Ok((private(), Json(view)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantBody {
    user_id: String,
    amount: MoneyBody,
    reason: String,
}

#[derive(Serialize)]
struct GrantView {
    grant_id: String,
    user_id: String,
    amount: MoneyView,
}

async fn grant(
    State(api): State<Api>,
    caller: Caller,
    key: IdempotencyKey,
    Json(body): Json<GrantBody>,
) -> Result<Response, Problem> {
    let raw = RawGrant { user: body.user_id, amount: (body.amount.amount, body.amount.currency), reason: body.reason };
    let asker = Asker { shopper: shopper(&caller), staff: is_staff(&caller) };
    let (answer, replayed) = store_credit::grant(api.app(), asker, &key.0, raw, answer).await.map_err(problem)?;
    Ok(stored(answer, replayed))
}

fn answer(grant: &Grant) -> StoredAnswer {
    let view =
        GrantView { grant_id: grant.id.to_string(), user_id: grant.user.to_string(), amount: grant.amount.into() };
    StoredAnswer { status: 201, body: bytes(&view) }
}
