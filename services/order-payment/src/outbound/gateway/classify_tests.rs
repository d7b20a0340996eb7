//! The table of answers: what each means, whatever the HTTP status says.

use serde_json::json;

use super::*;

fn intent_json(status: &str, error: serde_json::Value) -> serde_json::Value {
    json!({
        "id": "pi_1", "object": "payment_intent", "status": status, "amount": 4990, "currency": "eur", "created": 7,
        "last_payment_error": error, "metadata": {"order_id": "o-1", "attempt": "1"},
    })
}

fn status_of(answer: &Answer) -> Option<IntentStatus> {
    match answer {
        Answer::Intent(intent) => Some(intent.status),
        _ => None,
    }
}

#[test]
fn an_intent_is_read_by_its_status_and_its_error() {
    let table = [
        ("requires_payment_method", json!({"code": "card_declined"}), IntentStatus::Declined),
        ("requires_payment_method", json!(null), IntentStatus::RequiresConfirmation),
        ("requires_confirmation", json!(null), IntentStatus::RequiresConfirmation),
        ("requires_capture", json!(null), IntentStatus::RequiresCapture),
        ("requires_action", json!(null), IntentStatus::RequiresAction),
        ("processing", json!(null), IntentStatus::Processing),
        ("succeeded", json!(null), IntentStatus::Succeeded),
        ("canceled", json!(null), IntentStatus::Canceled),
    ];
    for (text, error, status) in table {
        let answer = change(Call::Confirm, 200, None, intent_json(text, error).to_string().as_bytes());
        assert_eq!(status_of(&answer), Some(status), "{text}");
    }
}

#[test]
fn of_a_charge_counts_what_was_taken() {
    for (status, received, expected) in [
        ("succeeded", json!(4990), 4990),
        ("succeeded", json!(2000), 2000),
        ("succeeded", json!(0), 0),
        ("succeeded", json!(null), 4990),
        ("requires_capture", json!(0), 4990),
        ("canceled", json!(0), 4990),
    ] {
        let mut body = intent_json(status, json!(null));
        body["amount_received"] = received.clone();
        let Ok(Answer::Intent(intent)) = intent(200, body.to_string().as_bytes()) else { panic!("{status}") };
        assert_eq!(intent.amount_minor, expected, "{status} {received}");
    }
}

#[test]
fn what_went_back_is_known_where_the_charge_is_shown() {
    for (charge, expected) in [
        (json!({"id": "ch_1", "object": "charge", "amount_refunded": 990}), Some(990)),
        (json!({"id": "ch_1", "object": "charge", "amount_refunded": 0}), Some(0)),
        (json!({"id": "ch_1", "object": "charge"}), None),
        (json!("ch_1"), None),
        (json!(null), None),
    ] {
        let mut shown = intent_json("succeeded", json!(null));
        shown["latest_charge"] = charge.clone();
        let list = json!({"object": "list", "data": [shown], "has_more": false}).to_string();
        assert_eq!(page(200, list.as_bytes()).unwrap().intents[0].refunded_minor, expected, "{charge}");
    }
}

#[test]
fn only_a_clear_word_is_a_decline() {
    let error = |kind: &str, code: &str, param: Option<&str>| {
        json!({"error": {"type": kind, "code": code, "param": param}}).to_string()
    };
    let table = [
        (Call::Confirm, 402, error("card_error", "card_declined", None), "declined"),
        (Call::Create, 404, error("invalid_request_error", "resource_missing", Some("payment_method")), "token_refused"),
        (Call::Create, 400, error("invalid_request_error", "parameter_invalid", Some("payment_method")), "token_refused"),
        (Call::Create, 400, error("invalid_request_error", "parameter_invalid", Some("amount")), "misconfigured"),
        (Call::Confirm, 400, error("idempotency_error", "", None), "key_clash"),
        (Call::Confirm, 409, error("invalid_request_error", "idempotency_key_in_use", None), "in_progress"),
        (Call::Confirm, 424, error("api_error", "", None), "in_progress"),
        (Call::Confirm, 400, error("invalid_request_error", "payment_intent_unexpected_state", None), "state_refused"),
        (Call::Refund, 400, error("invalid_request_error", "charge_already_refunded", None), "state_refused"),
        (Call::Confirm, 401, error("invalid_request_error", "", None), "misconfigured"),
        (Call::Confirm, 403, error("invalid_request_error", "", None), "misconfigured"),
        (Call::Confirm, 404, error("invalid_request_error", "resource_missing", Some("intent")), "not_found"),
        (Call::Confirm, 429, String::new(), "throttled"),
        (Call::Confirm, 500, error("api_error", "", None), "unknown"),
        (Call::Confirm, 502, "<html>".to_owned(), "unknown"),
        (Call::Confirm, 404, "<html>not here</html>".to_owned(), "unknown"),
        (Call::Confirm, 302, String::new(), "unknown"),
        (Call::Capture, 200, "<html>ok</html>".to_owned(), "unknown"),
        (Call::Capture, 200, "{\"id\":\"pi_1\",\"obj".to_owned(), "unknown"),
        (Call::Capture, 200, json!({"id": "ch_1", "object": "charge", "status": "succeeded", "amount": 1, "currency": "eur", "created": 1}).to_string(), "unknown"),
        (Call::Capture, 200, intent_json("sideways", json!(null)).to_string(), "unknown"),
        (Call::Capture, 200, "{\"status\":\"succeeded\",\"status\":\"canceled\"}".to_owned(), "unknown"),
        (Call::Refund, 200, json!({"object": "refund", "status": "succeeded", "amount": 4990}).to_string(), "ok"),
        (Call::Refund, 200, json!({"object": "refund", "status": "pending", "amount": 4990}).to_string(), "in_progress"),
        (Call::Refund, 200, json!({"object": "refund", "status": "failed", "amount": 4990}).to_string(), "declined"),
        (Call::Refund, 200, json!({"object": "refund", "status": "sideways", "amount": 4990}).to_string(), "misconfigured"),
    ];
    for (call, status, body, expected) in table {
        assert_eq!(change(call, status, None, body.as_bytes()).label(), expected, "{call:?} {status} {body}");
    }
}

#[test]
fn a_decline_brings_the_intent_along() {
    let body = json!({"error": {"type": "card_error", "payment_intent": intent_json("requires_payment_method", json!({"code": "x"}))}}).to_string();
    let Answer::Declined(Some(intent)) = change(Call::Confirm, 402, None, body.as_bytes()) else {
        panic!("no decline")
    };
    assert_eq!(
        (intent.status, intent.order.as_deref(), intent.currency.as_str()),
        (IntentStatus::Declined, Some("o-1"), "EUR")
    );
}

#[test]
fn a_search_finds_the_attempt_it_is_asked_for() {
    let list = json!({"data": [intent_json("succeeded", json!(null))], "has_more": false}).to_string();
    assert_eq!(search(200, list.as_bytes(), 1).as_ref().map(Answer::label), Ok("ok"));
    assert_eq!(search(200, list.as_bytes(), 2), Ok(Answer::NotFound));
    assert!(search(500, b"", 1).is_err());
    let full = json!({"data": [], "has_more": true}).to_string();
    assert!(search(200, full.as_bytes(), 1).is_err(), "half a list proves nothing");
}
