//! One call inside the writer's transaction: stored answer, intent, script, step, and everything the step leaves behind.
//!
//! The order matters: the step is decided first and refused if it cannot be, so that a fault is spent only on a call that
//! would have worked. The answer stored under the key is always the truth, also when the client is shown a fault instead.

use std::collections::BTreeSet;

use common::ids;

use super::{KEY_LIFETIME_MS, Outcome, Request};
use crate::domain::{Change, Entry, Intent, Refusal, Status, Verdict};
use crate::faults::{self, Call, Fault};
use crate::store::{Delivery, DueKey, Record, Session, StoreError, StoredAnswer};
use crate::wire::{self, Answer, ApiError, Command, Draft};

/// The worker leaves an early webhook alone for this long, so that the call itself can deliver it first.
const EARLY_GRACE_MS: i64 = 5_000;

/// What the world outside the transaction adds to a call.
#[derive(Clone, Copy, Debug)]
pub struct Instant {
    pub now_ms: i64,
    pub settle_ms: i64,
    /// Is there a webhook to tell?
    pub telling: bool,
}

pub(super) fn apply(session: &Session<'_>, request: &Request, at: Instant) -> Result<Outcome, StoreError> {
    if let Some((key, fingerprint)) = &request.key
        && let Some(stored) = session.answer(key)?
        && stored.at_ms > at.now_ms - KEY_LIFETIME_MS
    {
        if stored.fingerprint != *fingerprint {
            return Ok(without_effect(ApiError::key_reused().answer(), false));
        }
        return Ok(without_effect(Answer { status: stored.status, body: stored.body }, true));
    }
    match &request.command {
        Command::Create(draft) => create(session, request, draft, at),
        Command::Update { intent, metadata } => {
            let Some(mut record) = session.intent(intent)? else { return Ok(missing("intent")) };
            for (name, value) in metadata {
                match value.as_str() {
                    "" => record.intent.metadata.remove(name),
                    _ => record.intent.metadata.insert(name.clone(), value.clone()),
                };
            }
            session.put_intent(&record)?;
            let answer = Answer::ok(&wire::intent(&record.intent));
            remember(session, request, &answer, at)?;
            Ok(without_effect(answer, false))
        }
        Command::Confirm { intent, card } => {
            let token = card.as_ref().map(|card| card.as_str().to_owned());
            step(session, request, at, intent, Call::Confirm, token, |found, verdict| {
                found.confirm(card.clone(), verdict, fresh("ch"))
            })
        }
        Command::Capture { intent, amount } => {
            step(session, request, at, intent, Call::Capture, None, |found, verdict| found.capture(*amount, verdict))
        }
        Command::Cancel { intent, reason } => {
            step(session, request, at, intent, Call::Cancel, None, |found, _| found.cancel(reason.clone(), at.now_ms))
        }
        Command::Refund { intent, amount, reason, metadata } => {
            step(session, request, at, intent, Call::Refund, None, |found, _| {
                found.refund(*amount, fresh("re"), reason.clone(), metadata.clone(), at.now_ms)
            })
        }
    }
}

/// The money of a processing intent moves; nobody asked, so nothing is answered and no fault is played.
///
/// # Errors
/// [`StoreError`] as for every write; an intent that is not processing any more is left alone.
pub fn settle(session: &Session<'_>, key: DueKey, id: &str, now_ms: i64, telling: bool) -> Result<(), StoreError> {
    if !session.remove_settlement(key)? {
        return Ok(());
    }
    let Some(mut record) = session.intent(id)? else { return Ok(()) };
    let Ok(change) = record.intent.settle() else { return Ok(()) };
    let at = Instant { now_ms, settle_ms: 0, telling };
    enter(session, &change, None, at)?;
    tell(session, &change, None, None, at)?;
    record.intent = change.intent;
    session.put_intent(&record)
}

fn create(session: &Session<'_>, request: &Request, draft: &Draft, at: Instant) -> Result<Outcome, StoreError> {
    let fault = faults::planned(Call::Create, draft.capture, None, draft.amount);
    let intent = Intent {
        id: fresh("pi"),
        amount: draft.amount,
        currency: draft.currency,
        capture: draft.capture,
        status: if draft.card.is_some() { Status::RequiresConfirmation } else { Status::RequiresPaymentMethod },
        card: draft.card.clone(),
        metadata: draft.metadata.clone(),
        created_ms: at.now_ms,
        taken: 0,
        refunded: 0,
        charge: None,
        decline: None,
        canceled_ms: None,
        cancellation_reason: None,
    };
    let answer = Answer::ok(&wire::intent(&intent));
    session.put_intent(&Record { intent, sequence: session.next("intent")?, fired: BTreeSet::new() })?;
    remember(session, request, &answer, at)?;
    Ok(Outcome::Done { answer, replayed: false, fault, early: Vec::new(), wakes: false })
}

fn step(
    session: &Session<'_>,
    request: &Request,
    at: Instant,
    id: &str,
    call: Call,
    token: Option<String>,
    decide: impl Fn(&Intent, Verdict) -> Result<Change, Refusal>,
) -> Result<Outcome, StoreError> {
    let Some(mut record) = session.intent(id)? else { return Ok(missing("payment_intent")) };
    let intent = &record.intent;
    let token = token.as_deref().or(intent.card.as_ref().map(|card| card.as_str()));
    let played = record.fired.contains(call.code());
    let fault =
        faults::planned(call, intent.capture, token, intent.amount).filter(|fault| !(fault.happens_once() && played));
    let verdict = match fault {
        Some(Fault::Decline(decline)) => Verdict::Declined(decline),
        Some(Fault::SettleLater) => Verdict::ApprovedLater,
        _ => Verdict::Approved,
    };
    let change = match decide(intent, verdict) {
        Ok(change) => change,
        Err(refusal) => {
            let answer = ApiError::refused(&refusal, intent).answer();
            remember(session, request, &answer, at)?;
            return Ok(without_effect(answer, false));
        }
    };
    if fault.is_some_and(Fault::happens_once) {
        record.fired.insert(call.code().to_owned());
    }
    if let Some(stopping) = fault.filter(|fault| fault.stops()) {
        session.put_intent(&record)?;
        return Ok(Outcome::Stopped(stopping));
    }
    enter(session, &change, request.epoch, at)?;
    let early = tell(session, &change, fault, request.key.as_ref().map(|(key, _)| key.as_str()), at)?;
    if change.intent.status == Status::Processing {
        session.put_settlement(at.now_ms.saturating_add(at.settle_ms), id)?;
    }
    let answer = match (&change.declined, &change.refund) {
        (Some(decline), _) => ApiError::declined(*decline, &change).answer(),
        (None, Some(refund)) => Answer::ok(&wire::refund_object(refund)),
        (None, None) => Answer::ok(&wire::intent(&change.intent)),
    };
    remember(session, request, &answer, at)?;
    record.intent = change.intent;
    session.put_intent(&record)?;
    Ok(Outcome::Done { answer, replayed: false, fault, early, wakes: true })
}

/// Writes the movement into the books and the refund beside it.
fn enter(session: &Session<'_>, change: &Change, epoch: Option<u64>, at: Instant) -> Result<(), StoreError> {
    if let Some(movement) = &change.movement {
        session.append(Entry {
            sequence: 0, // given by the books
            kind: movement.kind,
            reference: change.intent.reference().map(str::to_owned),
            intent: change.intent.id.clone(),
            charge: movement.charge.clone(),
            refund: movement.refund.clone(),
            amount: movement.amount,
            currency: change.intent.currency,
            at_ms: at.now_ms,
            epoch,
        })?;
    }
    change.refund.as_ref().map_or(Ok(()), |refund| session.put_refund(refund))
}

/// Queues the webhook; returns the deliveries that the call itself makes before it answers.
fn tell(
    session: &Session<'_>,
    change: &Change,
    fault: Option<Fault>,
    key: Option<&str>,
    at: Instant,
) -> Result<Vec<DueKey>, StoreError> {
    let (Some(event), true) = (change.event, at.telling) else { return Ok(Vec::new()) };
    let event_id = fresh("evt");
    let payload = wire::event(&event_id, event, change, at.now_ms, key).to_string();
    let delivery = Delivery { event_id, kind: event.code().to_owned(), payload, tries: 0 };
    let early = fault == Some(Fault::WebhookEarly);
    let due = if early { at.now_ms + EARLY_GRACE_MS } else { at.now_ms };
    let queued = session.put_delivery(due, &delivery)?;
    if fault == Some(Fault::WebhookTwice) {
        session.put_delivery(due, &delivery)?;
    }
    Ok(if early { vec![queued] } else { Vec::new() })
}

fn remember(session: &Session<'_>, request: &Request, answer: &Answer, at: Instant) -> Result<(), StoreError> {
    let Some((key, fingerprint)) = &request.key else { return Ok(()) };
    let (status, body) = (answer.status, answer.body.clone());
    session.put_answer(key, &StoredAnswer { fingerprint: fingerprint.clone(), status, body, at_ms: at.now_ms })
}

fn without_effect(answer: Answer, replayed: bool) -> Outcome {
    Outcome::Done { answer, replayed, fault: None, early: Vec::new(), wakes: false }
}

fn missing(param: &str) -> Outcome {
    without_effect(ApiError::no_such("payment_intent", param).answer(), false)
}

/// `prefix_` and 32 hex digits.
fn fresh(prefix: &str) -> String {
    format!("{prefix}_{}", ids::random().simple())
}
