//! What of each order's money went back at the gateway, against what our books say. The list of charges says of each how much of it
//! went back, so this costs no further call, however many refunds there are.
//!
//! Decided here: which orders are compared, and when their two sums differ. Only an order that has not changed for long enough to be in every
//! book; a refund under way may be there already or not, so it makes both right. Of an order that is older than the window, and of a
//! gateway whose list does not say it, only the settlement file tells. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::{Currency, OrderId};

use super::{PAID_WITHIN, Window};
use crate::domain::accounts::Account;
use crate::domain::{AttemptKind, AttemptState};
use crate::usecases::Failure;
use crate::usecases::ports::{Finding, FindingKind};

/// Orders of which something went back, held to the end of a look: some twenty megabytes. Of two days this is more than a shop gives back.
const MOST: usize = 200_000;

pub(super) struct GivenBack {
    window: Window,
    ours: BTreeMap<OrderId, Ours>,
    /// In minor units.
    theirs: BTreeMap<OrderId, i64>,
}

/// What went back of one order to its card, as our books have it, in minor units.
struct Ours {
    placed_at: DateTime<Utc>,
    currency: Currency,
    done: i64,
    under_way: i64,
}

impl GivenBack {
    pub fn new(window: Window) -> Self {
        Self { window, ours: BTreeMap::new(), theirs: BTreeMap::new() }
    }

    /// Takes the next slice, which begins at `from`: the orders placed in it, and what went back of the charges that found their other half.
    ///
    /// # Errors
    /// [`Failure`] when more went back than one look can hold.
    pub fn add(
        &mut self,
        from: DateTime<Utc>,
        accounts: &[Account],
        went_back: Vec<(OrderId, i64)>,
    ) -> Result<(), Failure> {
        let settled = accounts.iter().filter(|account| account.changed_at < self.window.settled_before);
        self.ours.extend(settled.map(|account| (account.order, Ours::of(account))));
        for (order, minor) in went_back {
            *self.theirs.entry(order).or_default() += minor;
        }
        // An order comes before its charge. What is of interest is what went back, and what may yet be said about the latest orders.
        let (ours, theirs) = (&mut self.ours, &mut self.theirs);
        theirs.retain(|order, minor| *minor != 0 || ours.get(order).is_some_and(Ours::gave));
        ours.retain(|order, account| {
            account.gave() || theirs.contains_key(order) || account.placed_at >= from - PAID_WITHIN
        });
        if theirs.len().max(ours.values().filter(|account| account.gave()).count()) > MOST {
            return Err(Failure::broken("more orders of which something went back than one look can hold"));
        }
        Ok(())
    }

    /// All differences of the window.
    pub fn end(self) -> Vec<Finding> {
        let differs = |(order, ours): (OrderId, Ours)| {
            // Without a word about it there is nothing to compare; a charge that is missing there is told by itself.
            let theirs = *self.theirs.get(&order)?;
            let right = (ours.done..=ours.done + ours.under_way).contains(&theirs);
            (!right).then(|| Finding {
                kind: FindingKind::RefundDiffers,
                reference: order.to_string(),
                order: Some(order),
                detail: ours.against(theirs),
                happened_at: Some(ours.placed_at),
            })
        };
        self.ours.into_iter().filter_map(differs).collect()
    }
}

impl Ours {
    fn of(account: &Account) -> Self {
        let sum = |counts: fn(AttemptState) -> bool| -> i64 {
            let refunds = account.attempts.iter().filter(|tried| tried.kind == AttemptKind::Refund);
            refunds.filter(|tried| counts(tried.state)).map(|tried| tried.amount.minor()).sum()
        };
        Self {
            placed_at: account.placed_at,
            currency: account.total.currency(),
            done: sum(|state| state == AttemptState::Captured),
            under_way: sum(|state| !state.is_settled()),
        }
    }

    fn gave(&self) -> bool {
        self.done != 0 || self.under_way != 0
    }

    fn against(&self, theirs: i64) -> String {
        let Self { currency, done, under_way, .. } = self;
        format!("{theirs} {currency} in minor units went back there, {done} here and {under_way} under way")
    }
}

#[cfg(test)]
mod tests {
    use chrono::Duration;
    use common::{AttemptId, Money};

    use super::*;
    use crate::domain::OrderStatus;
    use crate::domain::accounts::Tried;

    const START: DateTime<Utc> = DateTime::UNIX_EPOCH;

    /// Our refunds, what the gateway says, and whether this differs.
    type Row = (&'static [(AttemptState, i64)], Option<i64>, bool);

    fn an_hour() -> Window {
        Window { since: START, settled_before: START + Duration::hours(1) }
    }

    fn order() -> OrderId {
        OrderId::from_uuid(uuid::Uuid::from_u128(1))
    }

    /// A paid order with these refunds to the card.
    fn account(refunds: &[(AttemptState, i64)]) -> Account {
        let money = |minor| Money::from_minor(minor, Currency::Eur).unwrap();
        let tried = |number, kind, state, minor| Tried {
            id: AttemptId::derive(order(), number),
            kind,
            state,
            amount: money(minor),
        };
        let refunds =
            (2..).zip(refunds).map(|(number, (state, minor))| tried(number, AttemptKind::Refund, *state, *minor));
        let charge = tried(1, AttemptKind::Charge, AttemptState::Captured, 4990);
        Account {
            order: order(),
            status: OrderStatus::Completed,
            total: money(4990),
            placed_at: START,
            changed_at: START,
            attempts: std::iter::once(charge).chain(refunds).collect(),
            moved: Vec::new(),
        }
    }

    /// Found when both come in one slice, and when the charge comes a slice later.
    fn differs(account: &Account, went_back: Option<i64>) -> bool {
        let told: Vec<_> = went_back.map(|minor| (account.order, minor)).into_iter().collect();
        let accounts = std::slice::from_ref(account);
        let mut together = GivenBack::new(an_hour());
        together.add(START, accounts, told.clone()).unwrap();
        let mut apart = GivenBack::new(an_hour());
        apart.add(START, accounts, Vec::new()).unwrap();
        apart.add(START + Duration::minutes(20), &[], told).unwrap();
        let found = together.end();
        assert_eq!(apart.end(), found, "in two slices");
        assert!(found.iter().all(|finding| finding.kind == FindingKind::RefundDiffers), "{found:?}");
        !found.is_empty()
    }

    #[test]
    fn both_sums_agree_or_the_order_is_found() {
        use AttemptState::{Captured, Declined, Prepared, Sent, Unknown, Voided};
        let table: &[Row] = &[
            (&[], Some(0), false),
            (&[], None, false),
            // Somebody gave it back at the gateway's own pages.
            (&[], Some(1), true),
            (&[(Captured, 2000)], Some(2000), false),
            (&[(Captured, 2000), (Captured, 990)], Some(2990), false),
            // The gateway never had it, or took it back.
            (&[(Captured, 2000)], Some(0), true),
            (&[(Captured, 2000), (Captured, 990)], Some(2000), true),
            (&[(Captured, 2000)], Some(4000), true),
            // It does not say.
            (&[(Captured, 2000)], None, false),
            // What we call refused was given.
            (&[(Declined, 2000)], Some(0), false),
            (&[(Declined, 2000)], Some(2000), true),
            (&[(Voided, 2000)], Some(2000), true),
            // Under way: there already, or not yet, but no more than that.
            (&[(Prepared, 2000)], Some(0), false),
            (&[(Sent, 2000)], Some(2000), false),
            (&[(Unknown, 2000), (Captured, 990)], Some(2990), false),
            (&[(Unknown, 2000), (Captured, 990)], Some(2991), true),
            (&[(Unknown, 2000), (Captured, 990)], Some(989), true),
        ];
        for (refunds, went_back, expected) in table {
            assert_eq!(differs(&account(refunds), *went_back), *expected, "{refunds:?}, {went_back:?} there");
        }
    }

    #[test]
    fn an_order_that_changed_a_moment_ago_is_not_compared() {
        let young = Account { changed_at: an_hour().settled_before, ..account(&[(AttemptState::Captured, 2000)]) };
        assert!(!differs(&young, Some(0)));
    }

    #[test]
    fn two_charges_of_one_order_are_one_sum() {
        let mut given_back = GivenBack::new(an_hour());
        let refunds = account(&[(AttemptState::Captured, 4990)]);
        given_back.add(START, std::slice::from_ref(&refunds), vec![(order(), 4990), (order(), 0)]).unwrap();
        assert_eq!(given_back.end(), []);
    }

    #[test]
    fn what_is_held_does_not_grow_with_what_is_sold() {
        let mut given_back = GivenBack::new(an_hour());
        given_back.add(START, &[account(&[])], vec![(order(), 0)]).unwrap();
        given_back.add(START + Duration::hours(1), &[], Vec::new()).unwrap();
        assert!(given_back.ours.is_empty() && given_back.theirs.is_empty());
    }
}
