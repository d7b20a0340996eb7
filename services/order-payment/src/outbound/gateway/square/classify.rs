//! What an answer of this API means: by `status`, `category` and `code` in its body, never by the HTTP status alone. Whatever
//! cannot be read is *unknown*; only a clear word is a decline.

use std::time::Duration;

use chrono::DateTime;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::wire::attempt_in;
use crate::domain::{Answer, Call, Intent, IntentStatus};

#[derive(Deserialize)]
struct WirePayment {
    id: String,
    status: String,
    amount_money: WireMoney,
    created_at: String,
    #[serde(default)]
    reference_id: Option<String>,
    #[serde(default)]
    note: Option<String>,
    #[serde(default)]
    refund_ids: Vec<String>,
    /// Left out where nothing went back.
    #[serde(default)]
    refunded_money: Option<WireMoney>,
}

#[derive(Deserialize)]
struct WireMoney {
    amount: i64,
    currency: String,
}

#[derive(Deserialize)]
struct WireRefund {
    status: String,
    amount_money: WireMoney,
    #[serde(default)]
    reason: Option<String>,
}

/// Every answer: errors, or one of the objects.
#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(default)]
    errors: Vec<WireError>,
    #[serde(default = "none", alias = "payment", alias = "refund")]
    object: Option<T>,
}

fn none<T>() -> Option<T> {
    None
}

#[derive(Deserialize)]
struct WireError {
    category: String,
    code: String,
    #[serde(default)]
    field: Option<String>,
}

#[derive(Deserialize)]
struct WirePage {
    #[serde(default)]
    errors: Vec<WireError>,
    #[serde(default)]
    payments: Vec<WirePayment>,
    #[serde(default)]
    cursor: Option<String>,
}

/// A payment as a look shows it.
#[derive(Debug)]
pub struct Shown {
    pub answer: Answer,
    pub refund_ids: Vec<String>,
}

/// A page of the list of payments.
#[derive(Debug)]
pub struct Page {
    pub intents: Vec<Intent>,
    pub cursor: Option<String>,
}

/// The answer to a call that changes something.
pub fn change(call: Call, status: u16, retry_after: Option<Duration>, body: &[u8]) -> Answer {
    if (200..300).contains(&status) {
        return if call == Call::Refund { refunded(body) } else { done(call, body) };
    }
    if !(400..500).contains(&status) {
        return Answer::Unknown(format!("status {status}"));
    }
    if status == 429 {
        return Answer::Throttled(retry_after);
    }
    // A page in front of the gateway speaks HTML; then we do not know what stood behind it.
    let Ok(Envelope::<WirePayment> { errors, object }) = read(body) else {
        return Answer::Unknown(format!("status {status} without a list of errors"));
    };
    let Some(error) = errors.first() else {
        return Answer::Unknown(format!("status {status} without a list of errors"));
    };
    refused(call, status, error, object)
}

fn refused(call: Call, status: u16, error: &WireError, payment: Option<WirePayment>) -> Answer {
    let about_the_card = error.field.as_deref() == Some("source_id")
        || matches!(error.code.as_str(), "CARD_TOKEN_EXPIRED" | "CARD_TOKEN_USED" | "INVALID_CARD_DATA");
    match (status, error.category.as_str(), error.code.as_str()) {
        (_, _, "IDEMPOTENCY_KEY_REUSED") => Answer::KeyClash,
        _ if call == Call::Create && about_the_card => Answer::TokenRefused,
        (402, ..) | (_, "PAYMENT_METHOD_ERROR", _) => Answer::Declined(payment.and_then(convert)),
        (409 | 424, ..) | (_, _, "REFUND_ALREADY_PENDING") => Answer::InProgress,
        (404, ..) => Answer::NotFound,
        // This API names the state in the code and shows no payment; the next step looks.
        (400, _, code) if code.starts_with("DELAYED_TRANSACTION_") => Answer::StateRefused(None),
        (400, "REFUND_ERROR", _) => Answer::StateRefused(None),
        // These two calls have no parameter that could be wrong.
        (400, _, "BAD_REQUEST") if matches!(call, Call::Capture | Call::Cancel) => Answer::StateRefused(None),
        (_, category, code) => Answer::Misconfigured(format!("status {status}, {category}, {code}")),
    }
}

/// The answer to a look at one payment.
pub fn payment(status: u16, body: &[u8]) -> Result<Shown, Answer> {
    if !found(status, body)? {
        return Ok(Shown { answer: Answer::NotFound, refund_ids: Vec::new() });
    }
    let payment = whole::<WirePayment>(body)?;
    let refund_ids = payment.refund_ids.clone();
    let intent = convert(payment).ok_or_else(|| Answer::Unknown("not a payment in a known status".to_owned()))?;
    Ok(Shown { answer: Answer::Intent(intent), refund_ids })
}

/// A refund, if it is the one of attempt `number`.
pub fn refund_of(status: u16, body: &[u8], number: u32) -> Result<Option<Answer>, Answer> {
    if !found(status, body)? {
        return Ok(None);
    }
    let refund = whole::<WireRefund>(body)?;
    Ok((attempt_in(refund.reason.as_deref()) == Some(number)).then(|| refund_status(&refund)))
}

/// One page of the list of payments; half a page is none.
pub fn page(status: u16, body: &[u8]) -> Result<Page, Answer> {
    if !found(status, body)? {
        return Err(Answer::Misconfigured("there is no list".to_owned()));
    }
    let page: WirePage = read(body)?;
    if !page.errors.is_empty() {
        return Err(contradiction());
    }
    let cursor = page.cursor.filter(|cursor| !cursor.is_empty());
    Ok(Page { intents: page.payments.into_iter().filter_map(convert).collect(), cursor })
}

/// Is there a thing to read, or a clear "no such thing"?
fn found(status: u16, body: &[u8]) -> Result<bool, Answer> {
    match status {
        200 => return Ok(true),
        429 => return Err(Answer::Throttled(None)),
        400..=499 => {}
        _ => return Err(Answer::Unknown(format!("status {status}"))),
    }
    let errors = read::<Envelope<WirePayment>>(body).map(|envelope| envelope.errors).unwrap_or_default();
    match errors.first() {
        None => Err(Answer::Unknown(format!("status {status} without a list of errors"))),
        Some(_) if status == 404 => Ok(false),
        Some(error) => Err(Answer::Misconfigured(format!("status {status}, {}, {}", error.category, error.code))),
    }
}

fn done(call: Call, body: &[u8]) -> Answer {
    match read::<Envelope<WirePayment>>(body) {
        Ok(Envelope { errors, .. }) if !errors.is_empty() => contradiction(),
        Ok(Envelope { object: Some(payment), .. }) => convert(payment)
            .map_or_else(|| Answer::Unknown("not a payment in a known status".to_owned()), Answer::Intent),
        // A cancel by key shows nothing, whether it found something or not.
        Ok(Envelope { object: None, .. }) if call == Call::Cancel => Answer::Gone,
        Ok(_) => Answer::Unknown("an answer without a payment".to_owned()),
        Err(answer) => answer,
    }
}

fn refunded(body: &[u8]) -> Answer {
    whole::<WireRefund>(body).map_or_else(|answer| answer, |refund| refund_status(&refund))
}

fn refund_status(refund: &WireRefund) -> Answer {
    match refund.status.as_str() {
        "COMPLETED" => Answer::Refunded { amount_minor: refund.amount_money.amount },
        "PENDING" => Answer::InProgress,
        // Both are the end of it: the bank or the gateway will not give it back.
        "REJECTED" | "FAILED" => Answer::Declined(None),
        _ => Answer::Unknown("not a refund in a known status".to_owned()),
    }
}

fn convert(wire: WirePayment) -> Option<Intent> {
    let status = match wire.status.as_str() {
        "APPROVED" => IntentStatus::RequiresCapture,
        "PENDING" => IntentStatus::Processing,
        "COMPLETED" => IntentStatus::Succeeded,
        "CANCELED" => IntentStatus::Canceled,
        "FAILED" => IntentStatus::Failed,
        _ => return None,
    };
    Some(Intent {
        id: wire.id,
        status,
        declined: status == IntentStatus::Failed,
        amount_minor: wire.amount_money.amount,
        currency: wire.amount_money.currency,
        order: wire.reference_id,
        attempt: attempt_in(wire.note.as_deref()),
        created_unix: DateTime::parse_from_rfc3339(&wire.created_at).ok()?.timestamp(),
        refunded_minor: Some(wire.refunded_money.map_or(0, |money| money.amount)),
    })
}

/// The object of a 200 without errors beside it.
fn whole<T: DeserializeOwned>(body: &[u8]) -> Result<T, Answer> {
    match read::<Envelope<T>>(body)? {
        Envelope { errors, .. } if !errors.is_empty() => Err(contradiction()),
        Envelope { object: Some(object), .. } => Ok(object),
        Envelope { object: None, .. } => Err(Answer::Unknown("an answer without its object".to_owned())),
    }
}

fn contradiction() -> Answer {
    Answer::Unknown("success and errors in one answer".to_owned())
}

/// The text of the parser may repeat what it read; it stays here.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Answer> {
    serde_json::from_slice(body).map_err(|_| Answer::Unknown("an answer that cannot be read".to_owned()))
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
