//! What the merchant is told: signed, at least once, also across a restart.

use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use payment_simulator::{Settings, start};
use sha2::Sha256;

use crate::support::{Merchant, Received, Shop, quick, state_file};

const SUCCEEDED: &str = "payment_intent.succeeded";

fn settings(name: &str, url: String) -> Settings {
    Settings { webhook_url: Some(url), ..quick(Settings::new(state_file(name))) }
}

/// Verified as a merchant does it: from the header, with the raw body.
fn verified(received: &Received, secret: &str) -> bool {
    let field = |name: &str| received.signature.split(',').find_map(|part| part.strip_prefix(name)).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{}.{}", field("t="), received.body).as_bytes());
    mac.verify_slice(&hex::decode(field("v1=")).unwrap()).is_ok()
}

#[tokio::test]
async fn every_step_is_told_with_a_valid_signature() {
    let (merchant, url) = Merchant::open(0).await;
    let running = start(settings("told", url)).await.unwrap();
    let shop = Shop::at(&running.base_url);
    let intent = shop.authorise("o-1", "tok_ok").await;
    shop.capture("o-1", &intent).await;
    shop.post("/v1/refunds", None, &format!("payment_intent={intent}&amount=90")).await;
    let cancelled = shop.authorise("o-2", "tok_ok").await;
    shop.post(&format!("/v1/payment_intents/{cancelled}/cancel"), None, "").await;
    let declined = shop.create("o-3", "tok_declined", 100).await;
    shop.post(&format!("/v1/payment_intents/{declined}/confirm"), None, "").await;

    let table = [
        ("payment_intent.amount_capturable_updated", 2, "/data/object/status", "requires_capture"),
        (SUCCEEDED, 1, "/data/object/status", "succeeded"),
        ("charge.refunded", 1, "/data/object/payment_intent", intent.as_str()),
        ("payment_intent.canceled", 1, "/data/object/status", "canceled"),
        ("payment_intent.payment_failed", 1, "/data/object/status", "requires_payment_method"),
    ];
    for (kind, count, pointer, expected) in table {
        let received = merchant.wait_for(kind, count).await;
        assert_eq!(received[0].json().pointer(pointer).and_then(|value| value.as_str()), Some(expected), "{kind}");
    }
    for received in merchant.received() {
        assert!(verified(&received, "whsec_local") && !verified(&received, "whsec_other"));
    }
    assert_eq!(merchant.received().len(), 6);
}

#[tokio::test]
async fn a_refused_webhook_comes_again_until_it_is_accepted() {
    let (merchant, url) = Merchant::open(3).await;
    let running = start(settings("refused", url)).await.unwrap();
    let shop = Shop::at(&running.base_url);
    shop.authorise("o-1", "tok_ok").await;
    let received = merchant.wait_for("payment_intent.amount_capturable_updated", 4).await;
    assert!(received.windows(2).all(|pair| pair[0].body == pair[1].body));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((merchant.received().len(), running.webhooks_waiting().await.unwrap()), (4, 0));
}

#[tokio::test]
async fn a_webhook_waits_in_the_state_file_while_nobody_listens() {
    let state = state_file("waits");
    let unreachable = "http://127.0.0.1:1/hook".to_owned();
    let first = Settings { webhook_url: Some(unreachable), ..quick(Settings::new(&state)) };
    let running = start(first).await.unwrap();
    Shop::at(&running.base_url).authorise("o-1", "tok_ok").await;
    running.stop().await;

    let (merchant, url) = Merchant::open(0).await;
    let _running = start(Settings { webhook_url: Some(url), ..quick(Settings::new(&state)) }).await.unwrap();
    merchant.wait_for("payment_intent.amount_capturable_updated", 1).await;
}

#[tokio::test]
async fn duplicate_early_and_only_webhooks_come_as_their_tokens_say() {
    let (merchant, url) = Merchant::open(0).await;
    let running = start(settings("magic", url)).await.unwrap();
    let shop = Shop::at(&running.base_url);

    let intent = shop.authorise("o-1", "tok_webhook_twice").await;
    shop.capture("o-1", &intent).await;
    let twice = merchant.wait_for(SUCCEEDED, 2).await;
    assert_eq!(twice[0].body, twice[1].body);

    let intent = shop.authorise("o-2", "tok_webhook_early").await;
    shop.capture("o-2", &intent).await;
    let answered = Instant::now();
    let early = merchant.of_kind(SUCCEEDED);
    assert_eq!(early.len(), 3);
    assert!(early[2].at < answered && early[2].body.contains(&intent));

    let intent = shop.authorise("o-3", "tok_webhook_only").await;
    assert_eq!(shop.capture("o-3", &intent).await.text("/status"), "processing");
    let late = merchant.wait_for(SUCCEEDED, 4).await;
    assert!(late[3].body.contains(&intent));
}
