//! What the use cases ask of the world.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use common::{AttemptId, Currency, Money, OrderId, Region, ShipmentId, Sku, UserId};
use messaging::{Cause, Committed, RequestKey, StoredAnswer};
use sha2::{Digest as _, Sha256};

use super::change::Change;
use super::error::{CommitError, PricesError, StoreError};
use super::settle_day::Settlements;
use super::views::{OrderCard, OrderView, Page, Position, StatusChange};
use crate::domain::accounts::Account;
use crate::domain::cart::{Cart, CartOwner};
use crate::domain::ledger_seal::{Leaf, Seal};
use crate::domain::{
    Answer, Attempt, BasketLine, Call, CouponCode, CouponCount, CouponUse, Intent, Look, Order, Orphan, Reduction,
    Refund, Transaction, Tried, Via,
};

/// Our own books. Every write has a cause and happens once.
#[async_trait]
pub trait Store: Settlements + Send + Sync {
    /// The stored answer of a request, before any work is done for it.
    async fn find_answer(&self, request: &RequestKey) -> Result<Option<StoredAnswer>, CommitError>;

    /// Writes a change whole or not at all, with the events it means to others.
    async fn commit(&self, cause: Cause, change: Change) -> Result<Committed, CommitError>;

    async fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError>;

    /// The newest charge of an order, in any state.
    async fn charge_of(&self, order: OrderId) -> Result<Option<Attempt>, StoreError>;

    /// A person's store credit.
    async fn credit_of(&self, user: UserId, currency: Currency) -> Result<Credit, StoreError>;

    /// How often a coupon was used, by all and by `person`.
    async fn coupon_count(&self, code: &CouponCode, person: Option<UserId>) -> Result<CouponCount, StoreError>;

    /// Orders whose stock is held and that store credit pays whole, the oldest first.
    async fn paid_by_credit(&self, limit: u16) -> Result<Vec<OrderId>, StoreError>;

    /// Whose balance is not the sum of its movements: of those who were found so and stand among the findings, and of the next `limit`
    /// people after `after`.
    async fn credit_differences(&self, after: Option<UserId>, limit: u16) -> Result<CreditLook, StoreError>;

    /// The refunds of an order, by number.
    async fn refunds_of(&self, order: OrderId) -> Result<Vec<Refund>, StoreError>;

    /// Gives a claimed attempt back early: due at `due_at` for anybody, or now when somebody hinted since it was claimed; unless
    /// somebody has changed it or has it by now.
    async fn let_go(&self, attempt: &Attempt, due_at: DateTime<Utc>) -> Result<(), CommitError>;

    /// Orders that are past their deadline and not being given up yet, the most overdue first.
    async fn overdue(&self, now: DateTime<Utc>, limit: u16) -> Result<Vec<Order>, StoreError>;

    /// Takes up to `limit` attempts that are due and nobody has, for this worker alone until `until`.
    async fn claim_due(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Attempt>, CommitError>;

    /// What else the person of each of these charges tried, for orders placed at or after `since`; a lease that ends after `now` is one. A
    /// charge that the books do not know is left out.
    async fn tried(
        &self,
        charges: &[AttemptId],
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<AttemptId, Tried>, StoreError>;

    /// Makes the open attempts of `orders` due now, or, when a worker has one, as soon as that worker gives it back: whatever time it
    /// gives it back for, by [`Self::let_go`] or with a version that has no lease. A settled one stays as it is.
    async fn hint(&self, orders: &[OrderId], now: DateTime<Utc>) -> Result<(), CommitError>;

    /// Keeps a webhook, once per event id.
    async fn keep_webhook(&self, hook: &Webhook) -> Result<Kept, CommitError>;

    async fn due_webhooks(&self, now: DateTime<Utc>, limit: u16) -> Result<Vec<Webhook>, StoreError>;

    /// Notes what came of webhooks, in one commit. One that somebody else has ended meanwhile stays as it is. Afterwards those
    /// are forgotten that are done with, came more than `KEPT_DAYS` days ago and are no matter of an open finding: the oldest
    /// `MOST_FORGOTTEN` of them (`receive_webhook`). That they could not be is no failure.
    async fn finish_webhooks(&self, ended: &[(Webhook, WebhookEnd)], now: DateTime<Utc>) -> Result<(), CommitError>;

    async fn charge_of_intent(&self, intent: &str) -> Result<Option<Attempt>, StoreError>;

    /// Charges made between two instants that reached the gateway, oldest first, after `after` in that order.
    async fn charges_between(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Attempt>, StoreError>;

    /// Takes up to `limit` orphans whose refund is due and nobody has, for this worker alone until `until`.
    async fn claim_orphans(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Orphan>, CommitError>;

    /// Which of these intents were orphans and are not any more.
    async fn explained_orphans(&self, intents: &[String]) -> Result<Vec<String>, StoreError>;

    /// Takes note of one difference.
    async fn note_finding(&self, finding: &Finding, now: DateTime<Utc>) -> Result<(), CommitError>;

    /// Takes note of all differences found by one look: new ones open; those it looked for, that happened at or after
    /// `since` and are no longer found, are resolved. With them the sums of whole days are kept.
    async fn note_comparison(&self, seen: &Comparison, now: DateTime<Utc>) -> Result<(), CommitError>;

    /// How many orders were placed in each minute between two instants, by its beginning; minutes without any are left out.
    async fn placed_per_minute(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<(DateTime<Utc>, u64)>, StoreError>;

    /// Every order placed between two instants with its attempts and its ledger, as one snapshot: nothing that is
    /// committed meanwhile is seen by half. At most `limit`; [`None`] when there are more.
    async fn accounts_between(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u32,
    ) -> Result<Option<Vec<Account>>, StoreError>;

    async fn record_shipment(&self, cause: Cause, shipment: Shipment) -> Result<Committed, CommitError>;

    /// Orders that were completed after `after` and not after `until`, for which goods are owed and of which no parcel has left; with
    /// that time, the oldest first, at most `limit`. Those with goods and without a parcel are looked through, from the oldest on: at most
    /// `LOOKED_THROUGH` (`backlog`) for each that may be told.
    async fn unsent(
        &self,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<(OrderId, DateTime<Utc>)>, StoreError>;

    /// Seals up to `limit` transactions that are committed and not sealed; `None` when there are none.
    async fn seal(&self, region: Region, now: DateTime<Utc>, limit: u16) -> Result<Option<Seal>, CommitError>;

    /// Seals after number `after`, in their order.
    async fn seals(&self, after: i64, limit: u16) -> Result<Vec<Seal>, StoreError>;

    /// The leaves of a seal in their order, each with its transaction as the books have it now.
    async fn leaves(&self, seal: i64) -> Result<Vec<(Leaf, Option<Transaction>)>, StoreError>;

    /// How many transactions are neither sealed nor waiting for it.
    async fn kept_from_seals(&self) -> Result<u64, StoreError>;

    /// For metrics: how much waits and since when.
    async fn backlog(&self) -> Result<Backlog, StoreError>;
}

/// Reads for people. Each looks only at what belongs to `owner`.
#[async_trait]
pub trait Views: Send + Sync {
    async fn order(&self, owner: UserId, id: OrderId) -> Result<Option<OrderView>, StoreError>;

    /// Newest first, those before `before`.
    async fn orders(&self, owner: UserId, before: Option<Position>, limit: u16) -> Result<Page<OrderCard>, StoreError>;

    /// Status changes after `version`, oldest first; `None` for an order that is absent or another's.
    async fn changes_after(
        &self,
        owner: UserId,
        id: OrderId,
        version: i64,
    ) -> Result<Option<Vec<StatusChange>>, StoreError>;
}

/// Baskets. One that is over reads as none.
#[async_trait]
pub trait Carts: Send + Sync {
    async fn find(&self, owner: CartOwner, now: DateTime<Utc>) -> Result<Option<Cart>, StoreError>;

    /// Writes a basket that still has the version `from`; [`Cart::UNWRITTEN`] when there must be none.
    async fn write(&self, from: i64, cart: &Cart, now: DateTime<Utc>) -> Result<(), CommitError>;

    /// As `write`, and takes `taken` away in the same commit if it is still as it was read.
    async fn merge(&self, from: i64, cart: &Cart, taken: &Cart, now: DateTime<Utc>) -> Result<(), CommitError>;

    /// Takes away up to `limit` baskets that are over.
    async fn sweep(&self, now: DateTime<Utc>, limit: u16) -> Result<u64, CommitError>;
}

/// The catalog's prices.
#[async_trait]
pub trait Prices: Send + Sync {
    /// With `coupon`, if one is named.
    async fn quote(&self, lines: &[BasketLine], coupon: Option<&CouponCode>) -> Result<Quote, PricesError>;
}

#[derive(Clone, Debug, Default)]
pub struct Quote {
    pub known: BTreeMap<Sku, Quoted>,
    /// What became of the coupon that was named.
    pub coupon: Option<CouponWord>,
}

/// The catalog's word about a coupon. How often it was used stands in our own books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CouponWord {
    /// It reduces a line.
    Good(CouponUse),
    Unknown,
    /// Not yet, or not any more.
    NotNow,
    ReducesNothing,
}

#[derive(Clone, Debug)]
pub struct Quoted {
    pub name: String,
    /// Decides on the tax.
    pub family: String,
    pub unit_price: Money,
    /// The product's revision that the price comes from.
    pub revision: i64,
    /// A hint; the reservation decides.
    pub available: u32,
    /// What promotions take off the whole line.
    pub reductions: Vec<Reduction>,
}

/// The payment gateways, each attempt with the one it was begun with. Never fails: not knowing is an answer too.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Where a new attempt begins.
    fn choice(&self) -> Via {
        Via::default()
    }

    /// All gateways there are, the first one first.
    fn names(&self) -> Vec<String> {
        vec![Via::default().name]
    }

    /// How the gateway of this name is spoken to.
    fn via(&self, name: &str) -> Option<Via> {
        Some(self.choice()).filter(|via| via.name == name)
    }

    /// Sends `call` for `attempt`, with the key derived for the two.
    async fn send(&self, call: Call, attempt: &Attempt) -> Answer;

    async fn look(&self, look: Look, attempt: &Attempt) -> Answer;

    /// All intents made between two instants (Unix seconds, inclusive).
    ///
    /// # Errors
    /// Why the list is not complete.
    async fn intents_between(&self, from: i64, to: i64) -> Result<Vec<Intent>, String>;

    /// The same of all gateways, each with where it was made.
    ///
    /// # Errors
    /// Why the list is not complete.
    async fn made_between(&self, from: i64, to: i64) -> Result<Vec<(Via, Intent)>, String> {
        let via = self.choice();
        Ok(self.intents_between(from, to).await?.into_iter().map(|intent| (via.clone(), intent)).collect())
    }

    /// The settlement file of a closed day, as it came; `None` when the gateway gives none or not yet.
    ///
    /// # Errors
    /// Why it could not be had.
    async fn settlement(&self, _gateway: &str, _day: NaiveDate) -> Result<Option<bytes::Bytes>, String> {
        Ok(None)
    }
}

/// The shop's own check of a payment, asked before a charge is tried for the first time. Never fails: silence is an answer too.
#[async_trait]
pub trait FraudCheck: Send + Sync {
    /// Whether the shop has one.
    fn is_there(&self) -> bool {
        true
    }

    /// Safe to repeat: the same attempt may be asked about again after a crash.
    async fn assess(&self, facts: &PaymentFacts) -> Assessment;
}

/// What a fraud check is told. Neither a name nor an address nor a card; the person only by a word that is the same each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentFacts {
    pub attempt: AttemptId,
    pub order: OrderId,
    /// Says that two payments are of one person and no more: a hash of a random id, in hexadecimal.
    pub person: String,
    pub region: Region,
    /// What the card is to pay.
    pub amount: Money,
    /// Where the goods go, two letters.
    pub country: String,
    pub lines: usize,
    pub units: u64,
    pub placed_at: DateTime<Utc>,
}

impl PaymentFacts {
    pub fn new(order: &Order, attempt: &Attempt) -> Self {
        let word = Sha256::digest(format!("fraud-check/{}/{}", order.region.code(), order.user));
        Self {
            attempt: attempt.id,
            order: order.id,
            person: hex::encode(&word[..16]),
            region: order.region,
            amount: attempt.amount,
            country: order.address.open().country.clone(),
            lines: order.lines.len(),
            units: order.lines.iter().map(|line| u64::from(line.quantity)).sum(),
            placed_at: order.created_at,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assessment {
    Pass,
    Refuse,
    /// No answer that can be read, and why.
    Silent(String),
}

/// What we owe a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// What may be spent.
    pub free: Money,
    /// What is set aside for orders under way.
    pub held: Money,
}

/// A piece of the walk over everybody's store credit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreditLook {
    /// Those who were found before first; a bounded number.
    pub differ: Vec<UserId>,
    /// Movements that were added up.
    pub read: u64,
    /// After whom the walk goes on; `None`: it begins again. Whoever is found for the first time is looked at again by the next look, so that none
    /// is lost who could not be written down.
    pub next: Option<UserId>,
}

/// Whether what was committed before now is safe at the standby site. Money moves only behind it.
#[async_trait]
pub trait ReplicationGate: Send + Sync {
    async fn pass(&self) -> Result<(), GateClosed>;
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the standby site has not confirmed: {0}")]
pub struct GateClosed(pub String);

/// A webhook whose signature was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub gateway: String,
    pub event_id: String,
    pub event_type: String,
    /// Empty when the event is not about an intent.
    pub intent: String,
    pub order: Option<OrderId>,
    pub amount_minor: Option<i64>,
    /// Upper case.
    pub currency: Option<String>,
    pub body: Vec<u8>,
    pub received_at: DateTime<Utc>,
    pub tries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    New,
    /// The same event with the same bytes.
    Again,
    /// The same event id with other bytes.
    Clash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookEnd {
    /// The attempt was made due.
    Hinted,
    NothingToDo,
    LateSuccess,
    /// It speaks of another amount or currency than we asked for.
    Mismatch,
    /// Its order never came.
    GaveUp,
    /// Not now.
    Later(DateTime<Utc>),
}

impl WebhookEnd {
    /// Nobody will look at it again, so it may be forgotten in time, unless an open finding is about it. The others wait, or are such a
    /// finding themselves.
    pub fn is_done_with(self) -> bool {
        matches!(self, Self::Hinted | Self::NothingToDo | Self::LateSuccess)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    ChargeWithoutOrder,
    OrderWithoutCharge,
    AmountDiffers,
    StateDiffers,
    /// The ledger has a transaction whose money no attempt of ours moved.
    LedgerWithoutAttempt,
    /// An attempt moved money that is not in the ledger.
    AttemptWithoutLedger,
    /// A completed order whose captured money is not its total, or money of an order that ended without a sale.
    OrderNotBalanced,
    WebhookClash,
    /// The gateway's file of a day and our books.
    SettlementDiffers,
    /// The gateway will not give the money back.
    RefundRefused,
    /// A webhook's order never came.
    WebhookWithoutOrder,
    /// A person's store credit is not the sum of its movements.
    CreditDiffers,
    /// A signed webhook speaks of another amount or currency than we asked for.
    WebhookDiffers,
    /// The gateway holds money on a card although we have given up.
    HeldAfterEnd,
    /// Of an order's money something else went back at the gateway than here.
    RefundDiffers,
}

impl FindingKind {
    pub const ALL: [Self; 15] = [
        Self::ChargeWithoutOrder,
        Self::OrderWithoutCharge,
        Self::AmountDiffers,
        Self::StateDiffers,
        Self::LedgerWithoutAttempt,
        Self::AttemptWithoutLedger,
        Self::OrderNotBalanced,
        Self::WebhookClash,
        Self::SettlementDiffers,
        Self::RefundRefused,
        Self::WebhookWithoutOrder,
        Self::CreditDiffers,
        Self::WebhookDiffers,
        Self::HeldAfterEnd,
        Self::RefundDiffers,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::ChargeWithoutOrder => "CHARGE_WITHOUT_ORDER",
            Self::OrderWithoutCharge => "ORDER_WITHOUT_CHARGE",
            Self::AmountDiffers => "AMOUNT_DIFFERS",
            Self::StateDiffers => "STATE_DIFFERS",
            Self::LedgerWithoutAttempt => "LEDGER_WITHOUT_ATTEMPT",
            Self::AttemptWithoutLedger => "ATTEMPT_WITHOUT_LEDGER",
            Self::OrderNotBalanced => "ORDER_NOT_BALANCED",
            Self::WebhookClash => "WEBHOOK_CLASH",
            Self::SettlementDiffers => "SETTLEMENT_DIFFERS",
            Self::RefundRefused => "REFUND_REFUSED",
            Self::WebhookWithoutOrder => "WEBHOOK_WITHOUT_ORDER",
            Self::CreditDiffers => "CREDIT_DIFFERS",
            Self::WebhookDiffers => "WEBHOOK_DIFFERS",
            Self::HeldAfterEnd => "HELD_AFTER_END",
            Self::RefundDiffers => "REFUND_DIFFERS",
        }
    }

    /// The service works it off by itself; everything else waits for a person.
    pub fn is_worked_off(self) -> bool {
        matches!(self, Self::ChargeWithoutOrder | Self::StateDiffers)
    }

    /// Whether a look at both books finds it again for as long as it is there; the others stay until a person is done.
    pub fn is_seen_by_looking(self) -> bool {
        !matches!(
            self,
            Self::WebhookClash
                | Self::SettlementDiffers
                | Self::RefundRefused
                | Self::WebhookWithoutOrder
                | Self::WebhookDiffers
        )
    }
}

/// One difference between the gateway's books and ours, or between two of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: FindingKind,
    /// The intent, else the attempt, else the order.
    pub reference: String,
    pub order: Option<OrderId>,
    pub detail: String,
    /// When what it is about happened; `None` counts as when it was first seen.
    pub happened_at: Option<DateTime<Utc>>,
}

/// What one comparison of the books saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Where its window begins.
    pub since: DateTime<Utc>,
    pub findings: Vec<Finding>,
    /// Whole days only.
    pub days: Vec<DaySums>,
}

/// What was sold on one day in one currency, as three books have it, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaySums {
    /// UTC, by when an order was placed.
    pub day: NaiveDate,
    pub currency: Currency,
    /// Totals of completed orders.
    pub orders_minor: i64,
    /// What the ledger says was taken, and what of it went back.
    pub captured_minor: i64,
    pub refunded_minor: i64,
    /// What the gateway says it charged.
    pub gateway_minor: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipment {
    pub order: OrderId,
    pub id: ShipmentId,
    pub fulfilment_centre: String,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    pub open: Vec<OpenCount>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCount {
    /// `order`, `attempt`, `finding`, `orphan`, `refund`, `webhook`, or `parcel`: one that is owed and has not left.
    pub what: &'static str,
    pub state: String,
    pub count: i64,
    /// Age of the oldest in seconds.
    pub oldest_s: i64,
}
