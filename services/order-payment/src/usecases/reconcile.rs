//! Compares the gateway's books with ours, in both directions, and our orders with our ledger, again and again. A difference
//! is noted with its age until a later look no longer finds it; money taken for an order that is given up is sent back on
//! the spot. Nothing else is changed: a difference is a person's.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use common::{Currency, OrderId};
use messaging::crash::{self, Boundary};

use super::ports::{Comparison, DaySums, Finding, FindingKind};
use super::receive_webhook::look_for_late_success;
use super::{App, Failure, held_after_end, orphan_money, store_credit};
use crate::domain::accounts::{Account, Disagreement, disagreements};
use crate::domain::{Attempt, AttemptState, Intent, IntentStatus, LedgerKind, OrderStatus};
use crate::metrics;

/// Charges read per page, and pages per look: a million charges in two days is beyond this site; the count of pages is a limit,
/// not a plan.
const PAGE: u16 = 500;
const MOST_PAGES: usize = 2_000;
/// Orders compared with the ledger per look, by the same reckoning; each is a few hundred bytes.
const MOST_ACCOUNTS: u32 = 500_000;
/// What the gateway's clock and ours may differ by, and what lies between our row and its intent.
const MARGIN_S: i64 = 600;

/// One look over the window. Returns what differs.
///
/// # Errors
/// [`Failure`] when either side cannot be read whole; nothing is noted then, because half a list looks like missing money.
pub async fn reconcile(app: &App) -> Result<Vec<Finding>, Failure> {
    let now = app.clock.now();
    let since = now - app.rules.reconcile_window;
    let settled_before = now - app.rules.reconcile_grace;
    let (first, last) = (since.timestamp() - MARGIN_S, now.timestamp() + MARGIN_S);
    let intents = crash::around(Boundary::GatewayList, app.gateway.intents_between(first, last))
        .await?
        .map_err(|reason| Failure::Broken(format!("the gateway's list is not complete: {reason}")))?;
    // Ours are read after theirs: what they know and we made meanwhile is found, not missed.
    let charges = all_charges(app, since, now).await?;
    let accounts = app
        .store
        .accounts_between(since, settled_before, MOST_ACCOUNTS)
        .await?
        .ok_or_else(|| Failure::broken("more orders in the window than one look can compare"))?;
    let days = days(&intents, &accounts, since, settled_before);
    let mut findings = compare(intents.clone(), &charges, since, settled_before);
    orphans(app, &intents, &mut findings).await?;
    let holds = held_after_end::old_holds(intents.iter(), settled_before);
    findings.extend(held_after_end::without_an_id(app, holds).await?);
    findings.extend(store_credit::differences(app).await?);
    findings.extend(accounts.iter().filter(|account| account.changed_at < settled_before).flat_map(in_our_books));
    for finding in &findings {
        tracing::error!(
            kind = finding.kind.code(),
            reference = finding.reference,
            detail = finding.detail,
            "books differ"
        );
    }
    send_back(app, &findings, &charges).await?;
    let seen = Comparison { since, findings, days };
    app.store.note_comparison(&seen, now).await?;
    metrics::reconciled(now.timestamp());
    Ok(seen.findings)
}

/// What of one order does not agree within our own books.
fn in_our_books(account: &Account) -> Vec<Finding> {
    let finding = |disagreement: Disagreement| {
        let (kind, reference, detail) = match disagreement {
            Disagreement::LedgerWithoutAttempt(attempt) => {
                (FindingKind::LedgerWithoutAttempt, attempt.to_string(), "booked, but no attempt moved it".to_owned())
            }
            Disagreement::AttemptWithoutLedger(attempt) => {
                (FindingKind::AttemptWithoutLedger, attempt.to_string(), "moved, but in no book".to_owned())
            }
            Disagreement::AmountDiffers { attempt, moved, booked_minor, booked } => (
                FindingKind::AmountDiffers,
                attempt.to_string(),
                format!("{moved} moved, {booked_minor} {booked} in minor units booked"),
            ),
            Disagreement::NotPaid { paid_minor } => (
                FindingKind::OrderNotBalanced,
                account.order.to_string(),
                format!("completed at {}, {paid_minor} in minor units paid", account.total),
            ),
            Disagreement::KeptWithoutSale { held_minor } => (
                FindingKind::OrderNotBalanced,
                account.order.to_string(),
                format!("ended without a sale, {held_minor} in minor units kept"),
            ),
        };
        Finding { kind, reference, order: Some(account.order), detail, happened_at: Some(account.placed_at) }
    };
    disagreements(account).into_iter().map(finding).collect()
}

/// Sums of the whole days in the window. All three columns are of the same orders: those whose last change is old enough to
/// be in every book, so that a difference is one.
fn days(intents: &[Intent], accounts: &[Account], since: DateTime<Utc>, settled_before: DateTime<Utc>) -> Vec<DaySums> {
    let placed: BTreeMap<OrderId, &Account> = accounts.iter().map(|account| (account.order, account)).collect();
    let mut sums: BTreeMap<(NaiveDate, &'static str), DaySums> = BTreeMap::new();
    let mut of = |day: NaiveDate, currency: Currency, add: &dyn Fn(&mut DaySums)| {
        if day.and_time(NaiveTime::MIN).and_utc() >= since {
            add(sums.entry((day, currency.code())).or_insert(DaySums {
                day,
                currency,
                orders_minor: 0,
                captured_minor: 0,
                refunded_minor: 0,
                gateway_minor: 0,
            }));
        }
    };
    for account in accounts.iter().filter(|account| account.changed_at < settled_before) {
        let day = account.placed_at.date_naive();
        if account.status == OrderStatus::Completed {
            of(day, account.total.currency(), &|sums| sums.orders_minor += account.total.minor());
        }
        for moved in &account.moved {
            of(day, moved.currency, &|sums| match moved.kind {
                LedgerKind::Capture => sums.captured_minor += moved.receivable_minor,
                LedgerKind::Refund => sums.refunded_minor -= moved.receivable_minor,
                // Nothing of it moved at the gateway for an order.
                _ => {}
            });
        }
    }
    for intent in intents.iter().filter(|intent| intent.status == IntentStatus::Succeeded) {
        let Ok(currency) = intent.currency.parse() else { continue };
        let made_at = DateTime::from_timestamp(intent.created_unix, 0).unwrap_or(settled_before);
        let account = intent.order.as_deref().and_then(|order| order.parse().ok()).and_then(|order| placed.get(&order));
        let counted = account.map_or(made_at < settled_before, |account| account.changed_at < settled_before);
        let day = account.map_or(made_at, |account| account.placed_at).date_naive();
        if counted {
            of(day, currency, &|sums| sums.gateway_minor += intent.amount_minor);
        }
    }
    sums.into_values().collect()
}

/// Charges without an order: those whose money is back are no difference any more, those that a longer look knows are none,
/// and the others get into the books and their deadline.
async fn orphans(app: &App, intents: &[Intent], findings: &mut Vec<Finding>) -> Result<(), Failure> {
    let orphan = |finding: &&Finding| finding.kind == FindingKind::ChargeWithoutOrder;
    let references: Vec<String> = findings.iter().filter(orphan).map(|finding| finding.reference.clone()).collect();
    if references.is_empty() {
        return Ok(());
    }
    let mut over = app.store.explained_orphans(&references).await?;
    let open: Vec<&Intent> =
        intents.iter().filter(|intent| references.contains(&intent.id) && !over.contains(&intent.id)).collect();
    for intent in open {
        if orphan_money::is_known(app, intent).await? {
            over.push(intent.id.clone());
            continue;
        }
        orphan_money::found(app, intent, app.gateway.choice()).await?;
    }
    findings.retain(|finding| finding.kind != FindingKind::ChargeWithoutOrder || !over.contains(&finding.reference));
    Ok(())
}

async fn all_charges(app: &App, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<Attempt>, Failure> {
    let mut charges: Vec<Attempt> = Vec::new();
    let mut since = from;
    for _ in 0..MOST_PAGES {
        let page = app.store.charges_between(since, to, PAGE).await?;
        let full = page.len() == usize::from(PAGE);
        let last = page.last().map(|attempt| attempt.created_at);
        // Pages overlap in the last instant; known ones are dropped.
        let fresh: Vec<_> = page
            .into_iter()
            .filter(|attempt| !charges.iter().rev().take(usize::from(PAGE)).any(|known| known.id == attempt.id))
            .collect();
        let stuck = fresh.is_empty();
        charges.extend(fresh);
        match last {
            Some(last) if full && !stuck => since = last,
            _ => return Ok(charges),
        }
    }
    Err(Failure::broken("more charges in the window than one look can compare"))
}

/// Both directions. Pure, so that a table test can show each kind of difference.
fn compare(
    intents: Vec<Intent>,
    charges: &[Attempt],
    from: DateTime<Utc>,
    settled_before: DateTime<Utc>,
) -> Vec<Finding> {
    let ours: BTreeMap<&str, &Attempt> =
        charges.iter().filter_map(|attempt| Some((attempt.intent.as_deref()?, attempt))).collect();
    let theirs: BTreeMap<String, Intent> = intents.into_iter().map(|intent| (intent.id.clone(), intent)).collect();
    let mut findings = Vec::new();
    for intent in theirs.values().filter(|intent| intent.status == IntentStatus::Succeeded) {
        let made_at = DateTime::from_timestamp(intent.created_unix, 0).unwrap_or(settled_before);
        let order = intent.order.as_deref().and_then(|order| order.parse().ok());
        let mut add = |kind, detail: String| {
            let happened_at = Some(made_at);
            findings.push(Finding { kind, reference: intent.id.clone(), order, detail, happened_at });
        };
        match ours.get(intent.id.as_str()) {
            // Near the edge of the window our row may be older than it; those were compared before.
            None if made_at >= from && made_at < settled_before => {
                add(FindingKind::ChargeWithoutOrder, "charged without an attempt of ours".to_owned())
            }
            None => {}
            Some(attempt)
                if attempt.amount.minor() != intent.amount_minor
                    || attempt.amount.currency().code() != intent.currency =>
            {
                add(
                    FindingKind::AmountDiffers,
                    format!("{} {} there, {} here", intent.amount_minor, intent.currency, attempt.amount),
                );
            }
            Some(attempt) if attempt.state != AttemptState::Captured && made_at < settled_before => {
                add(FindingKind::StateDiffers, format!("charged there, {} here", attempt.state));
            }
            Some(_) => {}
        }
    }
    for attempt in
        charges.iter().filter(|attempt| attempt.state == AttemptState::Captured && attempt.created_at < settled_before)
    {
        let charged = attempt
            .intent
            .as_ref()
            .and_then(|id| theirs.get(id))
            .is_some_and(|intent| intent.status == IntentStatus::Succeeded);
        if !charged {
            let reference = attempt.intent.clone().unwrap_or_else(|| attempt.id.to_string());
            let detail = "captured here, not charged there".to_owned();
            findings.push(Finding {
                kind: FindingKind::OrderWithoutCharge,
                reference,
                order: Some(attempt.order),
                detail,
                happened_at: Some(attempt.created_at),
            });
        }
    }
    findings.extend(held_there(&theirs, charges, settled_before));
    findings
}

/// Money that the gateway holds on a card although we have given up: the shopper cannot spend it.
fn held_there<'a>(
    theirs: &'a BTreeMap<String, Intent>,
    charges: &'a [Attempt],
    settled_before: DateTime<Utc>,
) -> impl Iterator<Item = Finding> + 'a {
    let given_up = move |attempt: &&Attempt| {
        matches!(attempt.state, AttemptState::Declined | AttemptState::Voided) && attempt.created_at < settled_before
    };
    charges.iter().filter(given_up).filter_map(|attempt| {
        let intent = theirs.get(attempt.intent.as_deref()?)?;
        (intent.status == IntentStatus::RequiresCapture && !intent.declined).then(|| Finding {
            kind: FindingKind::HeldAfterEnd,
            reference: intent.id.clone(),
            order: Some(attempt.order),
            detail: format!("held there, {} here", attempt.state),
            happened_at: Some(attempt.created_at),
        })
    })
}

/// Money taken for an order that is given up goes back now; open attempts are looked at by the payment worker.
async fn send_back(app: &App, findings: &[Finding], charges: &[Attempt]) -> Result<(), Failure> {
    for finding in findings.iter().filter(|finding| finding.kind == FindingKind::StateDiffers) {
        let Some(attempt) = charges.iter().find(|attempt| attempt.intent.as_ref() == Some(&finding.reference)) else {
            continue;
        };
        if attempt.state.is_settled() {
            match look_for_late_success(app, attempt.clone()).await {
                Ok(_) => {}
                // Somebody else is at it, or our books have this money already; the finding stays open, and one odd order does
                // not keep the others from being looked at.
                Err(failure) if failure.is_lost() => {
                    tracing::warn!(order.id = %attempt.order, "money that looks late cannot be booked now");
                }
                Err(failure) => return Err(failure),
            }
        } else {
            app.store.hint(attempt.order, app.clock.now()).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use common::{Currency, Money, OrderId, Private, Region};

    use super::*;
    use crate::domain::{AttemptKind, PaymentToken};

    fn charge(number: u128, state: AttemptState) -> Attempt {
        let order = OrderId::from_uuid(uuid::Uuid::from_u128(number));
        Attempt {
            id: common::AttemptId::derive(order, 1),
            order,
            number: 1,
            kind: AttemptKind::Charge,
            via: crate::domain::Via::default(),
            amount: Money::from_minor(4990, Region::Eu.currency()).unwrap(),
            token: Private::new(PaymentToken::parse("tok_ok").unwrap()),
            state,
            intent: Some(format!("pi_{number}")),
            capture_requested: true,
            giving_up: None,
            in_doubt: false,
            tries: 0,
            due_at: DateTime::UNIX_EPOCH,
            leased_until: None,
            version: 1,
            traceparent: None,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    fn intent(number: u128, status: IntentStatus) -> Intent {
        Intent {
            id: format!("pi_{number}"),
            status,
            declined: false,
            amount_minor: 4990,
            currency: Currency::Eur.code().to_owned(),
            order: Some(uuid::Uuid::from_u128(number).to_string()),
            attempt: Some(1),
            created_unix: 0,
        }
    }

    fn kinds(intents: Vec<Intent>, charges: &[Attempt]) -> Vec<FindingKind> {
        let later = DateTime::UNIX_EPOCH + chrono::Duration::hours(1);
        compare(intents, charges, DateTime::UNIX_EPOCH, later).into_iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn each_difference_is_found_in_its_direction() {
        use IntentStatus::{Canceled, RequiresCapture, Succeeded};
        let table = [
            (vec![intent(1, Succeeded)], vec![charge(1, AttemptState::Captured)], vec![]),
            (vec![intent(1, Canceled)], vec![charge(1, AttemptState::Declined)], vec![]),
            (vec![intent(1, RequiresCapture)], vec![charge(1, AttemptState::Authorised)], vec![]),
            (vec![intent(1, RequiresCapture)], vec![charge(1, AttemptState::Voided)], vec![FindingKind::HeldAfterEnd]),
            (vec![intent(1, Succeeded)], vec![], vec![FindingKind::ChargeWithoutOrder]),
            (vec![intent(1, Succeeded)], vec![charge(1, AttemptState::Voided)], vec![FindingKind::StateDiffers]),
            (vec![intent(1, Succeeded)], vec![charge(1, AttemptState::Unknown)], vec![FindingKind::StateDiffers]),
            (vec![], vec![charge(1, AttemptState::Captured)], vec![FindingKind::OrderWithoutCharge]),
            (vec![intent(1, Canceled)], vec![charge(1, AttemptState::Captured)], vec![FindingKind::OrderWithoutCharge]),
            (
                vec![Intent { amount_minor: 1, ..intent(1, Succeeded) }],
                vec![charge(1, AttemptState::Captured)],
                vec![FindingKind::AmountDiffers],
            ),
            (
                vec![Intent { currency: "USD".to_owned(), ..intent(1, Succeeded) }],
                vec![charge(1, AttemptState::Captured)],
                vec![FindingKind::AmountDiffers],
            ),
        ];
        for (intents, charges, expected) in table {
            assert_eq!(kinds(intents.clone(), &charges), expected, "{intents:?}");
        }
    }

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
        let found = days(&[there(1), there(2), orphan], &accounts, start, settled_before);
        let only = DaySums {
            day: start.date_naive(),
            currency: Currency::Eur,
            orders_minor: 4990,
            captured_minor: 4990,
            refunded_minor: 0,
            gateway_minor: 9980,
        };
        assert_eq!(found, [only], "the second order is too young to be counted anywhere, the orphan is counted");
        assert_eq!(days(&[there(1)], &accounts, noon, settled_before), [], "half a day is no day");
    }

    #[test]
    fn what_is_still_under_way_is_no_difference() {
        let before = DateTime::UNIX_EPOCH;
        assert!(compare(vec![intent(1, IntentStatus::Succeeded)], &[], before, before).is_empty());
    }
}
