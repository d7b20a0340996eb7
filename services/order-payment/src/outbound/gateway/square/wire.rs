//! How our calls look on this wire: paths and JSON bodies. The order of fields is fixed and nothing in a body changes from try
//! to try, because the gateway compares it with what came under the same key.

use common::Region;
use serde::Serialize;

use super::super::line::segment;
use crate::domain::keys::short_gateway_key;
use crate::domain::{Attempt, Call};

/// The longest key of this API.
const LONGEST_KEY: usize = 45;
/// How long an authorisation that nobody completes stands. Longer than any payment of ours waits for a sick gateway; shorter
/// than the week it would keep a shopper's money by itself.
const AUTHORISED_FOR: &str = "PT24H";

#[derive(Serialize)]
struct Money {
    amount: i64,
    currency: &'static str,
}

#[derive(Serialize)]
struct CreatePayment<'a> {
    source_id: &'a str,
    idempotency_key: String,
    amount_money: Money,
    /// Money is taken by a call of its own, behind a commit.
    autocomplete: bool,
    delay_duration: &'static str,
    delay_action: &'static str,
    reference_id: String,
    note: String,
}

#[derive(Serialize)]
struct CancelByKey {
    idempotency_key: String,
}

#[derive(Serialize)]
struct RefundPayment<'a> {
    idempotency_key: String,
    payment_id: &'a str,
    amount_money: Money,
    reason: String,
}

/// Path and body of a call; `None` for the confirmation, which this API does not have.
pub fn request(call: Call, attempt: &Attempt, region: Region) -> Option<(String, String)> {
    let key = |call| short_gateway_key(region, attempt.order, attempt.number, call, LONGEST_KEY);
    let amount_money = Money { amount: attempt.amount.minor(), currency: attempt.amount.currency().code() };
    let payment = attempt.intent.as_deref();
    let nothing = "{}".to_owned();
    match (call, payment) {
        (Call::Create, _) => {
            let body = CreatePayment {
                source_id: attempt.token.open().as_str(),
                idempotency_key: key(Call::Create),
                amount_money,
                autocomplete: false,
                delay_duration: AUTHORISED_FOR,
                delay_action: "CANCEL",
                reference_id: attempt.order.to_string(),
                note: words(region, attempt.number),
            };
            Some(("/v2/payments".to_owned(), json(&body)))
        }
        (Call::Confirm, _) => None,
        (Call::Capture, payment) => {
            Some((format!("/v2/payments/{}/complete", segment(payment.unwrap_or_default())), nothing))
        }
        (Call::Cancel, Some(payment)) => Some((format!("/v2/payments/{}/cancel", segment(payment)), nothing)),
        (Call::Cancel, None) => {
            Some(("/v2/payments/cancel".to_owned(), json(&CancelByKey { idempotency_key: key(Call::Create) })))
        }
        (Call::Refund, payment) => {
            let body = RefundPayment {
                idempotency_key: key(Call::Refund),
                payment_id: payment.unwrap_or_default(),
                amount_money,
                reason: words(region, attempt.number),
            };
            Some(("/v2/refunds".to_owned(), json(&body)))
        }
    }
}

/// What this API has no field for: which attempt of the order it is.
fn words(region: Region, number: u32) -> String {
    format!("region {}, attempt {number}", region.code())
}

/// The attempt in such words.
pub fn attempt_in(words: Option<&str>) -> Option<u32> {
    words?.rsplit_once("attempt ")?.1.parse().ok()
}

fn json(body: &impl Serialize) -> String {
    // Strings and numbers only, so this always works.
    serde_json::to_string(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::gateway::wire::tests::attempt;

    /// Recorded: a release that wrote another body would meet "same key, other parameters" for every payment under way.
    #[test]
    fn the_body_of_a_call_never_changes() {
        let (path, body) = request(Call::Create, &attempt(), Region::Eu).unwrap();
        assert_eq!(path, "/v2/payments");
        let expected = "{\"source_id\":\"tok_ok\",\"idempotency_key\":\"KEY\",\"amount_money\":{\"amount\":4990,\"currency\":\"EUR\"},\
                        \"autocomplete\":false,\"delay_duration\":\"PT24H\",\"delay_action\":\"CANCEL\",\
                        \"reference_id\":\"00000000-0000-0000-0000-000000000001\",\"note\":\"region eu, attempt 1\"}";
        let key = short_gateway_key(Region::Eu, attempt().order, 1, Call::Create, LONGEST_KEY);
        assert_eq!(body, expected.replace("KEY", &key));
        let later = Attempt { tries: 9, version: 7, traceparent: Some("00-1-2-01".to_owned()), ..attempt() };
        assert_eq!(request(Call::Create, &later, Region::Eu).unwrap().1, body);
    }

    #[test]
    fn a_cancel_without_an_id_names_the_key_of_the_create() {
        let unknown = Attempt { intent: None, ..attempt() };
        let (path, body) = request(Call::Cancel, &unknown, Region::Eu).unwrap();
        assert_eq!(path, "/v2/payments/cancel");
        let create = request(Call::Create, &unknown, Region::Eu).unwrap().1;
        let key = body.trim_start_matches("{\"idempotency_key\":\"").trim_end_matches("\"}");
        assert!(key.len() == LONGEST_KEY && create.contains(key), "{body}");
        assert_eq!(request(Call::Cancel, &attempt(), Region::Eu).unwrap().0, "/v2/payments/pi_1/cancel");
        assert_eq!(request(Call::Confirm, &attempt(), Region::Eu), None);
    }

    #[test]
    fn attempts_are_read_back_from_their_words() {
        assert_eq!(attempt_in(Some(&words(Region::Eu, 12))), Some(12));
        for words in [None, Some(""), Some("attempt x"), Some("thank you")] {
            assert_eq!(attempt_in(words), None);
        }
    }
}
