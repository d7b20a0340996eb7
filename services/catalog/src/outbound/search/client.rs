//! Requests to Elasticsearch: JSON in, JSON out, bounded in size.

use std::time::Duration;

use bytes::Bytes;
use chassis::http_client::{self, BodyError, HttpClientSettings};
use http::Method;
use serde_json::Value;

/// Largest answer that is read: a window of products with their texts stays far below, sixteen of them in one answer need not.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Of a refusal, this much goes to the log.
const MAX_REASON: usize = 500;

#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer from the index")]
    Transport(#[from] reqwest::Error),
    #[error("an unreadable answer from the index")]
    Body(#[from] BodyError),
    #[error("the index answered something that is no JSON")]
    Json(#[from] serde_json::Error),
    #[error("the index ran out of time; what it found until then is a part")]
    OutOfTime,
    #[error("the index refused with status {status}: {reason}")]
    Refused { status: u16, reason: String },
}

impl Failure {
    /// Whether the index is to blame. A request that it finds wrong is our mistake, and trying again cannot help.
    pub(super) fn is_fault(&self) -> bool {
        match self {
            // It did what it was asked, and that was too much.
            Self::Body(BodyError::TooLarge(_)) => false,
            Self::Transport(_) | Self::Body(BodyError::Transport(_)) | Self::Json(_) | Self::OutOfTime => true,
            Self::Refused { status, .. } => *status >= 500 || matches!(*status, 404 | 408 | 429),
        }
    }

    /// The answer is larger than any that is read.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self, Self::Body(BodyError::TooLarge(_)))
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// What a member of a group of requests was told.
    pub(super) fn refused(status: u16, reason: &str) -> Self {
        Self::Refused { status, reason: reason.chars().take(MAX_REASON).collect() }
    }

    /// The refusal names this type of error.
    pub(super) fn says(&self, kind: &str) -> bool {
        matches!(self, Self::Refused { reason, .. } if reason.contains(kind))
    }
}

impl Client {
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let settings = HttpClientSettings {
            connect_timeout: Duration::from_millis(500),
            total_timeout: Duration::from_secs(60),
            ..HttpClientSettings::default()
        };
        Ok(Self { http: http_client::new(settings)?, url: url.trim_end_matches('/').to_owned() })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::GET, path, "application/json", Bytes::new()).await
    }

    pub(super) async fn head(&self, path: &str) -> Result<(), Failure> {
        let response = self.http.head(format!("{}/{path}", self.url)).send().await?;
        let status = response.status().as_u16();
        if response.status().is_success() { Ok(()) } else { Err(Failure::Refused { status, reason: String::new() }) }
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let body = if body.is_null() { Bytes::new() } else { serde_json::to_vec(body)?.into() };
        self.send(Method::POST, path, "application/json", body).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(Method::PUT, path, "application/json", serde_json::to_vec(body)?.into()).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::DELETE, path, "application/json", Bytes::new()).await
    }

    pub(super) async fn post_lines(&self, path: &str, lines: Bytes) -> Result<Value, Failure> {
        self.send(Method::POST, path, "application/x-ndjson", lines).await
    }

    /// The answer as it came.
    pub(super) async fn post_bytes(&self, path: &str, kind: &str, body: Bytes) -> Result<Bytes, Failure> {
        self.exchange(Method::POST, path, kind, body).await
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: Bytes) -> Result<Value, Failure> {
        Ok(serde_json::from_slice(&self.exchange(method, path, kind, body).await?)?)
    }

    async fn exchange(&self, method: Method, path: &str, kind: &str, body: Bytes) -> Result<Bytes, Failure> {
        let request = self
            .http
            .request(method, format!("{}/{path}", self.url))
            .header(http::header::CONTENT_TYPE, kind)
            .body(body);
        let response = http_client::traced(request).send().await?;
        let status = response.status();
        let body = http_client::bounded(response, MAX_ANSWER).await?;
        if !status.is_success() {
            let reason = String::from_utf8_lossy(&body).chars().take(MAX_REASON).collect();
            return Err(Failure::Refused { status: status.as_u16(), reason });
        }
        Ok(body)
    }
}
