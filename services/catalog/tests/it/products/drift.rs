//! The index compared with the store: what differs is found and put right, whatever brought it about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::domain::product::Revision;
use catalog::inbound::index_watch::look;
use catalog::inbound::indexer::Indexer;
use catalog::inbound::relay;
use catalog::outbound::feed::KafkaFeed;
use catalog::usecases::ports::products::{IndexAudit as _, ProductIndex as _, ProductStore as _};
use common::{Region, SharedClock, Sku, SystemClock};
use contracts::topics;
use messaging::{BatchConsumer, Epoch, KafkaSettings, Publisher};
use testkit::{kafka, wait};
use tokio_util::sync::CancellationToken;

use super::world::{Shop, gone, live};

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

/// As if it had happened long before the audit.
fn long_ago(revision: Revision) -> Revision {
    Revision { changed_at: chrono::DateTime::UNIX_EPOCH, ..revision }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_drift_is_found_and_repaired() {
    let shop = Shop::open().await;
    let named = |name: &str, title: &str, number: i64| {
        let mut draft = shop.draft(name);
        draft.texts[0].name = title.to_owned();
        long_ago(live(draft, number))
    };
    let store = [
        named("right", "richtig", 1),
        named("missing", "fehlt", 1),
        named("behind", "alt", 1),
        named("behind", "neu", 2),
        named("ahead", "gestern", 1),
        named("changed", "wie es ist", 1),
        named("deleted", "da", 1),
        long_ago(gone(&shop.sku("deleted"), 2)),
    ];
    shop.store.insert(&store).await.unwrap();
    shop.bring(&[
        named("right", "richtig", 1),
        named("behind", "alt", 1),
        named("ahead", "morgen", 7),
        named("changed", "wie es nicht ist", 1),
        named("deleted", "da", 1),
        named("stranger", "fremd", 1),
    ])
    .await;
    let drift = look(&shop.store, &shop.index, &clock(), Duration::ZERO).await.unwrap();
    let found: Vec<_> = drift.found.iter().map(|(kind, count)| (*kind, *count)).collect();
    assert_eq!(found, [("ahead", 1), ("behind", 2), ("content", 1), ("missing", 1), ("unknown", 1)], "{drift:?}");
    shop.index.refresh().await.unwrap();
    let left = shop.index.skus_after(None, 100).await.unwrap();
    assert!(!left.contains(&Sku::parse(&shop.sku("stranger")).unwrap()), "{left:?}");
    // What was ahead had to be taken away first: the next audit brings it back.
    let again = look(&shop.store, &shop.index, &clock(), Duration::ZERO).await.unwrap();
    assert!(again.total() <= 1 && again.found.keys().all(|kind| ["missing", "ahead"].contains(kind)), "{again:?}");
    let hits = shop.index.list(None, None, 100, "de").await.unwrap();
    let title = |name: &str| {
        let sku = shop.sku(name);
        let hit = hits.iter().find(|hit| hit.product.sku.as_str() == sku);
        hit.and_then(|hit| hit.product.text(&["de"])).map(|text| text.name.clone())
    };
    assert_eq!(title("behind").as_deref(), Some("neu"));
    assert_eq!(title("changed").as_deref(), Some("wie es ist"));
    assert_eq!(title("missing").as_deref(), Some("fehlt"));
    assert_eq!(title("deleted"), None);
    shop.close().await;
}

#[tokio::test]
async fn what_changed_a_moment_ago_is_left_to_the_pipeline() {
    let shop = Shop::open().await;
    shop.store.insert(&[live(shop.draft("A"), 1)]).await.unwrap();
    let revision = shop.store.newest(&Sku::parse(&shop.sku("A")).unwrap()).await.unwrap().unwrap();
    let just_now = Revision { number: 2, changed_at: chrono::Utc::now(), ..revision };
    shop.store.insert(&[just_now]).await.unwrap();
    let drift = look(&shop.store, &shop.index, &clock(), Duration::ZERO).await.unwrap();
    assert_eq!((drift.total(), drift.under_way, drift.repaired), (0, 1, 0));
    shop.close().await;
}

/// Changes of the story below; a recorded run sets more.
fn changes() -> usize {
    std::env::var("CATALOG_DRIFT_CHANGES").ok().and_then(|text| text.parse().ok()).unwrap_or(120)
}

/// The same changes in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound
    }
}

/// Relay and indexer of one life of the role work.
fn work(shop: &Shop, settings: &KafkaSettings) -> Vec<tokio::task::JoinHandle<()>> {
    let feed = KafkaFeed::new(Publisher::new(settings, Region::Eu, Epoch::new(1)).unwrap());
    let indexer = Arc::new(Indexer::new(shop.app.clone()));
    let consumer =
        BatchConsumer::new("catalog-indexer", &[&topics::PRODUCT_CHANGED], Region::Eu, settings, indexer).unwrap();
    let store = shop.store.clone();
    let (never, too) = (CancellationToken::new(), CancellationToken::new());
    vec![
        tokio::spawn(async move {
            relay::run(&store, &feed, never).await;
        }),
        tokio::spawn(async move {
            let _ = consumer.run(too).await;
        }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_drifts_after_many_random_changes_while_the_pipeline_is_killed_in_between() {
    let shop = Shop::open().await;
    let settings = kafka::topics(&[&topics::PRODUCT_CHANGED]).await;
    let mut dice = Dice(7);
    let mut newest: BTreeMap<usize, Revision> = BTreeMap::new();
    let mut life = work(&shop, &settings);
    let mut kills = 0;
    for change in 0..changes() {
        let which = dice.below(40);
        let number = newest.get(&which).map_or(1, |revision| revision.number + 1);
        let revision = if number > 1 && dice.below(8) == 0 {
            gone(&shop.sku(&format!("P{which}")), number)
        } else {
            let mut draft = shop.draft(&format!("P{which}"));
            draft.texts[0].name = format!("Stand {change}");
            live(draft, number)
        };
        shop.store.insert(std::slice::from_ref(&revision)).await.unwrap();
        newest.insert(which, revision);
        if dice.below(40) == 0 {
            // Wherever it was: after a publish without its mark, after a batch without its offset.
            life.iter().for_each(tokio::task::JoinHandle::abort);
            for dead in life {
                let _ = dead.await;
            }
            kills += 1;
            life = work(&shop, &settings);
        }
    }
    let newest: Vec<Revision> = newest.into_values().collect();
    wait::until("the index to be where the store is", Duration::from_secs(120), async || {
        let differences = shop.index.differences(&newest).await.map_err(|error| error.to_string())?;
        if differences.is_empty() { Ok(()) } else { Err(format!("{} differ after {kills} kills", differences.len())) }
    })
    .await;
    life.iter().for_each(tokio::task::JoinHandle::abort);
    shop.index.refresh().await.unwrap();
    let drift = look(&shop.store, &shop.index, &clock(), Duration::ZERO).await.unwrap();
    assert_eq!((drift.total(), drift.under_way), (0, 0), "{drift:?}");
    assert!(kills > 0, "the pipeline was never killed");
    shop.close().await;
}
