//! What the stock use cases ask of a store. Decided here: the questions and what their answers mean. A store decides how two
//! decisions about the same rows are kept apart; both of ours must pass the same suite of tests.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{ErrorKind, Explain, MessageId, OrderId, Sku, UserId};

use crate::domain::audit::{Finding, Look, Mark, Most};
use crate::domain::centre::Centre;
use crate::domain::correction::Correction;
use crate::domain::inventory::{Availability, StockLevel};
use crate::domain::receipt::Receipt;
use crate::domain::reservation::{Asked, Decision, Reservation, Status};
use crate::domain::shelves::Place;

/// The consumer group of the saga; with a message id it names what was applied.
pub const CONSUMER: &str = "catalog";

/// The rows of a SKU by centre.
pub type Rows = BTreeMap<Centre, StockLevel>;

/// Counts, reservations, movements, shipments and entitlements.
#[async_trait]
pub trait StockStore: Send + Sync {
    /// The reservation of `order`; `None` when nothing was heard of that order yet.
    async fn reservation(&self, order: OrderId) -> Result<Option<Reservation>, StoreError>;

    /// The rows of `skus`, at most [`MAX_SKUS`]; a SKU that never got a receipt is absent.
    async fn rows(&self, skus: &[Sku]) -> Result<HashMap<Sku, Rows>, StoreError>;

    /// Decides and commits new orders in their order, together, each as if it were alone: reservation, movements, events and
    /// the mark that its message was dealt with. The outcomes stand in the order of `requests`.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] when another decision about the same order came between; nothing of that member was changed.
    async fn reserve(&self, requests: &[Request], now: DateTime<Utc>) -> Vec<Result<Reserved, StoreError>>;

    /// Commits a decision about an order that is known: step, movements, serial numbers, shipments, entitlements, events and
    /// the mark that the message was dealt with, all or nothing. A message has its effect once.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] when the reservation is no longer what the decision was made about; nothing was changed then.
    async fn commit(&self, why: Why, decision: &Decision) -> Result<Committed, StoreError>;

    /// Counts what came in, whole or not at all, once per reference, and writes down who said so. What is owed is covered first.
    ///
    /// # Errors
    /// [`StoreError::ReferenceReused`], [`StoreError::KindDiffers`], [`StoreError::Full`]
    async fn receive(&self, receipt: &Receipt, by: UserId, now: DateTime<Utc>) -> Result<Committed, StoreError>;

    /// Books what a count found, whole or not at all, once per reference, and writes down who did it.
    ///
    /// # Errors
    /// [`StoreError::ReferenceReused`], [`StoreError::UnknownSku`], [`StoreError::NotCounted`], [`StoreError::NotForSale`],
    /// [`StoreError::Full`]
    async fn correct(&self, correction: &Correction, by: UserId, now: DateTime<Utc>) -> Result<Committed, StoreError>;

    /// How many units of `sku` may be promised before they come in, from now on; writes down who said so.
    ///
    /// # Errors
    /// [`StoreError::UnknownSku`], [`StoreError::NotCounted`]
    async fn limit_back_orders(&self, sku: &Sku, limit: u32, by: UserId) -> Result<(), StoreError>;

    /// What pages may say about `skus`, at most [`MAX_SKUS`]; a SKU that never got a receipt is absent.
    async fn availability(&self, skus: &[Sku]) -> Result<HashMap<Sku, Availability>, StoreError>;

    /// Takes up to `limit` holds that are past their time and that nobody asked about since `asked_before`, the oldest first.
    /// Two who take at once take different ones.
    async fn claim_overdue(
        &self,
        now: DateTime<Utc>,
        asked_before: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<OrderId>, StoreError>;

    /// Paid orders with parcels whose goods are there now, and the centres of these parcels; at most `limit` orders.
    async fn sendable(&self, limit: u16) -> Result<Vec<(OrderId, Vec<Centre>)>, StoreError>;

    /// The next rows of a walk in the order of their places, with the sums of their movements; movements of rows that are not there too. Reads
    /// no more than `most`, all seen in one snapshot, and each movement once in a walk.
    async fn audit(&self, from: Option<&Mark>, most: Most) -> Result<Look, StoreError>;

    /// Opens `findings` that are new and resolves open ones of `audited` rows that were not found again. Says how many are new.
    async fn note_findings(
        &self,
        audited: &[Place],
        findings: &[Finding],
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError>;

    /// Findings that nobody has resolved, the oldest first; at most `limit`.
    async fn open_findings(&self, limit: u16) -> Result<Vec<Finding>, StoreError>;

    /// How many findings are open and how long the oldest has been, by count, in the order of their names; a count without any is left out.
    async fn findings_by_counter(&self) -> Result<Vec<OpenFindings>, StoreError>;
}

/// Open findings of one count. All wait for a person: nothing repairs itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFindings {
    pub counter: &'static str,
    pub count: u64,
    /// When the oldest was found.
    pub since: DateTime<Utc>,
}

/// Why a decision is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Message(MessageId),
    /// Nobody told us: the version of the reservation makes it safe to do again.
    Duty(&'static str),
}

/// A new order that waits to be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub cause: MessageId,
    pub asked: Asked,
    /// The trace its events belong to.
    pub traceparent: Option<String>,
}

/// What became of a new order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    pub committed: Committed,
    /// Held or rejected now; `None` when the order was known already.
    pub status: Option<Status>,
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
    /// Somebody else decided first: load again, decide again.
    #[error("another decision about this reservation came first")]
    Overtaken,
    #[error("this reference was used for other lines; nothing was changed")]
    ReferenceReused,
    #[error("{0} is supplied in another way; a SKU keeps its kind")]
    KindDiffers(Sku),
    #[error("a stock row cannot count that many units")]
    Full,
    #[error("{0} never came in")]
    UnknownSku(Sku),
    #[error("{0} is not counted and cannot run out")]
    NotCounted(Sku),
    #[error("fewer units of {0} are for sale there; what is held or sold belongs to somebody")]
    NotForSale(Sku),
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
            Self::Overtaken | Self::KindDiffers(_) | Self::NotCounted(_) | Self::NotForSale(_) => ErrorKind::Conflict,
            Self::UnknownSku(_) => ErrorKind::NotFound,
            Self::ReferenceReused | Self::Full => ErrorKind::Unprocessable,
            Self::Failed(failure) => failure.kind,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Overtaken => "version-conflict",
            Self::ReferenceReused => "idempotency-key-reused",
            Self::KindDiffers(_) | Self::NotCounted(_) | Self::NotForSale(_) => "state-conflict",
            Self::UnknownSku(_) => "not-found",
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
