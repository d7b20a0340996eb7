//! Plain HTTP clients for what we call that is not gRPC: the gateway, the identity provider, the search index.
//!
//! Decided here: no redirects (an answer of a dependency must not send us elsewhere), no proxies from the environment, bounded
//! times and sizes, and the trace travels. Deadline, breaker and retries of a call are the `Guard`'s.

use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use contracts::trace;

/// How one client behaves.
#[derive(Clone, Copy, Debug)]
pub struct HttpClientSettings {
    pub connect_timeout: Duration,
    /// From sending to the last byte of the answer; the guard's deadline is usually shorter.
    pub total_timeout: Duration,
    /// Idle connections kept per host.
    pub idle_connections: usize,
}

impl Default for HttpClientSettings {
    fn default() -> Self {
        // A healthy connection inside a site opens in a millisecond; eight idle ones carry a few hundred requests per second.
        Self { connect_timeout: Duration::from_secs(2), total_timeout: Duration::from_secs(15), idle_connections: 8 }
    }
}

/// Makes a client. Make one per dependency and share it.
///
/// # Errors
/// The TLS roots cannot be loaded.
pub fn new(settings: HttpClientSettings) -> anyhow::Result<reqwest::Client> {
    crate::entry::install_tls_provider();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(settings.connect_timeout)
        .timeout(settings.total_timeout)
        .pool_max_idle_per_host(settings.idle_connections)
        // Shorter than the idle time of usual servers, so that we close first and do not send into a closing connection.
        .pool_idle_timeout(Duration::from_secs(20))
        .tcp_nodelay(true)
        .build()
        .context("cannot make an HTTP client")
}

/// Adds the trace of the current span.
pub fn traced(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    match trace::current_traceparent() {
        Some(traceparent) => request.header(trace::TRACEPARENT, traceparent),
        None => request,
    }
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the answer broke off")]
    Transport(#[from] reqwest::Error),
}

/// Reads the body of `response`, at most `limit` bytes of it.
///
/// # Errors
/// Larger, or broken off.
pub async fn bounded(mut response: reqwest::Response, limit: usize) -> Result<Bytes, BodyError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
