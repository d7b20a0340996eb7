//! What may answer in the handler's place: headers too large, too busy, too late, panicked.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use common::ErrorKind;
use futures::FutureExt;
use http::Method;
use tokio::time::Instant;

use super::Shared;
use crate::context::RequestContext;
use crate::problem::{Problem, codes};

/// Milliseconds the caller is willing to wait; shorter than ours counts, longer does not.
const DEADLINE_HEADER: &str = "x-deadline-ms";

/// The refusal of a request whose line and headers are too long.
pub(super) fn too_large(shared: &Shared, request: &Request) -> Option<Problem> {
    let line = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    (line + headers > shared.header_limit).then(|| {
        let detail = format!("a request line and headers of {} bytes at most are read", shared.header_limit);
        Problem::new(ErrorKind::HeadersTooLarge, codes::HEADERS_TOO_LARGE, detail)
    })
}

/// The answer of `inner`, also when it panics.
pub(super) async fn catch_panic(route: String, inner: impl Future<Output = Response>) -> Response {
    match AssertUnwindSafe(inner).catch_unwind().await {
        Ok(response) => response,
        // The panic hook has logged the place and the text.
        Err(_) => {
            crate::metrics::PANICS.with_label_values(&[&route]).inc();
            Problem::internal_logged().into_response()
        }
    }
}

/// Runs the handler inside its request context and gives up at the deadline.
pub(super) async fn deadline(shared: &Shared, id: Arc<str>, request: Request, next: Next) -> Response {
    let wanted = request.headers().get(DEADLINE_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
    let patience = wanted.map_or(shared.request_timeout, |ms| Duration::from_millis(ms).min(shared.request_timeout));
    let context = RequestContext {
        request_id: id,
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
