//! Webhooks of the Square wire: the base64 of HMAC-SHA256 over the notification URL and the raw body; any one current or previous
//! secret is enough.
//!
//! This signature carries no time, so an old event cannot be told from a late one: what protects from a replay is that an event
//! id has its effect once, and that a webhook only hints at asking the gateway.

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chassis::Problem;
use chassis::config::Secret;
use chassis::extract::parse_json;
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use serde::Deserialize;
use sha2::Sha256;

use super::signature::SignatureError;
use super::webhooks::LONGEST_TYPE;
use crate::usecases::ports::Webhook;
use crate::usecases::receive_webhook::REFUND_FAILED;

/// Checks the signature of the raw `body`.
///
/// # Errors
/// [`SignatureError::Invalid`]; nothing about which part was wrong.
pub fn verify(signature: &str, url: &str, body: &[u8], secrets: &[Secret]) -> Result<(), SignatureError> {
    let claimed = STANDARD.decode(signature).map_err(|_| SignatureError::Invalid)?;
    let genuine = secrets.iter().filter(|secret| !secret.is_empty()).any(|secret| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.open().as_bytes()) else { return false };
        mac.update(url.as_bytes());
        mac.update(body);
        // Takes the same time wherever the first difference is.
        mac.verify_slice(&claimed).is_ok()
    });
    if genuine { Ok(()) } else { Err(SignatureError::Invalid) }
}

#[derive(Deserialize)]
struct WireEvent {
    event_id: String,
    #[serde(rename = "type")]
    kind: String,
    data: WireData,
}

#[derive(Deserialize)]
struct WireData {
    #[serde(default)]
    object: WireObject,
}

/// A payment, or a refund that names its payment.
#[derive(Deserialize, Default)]
struct WireObject {
    #[serde(default)]
    payment: Option<WirePayment>,
    #[serde(default)]
    refund: Option<WireRefund>,
}

#[derive(Deserialize)]
struct WirePayment {
    id: String,
    #[serde(default)]
    reference_id: Option<String>,
    #[serde(default)]
    amount_money: Option<WireMoney>,
}

#[derive(Deserialize)]
struct WireRefund {
    #[serde(default)]
    payment_id: Option<String>,
    #[serde(default)]
    status: Option<String>,
}

#[derive(Deserialize)]
struct WireMoney {
    amount: i64,
    currency: String,
}

/// # Errors
/// 400 for signed bytes that are no event.
pub fn read(gateway: String, body: &Bytes, now: DateTime<Utc>) -> Result<Webhook, Problem> {
    let event: WireEvent = parse_json(body)?;
    let (payment, refund) = (event.data.object.payment, event.data.object.refund);
    let failed = refund.as_ref().is_some_and(|refund| matches!(refund.status.as_deref(), Some("FAILED" | "REJECTED")));
    let kind = if failed { REFUND_FAILED.to_owned() } else { event.kind };
    let money = payment.as_ref().and_then(|payment| payment.amount_money.as_ref());
    Ok(Webhook {
        gateway,
        event_id: event.event_id,
        event_type: kind.chars().take(LONGEST_TYPE).collect(),
        amount_minor: money.map(|money| money.amount),
        currency: money.map(|money| money.currency.clone()),
        order: payment.as_ref().and_then(|payment| payment.reference_id.as_ref()?.parse().ok()),
        intent: payment
            .map(|payment| payment.id)
            .or_else(|| refund.and_then(|refund| refund.payment_id))
            .unwrap_or_default(),
        body: body.to_vec(),
        received_at: now,
        tries: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://shop.example/v1/payments/webhooks/square";
    const BODY: &[u8] = br#"{"a":1}"#;

    fn signed(secret: &str, url: &str, body: &[u8]) -> String {
        payment_simulator::sign_square(secret, url, body)
    }

    fn outcome(signature: &str, body: &[u8]) -> Result<(), SignatureError> {
        verify(signature, URL, body, &[Secret::new("new"), Secret::new("old"), Secret::default()])
    }

    #[test]
    fn a_right_signature_of_either_secret_is_accepted() {
        for secret in ["new", "old"] {
            assert_eq!(outcome(&signed(secret, URL, BODY), BODY), Ok(()));
        }
    }

    #[test]
    fn forged_and_altered_webhooks_are_refused() {
        let genuine = signed("new", URL, BODY);
        let cases: [(String, &[u8]); 8] = [
            (signed("stolen", URL, BODY), BODY),
            (signed("", URL, BODY), BODY),
            (signed("new", "https://elsewhere.example/", BODY), BODY),
            (genuine.clone(), br#"{"a": 1}"#),
            (genuine.clone(), b"{\"a\":1}\n"),
            (genuine[..genuine.len() - 4].to_owned(), BODY),
            (genuine.to_lowercase(), BODY),
            (String::new(), BODY),
        ];
        for (signature, body) in cases {
            assert_eq!(outcome(&signature, body), Err(SignatureError::Invalid), "{signature}");
        }
    }

    #[test]
    fn payment_and_refund_lead_to_their_payment() {
        let payment = r#"{"event_id":"e1","type":"payment.updated","data":{"type":"payment","id":"sq_1","object":{"payment":
            {"id":"sq_1","status":"COMPLETED","reference_id":"no order","amount_money":{"amount":4990,"currency":"EUR"}}}}}"#;
        let refund = r#"{"event_id":"e2","type":"refund.updated","data":{"object":{"refund":{"id":"re_1","payment_id":"sq_1"}}}}"#;
        let other = r#"{"event_id":"e3","type":"customer.created","data":{"type":"customer"}}"#;
        let read = |text: &str| read("square".to_owned(), &Bytes::from(text.to_owned()), DateTime::UNIX_EPOCH).unwrap();
        let hook = read(payment);
        assert_eq!(
            (hook.intent.as_str(), hook.amount_minor, hook.currency.as_deref()),
            ("sq_1", Some(4990), Some("EUR"))
        );
        assert_eq!((read(refund).intent.as_str(), read(refund).amount_minor), ("sq_1", None));
        for (status, kind) in [
            ("PENDING", "refund.updated"),
            ("COMPLETED", "refund.updated"),
            ("FAILED", REFUND_FAILED),
            ("REJECTED", REFUND_FAILED),
        ] {
            let told = refund.replace(r#""id":"re_1""#, &format!(r#""id":"re_1","status":"{status}""#));
            assert_eq!((read(&told).event_type.as_str(), read(&told).intent.as_str()), (kind, "sq_1"), "{status}");
        }
        assert_eq!((read(other).intent.as_str(), read(other).event_type.as_str()), ("", "customer.created"));
    }
}
