//! The way of a change: written as a revision, told to Kafka, found by search.

use std::sync::Arc;
use std::time::Duration;

use catalog::domain::product::{CategoryPath, Revision, State};
use catalog::inbound::indexer::{self, Indexer};
use catalog::inbound::relay;
use catalog::outbound::feed::{self, KafkaFeed};
use catalog::outbound::memory_products::MemoryProducts;
use catalog::usecases::ports::products::{FeedDown, ProductFeed, ProductStore as _, Telling};
use catalog::usecases::publish_products::publish_products;
use catalog::usecases::tell_products::tell_products;
use common::{Region, Sku};
use contracts::{Event, topics};
use messaging::{BatchConsumer, Epoch, Publisher};
use serde_json::json;
use testkit::{kafka, wait};
use tokio_util::sync::CancellationToken;

use super::world::{Shop, gone, live, staff};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_written_product_is_found_by_search_and_a_deleted_one_no_longer() {
    let shop = Shop::open().await;
    let settings = kafka::topics(&[&topics::PRODUCT_CHANGED]).await;
    // A record that nobody can read stands before everything else and must not stop it.
    kafka::put_raw(&settings, &topics::PRODUCT_CHANGED, "x", b"\xff\xff", &[("ce_id", "nonsense")]).await;
    let stop = CancellationToken::new();
    let feed = KafkaFeed::new(Publisher::new(&settings, Region::Eu, Epoch::new(1)).unwrap());
    let indexer = Arc::new(Indexer::new(shop.app.clone()));
    let consumer =
        BatchConsumer::new("catalog-indexer", &[&topics::PRODUCT_CHANGED], Region::Eu, &settings, indexer).unwrap();
    let (store, ended) = (shop.store.clone(), stop.clone());
    let relaying = tokio::spawn(async move { relay::run(&store, &feed, ended).await });
    let indexing = tokio::spawn(consumer.run(stop.clone()));

    let body = json!({"products": [{
        "sku": shop.sku("A"), "family": "general", "category": "toys", "brand": "Acme",
        "texts": {"de": {"name": "Kreisel"}}, "prices": {"EUR": "9.90"}
    }]});
    assert_eq!(shop.post_as(&staff(), "/v1/admin/products/batch", &body).await.status, 200);
    let finds = async |expected: u64| {
        wait::until("the search to follow", Duration::from_secs(30), async || {
            let answer = shop.get("/v1/search?q=kreisel").await;
            if answer.body["total"]["value"] == expected { Ok(()) } else { Err(answer.body.to_string()) }
        })
        .await;
    };
    finds(1).await;
    let path = format!("/v1/admin/products/{}", shop.sku("A"));
    assert_eq!(shop.send_json(&staff(), http::Method::DELETE, &path, None, &serde_json::Value::Null).await.status, 204);
    finds(0).await;
    wait::until("every revision to be told", Duration::from_secs(10), async || {
        match shop.store.unpublished(10).await {
            Ok(waiting) if waiting.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    stop.cancel();
    relaying.await.unwrap();
    indexing.await.unwrap().unwrap();
    let told: Vec<_> = kafka::read_all(&settings, &topics::PRODUCT_CHANGED)
        .await
        .into_iter()
        .filter(|seen| seen.key == shop.sku("A"))
        .collect();
    assert!(told.len() >= 2, "both revisions were told");
    for seen in told {
        let Ok(Event::ProductChanged(change)) = Event::decode(&topics::PRODUCT_CHANGED, &seen.payload) else {
            panic!("a product change")
        };
        let header = |name: &str| seen.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        assert_eq!(header("aggregate_version"), Some(change.revision.to_string()));
        assert_eq!(header("dataclass").as_deref(), Some("internal"));
    }
    shop.close().await;
}

/// Breaks as often as it is told to, and then takes everything.
struct Breaking(std::sync::Mutex<usize>);

#[async_trait::async_trait]
impl ProductFeed for Breaking {
    async fn publish(&self, revisions: &[Revision]) -> Result<Vec<Telling>, FeedDown> {
        let mut left = self.0.lock().unwrap();
        if *left == 0 {
            return Ok(revisions.iter().map(|_| Telling::Told).collect());
        }
        *left -= 1;
        Err(FeedDown("broken for a test".to_owned()))
    }
}

/// Takes every change but those of two products: one is too large for it, with the other it fails.
struct Picky {
    too_large: String,
    failing: String,
}

#[async_trait::async_trait]
impl ProductFeed for Picky {
    async fn publish(&self, revisions: &[Revision]) -> Result<Vec<Telling>, FeedDown> {
        let telling = |revision: &Revision| match revision.sku().as_str() {
            sku if sku == self.too_large => Telling::TooLarge,
            sku if sku == self.failing => Telling::Failed(FeedDown("broken for a test".to_owned())),
            _ => Telling::Told,
        };
        Ok(revisions.iter().map(telling).collect())
    }
}

#[tokio::test]
async fn what_the_broker_did_not_take_is_told_again() {
    let shop = Shop::open().await;
    shop.store.insert(&[live(shop.draft("A"), 1), gone(&shop.sku("A"), 2)]).await.unwrap();
    let feed = Breaking(std::sync::Mutex::new(1));
    assert!(publish_products(&shop.store, &feed).await.is_err());
    assert_eq!(shop.store.unpublished(10).await.unwrap().len(), 2, "nothing counts as told");
    assert_eq!(publish_products(&shop.store, &feed).await.unwrap().told, 2);
    assert_eq!(publish_products(&shop.store, &feed).await.unwrap().told, 0);
    shop.close().await;
}

#[tokio::test]
async fn a_change_that_cannot_be_told_holds_up_nobody() {
    let shop = Shop::open().await;
    let revisions = ["A", "B", "C"].map(|name| live(shop.draft(name), 1));
    shop.store.insert(&revisions).await.unwrap();
    let feed = Picky { too_large: shop.sku("A"), failing: shop.sku("B") };
    let round = publish_products(&shop.store, &feed).await.unwrap();
    assert_eq!((round.told, round.left_out, round.waits.is_some()), (1, 1, true));
    let waiting = shop.store.unpublished(10).await.unwrap();
    assert_eq!(waiting.iter().map(|revision| revision.sku().as_str()).collect::<Vec<_>>(), [shop.sku("B")]);
    let round = publish_products(&shop.store, &Breaking(std::sync::Mutex::new(0))).await.unwrap();
    assert_eq!((round.told, round.left_out, round.waits.is_some()), (1, 0, false));
    shop.close().await;
}

#[tokio::test]
async fn the_feed_tells_what_no_record_can_carry_from_what_it_took() {
    let settings = kafka::topics(&[&topics::PRODUCT_CHANGED]).await;
    let feed = KafkaFeed::new(Publisher::new(&settings, Region::Eu, Epoch::new(1)).unwrap());
    let mut huge = live(super::world::draft("HUGE"), 1);
    if let State::Live(product) = &mut huge.state {
        // As one that was written before products had a bound.
        product.brand = "x".repeat(1_100_000);
    }
    let told = feed.publish(&[live(super::world::draft("SMALL"), 1), huge]).await.unwrap();
    assert!(matches!(told[..], [Telling::Told, Telling::TooLarge]), "{told:?}");
    let seen = kafka::read_all(&settings, &topics::PRODUCT_CHANGED).await;
    assert_eq!(seen.iter().map(|seen| seen.key.as_str()).collect::<Vec<_>>(), ["SMALL"]);
}

#[test]
fn a_revision_survives_the_feed() {
    let draft = super::world::draft("A-1");
    let moved = Some(CategoryPath::parse("audio/speakers").unwrap());
    let moved = Revision { moved_from: moved, ..live(draft.clone(), 9) };
    for revision in [live(draft, 7), gone("A-1", 8), moved] {
        assert_eq!(indexer::revision(feed::changed(&revision)), Ok(revision));
    }
    let impossible = contracts::catalog::v1::ProductChanged { sku: "../".to_owned(), ..feed::changed(&gone("A-1", 8)) };
    assert!(indexer::revision(impossible).is_err());
}

/// Notes what it is told. The first time somebody changes a product meanwhile, and that is told before what it was asked to tell.
struct Overtaken<'a> {
    store: &'a MemoryProducts,
    change: std::sync::Mutex<Option<Revision>>,
    told: std::sync::Mutex<Vec<(String, i64)>>,
}

#[async_trait::async_trait]
impl ProductFeed for Overtaken<'_> {
    async fn publish(&self, revisions: &[Revision]) -> Result<Vec<Telling>, FeedDown> {
        let change = self.change.lock().unwrap().take();
        if let Some(change) = &change {
            self.store.insert(std::slice::from_ref(change)).await.unwrap();
        }
        let name = |revision: &Revision| (revision.sku().to_string(), revision.number);
        self.told.lock().unwrap().extend(change.iter().chain(revisions).map(name));
        Ok(revisions.iter().map(|_| Telling::Told).collect())
    }
}

#[tokio::test]
async fn every_product_is_told_again_and_last_of_each_what_it_is_now() {
    let store = MemoryProducts::default();
    let draft = super::world::draft;
    let of = |sku: &str, number| {
        let state = State::VariantOf { sku: Sku::parse(sku).unwrap(), product: Sku::parse("A").unwrap() };
        Revision { state, ..gone(sku, number) }
    };
    let long_told = [live(draft("A"), 1), live(draft("A"), 2), live(draft("B"), 1), gone("B", 2), of("A-1", 1)];
    store.insert(&long_told).await.unwrap();
    store.mark_published(&long_told).await.unwrap();
    let change = std::sync::Mutex::new(Some(live(draft("A"), 3)));
    let feed = Overtaken { store: &store, change, told: std::sync::Mutex::default() };
    let round = tell_products(&store, &feed).await.unwrap();
    assert_eq!((round.told, round.left_out), (3, 0), "two, and one of them again");
    let told = feed.told.into_inner().unwrap();
    let last = |sku: &str| told.iter().rev().find(|(name, _)| name == sku).map(|(_, number)| *number);
    assert_eq!((last("A"), last("B"), last("A-1")), (Some(3), Some(2), None), "{told:?}");
    assert!(!told.contains(&("A".to_owned(), 1)), "what it was before is of no use: {told:?}");
    // Nothing of it is waited for by the relay but what is new.
    let waiting: Vec<i64> = store.unpublished(10).await.unwrap().iter().map(|revision| revision.number).collect();
    assert_eq!(waiting, [3]);
}
