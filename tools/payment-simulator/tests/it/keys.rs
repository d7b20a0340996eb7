//! The same key means the same request, whoever repeats it and whenever.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use crate::support::{Shop, gateway};

#[tokio::test]
async fn a_repeated_key_replays_the_stored_answer() {
    let (_running, shop) = gateway("replay").await;
    let form = "amount=4990&currency=eur&capture_method=manual&payment_method=tok_ok";
    let first = shop.post("/v1/payment_intents", Some("k-1"), form).await;
    let second = shop
        .post(
            "/v1/payment_intents",
            Some("k-1"),
            "payment_method=tok_ok&capture_method=manual&currency=eur&amount=4990",
        )
        .await;
    assert!(!first.replayed() && second.replayed());
    assert_eq!(first.body, second.body);
}

#[tokio::test]
async fn a_key_with_other_parameters_or_another_path_is_an_idempotency_error() {
    let (_running, shop) = gateway("reused").await;
    let intent = shop.authorise("o-1", "tok_ok").await;
    let other = shop.post(&format!("/v1/payment_intents/{intent}/capture"), Some("confirm-o-1"), "").await;
    assert_eq!((other.status, other.text("/error/type")), (400, "idempotency_error"));
    let capture = format!("/v1/payment_intents/{intent}/capture");
    shop.post(&capture, Some("k"), "amount_to_capture=10").await;
    let other = shop.post(&capture, Some("k"), "amount_to_capture=11").await;
    assert_eq!((other.status, other.text("/error/type")), (400, "idempotency_error"));
    assert_eq!(shop.movements("o-1").await, ["authorise", "capture"]);
}

#[tokio::test]
async fn invalid_parameters_do_not_use_a_key_up() {
    let (_running, shop) = gateway("invalid").await;
    assert_eq!(shop.post("/v1/payment_intents", Some("k"), "amount=x&currency=eur").await.status, 400);
    assert_eq!(shop.post("/v1/payment_intents", Some("k"), "amount=5&currency=eur").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_requests_with_one_key_make_one_intent() {
    let (_running, shop) = gateway("fifty").await;
    let shop = Arc::new(shop);
    let ask = |shop: Arc<Shop>| async move {
        // Those that meet the first one still running are told so and ask again, as a client should.
        for _ in 0..100 {
            let answer =
                shop.post("/v1/payment_intents", Some("one"), "amount=4990&currency=eur&metadata[order_id]=o-1").await;
            match answer.status {
                409 => assert_eq!(answer.text("/error/code"), "idempotency_key_in_use"),
                status => return (status, answer.text("/id").to_owned()),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never answered");
    };
    let mut answers = join_all((0..50).map(|_| tokio::spawn(ask(Arc::clone(&shop)))))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect::<Vec<_>>();
    answers.dedup();
    assert_eq!((answers.len(), answers[0].0), (1, 200));
    assert_eq!(shop.get("/v1/payment_intents?limit=100").await.body["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_captures_without_a_key_charge_once() {
    let (running, shop) = gateway("captures").await;
    let intent = shop.authorise("o-1", "tok_ok").await;
    let path = format!("/v1/payment_intents/{intent}/capture");
    let answers = join_all((0..50).map(|_| shop.post(&path, None, ""))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(running.summary().await.unwrap().totals["eur"].captured, 4990);
}

#[tokio::test]
async fn a_key_in_use_is_refused_until_its_request_has_ended() {
    let (_running, shop) = gateway("in-use").await;
    let intent = shop.authorise("o-1", "tok_slow").await;
    let (first, twin) = tokio::join!(shop.capture("o-1", &intent), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        shop.capture("o-1", &intent).await
    });
    assert_eq!((first.status, twin.status, twin.text("/error/code")), (200, 409, "idempotency_key_in_use"));
    assert!(shop.capture("o-1", &intent).await.replayed());
}
