//! `/v2/payments` and `/v2/refunds`: the second wire over the same books.

use axum::extract::{ConnectInfo, FromRequest, Path, RawQuery, Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::DateTime;
use serde_json::{Value, json};

use super::call::{epoch, execute};
use super::payments::form;
use super::{App, Line, failed, respond};
use crate::domain::{Account, Refund, Status};
use crate::store::{Record, StoreError};
use crate::wire::square::{self, Keyed, PAGE};
use crate::wire::{Answer, ApiError};

/// A request with a JSON body, read whole.
pub struct JsonCall {
    line: Line,
    body: Bytes,
    path: String,
    epoch: Option<u64>,
}

impl FromRequest<App> for JsonCall {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let line = request.extensions().get::<ConnectInfo<Line>>().map(|info| info.0.clone()).unwrap_or_default();
        let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
        let body = Bytes::from_request(request, app).await.map_err(IntoResponse::into_response)?;
        if !body.is_empty() && !is_json(&headers) {
            return Err(respond(&square::malformed("The body must be application/json.")));
        }
        Ok(Self { line, body, path, epoch: epoch(&headers).map_err(IntoResponse::into_response)? })
    }
}

impl JsonCall {
    async fn run(self, app: App, read: impl FnOnce(&[u8], &str) -> Result<Keyed, Answer>) -> Response {
        match read(&self.body, &self.path) {
            Ok((command, key)) => execute(app, self.line, Account::Square, command, key, self.epoch).await,
            Err(refused) => respond(&refused),
        }
    }
}

pub async fn create(State(app): State<App>, call: JsonCall) -> Response {
    call.run(app, square::create).await
}

pub async fn complete(State(app): State<App>, Path(id): Path<String>, call: JsonCall) -> Response {
    call.run(app, |body, _| square::complete(body, id)).await
}

pub async fn cancel(State(app): State<App>, Path(id): Path<String>, call: JsonCall) -> Response {
    call.run(app, |body, _| square::cancel(body, id)).await
}

pub async fn cancel_by_key(State(app): State<App>, call: JsonCall) -> Response {
    call.run(app, |body, _| square::cancel_by_key(body)).await
}

pub async fn refund(State(app): State<App>, call: JsonCall) -> Response {
    call.run(app, square::refund).await
}

pub async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let read = app.gateway.store.read(move |reading| match reading.intent(&id)? {
        Some(record) if shown(&record) => Ok(Some((reading.refunds(&id)?, record))),
        _ => Ok(None),
    });
    let found: Option<(Vec<Refund>, Record)> = read.await.map_err(|error| failed(&error))?;
    Ok(respond(&match found {
        Some((refunds, record)) => {
            let ids: Vec<String> = refunds.into_iter().map(|refund| refund.id).collect();
            Answer::ok(&json!({"payment": square::payment(&record.intent, &ids)}))
        }
        None => square::not_found("payment_id", "There is no such payment."),
    }))
}

/// One that was stopped before it came about is nobody's payment yet.
fn shown(record: &Record) -> bool {
    record.intent.account == Account::Square && record.intent.status != Status::RequiresConfirmation
}

pub async fn refund_by_id(State(app): State<App>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let read = app.gateway.store.read(move |reading| {
        let Some(refund) = reading.refund(&id)? else { return Ok(None) };
        let of_ours = reading.intent(&refund.intent)?.is_some_and(|record| shown(&record));
        Ok(of_ours.then_some(refund))
    });
    let found: Option<Refund> = read.await.map_err(|error| failed(&error))?;
    Ok(respond(&match found {
        Some(refund) => Answer::ok(&json!({"refund": square::refund_object(&refund, "COMPLETED")})),
        None => square::not_found("refund_id", "There is no such refund."),
    }))
}

/// `?begin_time=&end_time=&cursor=&limit=`, newest first.
pub async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let mut form = form(query)?;
    let mut time = |name: &str| -> Result<Option<i64>, ApiError> {
        let Some(text) = form.take(name) else { return Ok(None) };
        let parsed =
            DateTime::parse_from_rfc3339(&text).map_err(|_| ApiError::invalid(name, "not an RFC 3339 time"))?;
        Ok(Some(parsed.timestamp()))
    };
    let (from, to) = (time("begin_time")?.unwrap_or(0), time("end_time")?.unwrap_or(i64::MAX));
    let limit = form.take_integer("limit")?.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.filter(|limit| (1..=PAGE).contains(limit)).unwrap_or(PAGE);
    let cursor = form.take("cursor").map(|cursor| cursor.parse().map_err(|_| ApiError::invalid("cursor", "unknown")));
    let before: u64 = cursor.transpose()?.unwrap_or(u64::MAX);
    form.ignore(&["sort_order", "location_id"]);
    form.finish()?;
    let read = app.gateway.store.read(move |reading| reading.intents(Account::Square, before, from, to, limit + 1));
    let records: Result<Vec<Record>, StoreError> = read.await;
    let records = records.map_err(|error| failed(&error))?;
    let next = records.get(limit).and_then(|_| records.get(limit - 1)).map(|last| last.sequence.to_string());
    let payments: Vec<Value> = records.iter().take(limit).map(|record| square::payment(&record.intent, &[])).collect();
    Ok(respond(&square::list(payments, next)))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
