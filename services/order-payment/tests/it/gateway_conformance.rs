//! One suite for every gateway adapter: a table of stories that each must pass, against the simulator (one set of books behind
//! both wires) and against servers that misbehave in every way an answer can.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chassis::config::Secret;
use chrono::DateTime;
use common::{AttemptId, Money, OrderId, Private};
use messaging::Epoch;
use order_payment::domain::{
    Answer, Attempt, AttemptKind, AttemptState, Call, Flow, IntentStatus, Look, PaymentToken, Via,
};
use order_payment::outbound::gateway::{PaymentIntents, Square};
use order_payment::usecases::ports::Gateway;
use payment_simulator::{EntryKind, Running, Settings, Timings};
use serde_json::{Value, json};

use crate::scripted_gateway::{JSON, Script, http, server};
use crate::world::REGION;

/// Short enough that many lost answers fit into a test.
const CALL_TIMEOUT: Duration = Duration::from_millis(700);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Intents,
    Square,
}

const WIRES: [Wire; 2] = [Wire::Intents, Wire::Square];

impl Wire {
    fn flow(self) -> Flow {
        match self {
            Self::Intents => Flow::MakeThenConfirm,
            Self::Square => Flow::MadeAuthorised,
        }
    }

    fn adapter(self, base_url: &str) -> Arc<dyn Gateway> {
        let (key, epoch) = (Secret::new("sk_test_local"), Epoch::new(1));
        match self {
            Self::Intents => {
                Arc::new(PaymentIntents::with_timeout(base_url, key, REGION, epoch, CALL_TIMEOUT).unwrap())
            }
            Self::Square => Arc::new(Square::with_timeout(base_url, key, REGION, epoch, CALL_TIMEOUT).unwrap()),
        }
    }

    /// The call that authorises.
    fn authorising(self) -> Call {
        match self {
            Self::Intents => Call::Confirm,
            Self::Square => Call::Create,
        }
    }

    /// A body in which this wire says: refused, for this reason.
    fn error(self, intents: (&str, &str, Option<&str>), square: (&str, &str, Option<&str>)) -> Value {
        match self {
            Self::Intents => json!({"error": {"type": intents.0, "code": intents.1, "param": intents.2}}),
            Self::Square => json!({"errors": [{"category": square.0, "code": square.1, "field": square.2}]}),
        }
    }

    /// A body in which this wire shows the refund of attempt 1, under way or refused for good.
    fn refund(self, refused: bool) -> Value {
        match self {
            Self::Intents => json!({
                "object": "refund", "status": if refused { "failed" } else { "pending" }, "amount": 4990,
                "metadata": {"attempt": "1"},
            }),
            Self::Square => json!({"refund": {
                "id": "re_1", "status": if refused { "REJECTED" } else { "PENDING" },
                "amount_money": {"amount": 4990, "currency": "EUR"}, "reason": "attempt 1",
            }}),
        }
    }

    /// A body in which this wire shows a payment.
    fn payment(self, id: &str, order: &str, authorised: bool) -> Value {
        match self {
            Self::Intents => json!({
                "id": id, "object": "payment_intent", "status": if authorised { "requires_capture" } else { "succeeded" },
                "amount": 4990, "currency": "eur", "created": 7, "metadata": {"order_id": order, "attempt": "1"},
            }),
            Self::Square => json!({"payment": {
                "id": id, "status": if authorised { "APPROVED" } else { "COMPLETED" }, "reference_id": order,
                "amount_money": {"amount": 4990, "currency": "EUR"}, "created_at": "1970-01-01T00:00:07Z", "note": "attempt 1",
            }}),
        }
    }
}

fn attempt(wire: Wire, token: &str, minor: i64) -> Attempt {
    let via = Via { name: "here".to_owned(), flow: wire.flow() };
    Attempt {
        amount: Money::from_minor(minor, REGION.currency()).unwrap(),
        token: Private::new(PaymentToken::parse(token).unwrap()),
        ..an_attempt(via)
    }
}

/// A sent attempt of an order of its own.
pub fn an_attempt(via: Via) -> Attempt {
    let order = OrderId::from_uuid(common::ids::random());
    Attempt {
        id: AttemptId::derive(order, 1),
        order,
        number: 1,
        kind: AttemptKind::Charge,
        via,
        amount: Money::from_minor(4990, REGION.currency()).unwrap(),
        token: Private::new(PaymentToken::parse("tok_ok").unwrap()),
        state: AttemptState::Sent,
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
        created_at: common::Clock::now(&common::SystemClock),
    }
}

/// The refund of a charge, as an attempt of its own.
fn refund_of(charge: &Attempt, number: u32, minor: i64) -> Attempt {
    Attempt {
        id: AttemptId::derive(charge.order, number),
        number,
        kind: AttemptKind::Refund,
        amount: Money::from_minor(minor, REGION.currency()).unwrap(),
        ..charge.clone()
    }
}

struct Bench {
    wire: Wire,
    gateway: Arc<dyn Gateway>,
    simulator: Running,
}

impl Bench {
    async fn open(wire: Wire) -> Self {
        let state = std::env::temp_dir().join(format!("conformance-{}.redb", common::ids::random()));
        let timings =
            Timings { hold: Duration::from_secs(2), settle: Duration::from_millis(200), ..Timings::default() };
        let simulator = payment_simulator::start(Settings { timings, ..Settings::new(state.clone()) }).await.unwrap();
        // It has the file open; nothing is left when it ends.
        std::fs::remove_file(state).unwrap();
        Self { wire, gateway: wire.adapter(&simulator.base_url), simulator }
    }

    /// An attempt whose money is set aside.
    async fn authorised(&self, token: &str, minor: i64) -> Attempt {
        let mut made = attempt(self.wire, token, minor);
        let answer = self.gateway.send(Call::Create, &made).await;
        let Answer::Intent(intent) = answer else { panic!("{:?} {token}: {answer:?}", self.wire) };
        made.intent = Some(intent.id);
        if self.wire == Wire::Intents {
            self.gateway.send(Call::Confirm, &made).await;
        }
        assert_eq!(self.status(&made).await, IntentStatus::RequiresCapture, "{:?} {token}", self.wire);
        made
    }

    async fn charged(&self, minor: i64) -> Attempt {
        let made = self.authorised("tok_ok", minor).await;
        assert_eq!(self.gateway.send(Call::Capture, &made).await.label(), "ok");
        made
    }

    async fn status(&self, attempt: &Attempt) -> IntentStatus {
        match self.gateway.look(Look::Intent, attempt).await {
            Answer::Intent(intent) => intent.status,
            answer => panic!("{:?}: {answer:?}", self.wire),
        }
    }

    /// The movements of an order in the gateway's books.
    async fn moved(&self, attempt: &Attempt) -> Vec<(EntryKind, i64)> {
        let reference = attempt.order.to_string();
        let books = self.simulator.books().await.unwrap();
        let mine = books.iter().filter(|entry| entry.reference.as_deref() == Some(reference.as_str()));
        mine.map(|entry| (entry.kind, entry.amount)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_is_authorised_taken_and_given_back_whole_or_in_part() {
    use EntryKind::{Authorise, Capture, Refund};
    for wire in WIRES {
        let bench = Bench::open(wire).await;
        let charge = bench.authorised("tok_ok", 4990).await;
        let Answer::Intent(shown) = bench.gateway.look(Look::Intent, &charge).await else { panic!("{wire:?}") };
        assert_eq!((shown.amount_minor, shown.currency.as_str()), (4990, "EUR"));
        assert_eq!((shown.order, shown.attempt), (Some(charge.order.to_string()), Some(1)));
        bench.gateway.send(Call::Capture, &charge).await;
        assert_eq!(bench.status(&charge).await, IntentStatus::Succeeded);
        // In part, then the rest; the second wire answers "pending" first.
        for (number, minor) in [(2, 990), (3, 4000)] {
            let refund = refund_of(&charge, number, minor);
            assert_eq!(bench.gateway.look(Look::Refund, &refund).await, Answer::NotFound, "{wire:?}");
            let sent = bench.gateway.send(Call::Refund, &refund).await;
            assert!(matches!(sent, Answer::Refunded { .. } | Answer::InProgress), "{wire:?}: {sent:?}");
            let looked = bench.gateway.look(Look::Refund, &refund).await;
            assert_eq!(looked, Answer::Refunded { amount_minor: minor }, "{wire:?}");
        }
        let more = bench.gateway.send(Call::Refund, &refund_of(&charge, 4, 1)).await;
        assert_eq!(more.label(), "state_refused", "{wire:?}: {more:?}");
        let expected = [(Authorise, 4990), (Capture, 4990), (Refund, 990), (Refund, 4000)];
        assert_eq!(bench.moved(&charge).await, expected, "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_refunds_each_is_found() {
    for wire in WIRES {
        let bench = Bench::open(wire).await;
        let charge = bench.charged(4990).await;
        for number in 2..32 {
            bench.gateway.send(Call::Refund, &refund_of(&charge, number, 100)).await;
        }
        for number in [2, 16, 22, 31] {
            let looked = bench.gateway.look(Look::Refund, &refund_of(&charge, number, 100)).await;
            assert_eq!(looked, Answer::Refunded { amount_minor: 100 }, "{wire:?} {number}");
        }
        let looked = bench.gateway.look(Look::Refund, &refund_of(&charge, 32, 100)).await;
        assert_eq!(looked, Answer::NotFound, "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_of_many_requests_takes_no_longer_than_one() {
    // Each refund is shown late and is another attempt's; one after the other, or eight at a time, they take longer than a call may.
    let charge = Attempt { intent: Some("pay_1".to_owned()), ..attempt(Wire::Square, "tok_ok", 4990) };
    let mut body = Wire::Square.payment("pay_1", &charge.order.to_string(), false);
    body["payment"]["refund_ids"] = (0..100).map(|number| format!("re_{number}")).collect();
    let (url, _) = server(Script::Late(CALL_TIMEOUT / 2, http("200 OK", JSON, &body.to_string()))).await;
    let began = std::time::Instant::now();
    let looked = Wire::Square.adapter(&url).look(Look::Refund, &refund_of(&charge, 2, 100)).await;
    assert_eq!(looked.label(), "unknown", "{looked:?}");
    assert!(began.elapsed() < CALL_TIMEOUT + Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_call_again_moves_no_money_again() {
    for wire in WIRES {
        let bench = Bench::open(wire).await;
        let mut charge = attempt(wire, "tok_ok", 4990);
        let mut ids = Vec::new();
        for _ in 0..3 {
            let Answer::Intent(made) = bench.gateway.send(Call::Create, &charge).await else { panic!("{wire:?}") };
            ids.push(made.id);
            // What changes from try to try is no part of the key.
            charge.tries += 1;
            charge.version += 1;
        }
        assert!(ids.iter().all(|id| *id == ids[0]), "{wire:?}: one key makes one payment");
        charge.intent = Some(ids.remove(0));
        for call in [Call::Confirm, Call::Capture] {
            for _ in 0..3 {
                bench.gateway.send(call, &charge).await;
            }
        }
        let refund = refund_of(&charge, 2, 4990);
        for _ in 0..3 {
            bench.gateway.send(Call::Refund, &refund).await;
        }
        let kinds: Vec<EntryKind> = bench.moved(&charge).await.into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [EntryKind::Authorise, EntryKind::Capture, EntryKind::Refund], "{wire:?}");
        // Other parameters under the key of an attempt: our row was rebuilt differently.
        let other = Attempt { amount: Money::from_minor(4991, REGION.currency()).unwrap(), intent: None, ..charge };
        assert_eq!(bench.gateway.send(Call::Create, &other).await, Answer::KeyClash, "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_is_final_and_comes_too_late_for_money_that_was_taken() {
    for wire in WIRES {
        let bench = Bench::open(wire).await;
        let given_up = bench.authorised("tok_ok", 4990).await;
        assert_eq!(bench.gateway.send(Call::Cancel, &given_up).await.label(), "ok", "{wire:?}");
        assert_eq!(bench.status(&given_up).await, IntentStatus::Canceled);
        assert_eq!(bench.gateway.send(Call::Capture, &given_up).await.label(), "state_refused", "{wire:?}");
        let taken = bench.charged(4990).await;
        assert_eq!(bench.gateway.send(Call::Cancel, &taken).await.label(), "state_refused", "{wire:?}");
        assert_eq!(bench.status(&taken).await, IntentStatus::Succeeded);
        let kinds: Vec<EntryKind> = bench.moved(&given_up).await.into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [EntryKind::Authorise, EntryKind::Void], "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_without_an_id_is_found_by_its_order_and_given_up_by_its_key() {
    for wire in WIRES {
        let bench = Bench::open(wire).await;
        let known = bench.authorised("tok_ok", 4990).await;
        let lost = Attempt { intent: None, ..known.clone() };
        let Answer::Intent(found) = bench.gateway.look(Look::Reference, &lost).await else { panic!("{wire:?}") };
        assert_eq!(Some(found.id), known.intent);
        let second = Attempt { number: 2, ..lost.clone() };
        assert_eq!(bench.gateway.look(Look::Reference, &second).await, Answer::NotFound, "{wire:?}");
        assert_eq!(bench.gateway.look(Look::Reference, &attempt(wire, "tok_ok", 1)).await, Answer::NotFound);
        if wire == Wire::Square {
            // The barrier where no id was ever learned: also for a key that made nothing.
            assert_eq!(bench.gateway.send(Call::Cancel, &lost).await, Answer::Gone);
            assert_eq!(bench.status(&known).await, IntentStatus::Canceled);
            assert_eq!(bench.gateway.send(Call::Cancel, &attempt(wire, "tok_ok", 1)).await, Answer::Gone);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_that_says_no_and_a_card_of_nobody_are_told_apart() {
    for wire in WIRES {
        let bench = Bench::open(wire).await;
        for token in ["tok_declined", "tok_insufficient"] {
            let mut refused = attempt(wire, token, 4990);
            if let Answer::Intent(made) = bench.gateway.send(Call::Create, &refused).await {
                refused.intent = Some(made.id);
            }
            let answer = bench.gateway.send(wire.authorising(), &refused).await;
            assert_eq!(answer.label(), "declined", "{wire:?} {token}: {answer:?}");
            assert_eq!(bench.moved(&refused).await, [], "{wire:?} {token}");
        }
        let foreign = attempt(wire, "tok_somebody_elses", 4990);
        assert_eq!(bench.gateway.send(Call::Create, &foreign).await, Answer::TokenRefused, "{wire:?}");
        let at_capture = bench.authorised("tok_ok", 9_999_908).await;
        assert_eq!(bench.gateway.send(Call::Capture, &at_capture).await.label(), "declined", "{wire:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_scripted_fault_is_told_as_what_it_is_and_the_truth_is_found_afterwards() {
    for wire in WIRES {
        let bench = Bench::open(wire).await;
        for (token, minor, first) in [
            ("tok_timeout_charged", 4990, "unknown"),
            ("tok_timeout_not_charged", 4990, "unknown"),
            ("tok_error500_charged", 4990, "unknown"),
            ("tok_reset", 4990, "unknown"),
            ("tok_ok", 9_999_911, "unknown"),
            ("tok_ok", 9_999_912, "unknown"),
            ("tok_webhook_only", 4990, "ok"),
        ] {
            let charge = bench.authorised(token, minor).await;
            // A fresh adapter each: the breaker has a story of its own.
            let gateway = wire.adapter(&bench.simulator.base_url);
            let answer = gateway.send(Call::Capture, &charge).await;
            assert_eq!(answer.label(), first, "{wire:?} {token} {minor}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(if token == "tok_webhook_only" { 600 } else { 0 })).await;
            if bench.status(&charge).await == IntentStatus::RequiresCapture {
                gateway.send(Call::Capture, &charge).await;
            }
            assert_eq!(bench.status(&charge).await, IntentStatus::Succeeded, "{wire:?} {token} {minor}");
        }
        for (minor, first) in [(9_999_902, "unknown"), (9_999_904, "unknown"), (9_999_906, "throttled")] {
            let mut charge = attempt(wire, "tok_ok", minor);
            let gateway = wire.adapter(&bench.simulator.base_url);
            if wire == Wire::Intents
                && let Answer::Intent(made) = gateway.send(Call::Create, &charge).await
            {
                charge.intent = Some(made.id);
            }
            assert_eq!(gateway.send(wire.authorising(), &charge).await.label(), first, "{wire:?} {minor}");
            let again = gateway.send(wire.authorising(), &charge).await;
            let found = matches!(&again, Answer::Intent(intent) if intent.status == IntentStatus::RequiresCapture);
            assert!(found, "{wire:?} {minor}: the same key finds what was made: {again:?}");
        }
        assert!(bench.simulator.summary().await.unwrap().captured_twice.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_has_every_payment_of_the_window() {
    for wire in WIRES {
        let bench = Bench::open(wire).await;
        let mut expected = Vec::new();
        for _ in 0..3 {
            expected.extend(bench.charged(100).await.intent);
        }
        let now = common::Clock::now(&common::SystemClock).timestamp();
        let mut listed: Vec<String> =
            bench.gateway.intents_between(now - 60, now).await.unwrap().into_iter().map(|intent| intent.id).collect();
        listed.sort();
        expected.sort();
        assert_eq!(listed, expected, "{wire:?}");
        assert!(bench.gateway.intents_between(now + 60, now + 120).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_says_of_each_payment_how_much_of_it_went_back() {
    for wire in WIRES {
        let bench = Bench::open(wire).await;
        let held = bench.authorised("tok_ok", 4990).await;
        let (kept, part, whole) = (bench.charged(4990).await, bench.charged(4990).await, bench.charged(4990).await);
        for (charge, number, minor) in [(&part, 2, 900), (&part, 3, 90), (&whole, 2, 4990)] {
            bench.gateway.send(Call::Refund, &refund_of(charge, number, minor)).await;
        }
        let now = common::Clock::now(&common::SystemClock).timestamp();
        let listed = bench.gateway.intents_between(now - 60, now).await.unwrap();
        for (charge, expected) in [(&kept, 0), (&part, 990), (&whole, 4990), (&held, 0)] {
            let shown = listed.iter().find(|intent| Some(&intent.id) == charge.intent.as_ref()).unwrap();
            let back = (shown.amount_minor, shown.refunded_minor.unwrap_or_default());
            assert_eq!(back, (4990, expected), "{wire:?}: {shown:?}");
            assert!(shown.refunded_minor.is_some() || shown.status != IntentStatus::Succeeded, "{wire:?}: {shown:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_class_of_answer_means_the_same_on_both_wires() {
    const INVALID: &str = "invalid_request_error";
    const SQUARE_INVALID: &str = "INVALID_REQUEST_ERROR";
    for wire in WIRES {
        let charge = Attempt { intent: Some("pay_1".to_owned()), ..attempt(wire, "tok_ok", 4990) };
        let order = charge.order.to_string();
        let whole = wire.payment("pay_1", &order, false).to_string();
        let error = |intents, square| wire.error(intents, square).to_string();
        let refund = |refused| wire.refund(refused).to_string();
        let cut = {
            let mut cut = http("200 OK", JSON, &whole);
            cut.truncate(cut.len() - whole.len() / 2);
            cut
        };
        let internal = error(("api_error", "", None), ("API_ERROR", "INTERNAL_SERVER_ERROR", None));
        let unauthorized = error((INVALID, "", None), ("AUTHENTICATION_ERROR", "UNAUTHORIZED", None));
        let missing = error((INVALID, "resource_missing", None), (SQUARE_INVALID, "NOT_FOUND", None));
        let in_use = error((INVALID, "idempotency_key_in_use", None), ("API_ERROR", "CONFLICT", None));
        let reused = error(("idempotency_error", "", None), (SQUARE_INVALID, "IDEMPOTENCY_KEY_REUSED", None));
        let declined = error(("card_error", "card_declined", None), ("PAYMENT_METHOD_ERROR", "GENERIC_DECLINE", None));
        let no_card = error(
            (INVALID, "resource_missing", Some("payment_method")),
            (SQUARE_INVALID, "NOT_FOUND", Some("source_id")),
        );
        let invalid = error((INVALID, "parameter_invalid", None), (SQUARE_INVALID, "VALUE_TOO_LONG", None));
        let table: Vec<(&str, Call, Script, &str)> = vec![
            ("a success", Call::Capture, Script::Say(http("200 OK", JSON, &whole)), "ok"),
            ("200 with a failure body", Call::Capture, Script::Say(http("200 OK", JSON, &declined)), "unknown"),
            ("HTML", Call::Capture, Script::Say(http("200 OK", "content-type: text/html\r\n", "<html>")), "unknown"),
            ("HTML with 404", Call::Capture, Script::Say(http("404 Not Found", "", "<html>")), "unknown"),
            ("a cut body", Call::Capture, Script::Say(cut), "unknown"),
            ("an empty body", Call::Capture, Script::Say(http("200 OK", JSON, "")), "unknown"),
            ("a number", Call::Capture, Script::Say(http("200 OK", JSON, "7")), "unknown"),
            (
                "a gzip bomb",
                Call::Capture,
                Script::Say(http("200 OK", "content-encoding: gzip\r\n", "\u{1f}\u{8b}")),
                "unknown",
            ),
            ("302", Call::Capture, Script::Say(http("302 Found", "location: /elsewhere\r\n", "")), "unknown"),
            ("500", Call::Capture, Script::Say(http("500 Oops", JSON, &internal)), "unknown"),
            ("503", Call::Capture, Script::Say(http("503 Busy", "", "")), "unknown"),
            ("a reset after connecting", Call::Capture, Script::Reset, "unknown"),
            ("a slow byte", Call::Capture, Script::Drip(http("200 OK", JSON, &whole)), "unknown"),
            ("100 MiB", Call::Capture, Script::Flood(100 * 1024 * 1024), "unknown"),
            ("402", wire.authorising(), Script::Say(http("402 No", JSON, &declined)), "declined"),
            ("401", Call::Capture, Script::Say(http("401 Who", JSON, &unauthorized)), "misconfigured"),
            ("403", Call::Capture, Script::Say(http("403 No", JSON, &unauthorized)), "misconfigured"),
            ("404", Call::Capture, Script::Say(http("404 Gone", JSON, &missing)), "not_found"),
            ("404 of the card", Call::Create, Script::Say(http("404 Gone", JSON, &no_card)), "token_refused"),
            ("400", Call::Create, Script::Say(http("400 Bad", JSON, &invalid)), "misconfigured"),
            ("422", Call::Create, Script::Say(http("422 Bad", JSON, &invalid)), "misconfigured"),
            ("409 in progress", Call::Create, Script::Say(http("409 Wait", JSON, &in_use)), "in_progress"),
            ("a key with other parameters", Call::Create, Script::Say(http("400 Bad", JSON, &reused)), "key_clash"),
            ("a refund under way", Call::Refund, Script::Say(http("200 OK", JSON, &refund(false))), "in_progress"),
            ("a refund refused", Call::Refund, Script::Say(http("200 OK", JSON, &refund(true))), "declined"),
        ];
        for (story, call, script, expected) in table {
            let (url, asked) = server(script).await;
            let answer = wire.adapter(&url).send(call, &charge).await;
            assert_eq!(answer.label(), expected, "{wire:?}, {story}: {answer:?}");
            assert_eq!(
                asked.load(Ordering::Relaxed),
                1,
                "{wire:?}, {story}: asked once, nothing followed, nothing repeated"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_about_another_payment_is_shown_as_it_came_and_not_taken_for_ours() {
    use order_payment::domain::settle::{Lesson, learn};
    for wire in WIRES {
        let mut charge = Attempt { intent: Some("pay_1".to_owned()), ..attempt(wire, "tok_ok", 4990) };
        let other = wire.payment("pay_2", &charge.order.to_string(), false).to_string();
        let (url, _) = server(Script::Say(http("201 Created", JSON, &other))).await;
        let answer = wire.adapter(&url).send(Call::Capture, &charge).await;
        let lesson = learn(&mut charge, Call::Capture, answer, DateTime::UNIX_EPOCH);
        assert!(matches!(lesson, Lesson::Alarm(_)), "{wire:?}: {lesson:?}");
        assert_eq!((charge.state, charge.intent.as_deref()), (AttemptState::Sent, Some("pay_1")));
    }
}

#[tokio::test]
async fn a_wish_to_wait_is_heard_bounded_or_not_at_all() {
    use order_payment::domain::settle::learn;
    let table = [
        ("3600", Some(Duration::from_secs(3600))),
        ("-5", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("soon", None),
    ];
    for wire in WIRES {
        for (text, expected) in table {
            let script = Script::Say(http("429 Slow down", &format!("retry-after: {text}\r\n"), ""));
            let (url, _) = server(script).await;
            let mut charge = Attempt { state: AttemptState::Prepared, ..attempt(wire, "tok_ok", 4990) };
            let answer = wire.adapter(&url).send(Call::Create, &charge).await;
            assert_eq!(answer, Answer::Throttled(expected), "{wire:?} {text}");
            learn(&mut charge, Call::Create, answer, DateTime::UNIX_EPOCH);
            let wait = charge.due_at - DateTime::UNIX_EPOCH;
            assert!(
                wait > chrono::Duration::zero() && wait <= chrono::Duration::minutes(15),
                "{wire:?} {text}: {wait}"
            );
            assert_eq!((charge.state, charge.giving_up), (AttemptState::Prepared, None), "nothing was executed");
        }
    }
}

#[tokio::test]
async fn what_was_never_sent_is_told_from_what_may_have_arrived() {
    for wire in WIRES {
        let charge = Attempt { intent: Some("pay_1".to_owned()), ..attempt(wire, "tok_ok", 4990) };
        let nobody = wire.adapter("http://127.0.0.1:9");
        assert_eq!(nobody.send(Call::Capture, &charge).await, Answer::NotSent, "{wire:?}: refused");
        let nowhere = wire.adapter("http://gateway.invalid");
        assert_eq!(nowhere.send(Call::Capture, &charge).await, Answer::NotSent, "{wire:?}: no such name");
        // Not TLS: the handshake fails, and a request is sent only after it.
        let (url, _) = server(Script::Say(http("200 OK", "", ""))).await;
        let plain = wire.adapter(&url.replace("http:", "https:"));
        assert_eq!(plain.send(Call::Capture, &charge).await, Answer::NotSent, "{wire:?}: no TLS");
    }
}

#[tokio::test]
async fn an_operation_that_keeps_failing_rests_alone_and_what_it_did_not_send_is_not_declined() {
    use order_payment::domain::settle::learn;
    for wire in WIRES {
        let (url, asked) = server(Script::Say(http("500 Oops", "", ""))).await;
        let gateway = wire.adapter(&url);
        let mut charge = Attempt { intent: Some("pay_1".to_owned()), ..attempt(wire, "tok_ok", 4990) };
        for _ in 0..5 {
            assert_eq!(gateway.send(Call::Capture, &charge).await.label(), "unknown");
        }
        let before = asked.load(Ordering::Relaxed);
        let open = gateway.send(Call::Capture, &charge).await;
        assert_eq!((open.clone(), asked.load(Ordering::Relaxed)), (Answer::NotSent, before), "{wire:?}: it rests");
        charge.state = AttemptState::Prepared;
        learn(&mut charge, Call::Capture, open, DateTime::UNIX_EPOCH);
        assert_eq!((charge.state, charge.giving_up, charge.in_doubt), (AttemptState::Prepared, None, false));
        for call in [Call::Create, Call::Cancel, Call::Refund] {
            assert_eq!(gateway.send(call, &charge).await.label(), "unknown", "{wire:?}: {call:?} goes on");
        }
        assert_eq!(gateway.look(Look::Intent, &charge).await.label(), "unknown", "{wire:?}: looks go on");
    }
}
