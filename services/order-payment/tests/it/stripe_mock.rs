//! The first adapter before an independent judge: stripe-mock knows the published description of the API and refuses a request
//! that this does not allow. It answers with fixtures, so what is looked at is the request, not the money.

use chassis::config::Secret;
use messaging::Epoch;
use order_payment::domain::{Answer, Attempt, Call, Flow, Look, Via};
use order_payment::outbound::gateway::PaymentIntents;
use order_payment::usecases::ports::Gateway as _;
use testkit::servers;

use crate::gateway_conformance::an_attempt;
use crate::world::REGION;

/// The judge of the test stack, when it runs.
async fn judge() -> Option<String> {
    let url = servers().stripe_mock_url;
    if tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.is_ok() {
        return Some(url);
    }
    testkit::skipped(&format!("no stripe-mock at {url}; `./dev test` starts one"));
    None
}

fn known() -> Attempt {
    Attempt {
        intent: Some("pi_123".to_owned()),
        ..an_attempt(Via { name: "judge".to_owned(), flow: Flow::MakeThenConfirm })
    }
}

#[tokio::test]
async fn the_published_description_allows_every_request_of_ours() {
    let Some(url) = judge().await else { return };
    let gateway = PaymentIntents::new(&url, Secret::new("sk_test_123"), REGION, Epoch::new(1)).unwrap();
    let attempt = known();
    for call in Call::ALL {
        let answer = gateway.send(call, &attempt).await;
        // Fixtures are in any state; a refusal is always the same: our request is wrong.
        let heard = matches!(answer, Answer::Intent(_) | Answer::Refunded { .. } | Answer::InProgress);
        assert!(heard, "{call:?}: {answer:?}");
    }
    assert!(matches!(gateway.look(Look::Intent, &attempt).await, Answer::Intent(_)));
    for look in [Look::Reference, Look::Refund] {
        // Its lists are of strangers: none of them is this attempt's.
        assert_eq!(gateway.look(look, &attempt).await, Answer::NotFound, "{look:?}");
    }
    let listed = gateway.intents_between(1, 2).await;
    assert!(listed.as_ref().is_ok_and(|intents| !intents.is_empty()), "{listed:?}");
}

#[tokio::test]
async fn the_judge_does_refuse_what_is_not_allowed() {
    let Some(url) = judge().await else { return };
    let client = chassis::http_client::new(chassis::http_client::HttpClientSettings::default()).unwrap();
    for form in ["amount=4990&currency=eur&capture_method=later", "amount=4990", "currency=eur&amount=1&colour=red"] {
        let request = client.post(format!("{url}/v1/payment_intents")).bearer_auth("sk_test_123");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 400, "{form}");
    }
}
