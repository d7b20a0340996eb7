//! The sunny day, the refusals, and what reads show.

use crate::support::{Shop, gateway};

#[tokio::test]
async fn an_order_is_authorised_captured_and_refunded() {
    let (running, shop) = gateway("sunny").await;
    let intent = shop.authorise("o-1", "tok_ok").await;
    let captured = shop.capture("o-1", &intent).await;
    assert_eq!((captured.text("/status"), captured.number("/amount_received")), ("succeeded", 4990));

    let refund = shop
        .post("/v1/refunds", Some("r-1"), &format!("payment_intent={intent}&amount=1000&reason=requested_by_customer"))
        .await;
    assert_eq!((refund.status, refund.text("/object"), refund.number("/amount")), (200, "refund", 1000));
    let rest = shop.post("/v1/refunds", Some("r-2"), &format!("payment_intent={intent}")).await;
    assert_eq!(rest.number("/amount"), 3990);
    let more = shop.post("/v1/refunds", Some("r-3"), &format!("payment_intent={intent}")).await;
    assert_eq!((more.status, more.text("/error/code")), (400, "charge_already_refunded"));
    let whole = shop.get("/v1/payment_intents?expand%5B%5D=data.latest_charge").await;
    let back = whole.body["data"][0]["latest_charge"]["amount_refunded"].as_i64();
    assert_eq!(back, Some(4990));
    let listed = shop.get(&format!("/v1/refunds?payment_intent={intent}")).await;
    assert_eq!((listed.text("/object"), listed.text("/data/0/id")), ("list", rest.text("/id")));

    assert_eq!(shop.movements("o-1").await, ["authorise", "capture", "refund", "refund"]);
    running.stop().await;
}

#[tokio::test]
async fn a_cancel_lets_the_authorised_money_go_and_is_final() {
    let (_running, shop) = gateway("cancel").await;
    let intent = shop.authorise("o-1", "tok_ok").await;
    let path = format!("/v1/payment_intents/{intent}/cancel");
    let cancelled = shop.post(&path, Some("x-1"), "cancellation_reason=abandoned").await;
    assert_eq!((cancelled.text("/status"), cancelled.text("/cancellation_reason")), ("canceled", "abandoned"));
    let late = shop.capture("o-1", &intent).await;
    assert_eq!((late.status, late.text("/error/code")), (400, "payment_intent_unexpected_state"));
    assert_eq!(late.text("/error/payment_intent/status"), "canceled");
    assert_eq!(shop.movements("o-1").await, ["authorise", "void"]);
}

#[tokio::test]
async fn a_declined_card_leaves_the_intent_open_for_a_cancel_or_another_card() {
    let (_running, shop) = gateway("declined").await;
    for (token, decline) in [("tok_declined", "generic_decline"), ("tok_insufficient", "insufficient_funds")] {
        let intent = shop.create(token, token, 4990).await;
        let path = format!("/v1/payment_intents/{intent}/confirm");
        let declined = shop.post(&path, Some(&format!("c-{token}")), "").await;
        assert_eq!((declined.status, declined.text("/error/type")), (402, "card_error"));
        assert_eq!((declined.text("/error/code"), declined.text("/error/decline_code")), ("card_declined", decline));
        assert_eq!(declined.text("/error/payment_intent/status"), "requires_payment_method");
        let again = shop.post(&path, Some(&format!("c-{token}")), "").await;
        assert!(again.replayed() && again.body == declined.body);
        let other_card = shop.post(&path, Some(&format!("d-{token}")), "payment_method=tok_ok").await;
        assert_eq!(other_card.text("/status"), "requires_capture");
        assert_eq!(shop.movements(token).await, ["authorise"]);
    }
    let intent = shop.create("o-9", "tok_declined", 4990).await;
    shop.post(&format!("/v1/payment_intents/{intent}/confirm"), None, "").await;
    let cancelled = shop.post(&format!("/v1/payment_intents/{intent}/cancel"), None, "").await;
    assert_eq!((cancelled.text("/status"), shop.movements("o-9").await.len()), ("canceled", 0));
}

#[tokio::test]
async fn automatic_capture_charges_at_the_confirmation() {
    let (_running, shop) = gateway("automatic").await;
    let form = "amount=100&currency=usd&payment_method_data[type]=card&payment_method_data[card][token]=tok_ok&metadata[order_id]=o-1";
    let created = shop.post("/v1/payment_intents", None, form).await;
    let confirmed = shop.post(&format!("/v1/payment_intents/{}/confirm", created.text("/id")), None, "").await;
    assert_eq!((confirmed.text("/status"), confirmed.number("/amount_received")), ("succeeded", 100));
    assert_eq!(shop.movements("o-1").await, ["capture"]);
}

#[tokio::test]
async fn intents_are_listed_newest_first_in_pages_and_found_by_order() {
    let (_running, shop) = gateway("list").await;
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(shop.create(&format!("o-{number}"), "tok_ok", 100 + number).await);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = shop.get(&format!("/v1/payment_intents?created[gte]=0&limit=2{after}")).await;
        seen.extend(
            page.body["data"].as_array().unwrap().iter().map(|intent| intent["id"].as_str().unwrap().to_owned()),
        );
        assert_eq!(page.body["has_more"].as_bool(), Some(seen.len() < 5));
        after = format!("&starting_after={}", seen.last().unwrap());
    }
    made.reverse();
    assert_eq!(seen, made);
    let future = shop.get("/v1/payment_intents?created[gte]=99999999999").await;
    assert_eq!(future.body["data"].as_array().map(Vec::len), Some(0));

    let whole = shop.get("/v1/payment_intents?limit=1&expand%5B%5D=data.latest_charge").await;
    assert_eq!(whole.body["data"][0]["latest_charge"], serde_json::Value::Null, "nothing was charged yet");

    let found = shop.get("/v1/payment_intents/search?query=metadata%5B'order_id'%5D:'o-3'").await;
    assert_eq!((found.text("/object"), found.text("/data/0/id")), ("search_result", made[1].as_str()));
    assert_eq!(found.body["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_update_changes_metadata_and_nothing_else() {
    let (_running, shop) = gateway("update").await;
    let intent = shop.create("o-1", "tok_ok", 4990).await;
    let path = format!("/v1/payment_intents/{intent}");
    let updated = shop.post(&path, None, "metadata[epoch]=7").await;
    assert_eq!((updated.text("/metadata/epoch"), updated.text("/metadata/order_id")), ("7", "o-1"));
    assert_eq!(shop.post(&path, None, "amount=1").await.status, 400);
}

#[tokio::test]
async fn bad_requests_are_answered_in_the_error_shape_and_change_nothing() {
    let (running, shop) = gateway("bad").await;
    let create = "/v1/payment_intents";
    let long_order = format!("amount=1&currency=eur&metadata[order_id]={}", "x".repeat(501));
    let large = format!("amount=1&currency=eur&description={}", "x".repeat(200_000));
    let table = [
        (create, "amount=-1&currency=eur", 400),
        (create, "amount=1&currency=nope", 400),
        (create, "amount=1&amount=2&currency=eur", 400),
        (create, "amount=1&currency=eur&payment_method=4242424242424242", 400),
        (create, "amount=1&currency=eur&confirm=true", 400),
        (create, "{\"amount\":1}", 400),
        (create, &long_order, 400),
        (create, &large, 413),
        ("/v1/payment_intents/pi_none/capture", "", 404),
        ("/v1/refunds", "payment_intent=pi_none", 404),
        ("/v1/refunds", "", 400),
        ("/v1/nothing", "", 404),
        ("/__books", "", 404),
    ];
    for (path, form, status) in table {
        let answer = shop.post(path, None, form).await;
        assert_eq!(answer.status, status, "{path} {}", &form[..form.len().min(60)]);
        assert!(!answer.text("/error/type").is_empty() && !answer.text("/error/message").is_empty());
        assert!(!answer.body.to_string().contains("4242424242424242"));
    }
    assert_eq!(shop.get("/v1/payment_intents").await.body["data"].as_array().map(Vec::len), Some(0));
    assert!(running.books().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_api_asks_for_its_key_in_either_form() {
    let (_running, shop) = gateway("auth").await;
    let url = format!("{}/v1/payment_intents", shop.base);
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    let get = || shop.client.get(&url);
    assert_eq!(status(get()).await, 401);
    assert_eq!(status(get().bearer_auth("sk_test_other")).await, 401);
    assert_eq!(status(get().header("authorization", "Basic %%%")).await, 401);
    assert_eq!(status(get().bearer_auth("sk_test_local")).await, 200);
    assert_eq!(status(get().basic_auth("sk_test_local", Some(""))).await, 200);
    for path in ["/livez", "/readyz", "/__books", "/__books/summary"] {
        assert_eq!(status(shop.client.get(format!("{}{path}", Shop::at(&shop.base).base))).await, 200, "{path}");
    }
}
