//! `/settlements/{date}` and `/v2/settlements/{date}`: the files of closed days, one per account.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::NaiveDate;
use serde_json::json;

use super::{App, failed, respond};
use crate::domain::Account;
use crate::settlement_file;
use crate::wire::{Answer, ApiError};

pub async fn of_intents(state: State<App>, day: Path<String>) -> Result<Response, ApiError> {
    file(state, day, Account::Intents).await
}

pub async fn of_square(state: State<App>, day: Path<String>) -> Result<Response, ApiError> {
    file(state, day, Account::Square).await
}

async fn file(State(app): State<App>, Path(day): Path<String>, account: Account) -> Result<Response, ApiError> {
    let day = date(&day)?;
    let now_ms = app.gateway.clock.now().timestamp_millis();
    let read = app.gateway.store.read(move |reading| settlement_file::file(reading, account, day, now_ms)).await;
    match read.map_err(|error| failed(&error))? {
        Some(file) => Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], file).into_response()),
        None => Ok((StatusCode::NOT_FOUND, "the day is not closed yet\n").into_response()),
    }
}

/// `POST /__settlements/{date}`: closes a day before midnight, for tests and campaigns. Once closed it stays closed.
pub async fn close(State(app): State<App>, Path(day): Path<String>) -> Result<Response, ApiError> {
    let day = date(&day)?;
    let now_ms = app.gateway.clock.now().timestamp_millis();
    let closed = app.gateway.store.write(move |session| session.close_day(&day.to_string(), now_ms)).await;
    let (last, at_ms) = closed.map_err(|error| failed(&error))?;
    Ok(respond(&Answer::ok(&json!({"day": day.to_string(), "last": last, "closed_at_ms": at_ms}))))
}

fn date(text: &str) -> Result<NaiveDate, ApiError> {
    text.parse().map_err(|_| ApiError::invalid("date", "not a day such as 2026-11-25"))
}
