//! What pages of lists have in common: reading the query, headers of caching, where the next page is.

use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use chassis::Problem;
use chrono::{DateTime, Utc};
use common::{ErrorKind, Region};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, LINK, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::finished::{Bodies, Encoding, Sent, has_tag, shared_until_turn};
use crate::domain::product::Product;

/// `view` as an answer with a strong tag over its bytes, or 304 when the caller has these very bytes.
pub fn tagged<T: Serialize>(headers: HeaderMap, view: &T, asked: &HeaderMap) -> Response {
    whole_or_same(headers, Sent::plain(bytes_of(view)), asked)
}

/// As [`tagged`], in the encoding that the caller takes where the answer is for everybody: then the same bytes go out many times. What
/// is for one person, or must not be kept, is sent once and travels as it is.
pub async fn encoded<T: Serialize>(bodies: &Bodies, mut headers: HeaderMap, view: &T, asked: &HeaderMap) -> Response {
    let is_for_everybody = headers.get(CACHE_CONTROL).is_some_and(|rule| rule.as_bytes().starts_with(b"public"));
    if !is_for_everybody {
        return tagged(headers, view, asked);
    }
    headers.insert(VARY, HeaderValue::from_static("Accept-Language, Authorization, Accept-Encoding"));
    let sent = bodies.encoded(bytes_of(view), Encoding::wanted(asked)).await;
    whole_or_same(headers, sent, asked)
}

fn bytes_of<T: Serialize>(view: &T) -> Bytes {
    // A view is texts and numbers; nothing in it can fail to become JSON.
    serde_json::to_vec(view).unwrap_or_default().into()
}

fn whole_or_same(mut headers: HeaderMap, Sent { body, tag, encoding }: Sent, asked: &HeaderMap) -> Response {
    headers.insert(ETAG, tag.clone());
    if has_tag(asked, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(encoding) = encoding.header() {
        headers.insert(CONTENT_ENCODING, encoding);
    }
    (headers, body).into_response()
}

/// Longer queries are not parsed: the longest sensible one has 256 characters and 20 filters.
const MAX_QUERY: usize = 16 * 1024;

/// Lists may be this old in a shared cache, in seconds, and be shown while they are renewed; they change with every product.
const SHARED_LIST: &str = "public, max-age=0, s-maxage=5, stale-while-revalidate=30";
/// After this no shared cache shows such a list any more.
const LONGEST_SHARED: Duration = Duration::from_secs(35);
/// Says what this answer could not be asked for.
const DEGRADED: HeaderName = HeaderName::from_static("shopsphere-degraded");
/// What is for one person stays with that person.
const PERSONAL: &str = "private, no-store";

#[derive(Debug, Serialize)]
pub struct PageView {
    pub next_cursor: Option<String>,
}

/// Of a list that may be a person's own.
#[derive(Debug, Serialize)]
pub struct OwnPageView {
    /// For coming back to this very page; absent where the address without one names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    pub next_cursor: Option<String>,
}

/// Names and values of a query, in order. Broken UTF-8 becomes a replacement character, so that nothing is unreadable.
pub fn parameters(query: Option<&str>) -> Result<Vec<(String, String)>, Problem> {
    let query = query.unwrap_or_default();
    if query.len() > MAX_QUERY {
        return Err(Problem::new(ErrorKind::Unprocessable, "query-too-costly", "the query is too long"));
    }
    serde_urlencoded::from_str(query)
        .map_err(|_| Problem::new(ErrorKind::Invalid, "malformed-request", "the query cannot be read"))
}

/// Headers of a list. `path` and `parameters` are those of the request.
pub fn headers(
    language: &'static str,
    personal: bool,
    path: &str,
    parameters: &[(String, String)],
    next_cursor: Option<&str>,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language));
    // A shared copy must not answer somebody whose token would make it personal.
    headers.insert(VARY, HeaderValue::from_static("Accept-Language, Authorization"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(if personal { PERSONAL } else { SHARED_LIST }));
    if let Some(Ok(link)) = next_cursor.map(|cursor| next_link(path, parameters, cursor)) {
        headers.insert(LINK, link);
    }
    headers
}

/// Headers of a list that was made without the index: nobody keeps it, so that it is gone when the index is back.
pub fn degraded(mut headers: HeaderMap, degraded: bool) -> HeaderMap {
    if degraded {
        headers.insert(DEGRADED, HeaderValue::from_static("search"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers
}

/// Headers of a list of these products: no shared cache shows a price that has ended by itself, nor a product whose time is over.
pub fn until_turn<'a>(
    mut headers: HeaderMap,
    products: impl Iterator<Item = &'a Product>,
    region: Region,
    now: DateTime<Utc>,
) -> HeaderMap {
    // What is over already was found a moment before: nobody keeps it.
    let turn_of = |product: &Product| match product.price_at(region, now) {
        Some(_) => product.next_turn(region, now),
        None => Some(now),
    };
    let turn = products.filter_map(turn_of).min();
    let left = turn.map(|turn| (turn - now).to_std().unwrap_or_default());
    let is_shared = headers.get(CACHE_CONTROL).is_some_and(|rule| rule == SHARED_LIST);
    if let Some(left) = left.filter(|left| is_shared && *left < LONGEST_SHARED) {
        headers.insert(CACHE_CONTROL, shared_until_turn(left, 5));
    }
    headers
}

fn next_link(
    path: &str,
    parameters: &[(String, String)],
    cursor: &str,
) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let kept =
        parameters.iter().filter(|(name, _)| name != "cursor").map(|(name, value)| (name.as_str(), value.as_str()));
    let query = serde_urlencoded::to_string(kept.chain([("cursor", cursor)]).collect::<Vec<_>>()).unwrap_or_default();
    HeaderValue::try_from(format!("<{path}?{query}>; rel=\"next\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_keeps_the_filters_and_encodes_them() {
        let parameters = parameters(Some("category=a%2Fb&q=%3E%22%0d%0a&cursor=old")).unwrap();
        let headers = headers("de", false, "/v1/products", &parameters, Some("new"));
        assert_eq!(headers[LINK], "</v1/products?category=a%2Fb&q=%3E%22%0D%0A&cursor=new>; rel=\"next\"");
        assert_eq!(headers[CACHE_CONTROL], SHARED_LIST);
    }

    #[test]
    fn broken_encodings_are_read_as_gaps() {
        assert_eq!(parameters(Some("q=%ED%A0%80x%zz")).unwrap()[0].0, "q");
        assert!(parameters(Some(&"x".repeat(MAX_QUERY + 1))).is_err());
    }
}
