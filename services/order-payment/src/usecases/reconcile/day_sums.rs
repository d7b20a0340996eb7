//! Sums of the whole days in the window. All three columns are of the same orders: those whose last change is old enough to
//! be in every book, so that a difference is one. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use common::{Currency, OrderId};

use super::{PAID_WITHIN, Window};
use crate::domain::accounts::Account;
use crate::domain::{Intent, IntentStatus, LedgerKind, OrderStatus};
use crate::usecases::ports::DaySums;

pub(super) struct Days {
    window: Window,
    sums: BTreeMap<(NaiveDate, &'static str), DaySums>,
    /// When orders of this slice and those shortly before were placed, and whether they are in every book.
    placed: BTreeMap<OrderId, (DateTime<Utc>, bool)>,
}

impl Days {
    pub fn new(window: Window) -> Self {
        Self { window, sums: BTreeMap::new(), placed: BTreeMap::new() }
    }

    /// Takes the next slice, which begins at `from`.
    pub fn add<'a>(&mut self, from: DateTime<Utc>, accounts: &[Account], intents: impl Iterator<Item = &'a Intent>) {
        self.placed.retain(|_, (placed_at, _)| *placed_at >= from - PAID_WITHIN);
        let settled_before = self.window.settled_before;
        for account in accounts {
            let settled = account.changed_at < settled_before;
            self.placed.insert(account.order, (account.placed_at, settled));
            if settled {
                self.account(account);
            }
        }
        for intent in intents.filter(|intent| intent.status == IntentStatus::Succeeded) {
            let Ok(currency) = intent.currency.parse() else { continue };
            let made_at = DateTime::from_timestamp(intent.created_unix, 0).unwrap_or(settled_before);
            let order = intent.order.as_deref().and_then(|order| order.parse().ok());
            let known = order.and_then(|order| self.placed.get(&order));
            let (at, counted) = known.copied().unwrap_or((made_at, made_at < settled_before));
            if counted {
                self.of(at.date_naive(), currency, |sums| sums.gateway_minor += intent.amount_minor);
            }
        }
    }

    pub fn sums(self) -> Vec<DaySums> {
        self.sums.into_values().collect()
    }

    fn account(&mut self, account: &Account) {
        let day = account.placed_at.date_naive();
        if account.status == OrderStatus::Completed {
            self.of(day, account.total.currency(), |sums| sums.orders_minor += account.total.minor());
        }
        for moved in &account.moved {
            self.of(day, moved.currency, |sums| match moved.kind {
                LedgerKind::Capture => sums.captured_minor += moved.receivable_minor,
                LedgerKind::Refund => sums.refunded_minor -= moved.receivable_minor,
                // Nothing of it moved at the gateway for an order.
                _ => {}
            });
        }
    }

    fn of(&mut self, day: NaiveDate, currency: Currency, add: impl FnOnce(&mut DaySums)) {
        if day.and_time(NaiveTime::MIN).and_utc() >= self.window.since {
            add(self.sums.entry((day, currency.code())).or_insert(DaySums {
                day,
                currency,
                orders_minor: 0,
                captured_minor: 0,
                refunded_minor: 0,
                gateway_minor: 0,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use common::Money;

    use super::super::matching::tests::intent;
    use super::*;

    #[test]
    fn the_sums_of_a_day_are_of_the_same_orders_in_all_three_books() {
        use crate::domain::accounts::Moved;
        let start = DateTime::UNIX_EPOCH;
        let noon = start + chrono::Duration::hours(12);
        let account = |number: u128, changed_at| {
            let order = OrderId::from_uuid(uuid::Uuid::from_u128(number));
            let moved = Moved {
                attempt: Some(common::AttemptId::derive(order, 1)),
                kind: LedgerKind::Capture,
                currency: Currency::Eur,
                debit_minor: 4990,
                receivable_minor: 4990,
                sales_minor: 4990,
            };
            let total = Money::from_minor(4990, Currency::Eur).unwrap();
            let (status, attempts) = (OrderStatus::Completed, Vec::new());
            Account { order, status, total, placed_at: noon, changed_at, attempts, moved: vec![moved] }
        };
        let settled_before = noon + chrono::Duration::hours(1);
        let accounts = [account(1, noon), account(2, settled_before)];
        let there = |number| Intent { created_unix: noon.timestamp(), ..intent(number, IntentStatus::Succeeded) };
        let orphan = Intent { order: None, ..there(3) };
        let of = |since, intents: &[Intent]| {
            let mut days = Days::new(Window { since, settled_before });
            days.add(start, &accounts, [].iter());
            // The charges are listed with a later slice.
            days.add(noon, &[], intents.iter());
            days.sums()
        };
        let found = of(start, &[there(1), there(2), orphan]);
        let only = DaySums {
            day: start.date_naive(),
            currency: Currency::Eur,
            orders_minor: 4990,
            captured_minor: 4990,
            refunded_minor: 0,
            gateway_minor: 9980,
        };
        assert_eq!(found, [only], "the second order is too young to be counted anywhere, the orphan is counted");
        assert_eq!(of(noon, &[there(1)]), [], "half a day is no day");
    }
}
