//! What the stock use cases ask of a store. Decided here: the questions and what their answers mean. A store decides how two
//! decisions about the same rows are kept apart; both of ours must pass the same suite of tests.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{ErrorKind, Explain, MessageId, OrderId, Sku};

use crate::domain::inventory::{Availability, StockLevel};
use crate::domain::receipt::Receipt;
use crate::domain::reservation::{Decision, Reservation};

/// The consumer group of the saga; with a message id it names what was applied.
pub const CONSUMER: &str = "catalog";

/// Counts, reservations, movements and shipments.
#[async_trait]
pub trait StockStore: Send + Sync {
    /// The reservation of `order`; `None` when nothing was heard of that order yet.
    async fn reservation(&self, order: OrderId) -> Result<Option<Reservation>, StoreError>;

    /// The rows of `skus`, at most [`MAX_SKUS`]; a SKU that never got a receipt is absent.
    async fn levels(&self, skus: &[Sku]) -> Result<HashMap<Sku, StockLevel>, StoreError>;

    /// Commits a decision about message `cause`: step, movements, serial numbers, shipment, events and the mark that the
    /// message was dealt with, all or nothing. A message has its effect once.
    ///
    /// # Errors
    /// [`StoreError::OutOfStock`] when a line cannot be held, [`StoreError::Overtaken`] when the reservation is no longer
    /// what the decision was made about; nothing was changed then.
    async fn commit(&self, cause: MessageId, decision: &Decision) -> Result<Committed, StoreError>;

    /// Counts what came in, whole or not at all, once per reference.
    ///
    /// # Errors
    /// [`StoreError::ReferenceReused`], [`StoreError::KindDiffers`], [`StoreError::Full`]
    async fn receive(&self, receipt: &Receipt, now: DateTime<Utc>) -> Result<Committed, StoreError>;

    /// What pages may say about `skus`, at most [`MAX_SKUS`]; a SKU that never got a receipt is absent.
    async fn availability(&self, skus: &[Sku]) -> Result<HashMap<Sku, Availability>, StoreError> {
        Ok(self.levels(skus).await?.into_iter().map(|(sku, level)| (sku, level.availability())).collect())
    }
}

/// SKUs of one question: five pages of results.
pub const MAX_SKUS: usize = 500;

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    Applied,
    /// Its cause had its effect before; nothing was changed now.
    Repeated,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{0} has too few units for sale")]
    OutOfStock(Sku),
    /// Somebody else decided first: load again, decide again.
    #[error("another decision about this reservation came first")]
    Overtaken,
    #[error("this reference was used for other lines; nothing was changed")]
    ReferenceReused,
    #[error("{0} is supplied in another way; a SKU keeps its kind")]
    KindDiffers(Sku),
    #[error("a stock row cannot count that many units")]
    Full,
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// The store itself could not do it; kind and code say what a caller may conclude.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub message: &'static str,
    pub kind: ErrorKind,
    pub code: &'static str,
    pub retry_after: Option<Duration>,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Explain for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::OutOfStock(_) | Self::Overtaken | Self::KindDiffers(_) => ErrorKind::Conflict,
            Self::ReferenceReused | Self::Full => ErrorKind::Unprocessable,
            Self::Failed(failure) => failure.kind,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::OutOfStock(_) => "out-of-stock",
            Self::Overtaken => "version-conflict",
            Self::ReferenceReused => "idempotency-key-reused",
            Self::KindDiffers(_) => "state-conflict",
            Self::Full => "limit-exceeded",
            Self::Failed(failure) => failure.code,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed(failure) => failure.retry_after,
            _ => None,
        }
    }
}
