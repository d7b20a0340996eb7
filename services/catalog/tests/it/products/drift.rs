//! The index compared with the store: what differs is found and put right, whatever brought it about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::domain::draft::VariantDraft;
use catalog::domain::product::{Author, Family, Revision, State};
use catalog::domain::schema::{Declared, Kind, Schema};
use catalog::inbound::index_watch::look;
use catalog::inbound::indexer::Indexer;
use catalog::inbound::relay;
use catalog::outbound::feed::KafkaFeed;
use catalog::usecases::ports::products::{IndexAudit as _, ProductIndex as _, ProductStore as _, TurningIndex as _};
use chassis::http_client::{self, HttpClientSettings};
use common::{Region, SharedClock, Sku, SystemClock, UserId, ids};
use contracts::topics;
use messaging::{BatchConsumer, Epoch, KafkaSettings, Publisher};
use testkit::{kafka, servers, wait};
use tokio_util::sync::CancellationToken;

use super::world::{Shop, attribute, gone, live};

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

/// The index remembers the version of a document that was taken away for a minute, unless it is told otherwise.
async fn forgets_at_once(shop: &Shop) {
    let http = http_client::new(HttpClientSettings::default()).unwrap();
    let url = format!("{}/{}/_settings", servers().elasticsearch_url, shop.index.alias());
    let settings = r#"{"index": {"gc_deletes": "0s"}}"#;
    let answer = http.put(url).header("content-type", "application/json").body(settings).send().await.unwrap();
    assert!(answer.status().is_success());
}

/// As if it had happened long before the audit.
fn long_ago(revision: Revision) -> Revision {
    Revision { changed_at: chrono::DateTime::UNIX_EPOCH, ..revision }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_drift_is_found_and_repaired() {
    let shop = Shop::open().await;
    forgets_at_once(&shop).await;
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
    let left = shop.index.seen_after(None, 100).await.unwrap();
    assert!(!left.iter().any(|seen| seen.sku.as_str() == shop.sku("stranger")), "{left:?}");
    // What was ahead had to be taken away first, and the index remembers that for a while: afterwards an audit brings it back.
    let again = look(&shop.store, &shop.index, &clock(), Duration::ZERO).await.unwrap();
    assert_eq!(again.found, BTreeMap::from([("missing", 1)]), "{again:?}");
    wait::until("the product that was ahead to be back", Duration::from_secs(60), async || {
        let drift = look(&shop.store, &shop.index, &clock(), Duration::ZERO).await.unwrap();
        if drift.total() == 0 { Ok(()) } else { Err(drift) }
    })
    .await;
    shop.index.refresh().await.unwrap();
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
    assert_eq!(title("ahead").as_deref(), Some("gestern"));
    shop.close().await;
}

#[tokio::test]
async fn a_product_with_variants_is_no_drift_whatever_became_of_their_numbers() {
    let shop = Shop::open().await;
    let form = |name: &str| VariantDraft {
        sku: shop.sku(name),
        attributes: vec![attribute("size", name)],
        ..VariantDraft::default()
    };
    let mut draft = shop.draft("COAT");
    draft.variants = vec![form("S"), form("M")];
    let claim = |name: &str, number: i64| {
        let (sku, product) = (shop.sku(name), shop.sku("COAT"));
        let state = State::VariantOf { sku: Sku::parse(&sku).unwrap(), product: Sku::parse(&product).unwrap() };
        long_ago(Revision { state, ..gone(&sku, number) })
    };
    let coat = long_ago(live(draft, 1));
    // One number is new; the other was a product of its own before.
    let (before, ended) = (long_ago(live(shop.draft("M"), 1)), long_ago(gone(&shop.sku("M"), 2)));
    shop.store.insert(&[coat.clone(), claim("S", 1), before, ended.clone(), claim("M", 3)]).await.unwrap();
    shop.bring(&[coat, ended]).await;
    let drift = look(&shop.store, &shop.index, &clock(), Duration::ZERO).await.unwrap();
    assert_eq!((drift.total(), drift.repaired, drift.compared), (0, 0, 3), "each product once: {drift:?}");
    shop.close().await;
}

#[tokio::test]
async fn a_product_whose_number_is_a_variants_now_does_not_stay_in_an_index_that_missed_its_end() {
    let shop = Shop::open().await;
    let number = shop.sku("M");
    let state = State::VariantOf { sku: Sku::parse(&number).unwrap(), product: Sku::parse(&shop.sku("COAT")).unwrap() };
    let claim = long_ago(Revision { state, ..gone(&number, 3) });
    let before = long_ago(live(shop.draft("M"), 1));
    shop.store.insert(&[before.clone(), long_ago(gone(&number, 2)), claim]).await.unwrap();
    shop.bring(&[before]).await;
    let drift = look(&shop.store, &shop.index, &clock(), Duration::ZERO).await.unwrap();
    assert_eq!((drift.found, drift.repaired), (BTreeMap::from([("behind", 1)]), 1));
    shop.index.refresh().await.unwrap();
    assert!(shop.index.list(None, None, 10, "de").await.unwrap().is_empty());
    shop.close().await;
}

#[tokio::test]
async fn a_document_that_was_written_since_it_was_seen_is_not_taken_away() {
    let shop = Shop::open().await;
    let revision = |title: &str, number: i64| {
        let mut draft = shop.draft("A");
        draft.texts[0].name = title.to_owned();
        live(draft, number)
    };
    shop.bring(&[revision("eins", 1)]).await;
    let sku = Sku::parse(&shop.sku("A")).unwrap();
    let seen = shop.index.seen(&[sku, Sku::parse(&shop.sku("B")).unwrap()]).await.unwrap();
    assert_eq!(seen, shop.index.seen_after(None, 10).await.unwrap(), "what is not there is not seen");
    assert_eq!(seen.iter().map(|seen| seen.version).collect::<Vec<_>>(), [1]);
    shop.bring(&[revision("zwei", 2)]).await;
    assert_eq!(shop.index.remove(&seen).await.unwrap(), 0);
    let seen = shop.index.seen_after(None, 10).await.unwrap();
    assert_eq!(seen.iter().map(|seen| seen.version).collect::<Vec<_>>(), [2]);
    // Also when only its standing was written, under the revision it has.
    shop.index.renew(&[revision("zwei", 2)]).await.unwrap();
    assert_eq!(shop.index.remove(&seen).await.unwrap(), 0);
    shop.index.refresh().await.unwrap();
    assert_eq!(shop.index.remove(&shop.index.seen_after(None, 10).await.unwrap()).await.unwrap(), 1);
    shop.close().await;
}

#[tokio::test]
async fn a_product_that_went_over_to_a_newer_schema_is_no_drift() {
    let shop = Shop::open().await;
    shop.store.insert(&[long_ago(live(shop.draft("A"), 1))]).await.unwrap();
    let colour = Declared {
        key: "paint".to_owned(),
        kind: Kind::Text,
        required: true,
        per_variant: false,
        formerly: Some("colour".to_owned()),
        default: None,
    };
    let schema = Schema { family: Family::Gadget, version: 0, attributes: vec![colour], open: false };
    let author = Author { user: UserId::from_uuid(ids::random()), reason: None };
    shop.app.products.families.add(schema, &author).await.unwrap();
    // As the pipeline sees it, a rebuild, and the audit.
    let store = &*shop.app.products.store;
    let newest = store.newest(&Sku::parse(&shop.sku("A")).unwrap()).await.unwrap().unwrap();
    assert_eq!(newest.live().unwrap().attributes[0].key, "paint");
    shop.bring(&[newest]).await;
    let drift = look(store, &shop.index, &clock(), Duration::ZERO).await.unwrap();
    assert_eq!((drift.total(), drift.compared), (0, 1), "{drift:?}");
    let as_kept = look(&shop.store, &shop.index, &clock(), Duration::ZERO).await.unwrap();
    assert_eq!(
        as_kept.found,
        BTreeMap::from([("content", 1)]),
        "whoever compares products as they are kept finds drift"
    );
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
