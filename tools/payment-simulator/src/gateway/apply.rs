//! One call inside the writer's transaction: stored answer, intent, script, step, and everything the step leaves behind.
//!
//! The order matters: the step is decided first and refused if it cannot be, so that a fault is spent only on a call that
//! would have worked. The answer stored under the key is always the truth, also when the client is shown a fault instead.

use std::collections::BTreeSet;

use common::ids;

use super::{KEY_LIFETIME_MS, Outcome, Request};
use crate::domain::{Account, Change, Entry, Intent, Refusal, Status, Verdict};
use crate::faults::{self, Call, Fault, FaultRates};
use crate::store::{Delivery, DueKey, Record, Session, StoreError, StoredAnswer};
use crate::wire::{Answer, Command, Draft};

/// The worker leaves an early webhook alone for this long, so that the call itself can deliver it first.
const EARLY_GRACE_MS: i64 = 5_000;

/// What the world outside the transaction adds to a call.
#[derive(Clone, Copy, Debug)]
pub struct Instant {
    pub now_ms: i64,
    pub settle_ms: i64,
    /// How late a late webhook is.
    pub late_ms: i64,
    pub telling: Telling,
}

/// Which account has a webhook to tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Telling {
    pub intents: bool,
    pub square: bool,
}

impl Telling {
    fn of(self, account: Account) -> bool {
        match account {
            Account::Intents => self.intents,
            Account::Square => self.square,
        }
    }
}

pub(super) fn apply(
    session: &Session<'_>,
    request: &Request,
    rates: &FaultRates,
    at: Instant,
) -> Result<Outcome, StoreError> {
    let account = request.account;
    if let Some((key, fingerprint)) = &request.key
        && let Some(stored) = session.answer(key)?
        && stored.at_ms > at.now_ms - KEY_LIFETIME_MS
    {
        if stored.fingerprint != *fingerprint {
            return Ok(without_effect(account.key_reused(), false));
        }
        return Ok(without_effect(Answer { status: stored.status, body: stored.body }, true));
    }
    match &request.command {
        Command::Create(draft) => create(session, request, draft, at),
        Command::Update { intent, metadata } => {
            let Some(mut record) = session.intent(intent)? else {
                return Ok(without_effect(account.missing("intent"), false));
            };
            for (name, value) in metadata {
                match value.as_str() {
                    "" => record.intent.metadata.remove(name),
                    _ => record.intent.metadata.insert(name.clone(), value.clone()),
                };
            }
            session.put_intent(&record)?;
            let answer = account.shown(&record.intent);
            remember(session, request, &answer, at)?;
            Ok(without_effect(answer, false))
        }
        Command::Confirm { intent, card } => {
            let token = card.as_ref().map(|card| card.as_str().to_owned());
            step(session, request, rates, at, intent, Call::Confirm, token, |found, verdict| {
                found.confirm(card.clone(), verdict, fresh("ch"))
            })
        }
        Command::Capture { intent, amount } => {
            step(session, request, rates, at, intent, Call::Capture, None, |found, verdict| {
                found.capture(*amount, verdict)
            })
        }
        Command::Pay { key, draft } => pay(session, request, rates, key, draft, at),
        Command::CancelByKey { key } => cancel_by_key(session, request, rates, key, at),
        Command::Cancel { intent, reason } => {
            step(session, request, rates, at, intent, Call::Cancel, None, |found, _| {
                found.cancel(reason.clone(), at.now_ms)
            })
        }
        Command::Refund { intent, amount, reason, metadata } => {
            step(session, request, rates, at, intent, Call::Refund, None, |found, _| {
                found.refund(*amount, fresh("re"), reason.clone(), metadata.clone(), at.now_ms)
            })
        }
    }
}

/// The money of a processing intent moves; nobody asked, so nothing is answered and no fault is played.
///
/// # Errors
/// [`StoreError`] as for every write; an intent that is not processing any more is left alone.
pub fn settle(session: &Session<'_>, key: DueKey, id: &str, now_ms: i64, telling: Telling) -> Result<(), StoreError> {
    if !session.remove_settlement(key)? {
        return Ok(());
    }
    let Some(mut record) = session.intent(id)? else { return Ok(()) };
    let Ok(change) = record.intent.settle() else { return Ok(()) };
    let at = Instant { now_ms, settle_ms: 0, late_ms: 0, telling };
    enter(session, &change, None, at)?;
    tell(session, &change, None, None, at)?;
    record.intent = change.intent;
    session.put_intent(&record)
}

fn create(session: &Session<'_>, request: &Request, draft: &Draft, at: Instant) -> Result<Outcome, StoreError> {
    let fault = faults::planned(Call::Create, draft.capture, None, draft.amount);
    let intent = made(fresh("pi"), request.account, draft, at);
    let answer = request.account.shown(&intent);
    session.put_intent(&Record { intent, sequence: session.next("intent")?, fired: BTreeSet::new() })?;
    remember(session, request, &answer, at)?;
    Ok(Outcome::Done { answer, replayed: false, fault, early: Vec::new(), wakes: false })
}

/// Makes the payment and authorises it. A try that was stopped before its effect has left the payment, so that its fault is
/// not met again.
fn pay(
    session: &Session<'_>,
    request: &Request,
    rates: &FaultRates,
    key: &str,
    draft: &Draft,
    at: Instant,
) -> Result<Outcome, StoreError> {
    let id = match session.payment_of_key(key)? {
        Some(id) => id,
        None => {
            let intent = made(fresh("sq"), request.account, draft, at);
            let id = intent.id.clone();
            session.put_intent(&Record { intent, sequence: session.next("intent")?, fired: BTreeSet::new() })?;
            session.put_payment_key(key, &id)?;
            id
        }
    };
    step(session, request, rates, at, &id, Call::Confirm, None, |found, verdict| {
        found.confirm(None, verdict, fresh("ch"))
    })
}

/// Success also when the key has made nothing, or nothing that stands: there is nothing to cancel.
fn cancel_by_key(
    session: &Session<'_>,
    request: &Request,
    rates: &FaultRates,
    key: &str,
    at: Instant,
) -> Result<Outcome, StoreError> {
    let gone = || Answer::ok(&serde_json::json!({}));
    let Some(id) = session.payment_of_key(key)? else { return Ok(without_effect(gone(), false)) };
    let status = session.intent(&id)?.map(|record| record.intent.status);
    if matches!(status, None | Some(Status::Canceled | Status::RequiresPaymentMethod)) {
        return Ok(without_effect(gone(), false));
    }
    let outcome = step(session, request, rates, at, &id, Call::Cancel, None, |found, _| found.cancel(None, at.now_ms))?;
    Ok(match outcome {
        Outcome::Done { answer, replayed, fault, early, wakes } if answer.status == 200 => {
            Outcome::Done { answer: gone(), replayed, fault, early, wakes }
        }
        outcome => outcome,
    })
}

fn made(id: String, account: Account, draft: &Draft, at: Instant) -> Intent {
    Intent {
        id,
        account,
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
    }
}

#[allow(clippy::too_many_arguments)] // private; what a step needs, each thing once
fn step(
    session: &Session<'_>,
    request: &Request,
    rates: &FaultRates,
    at: Instant,
    id: &str,
    call: Call,
    token: Option<String>,
    decide: impl Fn(&Intent, Verdict) -> Result<Change, Refusal>,
) -> Result<Outcome, StoreError> {
    let account = request.account;
    let found = session.intent(id)?.filter(|record| record.intent.account == account);
    let Some(mut record) = found else { return Ok(without_effect(account.missing("payment_intent"), false)) };
    let intent = &record.intent;
    let token = token.as_deref().or(intent.card.as_ref().map(|card| card.as_str()));
    let played = record.fired.contains(call.code());
    let fault = plan(request, intent, call, token, rates).filter(|fault| !(fault.happens_once() && played));
    let verdict = match fault {
        Some(Fault::Decline(decline)) => Verdict::Declined(decline),
        Some(Fault::SettleLater) => Verdict::ApprovedLater,
        _ => Verdict::Approved,
    };
    let change = match decide(intent, verdict) {
        Ok(change) => change,
        Err(refusal) => {
            let answer = account.refused(&refusal, intent);
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
        (Some(decline), _) => account.declined(*decline, &change),
        (None, Some(refund)) => account.refunded(refund),
        (None, None) => account.shown(&change.intent),
    };
    remember(session, request, &answer, at)?;
    record.intent = change.intent;
    session.put_intent(&record)?;
    Ok(Outcome::Done { answer, replayed: false, fault, early, wakes: true })
}

/// The script of this card or amount, else what the rates hold for this order. Where one call makes and authorises, it meets
/// the faults of both.
fn plan(request: &Request, intent: &Intent, call: Call, token: Option<&str>, rates: &FaultRates) -> Option<Fault> {
    let (capture, amount) = (intent.capture, intent.amount);
    let making = matches!(request.command, Command::Pay { .. }).then_some(Call::Create);
    let scripted = making.and_then(|making| faults::planned(making, capture, token, amount));
    let scripted = scripted.or_else(|| faults::planned(call, capture, token, amount));
    let rated = || {
        let reference = intent.reference().filter(|_| !faults::scripted(token, amount))?;
        rates.planned(call, capture, reference)
    };
    scripted.or_else(rated)
}

/// Writes the movement into the books and the refund beside it.
fn enter(session: &Session<'_>, change: &Change, epoch: Option<u64>, at: Instant) -> Result<(), StoreError> {
    if let Some(movement) = &change.movement {
        session.append(Entry {
            sequence: 0, // given by the books
            kind: movement.kind,
            account: change.intent.account,
            attempt: change
                .refund
                .as_ref()
                .map_or_else(|| change.intent.attempt(), |refund| refund.metadata.get("attempt").map(String::as_str))
                .map(str::to_owned),
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
    let account = change.intent.account;
    let (Some(event), true) = (change.event, at.telling.of(account)) else { return Ok(Vec::new()) };
    if fault == Some(Fault::WebhookLost) {
        return Ok(Vec::new());
    }
    let event_id = fresh("evt");
    let payload = account.event(&event_id, event, change, at.now_ms, key);
    let square = account == Account::Square;
    let delivery = Delivery { event_id, kind: event.code().to_owned(), payload, square, tries: 0 };
    let early = fault == Some(Fault::WebhookEarly);
    let due = match fault {
        Some(Fault::WebhookEarly) => at.now_ms + EARLY_GRACE_MS,
        Some(Fault::WebhookLate) => at.now_ms.saturating_add(at.late_ms),
        _ => at.now_ms,
    };
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

/// `prefix_` and 32 hex digits.
fn fresh(prefix: &str) -> String {
    format!("{prefix}_{}", ids::random().simple())
}
