//! The gRPC port: what surrounds every method, in one list, as `http` has it.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contracts::trace;
use futures::FutureExt;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_health::ServingStatus;
use tracing::Instrument;

use super::MAX_MESSAGE;
use crate::config::Grpc;
use crate::context::RequestContext;
use crate::lifecycle::Process;
use crate::metrics::{PANICS, RPC_DURATION};
use crate::server::{self, Listening};

/// Five bytes of framing before each message.
const FRAME_HEAD: usize = 5;

struct Shared {
    in_flight: Semaphore,
    longest: Duration,
}

/// Opens the gRPC port and serves `routes` and the health service. Returns the bound address.
///
/// # Errors
/// The port cannot be opened.
pub async fn serve(process: &Process, settings: &Grpc, routes: Routes) -> anyhow::Result<SocketAddr> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let shutdown = process.shutdown();
    process.spawn_work(async move {
        shutdown.cancelled().await;
        reporter.set_service_status("", ServingStatus::NotServing).await;
    });
    let shared = Arc::new(Shared {
        in_flight: Semaphore::new(settings.max_in_flight),
        longest: Duration::from_millis(settings.request_timeout_ms),
    });
    let router = routes
        .add_service(health)
        .prepare()
        .into_axum_router()
        // Innermost: no call outlives its deadline, so none waits for a caller who has left.
        .layer(from_fn_with_state(shared.clone(), deadline))
        // A message that is too large is refused while it arrives, before it is held in memory as a whole.
        .layer(middleware::from_fn(bounded_body))
        // A panic is one call's failure.
        .layer(middleware::from_fn(catch_panic))
        // Sheds before anything is decoded.
        .layer(from_fn_with_state(shared, shed))
        // Outermost: span, metric and log line see every refusal.
        .layer(middleware::from_fn(observe));
    let listening =
        Listening { name: "grpc", bind: settings.bind, port: settings.port, max_connections: settings.max_connections };
    server::serve(process, listening, router, None).await
}

fn answer(status: Status) -> Response {
    status.into_http::<Body>().into_response()
}

async fn deadline(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let asked = request.headers().get("grpc-timeout").and_then(|value| timeout(value.to_str().ok()?));
    let deadline = Instant::now() + asked.map_or(shared.longest, |asked| asked.min(shared.longest));
    let context = RequestContext { request_id: "".into(), path: request.uri().path().into(), deadline, changes: true };
    match context.scope(tokio::time::timeout_at(deadline, next.run(request))).await {
        Ok(response) => response,
        Err(_) => answer(Status::deadline_exceeded("not finished in time")),
    }
}

/// At most eight digits and a unit, as the gRPC specification has it.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

async fn catch_panic(request: Request, next: Next) -> Response {
    let route = request.uri().path().to_owned();
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            PANICS.with_label_values(&[&route]).inc();
            answer(Status::internal("something went wrong on our side"))
        }
    }
}

async fn shed(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match shared.in_flight.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_) => answer(Status::resource_exhausted("too busy at the moment")),
    }
}

/// Cuts a request body beyond one message of the largest size and says so in the status, whatever the method made of the cut.
/// Our calls are unary or stream answers, so a request is one message.
async fn bounded_body(request: Request, next: Next) -> Response {
    let overrun = Arc::new(AtomicBool::new(false));
    let (parts, body) = request.into_parts();
    let bounded = Bounded { body, left: MAX_MESSAGE + FRAME_HEAD, overrun: overrun.clone() };
    let response = next.run(Request::from_parts(parts, Body::new(bounded))).await;
    if overrun.load(Ordering::Relaxed) {
        return answer(Status::resource_exhausted(format!("a message has at most {MAX_MESSAGE} bytes")));
    }
    response
}

struct Bounded {
    body: Body,
    left: usize,
    overrun: Arc<AtomicBool>,
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &polled {
            let size = frame.data_ref().map_or(0, Bytes::len);
            if size > self.left {
                self.overrun.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err(axum::Error::new("message too large"))));
            }
            self.left -= size;
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

async fn observe(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let (service, method) = names(request.uri().path());
    let span = tracing::info_span!(
        "rpc.request",
        otel.name = format!("{service}/{method}"),
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = tracing::field::Empty,
    );
    if let Some(parent) = request.headers().get(trace::TRACEPARENT).and_then(|value| value.to_str().ok()) {
        trace::set_parent(&span, parent);
    }
    let response = next.run(request).instrument(span.clone()).await;
    let took = begun.elapsed().as_secs_f64();
    let code = code_in(response.headers());
    // Callers choose the path; only methods that exist become labels.
    let (service, method) =
        if code == Code::Unimplemented { ("unmatched".to_owned(), String::new()) } else { (service, method) };
    RPC_DURATION.with_label_values(&[&*service, &*method, &(code as i32).to_string()]).observe(took);
    span.record("rpc.grpc.status_code", code as i32);
    if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss) {
        span.record("otel.status_code", "ERROR");
    }
    let duration_ms = took * 1000.0;
    span.in_scope(|| {
        tracing::info!(
            rpc.service = service,
            rpc.method = method,
            rpc.grpc.status_code = code as i32,
            duration_ms,
            "call answered"
        )
    });
    response
}

/// A refusal of a unary method stands in the head; a head without a status means that an answer follows.
fn code_in(headers: &HeaderMap) -> Code {
    headers.get("grpc-status").map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}

fn names(path: &str) -> (String, String) {
    let (service, method) = path.trim_start_matches('/').rsplit_once('/').unwrap_or(("unmatched", ""));
    (service.to_owned(), method.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        assert_eq!(timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(timeout("2S"), Some(Duration::from_secs(2)));
        assert_eq!(timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "m", "1", "-1S", "123456789S", "1x", "1é"] {
            assert_eq!(timeout(bad), None, "{bad}");
        }
    }
}
