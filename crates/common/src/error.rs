//! The kinds of error a caller can meet, and what each means for HTTP, gRPC and retries: one table for the whole fleet.
//!
//! Not decided here: the errors themselves. Each use case has a small enum in words of its domain that implements
//! [`Explain`]; the transports turn it into an answer.

use std::time::Duration;

/// What a caller may conclude from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request cannot be parsed.
    Invalid,
    Unauthenticated,
    Forbidden,
    /// Absent, or not the caller's: both look the same from outside.
    NotFound,
    MethodNotAllowed,
    /// The request is fine, the present state is not.
    Conflict,
    PreconditionFailed,
    TooLarge,
    UnsupportedMedia,
    /// The caller belongs to another region.
    Misdirected,
    /// Parsed, but a value breaks a rule.
    Unprocessable,
    PreconditionRequired,
    TooMany,
    HeadersTooLarge,
    /// Our own fault; the text stays inside.
    Internal,
    /// Cannot be answered now; the same request may succeed later.
    Unavailable,
}

impl ErrorKind {
    /// HTTP status of this kind.
    pub fn status(self) -> u16 {
        self.row().0
    }

    /// gRPC status code of this kind (numbers of the gRPC specification).
    pub fn grpc_code(self) -> i32 {
        self.row().1
    }

    /// Whether sending the same thing again can help without anybody changing it.
    pub fn retryable(self) -> bool {
        self.row().2
    }

    fn row(self) -> (u16, i32, bool) {
        match self {
            Self::Invalid => (400, 3, false),
            Self::Unauthenticated => (401, 16, false),
            Self::Forbidden => (403, 7, false),
            Self::NotFound => (404, 5, false),
            Self::MethodNotAllowed => (405, 12, false),
            Self::Conflict => (409, 10, false),
            Self::PreconditionFailed => (412, 9, false),
            Self::TooLarge => (413, 11, false),
            Self::UnsupportedMedia => (415, 3, false),
            Self::Misdirected => (421, 9, false),
            Self::Unprocessable => (422, 3, false),
            Self::PreconditionRequired => (428, 9, false),
            Self::TooMany => (429, 8, true),
            Self::HeadersTooLarge => (431, 8, false),
            Self::Internal => (500, 13, false),
            Self::Unavailable => (503, 14, true),
        }
    }
}

/// One field at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// JSON pointer into the request body, for example `/lines/0/quantity`.
    pub pointer: String,
    pub code: &'static str,
    pub message: String,
}

impl FieldProblem {
    pub fn new(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, message: message.into() }
    }
}

/// An error that can explain itself to the caller. Its `Display` text is shown unless the kind is [`ErrorKind::Internal`].
pub trait Explain: std::error::Error {
    fn kind(&self) -> ErrorKind;

    /// A stable code with a page under `docs/errors/`.
    fn code(&self) -> &'static str;

    /// What happened, what was not changed, what to do.
    fn detail(&self) -> String {
        self.to_string()
    }

    fn fields(&self) -> Vec<FieldProblem> {
        Vec::new()
    }

    /// When asking again makes sense.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}
