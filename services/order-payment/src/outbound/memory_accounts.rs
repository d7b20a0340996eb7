//! What the books in memory say of one order, to be compared with others.

use super::memory::Books;
use crate::domain::accounts::{self, Moved, Tried};
use crate::domain::{Account, Entry, Order, Transaction};

/// What the ledger says of one order, for comparison.
impl Books {
    pub(super) fn account_of(&self, order: &Order) -> accounts::Account {
        let attempts = self.attempts.values().filter(|attempt| attempt.order == order.id);
        let moved = self.ledger.iter().filter(|transaction| transaction.order == Some(order.id));
        accounts::Account {
            order: order.id,
            status: order.status,
            total: order.total,
            placed_at: order.created_at,
            changed_at: self
                .history
                .get(&order.id)
                .and_then(|steps| steps.last())
                .map_or(order.created_at, |step| step.at),
            attempts: attempts
                .map(|attempt| Tried {
                    id: attempt.id,
                    kind: attempt.kind,
                    state: attempt.state,
                    amount: attempt.amount,
                })
                .collect(),
            moved: moved.map(moved_by).collect(),
        }
    }
}

fn moved_by(transaction: &Transaction) -> Moved {
    let sum = |wanted: &dyn Fn(&Entry) -> bool| -> i64 {
        transaction.entries.iter().filter(|entry| wanted(entry)).map(|entry| entry.amount_minor).sum()
    };
    Moved {
        attempt: transaction.attempt,
        kind: transaction.kind,
        currency: transaction.currency,
        debit_minor: sum(&|entry| entry.amount_minor > 0),
        receivable_minor: sum(&|entry| entry.account == Account::GatewayReceivable),
        sales_minor: -sum(&|entry| entry.account == Account::Sales),
    }
}
