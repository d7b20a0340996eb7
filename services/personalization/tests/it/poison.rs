//! Records among the clicks that are none: each is put aside with its reason, and nobody else notices.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use contracts::user::v1::{Click, ClickType, ClicksReported};
use messaging::{BatchHandler as _, Record, Rewind};
use personalization::domain::Pseudonym;
use personalization::inbound::clicks::ClickConsumer;
use personalization::outbound::memory::MemoryStore;
use personalization::usecases::ports::Shelves as _;
use prost::Message as _;

use crate::support::{self, Lot, NOW, Shop, products, somebody};

const YEAR_MS: i64 = 365 * 24 * 60 * 60 * 1000;

fn viewed(who: &Pseudonym, received_at_ms: i64, sku: &str) -> ClicksReported {
    let click =
        Click { r#type: ClickType::View as i32, sku: sku.to_owned(), at_ms: received_at_ms, ..Click::default() };
    ClicksReported {
        pseudonym: who.to_string(),
        personalisation_consent: true,
        received_at_ms,
        clicks: vec![click],
        bot: false,
    }
}

fn record(offset: i64, key: &str, payload: Vec<u8>) -> Record {
    Record {
        topic: "eu.clickstream.raw.v1".to_owned(),
        partition: 0,
        offset,
        key: key.to_owned().into(),
        payload: payload.into(),
        headers: Vec::new(),
    }
}

fn click(offset: i64, who: &Pseudonym, received_at_ms: i64, sku: &str) -> Record {
    record(offset, who.as_str(), viewed(who, received_at_ms, sku).encode_to_vec())
}

async fn shop() -> (Shop<MemoryStore>, Arc<Lot>, ClickConsumer) {
    let (shop, lot) = (support::memory(), Arc::new(Lot::default()));
    shop.learn(&products()).await;
    let consumer = ClickConsumer { learner: shop.learner.clone(), aside: lot.clone(), clock: shop.app.clock.clone() };
    (shop, lot, consumer)
}

/// How much a person cares for a product.
async fn rating(shop: &Shop<MemoryStore>, who: &Pseudonym, sku: &str) -> f64 {
    let person = shop.store.person(who).await.expect("an answer");
    let found = person.profile.and_then(|profile| profile.skus.into_iter().find(|rating| rating.key == sku));
    found.map_or(0.0, |rating| rating.weight)
}

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-6
}

#[tokio::test]
async fn after_a_loss_clicks_wait_until_products_are_learned_again() {
    let (shop, _lot, consumer) = shop().await;
    let batch = [click(7, &somebody(), NOW, "C1")];
    shop.store.lose_products();
    let error = consumer.handle(0, &batch).await.expect_err("nothing is known of what stands before it");
    assert!(error.downcast_ref::<Rewind>().is_none(), "it is tried again as it is: {error:#}");
    shop.learn(&products()).await;
    let error = consumer.handle(0, &batch).await.expect_err("nothing is known of what stands before it");
    assert!(error.downcast_ref::<Rewind>().is_some(), "now the hour before it is wanted: {error:#}");
}

#[tokio::test]
async fn what_is_no_report_is_put_aside_with_its_reason_and_the_clicks_around_it_count() {
    let (shop, lot, consumer) = shop().await;
    let (ada, bob) = (somebody(), somebody());
    let batch = [
        click(0, &ada, NOW, "C1"),
        record(1, ada.as_str(), b"\xff\xff\xff".to_vec()),
        record(2, bob.as_str(), viewed(&ada, NOW, "C1").encode_to_vec()),
        record(3, "ada", viewed(&ada, NOW, "C1").encode_to_vec()),
        click(4, &ada, 0, "C1"),
        click(5, &ada, NOW + YEAR_MS, "C1"),
        click(6, &ada, 1, "C1"),
        click(7, &bob, NOW, "D1"),
    ];
    consumer.handle(0, &batch).await.expect("everything has a place");
    let reasons =
        ["not-a-report", "foreign-key", "foreign-key", "no-receipt", "received-in-the-future", "received-too-long-ago"];
    assert_eq!(lot.told(), (1..7).zip(reasons).collect::<Vec<_>>());
    assert_eq!(lot.records.lock().expect("a lot")[0].record.payload.as_ref(), b"\xff\xff\xff", "as it came");
    assert!(near(rating(&shop, &ada, "C1").await, 1.0) && near(rating(&shop, &bob, "D1").await, 1.0));
}

#[tokio::test]
async fn a_clock_a_year_ahead_does_not_make_somebody_forget_what_they_look_at_from_then_on() {
    let (shop, _lot, consumer) = shop().await;
    let ada = somebody();
    consumer.handle(0, &[click(0, &ada, NOW + YEAR_MS, "D1")]).await.expect("it has a place");
    consumer.handle(0, &[click(1, &ada, NOW, "C1")]).await.expect("a click");
    let profile = shop.store.person(&ada).await.expect("an answer").profile.expect("a profile");
    assert_eq!(profile.as_of_ms(), NOW);
    assert!(near(rating(&shop, &ada, "C1").await, 1.0), "{profile:?}");
}

#[tokio::test]
async fn without_a_place_for_it_the_batch_waits_while_its_clicks_are_counted_once() {
    let (shop, lot, consumer) = shop().await;
    let ada = somebody();
    let batch = [record(0, ada.as_str(), b"\xff".to_vec()), click(1, &ada, NOW, "C1")];
    lot.shut.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        consumer.handle(0, &batch).await.expect_err("nothing is passed over that is not safe");
        assert!(near(rating(&shop, &ada, "C1").await, 1.0), "no page waits for it");
    }
    lot.shut.store(false, Ordering::Relaxed);
    consumer.handle(0, &batch).await.expect("it has a place again");
    assert_eq!(lot.told(), [(0, "not-a-report")]);
    assert!(near(rating(&shop, &ada, "C1").await, 1.0), "counted once");
}
