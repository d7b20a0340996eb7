//! Headers of every answer: which request, which site, which epoch it is of, and that what was asked for with a token is not
//! for any cache unless the handler says otherwise.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderName, HeaderValue};

use super::Shared;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const SITE: HeaderName = HeaderName::from_static("shopsphere-site");
pub(super) const EPOCH: HeaderName = HeaderName::from_static("shopsphere-epoch");

/// What an answer says of its request.
pub(super) struct Identity {
    pub id: Arc<str>,
    personal: bool,
}

impl Identity {
    /// The caller's own id where it is one, else a new one.
    pub fn of(request: &Request) -> Self {
        let id: Arc<str> = request
            .headers()
            .get(REQUEST_ID)
            .and_then(sane)
            .map_or_else(|| common::ids::random().to_string().into(), Into::into);
        Self { id, personal: request.headers().contains_key(AUTHORIZATION) }
    }

    pub fn put(&self, shared: &Shared, response: &mut Response) {
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::try_from(&*self.id) {
            headers.insert(REQUEST_ID, value);
        }
        if self.personal && !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        headers.insert(SITE, shared.site_header.clone());
        headers.insert(EPOCH, shared.epoch_header.clone());
    }
}

/// A client's id is taken over when it cannot do harm in a log: 8 to 64 of `A-Z a-z 0-9 . _ -`.
pub(super) fn sane(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    ((8..=64).contains(&text.len()) && text.bytes().all(known)).then_some(text)
}
