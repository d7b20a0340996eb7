//! One request, one answer. Reads are repeated when nobody answered; what changes something is not, the operator decides.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::failure::{Failure, Refusal};
use crate::session;

/// The edge gives up after 30 s; so do we, a little later.
const PATIENCE: Duration = Duration::from_secs(35);
/// Pages of one list: with a hundred items each, more than anybody reads.
const MOST_PAGES: usize = 100;
/// Items of one page; the API gives at most a hundred.
const PAGE: u32 = 100;

/// The region behind its edge.
pub struct Api {
    http: reqwest::Client,
    pub base: String,
    token_file: Option<PathBuf>,
}

impl Api {
    pub fn new(base: &str, token_file: Option<PathBuf>) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(PATIENCE)
            .no_proxy()
            .build()
            .map_err(|error| Failure::Here(error.to_string()))?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), token_file })
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// A list's items over as many pages as `limit` needs.
    pub async fn list(&self, path: &str, query: &[(&str, String)], limit: u32) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        for _ in 0..MOST_PAGES {
            let mut page: Vec<(&str, String)> = query.to_vec();
            let left = u32::try_from(limit - items.len()).unwrap_or(PAGE).min(PAGE);
            page.push(("limit", left.to_string()));
            page.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let answer = self.get(&format!("{path}?{}", encoded(&page))).await?;
            items.extend(answer["items"].as_array().cloned().unwrap_or_default());
            let next = &answer["page"]["next_cursor"];
            if items.len() >= limit || next.is_null() {
                break;
            }
            cursor = Some(next.as_str().map_or_else(|| next.to_string(), str::to_owned));
        }
        items.truncate(limit);
        Ok(items)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let token = session::token(self, self.token_file.as_deref()).await?;
        self.send(method, path, body, Some(&token)).await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        token: Option<&str>,
    ) -> Result<Value, Failure> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable =
            |error: reqwest::Error| Failure::Unreachable { url: self.base.clone(), reason: reason(&error) };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(unreachable)?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match status {
            status if status.is_success() && answer.is_null() && status != StatusCode::NO_CONTENT => Err(
                Failure::Here(format!("{} answered something that is no JSON; is it a ShopSphere region?", self.base)),
            ),
            status if status.is_success() => Ok(answer),
            status => Err(Failure::Refused(Refusal::of(status.as_u16(), &answer))),
        }
    }
}

/// The innermost cause: `error sending request` helps nobody.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    // A chain that refers to itself must not keep us here.
    for _ in 0..16 {
        match cause.source() {
            Some(source) => cause = source,
            None => break,
        }
    }
    cause.to_string()
}

/// Names and values as a query.
fn encoded(query: &[(&str, String)]) -> String {
    let pairs: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", segment(value))).collect();
    pairs.join("&")
}

/// A text as one segment of a path or one value of a query: everything but unreserved characters is escaped.
pub fn segment(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_stays_one_segment() {
        assert_eq!(segment("pi_1/../../x?y"), "pi_1%2F..%2F..%2Fx%3Fy");
        assert_eq!(encoded(&[("key", "a b".to_owned()), ("limit", "5".to_owned())]), "key=a%20b&limit=5");
    }
}
