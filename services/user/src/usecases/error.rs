//! Everything a use case may answer instead of a result, and what callers see of it.

use std::time::Duration;

use common::{ErrorKind, Explain, FieldProblem, Region};

use super::ports::{Down, StoreError};
use crate::domain::person::CARD_DATA_REFUSED;
use crate::domain::sign_up::RefusedSignUp;

pub type Result<T> = std::result::Result<T, UserError>;

#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("some fields are not acceptable; nothing was changed")]
    Fields(Vec<FieldProblem>),
    #[error("this account belongs to region {0}; nothing was read or stored here")]
    Elsewhere(Region),
    /// Wrong password, unknown e-mail, disabled account: one text for all.
    #[error("these credentials are not accepted")]
    WrongCredentials,
    #[error("this session is over; log in again")]
    SessionOver,
    #[error("there is nothing here for you")]
    NotFound,
    #[error("send If-Match with the ETag of what you want to change; nothing was changed")]
    VersionMissing,
    #[error("somebody changed this in the meantime; read it again; nothing was changed")]
    VersionStale,
    #[error("too many attempts; wait before the next one")]
    TooMany { retry_after: Duration },
    #[error("more than {limit} events in one request; nothing was accepted")]
    TooManyEvents { limit: usize },
    #[error("clicks cannot be taken now; none of this request was kept")]
    ClicksOverloaded(#[source] Down),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Down(#[from] Down),
    /// An identity or a token that cannot be ours: a defect or a misconfiguration.
    #[error("the identity provider said something impossible")]
    Impossible(#[source] anyhow::Error),
}

impl From<RefusedSignUp> for UserError {
    fn from(refused: RefusedSignUp) -> Self {
        match refused {
            RefusedSignUp::Elsewhere(region) => Self::Elsewhere(region),
            RefusedSignUp::Fields(problems) => Self::Fields(problems),
        }
    }
}

impl Explain for UserError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Fields(_) => ErrorKind::Unprocessable,
            Self::Elsewhere(_) => ErrorKind::Misdirected,
            Self::WrongCredentials | Self::SessionOver => ErrorKind::Unauthenticated,
            Self::NotFound => ErrorKind::NotFound,
            Self::VersionMissing => ErrorKind::PreconditionRequired,
            Self::VersionStale => ErrorKind::PreconditionFailed,
            Self::TooMany { .. } => ErrorKind::TooMany,
            Self::TooManyEvents { .. } => ErrorKind::TooLarge,
            Self::ClicksOverloaded(_) | Self::Down(_) => ErrorKind::Unavailable,
            Self::Store(StoreError::Inconsistent(_)) | Self::Impossible(_) => ErrorKind::Internal,
            Self::Store(_) => ErrorKind::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Fields(problems) if problems.iter().any(|problem| problem.code == CARD_DATA_REFUSED) => {
                CARD_DATA_REFUSED
            }
            Self::Fields(_) => "invalid-field",
            Self::Elsewhere(_) => "residency-mismatch",
            Self::WrongCredentials | Self::SessionOver => "unauthenticated",
            Self::NotFound => "not-found",
            Self::VersionMissing => "precondition-required",
            Self::VersionStale => "precondition-failed",
            Self::TooMany { .. } => "too-many-requests",
            Self::TooManyEvents { .. } => "body-too-large",
            Self::ClicksOverloaded(_) => "overloaded",
            Self::Down(_) | Self::Store(StoreError::Unavailable(_)) => "dependency-down",
            Self::Store(StoreError::NotWritable) => "not-writable",
            Self::Store(StoreError::OutcomeUnknown) => "outcome-unknown",
            Self::Store(StoreError::Inconsistent(_)) | Self::Impossible(_) => "internal",
        }
    }

    fn fields(&self) -> Vec<FieldProblem> {
        match self {
            Self::Fields(problems) => problems.clone(),
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { retry_after } => Some(*retry_after),
            Self::ClicksOverloaded(down) | Self::Down(down) => down.retry_after,
            _ => None,
        }
    }
}
