//! What an answer of the gateway means: by `status` and `error.type` in its body, never by the HTTP status alone. Whatever
//! cannot be read is *unknown*; only a clear word is a decline.

use std::time::Duration;

use serde::Deserialize;

use super::line::is_fault;
use crate::domain::{Answer, Call, Intent, IntentStatus};

#[derive(Deserialize)]
struct WireIntent {
    id: String,
    object: String,
    status: String,
    amount: i64,
    /// What was taken; less than `amount` when somebody took a part at the gateway's own pages.
    #[serde(default)]
    amount_received: Option<i64>,
    currency: String,
    created: i64,
    /// The charge itself where it was asked for, else its id.
    #[serde(default)]
    latest_charge: Option<serde_json::Value>,
    #[serde(default)]
    last_payment_error: Option<serde_json::Value>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
struct Metadata {
    order_id: Option<String>,
    attempt: Option<String>,
}

#[derive(Deserialize)]
struct WireRefund {
    object: String,
    status: String,
    amount: i64,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct WireList<T> {
    data: Vec<T>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct Failed {
    error: WireError,
}

#[derive(Deserialize)]
struct WireError {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    param: Option<String>,
    #[serde(default)]
    payment_intent: Option<WireIntent>,
}

/// A page of the list of intents.
#[derive(Debug)]
pub struct ListPage {
    pub intents: Vec<Intent>,
    pub last_id: Option<String>,
    pub has_more: bool,
}

/// The answer to a call that changes something.
pub fn change(call: Call, status: u16, retry_after: Option<Duration>, body: &[u8]) -> Answer {
    if (200..300).contains(&status) {
        return if call == Call::Refund { refund(body) } else { shown(body) };
    }
    if !(400..500).contains(&status) {
        return Answer::Unknown(format!("status {status}"));
    }
    if status == 429 {
        return Answer::Throttled(retry_after);
    }
    // A page in front of the gateway speaks HTML; then we do not know what stood behind it.
    let Ok(Failed { error }) = serde_json::from_slice::<Failed>(body) else {
        return Answer::Unknown(format!("status {status} without an error object"));
    };
    refused(call, status, error)
}

fn refused(call: Call, status: u16, error: WireError) -> Answer {
    let code = error.code.as_deref().unwrap_or_default();
    let about_the_card = error.param.as_deref().is_some_and(|param| param.starts_with("payment_method"));
    let intent = error.payment_intent.and_then(convert);
    match (status, error.kind.as_str()) {
        (_, "idempotency_error") => Answer::KeyClash,
        (402, _) | (_, "card_error") => Answer::Declined(intent),
        (409 | 424, _) => Answer::InProgress,
        (400 | 404, _) if call == Call::Create && about_the_card => Answer::TokenRefused,
        (404, _) => Answer::NotFound,
        (400, _)
            if matches!(code, "payment_intent_unexpected_state" | "charge_already_refunded" | "amount_too_large") =>
        {
            Answer::StateRefused(intent)
        }
        _ => Answer::Misconfigured(format!("status {status}, type {}, code {code}", error.kind)),
    }
}

/// The answer to a look at one intent.
pub fn intent(status: u16, body: &[u8]) -> Result<Answer, Answer> {
    match shown_or_refused(status, body)? {
        None => Ok(Answer::NotFound),
        Some(body) => Ok(shown(body)).and_then(faultless),
    }
}

/// The intent of attempt `number` among those of its order.
pub fn search(status: u16, body: &[u8], number: u32) -> Result<Answer, Answer> {
    let Some(body) = shown_or_refused(status, body)? else { return Ok(Answer::NotFound) };
    let found: WireList<WireIntent> = serde_json::from_slice(body).map_err(unreadable)?;
    let mine = |intent: &WireIntent| intent.metadata.attempt.as_deref() == Some(number.to_string().as_str());
    match found.data.into_iter().find(mine) {
        Some(intent) => {
            Ok(convert(intent).map_or_else(|| Answer::Unknown("an unknown status".to_owned()), Answer::Intent))
        }
        None if found.has_more => Err(Answer::Unknown("more intents of one order than one answer holds".to_owned())),
        None => Ok(Answer::NotFound),
    }
}

/// The refund of attempt `number` among those of its intent.
pub fn refunds(status: u16, body: &[u8], number: u32) -> Result<Answer, Answer> {
    let Some(body) = shown_or_refused(status, body)? else { return Ok(Answer::NotFound) };
    let found: WireList<WireRefund> = serde_json::from_slice(body).map_err(unreadable)?;
    let mine = |refund: &WireRefund| refund.metadata.attempt.as_deref() == Some(number.to_string().as_str());
    Ok(found.data.into_iter().find(mine).map_or(Answer::NotFound, refund_status))
}

/// One page of the list of intents; half a page is none.
pub fn page(status: u16, body: &[u8]) -> Result<ListPage, Answer> {
    let body = shown_or_refused(status, body)?.ok_or_else(|| Answer::Misconfigured("there is no list".to_owned()))?;
    let list: WireList<WireIntent> = serde_json::from_slice(body).map_err(unreadable)?;
    let last_id = list.data.last().map(|intent| intent.id.clone());
    Ok(ListPage { last_id, has_more: list.has_more, intents: list.data.into_iter().filter_map(convert).collect() })
}

/// The body of a 200, `None` for a clear "no such thing".
fn shown_or_refused(status: u16, body: &[u8]) -> Result<Option<&[u8]>, Answer> {
    match status {
        200 => Ok(Some(body)),
        429 => Err(Answer::Throttled(None)),
        404 if serde_json::from_slice::<Failed>(body).is_ok() => Ok(None),
        400..=499 => match serde_json::from_slice::<Failed>(body) {
            Ok(Failed { error }) => Err(Answer::Misconfigured(format!("status {status}, type {}", error.kind))),
            Err(_) => Err(Answer::Unknown(format!("status {status} without an error object"))),
        },
        _ => Err(Answer::Unknown(format!("status {status}"))),
    }
}

fn faultless(answer: Answer) -> Result<Answer, Answer> {
    if is_fault(&answer) { Err(answer) } else { Ok(answer) }
}

fn shown(body: &[u8]) -> Answer {
    match serde_json::from_slice::<WireIntent>(body) {
        Ok(intent) => convert(intent)
            .map_or_else(|| Answer::Unknown("not an intent in a known status".to_owned()), Answer::Intent),
        Err(error) => unreadable(error),
    }
}

fn refund(body: &[u8]) -> Answer {
    serde_json::from_slice::<WireRefund>(body).map_or_else(unreadable, refund_status)
}

fn refund_status(refund: WireRefund) -> Answer {
    match (refund.object.as_str(), refund.status.as_str()) {
        ("refund", "succeeded") => Answer::Refunded { amount_minor: refund.amount },
        ("refund", "pending" | "requires_action") => Answer::InProgress,
        ("refund", "failed" | "canceled") => Answer::Declined(None),
        ("refund", status) => Answer::Misconfigured(format!("the refund is {status}")),
        _ => Answer::Unknown("not a refund".to_owned()),
    }
}

fn convert(wire: WireIntent) -> Option<Intent> {
    let declined = wire.last_payment_error.is_some_and(|error| !error.is_null());
    let status = match wire.status.as_str() {
        "requires_payment_method" if declined => IntentStatus::Declined,
        "requires_confirmation" | "requires_payment_method" => IntentStatus::RequiresConfirmation,
        "requires_capture" => IntentStatus::RequiresCapture,
        "requires_action" => IntentStatus::RequiresAction,
        "processing" => IntentStatus::Processing,
        "succeeded" => IntentStatus::Succeeded,
        "canceled" => IntentStatus::Canceled,
        _ => return None,
    };
    // Before the money is taken nothing is received, and what counts is what was asked for.
    let received = wire.amount_received.filter(|_| status == IntentStatus::Succeeded);
    (wire.object == "payment_intent").then(|| Intent {
        id: wire.id,
        status,
        declined,
        amount_minor: received.unwrap_or(wire.amount),
        currency: wire.currency.to_ascii_uppercase(),
        order: wire.metadata.order_id,
        attempt: wire.metadata.attempt.and_then(|attempt| attempt.parse().ok()),
        created_unix: wire.created,
        refunded_minor: wire.latest_charge.and_then(|charge| charge.get("amount_refunded")?.as_i64()),
    })
}

/// The text of the parser may repeat what it read; it stays here.
fn unreadable(_: serde_json::Error) -> Answer {
    Answer::Unknown("an answer that cannot be read".to_owned())
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
