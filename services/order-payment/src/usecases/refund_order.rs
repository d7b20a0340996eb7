//! `RefundOrder`: money of a completed order goes back, all of it or part. The answer 201 means that the refund is durable; to
//! the card it is carried by the payment worker like any other attempt, as store credit it is done with the same commit.
//!
//! Decided here: who may ask. Staff may for any order of the region; the owner only for the whole of an order that has not
//! been sent, within a window that an operator has to open (ADR 0022). Decided in `domain::refund`: how much.

use common::{AttemptId, FieldProblem, Money, OrderId, RefundId, Region, Sku};
use messaging::{Cause, CommitError, Committed, RequestKey, StoredAnswer};
use sha2::{Digest as _, Sha256};

use super::error::Conflict;
use super::{App, AttemptStep, Change, Failure, RefundStep, RefundTold, Shopper};
use crate::domain::card_data::looks_like_card_data;
use crate::domain::refund::{LONGEST_REASON, RefundProblem, decide, done_minor, is_whole};
use crate::domain::{Attempt, AttemptState, Order, Refund, RefundLine, RefundState, RefundTarget, Transaction, Wish};
use crate::metrics;

pub const ROUTE: &str = "/v1/orders/{id}/refunds";

/// Refunds of one order that meet: each process decides one at a time, so only processes meet, and there are few.
const MOST_MEETINGS: u32 = 16;

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct RawRefund {
    /// Decimal text and currency code.
    pub amount: Option<(String, String)>,
    pub lines: Option<Vec<(String, u32)>>,
    pub reason: String,
    pub target: Option<String>,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    pub shopper: Shopper,
    pub staff: bool,
}

#[derive(Clone, Debug)]
pub struct Refunded {
    pub answer: StoredAnswer,
    pub replayed: bool,
}

#[derive(Clone, Debug)]
struct Command {
    wish: Wish,
    target: Option<RefundTarget>,
    reason: String,
}

/// Safe to repeat with the same key.
///
/// # Errors
/// [`Failure::RefundExceeds`] beyond what is left, [`Failure::StateConflict`] unless the order is paid.
pub async fn refund_order(
    app: &App,
    asker: Asker,
    key: &str,
    id: OrderId,
    raw: RawRefund,
    render: impl Fn(&Refund) -> StoredAnswer + Send + Sync,
) -> Result<Refunded, Failure> {
    if asker.shopper.region != app.region {
        return Err(Failure::Misdirected(asker.shopper.region));
    }
    let command = check(raw, app.region)?;
    let request = RequestKey {
        subject: asker.shopper.user.uuid(),
        method: "POST",
        route: ROUTE,
        key: key.to_owned(),
        fingerprint: fingerprint(id, &command),
    };
    let refund = RefundId::derive(id, &format!("{}/{key}", asker.shopper.user));
    for _ in 0..MOST_MEETINGS {
        if let Some(answer) = app.store.find_answer(&request).await? {
            metrics::replay(ROUTE);
            return Ok(Refunded { answer, replayed: true });
        }
        let desk = app.signals.refund_desk.lock().await;
        let outcome = try_refund(app, asker, request.clone(), refund, id, &command, &render).await;
        drop(desk);
        match outcome {
            Err(failure) if failure.is_lost() => {}
            // The order is held by another refund's commit, or a twin of this request is under way: the next look tells.
            Err(Failure::Commit(CommitError::InProgress)) => {}
            outcome => return outcome,
        }
    }
    Err(Failure::Commit(CommitError::Refused(Conflict::Lost)))
}

async fn try_refund(
    app: &App,
    asker: Asker,
    request: RequestKey,
    refund: RefundId,
    id: OrderId,
    command: &Command,
    render: &(dyn Fn(&Refund) -> StoredAnswer + Send + Sync),
) -> Result<Refunded, Failure> {
    let order = app.store.order(id).await?.ok_or(Failure::NotFound)?;
    may_ask(app, asker, &order, command).await?;
    let before = app.store.refunds_of(id).await?;
    // The key's row is pruned after 30 days; the refund still knows its id.
    if let Some(known) = before.iter().find(|known| known.id == refund) {
        return Ok(Refunded { answer: render(known), replayed: true });
    }
    let (amount, target) = decide(&order, &before, &command.wish, command.target).map_err(refused)?;
    let now = app.clock.now();
    let lines = if let Wish::Lines(lines) = &command.wish { lines.clone() } else { Vec::new() };
    let mut asked = Refund {
        id: refund,
        order: id,
        number: u32::try_from(before.len()).unwrap_or(u32::MAX).saturating_add(1),
        attempt: None,
        amount,
        target,
        reason: command.reason.clone(),
        asked_by: Some(asker.shopper.user),
        state: RefundState::Open,
        lines,
        asked_at: now,
        ended_at: None,
    };
    let mut change = Change::default();
    match target {
        RefundTarget::Card => {
            let attempt = to_card(app, &order, &before, amount).await?;
            asked.attempt = Some(attempt.number);
            change.attempts.push(AttemptStep::new(attempt));
            change.refunds.push(RefundStep { is_new: true, refund: asked.clone(), told: None });
        }
        RefundTarget::StoreCredit => {
            asked = asked.ended(RefundState::Done, now);
            change.ledger.push(Transaction::refund_to_credit(id, order.user, refund, amount, now));
            let whole = is_whole(&order, &[&before[..], std::slice::from_ref(&asked)].concat());
            let told = Some(RefundTold { whole, before_minor: done_minor(&before) });
            change.refunds.push(RefundStep { is_new: true, refund: asked.clone(), told });
        }
    }
    let answer = render(&asked);
    change.answer = Some(answer.clone());
    match app.store.commit(Cause::Request(request), change).await? {
        Committed::Repeated(Some(answer)) => return Ok(Refunded { answer, replayed: true }),
        Committed::Repeated(None) => return Err(Failure::broken("a request was answered but its answer is gone")),
        Committed::Applied => {}
    }
    metrics::refund(target.code(), asked.state.code());
    tracing::info!(order.id = %id, refund.id = %refund, refund.target = target.code(), "refund accepted");
    app.signals.payments.notify_one();
    Ok(Refunded { answer, replayed: false })
}

/// The attempt that carries money back to the card it came from.
async fn to_card(app: &App, order: &Order, before: &[Refund], amount: Money) -> Result<Attempt, Failure> {
    let charge = app.store.charge_of(order.id).await?.filter(|charge| charge.state == AttemptState::Captured);
    let charge = charge.ok_or(Failure::StateConflict("the payment's outcome is not known"))?;
    let last = before.iter().filter_map(|refund| refund.attempt).max().unwrap_or_default().max(charge.number);
    Ok(Attempt::refund_of(&charge, last.saturating_add(1), amount, app.clock.now()))
}

async fn may_ask(app: &App, asker: Asker, order: &Order, command: &Command) -> Result<(), Failure> {
    if asker.staff {
        return Ok(());
    }
    if order.user != asker.shopper.user {
        return Err(Failure::NotFound);
    }
    let in_time = app.clock.now() - order.created_at < app.rules.owner_refund_window;
    if !in_time || command.wish != Wish::Rest {
        return Err(Failure::Forbidden);
    }
    let sent = app.views.order(order.user, order.id).await?.is_none_or(|view| view.shipment.is_some());
    if sent { Err(Failure::Forbidden) } else { Ok(()) }
}

fn check(raw: RawRefund, region: Region) -> Result<Command, Failure> {
    if looks_like_card_data(&raw.reason) {
        return Err(Failure::CardData { pointer: "/reason".to_owned() });
    }
    let mut problems = Vec::new();
    let mut invalid =
        |pointer: String, message: &str| problems.push(FieldProblem::new(pointer, "invalid-field", message));
    let reason = raw.reason.trim().to_owned();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON || reason.chars().any(char::is_control) {
        invalid("/reason".to_owned(), "1 to 500 characters on one line");
    }
    let target = match raw.target.as_deref() {
        None => None,
        Some("card") => Some(RefundTarget::Card),
        Some("store_credit") => Some(RefundTarget::StoreCredit),
        Some(_) => {
            invalid("/to".to_owned(), "must be card or store_credit");
            None
        }
    };
    let wish = match (raw.amount, raw.lines) {
        (None, None) => Wish::Rest,
        (Some(_), Some(_)) => {
            invalid("/lines".to_owned(), "either an amount or lines");
            Wish::Rest
        }
        (Some((amount, currency)), None) => {
            if currency != region.currency().code() {
                invalid("/amount/currency".to_owned(), "not the currency of the order");
            }
            match Money::parse(&amount, region.currency()).ok().filter(|amount| amount.minor() > 0) {
                Some(amount) => Wish::Amount(amount),
                None => {
                    invalid("/amount/amount".to_owned(), "a positive amount with the digits of the currency");
                    Wish::Rest
                }
            }
        }
        (None, Some(lines)) => {
            let mut wished: Vec<RefundLine> = Vec::new();
            if lines.is_empty() {
                invalid("/lines".to_owned(), "at least one line");
            }
            for (index, (sku, quantity)) in lines.into_iter().enumerate() {
                match Sku::parse(&sku).ok().filter(|sku| quantity > 0 && wished.iter().all(|line| line.sku != *sku)) {
                    Some(sku) => wished.push(RefundLine { sku, quantity }),
                    None => invalid(format!("/lines/{index}"), "a SKU once, with a quantity from 1"),
                }
            }
            Wish::Lines(wished)
        }
    };
    if problems.is_empty() { Ok(Command { wish, target, reason }) } else { Err(Failure::Fields(problems)) }
}

fn refused(problem: RefundProblem) -> Failure {
    match problem {
        RefundProblem::NotPaid => Failure::StateConflict("the order is not completed"),
        RefundProblem::TooMany => Failure::StateConflict("the order has as many refunds as it can have"),
        RefundProblem::Exceeds => Failure::RefundExceeds(Vec::new()),
        RefundProblem::LineExceeds(index) => Failure::RefundExceeds(vec![FieldProblem::new(
            format!("/lines/{index}"),
            "refund-exceeds-capture",
            "not of this order, or more than is left of it",
        )]),
        RefundProblem::OtherCurrency => Failure::Fields(vec![FieldProblem::new(
            "/amount/currency",
            "invalid-field",
            "not the currency of the order",
        )]),
    }
}

/// SHA-256 of what is asked for and of which order; the order of lines does not matter.
fn fingerprint(order: OrderId, command: &Command) -> [u8; 32] {
    let wish = match &command.wish {
        Wish::Rest => "rest".to_owned(),
        Wish::Amount(amount) => format!("amount {amount}"),
        Wish::Lines(lines) => {
            let mut lines: Vec<_> = lines.iter().map(|line| format!("{} {}", line.sku, line.quantity)).collect();
            lines.sort();
            format!("lines {}", lines.join(","))
        }
    };
    let target = command.target.map_or("any", RefundTarget::code);
    Sha256::digest(format!("refund\u{1f}{order}\u{1f}{wish}\u{1f}{target}\u{1f}{}", command.reason)).into()
}

/// The attempt of a refund.
pub fn attempt_id(refund: &Refund) -> Option<AttemptId> {
    refund.attempt.map(|number| AttemptId::derive(refund.order, number))
}
