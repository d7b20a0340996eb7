//! What handlers may ask of a request. Every extractor refuses with a [`Problem`](crate::Problem), so that bad input has one
//! shape whichever part of it is bad.

mod caller;
mod client;
mod distinct;
pub mod etag;
mod idempotency;
mod json;
mod language;
mod objection;
mod url;

use common::Region;

pub use caller::{Caller, MaybeCaller};
pub use client::ClientAddress;
pub use distinct::{distinct, distinct_if_any};
pub use idempotency::IdempotencyKey;
pub use json::Json;
pub use language::Language;
pub use objection::objects;
pub use url::{Path, Query};

/// Parses a body as [`Json`] does, for handlers that need the raw bytes too (signed webhooks).
///
/// # Errors
/// 400 `malformed-request`, 422 `unknown-field` or `invalid-field`.
pub fn parse_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, crate::Problem> {
    json::parse(body)
}

/// Facts of this port that extractors need; put into every request by `http::dress`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    pub region: Region,
    pub trust_forwarded: bool,
}
