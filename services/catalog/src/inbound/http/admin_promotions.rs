//! `/v1/admin/promotions`: staff with the role `staff` says what is reduced, and by which coupon. `PUT …/{id}` and `DELETE …/{id}`
//! take the revision the caller has seen as `If-Match: "7"`. Each change is a revision that names who made it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chassis::Problem;
use chassis::extract::{Caller, Json, Path, distinct_if_any, etag};
use chrono::{DateTime, SecondsFormat, Utc};
use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::domain::promotion::{Off, Promotion, PromotionId, PromotionState, Target};
use crate::domain::promotion_book::Standing;
use crate::domain::promotion_draft::{CouponDraft, PromotionDraft, TargetDraft, percent_text};
use crate::usecases::App;
use crate::usecases::promotions::put_promotion;

pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/admin/promotions", get(list))
        .route("/v1/admin/promotions/{id}", get(show).put(change).delete(end))
        .with_state(app)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PromotionBody {
    title: String,
    percent: Option<String>,
    /// Currency code to amount, as text.
    #[serde(default, deserialize_with = "distinct_if_any")]
    amount: Option<BTreeMap<String, String>>,
    target: TargetBody,
    #[serde(default)]
    regions: Vec<String>,
    from: Option<String>,
    until: Option<String>,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    stacks: bool,
    coupon: Option<CouponBody>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetBody {
    #[serde(default)]
    basket: bool,
    #[serde(default)]
    categories: Vec<String>,
    #[serde(default)]
    skus: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CouponBody {
    code: String,
    most_uses: Option<u32>,
    most_per_person: Option<u32>,
}

#[derive(Debug, Serialize)]
struct PromotionView {
    id: String,
    revision: i64,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    amount: BTreeMap<&'static str, String>,
    target: TargetView,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regions: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    priority: i32,
    stacks: bool,
    /// Whether it is offered at this moment.
    in_force: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    coupon: Option<CouponView>,
}

#[derive(Debug, Default, Serialize)]
struct TargetView {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    basket: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skus: Vec<String>,
}

#[derive(Debug, Serialize)]
struct CouponView {
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    most_uses: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    most_per_person: Option<u32>,
}

#[derive(Debug, Serialize)]
struct ListView {
    items: Vec<PromotionView>,
}

#[derive(Debug, Serialize)]
struct WrittenView {
    id: String,
    revision: i64,
}

async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, Problem> {
    caller.require_role("staff")?;
    let (book, now) = (app.products.promotions.current().await?, app.clock.now());
    Ok((private(), Json(ListView { items: book.all().map(|standing| view(standing, now)).collect() })).into_response())
}

async fn show(State(app): State<Arc<App>>, caller: Caller, Path(id): Path<String>) -> Result<Response, Problem> {
    caller.require_role("staff")?;
    let id = PromotionId::parse(&id).map_err(|_| Problem::not_found())?;
    let book = app.products.promotions.current().await?;
    let standing = book.find(&id).ok_or_else(Problem::not_found)?;
    Ok((tagged(standing.revision), Json(view(standing, app.clock.now()))).into_response())
}

async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<PromotionBody>,
) -> Result<Response, Problem> {
    caller.require_role("staff")?;
    let promotion = body.into_draft(id).check().map_err(Problem::invalid_fields)?;
    let id = promotion.id.clone();
    let wanted = PromotionState::Live(promotion);
    let written = put_promotion(&app, wanted, etag::expected(&headers), caller.user_id).await?;
    tracing::info!(staff.id = %caller.user_id, promotion.id = %id, promotion.revision = written.revision, "promotion written");
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let body = Json(WrittenView { id: id.to_string(), revision: written.revision });
    Ok((status, tagged(written.revision), body).into_response())
}

async fn end(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.require_role("staff")?;
    let id = PromotionId::parse(&id).map_err(|_| Problem::not_found())?;
    let wanted = PromotionState::Ended(id.clone());
    let written = put_promotion(&app, wanted, etag::expected(&headers), caller.user_id).await?;
    tracing::info!(staff.id = %caller.user_id, promotion.id = %id, promotion.revision = written.revision, "promotion ended");
    Ok((StatusCode::NO_CONTENT, private()).into_response())
}

fn private() -> HeaderMap {
    HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static("no-store"))])
}

fn tagged(revision: i64) -> HeaderMap {
    let mut headers = private();
    if let Ok(tag) = HeaderValue::try_from(etag::of(revision)) {
        headers.insert(ETAG, tag);
    }
    headers
}

impl PromotionBody {
    fn into_draft(self, id: String) -> PromotionDraft {
        let TargetBody { basket, categories, skus } = self.target;
        PromotionDraft {
            id,
            title: self.title,
            percent: self.percent,
            amount: self.amount.map(|amounts| amounts.into_iter().collect()),
            target: TargetDraft { basket, categories, skus },
            regions: self.regions,
            from: self.from,
            until: self.until,
            priority: self.priority,
            stacks: self.stacks,
            coupon: self.coupon.map(|CouponBody { code, most_uses, most_per_person }| CouponDraft {
                code,
                most_uses,
                most_per_person,
            }),
        }
    }
}

fn view(Standing { revision, promotion }: &Standing, now: DateTime<Utc>) -> PromotionView {
    let instant = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let Promotion { id, title, off, target, regions, from, until, priority, stacks, coupon } = promotion;
    let (percent, amount) = match off {
        Off::Percent(hundredths) => (Some(percent_text(*hundredths)), BTreeMap::new()),
        Off::Amount(amounts) => {
            (None, amounts.usual().map(|money| (money.currency().code(), money.amount_string())).collect())
        }
    };
    PromotionView {
        id: id.to_string(),
        revision: *revision,
        title: title.clone(),
        percent,
        amount,
        target: match target {
            Target::Basket => TargetView { basket: true, ..TargetView::default() },
            Target::Categories(paths) => {
                TargetView { categories: paths.iter().map(ToString::to_string).collect(), ..TargetView::default() }
            }
            Target::Products(skus) => {
                TargetView { skus: skus.iter().map(ToString::to_string).collect(), ..TargetView::default() }
            }
        },
        regions: regions.iter().map(|region| region.code()).collect(),
        from: from.map(instant),
        until: until.map(instant),
        priority: *priority,
        stacks: *stacks,
        in_force: promotion.is_in_force(now),
        coupon: coupon.as_ref().map(|coupon| CouponView {
            code: coupon.code.to_string(),
            most_uses: coupon.most_uses,
            most_per_person: coupon.most_per_person,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_that_is_there_twice_in_one_currency_is_refused() {
        let body = |amount: &str| {
            serde_json::from_str::<PromotionBody>(&format!(r#"{{"title": "t", "target": {{}}, "amount": {amount}}}"#))
        };
        assert_eq!(body(r#"{"EUR": "5.00", "JPY": "700"}"#).unwrap().amount.unwrap().len(), 2);
        assert!(body("null").unwrap().amount.is_none());
        let refused = body(r#"{"EUR": "5.00", "EUR": "500.00"}"#).unwrap_err().to_string();
        assert!(refused.contains("a key occurs twice"), "{refused}");
    }
}
