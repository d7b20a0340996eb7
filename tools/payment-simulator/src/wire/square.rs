//! The second wire: the Square Payments API. JSON in and out, the idempotency key in the body, one call that makes and
//! authorises a payment, one list of errors.
//!
//! Decided here: names and shapes, as in the rest of this room. Fields beyond those named here are refused by name.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Answer;
use super::commands::{Command, Draft, MOST_AMOUNT};
use crate::domain::{CaptureMethod, Card, Change, Currency, Decline, Event, Intent, Refund, Refusal, Status};
use crate::faults;

/// The longest key of this API.
const LONGEST_KEY: usize = 45;
/// The longest `reference_id`, `note` and `reason`.
const LONGEST_REFERENCE: usize = 40;
const LONGEST_NOTE: usize = 500;
const LONGEST_REASON: usize = 192;
/// Payments in one page.
pub const PAGE: usize = 100;

/// A call that changes something, with its key and what the key stands for.
pub type Keyed = (Command, Option<(String, String)>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Money {
    amount: i64,
    currency: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreatePayment {
    source_id: String,
    idempotency_key: String,
    amount_money: Money,
    #[serde(default = "yes")]
    autocomplete: bool,
    /// How long an authorisation stands; this stand-in lets it stand for ever.
    #[serde(default, rename = "delay_duration")]
    _delay_duration: Option<String>,
    #[serde(default, rename = "delay_action")]
    _delay_action: Option<String>,
    #[serde(default, rename = "location_id")]
    _location_id: Option<String>,
    #[serde(default)]
    reference_id: Option<String>,
    #[serde(default)]
    note: Option<String>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByKey {
    idempotency_key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundPayment {
    idempotency_key: String,
    payment_id: String,
    amount_money: Money,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// `POST /v2/payments`. Automatic completion would take the money in the same call; it is refused here, because the shop under
/// test must never ask for it.
pub fn create(body: &[u8], path: &str) -> Result<Keyed, Answer> {
    let fields: CreatePayment = read(body)?;
    if fields.autocomplete {
        return Err(bad("BAD_REQUEST", "autocomplete", "This stand-in takes payments with autocomplete=false only."));
    }
    fits("reference_id", fields.reference_id.as_deref(), LONGEST_REFERENCE)?;
    fits("note", fields.note.as_deref(), LONGEST_NOTE)?;
    let (amount, currency) = money(&fields.amount_money)?;
    let known = Card::parse(&fields.source_id).filter(|card| faults::knows(card.as_str()));
    let card = known.ok_or_else(|| not_found("source_id", "The card token is unknown."))?;
    let mut metadata = BTreeMap::new();
    metadata.extend(fields.reference_id.map(|reference| ("order_id".to_owned(), reference)));
    metadata.extend(attempt_in(fields.note.as_deref()).map(|attempt| ("attempt".to_owned(), attempt)));
    metadata.extend(fields.note.map(|note| ("note".to_owned(), note)));
    let draft = Draft { amount, currency, capture: CaptureMethod::Manual, card: Some(card), metadata };
    let key = key(&fields.idempotency_key, path, body)?;
    Ok((Command::Pay { key: key.0.clone(), draft }, Some(key)))
}

/// `POST /v2/payments/{id}/complete`: takes the authorised money, all of it. Knows no key.
pub fn complete(body: &[u8], payment: String) -> Result<Keyed, Answer> {
    let Nothing {} = read(body)?;
    Ok((Command::Capture { intent: payment, amount: None }, None))
}

/// `POST /v2/payments/{id}/cancel`. Knows no key.
pub fn cancel(body: &[u8], payment: String) -> Result<Keyed, Answer> {
    let Nothing {} = read(body)?;
    Ok((Command::Cancel { intent: payment, reason: None }, None))
}

/// `POST /v2/payments/cancel`: cancels whatever a call with this key made, if anything.
pub fn cancel_by_key(body: &[u8]) -> Result<Keyed, Answer> {
    let fields: ByKey = read(body)?;
    Ok((Command::CancelByKey { key: stored_key(&fields.idempotency_key)? }, None))
}

/// `POST /v2/refunds`.
pub fn refund(body: &[u8], path: &str) -> Result<Keyed, Answer> {
    let fields: RefundPayment = read(body)?;
    fits("reason", fields.reason.as_deref(), LONGEST_REASON)?;
    let (amount, _) = money(&fields.amount_money)?;
    let metadata = attempt_in(fields.reason.as_deref()).map(|attempt| ("attempt".to_owned(), attempt));
    let key = key(&fields.idempotency_key, path, body)?;
    let command = Command::Refund {
        intent: fields.payment_id,
        amount: Some(amount),
        reason: fields.reason,
        metadata: metadata.into_iter().collect(),
    };
    Ok((command, Some(key)))
}

/// The merchant's attempt, as far as its words tell: `… attempt 3`.
fn attempt_in(words: Option<&str>) -> Option<String> {
    let number = words?.rsplit_once("attempt ")?.1;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.to_owned())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Answer> {
    let body = if body.is_empty() { b"{}" } else { body };
    // The parser's text would repeat what the caller sent; a token may be in it.
    serde_json::from_slice(body).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "A field is missing, unknown or of another type.",
            _ => "The body is not JSON.",
        };
        bad("BAD_REQUEST", "", what)
    })
}

fn fits(field: &str, text: Option<&str>, most: usize) -> Result<(), Answer> {
    if text.is_some_and(|text| text.chars().count() > most) {
        return Err(bad("VALUE_TOO_LONG", field, "The value is too long."));
    }
    Ok(())
}

fn money(money: &Money) -> Result<(i64, Currency), Answer> {
    if !(1..=MOST_AMOUNT).contains(&money.amount) {
        return Err(bad("VALUE_TOO_LOW", "amount_money.amount", "The amount is not one that can be moved."));
    }
    let upper = money.currency.bytes().all(|byte| byte.is_ascii_uppercase());
    let currency = Currency::parse(&money.currency).filter(|_| upper);
    let currency =
        currency.ok_or_else(|| bad("INVALID_VALUE", "amount_money.currency", "The currency is not supported."))?;
    Ok((money.amount, currency))
}

fn stored_key(key: &str) -> Result<String, Answer> {
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err(bad("VALUE_TOO_LONG", "idempotency_key", "The key must have 1 to 45 characters."));
    }
    // Apart from the keys of the first wire.
    Ok(format!("square:{key}"))
}

/// The key and the fingerprint of what it stands for: the order of fields does not matter.
fn key(key: &str, path: &str, body: &[u8]) -> Result<(String, String), Answer> {
    let sorted: BTreeMap<String, Value> = read(body)?;
    let fields = serde_json::to_string(&sorted).unwrap_or_default();
    Ok((stored_key(key)?, hex::encode(Sha256::digest(format!("{path}\n{fields}")))))
}

fn status(intent: &Intent) -> &'static str {
    match intent.status {
        // Nobody sees a payment before it is confirmed.
        Status::RequiresConfirmation | Status::Processing => "PENDING",
        Status::RequiresPaymentMethod => "FAILED",
        Status::RequiresCapture => "APPROVED",
        Status::Succeeded => "COMPLETED",
        Status::Canceled => "CANCELED",
    }
}

fn money_object(amount: i64, currency: Currency) -> Value {
    json!({"amount": amount, "currency": currency.code().to_ascii_uppercase()})
}

fn rfc3339(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The payment with the refunds it has so far; a list tells their sum and not their ids.
pub fn payment(intent: &Intent, refunds: &[String]) -> Value {
    let mut payment = json!({
        "id": intent.id,
        "created_at": rfc3339(intent.created_ms),
        "amount_money": money_object(intent.amount, intent.currency),
        "total_money": money_object(intent.amount, intent.currency),
        "approved_money": money_object(intent.amount, intent.currency),
        "status": status(intent),
        "source_type": "CARD",
        "delay_action": "CANCEL",
        "reference_id": intent.reference(),
        "note": intent.metadata.get("note"),
        "version_token": format!("{}-{}-{}", intent.id, status(intent), intent.refunded),
    });
    if let (Some(fields), true) = (payment.as_object_mut(), !refunds.is_empty()) {
        fields.insert("refund_ids".to_owned(), json!(refunds));
    }
    if let (Some(fields), true) = (payment.as_object_mut(), intent.refunded > 0) {
        fields.insert("refunded_money".to_owned(), money_object(intent.refunded, intent.currency));
    }
    payment
}

pub fn refund_object(refund: &Refund, status: &str) -> Value {
    json!({
        "id": refund.id,
        "status": status,
        "amount_money": money_object(refund.amount, refund.currency),
        "payment_id": refund.intent,
        "reason": refund.reason,
        "created_at": rfc3339(refund.created_ms),
    })
}

/// The webhook's body for `change`.
pub fn event(id: &str, event: Event, change: &Change, now_ms: i64) -> Value {
    let (kind, object) = match (event, &change.refund) {
        (Event::ChargeRefunded, Some(refund)) => (
            "refund.updated",
            json!({"type": "refund", "id": refund.id, "object": {"refund": refund_object(refund, "COMPLETED")}}),
        ),
        (event, _) => {
            let kind = if event == Event::AmountCapturableUpdated { "payment.created" } else { "payment.updated" };
            (
                kind,
                json!({"type": "payment", "id": change.intent.id, "object": {"payment": payment(&change.intent, &[])}}),
            )
        }
    };
    json!({
        "merchant_id": "MERCHANT",
        "type": kind,
        "event_id": id,
        "created_at": rfc3339(now_ms),
        "data": object,
    })
}

pub fn list(payments: Vec<Value>, cursor: Option<String>) -> Answer {
    let mut answer = json!({"payments": payments});
    if let (Some(fields), Some(cursor)) = (answer.as_object_mut(), cursor) {
        fields.insert("cursor".to_owned(), json!(cursor));
    }
    Answer::ok(&answer)
}

fn error(category: &str, code: &str, field: &str, detail: &str) -> Value {
    let mut error = json!({"category": category, "code": code, "detail": detail});
    if let (Some(fields), false) = (error.as_object_mut(), field.is_empty()) {
        fields.insert("field".to_owned(), json!(field));
    }
    error
}

fn failed(status: u16, category: &str, code: &str, field: &str, detail: &str) -> Answer {
    let body = json!({"errors": [error(category, code, field, detail)]});
    Answer { status, body: body.to_string() }
}

fn bad(code: &str, field: &str, detail: &str) -> Answer {
    failed(400, "INVALID_REQUEST_ERROR", code, field, detail)
}

pub fn not_found(field: &str, detail: &str) -> Answer {
    failed(404, "INVALID_REQUEST_ERROR", "NOT_FOUND", field, detail)
}

pub fn malformed(detail: &str) -> Answer {
    bad("BAD_REQUEST", "", detail)
}

pub fn unauthenticated() -> Answer {
    failed(401, "AUTHENTICATION_ERROR", "UNAUTHORIZED", "", "The access token is unknown.")
}

pub fn key_reused() -> Answer {
    bad("IDEMPOTENCY_KEY_REUSED", "idempotency_key", "The key was used with other parameters.")
}

pub fn key_in_use() -> Answer {
    failed(409, "API_ERROR", "CONFLICT", "idempotency_key", "A request with this key is under way.")
}

pub fn too_many() -> Answer {
    failed(429, "RATE_LIMIT_ERROR", "RATE_LIMITED", "", "Too many requests.")
}

pub fn internal() -> Answer {
    failed(500, "API_ERROR", "INTERNAL_SERVER_ERROR", "", "An unexpected error occurred.")
}

/// A step that cannot be in the state the payment is in. This API names the state in the code and shows no payment.
pub fn refused(refusal: &Refusal, _: &Intent) -> Answer {
    match refusal {
        Refusal::WrongStatus(Status::Succeeded) => {
            bad("DELAYED_TRANSACTION_CAPTURED", "", "The payment is completed already.")
        }
        Refusal::WrongStatus(Status::Canceled) => {
            bad("DELAYED_TRANSACTION_CANCELED", "", "The payment is cancelled already.")
        }
        Refusal::WrongStatus(Status::RequiresPaymentMethod) | Refusal::NoPaymentMethod => {
            bad("DELAYED_TRANSACTION_FAILED", "", "The payment has failed.")
        }
        Refusal::WrongStatus(_) => bad("BAD_REQUEST", "", "The payment cannot do this now."),
        Refusal::NotPositive => bad("VALUE_TOO_LOW", "amount_money.amount", "The amount must be at least 1."),
        Refusal::TooMuch { .. } => {
            failed(400, "REFUND_ERROR", "REFUND_AMOUNT_INVALID", "amount_money.amount", "More than can be refunded.")
        }
        Refusal::AlreadyRefunded => {
            failed(400, "REFUND_ERROR", "PAYMENT_NOT_REFUNDABLE", "", "The payment is refunded already.")
        }
    }
}

/// The bank said no. The payment is shown beside the errors.
pub fn declined(decline: Decline, change: &Change) -> Answer {
    let code = match decline {
        Decline::Generic => "GENERIC_DECLINE",
        Decline::InsufficientFunds => "INSUFFICIENT_FUNDS",
    };
    let errors = [error("PAYMENT_METHOD_ERROR", code, "", decline.message())];
    let body = json!({"errors": errors, "payment": payment(&change.intent, &[])});
    Answer { status: 402, body: body.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(change: impl Fn(&mut Value)) -> Result<Keyed, Answer> {
        let mut body = json!({
            "source_id": "tok_ok", "idempotency_key": "k", "amount_money": {"amount": 4990, "currency": "EUR"},
            "autocomplete": false, "reference_id": "o-1", "note": "region eu, attempt 3",
        });
        change(&mut body);
        create(body.to_string().as_bytes(), "/v2/payments")
    }

    #[test]
    fn a_complete_request_names_order_and_attempt() {
        let (Command::Pay { key, draft }, Some((stored, _))) = created(|_| {}).unwrap() else { panic!("no payment") };
        assert_eq!((key.as_str(), stored.as_str()), ("square:k", "square:k"));
        assert_eq!((draft.metadata["order_id"].as_str(), draft.metadata["attempt"].as_str()), ("o-1", "3"));
    }

    #[test]
    fn bad_values_are_named() {
        type Spoil = fn(&mut Value);
        let table: [(Spoil, u16, &str); 8] = [
            (|body| body["autocomplete"] = json!(true), 400, "autocomplete"),
            (|body| body["idempotency_key"] = json!("k".repeat(46)), 400, "idempotency_key"),
            (|body| body["reference_id"] = json!("o".repeat(41)), 400, "reference_id"),
            (|body| body["amount_money"]["amount"] = json!(0), 400, "amount_money.amount"),
            (|body| body["amount_money"]["currency"] = json!("eur"), 400, "amount_money.currency"),
            (|body| body["source_id"] = json!("tok_somebody"), 404, "source_id"),
            (|body| body["tip"] = json!(1), 400, ""),
            (|body| body["amount_money"] = json!(null), 400, ""),
        ];
        for (spoil, status, field) in table {
            let refused = created(spoil).unwrap_err();
            let body: Value = serde_json::from_str(&refused.body).unwrap();
            assert_eq!(
                (refused.status, body["errors"][0]["field"].as_str().unwrap_or_default()),
                (status, field),
                "{body}"
            );
        }
    }

    #[test]
    fn the_order_of_fields_is_no_difference_to_a_key() {
        let fingerprint = |text: &str| key("k", "/v2/refunds", text.as_bytes()).unwrap().1;
        assert_eq!(fingerprint(r#"{"a":1,"b":2}"#), fingerprint(r#"{"b":2,"a":1}"#));
        assert_ne!(fingerprint(r#"{"a":1,"b":2}"#), fingerprint(r#"{"a":1,"b":3}"#));
    }
}
