//! Clicks and products through the real broker into the real Redis.

use std::sync::Arc;
use std::time::Duration;

use common::{Region, SystemClock};
use contracts::catalog::v1::ProductChanged;
use contracts::topics::{CLICKSTREAM_PARKED, CLICKSTREAM_RAW, PRODUCT_CHANGED};
use contracts::user::v1::{Click, ClickType, ClicksReported};
use messaging::aside::headers;
use messaging::{BatchConsumer, KafkaSettings, TopicAside};
use personalization::domain::{Person, Pseudonym};
use personalization::inbound::clicks::ClickConsumer;
use personalization::inbound::products::ProductConsumer;
use personalization::outbound::redis::{Patience, RedisStore};
use personalization::usecases::ports::{FeatureStore as _, Shelves};
use personalization::wiring::keep_products;
use prost::Message as _;
use testkit::kafka::{put_raw, read_all, topics};
use testkit::wait;
use tokio_util::sync::CancellationToken;

use crate::support::{self, NOW, Shop, sku, somebody};

const LIMIT: Duration = Duration::from_secs(30);

/// Both consumers on topics of the test's own, until the guard is dropped.
struct Running {
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Running {
    fn start(shop: &Shop<RedisStore>, kafka: &KafkaSettings, group: &'static str) -> Self {
        let stop = CancellationToken::new();
        let aside = TopicAside::new(group, &CLICKSTREAM_PARKED, Region::ALL[0], kafka).expect("settings");
        let (learner, clock) = (shop.learner.clone(), shop.app.clock.clone());
        let clicks = Arc::new(ClickConsumer { learner, aside: Arc::new(aside), clock });
        let products = Arc::new(ProductConsumer { learner: shop.learner.clone(), region: Region::ALL[0] });
        let again = tokio::spawn(keep_products(products.clone(), kafka.clone(), stop.clone()));
        let clicks = BatchConsumer::new(group, &[&CLICKSTREAM_RAW], Region::ALL[0], kafka, clicks).expect("settings");
        let products =
            BatchConsumer::new("personalization-features", &[&PRODUCT_CHANGED], Region::ALL[0], kafka, products)
                .expect("settings");
        let tasks = [clicks, products].map(|consumer| {
            let stop = stop.clone();
            tokio::spawn(async move { consumer.run(stop).await.expect("no crash point is set") })
        });
        Self { stop, tasks: tasks.into_iter().chain([again]).collect() }
    }

    async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("a consumer ends in order");
        }
    }
}

async fn report(kafka: &KafkaSettings, who: &Pseudonym, at_ms: i64, clicks: &[(ClickType, &str)]) {
    let clicks = clicks.iter().map(|(kind, sku)| Click {
        r#type: *kind as i32,
        sku: (*sku).to_owned(),
        at_ms,
        ..Click::default()
    });
    let message = ClicksReported {
        pseudonym: who.to_string(),
        personalisation_consent: true,
        received_at_ms: at_ms,
        clicks: clicks.collect(),
        bot: false,
    };
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    put_raw(kafka, &CLICKSTREAM_RAW, who.as_str(), &message.encode_to_vec(), &[("traceparent", traceparent)]).await;
}

async fn remembered(shop: &Shop<RedisStore>, who: &Pseudonym, clicked: &str) -> Person {
    wait::until("the click to be in the profile", LIMIT, async || {
        let person = shop.store.person(who).await.map_err(|error| error.to_string())?;
        let rated = person.profile.iter().flat_map(|profile| &profile.skus).any(|rating| rating.key == clicked);
        if rated { Ok(person) } else { Err(format!("{person:?}")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_click_becomes_a_rating_and_a_restart_counts_nothing_twice() {
    let kafka = topics(&[&CLICKSTREAM_RAW, &CLICKSTREAM_PARKED, &PRODUCT_CHANGED]).await;
    let shop = support::redis();
    let product = ProductChanged {
        sku: "C1".to_owned(),
        revision: 1,
        family: "made_to_order_fashion".to_owned(),
        category: "fashion/coats".to_owned(),
        brand: "Aurel".to_owned(),
        changed_at_ms: NOW,
        ..ProductChanged::default()
    };
    put_raw(&kafka, &PRODUCT_CHANGED, "C1", &product.encode_to_vec(), &[]).await;
    let running = Running::start(&shop, &kafka, "personalization");
    wait::until("the product to be known", LIMIT, async || {
        let known = shop.learner.features.features(&[sku("C1")]).await.map_err(|error| error.to_string())?;
        known.get(&sku("C1")).cloned().ok_or_else(|| "unknown".to_owned())
    })
    .await;

    let who = somebody();
    // A record that nobody can read stands before the click and must not stop it, nor be lost.
    put_raw(&kafka, &CLICKSTREAM_RAW, who.as_str(), b"\xff\xff\xff", &[]).await;
    report(&kafka, &who, NOW, &[(ClickType::View, "C1"), (ClickType::Buy, "C1")]).await;
    let person = remembered(&shop, &who, "C1").await;
    let profile = person.profile.as_ref().expect("a profile");
    assert_eq!((profile.categories[0].key.as_str(), profile.brands[0].key.as_str()), ("fashion/coats", "Aurel"));
    assert!((profile.categories[0].weight - 9.0).abs() < 1e-6);
    assert_eq!(profile.traceparent.as_deref().map(|text| &text[3..35]), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    let parked = wait::until("the record that nobody can read to be put aside", LIMIT, async || {
        let parked = read_all(&kafka, &CLICKSTREAM_PARKED).await;
        if parked.is_empty() { Err("nothing is parked".to_owned()) } else { Ok(parked) }
    })
    .await;
    let stood = (parked[0].header(headers::PARTITION), parked[0].header(headers::OFFSET));
    assert_eq!((parked[0].key.as_str(), parked[0].payload.as_slice()), (who.as_str(), &b"\xff\xff\xff"[..]));
    assert_eq!((parked[0].header(headers::REASON), stood.1), (Some("not-a-report"), Some("0")));
    running.stop().await;

    // Another group reads everything from the beginning, as a group that lost its offsets would.
    let again = Running::start(&shop, &kafka, "personalization-again");
    report(&kafka, &who, NOW + 1_000, &[(ClickType::View, "C2")]).await;
    let later = remembered(&shop, &who, "C2").await;
    let weight = later
        .profile
        .as_ref()
        .and_then(|profile| profile.skus.iter().find(|rating| rating.key == "C1"))
        .map(|rating| rating.weight);
    assert!(weight.is_some_and(|weight| (weight - 9.0).abs() < 1e-3), "{later:?}");
    again.stop().await;
    let places = read_all(&kafka, &CLICKSTREAM_PARKED).await;
    assert!(
        places.iter().all(|record| (record.header(headers::PARTITION), record.header(headers::OFFSET)) == stood),
        "a repetition says that it is one: {places:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_redis_has_lost_everything_clicks_that_were_counted_are_counted_again_once() {
    let kafka = topics(&[&CLICKSTREAM_RAW, &CLICKSTREAM_PARKED, &PRODUCT_CHANGED]).await;
    let url = testkit::servers().redis_url;
    let prefix = format!("t{}:", common::ids::random().simple());
    let store = RedisStore::connect(&url, &prefix).expect("a well-formed URL").with_patience(Patience::Background);
    let mut shop = Shop::on(store);
    // The broker keeps the time at which a record was written, and the hour is reckoned by it.
    shop.app.clock = Arc::new(SystemClock);
    let now = shop.app.clock.now().timestamp_millis();
    // Told once and never again.
    for name in ["C1", "C2", "C3", "C4"] {
        let (category, brand) = ("fashion/coats".to_owned(), "Aurel".to_owned());
        let product =
            ProductChanged { sku: name.to_owned(), revision: 1, category, brand, ..ProductChanged::default() };
        put_raw(&kafka, &PRODUCT_CHANGED, name, &product.encode_to_vec(), &[]).await;
    }
    let running = Running::start(&shop, &kafka, "personalization");
    wait::until("all products to be learned", LIMIT, async || {
        let are_learned = shop.learner.features.are_learned().await.map_err(|error| error.to_string())?;
        if are_learned { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    let who = somebody();
    for name in ["C1", "C2", "C3"] {
        report(&kafka, &who, now, &[(ClickType::View, name)]).await;
    }
    remembered(&shop, &who, "C3").await;

    // With nothing in its memory.
    let fresh = RedisStore::connect(&url, &prefix).expect("a well-formed URL");
    let client = redis::Client::open(url).expect("a well-formed URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("the test stack runs");
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("{prefix}*")).query_async(&mut connection).await.expect("redis answers");
    assert!(keys.iter().any(|key| key.contains("clicks-counted")), "the mark goes as well: {keys:?}");
    redis::cmd("DEL").arg(&keys).exec_async(&mut connection).await.expect("redis answers");
    assert_eq!(shop.store.person(&who).await.expect("an answer"), Person::default());

    // The group goes on behind what it has committed, and comes back for the rest.
    report(&kafka, &who, now + 1_000, &[(ClickType::View, "C4")]).await;
    let person = remembered(&shop, &who, "C4").await;
    let profile = person.profile.expect("a profile");
    // Nobody has told of a product since the loss: they were learned again before the clicks were.
    let tastes: Vec<(&str, i64)> = profile
        .categories
        .iter()
        .chain(&profile.brands)
        .map(|rating| (rating.key.as_str(), (rating.weight * 100.0).round() as i64))
        .collect();
    assert_eq!(tastes, [("fashion/coats", 400), ("Aurel", 400)]);
    assert!(fresh.features(&[sku("C1")]).await.expect("an answer").contains_key(&sku("C1")));
    let mut weights: Vec<(String, i64)> =
        profile.skus.into_iter().map(|rating| (rating.key, (rating.weight * 100.0).round() as i64)).collect();
    weights.sort();
    assert_eq!(weights, ["C1", "C2", "C3", "C4"].map(|name| (name.to_owned(), 100)));
    running.stop().await;
}
