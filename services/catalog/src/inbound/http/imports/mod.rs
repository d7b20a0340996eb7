//! `POST /v1/admin/products/imports` takes a file of products, as JSON lines or as a table (`csv`), of any length up to 256 MiB. `GET /v1/admin/products/exports` gives one.
//!
//! The answer to an import begins at once and tells of the work as it goes, one JSON object a line: `received`, `progress`,
//! `fault` (the line and what is wrong with it), and at the end `done` or `refused`, which says what was stored. Whoever hangs
//! up stops the import between two portions. Parameters: `dry_run` (nothing is stored), `skip_faulty` (the good lines are
//! stored although others are not), `lines` (how many there must be, so that a file cut at a line end is noticed), `reason`.

mod csv;
mod events;
mod export;
mod read;
mod run;
mod spool;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chassis::Problem;
use chassis::extract::{Caller, Query};
use common::ErrorKind;
use contracts::trace::current_traceparent;
use futures::future::BoxFuture;
use futures::{StreamExt as _, stream};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};

use super::admin_products::author;
use super::desk::Desk;
use crate::usecases::App;
use read::Format;
use run::{Order, run};

/// Files under way in one process: each reads and writes as fast as the store can, so a second one would only slow the first.
const IMPORTS_AT_ONCE: usize = 1;

/// Events between the work and the wire; when nobody reads them, the work waits.
const EVENTS_AHEAD: usize = 64;

#[derive(Clone)]
pub(super) struct Imports {
    pub app: Arc<App>,
    /// Where files lie while they are looked through.
    directory: PathBuf,
    running: Arc<Semaphore>,
}

pub fn router(app: Arc<App>) -> Router {
    let directory = app.products.pictures.scratch();
    let imports = Imports { app, directory, running: Arc::new(Semaphore::new(IMPORTS_AT_ONCE)) };
    Router::new()
        .route("/v1/admin/products/imports", post(import))
        .route("/v1/admin/products/exports", get(export::export))
        .with_state(imports)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportQuery {
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    skip_faulty: bool,
    lines: Option<u64>,
    reason: Option<String>,
}

async fn import(
    State(imports): State<Imports>,
    caller: Caller,
    Query(query): Query<ImportQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Desk::Products.open_to(&caller)?;
    let author = author(&caller, query.reason.as_deref())?;
    let format = Format::of(&headers)?;
    let Ok(permit) = imports.running.clone().try_acquire_owned() else {
        return Err(Problem::new(ErrorKind::Conflict, "state-conflict", "another import is under way here; try later"));
    };
    let order = Order {
        format,
        dry_run: query.dry_run,
        skip_faulty: query.skip_faulty,
        lines: query.lines,
        author,
        traceparent: current_traceparent(),
    };
    tracing::info!(staff.id = %caller.user_id, import.dry_run = order.dry_run, "import began");
    let (events, mut told) = mpsc::channel(EVENTS_AHEAD);
    let work: BoxFuture<'static, ()> = Box::pin(async move {
        run(&imports.app, &imports.directory, body, order, &events).await;
        drop(permit);
    });
    // The work is driven by whoever reads the answer: when the connection goes away, so does the work.
    let events = stream::poll_fn(move |context| told.poll_recv(context));
    let work = stream::once(work).filter_map(|()| std::future::ready(None));
    let lines = stream::select(events, work).map(Ok::<_, std::convert::Infallible>);
    let headers = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(lines)).into_response())
}
