//! Orders with their attempts and their ledger, from the books in memory.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, DurationRound as _, Utc};
use common::{OrderId, UserId};

use super::memory::Books;
use crate::domain::accounts::{Account, Moved, Tried};
use crate::domain::refund::owes_goods;
use crate::domain::{Account as LedgerAccount, Entry, Order, OrderStatus, PricedLine, Refund, Transaction};
use crate::usecases::backlog::LOOKED_THROUGH;
use crate::usecases::ports::{CreditLook, OpenCount};

pub fn per_minute(books: &Books, (from, to): (DateTime<Utc>, DateTime<Utc>)) -> Vec<(DateTime<Utc>, u64)> {
    let mut minutes = BTreeMap::new();
    for order in books.orders.values().filter(|order| (from..=to).contains(&order.created_at)) {
        let minute = order.created_at.duration_trunc(Duration::minutes(1)).unwrap_or(order.created_at);
        *minutes.entry(minute).or_insert(0) += 1;
    }
    minutes.into_iter().collect()
}

/// Orders that have not ended, by state.
pub fn open_orders(books: &Books) -> Vec<OpenCount> {
    let of = |status: OrderStatus| {
        let count = books.orders.values().filter(|order| order.status == status).count();
        let (what, state) = ("order", status.code().to_owned());
        (count > 0).then(|| OpenCount { what, state, count: i64::try_from(count).unwrap_or(i64::MAX), oldest_s: 0 })
    };
    [OrderStatus::Created, OrderStatus::PaymentPending].into_iter().filter_map(of).collect()
}

/// Completed in the window, with goods that are owed and without a parcel; the oldest first, and looked for among the oldest.
pub fn unsent(
    books: &Books,
    (after, until): (DateTime<Utc>, DateTime<Utc>),
    limit: usize,
) -> Vec<(OrderId, DateTime<Utc>)> {
    let is_owed = |order: &Order| {
        let refunds = books.refunds.range((order.id, 0)..=(order.id, u32::MAX));
        let refunds: Vec<Refund> = refunds.map(|(_, refund)| refund.clone()).collect();
        owes_goods(order, &refunds)
    };
    let to_ship = books.orders.values().filter(|order| {
        order.status == OrderStatus::Completed
            && order.lines.iter().any(PricedLine::is_goods)
            && !books.shipments.contains_key(&order.id)
    });
    let with_time = to_ship.filter_map(|order| Some((books.history.get(&order.id)?.last()?.at, order)));
    let mut to_ship: Vec<_> = with_time.filter(|(at, _)| *at > after && *at <= until).collect();
    to_ship.sort_by_key(|(at, order)| (*at, order.id));
    let looked_through = to_ship.into_iter().take(limit * usize::from(LOOKED_THROUGH));
    looked_through.filter(|(_, order)| is_owed(order)).take(limit).map(|(at, order)| (order.id, at)).collect()
}

/// In the order of placing; `None`: there are more than `limit`.
pub fn between(books: &Books, (from, to): (DateTime<Utc>, DateTime<Utc>), limit: u32) -> Option<Vec<Account>> {
    let in_window = books.orders.values().filter(|order| (from..=to).contains(&order.created_at));
    let mut accounts: Vec<Account> = in_window.map(|order| account_of(books, order)).collect();
    accounts.sort_by_key(|account| (account.placed_at, account.order));
    (accounts.len() <= usize::try_from(limit).unwrap_or(usize::MAX)).then_some(accounts)
}

fn account_of(books: &Books, order: &Order) -> Account {
    let attempts = books.attempts.values().filter(|attempt| attempt.order == order.id);
    let moved = books.ledger.iter().filter(|transaction| transaction.order == Some(order.id));
    let last_step = books.history.get(&order.id).and_then(|steps| steps.last());
    Account {
        order: order.id,
        status: order.status,
        total: order.total,
        placed_at: order.created_at,
        changed_at: last_step.map_or(order.created_at, |step| step.at),
        attempts: attempts
            .map(|attempt| Tried { id: attempt.id, kind: attempt.kind, state: attempt.state, amount: attempt.amount })
            .collect(),
        moved: moved.map(moved_by).collect(),
    }
}

/// The next people with their movements. Nobody differs here, where the balance is the sum.
pub fn credit_look(books: &Books, after: Option<UserId>, limit: u16) -> CreditLook {
    let later = books.people.iter().filter(|person| after.is_none_or(|after| **person > after));
    let people: Vec<UserId> = later.take(limit.into()).copied().collect();
    let theirs = books.ledger.iter().filter(|moved| moved.user.is_some_and(|user| people.contains(&user)));
    let credit = |entry: &&Entry| matches!(entry.account, LedgerAccount::StoreCredit | LedgerAccount::StoreCreditHeld);
    let read = theirs.flat_map(|moved| &moved.entries).filter(credit).count() as u64;
    CreditLook { differ: Vec::new(), read, next: people.last().copied().filter(|_| people.len() == usize::from(limit)) }
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
        receivable_minor: sum(&|entry| entry.account == LedgerAccount::GatewayReceivable),
        sales_minor: -sum(&|entry| entry.account == LedgerAccount::Sales),
    }
}
