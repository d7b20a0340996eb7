//! `ProcessPayment`: carries each attempt from its intent to its outcome. One path for good days and for what a crash left:
//! it takes no input, looks at the state, does one step, commits what it learned, and goes on.
//!
//! Decided here: what is committed between two calls, and what the outcome writes (attempt, ledger, order, event: one
//! commit). Decided in `domain::settle`: which step comes next.

use common::{Explain as _, RefundId};
use messaging::Cause;
use messaging::crash::{self, Boundary, Crashed};
use tracing::Instrument as _;

use super::compensate_order::{ended, told};
use super::ports::{Finding, FindingKind};
use super::screen_payments::{assess, screen};
use super::{App, AttemptStep, Change, Failure, RefundStep, RefundTold};
use crate::domain::refund::{done_minor, is_whole};
use crate::domain::settle::{self, Lesson, Outcome, Step};
use crate::domain::{
    Attempt, AttemptKind, AttemptState, Call, Intent, LedgerKind, Order, OrderStatus, Refund, RefundState,
    RefundTarget, Transaction,
};
use crate::metrics;

/// Attempts one worker carries at a time. One in a hundred calls that hangs for its ten seconds doubles the time of the average payment; with
/// sixteen places a campaign of orders with such calls was paid at a quarter of the rate at which it was accepted. The gateway's breaker and
/// the pool of connections bound what is asked of either.
pub const CONCURRENCY: usize = 64;
/// Steps of one attempt per claim. A whole payment takes seven; the limit breaks a circle that should not be.
const MOST_STEPS: usize = 16;

/// Takes up to `free` due attempts, for this worker alone until the lease ends; those that have to wait for others of the same
/// person are back already.
///
/// # Errors
/// [`Failure`] when the books cannot be read or written.
pub async fn claim_payments(app: &App, free: usize) -> Result<Vec<Attempt>, Failure> {
    let now = app.clock.now();
    let limit = u16::try_from(free).unwrap_or(u16::MAX);
    let claimed = app.store.claim_due(now, now + app.rules.payment_lease, limit).await?;
    Ok(screen(app, claimed).await)
}

/// Carries one claimed attempt as far as it goes; what happens to it is logged with it. Gives back the claim of a step that could
/// not be committed, or that claim itself when even this was not possible: without a connection both fail, and the lease ends
/// by itself unless the caller tries again.
pub async fn carry_claimed(app: &App, attempt: Attempt) -> Option<Attempt> {
    let (id, claimed) = (attempt.order, attempt.clone());
    let failure = process_payment(app, attempt).await.err()?;
    if failure.is_crash() {
        return None;
    }
    if failure.is_lost() {
        // Somebody else changed the attempt, and goes on with it; or another attempt of the order came first, and this one is
        // still ours. A claim that is somebody else's by now is not given back, so both are done alike.
        tracing::debug!(order.id = %id, "payment lost to another change");
    } else {
        tracing::warn!(order.id = %id, error = %failure, code = failure.code(), "payment step could not be committed");
    }
    (!give_back(app, &claimed).await).then_some(claimed)
}

/// A step that could not be committed waits a second, not for the end of its lease. Whoever goes on looks at the gateway
/// first. Says whether it is given back.
pub async fn give_back(app: &App, claimed: &Attempt) -> bool {
    let given_back = give_back_at(app, claimed, app.clock.now() + chrono::Duration::seconds(1)).await;
    if given_back {
        app.signals.payments.notify_one();
    }
    given_back
}

/// Gives a claim back until then. Says whether it is.
pub(super) async fn give_back_at(app: &App, claimed: &Attempt, due_at: chrono::DateTime<chrono::Utc>) -> bool {
    match app.store.let_go(claimed, due_at).await {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(order.id = %claimed.order, error = %error, "an attempt could not be given back");
            false
        }
    }
}

/// One round: claims what is due and carries it as far as it goes. Returns how many attempts it claimed.
///
/// # Errors
/// [`Failure`] when nothing could be claimed.
pub async fn process_payments(app: &App) -> Result<usize, Failure> {
    let claimed = claim_payments(app, CONCURRENCY).await?;
    let count = claimed.len();
    futures::future::join_all(claimed.into_iter().map(|attempt| carry_claimed(app, attempt))).await;
    Ok(count)
}

/// Carries one claimed attempt, within the order's trace.
///
/// # Errors
/// [`Failure`]; the attempt stays as last committed and is claimed again when its lease ends.
pub async fn process_payment(app: &App, attempt: Attempt) -> Result<(), Failure> {
    let span = tracing::info_span!(
        "payment.process",
        order.id = %attempt.order,
        payment.attempt = attempt.number,
        payment.kind = attempt.kind.code(),
    );
    if let Some(traceparent) = &attempt.traceparent {
        contracts::trace::set_parent(&span, traceparent);
    }
    carry(app, attempt).instrument(span).await
}

async fn carry(app: &App, mut held: Attempt) -> Result<(), Failure> {
    let mut seen: Option<Intent> = None;
    if !assess(app, &mut held).await? {
        let mut attempt = held.clone();
        settle::later(&mut attempt, app.clock.now());
        return put_off(app, &held, attempt).await;
    }
    settle::taken_up(&mut held);
    for _ in 0..MOST_STEPS {
        let mut attempt = held.clone();
        let lesson = match settle::next(&attempt, seen.as_ref()) {
            Step::Rest => return Ok(()),
            Step::Wait => settle::later(&mut attempt, app.clock.now()),
            Step::Record(mark) => {
                settle::record(&mut attempt, mark, app.clock.now());
                Lesson::GoOn(seen.take())
            }
            Step::Settle(outcome) => Lesson::Settled(outcome),
            Step::Send(_) | Step::Ask(_) if !lease_covers_a_call(app, &held) => {
                attempt.due_at = app.clock.now();
                Lesson::Later
            }
            Step::Send(call) if attempt.via.flow.gates(call) && !gate_is_open(app).await? => {
                settle::gate_closed(&mut attempt, app.clock.now());
                Lesson::Later
            }
            Step::Send(call) => {
                let answer = crash::around(boundary_of(call), app.gateway.send(call, &attempt)).await?;
                settle::learn(&mut attempt, call, answer, app.clock.now())
            }
            Step::Ask(look) => {
                let answer = crash::around(Boundary::GatewayLook, app.gateway.look(look, &attempt)).await?;
                settle::learn_from_look(&mut attempt, look, answer, app.clock.now())
            }
        };
        match lesson {
            Lesson::GoOn(intent) => {
                seen = intent;
                held = keep(app, &held, attempt).await?;
            }
            Lesson::Settled(outcome) => return settle_attempt(app, held.version, attempt, outcome).await,
            Lesson::Later => return put_off(app, &held, attempt).await,
            Lesson::Alarm(reason) => {
                metrics::alarm("gateway");
                tracing::error!(order.id = %attempt.order, payment.state = %attempt.state, reason, "payment needs a person");
                return put_off(app, &held, attempt).await;
            }
        }
    }
    let mut attempt = held.clone();
    settle::later(&mut attempt, app.clock.now());
    put_off(app, &held, attempt).await
}

/// No call is begun that could outlive our time with the attempt: whoever claims it next has it to itself for the whole call.
pub(super) fn lease_covers_a_call(app: &App, held: &Attempt) -> bool {
    held.leased_until.is_none_or(|until| app.clock.now() + app.rules.gateway_timeout < until)
}

pub(super) fn boundary_of(call: Call) -> Boundary {
    match call {
        Call::Create => Boundary::GatewayCreate,
        Call::Confirm => Boundary::GatewayConfirm,
        Call::Capture => Boundary::GatewayCapture,
        Call::Cancel => Boundary::GatewayCancel,
        Call::Refund => Boundary::GatewayRefund,
    }
}

pub(super) async fn gate_is_open(app: &App) -> Result<bool, Crashed> {
    match crash::around(Boundary::PassGate, app.gate.pass()).await? {
        Ok(()) => Ok(true),
        Err(closed) => {
            tracing::warn!(reason = %closed, "payment is held at the gate");
            Ok(false)
        }
    }
}

/// Commits what was learned, if anything was.
async fn keep(app: &App, held: &Attempt, attempt: Attempt) -> Result<Attempt, Failure> {
    if attempt == *held {
        return Ok(attempt);
    }
    let duty = learned(held, &attempt);
    let step = AttemptStep::after(held.version, attempt);
    let kept = step.attempt.clone();
    commit(app, duty, Change { attempts: vec![step], ..Change::default() }).await?;
    Ok(kept)
}

/// The duty under which a change of an attempt is committed: each has a row in the table of boundaries.
fn learned(held: &Attempt, attempt: &Attempt) -> &'static str {
    if held.leased_until.is_some() && attempt.leased_until.is_none() {
        "payment-put-off"
    } else if held.giving_up != attempt.giving_up {
        "payment-declined"
    } else if held.intent != attempt.intent {
        "payment-created"
    } else if held.state == attempt.state {
        "payment-noted"
    } else if attempt.state == AttemptState::Authorised {
        "payment-authorised"
    } else {
        "payment-sent"
    }
}

/// Commits what was learned and lets go of the attempt until it is due again.
async fn put_off(app: &App, held: &Attempt, mut attempt: Attempt) -> Result<(), Failure> {
    attempt.leased_until = None;
    if attempt.state == AttemptState::Unknown && held.state != AttemptState::Unknown {
        metrics::attempt("unknown");
        tracing::warn!(order.id = %attempt.order, "payment outcome is unknown; it will be asked for");
    }
    keep(app, held, attempt).await.map(drop)
}

/// The outcome: attempt, ledger, order and event in one commit.
async fn settle_attempt(app: &App, version: i64, mut attempt: Attempt, outcome: Outcome) -> Result<(), Failure> {
    attempt.leased_until = None;
    match (attempt.kind, outcome) {
        (AttemptKind::Charge, Outcome::Captured) => captured(app, version, attempt).await,
        (AttemptKind::Charge, Outcome::GivenUp) => given_up(app, version, attempt).await,
        (AttemptKind::Refund, Outcome::Captured) => refunded(app, version, attempt).await,
        (AttemptKind::Refund, Outcome::GivenUp) => refund_refused(app, version, attempt).await,
    }
}

/// The pivot: from here everything can only go forward. An order that was given up before gets its money back, by an
/// attempt that is part of the same commit.
pub(super) async fn captured(app: &App, version: i64, mut attempt: Attempt) -> Result<(), Failure> {
    let now = app.clock.now();
    let order =
        app.store.order(attempt.order).await?.ok_or_else(|| Failure::UnknownOrder(attempt.order.to_string()))?;
    attempt.state = AttemptState::Captured;
    let id = order.id;
    let mut change =
        Change { ledger: vec![Transaction::capture(id, attempt.id, attempt.amount, now)], ..Change::default() };
    let late = match order.status {
        OrderStatus::PaymentPending => {
            change.ledger.extend(order.credit_moves(LedgerKind::CreditSpend, now));
            change.order = Some(order.complete(now)?);
            false
        }
        OrderStatus::Compensated => {
            let back = Attempt::refund_of(&attempt, attempt.number + 1, attempt.amount, now);
            let refund = sent_back(&order, &back, now);
            change.refunds.push(RefundStep { is_new: true, refund, told: None });
            change.attempts.push(AttemptStep::new(back));
            true
        }
        OrderStatus::Created | OrderStatus::Completed => {
            return Err(Failure::broken(format!("money was taken for order {id} in {}", order.status)));
        }
    };
    change.attempts.insert(0, AttemptStep::after(version, attempt));
    commit(app, if late { "payment-late-success" } else { "payment-captured" }, change).await?;
    if late {
        metrics::attempt("late_success");
        tracing::error!(order.id = %id, "money was taken for an order that is given up; it goes back");
        app.signals.payments.notify_one();
    } else {
        metrics::attempt("captured");
        metrics::transition(Some("PAYMENT_PENDING"), "COMPLETED", "captured");
        tracing::info!(order.id = %id, "payment captured");
        app.signals.orders.notify_waiters();
    }
    Ok(())
}

async fn given_up(app: &App, version: i64, mut attempt: Attempt) -> Result<(), Failure> {
    let now = app.clock.now();
    let order =
        app.store.order(attempt.order).await?.ok_or_else(|| Failure::UnknownOrder(attempt.order.to_string()))?;
    let (state, reason) = attempt.ending();
    attempt.state = state;
    attempt.giving_up = Some(reason);
    let (id, from, is_refused) = (order.id, order.status, attempt.refused_by.is_some());
    let compensates = !from.is_final();
    let change = if compensates { ended(order, reason, now)? } else { Change::default() };
    let change = Change { attempts: vec![AttemptStep::after(version, attempt)], ..change };
    commit(app, "payment-given-up", change).await?;
    metrics::attempt(&if is_refused { "refused".to_owned() } else { state.code().to_ascii_lowercase() });
    if compensates {
        told(app, id, from, reason);
    }
    Ok(())
}

/// The refund that a charge which came too late brings with it.
fn sent_back(order: &Order, back: &Attempt, now: chrono::DateTime<chrono::Utc>) -> Refund {
    Refund {
        id: RefundId::derive(order.id, "late-success"),
        order: order.id,
        number: 1,
        attempt: Some(back.number),
        amount: back.amount,
        target: RefundTarget::Card,
        reason: "the order had ended when the money was taken".to_owned(),
        asked_by: None,
        state: RefundState::Open,
        lines: Vec::new(),
        asked_at: now,
        ended_at: None,
    }
}

/// The money is back. Others hear of it, with the books in one commit, when it was a sale.
pub(super) async fn refunded(app: &App, version: i64, mut attempt: Attempt) -> Result<(), Failure> {
    let now = app.clock.now();
    attempt.state = AttemptState::Captured;
    let id = attempt.order;
    let mut change =
        Change { ledger: vec![Transaction::refund(id, attempt.id, attempt.amount, now)], ..Change::default() };
    let order = app.store.order(id).await?.ok_or_else(|| Failure::UnknownOrder(id.to_string()))?;
    let mut refunds = app.store.refunds_of(id).await?;
    let before_minor = done_minor(&refunds);
    // An attempt of the release before this one has no refund beside it; the books say enough.
    if let Some(refund) = refunds.iter_mut().find(|refund| refund.attempt == Some(attempt.number)) {
        *refund = refund.clone().ended(RefundState::Done, now);
        let refund = refund.clone();
        // Another refund may end between this look and the commit; then the books refuse, and the next try knows of it.
        let told = (order.status == OrderStatus::Completed)
            .then(|| RefundTold { whole: is_whole(&order, &refunds), before_minor });
        change.refunds.push(RefundStep { is_new: false, refund, told });
    }
    change.attempts.push(AttemptStep::after(version, attempt));
    commit(app, "payment-refunded", change).await?;
    metrics::attempt("refunded");
    metrics::refund(RefundTarget::Card.code(), RefundState::Done.code());
    tracing::info!(order.id = %id, "payment refunded");
    Ok(())
}

/// The gateway will not give it back: the refund ends where people see it, and a person has to find another way.
async fn refund_refused(app: &App, version: i64, mut attempt: Attempt) -> Result<(), Failure> {
    let now = app.clock.now();
    attempt.state = attempt.ending().0;
    let id = attempt.order;
    let refunds = app.store.refunds_of(id).await?;
    let refund = refunds.into_iter().find(|refund| refund.attempt == Some(attempt.number));
    let finding = Finding {
        kind: FindingKind::RefundRefused,
        reference: attempt.id.to_string(),
        order: Some(id),
        detail: format!("the gateway does not give {} back", attempt.amount),
        happened_at: Some(now),
    };
    let step =
        |refund: Refund| RefundStep { is_new: false, refund: refund.ended(RefundState::Refused, now), told: None };
    let change = Change {
        refunds: refund.into_iter().map(step).collect(),
        findings: vec![(finding, now)],
        attempts: vec![AttemptStep::after(version, attempt)],
        ..Change::default()
    };
    commit(app, "payment-refund-refused", change).await?;
    metrics::attempt("refund_refused");
    metrics::alarm("refund");
    metrics::refund(RefundTarget::Card.code(), RefundState::Refused.code());
    tracing::error!(order.id = %id, "the gateway refused a refund; it needs a person");
    Ok(())
}

async fn commit(app: &App, duty: &'static str, change: Change) -> Result<(), Failure> {
    app.store.commit(Cause::Duty(duty), change).await?;
    Ok(())
}
