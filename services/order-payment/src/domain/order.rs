//! The order: four statuses, which may follow which, and what each step tells the world.
//!
//! ```text
//! CREATED ──► PAYMENT_PENDING ──► COMPLETED
//!    │               │
//!    └───────────────┴──────────► COMPENSATED
//! ```
//! Not decided here: how money moves (`payment`, `settle`); the state of a payment lives in its attempts, not in the order.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Duration, Utc};
use common::{Money, OrderId, Private, Region, UserId};

use super::{LedgerKind, OrderTax, PaymentToken, PlaceOrder, Priced, PricedLine, ShippingAddress, Transaction};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderStatus {
    /// Accepted and durable; the stock is being asked for.
    Created,
    /// The stock is held; the payment is under way. Also the lock against anything else touching the order.
    PaymentPending,
    /// The money is in the books.
    Completed,
    /// Ended without a sale.
    Compensated,
}

use OrderStatus::{Compensated, Completed, Created, PaymentPending};

/// Which status may follow which. The database refuses the others too; a test compares the two tables.
pub const TRANSITIONS: [(OrderStatus, OrderStatus); 4] =
    [(Created, PaymentPending), (Created, Compensated), (PaymentPending, Completed), (PaymentPending, Compensated)];

impl OrderStatus {
    pub const ALL: [Self; 4] = [Created, PaymentPending, Completed, Compensated];

    /// The name in the database, in answers and in metrics.
    pub fn code(self) -> &'static str {
        match self {
            Created => "CREATED",
            PaymentPending => "PAYMENT_PENDING",
            Completed => "COMPLETED",
            Compensated => "COMPENSATED",
        }
    }

    pub fn is_final(self) -> bool {
        matches!(self, Completed | Compensated)
    }

    pub fn may_become(self, next: Self) -> bool {
        TRANSITIONS.contains(&(self, next))
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.code())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of the known names")]
pub struct UnknownName;

impl FromStr for OrderStatus {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.code() == text).ok_or(UnknownName)
    }
}

/// Why an order ended without a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    OutOfStock,
    PaymentDeclined,
    Expired,
    Cancelled,
}

impl Reason {
    pub const ALL: [Self; 4] = [Self::OutOfStock, Self::PaymentDeclined, Self::Expired, Self::Cancelled];

    pub fn code(self) -> &'static str {
        match self {
            Self::OutOfStock => "OUT_OF_STOCK",
            Self::PaymentDeclined => "PAYMENT_DECLINED",
            Self::Expired => "EXPIRED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl FromStr for Reason {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|reason| reason.code() == text).ok_or(UnknownName)
    }
}

/// An order as it stands at one version. Everything but status, reason, version and deadline is frozen when it is placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: OrderId,
    pub user: UserId,
    pub region: Region,
    pub lines: Vec<PricedLine>,
    /// What is charged, tax and all.
    pub total: Money,
    /// `None` for orders from before tax was reckoned.
    pub tax: Option<OrderTax>,
    /// The part of the total that store credit pays: set aside from the first moment on.
    pub credit: Money,
    pub address: Private<ShippingAddress>,
    pub token: Private<PaymentToken>,
    /// Of the request that placed it: a key reused after its row is gone still meets its order.
    pub fingerprint: [u8; 32],
    pub status: OrderStatus,
    pub reason: Option<Reason>,
    /// Grows by one with each status, from 1.
    pub version: i64,
    pub created_at: DateTime<Utc>,
    /// When the sweeper gives up on the present status.
    pub deadline_at: DateTime<Utc>,
}

/// What a step tells other services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderEvent {
    Created,
    PaymentPending { attempt: u32 },
    Completed,
    Compensated { reason: Reason },
}

/// One step of an order: where it came from, what it is now, what this means to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderStep {
    /// `None` for an order that is being placed.
    pub from: Option<OrderStatus>,
    pub order: Order,
    pub event: OrderEvent,
    pub at: DateTime<Utc>,
}

/// The step cannot follow the status the order is in. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order in {from} cannot become {to}")]
pub struct WrongState {
    pub from: OrderStatus,
    pub to: OrderStatus,
}

impl Order {
    /// Version 1. The prices are frozen from here on.
    pub fn place(placed: Placing, now: DateTime<Utc>) -> OrderStep {
        let Placing { id, user, region, command, priced, credit, fingerprint, deadline } = placed;
        let order = Self {
            id,
            user,
            region,
            total: priced.total(),
            lines: priced.lines,
            tax: Some(priced.tax),
            credit,
            address: command.address,
            token: command.token,
            fingerprint,
            status: Created,
            reason: None,
            version: 1,
            created_at: now,
            deadline_at: now + deadline,
        };
        OrderStep { from: None, order, event: OrderEvent::Created, at: now }
    }

    /// What a card has to pay.
    pub fn rest(&self) -> Money {
        self.total.checked_sub(self.credit).unwrap_or(self.total)
    }

    /// What happens to the store credit of this order, if it has some.
    pub fn credit_moves(&self, kind: LedgerKind, at: DateTime<Utc>) -> Vec<Transaction> {
        let some = !self.credit.is_zero();
        some.then(|| Transaction::credit(kind, self.id, self.user, self.credit, at)).into_iter().collect()
    }

    /// The stock is held. The payment gets a deadline of its own, since waiting for stock is not the shopper's doing.
    ///
    /// # Errors
    /// [`WrongState`] unless the order is `CREATED`.
    pub fn begin_payment(self, attempt: u32, deadline: Duration, now: DateTime<Utc>) -> Result<OrderStep, WrongState> {
        let mut step = self.advance(PaymentPending, None, OrderEvent::PaymentPending { attempt }, now)?;
        step.order.deadline_at = now + deadline;
        Ok(step)
    }

    /// The money is taken.
    ///
    /// # Errors
    /// [`WrongState`] unless the order is `PAYMENT_PENDING`.
    pub fn complete(self, now: DateTime<Utc>) -> Result<OrderStep, WrongState> {
        self.advance(Completed, None, OrderEvent::Completed, now)
    }

    /// Ends the order without a sale. The caller has made sure that no money can move any more.
    ///
    /// # Errors
    /// [`WrongState`] once the order is final.
    pub fn compensate(self, reason: Reason, now: DateTime<Utc>) -> Result<OrderStep, WrongState> {
        self.advance(Compensated, Some(reason), OrderEvent::Compensated { reason }, now)
    }

    fn advance(
        mut self,
        to: OrderStatus,
        reason: Option<Reason>,
        event: OrderEvent,
        now: DateTime<Utc>,
    ) -> Result<OrderStep, WrongState> {
        let from = self.status;
        if !from.may_become(to) {
            return Err(WrongState { from, to });
        }
        self.status = to;
        self.reason = reason;
        self.version += 1;
        Ok(OrderStep { from: Some(from), order: self, event, at: now })
    }
}

/// What it takes to place an order.
#[derive(Clone, Debug)]
pub struct Placing {
    pub id: OrderId,
    pub user: UserId,
    pub region: Region,
    pub command: PlaceOrder,
    pub priced: Priced,
    pub credit: Money,
    pub fingerprint: [u8; 32],
    /// How long the stock may take to be held.
    pub deadline: Duration,
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::ListedLine;
    use crate::domain::basket::tests::a_command;
    use crate::domain::quote::{price, tests::listed};

    pub fn an_order() -> Order {
        let region = Region::Eu;
        let command = a_command();
        let line = ListedLine { name: "A lamp".to_owned(), ..listed("LAMP-1", command.expected_total.minor(), 1) };
        let placing = Placing {
            id: OrderId::from_uuid(common::ids::random()),
            user: UserId::from_uuid(common::ids::random()),
            region,
            priced: price(vec![line], command.place, region).unwrap(),
            credit: Money::zero(region.currency()),
            command,
            fingerprint: [7; 32],
            deadline: Duration::minutes(15),
        };
        Order::place(placing, DateTime::UNIX_EPOCH).order
    }

    fn in_status(status: OrderStatus) -> Order {
        Order { status, ..an_order() }
    }

    #[test]
    fn each_step_leads_where_the_table_says_and_nowhere_else() {
        let now = DateTime::UNIX_EPOCH;
        for from in OrderStatus::ALL {
            let steps = [
                (PaymentPending, in_status(from).begin_payment(1, Duration::minutes(15), now)),
                (Completed, in_status(from).complete(now)),
                (Compensated, in_status(from).compensate(Reason::Expired, now)),
            ];
            for (to, step) in steps {
                match step {
                    Ok(step) => {
                        assert!(from.may_become(to), "{from} → {to}");
                        assert_eq!((step.from, step.order.status, step.order.version), (Some(from), to, 2));
                    }
                    Err(error) => {
                        assert!(!from.may_become(to), "{from} → {to}");
                        assert_eq!(error, WrongState { from, to });
                    }
                }
            }
        }
    }

    #[test]
    fn a_placed_order_is_version_one_with_a_deadline() {
        let order = an_order();
        assert_eq!((order.status, order.version, order.reason), (Created, 1, None));
        assert_eq!(order.deadline_at - order.created_at, Duration::minutes(15));
    }

    #[test]
    fn names_are_read_back() {
        for status in OrderStatus::ALL {
            assert_eq!(status.code().parse(), Ok(status));
        }
        for reason in Reason::ALL {
            assert_eq!(reason.code().parse(), Ok(reason));
        }
        assert_eq!("created".parse::<OrderStatus>(), Err(UnknownName));
    }

    proptest! {
        #[test]
        fn a_final_order_stays_as_it_is(steps in prop::collection::vec(0_u8..3, 0..12)) {
            let mut order = an_order();
            let mut ended: Option<Order> = None;
            for step in steps {
                let now = DateTime::UNIX_EPOCH;
                let tried = match step {
                    0 => order.clone().begin_payment(1, Duration::minutes(15), now),
                    1 => order.clone().complete(now),
                    _ => order.clone().compensate(Reason::PaymentDeclined, now),
                };
                if let Ok(step) = tried {
                    prop_assert!(ended.is_none(), "a final order moved");
                    prop_assert_eq!(step.order.version, order.version + 1);
                    order = step.order;
                }
                if order.status.is_final() {
                    ended = Some(order.clone());
                }
            }
            if let Some(ended) = ended {
                prop_assert_eq!(ended, order);
            }
        }
    }
}
