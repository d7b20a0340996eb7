//! Compares the gateway's books with ours, in both directions, and our orders with our ledger, again and again. A difference
//! is noted with its age until a later look no longer finds it; money taken for an order that is given up is sent back on
//! the spot. Nothing else is changed: a difference is a person's.
//!
//! The window is walked in slices, so that what is held at once does not grow with what is sold in two days. Decided here: the slices, what is
//! read in which order, and what comes of a difference. What a difference is: `matching` and `domain::accounts`; which of them is asked for again
//! before it is written: `second_look`; what went back: `given_back`; the sums of days: `day_sums`.

mod day_sums;
mod given_back;
mod matching;
mod second_look;

use chrono::{DateTime, Duration, DurationRound as _, Utc};
use messaging::crash::{self, Boundary};

use self::day_sums::Days;
use self::given_back::GivenBack;
use self::matching::{Matching, Matter, Odd};
use super::ports::{Comparison, Finding, FindingKind};
use super::receive_webhook::look_for_late_success;
use super::{App, Failure, held_after_end, orphan_money, store_credit};
use crate::domain::accounts::{Account, Disagreement, disagreements};
use crate::domain::{Attempt, Intent, Via};
use crate::metrics;

/// Orders per slice, and with them about as many charges and intents: some ten megabytes.
const SLICE: u64 = 20_000;
/// Charges read per page.
const PAGE: u16 = 500;
/// Pages, and orders, of one slice. A slice has a minute at least: eight thousand orders a second are beyond this site; it is a limit, not a plan.
const MOST_PAGES: usize = 1_000;
const MOST_ACCOUNTS: u32 = 500_000;
/// Longer than a payment may take to its end.
const RECENT: Duration = Duration::hours(1);
/// For so long after an order was placed its charge may be made, the gateway's clock being what it is: an order is paid, or given up, within a
/// quarter of an hour.
const PAID_WITHIN: Duration = Duration::minutes(30);
/// What the gateway's clock may be ahead of ours.
const AHEAD: Duration = Duration::minutes(10);

/// What one look looks at.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: DateTime<Utc>,
    /// What happened later is still under way.
    settled_before: DateTime<Utc>,
}

/// One look over the whole window. Returns what differs.
///
/// # Errors
/// [`Failure`] when either side cannot be read whole; nothing is noted then, because half a list looks like missing money.
pub async fn reconcile(app: &App) -> Result<Vec<Finding>, Failure> {
    let (now, seen) = (app.clock.now(), look_back(app, app.rules.reconcile_window).await?);
    app.store.note_comparison(&seen, now).await?;
    metrics::reconciled(now.timestamp());
    Ok(seen.findings)
}

/// One look over the last hour, where nearly everything happens: it costs little however much was sold before. What is older is
/// left as the last whole look found it, the sums of days too: an hour sees only a part of what belongs to one.
///
/// # Errors
/// As [`reconcile`].
pub async fn reconcile_recent(app: &App) -> Result<Vec<Finding>, Failure> {
    let now = app.clock.now();
    let seen = Comparison { days: Vec::new(), ..look_back(app, app.rules.reconcile_window.min(RECENT)).await? };
    app.store.note_comparison(&seen, now).await?;
    Ok(seen.findings)
}

/// What differs now between our books and theirs over this time. Money that came late is sent back on the spot; nothing is noted.
async fn look_back(app: &App, length: Duration) -> Result<Comparison, Failure> {
    let now = app.clock.now();
    let window = Window { since: now - length, settled_before: now - app.rules.reconcile_grace };
    let (mut matching, mut days, mut findings) = (Matching::new(window), Days::new(window), Vec::new());
    let mut given_back = GivenBack::new(window);
    for (from, to) in slices(app, window.since - PAID_WITHIN, now + AHEAD).await? {
        let intents =
            crash::around(Boundary::GatewayList, app.gateway.made_between(from.timestamp(), to.timestamp() - 1))
                .await?
                .map_err(|reason| Failure::Broken(format!("the gateway's list is not complete: {reason}")))?;
        // Ours are read after theirs: what they know and we made meanwhile is found, not missed.
        let until = to - Duration::microseconds(1);
        let charges = all_charges(app, from, until).await?;
        let (first, last) = (from.max(window.since), until.min(window.settled_before));
        let accounts = if first <= last {
            let read = app.store.accounts_between(first, last, MOST_ACCOUNTS).await?;
            read.ok_or_else(|| Failure::broken("more orders in one slice than can be compared"))?
        } else {
            Vec::new()
        };
        let holds = held_after_end::old_holds(intents.iter().map(|(_, intent)| intent), window.settled_before);
        findings.extend(held_after_end::without_an_id(app, holds).await?);
        days.add(from, &accounts, intents.iter().map(|(_, intent)| intent));
        findings.extend(
            accounts.iter().filter(|account| account.changed_at < window.settled_before).flat_map(in_our_books),
        );
        matching.add(from, intents, charges)?;
        given_back.add(from, &accounts, matching.take_went_back())?;
    }
    findings.extend(given_back.end());
    let odd = second_look::confirmed(app, window, matching.end()).await?;
    let odd = orphans(app, odd).await?;
    findings.extend(odd.iter().map(|odd| odd.finding.clone()));
    findings.extend(store_credit::differences(app).await?);
    for finding in &findings {
        tracing::error!(
            kind = finding.kind.code(),
            reference = finding.reference,
            detail = finding.detail,
            "books differ"
        );
    }
    send_back(app, &odd).await?;
    Ok(Comparison { since: window.since, findings, days: days.sums() })
}

/// The window in slices of whole minutes, from the first instant up to but without the last, each with few enough orders.
async fn slices(
    app: &App,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
) -> Result<Vec<(DateTime<Utc>, DateTime<Utc>)>, Failure> {
    let minute = Duration::minutes(1);
    let whole = |at: DateTime<Utc>| at.duration_trunc(minute).unwrap_or(at);
    let placed = app.store.placed_per_minute(first, last).await?;
    Ok(cut(whole(first), whole(last) + minute, &placed))
}

/// Cuts before a minute that would be too much for its slice. `placed`: the beginning of each minute with orders, and how many.
fn cut(
    first: DateTime<Utc>,
    last: DateTime<Utc>,
    placed: &[(DateTime<Utc>, u64)],
) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let (mut slices, mut from, mut orders) = (Vec::new(), first, 0);
    for (minute, count) in placed {
        if orders + count > SLICE && *minute > from {
            slices.push((from, *minute));
            (from, orders) = (*minute, 0);
        }
        orders += count;
    }
    slices.push((from, last));
    slices
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

/// Charges without an order: those whose money is back are no difference any more, those that a longer look knows are none,
/// and the others get into the books and their deadline.
async fn orphans(app: &App, odd: Vec<Odd>) -> Result<Vec<Odd>, Failure> {
    let references: Vec<String> =
        odd.iter().filter_map(|odd| stray(odd).map(|(_, intent)| intent.id.clone())).collect();
    if references.is_empty() {
        return Ok(odd);
    }
    let mut over = app.store.explained_orphans(&references).await?;
    for (via, intent) in odd.iter().filter_map(stray) {
        if over.contains(&intent.id) {
            continue;
        }
        if orphan_money::is_known(app, intent).await? {
            over.push(intent.id.clone());
            continue;
        }
        // It goes back where it came from, wherever new payments begin now.
        orphan_money::found(app, intent, via.clone()).await?;
    }
    Ok(odd.into_iter().filter(|odd| stray(odd).is_none_or(|(_, intent)| !over.contains(&intent.id))).collect())
}

fn stray(odd: &Odd) -> Option<(&Via, &Intent)> {
    match &odd.about {
        Matter::Stray(via, intent) => Some((via, intent)),
        Matter::Attempt(_) => None,
    }
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

/// Money taken for an order that is given up goes back now; open attempts are looked at by the payment worker.
async fn send_back(app: &App, odd: &[Odd]) -> Result<(), Failure> {
    for odd in odd.iter().filter(|odd| odd.finding.kind == FindingKind::StateDiffers) {
        let Matter::Attempt(attempt) = &odd.about else { continue };
        if attempt.state.is_settled() {
            match look_for_late_success(app, (**attempt).clone()).await {
                Ok(_) => {}
                // Somebody else is at it, or our books have this money already; the finding stays open, and one odd order does
                // not keep the others from being looked at.
                Err(failure) if failure.is_lost() => {
                    tracing::warn!(order.id = %attempt.order, "money that looks late cannot be booked now");
                }
                Err(failure) => return Err(failure),
            }
        } else {
            app.store.hint(&[attempt.order], app.clock.now()).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_follow_each_other_without_a_gap_and_none_is_too_large_but_a_single_minute() {
        let minute = |count: i64| DateTime::UNIX_EPOCH + Duration::minutes(count);
        let (first, last) = (minute(0), minute(100));
        assert_eq!(cut(first, last, &[]), [(first, last)], "nothing sold is one slice");
        assert_eq!(cut(first, last, &[(minute(3), SLICE), (minute(99), 0)]), [(first, last)]);
        let busy =
            [(minute(0), 5 * SLICE), (minute(1), 1), (minute(2), SLICE - 1), (minute(50), 1), (minute(51), SLICE)];
        let cut = cut(first, last, &busy);
        assert_eq!(
            cut,
            [(first, minute(1)), (minute(1), minute(50)), (minute(50), minute(51)), (minute(51), last)],
            "the first minute alone is more than a slice"
        );
    }
}
