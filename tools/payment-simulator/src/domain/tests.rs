//! The state machine as a table, and what holds after any sequence of steps.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn intent(status: Status, capture: CaptureMethod) -> Intent {
    let charged = matches!(status, Status::RequiresCapture | Status::Processing | Status::Succeeded);
    Intent {
        account: Account::Intents,
        id: "pi_1".into(),
        amount: 4990,
        currency: Currency::parse("EUR").unwrap(),
        capture,
        status,
        card: Card::parse("tok_ok"),
        metadata: BTreeMap::from([("order_id".to_owned(), "o-1".to_owned())]),
        created_ms: 1,
        taken: if matches!(status, Status::Processing | Status::Succeeded) { 4990 } else { 0 },
        refunded: 0,
        charge: charged.then(|| "ch_1".to_owned()),
        decline: None,
        canceled_ms: None,
        cancellation_reason: None,
    }
}

fn statuses(step: impl Fn(&Intent) -> Result<Change, Refusal>, capture: CaptureMethod) -> Vec<Option<Status>> {
    Status::ALL.map(|status| step(&intent(status, capture)).ok().map(|change| change.intent.status)).to_vec()
}

#[test]
fn each_step_is_possible_in_its_states_only() {
    use Status::{Canceled, Processing, RequiresCapture, RequiresPaymentMethod, Succeeded};
    let (manual, automatic) = (CaptureMethod::Manual, CaptureMethod::Automatic);
    let confirm = |verdict| move |intent: &Intent| intent.confirm(None, verdict, "ch_1".into());
    let capture = |verdict| move |intent: &Intent| intent.capture(None, verdict);
    let declined = Verdict::Declined(Decline::Generic);
    // In the order of `Status::ALL`: no card, to confirm, to capture, processing, succeeded, cancelled.
    let table = [
        (
            statuses(confirm(Verdict::Approved), manual),
            [Some(RequiresCapture), Some(RequiresCapture), None, None, None, None],
        ),
        (statuses(confirm(Verdict::Approved), automatic), [Some(Succeeded), Some(Succeeded), None, None, None, None]),
        (
            statuses(confirm(Verdict::ApprovedLater), automatic),
            [Some(Processing), Some(Processing), None, None, None, None],
        ),
        (
            statuses(confirm(declined), manual),
            [Some(RequiresPaymentMethod), Some(RequiresPaymentMethod), None, None, None, None],
        ),
        (statuses(capture(Verdict::Approved), manual), [None, None, Some(Succeeded), None, None, None]),
        (statuses(capture(Verdict::ApprovedLater), manual), [None, None, Some(Processing), None, None, None]),
        (statuses(capture(declined), manual), [None, None, Some(RequiresCapture), None, None, None]),
        (statuses(Intent::settle, manual), [None, None, None, Some(Succeeded), None, None]),
        (statuses(|i| i.cancel(None, 9), manual), [Some(Canceled), Some(Canceled), Some(Canceled), None, None, None]),
        (
            statuses(|i| i.refund(None, "re_1".into(), None, BTreeMap::new(), 9), manual),
            [None, None, None, None, Some(Succeeded), None],
        ),
    ];
    for (row, (found, expected)) in table.into_iter().enumerate() {
        assert_eq!(found, expected, "row {row}");
    }
}

#[test]
fn amounts_outside_what_can_be_moved_are_refused() {
    let authorised = intent(Status::RequiresCapture, CaptureMethod::Manual);
    let table = [(0, Refusal::NotPositive), (-1, Refusal::NotPositive), (4991, Refusal::TooMuch { most: 4990 })];
    for (amount, refusal) in table {
        assert_eq!(authorised.capture(Some(amount), Verdict::Approved), Err(refusal));
    }
    let part = authorised.capture(Some(1000), Verdict::Approved).unwrap().intent;
    assert_eq!((part.received(), part.capturable()), (1000, 0));
    let refund = |intent: &Intent, amount| intent.refund(amount, "re_1".into(), None, BTreeMap::new(), 9);
    assert_eq!(refund(&part, Some(1001)), Err(Refusal::TooMuch { most: 1000 }));
    let rest = refund(&part, Some(400)).unwrap().intent;
    let none = refund(&rest, None).unwrap();
    assert_eq!(none.refund.as_ref().map(|refund| refund.amount), Some(600));
    assert_eq!(refund(&none.intent, None), Err(Refusal::AlreadyRefunded));
}

#[test]
fn a_decline_takes_the_card_off_and_moves_no_money() {
    let open = intent(Status::RequiresConfirmation, CaptureMethod::Manual);
    let change = open.confirm(None, Verdict::Declined(Decline::InsufficientFunds), "ch_1".into()).unwrap();
    assert_eq!((change.movement, change.event), (None, Some(Event::PaymentFailed)));
    assert_eq!((change.intent.card, change.intent.charge), (None, None));
}

#[test]
fn only_tokens_are_cards() {
    for text in ["tok_ok", "pm_card_visa", "tok_error500_charged"] {
        assert!(Card::parse(text).is_some(), "{text}");
    }
    for text in ["", "tok_", "tok_a b", "4242424242424242", "card_1", "pm_ä1"] {
        assert!(Card::parse(text).is_none(), "{text}");
    }
}

#[test]
fn a_capture_stands_until_it_is_refunded_in_full() {
    let entry = |kind, intent: &str, amount| Entry {
        sequence: 1,
        account: Account::Intents,
        attempt: None,
        kind,
        reference: Some("o-1".into()),
        intent: intent.into(),
        charge: format!("ch_{intent}"),
        refund: None,
        amount,
        currency: Currency::parse("usd").unwrap(),
        at_ms: 0,
        epoch: None,
    };
    let mut books = vec![entry(EntryKind::Capture, "pi_1", 100), entry(EntryKind::Capture, "pi_2", 100)];
    assert_eq!(summarise(&books).charged_twice.len(), 1);
    books.push(entry(EntryKind::Refund, "pi_2", 60));
    assert_eq!(summarise(&books).charged_twice.len(), 1);
    books.push(entry(EntryKind::Refund, "pi_2", 40));
    let summary = summarise(&books);
    assert_eq!((summary.charged_twice.len(), summary.orders, summary.orders_charged), (0, 1, 1));
    assert_eq!(summary.totals["usd"].net(), 100);
}

#[derive(Clone, Debug)]
enum Step {
    Confirm(u8),
    Capture(Option<i64>, u8),
    Settle,
    Cancel,
    Refund(Option<i64>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let amount = || prop::option::of(-10..6000i64);
    let step = prop_oneof![
        (0..4u8).prop_map(Step::Confirm),
        (amount(), 0..4u8).prop_map(|(amount, verdict)| Step::Capture(amount, verdict)),
        Just(Step::Settle),
        Just(Step::Cancel),
        amount().prop_map(Step::Refund),
    ];
    prop::collection::vec(step, 0..30)
}

fn verdict(number: u8) -> Verdict {
    match number {
        0 => Verdict::Declined(Decline::Generic),
        1 => Verdict::ApprovedLater,
        _ => Verdict::Approved,
    }
}

fn apply(intent: &Intent, step: &Step) -> Result<Change, Refusal> {
    match step {
        Step::Confirm(number) => intent.confirm(Card::parse("tok_ok"), verdict(*number), "ch_1".into()),
        Step::Capture(amount, number) => intent.capture(*amount, verdict(*number)),
        Step::Settle => intent.settle(),
        Step::Cancel => intent.cancel(None, 9),
        Step::Refund(amount) => intent.refund(*amount, "re_1".into(), None, BTreeMap::new(), 9),
    }
}

proptest! {
    #[test]
    fn whatever_is_asked_money_is_conserved(manual in any::<bool>(), steps in steps()) {
        let capture = if manual { CaptureMethod::Manual } else { CaptureMethod::Automatic };
        let mut intent = intent(Status::RequiresConfirmation, capture);
        let (mut captured, mut refunded, mut voided, mut successes) = (0, 0, 0, 0);
        for step in &steps {
            let before = intent.clone();
            let Ok(change) = apply(&intent, step) else { continue };
            if let Some(movement) = &change.movement {
                prop_assert!(movement.amount > 0);
                match movement.kind {
                    EntryKind::Capture => captured += movement.amount,
                    EntryKind::Refund => refunded += movement.amount,
                    EntryKind::Void => voided += 1,
                    EntryKind::Authorise => {}
                }
            }
            successes += u32::from(change.event == Some(Event::Succeeded));
            intent = change.intent;
            prop_assert!(captured - refunded >= 0);
            prop_assert!(captured <= intent.amount);
            prop_assert!(successes <= 1);
            prop_assert!(voided == 0 || captured == 0);
            prop_assert_eq!(captured, intent.received());
            prop_assert_eq!(refunded, intent.refunded);
            // A final state stays final.
            if matches!(before.status, Status::Succeeded | Status::Canceled) {
                prop_assert_eq!(before.status, intent.status);
            }
        }
    }
}
