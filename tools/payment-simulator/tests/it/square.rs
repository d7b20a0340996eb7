//! The second wire over the same books: its calls, its refusals, its faults, its webhooks.

use base64::Engine as _;
use hmac::{Hmac, Mac as _};
use payment_simulator::{Account, EntryKind, Settings, start};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{Merchant, Shop, gateway, quick, state_file};

/// What came back: status and body.
type Seen = Result<(u16, Value), String>;

async fn call(shop: &Shop, path: &str, body: &Value) -> Seen {
    let request = shop.client.post(format!("{}{path}", shop.base)).bearer_auth("sk_test_local");
    let response = request.json(body).send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status().as_u16();
    Ok((status, response.json().await.map_err(|error| format!("{error:?}"))?))
}

fn payment(order: &str, token: &str, amount: i64) -> Value {
    json!({
        "source_id": token, "idempotency_key": format!("key-{order}"), "autocomplete": false, "reference_id": order,
        "note": "attempt 1", "amount_money": {"amount": amount, "currency": "EUR"},
    })
}

async fn made(shop: &Shop, order: &str, token: &str) -> String {
    let (status, body) = call(shop, "/v2/payments", &payment(order, token, 4990)).await.unwrap();
    assert_eq!((status, body["payment"]["status"].as_str()), (200, Some("APPROVED")), "{body}");
    body["payment"]["id"].as_str().unwrap().to_owned()
}

async fn complete(shop: &Shop, id: &str) -> Seen {
    call(shop, &format!("/v2/payments/{id}/complete"), &json!({})).await
}

async fn status(shop: &Shop, id: &str) -> String {
    shop.get(&format!("/v2/payments/{id}")).await.text("/payment/status").to_owned()
}

fn code(body: &Value) -> &str {
    body["errors"][0]["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn an_order_is_authorised_by_the_first_call_completed_and_refunded() {
    let (running, shop) = gateway("square-sunny").await;
    let id = made(&shop, "o-1", "tok_ok").await;
    assert_eq!(made(&shop, "o-1", "tok_ok").await, id, "the same key makes one payment");
    let (status_, body) = complete(&shop, &id).await.unwrap();
    assert_eq!((status_, body["payment"]["status"].as_str()), (200, Some("COMPLETED")));
    assert_eq!(code(&complete(&shop, &id).await.unwrap().1), "DELAYED_TRANSACTION_CAPTURED");

    let refund = json!({
        "idempotency_key": "r-1", "payment_id": id, "reason": "attempt 2", "amount_money": {"amount": 990, "currency": "EUR"},
    });
    let (_, made) = call(&shop, "/v2/refunds", &refund).await.unwrap();
    assert_eq!(made["refund"]["status"], "PENDING");
    let again = call(&shop, "/v2/refunds", &refund).await.unwrap();
    assert_eq!(again.1["refund"]["id"], made["refund"]["id"]);
    let found = shop.get(&format!("/v2/refunds/{}", made["refund"]["id"].as_str().unwrap())).await;
    assert_eq!((found.text("/refund/status"), found.number("/refund/amount_money/amount")), ("COMPLETED", 990));
    let shown = shop.get(&format!("/v2/payments/{id}")).await;
    assert_eq!(
        (shown.text("/payment/refund_ids/0"), shown.number("/payment/refunded_money/amount")),
        (found.text("/refund/id"), 990)
    );

    let books = running.books().await.unwrap();
    let kinds: Vec<_> = books.iter().map(|entry| (entry.kind, entry.attempt.as_deref(), entry.amount)).collect();
    let expected = [
        (EntryKind::Authorise, Some("1"), 4990),
        (EntryKind::Capture, Some("1"), 4990),
        (EntryKind::Refund, Some("2"), 990),
    ];
    assert_eq!(kinds, expected);
    assert!(books.iter().all(|entry| entry.account == Account::Square && entry.reference.as_deref() == Some("o-1")));
}

#[tokio::test]
async fn neither_wire_sees_the_payments_of_the_other() {
    let (_running, shop) = gateway("square-apart").await;
    let (square, intent) = (made(&shop, "o-1", "tok_ok").await, shop.authorise("o-2", "tok_ok").await);
    assert_eq!(shop.get(&format!("/v1/payment_intents/{square}")).await.status, 404);
    assert_eq!(shop.get(&format!("/v2/payments/{intent}")).await.status, 404);
    assert_eq!(complete(&shop, &intent).await.unwrap().0, 404);
    assert_eq!(shop.post(&format!("/v1/payment_intents/{square}/capture"), None, "").await.status, 404);
    let listed = shop.get("/v2/payments?begin_time=2020-01-01T00:00:00Z&limit=1").await;
    assert_eq!((listed.text("/payments/0/id"), listed.body["cursor"].as_str()), (square.as_str(), None));
    let listed = shop.get("/v1/payment_intents").await;
    assert_eq!(listed.body["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_cancel_by_key_voids_what_the_key_made_and_succeeds_when_it_made_nothing() {
    let (running, shop) = gateway("square-by-key").await;
    let by_key = async |key: &str| call(&shop, "/v2/payments/cancel", &json!({"idempotency_key": key})).await.unwrap();
    assert_eq!(by_key("key-of-nobody").await, (200, json!({})));
    let id = made(&shop, "o-1", "tok_ok").await;
    for _ in 0..2 {
        assert_eq!(by_key("key-o-1").await, (200, json!({})));
        assert_eq!(status(&shop, &id).await, "CANCELED");
    }
    let taken = made(&shop, "o-2", "tok_ok").await;
    complete(&shop, &taken).await.unwrap();
    let (refused, body) = by_key("key-o-2").await;
    assert_eq!((refused, code(&body)), (400, "DELAYED_TRANSACTION_CAPTURED"), "taken money is not cancelled");
    let voids = running.books().await.unwrap().into_iter().filter(|entry| entry.kind == EntryKind::Void).count();
    assert_eq!(voids, 1);
}

#[tokio::test]
async fn the_same_cards_and_amounts_spoil_the_same_calls() {
    let (running, shop) = gateway("square-faults").await;
    for (token, expected) in [("tok_declined", "GENERIC_DECLINE"), ("tok_insufficient", "INSUFFICIENT_FUNDS")] {
        let (refused, body) = call(&shop, "/v2/payments", &payment(token, token, 4990)).await.unwrap();
        assert_eq!((refused, code(&body), body["payment"]["status"].as_str()), (402, expected, Some("FAILED")));
    }
    // Made, but the answer is lost or spoilt; the key finds it.
    for (amount, first) in [(9_999_902, None), (9_999_904, Some(500)), (9_999_907, Some(500))] {
        let body = payment(&format!("o-{amount}"), "tok_ok", amount);
        assert_eq!(call(&shop, "/v2/payments", &body).await.ok().map(|seen| seen.0), first, "{amount}");
        assert_eq!(call(&shop, "/v2/payments", &body).await.unwrap().1["payment"]["status"], "APPROVED");
    }
    // Not made at first; nobody sees it until the second try has made it.
    for (amount, first) in [(9_999_903, None), (9_999_905, None), (9_999_906, Some(429))] {
        let body = payment(&format!("o-{amount}"), "tok_ok", amount);
        let before = running.books().await.unwrap().len();
        assert_eq!(call(&shop, "/v2/payments", &body).await.ok().map(|seen| seen.0), first, "{amount}");
        assert_eq!(running.books().await.unwrap().len(), before);
        assert_eq!(call(&shop, "/v2/payments", &body).await.unwrap().1["payment"]["status"], "APPROVED");
    }
    // Token faults act at the call that charges.
    for (token, first) in [("tok_timeout_charged", None), ("tok_error500_charged", Some(500)), ("tok_reset", None)] {
        let id = made(&shop, token, token).await;
        assert_eq!(complete(&shop, &id).await.ok().map(|seen| seen.0), first, "{token}");
        complete(&shop, &id).await.unwrap();
        assert_eq!(status(&shop, &id).await, "COMPLETED");
    }
    assert!(running.summary().await.unwrap().captured_twice.is_empty());
}

#[tokio::test]
async fn what_cannot_be_right_is_refused_in_this_wires_words() {
    let (_running, shop) = gateway("square-refused").await;
    made(&shop, "o-1", "tok_ok").await;
    let mut other = payment("o-1", "tok_ok", 4991);
    let reused = call(&shop, "/v2/payments", &other).await.unwrap();
    assert_eq!((reused.0, code(&reused.1)), (400, "IDEMPOTENCY_KEY_REUSED"));
    other["idempotency_key"] = json!("k".repeat(46));
    assert_eq!(call(&shop, "/v2/payments", &other).await.unwrap().0, 400);
    assert_eq!(call(&shop, "/v2/payments/sq_nobody/complete", &json!({})).await.unwrap().0, 404);
    let stranger = shop.client.get(format!("{}/v2/payments/x", shop.base)).bearer_auth("stolen").send().await.unwrap();
    assert_eq!(stranger.status().as_u16(), 401);
    assert_eq!(stranger.json::<Value>().await.unwrap()["errors"][0]["category"], "AUTHENTICATION_ERROR");
}

#[tokio::test]
async fn its_webhooks_are_signed_over_url_and_body() {
    let (merchant, url) = Merchant::open(0).await;
    let settings = Settings {
        square_webhook_url: Some(url.clone()),
        square_webhook_secret: "square-key".to_owned(),
        ..quick(Settings::new(state_file("square-hooks")))
    };
    let running = start(settings).await.unwrap();
    let shop = Shop::at(&running.base_url);
    let id = made(&shop, "o-1", "tok_ok").await;
    complete(&shop, &id).await.unwrap();
    // The first wire has no webhook here: nothing is queued for it.
    shop.authorise("o-2", "tok_ok").await;
    let received = merchant.wait_for("payment.updated", 1).await.remove(0);
    assert_eq!(received.json()["data"]["object"]["payment"]["status"], "COMPLETED");
    let mut mac = Hmac::<Sha256>::new_from_slice(b"square-key").unwrap();
    mac.update(format!("{url}{}", received.body).as_bytes());
    assert_eq!(base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes()), received.signature);
    merchant.wait_for("payment.created", 1).await;
    assert_eq!(merchant.received().len(), 2);
}
