//! Double-entry bookkeeping. A transaction has two sides that cancel out, by construction here and by a deferred constraint
//! in the database; it is never changed, only reversed by another one.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use common::{AttemptId, Currency, Money, OrderId};

use super::order::UnknownName;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// What the gateway has taken for us and will pay out.
    GatewayReceivable,
    /// What we have sold.
    Sales,
}

impl Account {
    pub const ALL: [Self; 2] = [Self::GatewayReceivable, Self::Sales];

    pub fn code(self) -> &'static str {
        match self {
            Self::GatewayReceivable => "gateway_receivable",
            Self::Sales => "sales",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LedgerKind {
    Capture,
    Refund,
}

impl LedgerKind {
    pub const ALL: [Self; 2] = [Self::Capture, Self::Refund];

    pub fn code(self) -> &'static str {
        match self {
            Self::Capture => "CAPTURE",
            Self::Refund => "REFUND",
        }
    }
}

impl FromStr for LedgerKind {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.code() == text).ok_or(UnknownName)
    }
}

/// One side of a transaction: a debit is positive, a credit negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub account: Account,
    /// Minor units of the transaction's currency.
    pub amount_minor: i64,
}

/// One movement of money. Made once per attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub order: OrderId,
    pub attempt: AttemptId,
    pub kind: LedgerKind,
    pub currency: Currency,
    pub entries: [Entry; 2],
    pub at: DateTime<Utc>,
}

impl Transaction {
    /// `amount` was taken for `order`.
    pub fn capture(order: OrderId, attempt: AttemptId, amount: Money, at: DateTime<Utc>) -> Self {
        Self::between(LedgerKind::Capture, order, attempt, amount, [Account::GatewayReceivable, Account::Sales], at)
    }

    /// `amount` was given back: the capture, reversed.
    pub fn refund(order: OrderId, attempt: AttemptId, amount: Money, at: DateTime<Utc>) -> Self {
        Self::between(LedgerKind::Refund, order, attempt, amount, [Account::Sales, Account::GatewayReceivable], at)
    }

    fn between(
        kind: LedgerKind,
        order: OrderId,
        attempt: AttemptId,
        amount: Money,
        [debit, credit]: [Account; 2],
        at: DateTime<Utc>,
    ) -> Self {
        let minor = amount.minor();
        let entries = [Entry { account: debit, amount_minor: minor }, Entry { account: credit, amount_minor: -minor }];
        Self { order, attempt, kind, currency: amount.currency(), entries, at }
    }

    pub fn is_balanced(&self) -> bool {
        self.entries.iter().map(|entry| entry.amount_minor).sum::<i64>() == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_books_balance_after_any_sequence(moves in prop::collection::vec((1_i64..99_999_999, any::<bool>()), 0..40)) {
            let (order, now) = (OrderId::from_uuid(uuid::Uuid::nil()), DateTime::UNIX_EPOCH);
            let attempt = AttemptId::derive(order, 1);
            let (mut receivable, mut sales, mut expected) = (0_i64, 0_i64, 0_i64);
            for (minor, take) in moves {
                let amount = Money::from_minor(minor, Currency::Eur).unwrap();
                let transaction =
                    if take { Transaction::capture(order, attempt, amount, now) } else { Transaction::refund(order, attempt, amount, now) };
                expected += if take { minor } else { -minor };
                prop_assert!(transaction.is_balanced());
                for entry in transaction.entries {
                    match entry.account {
                        Account::GatewayReceivable => receivable += entry.amount_minor,
                        Account::Sales => sales += entry.amount_minor,
                    }
                }
            }
            prop_assert_eq!(receivable, expected);
            prop_assert_eq!(receivable + sales, 0);
        }
    }
}
