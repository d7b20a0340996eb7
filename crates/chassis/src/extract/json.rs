//! The JSON body. Decided here: which bodies are read at all, and how a wrong one is told to the caller: what cannot be parsed
//! is 400, what parses but does not fit is 422 with a pointer to the place. The answer never repeats what was sent.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use common::{ErrorKind, FieldProblem};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde::de::{DeserializeOwned, Visitor};

use super::distinct::TWICE;
use crate::problem::{Problem, codes};

/// Nobody's command is nested deeper; reading stops there.
const MAX_DEPTH: usize = 32;

/// A request body, or an answer, as JSON. Types of requests carry `#[serde(deny_unknown_fields)]`.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        media_type_is_json(request.headers())?;
        let body = Bytes::from_request(request, state).await.map_err(unread)?;
        parse(&body).map(Self)
    }
}

fn media_type_is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |detail: &str| Err(Problem::new(ErrorKind::UnsupportedMedia, codes::UNSUPPORTED_MEDIA_TYPE, detail));
    if headers.contains_key(CONTENT_ENCODING) {
        return refused("compressed bodies are not read");
    }
    let Some(text) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return refused("content-type must be application/json");
    };
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let essence = parts.next().unwrap_or_default();
    let is_json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    let is_utf8 = parts.all(|parameter| match parameter.strip_prefix("charset=") {
        Some(charset) => matches!(charset.trim_matches('"'), "utf-8" | "utf8"),
        None => true,
    });
    if is_json && is_utf8 { Ok(()) } else { refused("content-type must be application/json in UTF-8") }
}

fn unread(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(ErrorKind::TooLarge, codes::BODY_TOO_LARGE, "the body is larger than this resource reads")
    } else {
        malformed("the body could not be read")
    }
}

fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(ErrorKind::Invalid, codes::MALFORMED_REQUEST, detail)
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if nested_deeper_than(MAX_DEPTH, body) {
        return Err(malformed(format!("nested deeper than {MAX_DEPTH} levels")));
    }
    if is_list(body) && reads_an_object::<T>() {
        return Err(Problem::invalid_fields(vec![FieldProblem::new("", "invalid", "expected an object")]));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        explain(&error.into_inner(), pointer)
    })?;
    reader.end().map_err(|_| malformed("there is more than one JSON value in the body"))?;
    Ok(value)
}

fn is_list(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

/// Whether `T` is a struct. The derived readers of structs also take a list with the fields in order, which no client means.
fn reads_an_object<T: DeserializeOwned>() -> bool {
    matches!(T::deserialize(Probe), Err(Asked::Struct))
}

/// Gives nothing and tells what was asked for.
struct Probe;

#[derive(Debug, thiserror::Error)]
enum Asked {
    #[error("a struct")]
    Struct,
    #[error("something else")]
    Other,
}

impl serde::de::Error for Asked {
    fn custom<M: std::fmt::Display>(_: M) -> Self {
        Self::Other
    }
}

impl<'de> serde::Deserializer<'de> for Probe {
    type Error = Asked;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
        Err(Asked::Other)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Asked> {
        Err(Asked::Struct)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Counts brackets outside of strings; cheaper than parsing what will be refused.
fn nested_deeper_than(limit: usize, body: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in body {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

fn explain(error: &serde_json::Error, pointer: String) -> Problem {
    use serde_json::error::Category;
    let text = error.to_string();
    if error.classify() != Category::Data {
        return malformed(format!("not valid JSON at line {} column {}", error.line(), error.column()));
    }
    if text.starts_with("duplicate field") {
        return malformed("a field occurs twice");
    }
    if text.starts_with(TWICE) {
        return Problem::invalid_fields(vec![FieldProblem::new(pointer, "duplicate", TWICE)]);
    }
    if let Some(name) = quoted(&text, "unknown field `") {
        let field = FieldProblem::new(child(&pointer, name), codes::UNKNOWN_FIELD, "this field is not known here");
        return Problem::new(
            ErrorKind::Unprocessable,
            codes::UNKNOWN_FIELD,
            "the body has a field that is not known; nothing was changed",
        )
        .with_fields(vec![field]);
    }
    if let Some(name) = quoted(&text, "missing field `") {
        return Problem::invalid_fields(vec![FieldProblem::new(
            child(&pointer, name),
            "missing",
            "this field is required",
        )]);
    }
    Problem::invalid_fields(vec![FieldProblem::new(pointer, "invalid", expectation(&text))])
}

/// What serde expected, without what it got: that may be anything, a card number included.
fn expectation(text: &str) -> String {
    let without_place = text.rsplit_once(" at line ").map_or(text, |(front, _)| front);
    match without_place.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None => "this value is not acceptable".to_owned(),
    }
}

fn quoted<'a>(text: &'a str, lead: &str) -> Option<&'a str> {
    text.strip_prefix(lead)?.split('`').next()
}

/// Adds the last step unless the path has it already (which depends on where serde noticed).
fn child(pointer: &str, name: &str) -> String {
    let step = escape(name);
    if pointer.rsplit('/').next() == Some(&*step) { pointer.to_owned() } else { format!("{pointer}/{step}") }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", escape(key))),
            // A variant's name is in the document as a key only for externally tagged enums, which our API does not use.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// RFC 6901; a client chooses the names of unknown fields, so their length is bounded too.
fn escape(step: &str) -> String {
    step.chars().take(64).collect::<String>().replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Command {
        lines: Vec<Line>,
        note: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Line {
        sku: String,
        quantity: u32,
        #[serde(default, deserialize_with = "crate::extract::distinct")]
        options: BTreeMap<String, String>,
    }

    fn refused(body: &str) -> (u16, &'static str, String) {
        let problem = parse::<Command>(body.as_bytes()).expect_err(body);
        let response = serde_json::from_str::<serde_json::Value>(&problem.body_text()).unwrap();
        let pointer = response["errors"][0]["pointer"].as_str().unwrap_or("-").to_owned();
        (problem.status().as_u16(), problem.code(), pointer)
    }

    #[test]
    fn a_wrong_body_is_told_with_the_place_of_the_fault() {
        let cases = [
            (r#"{"lines": ["#, (400, "malformed-request", "-")),
            (r#"{"lines": [], "lines": []}"#, (400, "malformed-request", "-")),
            (r#"{"lines": []} {}"#, (400, "malformed-request", "-")),
            (r#"{"lines": [{"sku": "a", "quantity": 1e400}]}"#, (400, "malformed-request", "-")),
            (r#"{"lines": [{"sku": "a", "quantity": -1}]}"#, (422, "invalid-field", "/lines/0/quantity")),
            (r#"{"lines": [{"sku": "a", "quantity": 1.5}]}"#, (422, "invalid-field", "/lines/0/quantity")),
            (r#"{"lines": [{"sku": "a", "quantity": "1"}]}"#, (422, "invalid-field", "/lines/0/quantity")),
            (r#"{"lines": [{"sku": "a", "quantity": 4294967296}]}"#, (422, "invalid-field", "/lines/0/quantity")),
            (r#"{"lines": [{"sku": "a", "quantity": null}]}"#, (422, "invalid-field", "/lines/0/quantity")),
            (r#"{"lines": [{"sku": "a"}]}"#, (422, "invalid-field", "/lines/0/quantity")),
            (r#"{"lines": [{"sku": "a", "quantity": 1, "price": 1}]}"#, (422, "unknown-field", "/lines/0/price")),
            (
                r#"{"lines": [{"sku": "a", "quantity": 1, "options": {"size": "m", "size": "l"}}]}"#,
                (422, "invalid-field", "/lines/0/options"),
            ),
            (r#"{"lines": [], "a/b~": 1}"#, (422, "unknown-field", "/a~1b~0")),
            (r#"{"lines": 7}"#, (422, "invalid-field", "/lines")),
            ("[]", (422, "invalid-field", "")),
            (" \n[[{\"sku\": \"a\", \"quantity\": 1}], null]", (422, "invalid-field", "")),
            ("null", (422, "invalid-field", "")),
            ("", (400, "malformed-request", "-")),
        ];
        for (body, (status, code, pointer)) in cases {
            assert_eq!(refused(body), (status, code, pointer.to_owned()), "{body}");
        }
    }

    #[test]
    fn a_list_is_read_where_a_list_is_meant() {
        assert_eq!(parse::<Vec<u8>>(b"[1, 2]").unwrap(), [1, 2]);
        assert!(parse::<serde_json::Value>(b"[1, 2]").unwrap().is_array());
        assert!(parse::<Command>(br#"{"lines": [{"sku": "a", "quantity": 1}]}"#).is_ok());
    }

    #[test]
    fn the_answer_does_not_repeat_what_was_sent() {
        let problem = parse::<Command>(br#"{"lines": [{"sku": "a", "quantity": "4242424242424242"}]}"#).unwrap_err();
        assert!(!problem.body_text().contains("4242"), "{}", problem.body_text());
        assert!(problem.body_text().contains("expected u32"), "{}", problem.body_text());
        let twice = br#"{"lines": [{"sku": "a", "quantity": 1, "options": {"4242": "m", "4242": "l"}}]}"#;
        let problem = parse::<Command>(twice).unwrap_err();
        assert!(!problem.body_text().contains("4242"), "{}", problem.body_text());
        assert!(problem.body_text().contains("a key occurs twice"), "{}", problem.body_text());
    }

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        assert!(nested_deeper_than(2, b"[[[1]]]"));
        assert!(!nested_deeper_than(2, b"[[1],[2],[3]]"));
        assert!(!nested_deeper_than(1, br#"["[[[[\"[[["]"#));
        let deep = "[".repeat(10_000);
        assert_eq!(refused(&deep).1, "malformed-request");
    }

    #[test]
    fn only_plain_utf8_json_is_read() {
        let verdict = |headers: &[(http::HeaderName, &str)]| {
            let map: HeaderMap = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            media_type_is_json(&map).is_ok()
        };
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/merge-patch+json",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(verdict(&[(CONTENT_TYPE, good)]), "{good}");
        }
        for bad in ["text/json", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "json", ""] {
            assert!(!verdict(&[(CONTENT_TYPE, bad)]), "{bad}");
        }
        assert!(!verdict(&[]));
        assert!(!verdict(&[(CONTENT_TYPE, "application/json"), (CONTENT_ENCODING, "gzip")]));
    }
}
