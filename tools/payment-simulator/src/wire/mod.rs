//! The wire format: form-encoded requests in, JSON objects out, one shape of error.
//!
//! Decided here: names and shapes. A client written for the public PaymentIntents API finds what it needs for cards with
//! manual or automatic capture; parameters beyond that are refused by name and not ignored, apart from a few harmless ones.

mod commands;
mod dialect;
mod error;
mod form;
mod objects;
mod queries;
pub mod square;

pub use commands::{Command, Draft, cancel, capture, confirm, create, refund, update};
pub use error::ApiError;
pub use form::Form;
pub use objects::{
    book_entry, event, intent, intent_with_charge, list, refund as refund_object, search_result, summary,
};
pub use queries::{BooksQuery, ListQuery, SearchQuery};

/// An answer as it will be sent, and stored under the request's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn ok(body: &serde_json::Value) -> Self {
        Self { status: 200, body: body.to_string() }
    }
}
