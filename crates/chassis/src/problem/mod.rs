//! The one shape of a refusal: `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! Decided here: what a caller is told, and that nothing of our inside is: the text of an internal or dependency failure goes
//! to the log once, the answer says only what the caller can do. Not decided here: kinds and codes of errors (`common::Explain`
//! and the use cases).

pub mod codes;

use std::error::Error;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use common::{ErrorKind, Explain, FieldProblem};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LINK, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use opentelemetry::trace::TraceContextExt;
use serde_json::json;

use crate::context;

/// Prefix of the `type` member; each code has a page there (`docs/errors/`).
pub const TYPE_BASE: &str = "https://shopsphere.example/errors/";

/// More field errors than this help nobody.
const MAX_FIELDS: usize = 20;

/// What a client waits when nothing better is known.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// A refusal on its way to the caller. Handlers return `Result<_, Problem>`; `?` turns any [`Explain`] error into one.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    kind: ErrorKind,
    code: &'static str,
    detail: String,
    fields: Vec<FieldProblem>,
    retry_after: Option<Duration>,
    alternate: Option<String>,
    member: Option<(&'static str, serde_json::Value)>,
}

/// The code of a problem answer, left in the response's extensions for the access log and metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnsweredCode(pub &'static str);

impl Problem {
    /// A refusal with a text for the caller. For failures inside use [`Problem::internal`].
    pub fn new(kind: ErrorKind, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            code,
            detail: detail.into(),
            fields: Vec::new(),
            retry_after: None,
            alternate: None,
            member: None,
        }))
    }

    /// 404, for what is absent and for what is not the caller's alike.
    pub fn not_found() -> Self {
        Self::new(ErrorKind::NotFound, codes::NOT_FOUND, "there is nothing here for you")
    }

    /// 422 `invalid-field` with the fields at fault.
    pub fn invalid_fields(fields: Vec<FieldProblem>) -> Self {
        Self::new(ErrorKind::Unprocessable, codes::INVALID_FIELD, "some fields are not acceptable; nothing was changed")
            .with_fields(fields)
    }

    /// 503 `overloaded`.
    pub fn overloaded() -> Self {
        Self::new(ErrorKind::Unavailable, codes::OVERLOADED, "too busy at the moment; nothing was changed")
    }

    /// 500. Logs the chain of `error` now, once; the caller learns nothing of it.
    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        tracing::error!(reason = format!("{:#}", error.into()), "request failed");
        Self::internal_logged()
    }

    /// 500 for a failure that is in the log already.
    pub(crate) fn internal_logged() -> Self {
        Self::new(ErrorKind::Internal, codes::INTERNAL, codes::title(codes::INTERNAL))
    }

    #[must_use]
    pub fn with_fields(mut self, fields: Vec<FieldProblem>) -> Self {
        self.0.fields = fields;
        self
    }

    /// `Retry-After` in whole seconds, at least 1.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Adds `Link: <url>; rel="alternate"`: where the caller should go instead.
    #[must_use]
    pub fn with_alternate(mut self, url: impl Into<String>) -> Self {
        self.0.alternate = Some(url.into());
        self
    }

    /// An extension member (RFC 9457, 3.2): what a program needs to go on from here.
    #[must_use]
    pub fn with_member(mut self, name: &'static str, value: serde_json::Value) -> Self {
        self.0.member = Some((name, value));
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    pub fn code(&self) -> &'static str {
        self.0.code
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// 503 and 429 always say when to come back, a running twin too.
    fn retry_after(&self) -> Option<Duration> {
        let expected = matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::TooMany)
            || self.0.code == codes::REQUEST_IN_PROGRESS;
        self.0.retry_after.or(expected.then_some(DEFAULT_RETRY_AFTER))
    }
}

impl<E: Explain + 'static> From<E> for Problem {
    fn from(error: E) -> Self {
        let (kind, code) = (error.kind(), error.code());
        let detail = match kind {
            ErrorKind::Internal => {
                tracing::error!(problem.code = code, reason = chain(&error), "request failed");
                codes::title(code).to_owned()
            }
            // Texts of dependencies name hosts and statements.
            ErrorKind::Unavailable => {
                tracing::warn!(problem.code = code, reason = chain(&error), "request could not be served");
                codes::title(code).to_owned()
            }
            _ => error.detail(),
        };
        let mut problem = Self::new(kind, code, detail).with_fields(error.fields());
        problem.0.retry_after = error.retry_after();
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, self.body_text()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(Ok(link)) =
            self.0.alternate.as_ref().map(|url| HeaderValue::try_from(format!("<{url}>; rel=\"alternate\"")))
        {
            headers.insert(LINK, link);
        }
        response.extensions_mut().insert(AnsweredCode(self.0.code));
        response
    }
}

impl Problem {
    pub(crate) fn body_text(&self) -> String {
        let parts = &self.0;
        let mut body = json!({
            "type": format!("{TYPE_BASE}{}", parts.code),
            "title": codes::title(parts.code),
            "status": parts.kind.status(),
            "detail": parts.detail,
            "code": parts.code,
        });
        if let Some(context) = context::current() {
            body["instance"] = (*context.path).into();
        }
        let span = opentelemetry::Context::current().span().span_context().clone();
        if span.is_valid() {
            body["trace_id"] = span.trace_id().to_string().into();
        }
        if !parts.fields.is_empty() {
            let shown = parts.fields.iter().take(MAX_FIELDS);
            body["errors"] = shown
                .map(|field| json!({"pointer": field.pointer, "code": field.code, "message": field.message}))
                .collect();
        }
        if let Some(after) = self.retry_after() {
            body["retry_after_ms"] = u64::try_from(after.as_millis()).unwrap_or(u64::MAX).into();
        }
        if let Some((name, value)) = &parts.member {
            body[*name] = value.clone();
        }
        body.to_string()
    }
}

fn whole_seconds(after: Duration) -> u64 {
    after.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

/// An error and its sources in one line. Sources that repeat their parent's text are said once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    // A chain that refers to itself must not keep us here.
    for _ in 0..16 {
        let Some(source) = next else { break };
        let said = source.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = source.source();
    }
    text
}
