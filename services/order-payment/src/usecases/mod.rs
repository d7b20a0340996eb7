//! The verbs of orders and payments, one file each: guard, gather, decide, commit. A use case is a function that takes the
//! [`App`] first; what it asks of the world stands in `ports`.

pub mod backlog;
pub mod begin_payment;
pub mod cancel_order;
pub mod change;
pub mod change_cart;
pub mod compensate_order;
pub mod compensate_saga;
pub mod coupons;
pub mod desk;
pub mod error;
mod held_after_end;
mod one_by_one;
pub mod order_states;
pub mod orphan_money;
pub mod own_finding;
pub mod place_order;
pub mod ports;
pub mod price_locks;
pub mod process_payment;
pub mod receive_webhook;
pub mod reconcile;
pub mod record_shipment;
pub mod refund_order;
pub mod register_user;
pub mod retry_saga;
mod screen_payments;
pub mod seal_ledger;
pub mod settle_day;
mod settle_orphan;
pub mod store_credit;
pub mod view_cart;
pub mod views;

use std::sync::Arc;

use chrono::Duration;
use common::{Region, SharedClock, UserId};
use tokio::sync::{Mutex, Notify};

pub use change::{AttemptStep, Change, RefundStep, RefundTold};
pub use error::Failure;
use ports::{Carts, FraudCheck, Gateway, Prices, ReplicationGate, Store, Views};

use crate::domain::CardTesting;
use crate::domain::price_lock::LockKeys;

/// Name of this service among the consumers of events; part of each inbox row.
pub const CONSUMER: &str = "order-payment";

/// Two changes of one order that meet: the loser reads again and decides again, this often. A third meeting in a row has
/// not been seen; the message is then delivered again later.
pub(crate) const MOST_MEETINGS: u32 = 3;

/// What every use case can reach.
pub struct App {
    pub region: Region,
    pub clock: SharedClock,
    pub store: Arc<dyn Store>,
    pub views: Arc<dyn Views>,
    pub prices: Arc<dyn Prices>,
    pub carts: Arc<dyn Carts>,
    pub locks: LockKeys,
    pub gateway: Arc<dyn Gateway>,
    pub gate: Arc<dyn ReplicationGate>,
    pub fraud: Arc<dyn FraudCheck>,
    pub rules: Rules,
    pub signals: Signals,
}

/// Durations and limits that an operator may set.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long the stock may take to be held.
    pub stock_deadline: Duration,
    /// How long the payment may take from then on.
    pub payment_deadline: Duration,
    /// How long prices are held for a basket: long enough to type an address, short enough that no sale lives on in a drawer.
    pub price_lock: Duration,
    /// How long one worker has an attempt to itself: longer than the gateway's time-out of 10 s with quick calls around it,
    /// and the longest that an order waits after its worker died or could not commit. Two workers on one attempt are
    /// harmless (same keys, one winner per version), so it need not cover the slowest payment.
    pub payment_lease: Duration,
    /// The longest call to a gateway. A call is begun only when the lease lasts longer.
    pub gateway_timeout: Duration,
    /// How far back the gateway's list is compared with ours.
    pub reconcile_window: Duration,
    /// What the gateway's clock and ours may differ by when a day is closed.
    pub settlement_margin: Duration,
    /// Differences younger than this are work in progress.
    pub reconcile_grace: Duration,
    /// How long money without an order may wait for one before it goes back.
    pub orphan_deadline: Duration,
    /// How long after placing an order its owner may take back the whole of it alone; zero: never.
    pub owner_refund_window: Duration,
    pub card_testing: CardTesting,
    /// A payment that the fraud check says nothing about is made; otherwise it waits for a word until its deadline.
    pub unassessed_pass: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            stock_deadline: Duration::minutes(15),
            payment_deadline: Duration::minutes(15),
            price_lock: Duration::minutes(15),
            payment_lease: Duration::seconds(20),
            gateway_timeout: Duration::seconds(10),
            reconcile_window: Duration::hours(48),
            settlement_margin: Duration::minutes(1),
            reconcile_grace: Duration::minutes(2),
            orphan_deadline: Duration::hours(24),
            owner_refund_window: Duration::zero(),
            card_testing: CardTesting::OFF,
            unassessed_pass: true,
        }
    }
}

/// What the tasks of this process tell each other. Waking is a hint only: whoever waits also has a timer, because the cause may be another
/// process.
#[derive(Debug, Default)]
pub struct Signals {
    /// There may be a payment to go on with.
    pub payments: Notify,
    /// An order moved.
    pub orders: Notify,
    /// Refunds are decided one at a time in a process: they are few, and each is decided knowing those before it. Another
    /// process is met at the database.
    pub refund_desk: Mutex<()>,
    /// After whom this process goes on to compare store credit with its movements; one look at a time. `None`: from the first person on.
    pub credit_walk: Mutex<Option<UserId>>,
}

/// Who is ordering, as verified at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shopper {
    pub user: UserId,
    pub region: Region,
}
