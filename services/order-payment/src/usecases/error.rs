//! Why a use case did not do what it was asked, in words of the shop.

use std::error::Error;
use std::time::Duration;

use common::{ErrorKind, Explain, FieldProblem, Region};
use messaging::crash::Crashed;

use super::coupons::CouponRefusal;
use super::price_locks::Requote;
use super::view_cart::CartRefusal;
use crate::domain::WrongState;
use crate::domain::basket::BasketProblem;

/// What a store refuses. Nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("another change came first; nothing was changed")]
    Lost,
    #[error("the order exists already; nothing was changed")]
    OrderExists,
    #[error("it is more than is left of what was paid; nothing was changed")]
    RefundExceeds,
    #[error("there is not enough store credit; nothing was changed")]
    CreditShort,
    #[error("nobody of this id is known here; nothing was changed")]
    UnknownPerson,
    #[error("the coupon has no uses left; nothing was ordered")]
    CouponUsed,
}

impl Explain for Conflict {
    /// Whoever sees that it lost has already tried again; trying later can help.
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Lost | Self::OrderExists => ErrorKind::Unavailable,
            Self::RefundExceeds => ErrorKind::Unprocessable,
            Self::CreditShort | Self::CouponUsed => ErrorKind::Conflict,
            Self::UnknownPerson => ErrorKind::NotFound,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Lost | Self::OrderExists => "overloaded",
            Self::RefundExceeds => "refund-exceeds-capture",
            Self::CreditShort => "store-credit-short",
            Self::UnknownPerson => "not-found",
            Self::CouponUsed => "coupon-used",
        }
    }
}

pub type CommitError = messaging::CommitError<Conflict>;

/// Why our own books could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database cannot be read")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    #[error("the database refused a statement")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
    #[error("{table}.{column} of row {row} makes no sense")]
    Inconsistent { table: &'static str, column: &'static str, row: String },
}

impl Explain for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::Refused(_) | Self::Inconsistent { .. } => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "dependency-down",
            Self::Refused(_) | Self::Inconsistent { .. } => "internal",
        }
    }
}

/// Why there are no prices.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    #[error("the catalog does not answer")]
    Unavailable(#[source] anyhow::Error),
    #[error("the catalog's answer makes no sense: {0}")]
    Crooked(String),
}

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("your account belongs to region {0}")]
    Misdirected(Region),
    #[error("something in this request looks like a card number; nothing of it was kept")]
    CardData { pointer: String },
    #[error("some fields are not acceptable; nothing was changed")]
    Fields(Vec<FieldProblem>),
    #[error("the total is now {}; nothing was ordered", .0.priced.total())]
    PriceChanged(Box<Requote>),
    #[error("the price lock is not one of ours, or not for this order; nothing was ordered")]
    LockInvalid,
    #[error(transparent)]
    Cart(#[from] CartRefusal),
    #[error(transparent)]
    Coupon(#[from] CouponRefusal),
    #[error("there is not enough in stock; nothing was ordered")]
    OutOfStock(Vec<FieldProblem>),
    #[error("the total is higher than one payment can be; nothing was ordered")]
    TooMuch,
    #[error("there is nothing here for you")]
    NotFound,
    #[error("{0}; nothing was changed")]
    StateConflict(&'static str),
    #[error("it is more than is left of what was paid; nothing was changed")]
    RefundExceeds(Vec<FieldProblem>),
    #[error("this is for staff; nothing was changed")]
    Forbidden,
    #[error("the cursor or limit is not one of ours")]
    CursorInvalid,
    #[error("the event belongs to another region; nothing was kept")]
    ForeignEvent,
    #[error("order {0} is not known")]
    UnknownOrder(String),
    #[error(transparent)]
    Prices(#[from] PricesError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("an invariant is broken: {0}")]
    Broken(String),
    #[error(transparent)]
    Crashed(#[from] Crashed),
}

impl Failure {
    pub fn broken(what: impl Into<String>) -> Self {
        Self::Broken(what.into())
    }

    /// Another change came first; reading again shows which.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Commit(messaging::CommitError::Refused(Conflict::Lost)))
    }

    /// A test stopped the process here: nothing more happens in it.
    pub fn is_crash(&self) -> bool {
        matches!(self, Self::Crashed(_) | Self::Commit(messaging::CommitError::Crashed(_)))
    }
}

impl From<WrongState> for Failure {
    fn from(error: WrongState) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<BasketProblem> for Failure {
    fn from(problem: BasketProblem) -> Self {
        match problem {
            BasketProblem::CardData { pointer } => Self::CardData { pointer },
            BasketProblem::Fields(fields) => Self::Fields(fields),
        }
    }
}

impl Explain for Failure {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Misdirected(_) => ErrorKind::Misdirected,
            Self::CardData { .. } | Self::Fields(_) | Self::TooMuch | Self::RefundExceeds(_) | Self::LockInvalid => {
                ErrorKind::Unprocessable
            }
            Self::Cart(refusal) => refusal.kind(),
            Self::Coupon(refusal) => refusal.kind(),
            Self::Forbidden => ErrorKind::Forbidden,
            Self::PriceChanged(_) | Self::OutOfStock(_) | Self::StateConflict(_) => ErrorKind::Conflict,
            Self::NotFound | Self::ForeignEvent => ErrorKind::NotFound,
            Self::CursorInvalid => ErrorKind::Invalid,
            Self::Prices(PricesError::Unavailable(_)) | Self::Crashed(_) => ErrorKind::Unavailable,
            Self::Prices(PricesError::Crooked(_)) | Self::Broken(_) | Self::UnknownOrder(_) => ErrorKind::Internal,
            Self::Store(error) => error.kind(),
            Self::Commit(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Misdirected(_) => "residency-mismatch",
            Self::CardData { .. } => "card-data-refused",
            Self::Fields(_) => "invalid-field",
            Self::TooMuch => "limit-exceeded",
            Self::PriceChanged(_) => "price-changed",
            Self::LockInvalid => "price-lock-invalid",
            Self::Cart(refusal) => refusal.code(),
            Self::Coupon(refusal) => refusal.code(),
            Self::OutOfStock(_) => "out-of-stock",
            Self::StateConflict(_) => "state-conflict",
            Self::RefundExceeds(_) => "refund-exceeds-capture",
            Self::Forbidden => "forbidden",
            Self::NotFound | Self::ForeignEvent => "not-found",
            Self::CursorInvalid => "cursor-invalid",
            Self::Prices(PricesError::Unavailable(_)) | Self::Crashed(_) => "dependency-down",
            Self::Prices(PricesError::Crooked(_)) | Self::Broken(_) | Self::UnknownOrder(_) => "internal",
            Self::Store(error) => error.code(),
            Self::Commit(error) => error.code(),
        }
    }

    fn fields(&self) -> Vec<FieldProblem> {
        match self {
            Self::Fields(fields) | Self::OutOfStock(fields) | Self::RefundExceeds(fields) => fields.clone(),
            Self::CardData { pointer } => {
                vec![FieldProblem::new(pointer, "card-data-refused", "looks like a card number")]
            }
            Self::PriceChanged(_) => {
                vec![FieldProblem::new("/expected_total", "price-changed", "not the total any more")]
            }
            Self::LockInvalid => {
                vec![FieldProblem::new("/price_lock", "price-lock-invalid", "not a lock on the prices of this order")]
            }
            Self::Coupon(refusal) => vec![FieldProblem::new(refusal.pointer, refusal.code(), refusal.to_string())],
            Self::Cart(CartRefusal::PriceChanged { .. }) => {
                vec![FieldProblem::new("/expected_unit_price", "price-changed", "not the price any more")]
            }
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Commit(error) => error.retry_after(),
            _ => None,
        }
    }
}
