//! What a use case decided, as one value that a store writes whole or not at all.

use chrono::{DateTime, Utc};
use common::{Region, UserId};
use messaging::{Action, StoredAnswer};

use super::ports::Finding;
use crate::domain::{Attempt, CouponUse, OrderStep, Orphan, Refund, Transaction};

/// State, ledger and answer of one decision. Events follow from the order's step.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// A person to be known; knowing them already is fine.
    pub person: Option<(UserId, Region)>,
    pub order: Option<OrderStep>,
    /// The use of a coupon that a new order takes. It is free again when the order ends without a sale; the books see to that.
    pub coupon: Option<CouponUse>,
    pub attempts: Vec<AttemptStep>,
    pub ledger: Vec<Transaction>,
    pub refunds: Vec<RefundStep>,
    pub orphans: Vec<OrphanStep>,
    /// Matters for a person that come with the change.
    pub findings: Vec<(Finding, DateTime<Utc>)>,
    /// Stored under the request's key.
    pub answer: Option<StoredAnswer>,
    /// The operator's action that this is.
    pub action: Option<Action>,
}

/// A new attempt, or a later version of a known one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptStep {
    /// The version the attempt must still have; `None` for a new one.
    pub from: Option<i64>,
    pub attempt: Attempt,
}

impl AttemptStep {
    pub fn new(attempt: Attempt) -> Self {
        Self { from: None, attempt }
    }

    /// `attempt` is what became of a row that had `version`.
    pub fn after(version: i64, mut attempt: Attempt) -> Self {
        attempt.version = version + 1;
        Self { from: Some(version), attempt }
    }
}

/// A refund that is asked for, that ends, or both at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundStep {
    pub is_new: bool,
    pub refund: Refund,
    /// Others are told of a refund of a sale when it stands.
    pub told: Option<RefundTold>,
}

/// What others are told with a refund of a sale. Whether it is the last one depends on those before it, and two that end
/// together do not see each other: a store refuses the one that did not know of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefundTold {
    /// Nothing of what was paid is left with us.
    pub whole: bool,
    /// What had gone back by other refunds of the order when this was decided, in minor units.
    pub before_minor: i64,
}

/// Money without an order that was just found, or a later version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrphanStep {
    /// The version it must still have; `None` for a new one.
    pub from: Option<i64>,
    pub orphan: Orphan,
}

impl OrphanStep {
    pub fn new(orphan: Orphan) -> Self {
        Self { from: None, orphan }
    }

    /// `orphan` is what became of a row that had `version`.
    pub fn after(version: i64, mut orphan: Orphan) -> Self {
        orphan.attempt.version = version + 1;
        Self { from: Some(version), orphan }
    }
}
