//! The payment's decisions against a gateway in miniature: whatever goes wrong on the way, money moves once or not at all.

use proptest::prelude::*;

use super::*;
use crate::domain::basket::tests::a_command;
use common::{Currency, Money, OrderId, Private};

fn an_attempt() -> Attempt {
    let order = OrderId::from_uuid(uuid::Uuid::from_u128(7));
    Attempt {
        id: common::AttemptId::derive(order, 1),
        order,
        number: 1,
        kind: AttemptKind::Charge,
        via: crate::domain::Via::default(),
        amount: Money::from_minor(4990, Currency::Eur).unwrap(),
        token: Private::new(a_command().token.open().clone()),
        state: AttemptState::Prepared,
        intent: None,
        capture_requested: false,
        giving_up: None,
        refused_by: None,
        in_doubt: false,
        tries: 0,
        due_at: DateTime::UNIX_EPOCH,
        leased_until: None,
        version: 1,
        traceparent: None,
        created_at: DateTime::UNIX_EPOCH,
    }
}

fn intent(status: IntentStatus) -> Intent {
    Intent {
        id: "pi_1".to_owned(),
        status,
        declined: status == IntentStatus::Declined,
        amount_minor: 4990,
        currency: "EUR".to_owned(),
        order: Some(an_attempt().order.to_string()),
        attempt: Some(1),
        created_unix: 0,
        refunded_minor: None,
    }
}

fn in_state(state: AttemptState) -> Attempt {
    Attempt { state, intent: Some("pi_1".to_owned()), ..an_attempt() }
}

#[test]
fn without_a_look_nothing_that_moves_money_is_sent_again() {
    for state in [AttemptState::Sent, AttemptState::Authorised, AttemptState::Unknown] {
        for capture_requested in [false, true] {
            let attempt = Attempt { capture_requested, ..in_state(state) };
            assert_eq!(next(&attempt, None), Step::Ask(Look::Intent));
        }
    }
}

#[test]
fn each_status_of_the_intent_leads_to_one_step() {
    use AttemptState::{Authorised, Prepared, Sent, Unknown};
    let table = [
        (Prepared, IntentStatus::RequiresConfirmation, Step::Record(Mark::Sent)),
        (Sent, IntentStatus::RequiresConfirmation, Step::Send(Call::Confirm)),
        (Unknown, IntentStatus::RequiresConfirmation, Step::Send(Call::Confirm)),
        (Sent, IntentStatus::Declined, Step::Record(Mark::Declined)),
        (Sent, IntentStatus::RequiresCapture, Step::Record(Mark::Authorised)),
        (Unknown, IntentStatus::RequiresCapture, Step::Record(Mark::Authorised)),
        (Authorised, IntentStatus::RequiresCapture, Step::Record(Mark::Authorised)),
        (Sent, IntentStatus::Processing, Step::Wait),
        (Sent, IntentStatus::RequiresAction, Step::Wait),
        (Authorised, IntentStatus::Succeeded, Step::Settle(Outcome::Captured)),
        (Unknown, IntentStatus::Canceled, Step::Settle(Outcome::GivenUp)),
    ];
    for (state, status, step) in table {
        assert_eq!(next(&in_state(state), Some(&intent(status))), step, "{state} {status:?}");
    }
    let decided = Attempt { capture_requested: true, ..in_state(Authorised) };
    assert_eq!(next(&decided, Some(&intent(IntentStatus::RequiresCapture))), Step::Send(Call::Capture));
}

#[test]
fn giving_up_cancels_and_waits_for_the_gateways_word() {
    use AttemptState::{Authorised, Sent, Unknown};
    for state in [Sent, Authorised, Unknown] {
        let attempt = Attempt { giving_up: Some(Reason::Expired), ..in_state(state) };
        assert_eq!(next(&attempt, None), Step::Ask(Look::Intent));
        for status in [
            IntentStatus::RequiresConfirmation,
            IntentStatus::Declined,
            IntentStatus::RequiresCapture,
            IntentStatus::RequiresAction,
        ] {
            assert_eq!(next(&attempt, Some(&intent(status))), Step::Send(Call::Cancel));
        }
        assert_eq!(
            next(&attempt, Some(&intent(IntentStatus::Succeeded))),
            Step::Settle(Outcome::Captured),
            "the capture won"
        );
        assert_eq!(next(&attempt, Some(&intent(IntentStatus::Processing))), Step::Wait);
    }
    let never_sent = Attempt { giving_up: Some(Reason::Expired), ..an_attempt() };
    assert_eq!(next(&never_sent, None), Step::Settle(Outcome::GivenUp));
}

#[test]
fn a_lost_answer_makes_an_attempt_unknown_and_never_declined() {
    for (state, call) in [
        (AttemptState::Sent, Call::Confirm),
        (AttemptState::Authorised, Call::Capture),
        (AttemptState::Authorised, Call::Cancel),
    ] {
        let mut attempt = in_state(state);
        assert_eq!(
            learn(&mut attempt, call, Answer::Unknown("timeout".to_owned()), DateTime::UNIX_EPOCH),
            Lesson::Later
        );
        assert_eq!((attempt.state, attempt.giving_up), (AttemptState::Unknown, None));
        assert!(attempt.due_at > DateTime::UNIX_EPOCH);
    }
    let mut attempt = an_attempt();
    learn(&mut attempt, Call::Create, Answer::Unknown("timeout".to_owned()), DateTime::UNIX_EPOCH);
    assert_eq!((attempt.state, next(&attempt, None)), (AttemptState::Prepared, Step::Ask(Look::Reference)));
}

#[test]
fn what_was_not_sent_changes_nothing_but_the_time() {
    for state in [AttemptState::Prepared, AttemptState::Sent, AttemptState::Authorised] {
        let mut attempt = in_state(state);
        learn(&mut attempt, Call::Confirm, Answer::NotSent, DateTime::UNIX_EPOCH);
        let untouched = Attempt { tries: 0, due_at: DateTime::UNIX_EPOCH, ..attempt.clone() };
        assert_eq!(untouched, in_state(state));
    }
}

#[test]
fn an_intent_of_another_amount_or_order_is_an_incident() {
    let strange = [
        Intent { amount_minor: 4991, ..intent(IntentStatus::RequiresConfirmation) },
        Intent { currency: "USD".to_owned(), ..intent(IntentStatus::RequiresConfirmation) },
        Intent { order: Some("another".to_owned()), ..intent(IntentStatus::Succeeded) },
        Intent { id: "pi_2".to_owned(), ..intent(IntentStatus::Succeeded) },
    ];
    for strange in strange {
        let mut attempt = in_state(AttemptState::Sent);
        let lesson = learn(&mut attempt, Call::Confirm, Answer::Intent(strange), DateTime::UNIX_EPOCH);
        assert!(matches!(lesson, Lesson::Alarm(_)));
        assert_eq!(attempt.state, AttemptState::Sent);
    }
}

#[test]
fn a_refund_in_doubt_is_looked_for_before_it_is_sent_again() {
    let mut refund = Attempt { kind: AttemptKind::Refund, ..in_state(AttemptState::Sent) };
    assert_eq!(next(&refund, None), Step::Send(Call::Refund));
    learn(&mut refund, Call::Refund, Answer::Unknown("reset".to_owned()), DateTime::UNIX_EPOCH);
    assert_eq!((refund.state, next(&refund, None)), (AttemptState::Unknown, Step::Ask(Look::Refund)));
    let lesson =
        learn_from_look(&mut refund, Look::Refund, Answer::Refunded { amount_minor: 4990 }, DateTime::UNIX_EPOCH);
    assert_eq!(lesson, Lesson::Settled(Outcome::Captured));
    learn_from_look(&mut refund, Look::Refund, Answer::NotFound, DateTime::UNIX_EPOCH);
    assert_eq!(next(&refund, None), Step::Send(Call::Refund));
}

#[test]
fn a_sent_refund_that_is_taken_up_again_is_looked_for_before_it_is_sent_again() {
    for state in [AttemptState::Sent, AttemptState::Unknown] {
        let mut refund = Attempt { kind: AttemptKind::Refund, ..in_state(state) };
        taken_up(&mut refund);
        assert_eq!(next(&refund, None), Step::Ask(Look::Refund), "{state}");
        learn_from_look(&mut refund, Look::Refund, Answer::NotFound, DateTime::UNIX_EPOCH);
        assert_eq!(next(&refund, None), Step::Send(Call::Refund), "{state}");
    }
    let mut never_sent = Attempt { kind: AttemptKind::Refund, ..in_state(AttemptState::Prepared) };
    taken_up(&mut never_sent);
    assert_eq!(next(&never_sent, None), Step::Record(Mark::Sent));
    // A charge is looked at anyway, by what was seen of its intent.
    let mut charge = in_state(AttemptState::Sent);
    taken_up(&mut charge);
    assert_eq!(charge, in_state(AttemptState::Sent));
}

#[test]
fn a_refused_refund_ends_after_one_look_and_is_never_sent_again() {
    for refusal in [
        Answer::Declined(None),
        Answer::StateRefused(None),
        Answer::StateRefused(Some(intent(IntentStatus::Succeeded))),
    ] {
        let mut refund = Attempt { kind: AttemptKind::Refund, ..in_state(AttemptState::Sent) };
        learn(&mut refund, Call::Refund, refusal, DateTime::UNIX_EPOCH);
        assert_eq!(next(&refund, None), Step::Ask(Look::Refund));
        let mut found = refund.clone();
        let lesson =
            learn_from_look(&mut found, Look::Refund, Answer::Refunded { amount_minor: 4990 }, DateTime::UNIX_EPOCH);
        assert_eq!(lesson, Lesson::Settled(Outcome::Captured), "a lost yes counts more than a later no");
        learn_from_look(&mut refund, Look::Refund, Answer::NotFound, DateTime::UNIX_EPOCH);
        assert_eq!(next(&refund, None), Step::Settle(Outcome::GivenUp));
        assert_eq!(refund.ending().0, AttemptState::Declined);
    }
    let mut failed = Attempt { kind: AttemptKind::Refund, in_doubt: true, ..in_state(AttemptState::Unknown) };
    learn_from_look(&mut failed, Look::Refund, Answer::Declined(None), DateTime::UNIX_EPOCH);
    assert_eq!(next(&failed, None), Step::Settle(Outcome::GivenUp));
}

/// A gateway that keeps its word, behind a network that does not.
#[derive(Debug)]
struct Miniature {
    status: Option<IntentStatus>,
    declines: bool,
    captures: u32,
    cancels: u32,
}

impl Miniature {
    fn shown(&self) -> Answer {
        self.status.map_or(Answer::NotFound, |status| Answer::Intent(intent(status)))
    }

    fn obey(&mut self, call: Call) -> Answer {
        match (call, self.status) {
            (Call::Create, None) => self.status = Some(IntentStatus::RequiresConfirmation),
            (Call::Confirm, Some(IntentStatus::RequiresConfirmation)) if self.declines => {
                self.status = Some(IntentStatus::Declined);
                return Answer::Declined(Some(intent(IntentStatus::Declined)));
            }
            (Call::Confirm, Some(IntentStatus::RequiresConfirmation)) => {
                self.status = Some(IntentStatus::RequiresCapture)
            }
            (Call::Capture, Some(IntentStatus::RequiresCapture)) => {
                self.status = Some(IntentStatus::Succeeded);
                self.captures += 1;
            }
            (
                Call::Cancel,
                Some(IntentStatus::RequiresConfirmation | IntentStatus::Declined | IntentStatus::RequiresCapture),
            ) => {
                self.status = Some(IntentStatus::Canceled);
                self.cancels += 1;
            }
            (Call::Create, Some(_)) => {}
            (_, Some(status)) => return Answer::StateRefused(Some(intent(status))),
            (_, None) => return Answer::NotFound,
        }
        self.shown()
    }
}

/// What the network does to one call.
#[derive(Clone, Copy, Debug)]
enum Weather {
    Fine,
    LostBefore,
    LostAfter,
    Refused,
    Throttled,
    /// The process dies after the call, before it could commit what it learned.
    Crash,
}

fn weather() -> impl Strategy<Value = Weather> {
    prop_oneof![
        3 => Just(Weather::Fine),
        1 => Just(Weather::LostBefore),
        1 => Just(Weather::LostAfter),
        1 => Just(Weather::Refused),
        1 => Just(Weather::Throttled),
        1 => Just(Weather::Crash),
    ]
}

proptest! {
    #[test]
    fn money_moves_once_or_not_at_all_in_any_weather(
        skies in prop::collection::vec(weather(), 0..40),
        declines in any::<bool>(),
        expires_at in prop::option::of(0_usize..40),
    ) {
        let mut gateway = Miniature { status: None, declines, captures: 0, cancels: 0 };
        let mut committed = an_attempt();
        let mut attempt = committed.clone();
        let mut known: Option<Intent> = None;
        let mut skies = skies.into_iter();
        let now = DateTime::UNIX_EPOCH;
        // After the bad weather it is fine; a hundred steps end every story.
        for step in 0..140 {
            if expires_at == Some(step) && !committed.state.is_settled() {
                attempt = committed.clone();
                attempt.give_up(Reason::Expired, now);
                committed = attempt.clone();
                known = None;
            }
            let (lesson, crashed) = match next(&attempt, known.as_ref()) {
                Step::Rest => break,
                Step::Wait => (Lesson::Later, false),
                Step::Record(mark) => {
                    record(&mut attempt, mark, now);
                    (Lesson::GoOn(known.clone()), false)
                }
                Step::Settle(outcome) => (Lesson::Settled(outcome), false),
                Step::Ask(look) => match skies.next().unwrap_or(Weather::Fine) {
                    Weather::Fine => (learn_from_look(&mut attempt, look, gateway.shown(), now), false),
                    Weather::Crash => (Lesson::Later, true),
                    _ => (learn_from_look(&mut attempt, look, Answer::Unknown(String::new()), now), false),
                },
                Step::Send(call) => {
                    prop_assert!(call != Call::Confirm || committed.state != AttemptState::Prepared, "confirmed before SENT was committed");
                    prop_assert!(call != Call::Capture || committed.capture_requested, "captured before it was decided");
                    match skies.next().unwrap_or(Weather::Fine) {
                        Weather::Fine => { let answer = gateway.obey(call); (learn(&mut attempt, call, answer, now), false) }
                        Weather::LostBefore => (learn(&mut attempt, call, Answer::Unknown(String::new()), now), false),
                        Weather::LostAfter => { gateway.obey(call); (learn(&mut attempt, call, Answer::Unknown(String::new()), now), false) }
                        Weather::Refused => (learn(&mut attempt, call, Answer::NotSent, now), false),
                        Weather::Throttled => (learn(&mut attempt, call, Answer::Throttled(None), now), false),
                        Weather::Crash => { gateway.obey(call); (Lesson::Later, true) }
                    }
                }
            };
            if crashed {
                attempt = committed.clone();
                known = None;
                continue;
            }
            known = match lesson {
                Lesson::GoOn(seen) => seen,
                Lesson::Later | Lesson::Alarm(_) => None,
                Lesson::Settled(Outcome::Captured) => { attempt.state = AttemptState::Captured; None }
                Lesson::Settled(Outcome::GivenUp) => { attempt.state = attempt.ending().0; None }
            };
            if attempt.state != committed.state {
                prop_assert!(committed.state.may_become(attempt.state), "{} → {}", committed.state, attempt.state);
            }
            committed = attempt.clone();
        }
        prop_assert!(committed.state.is_settled(), "{committed:?} {gateway:?}");
        prop_assert_eq!(gateway.captures == 1, committed.state == AttemptState::Captured);
        prop_assert!(gateway.captures <= 1);
        if committed.state != AttemptState::Captured {
            prop_assert!(gateway.status != Some(IntentStatus::RequiresCapture), "given up with money still held");
        }
    }
}

/// An attempt at a gateway whose first call authorises.
fn at_once(state: AttemptState) -> Attempt {
    let via = crate::domain::Via { name: "second".to_owned(), flow: Flow::MadeAuthorised };
    Attempt { via, state, ..an_attempt() }
}

#[test]
fn a_call_that_authorises_at_once_waits_for_sent_and_the_gate() {
    assert_eq!(next(&at_once(AttemptState::Prepared), None), Step::Record(Mark::Sent));
    for state in [AttemptState::Sent, AttemptState::Unknown] {
        assert_eq!(next(&at_once(state), None), Step::Send(Call::Create));
    }
    let gated = Call::ALL.map(|call| (Flow::MakeThenConfirm.gates(call), Flow::MadeAuthorised.gates(call)));
    assert_eq!(gated, [(false, true), (true, true), (true, true), (false, false), (true, true)]);
}

#[test]
fn giving_up_without_an_id_ends_only_when_the_gateway_cancelled_by_key() {
    let now = DateTime::UNIX_EPOCH;
    let mut attempt = at_once(AttemptState::Sent);
    let lost = Answer::Unknown("lost".to_owned());
    assert_eq!(learn(&mut attempt, Call::Create, lost.clone(), now), Lesson::Later);
    assert_eq!((attempt.state, attempt.in_doubt), (AttemptState::Unknown, true));
    attempt.give_up(Reason::Expired, now);
    assert_eq!(next(&attempt, None), Step::Send(Call::Cancel));
    assert_eq!(learn(&mut attempt, Call::Cancel, lost, now), Lesson::Later);
    assert_eq!(next(&attempt, None), Step::Send(Call::Cancel));
    assert_eq!(learn(&mut attempt, Call::Cancel, Answer::Gone, now), Lesson::Settled(Outcome::GivenUp));
    assert_eq!(attempt.ending(), (AttemptState::Voided, Reason::Expired));
}

#[test]
fn what_was_refused_for_good_ends_without_a_cancel() {
    let mut attempt = Attempt { intent: Some("pi_1".to_owned()), ..at_once(AttemptState::Sent) };
    let failed = intent(IntentStatus::Failed);
    assert_eq!(next(&attempt, Some(&failed)), Step::Record(Mark::Declined));
    record(&mut attempt, Mark::Declined, DateTime::UNIX_EPOCH);
    assert_eq!(next(&attempt, Some(&failed)), Step::Settle(Outcome::GivenUp));
    assert_eq!(attempt.ending(), (AttemptState::Declined, Reason::PaymentDeclined));
}

#[test]
fn an_attempt_that_is_found_where_it_was_waits_longer_each_time() {
    let mut sent = Attempt { tries: 3, ..in_state(AttemptState::Sent) };
    record(&mut sent, Mark::Authorised, DateTime::UNIX_EPOCH);
    assert_eq!(sent.tries, 0, "an answer is progress");
    let mut unknown = Attempt { tries: 3, ..in_state(AttemptState::Unknown) };
    record(&mut unknown, Mark::Authorised, DateTime::UNIX_EPOCH);
    assert_eq!((unknown.state, unknown.tries), (AttemptState::Authorised, 3), "a look that finds nothing new is none");
}
