//! What is known about each request afterwards: its span, one log line, one measurement. All name the route by its template;
//! a path or a query may hold personal data and never gets into them.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use contracts::trace;
use tokio::time::Instant;
use tracing::Span;

use super::Shared;
use crate::metrics::{HTTP_DURATION, PROBLEMS};
use crate::problem::AnsweredCode;

/// Requests that no route takes share one label, else every scanner would make new ones.
pub(super) const UNMATCHED: &str = "unmatched";

pub(super) fn route_of(path: Option<&MatchedPath>) -> &str {
    path.map_or(UNMATCHED, MatchedPath::as_str)
}

/// A request from its head to its answer's.
pub(super) struct Observed {
    begun: Instant,
    method: &'static str,
    route: String,
    request_id: Arc<str>,
    pub span: Span,
}

impl Observed {
    pub fn begin(shared: &Shared, request: &Request, request_id: &Arc<str>) -> Self {
        let begun = Instant::now();
        let method = known_method(request);
        let route = route_of(request.extensions().get::<MatchedPath>()).to_owned();
        let span = tracing::info_span!(
            "http.request",
            otel.name = format!("{method} {route}"),
            otel.kind = "server",
            otel.status_code = tracing::field::Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = tracing::field::Empty,
            shopsphere.region = shared.site.region.code(),
            request.id = &**request_id,
        );
        if let Some(parent) = request.headers().get(trace::TRACEPARENT).and_then(|value| value.to_str().ok()) {
            trace::set_parent(&span, parent);
        }
        Self { begun, method, route, request_id: Arc::clone(request_id), span }
    }

    pub fn end(self, response: &Response) {
        let Self { begun, method, route, request_id, span } = self;
        let took = begun.elapsed();
        let status = response.status();
        span.record("http.response.status_code", status.as_u16());
        if status.is_server_error() {
            span.record("otel.status_code", "ERROR");
        }
        HTTP_DURATION.with_label_values(&[method, &route, status.as_str()]).observe(took.as_secs_f64());
        let code = response.extensions().get::<AnsweredCode>().map_or("", |answered| answered.0);
        if !code.is_empty() {
            PROBLEMS.with_label_values(&[code]).inc();
        }
        let duration_ms = took.as_secs_f64() * 1000.0;
        span.in_scope(|| {
            tracing::info!(
                http.request.method = method,
                http.route = route,
                http.response.status_code = status.as_u16(),
                problem.code = code,
                request.id = &*request_id,
                duration_ms,
                "request answered"
            );
        });
    }
}

/// Method as a label: the client chooses it, so anything unusual is one value.
fn known_method(request: &Request) -> &'static str {
    match request.method().as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}
