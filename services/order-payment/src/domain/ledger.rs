//! Double-entry bookkeeping. A transaction has two sides that cancel out, by construction here and by a deferred constraint
//! in the database; it is never changed, only reversed by another one.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use common::{AttemptId, Currency, Money, OrderId, RefundId, TransactionId, UserId};

use super::order::UnknownName;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// What the gateway has taken for us and will pay out.
    GatewayReceivable,
    /// What we have sold.
    Sales,
    /// What we owe people and they may spend: a liability, so its balance is a credit.
    StoreCredit,
    /// Store credit set aside for orders that are not paid yet.
    StoreCreditHeld,
    /// What we gave without having been paid.
    Goodwill,
    /// Money the gateway took that belongs to no order of ours.
    Suspense,
}

impl Account {
    pub const ALL: [Self; 6] = [
        Self::GatewayReceivable,
        Self::Sales,
        Self::StoreCredit,
        Self::StoreCreditHeld,
        Self::Goodwill,
        Self::Suspense,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::GatewayReceivable => "gateway_receivable",
            Self::Sales => "sales",
            Self::StoreCredit => "store_credit",
            Self::StoreCreditHeld => "store_credit_held",
            Self::Goodwill => "goodwill",
            Self::Suspense => "suspense",
        }
    }
}

impl FromStr for Account {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|account| account.code() == text).ok_or(UnknownName)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LedgerKind {
    Capture,
    Refund,
    /// Store credit given, for money of an order or for nothing.
    CreditGrant,
    /// Store credit set aside for an order.
    CreditHold,
    /// What was set aside pays the order.
    CreditSpend,
    /// What was set aside is free again.
    CreditRelease,
    /// Money without an order was found.
    Orphan,
    /// It went back.
    OrphanRefund,
    /// The mirror of another transaction.
    Reversal,
}

impl LedgerKind {
    pub const ALL: [Self; 9] = [
        Self::Capture,
        Self::Refund,
        Self::CreditGrant,
        Self::CreditHold,
        Self::CreditSpend,
        Self::CreditRelease,
        Self::Orphan,
        Self::OrphanRefund,
        Self::Reversal,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::Capture => "CAPTURE",
            Self::Refund => "REFUND",
            Self::CreditGrant => "CREDIT_GRANT",
            Self::CreditHold => "CREDIT_HOLD",
            Self::CreditSpend => "CREDIT_SPEND",
            Self::CreditRelease => "CREDIT_RELEASE",
            Self::Orphan => "ORPHAN",
            Self::OrphanRefund => "ORPHAN_REFUND",
            Self::Reversal => "REVERSAL",
        }
    }

    /// What is debited and what is credited. A reversal has those of what it reverses.
    fn sides(self) -> [Account; 2] {
        match self {
            Self::Capture | Self::Reversal => [Account::GatewayReceivable, Account::Sales],
            Self::Refund => [Account::Sales, Account::GatewayReceivable],
            Self::CreditGrant => [Account::Goodwill, Account::StoreCredit],
            Self::CreditHold => [Account::StoreCredit, Account::StoreCreditHeld],
            Self::CreditSpend => [Account::StoreCreditHeld, Account::Sales],
            Self::CreditRelease => [Account::StoreCreditHeld, Account::StoreCredit],
            Self::Orphan => [Account::GatewayReceivable, Account::Suspense],
            Self::OrphanRefund => [Account::Suspense, Account::GatewayReceivable],
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

/// One movement of money. Its id is derived from what moves it, so that nothing moves twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub id: TransactionId,
    pub kind: LedgerKind,
    pub order: Option<OrderId>,
    /// What carried it to the gateway.
    pub attempt: Option<AttemptId>,
    /// Whose store credit moves.
    pub user: Option<UserId>,
    /// What it is about outside our tables: an intent, the words of whoever granted it.
    pub reference: Option<String>,
    pub reverses: Option<TransactionId>,
    pub currency: Currency,
    pub entries: Vec<Entry>,
    pub at: DateTime<Utc>,
}

impl Transaction {
    /// `amount` was taken for `order`.
    pub fn capture(order: OrderId, attempt: AttemptId, amount: Money, at: DateTime<Utc>) -> Self {
        let id = TransactionId::from_uuid(attempt.uuid());
        Self { order: Some(order), attempt: Some(attempt), ..Self::of(LedgerKind::Capture, id, amount, at) }
    }

    /// `amount` was given back.
    pub fn refund(order: OrderId, attempt: AttemptId, amount: Money, at: DateTime<Utc>) -> Self {
        let id = TransactionId::from_uuid(attempt.uuid());
        Self { order: Some(order), attempt: Some(attempt), ..Self::of(LedgerKind::Refund, id, amount, at) }
    }

    /// `amount` paid for `order` becomes store credit of `user`: the money stays, what we owe changes.
    pub fn refund_to_credit(order: OrderId, user: UserId, refund: RefundId, amount: Money, at: DateTime<Utc>) -> Self {
        let id = TransactionId::from_uuid(refund.uuid());
        let grant = Self { order: Some(order), user: Some(user), ..Self::of(LedgerKind::CreditGrant, id, amount, at) };
        grant.between([Account::Sales, Account::StoreCredit], amount)
    }

    /// `amount` is given to `user` for nothing. `id` is derived from the request.
    pub fn grant(id: TransactionId, user: UserId, reason: String, amount: Money, at: DateTime<Utc>) -> Self {
        Self { user: Some(user), reference: Some(reason), ..Self::of(LedgerKind::CreditGrant, id, amount, at) }
    }

    /// A movement of `user`'s store credit for `order`: set aside, spent or freed, each at most once.
    pub fn credit(kind: LedgerKind, order: OrderId, user: UserId, amount: Money, at: DateTime<Utc>) -> Self {
        let id = TransactionId::derive(kind.code(), &order.to_string());
        Self { order: Some(order), user: Some(user), ..Self::of(kind, id, amount, at) }
    }

    /// Money without an order: found ([`LedgerKind::Orphan`]) or sent back ([`LedgerKind::OrphanRefund`]).
    pub fn orphan(kind: LedgerKind, intent: &str, amount: Money, at: DateTime<Utc>) -> Self {
        Self { reference: Some(intent.to_owned()), ..Self::of(kind, Self::orphan_id(kind, intent), amount, at) }
    }

    /// Which transaction of the ledger that is.
    pub fn orphan_id(kind: LedgerKind, intent: &str) -> TransactionId {
        TransactionId::derive(kind.code(), intent)
    }

    /// The mirror of this one: what a mistake is corrected by.
    pub fn reversed(&self, at: DateTime<Utc>) -> Self {
        let mirrored =
            |entry: &Entry| Entry { account: entry.account, amount_minor: entry.amount_minor.saturating_neg() };
        Self {
            id: TransactionId::derive(LedgerKind::Reversal.code(), &self.id.to_string()),
            kind: LedgerKind::Reversal,
            attempt: None,
            reverses: Some(self.id),
            entries: self.entries.iter().map(mirrored).collect(),
            at,
            ..self.clone()
        }
    }

    fn of(kind: LedgerKind, id: TransactionId, amount: Money, at: DateTime<Utc>) -> Self {
        let bare = Self {
            id,
            kind,
            order: None,
            attempt: None,
            user: None,
            reference: None,
            reverses: None,
            currency: amount.currency(),
            entries: Vec::new(),
            at,
        };
        bare.between(kind.sides(), amount)
    }

    fn between(mut self, [debit, credit]: [Account; 2], amount: Money) -> Self {
        let minor = amount.minor();
        self.entries =
            vec![Entry { account: debit, amount_minor: minor }, Entry { account: credit, amount_minor: -minor }];
        self
    }

    pub fn is_balanced(&self) -> bool {
        self.entries.len() >= 2 && self.entries.iter().map(|entry| i128::from(entry.amount_minor)).sum::<i128>() == 0
    }

    /// The sum of the entries of one account.
    pub fn moved(&self, account: Account) -> i64 {
        self.entries.iter().filter(|entry| entry.account == account).map(|entry| entry.amount_minor).sum()
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
                        other => prop_assert!(false, "a card's money touches {other:?}"),
                    }
                }
            }
            prop_assert_eq!(receivable, expected);
            prop_assert_eq!(receivable + sales, 0);
        }

        #[test]
        fn each_kind_of_movement_balances_and_is_undone_by_its_mirror(minor in 1_i64..99_999_999, kind in prop::sample::select(LedgerKind::ALL.to_vec())) {
            let amount = Money::from_minor(minor, Currency::Eur).unwrap();
            let moved = Transaction::of(kind, TransactionId::derive("test", "1"), amount, DateTime::UNIX_EPOCH);
            let mirror = moved.reversed(DateTime::UNIX_EPOCH);
            prop_assert!(moved.is_balanced() && mirror.is_balanced());
            for account in Account::ALL {
                prop_assert_eq!(moved.moved(account) + mirror.moved(account), 0);
            }
            prop_assert_eq!(mirror.reverses, Some(moved.id));
        }
    }

    #[test]
    fn names_are_read_back() {
        for account in Account::ALL {
            assert_eq!(account.code().parse(), Ok(account));
        }
        for kind in LedgerKind::ALL {
            assert_eq!(kind.code().parse(), Ok(kind));
        }
    }
}
