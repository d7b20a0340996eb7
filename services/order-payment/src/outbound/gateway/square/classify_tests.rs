//! The table of answers: what each means, whatever the HTTP status says.

use serde_json::{Value, json};

use super::*;

fn payment_json(status: &str) -> Value {
    json!({"payment": {
        "id": "sq_1", "status": status, "amount_money": {"amount": 4990, "currency": "EUR"}, "created_at": "1970-01-01T00:00:07Z",
        "reference_id": "o-1", "note": "region eu, attempt 1", "refund_ids": ["re_1"],
    }})
}

fn error(category: &str, code: &str, field: Option<&str>) -> String {
    json!({"errors": [{"category": category, "code": code, "field": field}]}).to_string()
}

#[test]
fn a_payment_is_read_by_its_status() {
    let table = [
        ("APPROVED", IntentStatus::RequiresCapture),
        ("PENDING", IntentStatus::Processing),
        ("COMPLETED", IntentStatus::Succeeded),
        ("CANCELED", IntentStatus::Canceled),
        ("FAILED", IntentStatus::Failed),
    ];
    for (text, status) in table {
        let body = payment_json(text).to_string();
        let Answer::Intent(intent) = change(Call::Create, 200, None, body.as_bytes()) else { panic!("{text}") };
        assert_eq!((intent.status, intent.order.as_deref(), intent.attempt), (status, Some("o-1"), Some(1)));
        assert_eq!((intent.amount_minor, intent.currency.as_str(), intent.created_unix), (4990, "EUR", 7));
    }
}

#[test]
fn what_went_back_is_nothing_where_it_is_left_out() {
    for (money, expected) in [(json!({"amount": 990, "currency": "EUR"}), 990), (json!(null), 0)] {
        let mut shown = payment_json("COMPLETED")["payment"].take();
        shown["refunded_money"] = money;
        let list = json!({ "payments": [shown] }).to_string();
        assert_eq!(page(200, list.as_bytes()).unwrap().intents[0].refunded_minor, Some(expected));
    }
}

#[test]
fn only_a_clear_word_is_a_decline() {
    const INVALID: &str = "INVALID_REQUEST_ERROR";
    let both =
        json!({"errors": [{"category": "API_ERROR", "code": "X"}], "payment": payment_json("APPROVED")["payment"]});
    let table = [
        (Call::Create, 402, error("PAYMENT_METHOD_ERROR", "GENERIC_DECLINE", None), "declined"),
        (Call::Create, 400, error("PAYMENT_METHOD_ERROR", "INSUFFICIENT_FUNDS", None), "declined"),
        (Call::Create, 404, error(INVALID, "NOT_FOUND", Some("source_id")), "token_refused"),
        (Call::Create, 400, error("PAYMENT_METHOD_ERROR", "CARD_TOKEN_USED", None), "token_refused"),
        (Call::Create, 400, error(INVALID, "VALUE_TOO_LONG", Some("reference_id")), "misconfigured"),
        (Call::Create, 400, error(INVALID, "IDEMPOTENCY_KEY_REUSED", Some("idempotency_key")), "key_clash"),
        (Call::Create, 409, error("API_ERROR", "CONFLICT", None), "in_progress"),
        (Call::Create, 401, error("AUTHENTICATION_ERROR", "UNAUTHORIZED", None), "misconfigured"),
        (Call::Create, 403, error("AUTHENTICATION_ERROR", "INSUFFICIENT_SCOPES", None), "misconfigured"),
        (Call::Capture, 404, error(INVALID, "NOT_FOUND", None), "not_found"),
        (Call::Capture, 400, error(INVALID, "DELAYED_TRANSACTION_CAPTURED", None), "state_refused"),
        (Call::Cancel, 400, error(INVALID, "BAD_REQUEST", None), "state_refused"),
        (Call::Create, 400, error(INVALID, "BAD_REQUEST", None), "misconfigured"),
        (Call::Refund, 400, error("REFUND_ERROR", "PAYMENT_NOT_REFUNDABLE", None), "state_refused"),
        (Call::Refund, 400, error("REFUND_ERROR", "REFUND_ALREADY_PENDING", None), "in_progress"),
        (Call::Create, 429, String::new(), "throttled"),
        (Call::Create, 500, error("API_ERROR", "INTERNAL_SERVER_ERROR", None), "unknown"),
        (Call::Create, 502, "<html>".to_owned(), "unknown"),
        (Call::Create, 404, "<html>not here</html>".to_owned(), "unknown"),
        (Call::Create, 400, "{\"errors\":[]}".to_owned(), "unknown"),
        (Call::Create, 302, String::new(), "unknown"),
        (Call::Capture, 200, "<html>ok</html>".to_owned(), "unknown"),
        (Call::Capture, 200, "{\"payment\":{\"id\":\"sq_1\",\"sta".to_owned(), "unknown"),
        (Call::Capture, 200, payment_json("SIDEWAYS").to_string(), "unknown"),
        (Call::Capture, 200, both.to_string(), "unknown"),
        (Call::Capture, 200, "{}".to_owned(), "unknown"),
        (Call::Cancel, 200, "{}".to_owned(), "ok"),
        (Call::Refund, 200, refund_json("PENDING"), "in_progress"),
        (Call::Refund, 200, refund_json("COMPLETED"), "ok"),
        (Call::Refund, 200, refund_json("REJECTED"), "declined"),
        (Call::Refund, 200, refund_json("FAILED"), "declined"),
        (Call::Refund, 200, refund_json("SIDEWAYS"), "unknown"),
    ];
    for (call, status, body, expected) in table {
        assert_eq!(change(call, status, None, body.as_bytes()).label(), expected, "{call:?} {status} {body}");
    }
    assert_eq!(change(Call::Cancel, 200, None, b"{}"), Answer::Gone);
}

fn refund_json(status: &str) -> String {
    let amount = json!({"amount": 4990, "currency": "EUR"});
    json!({"refund": {"id": "re_1", "status": status, "amount_money": amount, "reason": "region eu, attempt 2"}})
        .to_string()
}

#[test]
fn a_declined_payment_is_shown_beside_its_error() {
    let mut body = payment_json("FAILED");
    body["errors"] = json!([{"category": "PAYMENT_METHOD_ERROR", "code": "GENERIC_DECLINE"}]);
    let answer = change(Call::Create, 402, None, body.to_string().as_bytes());
    assert!(matches!(answer, Answer::Declined(Some(Intent { status: IntentStatus::Failed, .. }))), "{answer:?}");
}

#[test]
fn looks_find_what_they_ask_for_or_say_that_they_do_not_know() {
    let shown = payment(200, payment_json("COMPLETED").to_string().as_bytes()).unwrap();
    assert_eq!((shown.answer.label(), shown.refund_ids), ("ok", vec!["re_1".to_owned()]));
    let missing = error("INVALID_REQUEST_ERROR", "NOT_FOUND", None);
    assert_eq!(payment(404, missing.as_bytes()).unwrap().answer, Answer::NotFound);
    for (status, body) in [(404, "<html>"), (500, ""), (200, "{}"), (200, "[")] {
        assert_eq!(payment(status, body.as_bytes()).unwrap_err().label(), "unknown", "{status} {body}");
    }
    let refund = refund_json("COMPLETED");
    assert_eq!(refund_of(200, refund.as_bytes(), 2), Ok(Some(Answer::Refunded { amount_minor: 4990 })));
    assert_eq!(refund_of(200, refund.as_bytes(), 3), Ok(None));
    assert_eq!(refund_of(200, refund_json("REJECTED").as_bytes(), 2), Ok(Some(Answer::Declined(None))));
    assert_eq!(refund_of(200, refund_json("PENDING").as_bytes(), 2), Ok(Some(Answer::InProgress)));
    let list = json!({"payments": [payment_json("APPROVED")["payment"]], "cursor": "c"}).to_string();
    let read = page(200, list.as_bytes()).unwrap();
    assert_eq!((read.intents.len(), read.cursor.as_deref()), (1, Some("c")));
    assert!(page(200, b"{\"payments\":[{}]}").is_err(), "half a list proves nothing");
    assert!(page(200, b"{}").unwrap().cursor.is_none());
}
