//! The `Idempotency-Key` header: which texts are keys.

use axum::extract::FromRequestParts;
use common::ErrorKind;
use http::HeaderMap;
use http::request::Parts;

use crate::problem::{Problem, codes};

const HEADER: &str = "idempotency-key";

/// Exactly one header with 16 to 64 characters of `A-Z a-z 0-9 _ -`, bare or in double quotes; both mean the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(pub String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        key_in(&parts.headers)
    }
}

fn key_in(headers: &HeaderMap) -> Result<IdempotencyKey, Problem> {
    let invalid = |detail: &str| Problem::new(ErrorKind::Invalid, codes::IDEMPOTENCY_KEY_INVALID, detail);
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Err(Problem::new(
            ErrorKind::Invalid,
            codes::IDEMPOTENCY_KEY_MISSING,
            "send an Idempotency-Key, a new one for each new intention",
        ));
    };
    if values.next().is_some() {
        return Err(invalid("send exactly one Idempotency-Key"));
    }
    let text = value.to_str().unwrap_or_default();
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (16..=64).contains(&bare.len()) && bare.bytes().all(known) {
        Ok(IdempotencyKey(bare.to_owned()))
    } else {
        Err(invalid("an Idempotency-Key has 16 to 64 letters, digits, underscores or hyphens"))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn outcome(values: &[&[u8]]) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_bytes(value).unwrap());
        }
        key_in(&headers).map(|key| key.0).map_err(|problem| problem.code())
    }

    #[test]
    fn a_key_is_one_header_of_a_known_shape_quoted_or_bare() {
        let (short, long, longer) = ("k".repeat(16), "k".repeat(64), "k".repeat(65));
        let quoted = format!("\"{short}\"");
        let half_quoted = format!("\"{short}");
        let spaced = format!("{short} x");
        type Headers<'a> = &'a [&'a [u8]];
        let cases: [(Headers<'_>, Result<&str, &str>); 12] = [
            (&[], Err("idempotency-key-missing")),
            (&[b""], Err("idempotency-key-invalid")),
            (&[b"k"], Err("idempotency-key-invalid")),
            (&[b"kkkkkkkkkkkkkkk"], Err("idempotency-key-invalid")),
            (&[short.as_bytes()], Ok(&short)),
            (&[quoted.as_bytes()], Ok(&short)),
            (&[half_quoted.as_bytes()], Err("idempotency-key-invalid")),
            (&[long.as_bytes()], Ok(&long)),
            (&[longer.as_bytes()], Err("idempotency-key-invalid")),
            (&[spaced.as_bytes()], Err("idempotency-key-invalid")),
            (&["schlüssel-schlüssel".as_bytes()], Err("idempotency-key-invalid")),
            (&[short.as_bytes(), short.as_bytes()], Err("idempotency-key-invalid")),
        ];
        for (values, expected) in cases {
            assert_eq!(outcome(values).as_deref().map_err(|code| *code), expected, "{values:?}");
        }
    }
}
