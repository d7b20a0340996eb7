//! `ProcessPayment`: carries each attempt from its intent to its outcome. One path for good days and for what a crash left:
//! it takes no input, looks at the state, does one step, commits what it learned, and goes on.
//!
//! Decided here: what is committed between two calls, and what the outcome writes (attempt, ledger, order, event: one
//! commit). Decided in `domain::settle`: which step comes next.

use common::Explain as _;
use messaging::{Cause, crash};
use tracing::Instrument as _;

use super::compensate_order::told;
use super::{App, AttemptStep, Change, Failure};
use crate::domain::settle::{self, Lesson, Outcome, Step};
use crate::domain::{Attempt, AttemptKind, AttemptState, Intent, OrderStatus, Transaction};
use crate::metrics;

/// Attempts one worker carries at a time: a handful of calls that hang do not hold up the others, and the gateway sees no
/// burst.
pub const CONCURRENCY: usize = 16;
/// Steps of one attempt per claim. A whole payment takes eight; the limit breaks a circle that should not be.
const MOST_STEPS: usize = 16;

/// Takes up to `free` due attempts, for this worker alone until the lease ends.
///
/// # Errors
/// [`Failure`] when the books cannot be read or written.
pub async fn claim_payments(app: &App, free: usize) -> Result<Vec<Attempt>, Failure> {
    let now = app.clock.now();
    let limit = u16::try_from(free).unwrap_or(u16::MAX);
    Ok(app.store.claim_due(now, now + app.rules.payment_lease, limit).await?)
}

/// Carries one claimed attempt as far as it goes; what happens to it is logged with it.
pub async fn carry_claimed(app: &App, attempt: Attempt) {
    let id = attempt.order;
    match process_payment(app, attempt).await {
        Ok(()) => {}
        // Somebody else changed the attempt; whoever that was goes on with it.
        Err(failure) if failure.is_lost() => tracing::debug!(order.id = %id, "payment is in other hands"),
        Err(failure) => {
            tracing::warn!(order.id = %id, error = %failure, code = failure.code(), "payment step could not be committed");
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
            Step::Send(call) if attempt.via.flow.gates(call) && !gate_is_open(app).await => {
                settle::gate_closed(&mut attempt, app.clock.now());
                Lesson::Later
            }
            Step::Send(call) => {
                crash::point("payment.before_send")?;
                let answer = app.gateway.send(call, &attempt).await;
                crash::point("payment.after_send")?;
                settle::learn(&mut attempt, call, answer, app.clock.now())
            }
            Step::Ask(look) => {
                let answer = app.gateway.look(look, &attempt).await;
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
fn lease_covers_a_call(app: &App, held: &Attempt) -> bool {
    held.leased_until.is_none_or(|until| app.clock.now() + app.rules.gateway_timeout < until)
}

async fn gate_is_open(app: &App) -> bool {
    match app.gate.pass().await {
        Ok(()) => true,
        Err(closed) => {
            tracing::warn!(reason = %closed, "payment is held at the gate");
            false
        }
    }
}

/// Commits what was learned, if anything was.
async fn keep(app: &App, held: &Attempt, attempt: Attempt) -> Result<Attempt, Failure> {
    if attempt == *held {
        return Ok(attempt);
    }
    let step = AttemptStep::after(held.version, attempt);
    let kept = step.attempt.clone();
    commit(app, Change { attempts: vec![step], ..Change::default() }).await?;
    Ok(kept)
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
        (AttemptKind::Refund, Outcome::GivenUp) => Err(Failure::broken("a refund cannot be given up")),
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
            change.order = Some(order.complete(now)?);
            false
        }
        OrderStatus::Compensated => {
            change.attempts.push(AttemptStep::new(Attempt::refund_of(&attempt, now)));
            true
        }
        OrderStatus::Created | OrderStatus::Completed => {
            return Err(Failure::broken(format!("money was taken for order {id} in {}", order.status)));
        }
    };
    change.attempts.insert(0, AttemptStep::after(version, attempt));
    commit(app, change).await?;
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
    let (id, from) = (order.id, order.status);
    let step = if from.is_final() { None } else { Some(order.compensate(reason, now)?) };
    let compensates = step.is_some();
    commit(app, Change { order: step, attempts: vec![AttemptStep::after(version, attempt)], ..Change::default() })
        .await?;
    metrics::attempt(&state.code().to_ascii_lowercase());
    if compensates {
        told(app, id, from, reason);
    }
    Ok(())
}

pub(super) async fn refunded(app: &App, version: i64, mut attempt: Attempt) -> Result<(), Failure> {
    attempt.state = AttemptState::Captured;
    let (id, ledger) =
        (attempt.order, vec![Transaction::refund(attempt.order, attempt.id, attempt.amount, app.clock.now())]);
    commit(app, Change { ledger, attempts: vec![AttemptStep::after(version, attempt)], ..Change::default() }).await?;
    metrics::attempt("refunded");
    tracing::info!(order.id = %id, "payment refunded");
    Ok(())
}

async fn commit(app: &App, change: Change) -> Result<(), Failure> {
    app.store.commit(Cause::Duty("payment"), change).await?;
    Ok(())
}
