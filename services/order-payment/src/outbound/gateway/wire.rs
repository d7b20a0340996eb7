//! How our calls look on the wire: paths and form bodies. The order of parameters is fixed and nothing in a body changes
//! from try to try, because the gateway compares it with what came under the same key.

use common::Region;

use super::line::segment;
use crate::domain::{Attempt, Call};

/// Path of a call.
pub fn path(call: Call, attempt: &Attempt) -> String {
    let intent = segment(attempt.intent.as_deref().unwrap_or_default());
    match call {
        Call::Create => "/v1/payment_intents".to_owned(),
        Call::Confirm => format!("/v1/payment_intents/{intent}/confirm"),
        Call::Capture => format!("/v1/payment_intents/{intent}/capture"),
        Call::Cancel => format!("/v1/payment_intents/{intent}/cancel"),
        Call::Refund => "/v1/refunds".to_owned(),
    }
}

/// Form body of a call.
pub fn body(call: Call, attempt: &Attempt, region: Region) -> String {
    let number = attempt.number.to_string();
    let (order, amount) = (attempt.order.to_string(), attempt.amount.minor().to_string());
    let currency = attempt.amount.currency().code().to_ascii_lowercase();
    let intent = attempt.intent.as_deref().unwrap_or_default();
    let pairs: Vec<(&str, &str)> = match call {
        Call::Create => vec![
            ("amount", &amount),
            ("currency", &currency),
            // Money is authorised and taken by calls of their own, each behind a commit.
            ("capture_method", "manual"),
            ("payment_method", attempt.token.open().as_str()),
            ("payment_method_types[]", "card"),
            ("metadata[order_id]", &order),
            ("metadata[attempt]", &number),
            ("metadata[region]", region.code()),
        ],
        Call::Confirm => Vec::new(),
        Call::Capture => vec![("amount_to_capture", &amount)],
        Call::Cancel => vec![("cancellation_reason", "abandoned")],
        Call::Refund => vec![
            ("payment_intent", intent),
            ("amount", &amount),
            ("metadata[order_id]", &order),
            ("metadata[attempt]", &number),
            ("metadata[region]", region.code()),
        ],
    };
    serde_urlencoded::to_string(pairs).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use chrono::DateTime;
    use common::{AttemptId, Currency, Money, OrderId, Private};

    use super::*;
    use crate::domain::{AttemptKind, AttemptState, PaymentToken};

    pub fn attempt() -> Attempt {
        let order = OrderId::from_uuid(uuid::Uuid::from_u128(1));
        Attempt {
            id: AttemptId::derive(order, 1),
            order,
            number: 1,
            kind: AttemptKind::Charge,
            via: crate::domain::Via::default(),
            amount: Money::from_minor(4990, Currency::Eur).unwrap(),
            token: Private::new(PaymentToken::parse("tok_ok").unwrap()),
            state: AttemptState::Prepared,
            intent: Some("pi_1".to_owned()),
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

    /// Recorded: a release that wrote another body would meet "same key, other parameters" for every payment under way.
    #[test]
    fn the_body_of_a_call_never_changes() {
        let expected = "amount=4990&currency=eur&capture_method=manual&payment_method=tok_ok&payment_method_types%5B%5D=card\
                        &metadata%5Border_id%5D=00000000-0000-0000-0000-000000000001&metadata%5Battempt%5D=1&metadata%5Bregion%5D=eu";
        assert_eq!(body(Call::Create, &attempt(), Region::Eu), expected);
        let later = Attempt { tries: 9, version: 7, traceparent: Some("00-1-2-01".to_owned()), ..attempt() };
        assert_eq!(body(Call::Create, &later, Region::Eu), expected);
        assert_eq!(body(Call::Capture, &attempt(), Region::Eu), "amount_to_capture=4990");
        assert_eq!(path(Call::Capture, &attempt()), "/v1/payment_intents/pi_1/capture");
    }
}
