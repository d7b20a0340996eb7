//! `/__books`: the gateway's own books, open to tests and operators. Nothing here changes anything.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::payments::form;
use super::{App, failed, respond};
use crate::domain::{Entry, Summing};
use crate::wire::{self, Answer, ApiError, BooksQuery};

/// Entries in order; with `reference` only those of one order. `has_more` asks to come again with `after` = the last `sequence`.
pub async fn entries(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let query = BooksQuery::read(form(query)?)?;
    let (after, limit) = (query.after, query.limit);
    let read = app.gateway.store.read(move |reading| reading.books(after, limit.saturating_add(1))).await;
    let mut entries = read.map_err(|error| failed(&error))?;
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let last = entries.last().map_or(after, |entry| entry.sequence);
    let asked = |entry: &&Entry| query.reference.is_none() || entry.reference == query.reference;
    let shown: Vec<Value> = entries.iter().filter(asked).map(wire::book_entry).collect();
    Ok(respond(&Answer::ok(&json!({"entries": shown, "has_more": has_more, "last": last}))))
}

pub async fn summary(State(app): State<App>) -> Result<Response, ApiError> {
    let read = app.gateway.store.read(|reading| {
        let mut summing = Summing::default();
        reading.each_entry(0, u64::MAX, |entry| summing.add(&entry))?;
        Ok(summing.finish())
    });
    Ok(respond(&Answer::ok(&wire::summary(&read.await.map_err(|error| failed(&error))?))))
}

/// Ready when the state file can be read.
pub async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    let waiting = app.gateway.store.read(|reading| reading.deliveries_waiting()).await;
    waiting.map(|_| "ready").map_err(|error| failed(&error))
}
