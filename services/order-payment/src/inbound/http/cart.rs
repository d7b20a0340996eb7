//! `/v1/cart`: the basket of a person, or of a browser that nobody logged in to. The `ETag` is the version of what is in it, not
//! of its prices; each change names the one it has seen.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use chassis::Problem;
use chassis::extract::{Caller, Json, MaybeCaller, Path, Query, etag};
use common::{ErrorKind, FieldProblem, VisitorId};
use http::header::ETAG;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;

use super::Api;
use super::cart_bodies::{self, CartBody, CouponBody, MergeBody, OneLineBody};
use super::orders::{private, problem, shopper};
use crate::domain::cart::CartOwner;
use crate::usecases::view_cart::CartView;
use crate::usecases::{Failure, change_cart, view_cart};

pub fn router() -> Router<Api> {
    Router::new()
        .route("/v1/cart", get(show).put(replace).delete(empty))
        .route("/v1/cart/lines/{sku}", put(put_line))
        .route("/v1/cart/coupon", put(put_coupon).delete(take_coupon))
        .route("/v1/cart/merge", post(merge))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    visitor_id: Option<String>,
}

/// A token names a person; without one, `visitor_id` names a browser.
fn owner(api: &Api, caller: MaybeCaller, whose: &Whose) -> Result<CartOwner, Problem> {
    match (caller.0, &whose.visitor_id) {
        (Some(caller), _) => Ok(CartOwner::User(at_home(api, &caller)?)),
        (None, Some(visitor)) => Ok(CartOwner::Visitor(visitor_id(visitor, "/visitor_id")?)),
        (None, None) => Err(Problem::new(
            ErrorKind::Unauthenticated,
            "unauthenticated",
            "send an access token, or the visitor_id of this browser",
        )),
    }
}

fn at_home(api: &Api, caller: &Caller) -> Result<common::UserId, Problem> {
    let shopper = shopper(caller);
    if shopper.region == api.app().region {
        Ok(shopper.user)
    } else {
        Err(problem(Failure::Misdirected(shopper.region)))
    }
}

fn visitor_id(text: &str, pointer: &str) -> Result<VisitorId, Problem> {
    text.parse().map_err(|_| Problem::invalid_fields(vec![FieldProblem::new(pointer, "format", "not a visitor id")]))
}

async fn show(State(api): State<Api>, caller: MaybeCaller, Query(whose): Query<Whose>) -> Result<Response, Problem> {
    let owner = owner(&api, caller, &whose)?;
    Ok(answer(&view_cart::view_cart(api.app(), owner).await.map_err(problem)?))
}

async fn replace(
    State(api): State<Api>,
    caller: MaybeCaller,
    Query(whose): Query<Whose>,
    headers: HeaderMap,
    Json(body): Json<CartBody>,
) -> Result<Response, Problem> {
    let owner = owner(&api, caller, &whose)?;
    let lines = body.lines.into_iter().map(Into::into).collect();
    let ship_to = body.ship_to.map(Into::into);
    let view = change_cart::replace_cart(api.app(), owner, etag::expected(&headers), lines, ship_to).await;
    Ok(answer(&view.map_err(problem)?))
}

async fn put_line(
    State(api): State<Api>,
    caller: MaybeCaller,
    Path(sku): Path<String>,
    Query(whose): Query<Whose>,
    headers: HeaderMap,
    Json(body): Json<OneLineBody>,
) -> Result<Response, Problem> {
    let owner = owner(&api, caller, &whose)?;
    let (line, shown) = body.of(sku);
    let view = change_cart::put_line(api.app(), owner, etag::expected(&headers), line, shown).await;
    Ok(answer(&view.map_err(problem)?))
}

async fn put_coupon(
    State(api): State<Api>,
    caller: MaybeCaller,
    Query(whose): Query<Whose>,
    headers: HeaderMap,
    Json(body): Json<CouponBody>,
) -> Result<Response, Problem> {
    let owner = owner(&api, caller, &whose)?;
    let view = change_cart::put_coupon(api.app(), owner, etag::expected(&headers), Some(&body.code)).await;
    Ok(answer(&view.map_err(problem)?))
}

async fn take_coupon(
    State(api): State<Api>,
    caller: MaybeCaller,
    Query(whose): Query<Whose>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let owner = owner(&api, caller, &whose)?;
    let view = change_cart::put_coupon(api.app(), owner, etag::expected(&headers), None).await;
    Ok(answer(&view.map_err(problem)?))
}

async fn empty(
    State(api): State<Api>,
    caller: MaybeCaller,
    Query(whose): Query<Whose>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let owner = owner(&api, caller, &whose)?;
    let view = change_cart::empty_cart(api.app(), owner, etag::expected(&headers)).await.map_err(problem)?;
    Ok(answer(&view))
}

async fn merge(State(api): State<Api>, caller: Caller, Json(body): Json<MergeBody>) -> Result<Response, Problem> {
    let (user, visitor) = (at_home(&api, &caller)?, visitor_id(&body.visitor_id, "/visitor_id")?);
    Ok(answer(&change_cart::merge_cart(api.app(), user, visitor).await.map_err(problem)?))
}

fn answer(view: &CartView) -> Response {
    let mut headers = private();
    if let Ok(tag) = HeaderValue::try_from(etag::of(view.cart.version)) {
        headers.insert(ETAG, tag);
    }
    (headers, Json(cart_bodies::cart(view))).into_response()
}
