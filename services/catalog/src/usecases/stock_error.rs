//! Why a step of a reservation was not taken, and whether trying again helps.

use std::time::Duration;

use common::{ErrorKind, Explain};

use super::ports::orders::OrdersDown;
use super::ports::products::StoreDown;
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
    Products(#[from] StoreDown),
    #[error(transparent)]
    Orders(#[from] OrdersDown),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Decisions made again for one message because another came first. An order has few messages in all, so the third try
/// already finds nothing left to race with; a few more cost nothing.
pub(super) const MAX_DECISIONS: u32 = 5;

impl Explain for StockError {
    fn kind(&self) -> ErrorKind {
        match self {
            // The order is on its way on its own topic: the same message succeeds once it has been seen.
            Self::Reservation(ReservationError::NotSeenYet) | Self::Contended => ErrorKind::Unavailable,
            Self::Reservation(_) => ErrorKind::Conflict,
            Self::Products(error) => error.kind(),
            Self::Orders(_) => ErrorKind::Unavailable,
            Self::Store(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Reservation(ReservationError::NotSeenYet) => "dependency-down",
            Self::Reservation(_) => "state-conflict",
            Self::Products(error) => error.code(),
            Self::Orders(_) => "dependency-down",
            Self::Contended => "overloaded",
            Self::Store(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Store(error) => error.retry_after(),
            Self::Reservation(ReservationError::NotSeenYet) | Self::Contended | Self::Orders(_) => {
                Some(Duration::from_secs(1))
            }
            Self::Products(error) => error.retry_after(),
            Self::Reservation(_) => None,
        }
    }
}
