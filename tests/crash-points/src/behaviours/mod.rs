//! What is done in the shop while a program dies: each behaviour of gateway, shopper and operator that leads past boundaries
//! which the others do not pass. A behaviour goes on to its end however often a program dies under it, and says which orders
//! it placed and how each may end.
//!
//! Decided here: which behaviours there are and which boundary is tried in which. The stories themselves stand beside this
//! file, by what they are about.

mod carts;
mod credit;
mod messages;
mod money;
mod orders;
mod stock;

use std::sync::Arc;
use std::time::Duration;

use common::OrderId;
use messaging::crash::Boundary;
use sqlx::PgPool;
use testkit::wait::until;
use uuid::Uuid;

use crate::issuer::Person;
use crate::sandbox::Sandbox;
use crate::shop;

const PATIENCE: Duration = Duration::from_secs(60);
const COMPLETED: &[&str] = &["COMPLETED"];
const COMPENSATED: &[&str] = &["COMPENSATED"];
const EITHER: &[&str] = &["COMPLETED", "COMPENSATED"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Behaviour {
    Approved,
    Started,
    Declined,
    AnswerLost,
    ChargedByWebhook,
    LastUnit,
    Cancelled,
    Expired,
    PaymentExpired,
    ChargedLate,
    Registered,
    Unreadable,
    Redriven,
    Contradicted,
    Received,
    Corrected,
    Published,
    Settled,
    Sealed,
    PaidByCredit,
    Refunded,
    LetGo,
    HeldOn,
    BackOrdered,
    Miscounted,
    EndedByOperator,
    HandedOver,
    Merged,
    Forgotten,
    RefundRefused,
    Orphaned,
}

/// The people and the shelf that all behaviours share.
pub struct Stage {
    pub sandbox: Arc<Sandbox>,
    pub shopper: Person,
    pub staff: Person,
    pub sku: String,
}

/// An order, the statuses it may end in, and what of its money went back although it was a sale.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    pub order: OrderId,
    pub ends: &'static [&'static str],
    pub back: Back,
}

/// What of a sale's money went back, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Back {
    pub to_card: i64,
    pub as_credit: i64,
    /// By somebody at the gateway, without a word to the shop.
    pub by_hand: i64,
}

impl Placed {
    /// An order whose sale, if it becomes one, stands.
    fn ending(order: OrderId, ends: &'static [&'static str]) -> Self {
        Self { order, ends, back: Back::default() }
    }
}

impl Behaviour {
    /// The cheap ones first: a boundary is tried in the first behaviour that passes it. The gateway's day is closed before
    /// anybody gives money back by hand: such a row would keep the day open.
    pub const ALL: [Self; 31] = [
        Self::Approved,
        Self::Started,
        Self::Declined,
        Self::AnswerLost,
        Self::ChargedByWebhook,
        Self::LastUnit,
        Self::Cancelled,
        Self::Expired,
        Self::PaymentExpired,
        Self::ChargedLate,
        Self::Registered,
        Self::Unreadable,
        Self::Redriven,
        Self::Contradicted,
        Self::Received,
        Self::Corrected,
        Self::Published,
        Self::Settled,
        Self::Sealed,
        Self::PaidByCredit,
        Self::Refunded,
        Self::LetGo,
        Self::HeldOn,
        Self::BackOrdered,
        Self::Miscounted,
        Self::EndedByOperator,
        Self::HandedOver,
        Self::Merged,
        Self::Forgotten,
        Self::RefundRefused,
        Self::Orphaned,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Started => "started again",
            Self::Declined => "declined",
            Self::AnswerLost => "charged, answer lost",
            Self::ChargedByWebhook => "charged later, told by webhook",
            Self::LastUnit => "two orders for the last unit",
            Self::Cancelled => "cancelled",
            Self::Expired => "stock not held in time",
            Self::PaymentExpired => "not paid in time",
            Self::ChargedLate => "charged after giving up",
            Self::Registered => "a person registers",
            Self::Unreadable => "an unreadable message",
            Self::Redriven => "parked messages tried again",
            Self::Contradicted => "a webhook of another amount",
            Self::Received => "goods come in",
            Self::Corrected => "a unit is found",
            Self::Published => "a product changes",
            Self::Settled => "the gateway's day is settled",
            Self::Sealed => "the books are sealed",
            Self::PaidByCredit => "paid by store credit",
            Self::Refunded => "refunded, partly as store credit",
            Self::LetGo => "the books take no step for a while",
            Self::HeldOn => "held past its time",
            Self::BackOrdered => "promised before it came in",
            Self::Miscounted => "a count that is wrong",
            Self::EndedByOperator => "ended by an operator",
            Self::HandedOver => "a parked message handed over by an operator",
            Self::Merged => "two baskets become one",
            Self::Forgotten => "a basket is forgotten",
            Self::RefundRefused => "a refund the gateway refuses",
            Self::Orphaned => "money without an order",
        }
    }

    /// The behaviour that always passes a boundary which the others pass by chance: a webhook may be faster than the worker, a
    /// worker faster than an operator, and the timer of a duty may come round while anything is done.
    pub fn sure_of(boundary: Boundary) -> Option<Self> {
        match boundary {
            Boundary::HintPayment => Some(Self::AnswerLost),
            Boundary::GatewaySettlement | Boundary::KeepSettlement | Boundary::CloseDay => Some(Self::Settled),
            Boundary::SealLedger => Some(Self::Sealed),
            Boundary::ClaimOverdue => Some(Self::HeldOn),
            Boundary::SweepCarts => Some(Self::Forgotten),
            Boundary::OperatorAtDesk => Some(Self::RefundRefused),
            _ => None,
        }
    }

    /// # Panics
    /// When something does not come about in a minute.
    pub async fn play(self, stage: &Stage) -> Vec<Placed> {
        match self {
            Self::Approved => vec![orders::bought(stage, "tok_ok", COMPLETED).await],
            Self::Started => orders::started(stage).await,
            Self::Declined => vec![orders::bought(stage, "tok_declined", COMPENSATED).await],
            Self::AnswerLost => vec![orders::bought(stage, "tok_error500_charged", COMPLETED).await],
            Self::ChargedByWebhook => vec![orders::bought(stage, "tok_webhook_only", COMPLETED).await],
            Self::LastUnit => orders::last_unit(stage).await,
            Self::Cancelled => orders::cancelled(stage).await,
            Self::Expired => orders::expired(stage).await,
            Self::PaymentExpired => orders::payment_expired(stage).await,
            Self::ChargedLate => money::charged_late(stage).await,
            Self::Registered => messages::registered(stage).await,
            Self::Unreadable => messages::unreadable(stage).await,
            Self::Redriven => messages::redriven(stage).await,
            Self::Contradicted => money::contradicted(stage).await,
            Self::Received => {
                shop::receive(&stage.sandbox, &stage.staff, &stage.sku, 1).await;
                Vec::new()
            }
            Self::Corrected => {
                shop::find_one_more(&stage.sandbox, &stage.staff, &stage.sku).await;
                Vec::new()
            }
            Self::Published => messages::published(stage).await,
            Self::Settled => money::settled(stage).await,
            Self::Sealed => money::sealed(stage).await,
            Self::PaidByCredit => credit::paid_by_credit(stage).await,
            Self::Refunded => credit::refunded(stage).await,
            Self::LetGo => money::let_go(stage).await,
            Self::HeldOn => stock::held_on(stage).await,
            Self::BackOrdered => stock::back_ordered(stage).await,
            Self::Miscounted => stock::miscounted(stage).await,
            Self::EndedByOperator => orders::ended_by_operator(stage).await,
            Self::HandedOver => messages::handed_over(stage).await,
            Self::Merged => carts::merged(stage).await,
            Self::Forgotten => carts::forgotten(stage).await,
            Self::RefundRefused => credit::refund_refused(stage).await,
            Self::Orphaned => money::orphaned(stage).await,
        }
    }
}

/// Waits until a count of rows about `id` comes to `wanted`.
async fn rows_come_to(pool: &PgPool, what: &str, counting: &'static str, id: Uuid, wanted: i64) {
    until(what, PATIENCE, async || {
        let rows: i64 =
            sqlx::query_scalar(counting).bind(id).fetch_one(pool).await.map_err(|error| error.to_string())?;
        if rows == wanted { Ok(()) } else { Err(format!("{rows} rows")) }
    })
    .await;
}

/// The same for what is named by a text.
async fn named_rows_come_to(pool: &PgPool, what: &str, counting: &'static str, name: &str, wanted: i64) {
    until(what, PATIENCE, async || {
        let rows: i64 =
            sqlx::query_scalar(counting).bind(name).fetch_one(pool).await.map_err(|error| error.to_string())?;
        if rows == wanted { Ok(()) } else { Err(format!("{rows} rows")) }
    })
    .await;
}

/// How often an operator's action on `subject` is written down.
async fn written_down(pool: &PgPool, action: &str, subject: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM operator_actions WHERE action = $1 AND subject = $2")
        .bind(action)
        .bind(subject)
        .fetch_one(pool)
        .await
        .expect("actions can be counted")
}
