//! How an attempt gets from its intent to its outcome: one pure decision (`next`) and one pure lesson (`learn`), used alike
//! on good days and after a crash.
//!
//! The rules behind the two tables:
//! - What could move money is sent only from a committed state: the confirmation from `SENT`, the capture after
//!   `capture_requested`. Between that commit and the call stands the gate to the standby site. Where the first call already
//!   authorises, it is that call which waits for `SENT` and the gate.
//! - Such a call without an answer is sent again with the same key, which makes one payment and shows it; giving up cancels by
//!   that key.
//! - After a restart (nothing seen yet) a sent attempt is looked at before anything is sent again.
//! - A time-out is never a decline. Giving up succeeds only when the gateway accepts a cancel.
//! - Only the gateway's own word settles an attempt; the first definitive one wins.

use chrono::{DateTime, Duration, Utc};

use super::{Answer, Attempt, AttemptKind, AttemptState, Call, Flow, Intent, IntentStatus, Look, Reason, backoff};

/// What to do next with an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Commit this, then go on.
    Record(Mark),
    /// Send this; what moves money passes the gate first.
    Send(Call),
    Ask(Look),
    /// Commit the outcome: state, ledger, order, event.
    Settle(Outcome),
    /// Nothing now; the gateway decides later.
    Wait,
    /// Nothing, ever.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The next call authorises.
    Sent,
    /// The money is set aside, and the next call takes it.
    Authorised,
    /// The bank said no; the intent is to be cancelled.
    Declined,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The money moved.
    Captured,
    /// The intent is gone and no money moved; a refund was refused.
    GivenUp,
}

/// What a call taught us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// Go on, knowing the intent as just seen (or nothing new).
    GoOn(Option<Intent>),
    /// The refund exists.
    Settled(Outcome),
    /// Not now; the attempt has its next time.
    Later,
    /// As `Later`, and a person should look: the text says why.
    Alarm(String),
}

/// What to do next, given what was seen of the intent in this run.
pub fn next(attempt: &Attempt, seen: Option<&Intent>) -> Step {
    if attempt.state.is_settled() {
        return Step::Rest;
    }
    match attempt.kind {
        AttemptKind::Charge => next_of_charge(attempt, seen),
        AttemptKind::Refund => next_of_refund(attempt),
    }
}

fn next_of_charge(attempt: &Attempt, seen: Option<&Intent>) -> Step {
    let giving_up = attempt.giving_up.is_some();
    let authorises_at_once = attempt.via.flow == Flow::MadeAuthorised;
    let Some(seen) = seen else {
        return match (attempt.state, &attempt.intent) {
            // Nothing that moves money was ever sent, and nobody will send it after this commit.
            (AttemptState::Prepared, None) if giving_up => Step::Settle(Outcome::GivenUp),
            (AttemptState::Prepared, None) if authorises_at_once => Step::Record(Mark::Sent),
            (_, None) if authorises_at_once && giving_up => Step::Send(Call::Cancel),
            // One key makes one payment: sending it again is also how we ask for it.
            (_, None) if authorises_at_once => Step::Send(Call::Create),
            (AttemptState::Prepared, None) if attempt.in_doubt => Step::Ask(Look::Reference),
            (AttemptState::Prepared, None) => Step::Send(Call::Create),
            (AttemptState::Prepared, Some(_)) if giving_up => Step::Send(Call::Cancel),
            (AttemptState::Prepared, Some(_)) => Step::Record(Mark::Sent),
            (_, Some(_)) => Step::Ask(Look::Intent),
            // Cannot be: the intent is committed before SENT. Looking is harmless.
            (_, None) => Step::Ask(Look::Reference),
        };
    };
    match seen.status {
        IntentStatus::Succeeded => Step::Settle(Outcome::Captured),
        IntentStatus::Canceled => Step::Settle(Outcome::GivenUp),
        IntentStatus::Failed if giving_up => Step::Settle(Outcome::GivenUp),
        IntentStatus::Failed => Step::Record(Mark::Declined),
        IntentStatus::Processing => Step::Wait,
        _ if giving_up => Step::Send(Call::Cancel),
        IntentStatus::RequiresAction => Step::Wait,
        IntentStatus::Declined => Step::Record(Mark::Declined),
        IntentStatus::RequiresConfirmation if attempt.state == AttemptState::Prepared => Step::Record(Mark::Sent),
        IntentStatus::RequiresConfirmation => Step::Send(Call::Confirm),
        IntentStatus::RequiresCapture if seen.declined => Step::Record(Mark::Declined),
        IntentStatus::RequiresCapture if attempt.state == AttemptState::Authorised && attempt.capture_requested => {
            Step::Send(Call::Capture)
        }
        IntentStatus::RequiresCapture => Step::Record(Mark::Authorised),
    }
}

fn next_of_refund(attempt: &Attempt) -> Step {
    match attempt.state {
        AttemptState::Prepared => Step::Record(Mark::Sent),
        _ if attempt.in_doubt => Step::Ask(Look::Refund),
        // The gateway said no, and a look found no refund of ours.
        _ if attempt.giving_up.is_some() => Step::Settle(Outcome::GivenUp),
        _ => Step::Send(Call::Refund),
    }
}

/// What whoever has just taken an attempt up begins with. A refund that was sent may have been given: the worker before may have died
/// between the gateway's yes and its commit, and a gateway forgets keys. It is looked for before it is sent again.
pub fn taken_up(attempt: &mut Attempt) {
    if attempt.kind == AttemptKind::Refund && attempt.state != AttemptState::Prepared {
        attempt.in_doubt = true;
    }
}

/// Writes a mark into the attempt.
pub fn record(attempt: &mut Attempt, mark: Mark, now: DateTime<Utc>) {
    match mark {
        Mark::Sent => attempt.state = AttemptState::Sent,
        Mark::Authorised => {
            // What was unknown and is found where it was has made no progress: the pauses go on growing.
            if attempt.state == AttemptState::Sent {
                attempt.tries = 0;
            }
            attempt.state = AttemptState::Authorised;
            attempt.capture_requested = true;
        }
        Mark::Declined => attempt.give_up(Reason::PaymentDeclined, now),
    }
}

/// Takes in the answer to a call that changes something.
pub fn learn(attempt: &mut Attempt, call: Call, answer: Answer, now: DateTime<Utc>) -> Lesson {
    // A cancel of an intent that was never confirmed is a courtesy: whatever the answer, no money can move any more.
    if attempt.state == AttemptState::Prepared && call == Call::Cancel {
        return Lesson::Settled(Outcome::GivenUp);
    }
    match answer {
        Answer::Intent(intent) => seen(attempt, intent, now),
        Answer::Refunded { amount_minor } if amount_minor == attempt.amount.minor() => {
            Lesson::Settled(Outcome::Captured)
        }
        Answer::Refunded { .. } => alarm(attempt, now, "the refund has another amount"),
        // A clear no. An earlier try whose answer was lost may still have been a yes, so the next step looks; what it finds
        // is the end, and nothing is sent again.
        Answer::Declined(_) | Answer::StateRefused(_) if call == Call::Refund => {
            attempt.give_up(Reason::PaymentDeclined, now);
            attempt.in_doubt = true;
            Lesson::GoOn(None)
        }
        Answer::Declined(Some(intent)) => seen(attempt, Intent { declined: true, ..intent }, now),
        Answer::Gone if call == Call::Cancel => Lesson::Settled(Outcome::GivenUp),
        Answer::Gone => alarm(attempt, now, "the gateway says that something is gone that nobody cancelled"),
        Answer::Declined(None) => {
            attempt.give_up(Reason::PaymentDeclined, now);
            Lesson::GoOn(None)
        }
        Answer::TokenRefused if call == Call::Create => {
            attempt.give_up(Reason::PaymentDeclined, now);
            if attempt.via.flow == Flow::MadeAuthorised {
                // "Used already" may mean by an earlier try of ours: end it with the gateway's word.
                return Lesson::GoOn(None);
            }
            Lesson::Settled(Outcome::GivenUp)
        }
        // The answer shows the state; without it the next step looks.
        Answer::StateRefused(Some(intent)) => seen(attempt, intent, now),
        Answer::StateRefused(None) => Lesson::GoOn(None),
        Answer::NotSent => later(attempt, now),
        Answer::Throttled(asked) => {
            let lesson = later(attempt, now);
            if let Some(asked) = asked {
                attempt.due_at = now + backoff::bounded(asked, attempt.due_at - now);
            }
            lesson
        }
        Answer::InProgress | Answer::Unknown(_) => {
            doubt(attempt, call);
            later(attempt, now)
        }
        Answer::KeyClash => {
            doubt(attempt, call);
            alarm(attempt, now, "the gateway knows this key with other parameters")
        }
        Answer::TokenRefused => alarm(attempt, now, "the gateway no longer knows the card"),
        Answer::NotFound => {
            doubt(attempt, call);
            alarm(attempt, now, "the gateway does not know the intent")
        }
        Answer::Misconfigured(reason) => alarm(attempt, now, &reason),
    }
}

/// Takes in the answer to a look.
pub fn learn_from_look(attempt: &mut Attempt, look: Look, answer: Answer, now: DateTime<Utc>) -> Lesson {
    match (look, answer) {
        (_, Answer::Intent(intent)) => seen(attempt, intent, now),
        (Look::Refund, Answer::Refunded { amount_minor }) if amount_minor == attempt.amount.minor() => {
            Lesson::Settled(Outcome::Captured)
        }
        // A create moves no money, and of a refund that is not there a late twin meets the same key: sending is safe.
        (Look::Reference | Look::Refund, Answer::NotFound) => {
            attempt.in_doubt = false;
            Lesson::GoOn(None)
        }
        // The refund is there and failed.
        (Look::Refund, Answer::Declined(_)) => {
            attempt.give_up(Reason::PaymentDeclined, now);
            attempt.in_doubt = false;
            Lesson::GoOn(None)
        }
        (Look::Intent, Answer::NotFound) => alarm(attempt, now, "the gateway does not know the intent"),
        (_, Answer::Misconfigured(reason)) => alarm(attempt, now, &reason),
        (_, Answer::Throttled(Some(asked))) => {
            let lesson = later(attempt, now);
            attempt.due_at = now + backoff::bounded(asked, attempt.due_at - now);
            lesson
        }
        _ => later(attempt, now),
    }
}

/// The intent as shown by the gateway: is it ours, and does it say something new?
fn seen(attempt: &mut Attempt, intent: Intent, now: DateTime<Utc>) -> Lesson {
    let ours = intent.amount_minor == attempt.amount.minor()
        && intent.currency == attempt.amount.currency().code()
        && intent.order.as_deref() == Some(&attempt.order.to_string())
        && attempt.intent.as_ref().is_none_or(|known| *known == intent.id);
    if !ours {
        return alarm(attempt, now, "the intent is not the one of this attempt");
    }
    attempt.intent = Some(intent.id.clone());
    attempt.in_doubt = false;
    Lesson::GoOn(Some(intent))
}

/// A step may have happened: what was sent and could move money is unknown from here on.
fn doubt(attempt: &mut Attempt, call: Call) {
    attempt.in_doubt = true;
    let moves_money = call == Call::Cancel || attempt.via.flow.gates(call);
    if moves_money && attempt.state.may_become(AttemptState::Unknown) {
        attempt.state = AttemptState::Unknown;
    }
}

/// Puts the attempt off.
pub fn later(attempt: &mut Attempt, now: DateTime<Utc>) -> Lesson {
    attempt.tries = attempt.tries.saturating_add(1);
    attempt.due_at = now + backoff::pause(attempt.id.uuid(), attempt.tries);
    Lesson::Later
}

/// A closed gate is no fault of the gateway's: ask again soon and at an even pace.
pub fn gate_closed(attempt: &mut Attempt, now: DateTime<Utc>) {
    attempt.due_at = now + Duration::seconds(2);
}

fn alarm(attempt: &mut Attempt, now: DateTime<Utc>, reason: &str) -> Lesson {
    later(attempt, now);
    Lesson::Alarm(reason.to_owned())
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
