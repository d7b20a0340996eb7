//! Why a step of a reservation was not taken, and whether trying again helps.

use std::time::Duration;

use common::{ErrorKind, Explain};

use super::ports::stock::StoreError;
use crate::domain::reservation::ReservationError;

#[derive(Debug, thiserror::Error)]
pub enum StockError {
    #[error(transparent)]
    Reservation(#[from] ReservationError),
    /// Others decided about the same reservation each time we tried.
    #[error("too many decisions about one reservation at once")]
    Contended,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Decisions made again for one message because another came first. An order has three messages in all, so the third try
/// already finds nothing left to race with; a few more cost nothing.
pub(super) const MAX_DECISIONS: u32 = 5;

impl Explain for StockError {
    fn kind(&self) -> ErrorKind {
        match self {
            // The order is on its way on its own topic: the same message succeeds once it has been seen.
            Self::Reservation(ReservationError::NotSeenYet) | Self::Contended => ErrorKind::Unavailable,
            Self::Reservation(ReservationError::WrongState { .. } | ReservationError::LinesDiffer) => {
                ErrorKind::Conflict
            }
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Reservation(ReservationError::NotSeenYet) => "dependency-down",
            Self::Reservation(ReservationError::WrongState { .. } | ReservationError::LinesDiffer) => "state-conflict",
            Self::Contended => "overloaded",
            Self::Store(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Store(error) => error.retry_after(),
            Self::Reservation(ReservationError::NotSeenYet) | Self::Contended => Some(Duration::from_secs(1)),
            Self::Reservation(_) => None,
        }
    }
}
