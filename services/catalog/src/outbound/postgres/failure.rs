//! What the database's words mean to a use case.

use common::{ErrorKind, Explain, Sku};
use messaging::CommitError;

use crate::domain::shelves::NoPromises;
use crate::usecases::ports::stock::{Committed, Failure, StoreError};

/// What a write refuses from inside its transaction; everything is rolled back then.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the reservation is no longer what the decision was made about")]
    Overtaken,
    #[error("the receipt was counted before")]
    ReceivedBefore,
    #[error("the reference was used for other lines")]
    ReferenceReused,
    #[error("{0} is supplied in another way")]
    KindDiffers(Sku),
    #[error("{0} cannot count that many units")]
    Full(Sku),
    #[error("{0} never came in")]
    UnknownSku(Sku),
    #[error("{0} is not counted")]
    NotCounted(Sku),
    #[error("fewer units of {0} are for sale")]
    NotForSale(Sku),
    /// A promise of the tables is broken; going on would make it worse.
    #[error("inconsistent: {0}")]
    Inconsistent(String),
}

impl From<NoPromises> for Refusal {
    fn from(error: NoPromises) -> Self {
        match error {
            NoPromises::Unknown(sku) => Self::UnknownSku(sku),
            NoPromises::NotCounted(sku) => Self::NotCounted(sku),
        }
    }
}

impl Explain for Refusal {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Inconsistent(_) => ErrorKind::Internal,
            _ => ErrorKind::Conflict,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Inconsistent(_) => "internal",
            _ => "state-conflict",
        }
    }
}

/// The constraint that bounds a stock row.
const IN_RANGE: &str = "stock_received_in_range";

/// What became of something whose reference counts once.
pub(super) fn counted_once(
    outcome: Result<messaging::Committed, CommitError<Refusal>>,
) -> Result<Committed, StoreError> {
    match outcome {
        Ok(messaging::Committed::Applied) => Ok(Committed::Applied),
        Ok(messaging::Committed::Repeated(_)) | Err(CommitError::Refused(Refusal::ReceivedBefore)) => {
            Ok(Committed::Repeated)
        }
        Err(error) => Err(of_commit(error)),
    }
}

/// Everything but [`Refusal::ReceivedBefore`], which is an answer and not an error.
pub(super) fn of_commit(error: CommitError<Refusal>) -> StoreError {
    match error {
        CommitError::Refused(Refusal::Overtaken) => StoreError::Overtaken,
        CommitError::Refused(Refusal::ReferenceReused) => StoreError::ReferenceReused,
        CommitError::Refused(Refusal::KindDiffers(sku)) => StoreError::KindDiffers(sku),
        CommitError::Refused(Refusal::Full(_)) => StoreError::Full,
        CommitError::Refused(Refusal::UnknownSku(sku)) => StoreError::UnknownSku(sku),
        CommitError::Refused(Refusal::NotCounted(sku)) => StoreError::NotCounted(sku),
        CommitError::Refused(Refusal::NotForSale(sku)) => StoreError::NotForSale(sku),
        CommitError::Database(sqlx::Error::Database(error)) if error.constraint() == Some(IN_RANGE) => StoreError::Full,
        other => StoreError::Failed(Failure {
            message: "the stock could not be changed",
            kind: other.kind(),
            code: other.code(),
            retry_after: other.retry_after(),
            source: Some(Box::new(other)),
        }),
    }
}

/// A read failed. Reads are safe to repeat, so the caller may try again unless the row itself is at fault.
pub(super) fn of_read(error: sqlx::Error) -> StoreError {
    let (kind, code) = match &error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
            (ErrorKind::Internal, "internal")
        }
        _ => (ErrorKind::Unavailable, "dependency-down"),
    };
    let retry_after = kind.retryable().then_some(std::time::Duration::from_secs(1));
    StoreError::Failed(Failure {
        message: "the stock could not be read",
        kind,
        code,
        retry_after,
        source: Some(Box::new(error)),
    })
}

/// A row that does not convert: names table, column and row.
pub(super) fn inconsistent(table: &str, column: &str, row: &dyn std::fmt::Display) -> StoreError {
    let source = format!("{table}.{column} of {row} has a value that the code does not know");
    StoreError::Failed(Failure {
        message: "a row of the stock is inconsistent",
        kind: ErrorKind::Internal,
        code: "internal",
        retry_after: None,
        source: Some(source.into()),
    })
}
