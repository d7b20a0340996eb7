//! `/v1/payment_intents` and `/v1/refunds`.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde_json::Value;

use super::call::Call;
use super::{App, failed, respond};
use crate::domain::{Account, Intent};
use crate::store::{Record, StoreError};
use crate::wire::{self, Answer, ApiError, Form, ListQuery, SearchQuery};

type Read = Result<Response, ApiError>;

pub async fn create(State(app): State<App>, call: Call) -> Response {
    call.run(app, wire::create).await
}

pub async fn update(State(app): State<App>, Path(id): Path<String>, call: Call) -> Response {
    call.run(app, |form| wire::update(form, id)).await
}

pub async fn confirm(State(app): State<App>, Path(id): Path<String>, call: Call) -> Response {
    call.run(app, |form| wire::confirm(form, id)).await
}

pub async fn capture(State(app): State<App>, Path(id): Path<String>, call: Call) -> Response {
    call.run(app, |form| wire::capture(form, id)).await
}

pub async fn cancel(State(app): State<App>, Path(id): Path<String>, call: Call) -> Response {
    call.run(app, |form| wire::cancel(form, id)).await
}

pub async fn refund(State(app): State<App>, call: Call) -> Response {
    call.run(app, wire::refund).await
}

pub async fn get(State(app): State<App>, Path(id): Path<String>) -> Read {
    let found = app.gateway.store.read(move |reading| reading.intent(&id)).await.map_err(|error| failed(&error))?;
    let found = found.filter(|record| record.intent.account == Account::Intents);
    let record = found.ok_or_else(|| ApiError::no_such("payment_intent", "intent"))?;
    Ok(respond(&Answer::ok(&wire::intent(&record.intent))))
}

pub async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Read {
    let query = ListQuery::read(Form::parse(query.unwrap_or_default().as_bytes())?)?;
    let page = app.gateway.store.read(move |reading| {
        let before = match &query.starting_after {
            None => u64::MAX,
            Some(id) => match reading.intent(id)? {
                Some(record) => record.sequence,
                None => return Ok(None),
            },
        };
        // One more than asked for tells whether there is more.
        reading
            .intents(Account::Intents, before, query.from, query.to, query.limit + 1)
            .map(|found| Some((found, query.limit, query.with_charges)))
    });
    let (records, limit, with_charges) = page
        .await
        .map_err(|error| failed(&error))?
        .ok_or_else(|| ApiError::no_such("payment_intent", "starting_after"))?;
    let has_more = records.len() > limit;
    let shape: fn(&Intent) -> Value = if with_charges { wire::intent_with_charge } else { wire::intent };
    Ok(respond(&Answer::ok(&wire::list("/v1/payment_intents", shapes(&records, limit, shape), has_more))))
}

pub async fn search(State(app): State<App>, RawQuery(query): RawQuery) -> Read {
    let SearchQuery { reference, limit, before } = SearchQuery::read(form(query)?)?;
    let found = app.gateway.store.read(move |reading| reading.search(&reference, before, limit + 1)).await;
    let records = found.map_err(|error| failed(&error))?;
    let next = records.get(limit).and_then(|_| records.get(limit - 1)).map(|last| last.sequence.to_string());
    Ok(respond(&Answer::ok(&wire::search_result(
        "/v1/payment_intents/search",
        shapes(&records, limit, wire::intent),
        next,
    ))))
}

pub async fn refunds(State(app): State<App>, RawQuery(query): RawQuery) -> Read {
    /// Refunds of one intent in one answer; a charge with more is not what this stand-in is for.
    const MOST: usize = 100;
    let mut form = form(query)?;
    let intent = form.require("payment_intent")?;
    form.ignore(&["limit"]);
    form.finish()?;
    let found: Result<Vec<_>, StoreError> = app.gateway.store.read(move |reading| reading.refunds(&intent)).await;
    let refunds = found.map_err(|error| failed(&error))?;
    let newest_first: Vec<Value> = refunds.iter().rev().take(MOST).map(wire::refund_object).collect();
    Ok(respond(&Answer::ok(&wire::list("/v1/refunds", newest_first, refunds.len() > MOST))))
}

pub(super) fn form(query: Option<String>) -> Result<Form, ApiError> {
    let mut form = Form::parse(query.unwrap_or_default().as_bytes())?;
    form.ignore(&["expand[]"]);
    Ok(form)
}

fn shapes(records: &[Record], limit: usize, shape: fn(&Intent) -> Value) -> Vec<Value> {
    records.iter().take(limit).map(|record| shape(&record.intent)).collect()
}
