//! One order against its attempts and its ledger, all of one instant: what must agree, and what it is called when it does
//! not. Pure, so that a table test can show each kind of difference.

use chrono::{DateTime, Utc};
use common::{AttemptId, Currency, Money, OrderId};

use super::{AttemptKind, AttemptState, LedgerKind, OrderStatus};

/// An order with everything that moved for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub order: OrderId,
    pub status: OrderStatus,
    pub total: Money,
    pub placed_at: DateTime<Utc>,
    /// When the order or one of its attempts last changed.
    pub changed_at: DateTime<Utc>,
    pub attempts: Vec<Tried>,
    pub moved: Vec<Moved>,
}

/// An attempt as far as the books are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub id: AttemptId,
    pub kind: AttemptKind,
    pub state: AttemptState,
    pub amount: Money,
}

/// A transaction of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// `None` for what moves without the gateway: store credit.
    pub attempt: Option<AttemptId>,
    pub kind: LedgerKind,
    pub currency: Currency,
    /// Sum of its debits.
    pub debit_minor: i64,
    /// What it did to what the gateway owes us.
    pub receivable_minor: i64,
    /// What it did to what we have sold: positive for a sale.
    pub sales_minor: i64,
}

/// What does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// Booked, but no attempt of ours says that the money moved.
    LedgerWithoutAttempt(AttemptId),
    /// The money moved, and it is in no book.
    AttemptWithoutLedger(AttemptId),
    /// Booked with another amount or currency than was moved.
    AmountDiffers { attempt: AttemptId, moved: Money, booked_minor: i64, booked: Currency },
    /// Completed, and what was paid by card and by store credit is not its total.
    NotPaid { paid_minor: i64 },
    /// Ended without a sale, and the ledger still holds its money with nobody giving it back.
    KeptWithoutSale { held_minor: i64 },
}

/// Everything about `account` that does not agree.
pub fn disagreements(account: &Account) -> Vec<Disagreement> {
    let mut found = Vec::new();
    for (moved, attempt) in account.moved.iter().filter_map(|moved| Some((moved, moved.attempt?))) {
        match account.attempts.iter().find(|tried| tried.id == attempt) {
            Some(tried) if tried.state == AttemptState::Captured => {
                if tried.amount.minor() != moved.debit_minor || tried.amount.currency() != moved.currency {
                    found.push(Disagreement::AmountDiffers {
                        attempt: tried.id,
                        moved: tried.amount,
                        booked_minor: moved.debit_minor,
                        booked: moved.currency,
                    });
                }
            }
            _ => found.push(Disagreement::LedgerWithoutAttempt(attempt)),
        }
    }
    for tried in account.attempts.iter().filter(|tried| tried.state == AttemptState::Captured) {
        if !account.moved.iter().any(|moved| moved.attempt == Some(tried.id)) {
            found.push(Disagreement::AttemptWithoutLedger(tried.id));
        }
    }
    // What an attempt explains already is not told a second time for the order.
    if found.is_empty() {
        found.extend(of_the_order(account));
    }
    found
}

fn of_the_order(account: &Account) -> Option<Disagreement> {
    let paid = |moved: &&Moved| matches!(moved.kind, LedgerKind::Capture | LedgerKind::CreditSpend);
    let paid_minor: i64 = account.moved.iter().filter(paid).map(|moved| moved.sales_minor).sum();
    let held_minor: i64 = account.moved.iter().map(|moved| moved.receivable_minor).sum();
    let going_back =
        account.attempts.iter().any(|tried| tried.kind == AttemptKind::Refund && !tried.state.is_settled());
    match account.status {
        OrderStatus::Completed if paid_minor != account.total.minor() => Some(Disagreement::NotPaid { paid_minor }),
        OrderStatus::Compensated if held_minor != 0 && !going_back => {
            Some(Disagreement::KeptWithoutSale { held_minor })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> OrderId {
        OrderId::from_uuid(uuid::Uuid::from_u128(1))
    }

    fn euros(minor: i64) -> Money {
        Money::from_minor(minor, Currency::Eur).unwrap()
    }

    fn tried(number: u32, kind: AttemptKind, state: AttemptState) -> Tried {
        Tried { id: AttemptId::derive(order(), number), kind, state, amount: euros(4990) }
    }

    fn moved(number: u32, kind: LedgerKind, debit_minor: i64) -> Moved {
        let receivable_minor = if kind == LedgerKind::Capture { debit_minor } else { -debit_minor };
        let sales_minor = receivable_minor;
        Moved {
            attempt: Some(AttemptId::derive(order(), number)),
            kind,
            currency: Currency::Eur,
            debit_minor,
            receivable_minor,
            sales_minor,
        }
    }

    fn found(status: OrderStatus, attempts: Vec<Tried>, moved: Vec<Moved>) -> Vec<&'static str> {
        let account = Account {
            order: order(),
            status,
            total: euros(4990),
            placed_at: DateTime::UNIX_EPOCH,
            changed_at: DateTime::UNIX_EPOCH,
            attempts,
            moved,
        };
        let name = |disagreement: &Disagreement| match disagreement {
            Disagreement::LedgerWithoutAttempt(_) => "ledger without attempt",
            Disagreement::AttemptWithoutLedger(_) => "attempt without ledger",
            Disagreement::AmountDiffers { .. } => "amount",
            Disagreement::NotPaid { .. } => "not paid",
            Disagreement::KeptWithoutSale { .. } => "kept",
        };
        disagreements(&account).iter().map(name).collect()
    }

    #[test]
    fn each_disagreement_has_its_name_and_agreement_has_none() {
        use AttemptKind::{Charge, Refund};
        use AttemptState::{Captured, Sent, Unknown, Voided};
        use OrderStatus::{Compensated, Completed, Created, PaymentPending};
        let captured = || tried(1, Charge, Captured);
        let booked = || moved(1, LedgerKind::Capture, 4990);
        let nothing: [&str; 0] = [];
        assert_eq!(found(Created, vec![], vec![]), nothing);
        assert_eq!(found(PaymentPending, vec![tried(1, Charge, Unknown)], vec![]), nothing);
        assert_eq!(found(Completed, vec![captured()], vec![booked()]), nothing);
        let spent = Moved { attempt: None, receivable_minor: 0, ..moved(1, LedgerKind::CreditSpend, 4990) };
        let spent = Moved { sales_minor: 4990, ..spent };
        assert_eq!(found(Completed, vec![], vec![spent]), nothing);
        assert_eq!(found(Compensated, vec![tried(1, Charge, Voided)], vec![]), nothing);
        let back = || moved(2, LedgerKind::Refund, 4990);
        assert_eq!(found(Compensated, vec![captured(), tried(2, Refund, Captured)], vec![booked(), back()]), nothing);
        assert_eq!(found(Compensated, vec![captured(), tried(2, Refund, Sent)], vec![booked()]), nothing);

        assert_eq!(found(Completed, vec![], vec![booked()]), ["ledger without attempt"]);
        assert_eq!(found(Completed, vec![tried(1, Charge, Unknown)], vec![booked()]), ["ledger without attempt"]);
        assert_eq!(found(Completed, vec![captured()], vec![]), ["attempt without ledger"]);
        assert_eq!(found(Completed, vec![captured()], vec![moved(1, LedgerKind::Capture, 4991)]), ["amount"]);
        let in_dollars = Moved { currency: Currency::Usd, ..booked() };
        assert_eq!(found(Completed, vec![captured()], vec![in_dollars]), ["amount"]);
        let half = Tried { amount: euros(2495), ..captured() };
        assert_eq!(found(Completed, vec![half], vec![moved(1, LedgerKind::Capture, 2495)]), ["not paid"]);
        assert_eq!(found(Completed, vec![], vec![]), ["not paid"]);
        assert_eq!(found(Compensated, vec![captured()], vec![booked()]), ["kept"]);
    }
}
