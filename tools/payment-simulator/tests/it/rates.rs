//! Faults by rate: the same orders meet the same faults, whoever asks and however often.

use std::time::Duration;

use payment_simulator::{FaultRates, Settings, start};

use crate::support::{Merchant, Shop, gateway, quick, state_file};

/// Which of `count` orders saw anything but a charge at their first capture.
async fn spoilt(shop: &Shop, count: usize) -> Vec<usize> {
    let mut spoilt = Vec::new();
    for number in 0..count {
        let order = format!("o-{number}");
        let intent = shop.authorise(&order, "tok_ok").await;
        let seen = shop.try_capture(&order, &intent).await;
        if !seen.is_ok_and(|answer| answer.text("/status") == "succeeded") {
            spoilt.push(number);
        }
        assert_eq!(shop.capture(&order, &intent).await.text("/status"), "succeeded", "asking again finds the truth");
    }
    spoilt
}

#[tokio::test]
async fn a_seed_spoils_the_same_orders_in_every_run() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let rates: FaultRates = "error500_charged=0.2,reset=0.1".parse().unwrap();
        let settings = Settings { rates: rates.seeded(seed), ..quick(Settings::new(state_file("rates"))) };
        let running = start(settings).await.unwrap();
        runs.push(spoilt(&Shop::at(&running.base_url), 40).await);
        let summary = running.summary().await.unwrap();
        assert_eq!((summary.orders_charged, summary.captured_twice.len()), (40, 0));
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    assert!((4..=20).contains(&runs[0].len()), "{:?}", runs[0]);
}

#[tokio::test]
async fn rates_are_changed_while_it_runs_and_wrong_ones_are_refused() {
    let (_running, shop) = gateway("rates-admin").await;
    assert_eq!(spoilt(&shop, 3).await, [0_usize; 0]);
    let set = shop.post("/__faults", None, "rates=error500_charged%3D1&seed=5").await;
    assert_eq!((set.text("/rates"), set.number("/seed")), ("error500_charged=1", 5));
    let intent = shop.authorise("o-9", "tok_ok").await;
    assert_eq!(shop.try_capture("o-9", &intent).await.unwrap().status, 500);
    assert_eq!(shop.post("/__faults", None, "rates=fire%3D1").await.status, 400);
    assert_eq!(shop.get("/__faults").await.text("/rates"), "error500_charged=1", "a wrong one changes nothing");
    // A magic card overrules the rates.
    let declined = shop.create("o-10", "tok_declined", 100).await;
    assert_eq!(shop.post(&format!("/v1/payment_intents/{declined}/confirm"), None, "").await.status, 402);
    assert_eq!(shop.post("/__faults", None, "").await.text("/rates"), "");
    let intent = shop.authorise("o-11", "tok_ok").await;
    assert_eq!(shop.capture("o-11", &intent).await.status, 200);
}

#[tokio::test]
async fn a_late_webhook_comes_later_and_a_lost_one_never() {
    const SUCCEEDED: &str = "payment_intent.succeeded";
    let (merchant, url) = Merchant::open(0).await;
    let settings = Settings { webhook_url: Some(url), ..quick(Settings::new(state_file("rates-hooks"))) };
    let running = start(settings).await.unwrap();
    let shop = Shop::at(&running.base_url);
    for token in ["tok_webhook_lost", "tok_webhook_late"] {
        let intent = shop.authorise(token, token).await;
        assert_eq!(shop.capture(token, &intent).await.text("/status"), "succeeded");
    }
    merchant.wait_for("payment_intent.amount_capturable_updated", 2).await;
    assert!(merchant.of_kind(SUCCEEDED).is_empty(), "it comes late");
    let received = merchant.wait_for(SUCCEEDED, 1).await;
    assert_eq!(received[0].json()["data"]["object"]["metadata"]["order_id"], "tok_webhook_late");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((merchant.of_kind(SUCCEEDED).len(), running.webhooks_waiting().await.unwrap()), (1, 0));
}
