//! The API key: `Authorization: Bearer <key>`, or `Basic` with the key as user name and no password.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::App;
use crate::wire::{ApiError, square};

pub async fn require_key(State(app): State<App>, request: Request, next: Next) -> Response {
    match presented(request.headers()) {
        // In constant time, so that the key cannot be guessed letter by letter.
        Some(key) if bool::from(key.as_bytes().ct_eq(app.api_key.as_bytes())) => next.run(request).await,
        _ if request.uri().path().starts_with("/v2/") => super::respond(&square::unauthenticated()),
        _ => ApiError::unauthenticated().into_response(),
    }
}

fn presented(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.trim().to_owned());
    }
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(credentials.trim()).ok()).flatten()?;
    Some(String::from_utf8(decoded).ok()?.trim_end_matches(':').to_owned())
}
