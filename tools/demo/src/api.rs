//! The HTTP client of the demonstration: one call, repeated with the same content and the same key until it is answered.
//!
//! Decided here: what is repeated (no answer, 429, 502 to 504, 503, 500, and 409 while the first try is still under way) and for
//! how long. A repeated order is harmless because its key is the same; everything else we send is harmless by itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

/// Longest wait for one answer. The edge gives up earlier.
const ONE_TRY: Duration = Duration::from_secs(20);

/// Longest a file and the answer to it take: a hundred thousand products on a busy machine.
const UPLOAD: Duration = Duration::from_secs(1_800);

/// How long a call is repeated: a service that was killed is back within this time, or somebody has to look.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Between two tries: doubling from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// The shop behind its edge.
pub struct Api {
    http: reqwest::Client,
    base: String,
    /// Tries beyond the first, by what went wrong before.
    repeated: Mutex<BTreeMap<String, u64>>,
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Call<'a> {
    pub method: Method,
    pub path: &'a str,
    pub token: Option<&'a str>,
    /// `Idempotency-Key`.
    pub key: Option<&'a str>,
    /// `If-Match`.
    pub if_match: Option<&'a str>,
    pub body: Option<&'a Value>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub body: Value,
    /// The shop had answered this request before.
    pub replayed: bool,
    /// `ETag`, empty without one.
    pub etag: String,
}

impl Reply {
    /// The `code` of a problem, or the status as text.
    pub fn code(&self) -> String {
        self.body["code"].as_str().map_or_else(|| self.status.as_u16().to_string(), str::to_owned)
    }

    /// # Errors
    /// Anything but a success, with what the shop said.
    pub fn success(self, what: &str) -> anyhow::Result<Value> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let detail = self.body["detail"].as_str().unwrap_or_default();
        let first = &self.body["errors"][0];
        let field = first["pointer"]
            .as_str()
            .map(|pointer| format!(" ({pointer}: {})", first["message"].as_str().unwrap_or_default()));
        bail!("{what}: {} {}: {detail}{}", self.status.as_u16(), self.code(), field.unwrap_or_default())
    }
}

impl Api {
    /// # Errors
    /// The client cannot be made.
    pub fn new(base: String) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).no_proxy().build()?;
        Ok(Self { http, base, repeated: Mutex::default() })
    }

    /// Asks until there is an answer that asking again would not change, at most [`PATIENCE`].
    ///
    /// # Errors
    /// No such answer in time; tells the last thing that happened.
    pub async fn call(&self, call: &Call<'_>) -> anyhow::Result<Reply> {
        self.call_for(call, PATIENCE).await
    }

    /// As [`Api::call`], with another patience.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub async fn call_for(&self, call: &Call<'_>, patience: Duration) -> anyhow::Result<Reply> {
        let until = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let (reason, last, wanted) = match self.try_once(call).await {
                Ok((reply, _)) if !worth_repeating(&reply) => return Ok(reply),
                Ok((reply, wanted)) => {
                    let reason = format!("{} {}", reply.status.as_u16(), reply.code());
                    (reason.clone(), reason, wanted)
                }
                Err(error) => ("no answer".to_owned(), format!("{error:#}"), None),
            };
            let pausing = wanted.unwrap_or(pause).min(LAST_PAUSE);
            if Instant::now() + pausing >= until {
                bail!("{} {} was not answered in {} s; last: {last}", call.method, call.path, patience.as_secs());
            }
            *self.repeated.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
            tokio::time::sleep(pausing).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// How many requests were repeated and why, for people: `12: 9 x 503 overloaded, 3 x no answer`.
    pub fn repeats(&self) -> String {
        let repeated = self.repeated.lock().unwrap_or_else(PoisonError::into_inner);
        let reasons: Vec<String> = repeated.iter().map(|(reason, count)| format!("{count} x {reason}")).collect();
        let total: u64 = repeated.values().sum();
        if reasons.is_empty() { "none".to_owned() } else { format!("{total}: {}", reasons.join(", ")) }
    }

    /// One try without repetition, for what may be lost.
    ///
    /// # Errors
    /// No answer.
    pub async fn once(&self, call: &Call<'_>) -> anyhow::Result<Reply> {
        self.try_once(call).await.map(|(reply, _)| reply)
    }

    async fn try_once(&self, call: &Call<'_>) -> anyhow::Result<(Reply, Option<Duration>)> {
        let response = self.request(call).timeout(ONE_TRY).send().await.context("no answer")?;
        let status = response.status();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let replayed = header("idempotency-replayed") == Some("true");
        let etag = header("etag").unwrap_or_default().to_owned();
        let wanted = header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let bytes = response.bytes().await.context("the answer broke off")?;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or(Value::Null) };
        Ok((Reply { status, body, replayed, etag }, wanted))
    }

    /// Sends a file and gives the answer as it comes: it begins while the file is still on its way. Not repeated: whoever sent
    /// it decides.
    ///
    /// # Errors
    /// No answer, or one that is no success.
    pub async fn upload(&self, path: &str, token: &str, media: &str, file: Vec<u8>) -> anyhow::Result<Response> {
        let call = Call { method: Method::POST, path, token: Some(token), ..Call::default() };
        let request = self.request(&call).header("content-type", media).timeout(UPLOAD).body(file);
        let response = request.send().await.context("no answer")?;
        let status = response.status();
        if !status.is_success() {
            bail!("{status}: {}", response.text().await.unwrap_or_default());
        }
        Ok(response)
    }

    /// Opens a stream of events.
    ///
    /// # Errors
    /// No answer, or one that is no stream.
    pub async fn stream(&self, path: &str, token: &str, last_event: &str) -> anyhow::Result<Response> {
        let call = Call { path, token: Some(token), ..Call::default() };
        let request = self.request(&call).header("accept", "text/event-stream").header("last-event-id", last_event);
        let response = request.send().await.context("no answer")?;
        if !response.status().is_success() {
            bail!("{}", response.status());
        }
        Ok(response)
    }

    fn request(&self, call: &Call<'_>) -> reqwest::RequestBuilder {
        let mut request = self.http.request(call.method.clone(), format!("{}{}", self.base, call.path));
        if let Some(token) = call.token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = call.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(tag) = call.if_match {
            request = request.header("if-match", tag);
        }
        match call.body {
            Some(body) => request.json(body),
            None => request,
        }
    }
}

fn worth_repeating(reply: &Reply) -> bool {
    match reply.status.as_u16() {
        429 | 500 | 502..=504 => true,
        // The first try of the same request is still being worked on.
        409 => reply.code() == "request-in-progress",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_may_change_by_itself_is_asked_again() {
        for (status, code, again) in [
            (201, "", false),
            (400, "malformed-request", false),
            (401, "unauthenticated", false),
            (409, "out-of-stock", false),
            (409, "request-in-progress", true),
            (422, "idempotency-key-reused", false),
            (429, "too-many-requests", true),
            (500, "internal", true),
            (503, "dependency-down", true),
            (504, "", true),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let reply = Reply { status, body: json!({"code": code}), replayed: false, etag: String::new() };
            assert_eq!(worth_repeating(&reply), again, "{status} {code}");
        }
    }
}
