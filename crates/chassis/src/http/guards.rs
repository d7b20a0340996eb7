//! Layers that may answer in the handler's place: headers too large, too busy, too late, panicked.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use common::ErrorKind;
use futures::FutureExt;
use http::Method;
use tokio::time::Instant;

use super::Shared;
use super::answer::RequestId;
use crate::context::RequestContext;
use crate::problem::{Problem, codes};

/// Milliseconds the caller is willing to wait; shorter than ours counts, longer does not.
const DEADLINE_HEADER: &str = "x-deadline-ms";

pub(super) async fn header_limit(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let line = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if line + headers > shared.header_limit {
        let detail = format!("a request line and headers of {} bytes at most are read", shared.header_limit);
        return Problem::new(ErrorKind::HeadersTooLarge, codes::HEADERS_TOO_LARGE, detail).into_response();
    }
    next.run(request).await
}

/// Requests beyond the limit are answered at once. The place is held until the answer's head: streams do not occupy it.
pub(super) async fn shed(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match shared.in_flight.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_) => Problem::overloaded().into_response(),
    }
}

pub(super) async fn catch_panic(request: Request, next: Next) -> Response {
    let route = super::observe::route_of(request.extensions().get::<MatchedPath>()).to_owned();
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        // The panic hook has logged the place and the text.
        Err(_) => {
            crate::metrics::PANICS.with_label_values(&[&route]).inc();
            Problem::internal_logged().into_response()
        }
    }
}

/// Runs the handler inside its request context and gives up at the deadline.
pub(super) async fn deadline(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let wanted = request.headers().get(DEADLINE_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
    let patience = wanted.map_or(shared.request_timeout, |ms| Duration::from_millis(ms).min(shared.request_timeout));
    let context = RequestContext {
        request_id: request.extensions().get::<RequestId>().map_or_else(|| "".into(), |id| id.0.clone()),
        path: request.uri().path().into(),
        deadline: Instant::now() + patience,
        changes: !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS),
    };
    let (deadline, changes) = (context.deadline, context.changes);
    let answer = context.clone().scope(tokio::time::timeout_at(deadline, next.run(request))).await;
    match answer {
        Ok(response) => response,
        Err(_) => context.scope(async { too_late(changes).into_response() }).await,
    }
}

/// What a dropped handler had begun may still be committed, so a change has an unknown outcome; a read has none.
fn too_late(changes: bool) -> Problem {
    if changes {
        Problem::new(
            ErrorKind::Unavailable,
            codes::OUTCOME_UNKNOWN,
            "not finished in time; repeat the request with the same key",
        )
    } else {
        Problem::overloaded()
    }
}
