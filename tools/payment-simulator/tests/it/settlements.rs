//! The file of a day: all of it, nothing else, in words that can be checked.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use common::ManualClock;
use payment_simulator::{Running, Settings, start};
use sha2::{Digest, Sha256};

use crate::support::{Shop, quick, state_file};

async fn opened(name: &str) -> (Running, Shop, Arc<ManualClock>) {
    let noon: DateTime<Utc> = "2026-11-25T12:00:00Z".parse().unwrap();
    let clock = Arc::new(ManualClock::at(noon));
    let settings = Settings { clock: clock.clone(), ..quick(Settings::new(state_file(name))) };
    let running = start(settings).await.unwrap();
    let shop = Shop::at(&running.base_url);
    (running, shop, clock)
}

/// Status and text of a day's file.
async fn file(shop: &Shop, path: &str) -> (u16, String) {
    let request = shop.client.get(format!("{}{path}", shop.base)).bearer_auth("sk_test_local");
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn charge(shop: &Shop, order: &str) -> String {
    let intent = shop.authorise(order, "tok_ok").await;
    shop.capture(order, &intent).await;
    intent
}

#[tokio::test]
async fn a_closed_day_has_every_capture_and_refund_its_totals_and_a_checksum() {
    let (_running, shop, clock) = opened("settled").await;
    let intent = charge(&shop, "o-1").await;
    charge(&shop, "o,2").await;
    shop.post("/v1/refunds", None, &format!("payment_intent={intent}&amount=990&metadata[attempt]=2")).await;
    shop.authorise("o-3", "tok_ok").await;
    assert_eq!(file(&shop, "/settlements/2026-11-25").await.0, 404, "the day is open");
    clock.advance(Duration::hours(13));
    charge(&shop, "o-4").await;

    let (status, text) = file(&shop, "/settlements/2026-11-25").await;
    assert_eq!(status, 200);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "file,1,intents,2026-11-25,2026-11-26T00:00:00.000Z");
    assert!(
        lines[1].contains(&format!(",capture,o-1,,{intent},ch_")) && lines[1].contains(",4990,EUR,"),
        "{}",
        lines[1]
    );
    assert!(lines[2].contains(",capture,\"o,2\",,"), "{}", lines[2]);
    assert!(lines[3].contains(",refund,o-1,2,") && lines[3].contains(",990,EUR,"), "{}", lines[3]);
    assert_eq!(lines[4], "total,EUR,9980,990,8990,3");
    let before = &text[..text.rfind("checksum,").unwrap()];
    assert_eq!(lines[5], format!("checksum,sha256,{}", hex::encode(Sha256::digest(before))));
    assert_eq!(lines.len(), 6);
    assert_eq!(file(&shop, "/settlements/2026-11-25").await.1, text, "a closed day does not change");
    let (status, other) = file(&shop, "/v2/settlements/2026-11-25").await;
    assert_eq!((status, other.lines().count()), (200, 2), "the other account moved nothing");
}

#[tokio::test]
async fn what_comes_after_an_early_closing_belongs_to_the_next_day_once() {
    let (_running, shop, clock) = opened("closed-early").await;
    charge(&shop, "o-1").await;
    for _ in 0..2 {
        assert_eq!(shop.post("/__settlements/2026-11-25", None, "").await.status, 200);
        charge(&shop, &format!("o-after-{}", shop.get("/__books/summary").await.number("/entries"))).await;
    }
    clock.advance(Duration::hours(40));
    let rows = async |day: &str| file(&shop, &format!("/settlements/{day}")).await.1.matches("\nrow,").count();
    assert_eq!((rows("2026-11-24").await, rows("2026-11-25").await, rows("2026-11-26").await), (0, 1, 2));
    assert_eq!(file(&shop, "/settlements/2026-11-27").await.0, 404);
    assert_eq!(file(&shop, "/settlements/yesterday").await.0, 400);
}
