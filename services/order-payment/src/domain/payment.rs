//! An attempt to move money for an order: its states and what is remembered between two steps.
//!
//! ```text
//! PREPARED ─► SENT ─► AUTHORISED ─► CAPTURED        a charge; a refund goes PREPARED ─► SENT ─► CAPTURED
//!     │        │  ╲      │  ╲          ▲
//!     │        │   UNKNOWN ◄╯          │ (and to every end)
//!     └────────┴────┴────┴─► DECLINED, VOIDED ─ ─ late success
//! ```
//! `PREPARED` has sent nothing that could move money: what authorises is sent from `SENT` only, which is committed first.
//! `CAPTURED` never changes. `DECLINED` and `VOIDED` change only when the gateway took money in spite of an accepted
//! cancel; that money is then in the books and goes back to the shopper. Not decided here: what to do next (`settle`).

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use common::{AttemptId, Money, OrderId, Private};

use super::order::UnknownName;
use super::{Order, PaymentToken, Reason, Refusal, Via};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptState {
    Prepared,
    Sent,
    Authorised,
    /// The money has moved.
    Captured,
    /// The bank said no and the intent is cancelled.
    Declined,
    /// A step may or may not have happened.
    Unknown,
    /// Given up before money moved, with the gateway's word for it.
    Voided,
}

use AttemptState::{Authorised, Captured, Declined, Prepared, Sent, Unknown, Voided};

/// Which state may follow which. The database refuses the others too; a test compares the two tables.
pub const TRANSITIONS: [(AttemptState, AttemptState); 18] = [
    (Prepared, Sent),
    (Prepared, Declined),
    (Prepared, Voided),
    (Sent, Authorised),
    (Sent, Captured),
    (Sent, Declined),
    (Sent, Unknown),
    (Sent, Voided),
    (Authorised, Captured),
    (Authorised, Declined),
    (Authorised, Unknown),
    (Authorised, Voided),
    (Unknown, Authorised),
    (Unknown, Captured),
    (Unknown, Declined),
    (Unknown, Voided),
    (Declined, Captured),
    (Voided, Captured),
];

impl AttemptState {
    pub const ALL: [Self; 7] = [Prepared, Sent, Authorised, Captured, Declined, Unknown, Voided];

    pub fn code(self) -> &'static str {
        match self {
            Prepared => "PREPARED",
            Sent => "SENT",
            Authorised => "AUTHORISED",
            Captured => "CAPTURED",
            Declined => "DECLINED",
            Unknown => "UNKNOWN",
            Voided => "VOIDED",
        }
    }

    /// Nothing more is to be done for it.
    pub fn is_settled(self) -> bool {
        matches!(self, Captured | Declined | Voided)
    }

    pub fn may_become(self, next: Self) -> bool {
        TRANSITIONS.contains(&(self, next))
    }
}

impl fmt::Display for AttemptState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.code())
    }
}

impl FromStr for AttemptState {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.code() == text).ok_or(UnknownName)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptKind {
    Charge,
    /// Money back, through the same machinery.
    Refund,
}

impl AttemptKind {
    pub const ALL: [Self; 2] = [Self::Charge, Self::Refund];

    pub fn code(self) -> &'static str {
        match self {
            Self::Charge => "CHARGE",
            Self::Refund => "REFUND",
        }
    }
}

impl FromStr for AttemptKind {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.code() == text).ok_or(UnknownName)
    }
}

/// One try to move money. Everything that a call to the gateway needs is in it, so that any process can go on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub id: AttemptId,
    pub order: OrderId,
    /// From 1; part of the gateway's keys.
    pub number: u32,
    pub kind: AttemptKind,
    /// Where it was begun, and where it ends.
    pub via: Via,
    pub amount: Money,
    pub token: Private<PaymentToken>,
    pub state: AttemptState,
    /// The gateway's id, once we know it. A refund has that of the charge.
    pub intent: Option<String>,
    /// The decision to take the money is committed; from then on only the gateway can say no.
    pub capture_requested: bool,
    /// The order shall end without a sale, for this reason; the gateway has not agreed yet.
    pub giving_up: Option<Reason>,
    /// The gateway was never asked, for this reason.
    pub refused_by: Option<Refusal>,
    /// An earlier call without an answer may have had its effect: look before sending.
    pub in_doubt: bool,
    /// Fruitless tries in a row.
    pub tries: u32,
    /// When to go on. Meaningless once settled.
    pub due_at: DateTime<Utc>,
    /// Until then one worker has it to itself.
    pub leased_until: Option<DateTime<Utc>>,
    /// Grows by one with each change, from 1; a change of an old version is refused.
    pub version: i64,
    /// The order's trace, which the payment goes on with.
    pub traceparent: Option<String>,
    pub created_at: DateTime<Utc>,
}

impl Attempt {
    /// The first attempt to charge `order`.
    pub fn charge(order: &Order, traceparent: Option<String>, now: DateTime<Utc>) -> Self {
        Self::prepared(AttemptKind::Charge, order.id, 1, order.rest(), order.token.clone(), None, traceparent, now)
    }

    /// Gives `amount` of a captured charge back, as attempt `number` of its order.
    pub fn refund_of(charge: &Self, number: u32, amount: Money, now: DateTime<Utc>) -> Self {
        let (token, intent) = (charge.token.clone(), charge.intent.clone());
        let refund = Self::prepared(
            AttemptKind::Refund,
            charge.order,
            number,
            amount,
            token,
            intent,
            charge.traceparent.clone(),
            now,
        );
        Self { via: charge.via.clone(), ..refund }
    }

    #[allow(clippy::too_many_arguments)] // private; each field is named where it is set
    fn prepared(
        kind: AttemptKind,
        order: OrderId,
        number: u32,
        amount: Money,
        token: Private<PaymentToken>,
        intent: Option<String>,
        traceparent: Option<String>,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id: AttemptId::derive(order, number),
            order,
            number,
            kind,
            via: Via::default(),
            amount,
            token,
            state: Prepared,
            intent,
            capture_requested: false,
            giving_up: None,
            refused_by: None,
            in_doubt: false,
            tries: 0,
            due_at: now,
            leased_until: None,
            version: 1,
            traceparent,
            created_at: now,
        }
    }

    /// The order shall end without a sale. The first reason stays.
    pub fn give_up(&mut self, reason: Reason, now: DateTime<Utc>) {
        self.giving_up.get_or_insert(reason);
        self.due_at = now;
        self.tries = 0;
    }

    /// A charge of which nothing has reached the gateway as far as the books know. A call of a process that died may have; then
    /// nothing has moved that could be money, because what authorises waits for `SENT`.
    pub fn is_untried(&self) -> bool {
        self.kind == AttemptKind::Charge
            && self.state == Prepared
            && self.intent.is_none()
            && !self.in_doubt
            && self.giving_up.is_none()
    }

    /// Ends it without asking the gateway. To others it is declined.
    pub fn refuse(&mut self, refusal: Refusal, now: DateTime<Utc>) {
        self.refused_by = Some(refusal);
        self.give_up(Reason::PaymentDeclined, now);
    }

    /// The state after giving up succeeded, and the reason to give.
    pub fn ending(&self) -> (AttemptState, Reason) {
        match self.giving_up {
            Some(Reason::PaymentDeclined) => (Declined, Reason::PaymentDeclined),
            Some(reason) => (Voided, reason),
            // Somebody cancelled the intent at the gateway.
            None => (Voided, Reason::Cancelled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_captured_stays_captured() {
        assert!(AttemptState::ALL.into_iter().all(|next| !Captured.may_become(next)));
    }

    #[test]
    fn only_a_late_success_changes_an_end() {
        for end in [Declined, Voided] {
            let next: Vec<_> = AttemptState::ALL.into_iter().filter(|next| end.may_become(*next)).collect();
            assert_eq!(next, [Captured]);
        }
    }

    #[test]
    fn money_cannot_move_before_the_confirmation_is_committed() {
        assert!(!Prepared.may_become(Authorised) && !Prepared.may_become(Captured) && !Prepared.may_become(Unknown));
    }

    #[test]
    fn names_are_read_back() {
        for state in AttemptState::ALL {
            assert_eq!(state.code().parse(), Ok(state));
        }
        for kind in AttemptKind::ALL {
            assert_eq!(kind.code().parse(), Ok(kind));
        }
    }
}
