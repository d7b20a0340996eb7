//! Orphan money: found by whoever compares books (the reconciler, the settlement file), put into the books at once, sent
//! back when its deadline has passed and still no order of ours knows it. The refund is looked at and repeated like any
//! other; it ends in the books, and with it the difference.

use common::OrderId;
use messaging::Cause;
use messaging::crash::{self, Boundary};

use super::change::OrphanStep;
use super::ports::{Finding, FindingKind};
use super::process_payment::{boundary_of, gate_is_open, lease_covers_a_call};
use super::{App, Change, Failure};
use crate::domain::settle::{self, Lesson, Outcome, Step};
use crate::domain::{Answer, AttemptState, Intent, IntentStatus, LedgerKind, Look, Orphan, Transaction, Via};
use crate::metrics;

/// Refunds of orphans per round: they are rare, and the gateway sees no burst.
const ROUND: u16 = 16;
/// Steps of one refund per claim; a whole one takes three.
const MOST_STEPS: usize = 8;

/// Whether an order of ours knows this charge, wherever a list may have missed it.
///
/// # Errors
/// [`Failure`] when the books cannot be read.
pub async fn is_known(app: &App, intent: &Intent) -> Result<bool, Failure> {
    if app.store.charge_of_intent(&intent.id).await?.is_some() {
        return Ok(true);
    }
    // The charge may be under way and its id not stored yet.
    let Some(order) = intent.order.as_deref().and_then(|order| order.parse::<OrderId>().ok()) else { return Ok(false) };
    let charge = app.store.charge_of(order).await?;
    Ok(charge.is_some_and(|charge| charge.intent.is_none() && !charge.state.is_settled()))
}

/// Puts a charge that nobody knows into the books. Safe to repeat.
///
/// # Errors
/// [`Failure`] when the books cannot be read or written.
pub async fn found(app: &App, intent: &Intent, via: Via) -> Result<(), Failure> {
    let now = app.clock.now();
    let Some(orphan) = Orphan::found(intent, via, app.rules.orphan_deadline, now) else {
        metrics::alarm("orphan");
        tracing::error!(payment.intent = intent.id, "an orphan charge cannot be given back by itself");
        return Ok(());
    };
    let booked = Transaction::orphan(LedgerKind::Orphan, &orphan.intent, orphan.attempt.amount, now);
    let change = Change { orphans: vec![OrphanStep::new(orphan.clone())], ledger: vec![booked], ..Change::default() };
    match app.store.commit(Cause::Duty("orphan-found"), change).await.map_err(Failure::from) {
        Ok(_) => {
            metrics::alarm("orphan");
            tracing::error!(payment.intent = orphan.intent, refund.due_at = %orphan.attempt.due_at, "money without an order was found");
            Ok(())
        }
        // Found before.
        Err(failure) if failure.is_lost() => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Sends back what is due. Returns how many it took up.
///
/// # Errors
/// [`Failure`] when nothing could be claimed; what was claimed and not finished is due again when its lease ends.
pub async fn refund_orphans(app: &App) -> Result<usize, Failure> {
    let now = app.clock.now();
    let due = app.store.claim_orphans(now, now + app.rules.payment_lease, ROUND).await?;
    let count = due.len();
    for orphan in due {
        let intent = orphan.intent.clone();
        match carry(app, orphan).await {
            Ok(()) => {}
            Err(failure) if failure.is_lost() => {
                tracing::debug!(payment.intent = intent, "an orphan is in other hands")
            }
            Err(failure) => {
                tracing::warn!(payment.intent = intent, error = %failure, "an orphan could not be carried further");
            }
        }
    }
    Ok(count)
}

async fn carry(app: &App, mut held: Orphan) -> Result<(), Failure> {
    if held.attempt.state == AttemptState::Prepared && !still_an_orphan(app, &held).await? {
        return Ok(());
    }
    settle::taken_up(&mut held.attempt);
    for _ in 0..MOST_STEPS {
        let mut orphan = held.clone();
        let (now, attempt) = (app.clock.now(), &mut orphan.attempt);
        let lesson = match settle::next(attempt, None) {
            Step::Rest => return Ok(()),
            Step::Wait => settle::later(attempt, now),
            Step::Record(mark) => {
                settle::record(attempt, mark, now);
                Lesson::GoOn(None)
            }
            Step::Settle(outcome) => Lesson::Settled(outcome),
            Step::Send(_) | Step::Ask(_) if !lease_covers_a_call(app, attempt) => {
                attempt.due_at = now;
                Lesson::Later
            }
            Step::Send(call) if attempt.via.flow.gates(call) && !gate_is_open(app).await? => {
                settle::gate_closed(attempt, now);
                Lesson::Later
            }
            Step::Send(call) => {
                let answer = crash::around(boundary_of(call), app.gateway.send(call, attempt)).await?;
                settle::learn(attempt, call, answer, app.clock.now())
            }
            Step::Ask(look) => {
                let answer = crash::around(Boundary::GatewayLook, app.gateway.look(look, attempt)).await?;
                settle::learn_from_look(attempt, look, answer, app.clock.now())
            }
        };
        match lesson {
            Lesson::GoOn(_) => held = keep(app, &held, orphan).await?,
            Lesson::Settled(outcome) => return end(app, &held, orphan, outcome).await,
            Lesson::Later => return put_off(app, &held, orphan).await,
            Lesson::Alarm(reason) => {
                metrics::alarm("orphan");
                tracing::error!(payment.intent = orphan.intent, reason, "an orphan needs a person");
                return put_off(app, &held, orphan).await;
            }
        }
    }
    let mut orphan = held.clone();
    settle::later(&mut orphan.attempt, app.clock.now());
    put_off(app, &held, orphan).await
}

/// The last look before money moves. An order that turned up (a site that had forgotten has caught up) keeps its money, and
/// the books take back what they said.
async fn still_an_orphan(app: &App, held: &Orphan) -> Result<bool, Failure> {
    let mut orphan = held.clone();
    match crash::around(Boundary::GatewayLook, app.gateway.look(Look::Intent, &held.attempt)).await? {
        Answer::Intent(intent) if is_known(app, &intent).await? => {
            let now = app.clock.now();
            orphan.attempt.state = AttemptState::Voided;
            let booked = Transaction::orphan(LedgerKind::Orphan, &held.intent, held.attempt.amount, held.found_at);
            let change = Change { ledger: vec![booked.reversed(now)], ..Change::default() };
            commit(app, held, orphan, change).await?;
            tracing::warn!(payment.intent = held.intent, "an order turned up for an orphan; it keeps its money");
            Ok(false)
        }
        Answer::Intent(intent) if intent.status == IntentStatus::Succeeded => Ok(true),
        other => {
            // It was taken when it was found. Whoever does not know it any more, or calls it something else, needs a person to ask.
            if matches!(other, Answer::Intent(_) | Answer::NotFound | Answer::Misconfigured(_)) {
                metrics::alarm("orphan");
                tracing::error!(
                    payment.intent = held.intent,
                    gateway = held.attempt.via.name,
                    answer = other.label(),
                    "an orphan cannot be found again where it was found; nothing was given back"
                );
            }
            settle::later(&mut orphan.attempt, app.clock.now());
            put_off(app, held, orphan).await.map(|()| false)
        }
    }
}

async fn end(app: &App, held: &Orphan, mut orphan: Orphan, outcome: Outcome) -> Result<(), Failure> {
    let now = app.clock.now();
    let intent = orphan.intent.clone();
    let mut change = Change::default();
    match outcome {
        Outcome::Captured => {
            orphan.attempt.state = AttemptState::Captured;
            change.ledger.push(Transaction::orphan(LedgerKind::OrphanRefund, &intent, orphan.attempt.amount, now));
        }
        Outcome::GivenUp => {
            orphan.attempt.state = orphan.attempt.ending().0;
            let finding = Finding {
                kind: FindingKind::RefundRefused,
                reference: intent.clone(),
                order: None,
                detail: format!("the gateway does not give the orphan's {} back", orphan.attempt.amount),
                happened_at: Some(now),
            };
            change.findings.push((finding, now));
        }
    }
    commit(app, held, orphan, change).await?;
    match outcome {
        Outcome::Captured => tracing::info!(payment.intent = intent, "an orphan went back"),
        Outcome::GivenUp => {
            metrics::alarm("orphan");
            tracing::error!(payment.intent = intent, "the gateway refused to give an orphan back; it needs a person");
        }
    }
    Ok(())
}

async fn put_off(app: &App, held: &Orphan, mut orphan: Orphan) -> Result<(), Failure> {
    orphan.attempt.leased_until = None;
    keep(app, held, orphan).await.map(drop)
}

async fn keep(app: &App, held: &Orphan, orphan: Orphan) -> Result<Orphan, Failure> {
    if orphan == *held { Ok(orphan) } else { commit(app, held, orphan, Change::default()).await }
}

async fn commit(app: &App, held: &Orphan, orphan: Orphan, change: Change) -> Result<Orphan, Failure> {
    let step = OrphanStep::after(held.attempt.version, orphan);
    let kept = step.orphan.clone();
    app.store.commit(Cause::Duty("orphan"), Change { orphans: vec![step], ..change }).await?;
    Ok(kept)
}
