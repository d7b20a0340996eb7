//! `/v1/orders`: place, list, show, cancel.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chassis::Problem;
use chassis::extract::{Caller, IdempotencyKey, Json, Path, Query};
use common::OrderId;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LINK, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use messaging::StoredAnswer;
use serde::Deserialize;

use super::bodies::{self, ListView, OrderBody, PageView};
use super::{Api, cart_bodies, cursor};
use crate::usecases::views::MOST_ITEMS;
use crate::usecases::{Failure, Shopper, cancel_order, place_order, views};

pub fn router() -> Router<Api> {
    Router::new()
        .route("/v1/orders", post(place).get(list))
        .route("/v1/orders/{id}", get(show))
        .route("/v1/orders/{id}/cancel", post(cancel))
}

async fn place(
    State(api): State<Api>,
    caller: Caller,
    key: IdempotencyKey,
    Json(body): Json<OrderBody>,
) -> Result<Response, Problem> {
    let placed = place_order::place_order(api.app(), shopper(&caller), &key.0, body.into(), bodies::placed)
        .await
        .map_err(problem)?;
    let mut response = stored(placed.answer, placed.replayed);
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/orders/{}", placed.order)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    key: IdempotencyKey,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let order = order_id(&id)?;
    let cancelled = cancel_order::cancel_order(api.app(), shopper(&caller), &key.0, order, bodies::cancel_requested)
        .await
        .map_err(problem)?;
    Ok(stored(cancelled.answer, cancelled.replayed))
}

async fn show(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Result<Response, Problem> {
    let view = views::order(api.app(), shopper(&caller), order_id(&id)?).await.map_err(problem)?;
    Ok((private(), Json(bodies::full(&view))).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    cursor: Option<String>,
    limit: Option<String>,
}

/// A list nobody limited is a screen, not an archive.
const USUAL_ITEMS: u16 = 20;

async fn list(State(api): State<Api>, caller: Caller, Query(query): Query<ListQuery>) -> Result<Response, Problem> {
    let limit = match query.limit.as_deref() {
        None => USUAL_ITEMS,
        Some(text) => {
            text.parse().ok().filter(|limit| (1..=MOST_ITEMS).contains(limit)).ok_or(Failure::CursorInvalid)?
        }
    };
    let before = match query.cursor.as_deref() {
        None => None,
        Some(text) => Some(cursor::decode(caller.user_id, text).ok_or(Failure::CursorInvalid)?),
    };
    let page = views::orders(api.app(), shopper(&caller), before, limit).await.map_err(problem)?;
    let next_cursor = page.next.map(|position| cursor::encode(caller.user_id, position));
    let mut headers = private();
    if let Some(next) = &next_cursor
        && let Ok(link) = HeaderValue::from_str(&format!("</v1/orders?cursor={next}&limit={limit}>; rel=\"next\""))
    {
        headers.insert(LINK, link);
    }
    let view = ListView { items: page.items.iter().map(Into::into).collect(), page: PageView { next_cursor } };
    Ok((headers, Json(view)).into_response())
}

pub(super) fn shopper(caller: &Caller) -> Shopper {
    Shopper { user: caller.user_id, region: caller.region }
}

/// An id in another spelling names nothing of ours.
pub(super) fn order_id(text: &str) -> Result<OrderId, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

/// Tells a shopper of another region where to go.
pub(super) fn problem(failure: Failure) -> Problem {
    match failure {
        Failure::Misdirected(region) => Problem::from(failure).with_alternate(region.base_url()),
        Failure::PriceChanged(requote) => {
            let quote = cart_bodies::requoted(&requote);
            Problem::from(Failure::PriceChanged(requote)).with_member("quote", quote)
        }
        failure => failure.into(),
    }
}

pub(super) fn private() -> HeaderMap {
    HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static("no-store"))])
}

/// The stored bytes, exactly.
pub(super) fn stored(answer: StoredAnswer, replayed: bool) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut headers = private();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if replayed {
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    (status, headers, answer.body).into_response()
}
