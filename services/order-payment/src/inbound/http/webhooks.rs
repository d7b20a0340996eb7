//! `/v1/payments/webhooks/{gateway}`: signed messages of the gateway. The raw bytes are verified, kept, and answered; what
//! they mean is worked out later, from the table.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::routing::post;
use chassis::Problem;
use chassis::extract::{Json, Path, parse_json};
use chrono::{DateTime, Utc};
use common::ErrorKind;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::signature::{SignatureError, verify};
use super::{Api, WebhookWire, square_webhook};
use crate::usecases::ports::Webhook;
use crate::usecases::receive_webhook::{REFUND_FAILED, REFUND_UPDATED, receive_webhook};

/// An event carries one object of two kilobytes.
const LARGEST: usize = 256 * 1024;
/// Longest event id; theirs have 28 characters.
const LONGEST_ID: usize = 255;
/// Characters of an event's type that are kept.
pub(super) const LONGEST_TYPE: usize = 100;

pub fn router() -> Router<Api> {
    chassis::http::body_limit(Router::new().route("/v1/payments/webhooks/{gateway}", post(receive)), LARGEST)
}

#[derive(Deserialize)]
struct WireEvent {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    data: WireData,
}

#[derive(Deserialize)]
struct WireData {
    object: WireObject,
}

/// An intent, or a charge or a refund that names its intent.
#[derive(Deserialize)]
struct WireObject {
    object: String,
    id: String,
    #[serde(default)]
    payment_intent: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    amount: Option<i64>,
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    metadata: WireMetadata,
}

#[derive(Deserialize, Default)]
struct WireMetadata {
    #[serde(default)]
    order_id: Option<String>,
    #[serde(default)]
    region: Option<String>,
}

#[derive(Serialize)]
struct Received {
    received: bool,
}

async fn receive(
    State(api): State<Api>,
    Path(gateway): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<impl Serialize>, Problem> {
    let Some(settings) = api.0.gateways.iter().find(|settings| settings.name == gateway) else {
        return Err(Problem::not_found());
    };
    let body = body.map_err(unread)?;
    is_json(&headers)?;
    let now = api.app().clock.now();
    let (hook, region) = match &settings.wire {
        WebhookWire::PaymentIntents => {
            verify(signature(&headers, "stripe-signature")?, &body, &settings.secrets, now.timestamp())
                .map_err(refused)?;
            intent_event(gateway, &body, now)?
        }
        WebhookWire::Square { notification_url } => {
            let signature = signature(&headers, "x-square-hmacsha256-signature")?;
            square_webhook::verify(signature, notification_url, &body, &settings.secrets).map_err(refused)?;
            (square_webhook::read(gateway, &body, now)?, None)
        }
    };
    if hook.event_id.is_empty() || hook.event_id.len() > LONGEST_ID || hook.event_id.chars().any(char::is_control) {
        return Err(Problem::new(ErrorKind::Invalid, "malformed-request", "the event id cannot be read"));
    }
    receive_webhook(api.app(), hook, region.as_deref()).await?;
    Ok(Json(Received { received: true }))
}

fn signature<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Problem> {
    headers.get(name).and_then(|value| value.to_str().ok()).ok_or(SignatureError::Invalid).map_err(refused)
}

/// The event and the region that the gateway was told.
fn intent_event(gateway: String, body: &Bytes, now: DateTime<Utc>) -> Result<(Webhook, Option<String>), Problem> {
    let event: WireEvent = parse_json(body)?;
    let object = event.data.object;
    let is_refund = object.object == "refund";
    // Events about refunds have old and new names, and one of them may say anything: what counts is the refund's status.
    let kind = match object.status.as_deref() {
        Some("failed" | "canceled") if is_refund => REFUND_FAILED.to_owned(),
        _ if is_refund => REFUND_UPDATED.to_owned(),
        _ => event.kind,
    };
    // A refund's amount is its own; it is the charge's that is compared.
    let amount_minor = object.amount.filter(|_| !is_refund);
    let currency = object.currency.filter(|_| !is_refund);
    let hook = Webhook {
        gateway,
        event_id: event.id,
        event_type: kind.chars().take(LONGEST_TYPE).collect(),
        intent: if object.object == "payment_intent" { object.id } else { object.payment_intent.unwrap_or_default() },
        order: object.metadata.order_id.and_then(|order| order.parse().ok()),
        amount_minor,
        currency: currency.map(|currency| currency.to_ascii_uppercase()),
        body: body.to_vec(),
        received_at: now,
        tries: 0,
    };
    Ok((hook, object.metadata.region))
}

fn unread(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(ErrorKind::TooLarge, "body-too-large", "a webhook is smaller than this")
    } else {
        Problem::new(ErrorKind::Invalid, "malformed-request", "the body could not be read")
    }
}

fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if text.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json")) {
        Ok(())
    } else {
        Err(Problem::new(
            ErrorKind::UnsupportedMedia,
            "unsupported-media-type",
            "content-type must be application/json",
        ))
    }
}

/// Logged without the body: whoever sent it is not the gateway.
fn refused(error: SignatureError) -> Problem {
    tracing::warn!(reason = %error, "a webhook was refused");
    match error {
        SignatureError::Malformed => Problem::new(ErrorKind::Invalid, "malformed-request", error.to_string()),
        SignatureError::Invalid => Problem::new(ErrorKind::Unauthenticated, "signature-invalid", error.to_string()),
    }
}
