//! Each magic token and amount: what the client sees, what happened to the money, and what asking again finds.

use std::time::{Duration, Instant};

use crate::support::{Answer, Shop, gateway};

/// What a client saw of its first capture.
async fn first_capture(shop: &Shop, token: &str) -> (String, Result<Answer, String>) {
    let intent = shop.authorise(token, token).await;
    let seen = shop.try_capture(token, &intent).await;
    (intent, seen)
}

#[tokio::test]
async fn plain_tokens_charge_at_once() {
    let (_running, shop) = gateway("plain").await;
    for token in ["tok_ok", "tok_visa", "pm_card_visa", "tok_webhook_twice", "tok_webhook_early"] {
        let (_, seen) = first_capture(&shop, token).await;
        assert_eq!(seen.unwrap().text("/status"), "succeeded", "{token}");
    }
}

#[tokio::test]
async fn faults_after_the_effect_have_charged_and_the_same_key_finds_it() {
    let (running, shop) = gateway("after").await;
    for token in ["tok_timeout_charged", "tok_error500_charged"] {
        let (intent, seen) = first_capture(&shop, token).await;
        match seen {
            Ok(answer) => assert_eq!((answer.status, answer.text("/error/type")), (500, "api_error")),
            Err(error) => assert!(error.contains("TimedOut"), "{error}"),
        }
        assert_eq!(shop.movements(token).await, ["authorise", "capture"], "{token}");
        assert_eq!(shop.status(&intent).await, "succeeded");
        let again = shop.capture(token, &intent).await;
        assert_eq!((again.status, again.text("/status"), again.replayed()), (200, "succeeded", true));
        let other_key =
            shop.post(&format!("/v1/payment_intents/{intent}/capture"), Some(&format!("other-{token}")), "").await;
        assert_eq!(other_key.text("/error/code"), "payment_intent_unexpected_state");
    }
    assert!(running.summary().await.unwrap().charged_twice.is_empty());
}

#[tokio::test]
async fn faults_before_the_effect_have_not_charged_and_the_same_key_gets_through() {
    let (_running, shop) = gateway("before").await;
    for (token, expected) in [("tok_timeout_not_charged", "TimedOut"), ("tok_reset", "")] {
        let (intent, seen) = first_capture(&shop, token).await;
        assert!(seen.as_ref().is_err_and(|error| error.contains(expected)), "{token}");
        assert_eq!(shop.movements(token).await, ["authorise"], "{token}");
        let again = shop.capture(token, &intent).await;
        assert_eq!((again.status, again.text("/status"), again.replayed()), (200, "succeeded", false));
        assert_eq!(shop.movements(token).await, ["authorise", "capture"]);
    }
}

#[tokio::test]
async fn an_answer_held_back_ends_in_a_closed_connection() {
    let (_running, mut shop) = gateway("hold").await;
    shop.client = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
    let started = Instant::now();
    let (_, seen) = first_capture(&shop, "tok_timeout_charged").await;
    assert!(seen.is_err_and(|error| !error.contains("TimedOut")));
    assert!((1..10).contains(&started.elapsed().as_secs()));
}

#[tokio::test]
async fn a_slow_card_waits_before_it_charges_even_when_the_client_has_gone() {
    let (_running, mut shop) = gateway("slow").await;
    let intent = shop.authorise("o-1", "tok_slow").await;
    shop.client = reqwest::Client::builder().timeout(Duration::from_millis(100)).build().unwrap();
    assert!(shop.try_capture("o-1", &intent).await.is_err());
    let shop = Shop::at(&shop.base);
    assert_eq!(shop.status(&intent).await, "requires_capture");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(shop.status(&intent).await, "succeeded");
}

#[tokio::test]
async fn a_webhook_only_card_processes_first_and_succeeds_later() {
    let (_running, shop) = gateway("later").await;
    let (intent, seen) = first_capture(&shop, "tok_webhook_only").await;
    assert_eq!(seen.unwrap().text("/status"), "processing");
    let cancel = shop.post(&format!("/v1/payment_intents/{intent}/cancel"), None, "").await;
    assert_eq!((cancel.status, cancel.text("/error/payment_intent/status")), (400, "processing"));
    assert_eq!(shop.movements("tok_webhook_only").await, ["authorise"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(shop.status(&intent).await, "succeeded");
    assert_eq!(shop.movements("tok_webhook_only").await, ["authorise", "capture"]);
}

#[tokio::test]
async fn magic_amounts_spoil_the_other_calls() {
    let (running, shop) = gateway("amounts").await;
    // What the first confirmation looks like, and what the second one with the same key finds.
    let table = [
        (9_999_901, Some(402), 402),
        (9_999_902, None, 200),
        (9_999_903, None, 200),
        (9_999_904, Some(500), 200),
        (9_999_905, None, 200),
        (9_999_906, Some(429), 200),
    ];
    for (amount, first, second) in table {
        let order = format!("o-{amount}");
        let path = format!("/v1/payment_intents/{}/confirm", shop.create(&order, "tok_ok", amount).await);
        let seen = shop.try_post(&path, Some(&order), "").await;
        assert_eq!(seen.as_ref().ok().map(|answer| answer.status), first, "{amount}");
        assert_eq!(shop.post(&path, Some(&order), "").await.status, second, "{amount}");
    }
    let form = "amount=9999907&currency=eur&metadata[order_id]=o-7";
    assert_eq!(shop.post("/v1/payment_intents", Some("k-7"), form).await.status, 500);
    assert_eq!(shop.post("/v1/payment_intents", Some("k-7"), form).await.status, 200);
    let found = shop.get("/v1/payment_intents/search?query=metadata%5B'order_id'%5D:'o-7'").await;
    assert_eq!(found.body["data"].as_array().map(Vec::len), Some(1));
    assert!(running.summary().await.unwrap().totals["eur"].captured == 0);
}

#[tokio::test]
async fn magic_amounts_spoil_captures_cancels_and_refunds() {
    let (_running, shop) = gateway("amounts-late").await;
    let authorised = async |amount: i64| {
        let intent = shop.create(&format!("o-{amount}"), "tok_ok", amount).await;
        shop.post(&format!("/v1/payment_intents/{intent}/confirm"), None, "").await;
        intent
    };
    let declined = authorised(9_999_908).await;
    let seen = shop.capture("o-9999908", &declined).await;
    assert_eq!((seen.status, seen.text("/error/payment_intent/status")), (402, "requires_capture"));
    for amount in [9_999_911, 9_999_912] {
        let (order, intent) = (format!("o-{amount}"), authorised(amount).await);
        assert!(shop.try_capture(&order, &intent).await.is_err(), "{amount}");
        assert!(shop.capture(&order, &intent).await.replayed());
    }
    let intent = authorised(9_999_910).await;
    let path = format!("/v1/payment_intents/{intent}/cancel");
    assert_eq!(shop.post(&path, Some("x"), "").await.status, 500);
    assert_eq!(shop.post(&path, Some("x"), "").await.text("/status"), "canceled");
    for (amount, first) in [(9_999_909, Some(500)), (9_999_913, None)] {
        let (order, intent) = (format!("o-{amount}"), authorised(amount).await);
        shop.capture(&order, &intent).await;
        let form = format!("payment_intent={intent}");
        let seen = shop.try_post("/v1/refunds", Some(&order), &form).await;
        assert_eq!(seen.ok().map(|answer| answer.status), first);
        assert!(shop.post("/v1/refunds", Some(&order), &form).await.replayed());
        assert_eq!(shop.movements(&order).await, ["authorise", "capture", "refund"]);
    }
}
