//! What an operator sees of sagas and books, and what is asked of the world for it. Nothing here names a person: a saga is
//! shown with what it is made of, not with whom it is for.

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use common::{AttemptId, Money, OrderId, UserId};
use messaging::Action;
use messaging::operators::Recorded;
use messaging::parked::Parked;
use messaging::trail::Told;

use super::error::{CommitError, StoreError};
use super::ports::DaySums;
use super::views::{Position, StatusChange};
use crate::domain::{AttemptKind, AttemptState, OrderStatus, Reason, Refusal};

/// The longest list in one answer.
pub const MOST_SAGAS: u16 = 100;

/// A saga that has not moved for this long needs a look: steps take milliseconds, a slow gateway ten seconds.
pub const STUCK_AFTER_S: u32 = 60;

/// Which sagas are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaFilter {
    pub status: Option<OrderStatus>,
    pub reason: Option<Reason>,
    /// Only those that are not at their end and have not moved since then; the oldest first.
    pub unmoved_since: Option<DateTime<Utc>>,
    /// Without `unmoved_since`: only those placed since then; the newest first.
    pub placed_since: DateTime<Utc>,
    /// The place after which the list goes on.
    pub after: Option<Position>,
    pub limit: u16,
}

/// One saga in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaCard {
    pub order: OrderId,
    pub status: OrderStatus,
    pub reason: Option<Reason>,
    pub total: Money,
    pub placed_at: DateTime<Utc>,
    /// When its order last took a step.
    pub moved_at: DateTime<Utc>,
    pub deadline_at: DateTime<Utc>,
    /// The attempt that is open, else the newest.
    pub attempt: Option<AttemptCard>,
    /// An event of it has not left the outbox.
    pub unpublished: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptCard {
    pub number: u32,
    pub kind: AttemptKind,
    pub state: AttemptState,
    pub tries: u32,
    pub giving_up: Option<Reason>,
    pub due_at: DateTime<Utc>,
}

/// What a saga waits for, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    Nothing,
    /// Its event is still in the outbox.
    Relay,
    /// The catalog's answer.
    Stock,
    /// The payment worker.
    Worker,
    /// The gateway's word.
    Gateway,
    /// The gateway's word that no money can move.
    Cancel,
    /// The money to go back.
    Refund,
}

impl WaitsFor {
    pub fn code(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Relay => "relay",
            Self::Stock => "stock",
            Self::Worker => "worker",
            Self::Gateway => "gateway",
            Self::Cancel => "cancel",
            Self::Refund => "refund",
        }
    }
}

impl SagaCard {
    pub fn waits_for(&self) -> WaitsFor {
        let open = self.attempt.as_ref().filter(|attempt| !attempt.state.is_settled());
        match open {
            Some(attempt) if attempt.kind == AttemptKind::Refund => WaitsFor::Refund,
            Some(attempt) if attempt.giving_up.is_some() => WaitsFor::Cancel,
            Some(attempt) if attempt.state == AttemptState::Prepared && attempt.tries == 0 => WaitsFor::Worker,
            Some(_) => WaitsFor::Gateway,
            None if self.unpublished => WaitsFor::Relay,
            None if self.status == OrderStatus::Created => WaitsFor::Stock,
            None if self.status == OrderStatus::PaymentPending => WaitsFor::Worker,
            None => WaitsFor::Nothing,
        }
    }
}

/// One saga with everything that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SagaFile {
    pub card: SagaCard,
    pub lines: Vec<SagaLine>,
    pub history: Vec<StatusChange>,
    pub attempts: Vec<AttemptRow>,
    pub ledger: Vec<LedgerRow>,
    pub webhooks: Vec<WebhookRow>,
    pub findings: Vec<FindingRow>,
    /// What it told others.
    pub told: Vec<Told>,
    /// What it heard from the catalog, as far as its inbox remembers.
    pub heard: Vec<Heard>,
    /// What waits under its key in this service's parking.
    pub parked: Vec<Parked>,
    pub actions: Vec<Recorded>,
    pub shipped: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaLine {
    pub sku: String,
    pub quantity: i32,
    pub unit_price_minor: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRow {
    pub id: AttemptId,
    pub card: AttemptCard,
    pub amount: Money,
    pub intent: Option<String>,
    pub capture_requested: bool,
    /// The gateway was never asked, for this reason.
    pub refused_by: Option<Refusal>,
    pub in_doubt: bool,
    pub leased_until: Option<DateTime<Utc>>,
    pub version: i64,
    pub created_at: DateTime<Utc>,
    pub changed_at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// `None` for store credit.
    pub attempt: Option<AttemptId>,
    pub kind: String,
    pub account: String,
    pub amount_minor: i64,
    pub currency: String,
    pub recorded_at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRow {
    pub event_id: String,
    pub event_type: String,
    pub received_at: DateTime<Utc>,
    pub tries: i32,
    /// `None`: not worked off yet.
    pub outcome: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingRow {
    pub kind: String,
    pub reference: String,
    pub order: Option<OrderId>,
    pub detail: String,
    /// `OPEN`, `ACKNOWLEDGED` or `RESOLVED`.
    pub state: String,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub acknowledged_by: Option<UserId>,
    pub acknowledgement: Option<String>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub resolution: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub kind: &'static str,
    pub version: i64,
    pub applied_at: DateTime<Utc>,
}

/// Where the books stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Everything that is not resolved, the oldest first; at most [`MOST_FINDINGS`].
    pub findings: Vec<FindingRow>,
    pub counts: Vec<KindCount>,
    /// The latest days, and when each was looked at.
    pub days: Vec<(DaySums, DateTime<Utc>)>,
    /// The latest closed day of each gateway, by currency.
    pub settlements: Vec<SettledRow>,
}

/// One closed day of a gateway in one currency, in minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledRow {
    pub gateway: String,
    pub day: NaiveDate,
    pub currency: String,
    pub net_minor: i64,
    pub ours_minor: i64,
    pub difference_minor: i64,
    /// Rows and transactions of the day that do not agree, in all currencies.
    pub open: i64,
    pub closed_at: DateTime<Utc>,
}

/// Findings in one report; whoever has more has one cause for most of them.
pub const MOST_FINDINGS: u16 = 200;
/// Days in one report.
pub const MOST_DAYS: u16 = 14;

/// What is not resolved of one kind, all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindCount {
    pub kind: String,
    pub open: i64,
    pub acknowledged: i64,
    pub oldest_at: DateTime<Utc>,
}

/// What can be done for a saga that does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nudge {
    /// Its open attempt is due now.
    MakeDue,
    /// Its last event goes out once more.
    TellAgain,
}

/// What became of a finding that an operator named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owned {
    Done,
    /// It is in that state already; nothing was written.
    Already,
    Absent,
}

/// How an operator looks at the books and moves what may be moved. Every write carries the [`Action`] it is, in one commit.
#[async_trait]
pub trait Desk: Send + Sync {
    async fn sagas(&self, filter: &SagaFilter) -> Result<Vec<SagaCard>, StoreError>;

    /// All of it as one snapshot.
    async fn saga(&self, order: OrderId) -> Result<Option<SagaFile>, StoreError>;

    /// `false`: there was nothing to move after all, and nothing was written.
    async fn nudge(
        &self,
        order: OrderId,
        nudge: Nudge,
        action: &Action,
        now: DateTime<Utc>,
    ) -> Result<bool, CommitError>;

    /// All of it as one snapshot.
    async fn report(&self) -> Result<Report, StoreError>;

    async fn acknowledge(
        &self,
        kind: &str,
        reference: &str,
        action: &Action,
        now: DateTime<Utc>,
    ) -> Result<Owned, CommitError>;

    async fn resolve(
        &self,
        kind: &str,
        reference: &str,
        action: &Action,
        now: DateTime<Utc>,
    ) -> Result<Owned, CommitError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_saga_waits_for_is_the_first_thing_that_must_happen() {
        let at = DateTime::UNIX_EPOCH;
        let attempt =
            |kind, state, tries, giving_up| Some(AttemptCard { number: 1, kind, state, tries, giving_up, due_at: at });
        let card = |status, attempt, unpublished| SagaCard {
            order: OrderId::from_uuid(uuid::Uuid::from_u128(1)),
            status,
            reason: None,
            total: Money::zero(common::Currency::Eur),
            placed_at: at,
            moved_at: at,
            deadline_at: at,
            attempt,
            unpublished,
        };
        use AttemptKind::{Charge, Refund};
        use AttemptState::{Captured, Prepared, Sent, Unknown};
        use OrderStatus::{Compensated, Completed, Created, PaymentPending};
        for (card, expected) in [
            (card(Created, None, true), WaitsFor::Relay),
            (card(Created, None, false), WaitsFor::Stock),
            (card(PaymentPending, attempt(Charge, Prepared, 0, None), false), WaitsFor::Worker),
            (card(PaymentPending, attempt(Charge, Prepared, 3, None), false), WaitsFor::Gateway),
            (card(PaymentPending, attempt(Charge, Unknown, 3, None), true), WaitsFor::Gateway),
            (card(PaymentPending, attempt(Charge, Sent, 0, Some(Reason::Expired)), false), WaitsFor::Cancel),
            (card(Compensated, attempt(Refund, Sent, 2, None), false), WaitsFor::Refund),
            (card(Completed, attempt(Charge, Captured, 0, None), true), WaitsFor::Relay),
            (card(Completed, attempt(Charge, Captured, 0, None), false), WaitsFor::Nothing),
        ] {
            assert_eq!(card.waits_for(), expected, "{card:?}");
        }
    }
}
