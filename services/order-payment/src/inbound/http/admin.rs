//! `/v1/admin/sagas` and `/v1/admin/reconciliation`: what operators see and do. Every handler asks for an operator; every
//! change asks why, and is written down with who and when.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use chassis::Problem;
use chassis::extract::{Json, Path, Query};
use chrono::Duration;
use common::FieldProblem;
use operations::{Operator, WhyBody, reason};
use serde::Deserialize;

use super::admin_bodies::{CompensatedView, FileView, ListView, OwnedView, ReportView, RetriedView};
use super::cursor;
use super::orders::order_id;
use crate::usecases::desk::{Desk, MOST_SAGAS, STUCK_AFTER_S, SagaFilter};
use crate::usecases::own_finding::{acknowledge_finding, resolve_finding};
use crate::usecases::views::Position;
use crate::usecases::{App, Failure, compensate_saga, retry_saga};

/// A list nobody limited is a screen.
const USUAL_ITEMS: u16 = 20;
/// How far back a list of all sagas goes unless it is told; nobody pages through years.
const USUAL_SINCE_S: u32 = 48 * 3_600;
/// The longest age that is asked for: ten years.
const MOST_AGE_S: u32 = 315_360_000;

/// What the handlers share.
#[derive(Clone)]
pub struct Admin {
    pub app: Arc<App>,
    pub desk: Arc<dyn Desk>,
}

pub fn router(admin: Admin) -> Router {
    let finding = "/v1/admin/reconciliation/findings/{kind}/{reference}";
    Router::new()
        .route("/v1/admin/sagas", get(list))
        .route("/v1/admin/sagas/{id}", get(show))
        .route("/v1/admin/sagas/{id}/retry", post(retry))
        .route("/v1/admin/sagas/{id}/compensate", post(compensate))
        .route("/v1/admin/reconciliation", get(report))
        .route(&format!("{finding}/acknowledge"), post(acknowledge))
        .route(&format!("{finding}/resolve"), post(resolve))
        .with_state(admin)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    status: Option<String>,
    reason: Option<String>,
    /// `true`: not at their end and unmoved for `older_s`.
    #[serde(default)]
    stuck: bool,
    older_s: Option<u32>,
    /// How far back a list goes that is not of stuck ones.
    since_s: Option<u32>,
    limit: Option<u16>,
    cursor: Option<String>,
}

async fn list(
    State(admin): State<Admin>,
    Operator(actor): Operator,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListView>, Problem> {
    let now = admin.app.clock.now();
    let age = |pointer, seconds: u32| {
        if (1..=MOST_AGE_S).contains(&seconds) {
            Ok(now - Duration::seconds(i64::from(seconds)))
        } else {
            Err(field(pointer, "range", "seconds, from 1"))
        }
    };
    let stuck = query.stuck || query.older_s.is_some();
    let unmoved_since = if stuck { Some(age("/older_s", query.older_s.unwrap_or(STUCK_AFTER_S))?) } else { None };
    let limit = query.limit.unwrap_or(USUAL_ITEMS);
    if !(1..=MOST_SAGAS).contains(&limit) {
        return Err(field("/limit", "range", "1 to 100"));
    }
    let after = match query.cursor.as_deref() {
        None => None,
        Some(text) => Some(cursor::decode(actor, text).ok_or(Failure::CursorInvalid)?),
    };
    let filter = SagaFilter {
        status: named("/status", query.status.as_deref())?,
        reason: named("/reason", query.reason.as_deref())?,
        unmoved_since,
        placed_since: age("/since_s", query.since_s.unwrap_or(USUAL_SINCE_S))?,
        after,
        limit,
    };
    let found = admin.desk.sagas(&filter).await.map_err(Failure::from)?;
    let full = found.len() == usize::from(limit);
    let next = found.last().filter(|_| full).map(|last| Position { created_at: last.placed_at, id: last.order });
    let next_cursor = next.map(|position| cursor::encode(actor, position));
    Ok(Json(ListView::of(&found, next_cursor, now)))
}

async fn show(
    State(admin): State<Admin>,
    _operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<FileView>, Problem> {
    let file = admin.desk.saga(order_id(&id)?).await.map_err(Failure::from)?;
    let now = admin.app.clock.now();
    file.map(|file| Json(FileView::of(file, now))).ok_or_else(Problem::not_found)
}

async fn retry(
    State(admin): State<Admin>,
    Operator(actor): Operator,
    Path(id): Path<String>,
    Json(body): Json<WhyBody>,
) -> Result<Json<RetriedView>, Problem> {
    let (order, reason) = (order_id(&id)?, reason(&body.reason)?);
    let retried = retry_saga::retry_saga(&admin.app, admin.desk.as_ref(), actor, order, reason).await?;
    Ok(Json(retried.into()))
}

async fn compensate(
    State(admin): State<Admin>,
    Operator(actor): Operator,
    Path(id): Path<String>,
    Json(body): Json<WhyBody>,
) -> Result<Json<CompensatedView>, Problem> {
    let (order, reason) = (order_id(&id)?, reason(&body.reason)?);
    Ok(Json(compensate_saga::compensate_saga(&admin.app, actor, order, reason).await?.into()))
}

async fn report(State(admin): State<Admin>, _operator: Operator) -> Result<Json<ReportView>, Problem> {
    let report = admin.desk.report().await.map_err(Failure::from)?;
    Ok(Json(ReportView::of(report, admin.app.clock.now())))
}

async fn acknowledge(
    State(admin): State<Admin>,
    Operator(actor): Operator,
    Path((kind, reference)): Path<(String, String)>,
    Json(body): Json<WhyBody>,
) -> Result<Json<OwnedView>, Problem> {
    let reason = reason(&body.reason)?;
    acknowledge_finding(&admin.app, admin.desk.as_ref(), actor, (&kind, &reference), reason).await?;
    Ok(Json(OwnedView { state: "ACKNOWLEDGED" }))
}

async fn resolve(
    State(admin): State<Admin>,
    Operator(actor): Operator,
    Path((kind, reference)): Path<(String, String)>,
    Json(body): Json<WhyBody>,
) -> Result<Json<OwnedView>, Problem> {
    let reason = reason(&body.reason)?;
    resolve_finding(&admin.app, admin.desk.as_ref(), actor, (&kind, &reference), reason).await?;
    Ok(Json(OwnedView { state: "RESOLVED" }))
}

/// One of the known names, if any.
fn named<T: std::str::FromStr>(pointer: &str, text: Option<&str>) -> Result<Option<T>, Problem> {
    text.map(str::parse).transpose().map_err(|_| field(pointer, "unknown", "not one of the known names"))
}

fn field(pointer: &str, code: &'static str, message: &str) -> Problem {
    Problem::invalid_fields(vec![FieldProblem::new(pointer, code, message)])
}
