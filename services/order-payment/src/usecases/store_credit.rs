//! Store credit: what we owe people and they may spend. Given by staff, or instead of money that goes back; set aside when an
//! order is placed, spent in the commit that completes it, free again in the commit that gives it up.
//!
//! Decided here: who gives it for nothing, and that an order without a rest needs no gateway. The balance is kept by the
//! books themselves as they are written, and never falls below zero there.

use common::{Explain as _, FieldProblem, Money, OrderId, TransactionId, UserId};
use messaging::{Cause, Committed, RequestKey, StoredAnswer};
use sha2::{Digest as _, Sha256};

use super::one_by_one::Failures;
use super::ports::{Credit, Finding, FindingKind};
use super::refund_order::Asker;
use super::{App, Change, Failure, Shopper};
use crate::domain::card_data::looks_like_card_data;
use crate::domain::quote::LARGEST_CHARGE_MINOR;
use crate::domain::refund::LONGEST_REASON;
use crate::domain::{LedgerKind, OrderStatus, Transaction};
use crate::metrics;

pub const ROUTE: &str = "/v1/admin/store-credit/grants";

/// Orders completed per sweep; the next one comes within seconds.
const SWEEP: u16 = 100;
/// People whose credit is compared by one look, with all of their movements: a hundred thousand in an hour of looks.
const PEOPLE: u16 = 2_000;

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct RawGrant {
    pub user: String,
    /// Decimal text and currency code.
    pub amount: (String, String),
    pub reason: String,
}

/// Credit that was given.
#[derive(Clone, Debug)]
pub struct Grant {
    pub id: TransactionId,
    pub user: UserId,
    pub amount: Money,
}

/// The caller's balance.
///
/// # Errors
/// [`Failure`] when the books cannot be read.
pub async fn balance(app: &App, shopper: Shopper) -> Result<Credit, Failure> {
    if shopper.region != app.region {
        return Err(Failure::Misdirected(shopper.region));
    }
    Ok(app.store.credit_of(shopper.user, app.region.currency()).await?)
}

/// Staff gives credit for nothing. Safe to repeat with the same key; the answer and whether it was given before.
///
/// # Errors
/// [`Failure::Forbidden`] for everybody else, [`Failure::NotFound`] for somebody we do not know.
pub async fn grant(
    app: &App,
    asker: Asker,
    key: &str,
    raw: RawGrant,
    render: impl Fn(&Grant) -> StoredAnswer + Send + Sync,
) -> Result<(StoredAnswer, bool), Failure> {
    if asker.shopper.region != app.region {
        return Err(Failure::Misdirected(asker.shopper.region));
    }
    if !asker.staff {
        return Err(Failure::Forbidden);
    }
    let staff = asker.shopper.user;
    let id = TransactionId::derive("grant", &format!("{staff}/{key}"));
    let (grant, reason) = check(app, id, raw)?;
    let request = RequestKey {
        subject: staff.uuid(),
        method: "POST",
        route: ROUTE,
        key: key.to_owned(),
        fingerprint: Sha256::digest(format!("grant\u{1f}{}\u{1f}{}\u{1f}{reason}", grant.user, grant.amount)).into(),
    };
    let answer = render(&grant);
    let booked = Transaction::grant(id, grant.user, reason, grant.amount, app.clock.now());
    let change = Change { ledger: vec![booked], answer: Some(answer.clone()), ..Change::default() };
    match app.store.commit(Cause::Request(request), change).await? {
        Committed::Repeated(Some(answer)) => Ok((answer, true)),
        Committed::Repeated(None) => Err(Failure::broken("a request was answered but its answer is gone")),
        Committed::Applied => {
            tracing::info!(user.id = %grant.user, grant.id = %id, "store credit given");
            Ok((answer, false))
        }
    }
}

fn check(app: &App, id: TransactionId, raw: RawGrant) -> Result<(Grant, String), Failure> {
    if looks_like_card_data(&raw.reason) {
        return Err(Failure::CardData { pointer: "/reason".to_owned() });
    }
    let mut problems = Vec::new();
    let mut invalid =
        |pointer: &str, message: &str| problems.push(FieldProblem::new(pointer, "invalid-field", message));
    let reason = raw.reason.trim().to_owned();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON || reason.chars().any(char::is_control) {
        invalid("/reason", "1 to 500 characters on one line");
    }
    let currency = app.region.currency();
    if raw.amount.1 != currency.code() {
        invalid("/amount/currency", "not the currency of the region");
    }
    let positive = |amount: &Money| (1..=LARGEST_CHARGE_MINOR).contains(&amount.minor());
    let amount = Money::parse(&raw.amount.0, currency).ok().filter(positive);
    if amount.is_none() {
        invalid("/amount/amount", "a positive amount with the digits of the currency");
    }
    let user = raw.user.parse().ok();
    if user.is_none() {
        invalid("/user_id", "not the id of a person");
    }
    match (user, amount) {
        (Some(user), Some(amount)) if problems.is_empty() => Ok((Grant { id, user, amount }, reason)),
        _ => Err(Failure::Fields(problems)),
    }
}

/// Completes an order whose stock is held and that store credit pays whole. Anything else is left alone. Safe to repeat.
///
/// # Errors
/// [`Failure`] when the books cannot be read or written; the sweep finds the order again.
pub async fn complete_by_credit(app: &App, id: OrderId) -> Result<(), Failure> {
    let Some(order) = app.store.order(id).await? else { return Ok(()) };
    if order.status != OrderStatus::PaymentPending || !order.rest().is_zero() {
        return Ok(());
    }
    let now = app.clock.now();
    let ledger = order.credit_moves(LedgerKind::CreditSpend, now);
    let change = Change { order: Some(order.complete(now)?), ledger, ..Change::default() };
    match app.store.commit(Cause::Duty("pay-by-credit"), change).await.map_err(Failure::from) {
        // Cancelled meanwhile, or completed by another.
        Err(failure) if failure.is_lost() => Ok(()),
        Err(failure) => Err(failure),
        Ok(_) => {
            metrics::transition(Some("PAYMENT_PENDING"), "COMPLETED", "store_credit");
            tracing::info!(order.id = %id, "store credit paid the order");
            app.signals.orders.notify_waiters();
            Ok(())
        }
    }
}

/// Completes what a process that stopped left behind; returns how many it found. One that cannot be completed does not hold up the
/// others.
///
/// # Errors
/// The last [`Failure`] of the sweep, when there was one.
pub async fn sweep_paid_by_credit(app: &App) -> Result<usize, Failure> {
    let waiting = app.store.paid_by_credit(SWEEP).await?;
    let (count, mut failures) = (waiting.len(), Failures::default());
    for id in waiting {
        let Err(failure) = complete_by_credit(app, id).await else { continue };
        tracing::warn!(order.id = %id, error = %failure, code = failure.code(), "an order that credit pays could not be completed");
        if !failures.go_on_after(failure) {
            break;
        }
    }
    failures.outcome().map(|()| count)
}

/// Balances that are not the sum of their movements, as far as the walk over all people has come with this look. Whoever was found before is looked
/// at each time.
pub(super) async fn differences(app: &App) -> Result<Vec<Finding>, Failure> {
    // A balance is of now, so every look covers it.
    let now = app.clock.now();
    let mut walk = app.signals.credit_walk.lock().await;
    let look = app.store.credit_differences(*walk, PEOPLE).await?;
    *walk = look.next;
    let finding = |user: UserId| Finding {
        kind: FindingKind::CreditDiffers,
        reference: user.to_string(),
        order: None,
        detail: "the balance is not the sum of its movements".to_owned(),
        happened_at: Some(now),
    };
    Ok(look.differ.into_iter().map(finding).collect())
}
