//! The index of visits, from clicks to lists: learned once, led on, written down, and there when the store is not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use contracts::personalization::v1::recommendation_service_server::RecommendationService as _;
use contracts::personalization::v1::{GenerateRecommendationsRequest, Recommendation, RecommendationKind, Why};
use personalization::domain::ClickKind::{Buy, View};
use personalization::domain::Pseudonym;
use personalization::inbound::grpc::Recommender;
use personalization::outbound::memory::MemoryStore;
use personalization::outbound::visit_file::VisitFile;
use personalization::usecases::generate_recommendations::Level;
use personalization::usecases::ports::{ProductRevision, Store, VISIT_ENTRIES, VisitEntry, VisitStream, WriteDown};
use personalization::usecases::{Command, Kind, StoreUnavailable, VisitIndex, follow, generate_recommendations};
use personalization::wiring::{keep_visits, read_visits};
use recommender::Index;
use tokio_util::sync::CancellationToken;

use crate::support::{self, Shop, both, product, products, report, sku, somebody};

both! {
    what_came_next_in_other_visits_comes_first_and_what_was_seen_not_at_all,
    a_batch_delivered_again_teaches_the_index_nothing,
    a_product_that_is_gone_is_not_suggested_by_visits,
    purchases_in_visits_are_bought_together,
    an_index_that_starts_from_a_snapshot_goes_on_where_it_was_written,
}

/// Three visits from the coat C1 over the drone D1 to the coat C4.
async fn visits<S: Store>(shop: &Shop<S>) {
    shop.learn(&products()).await;
    for offset in 1..=3 {
        shop.click(vec![report(&somebody(), offset, &[(View, "C1"), (View, "D1"), (View, "C4")])]).await;
    }
    shop.follow().await;
    shop.refresh().await;
}

async fn looks_at<S: Store>(shop: &Shop<S>, who: &Pseudonym, offset: i64, name: &str) {
    shop.click(vec![report(who, offset, &[(View, name)])]).await;
    shop.follow().await;
}

async fn what_came_next_in_other_visits_comes_first_and_what_was_seen_not_at_all<S: Store>(shop: Shop<S>) {
    visits(&shop).await;
    let who = somebody();
    looks_at(&shop, &who, 10, "C1").await;
    let shown = shop.ask(Kind::ForYou, Some(&who), None).await;
    // The liked category would say a coat; visits say the drone.
    assert_eq!(shown[0], ("D1".to_owned(), "visits-like-yours"), "{shown:?}");
    assert!(shown.iter().all(|(name, _)| name != "C1"), "{shown:?}");
    let about = shop.ask(Kind::AlsoViewed, None, Some("D1")).await;
    assert_eq!(about[0].1, "viewed-together");
    assert!(about.iter().all(|(name, _)| name != "D1") && about.iter().any(|(name, _)| name == "C4"), "{about:?}");
}

async fn a_batch_delivered_again_teaches_the_index_nothing<S: Store>(shop: Shop<S>) {
    shop.learn(&products()).await;
    let who = somebody();
    let batch = || vec![report(&who, 1, &[(View, "C1"), (View, "D1")]), report(&who, 2, &[(View, "C2")])];
    shop.click(batch()).await;
    assert_eq!(shop.follow().await, 3);
    shop.click(batch()).await;
    assert_eq!(shop.follow().await, 0);
    assert_eq!(shop.app.visits.read(|index| (index.len(), index.items())), (1, 3));
}

async fn a_product_that_is_gone_is_not_suggested_by_visits<S: Store>(shop: Shop<S>) {
    visits(&shop).await;
    shop.learn(&[ProductRevision { feature: None, ..product("D1", 2, "", "") }]).await;
    shop.refresh().await;
    let who = somebody();
    looks_at(&shop, &who, 10, "C1").await;
    for shown in [shop.ask(Kind::ForYou, Some(&who), None).await, shop.ask(Kind::AlsoViewed, None, Some("C4")).await] {
        assert!(!shown.is_empty() && shown.iter().all(|(name, _)| name != "D1"), "{shown:?}");
    }
}

async fn purchases_in_visits_are_bought_together<S: Store>(shop: Shop<S>) {
    shop.learn(&products()).await;
    shop.click(vec![report(&somebody(), 1, &[(View, "C1"), (View, "C2"), (Buy, "D2")])]).await;
    shop.follow().await;
    let shown = shop.ask(Kind::AlsoBought, None, Some("C1")).await;
    assert_eq!(shown[0], ("D2".to_owned(), "bought-together"), "{shown:?}");
    assert!(shown[1..].iter().all(|(_, reason)| *reason != "bought-together"), "{shown:?}");
}

async fn an_index_that_starts_from_a_snapshot_goes_on_where_it_was_written<S: Store>(shop: Shop<S>) {
    visits(&shop).await;
    let folder = std::env::temp_dir().join(format!("visits-{}", common::ids::random().simple()));
    let file = VisitFile::in_folder(folder.to_str().expect("a readable name"));
    assert_eq!(file.read(), None);
    file.write(&shop.app.visits.to_bytes()).expect("a writable disk");
    shop.click(vec![report(&somebody(), 9, &[(View, "C2"), (View, "C3")])]).await;

    let started = VisitIndex::default();
    read_visits(&started, &file).await;
    assert_eq!(follow(&started, shop.store.as_ref()).await.expect("the store answers"), 2, "only what is newer");
    shop.follow().await;
    assert_eq!(started.to_bytes(), shop.app.visits.to_bytes());
    std::fs::remove_dir_all(folder).expect("a folder of our own");
}

#[tokio::test]
async fn the_same_question_has_the_same_list_until_something_is_clicked() {
    let shop = support::memory();
    visits(&shop).await;
    let who = somebody();
    looks_at(&shop, &who, 10, "C1").await;
    let first = shop.ask(Kind::ForYou, Some(&who), None).await;
    for _ in 0..5 {
        shop.refresh().await;
        assert_eq!(shop.ask(Kind::ForYou, Some(&who), None).await, first);
    }
    looks_at(&shop, &who, 11, "D1").await;
    assert_ne!(shop.ask(Kind::ForYou, Some(&who), None).await, first);
}

#[tokio::test]
async fn without_the_store_the_levels_follow_each_other_and_no_question_is_refused() {
    let shop = support::memory();
    visits(&shop).await;
    shop.store.down.store(true, Ordering::Relaxed);
    let ask = async |kind, at_hand: Option<&str>| {
        let command = Command {
            kind,
            pseudonym: Some(somebody()),
            takes_part: false,
            sku: at_hand.map(sku),
            limit: 5,
            explain: false,
        };
        generate_recommendations(&shop.app, &command).await.expect("an answer")
    };
    let about = ask(Kind::AlsoViewed, Some("C1")).await;
    assert_eq!((about.level, about.items[0].sku.as_str(), about.degraded), (Level::WithoutProfile, "D1", true));
    let crowd = ask(Kind::ForYou, None).await;
    assert_eq!((crowd.level, crowd.degraded, crowd.items.is_empty()), (Level::Trending, true, false));
    // A process that has just started knows no crowd, only what it found on its disk.
    shop.app.popularity.replace(personalization::usecases::Crowd::default());
    let rest = ask(Kind::ForYou, None).await;
    assert_eq!((rest.level, rest.degraded, rest.items.is_empty()), (Level::Static, true, false));
    shop.app.visits.adopt(b"nonsense");
    assert_eq!(shop.app.visits.read(Index::len), 3, "a damaged snapshot replaces nothing");
}

#[tokio::test]
async fn whoever_asks_why_is_told_what_made_the_list() {
    let shop = support::memory();
    visits(&shop).await;
    let who = somebody();
    looks_at(&shop, &who, 10, "C1").await;
    let ask = async |explain| {
        let command = Command {
            kind: Kind::ForYou,
            pseudonym: Some(who.clone()),
            takes_part: false,
            sku: None,
            limit: 5,
            explain,
        };
        generate_recommendations(&shop.app, &command).await.expect("an answer")
    };
    let (told, plain) = (ask(true).await, ask(false).await);
    assert_eq!((told.items.clone(), plain.explained.len()), (plain.items, 0));
    let why = &told.explained[0];
    assert_eq!(why.item, told.items[0]);
    let parts: f32 = why.suggested.parts.iter().sum();
    assert!((f64::from(parts) - why.suggested.share).abs() < 1e-6 && why.lift >= 1.0, "{why:?}");
}

#[tokio::test]
async fn a_service_that_asks_why_is_told_the_same_as_a_page() {
    let shop = support::memory();
    visits(&shop).await;
    let who = somebody();
    looks_at(&shop, &who, 10, "C1").await;
    let recommender = Recommender(Arc::new(shop.app.clone()));
    let ask = async |explain| {
        let request = GenerateRecommendationsRequest {
            pseudonym: who.to_string(),
            kind: RecommendationKind::ForYou.into(),
            limit: 5,
            explain,
            ..GenerateRecommendationsRequest::default()
        };
        let answer = recommender.generate_recommendations(tonic::Request::new(request)).await.expect("an answer");
        answer.into_inner().items
    };
    let (told, plain) = (ask(true).await, ask(false).await);
    assert!(plain.iter().all(|item| item.why.is_none()), "nobody asked: {plain:?}");
    let skus = |items: &[Recommendation]| items.iter().map(|item| item.sku.clone()).collect::<Vec<_>>();
    assert_eq!(skus(&told), skus(&plain), "asking changes nothing");
    let command =
        Command { kind: Kind::ForYou, pseudonym: Some(who), takes_part: false, sku: None, limit: 5, explain: true };
    let page = generate_recommendations(&shop.app, &command).await.expect("an answer");
    let first = told[0].why.expect("what visits suggested");
    let chosen = page.why(&page.items[0].sku).expect("the same");
    let [neighbours, beside, further, _] = chosen.suggested.parts;
    let same = Why { share: chosen.suggested.share, neighbours, beside, further, lift: chosen.lift };
    assert_eq!((first, told[0].sku.as_str()), (same, page.items[0].sku.as_str()));
    assert!(first.share > 0.0 && first.lift >= 1.0, "{first:?}");
    assert!(told.iter().any(|item| item.why.is_none()), "what visits did not suggest has no such reason: {told:?}");
}

#[tokio::test]
async fn a_process_that_ends_writes_its_index_down_for_the_next() {
    let shop = support::memory();
    visits(&shop).await;
    let (stop, visits) = (CancellationToken::new(), Arc::new(VisitIndex::default()));
    stop.cancel();
    keep_visits(visits.clone(), shop.store.clone(), VisitFile::default(), stop).await;
    let bytes = shop.store.snapshot().await.expect("the store answers").expect("what was written down");
    let next = VisitIndex::default();
    assert!(next.adopt(&bytes));
    assert_eq!((next.position(), next.to_bytes()), (visits.position(), shop.app.visits.to_bytes()));
}

/// The stream of a shop, where it is another's turn to write the index down.
struct AnothersTurn(Arc<MemoryStore>);

#[async_trait]
impl VisitStream for AnothersTurn {
    async fn after(&self, position: &str, limit: usize) -> Result<Vec<VisitEntry>, StoreUnavailable> {
        self.0.after(position, limit).await
    }

    async fn oldest(&self) -> Result<Option<String>, StoreUnavailable> {
        self.0.oldest().await
    }

    async fn snapshot(&self) -> Result<Option<Vec<u8>>, StoreUnavailable> {
        Ok(None)
    }

    async fn may_write(&self, _: WriteDown) -> Result<bool, StoreUnavailable> {
        Ok(false)
    }

    async fn write_snapshot(&self, _: &[u8]) -> Result<(), StoreUnavailable> {
        unreachable!("it is another's turn")
    }
}

/// Everything here answers at once, so only what is done on another thread gives anybody a turn.
#[test]
fn the_index_is_written_down_aside_from_whoever_answers_and_only_where_somebody_takes_it() {
    let shop = support::memory();
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(visits(&shop));
    let folder = std::env::temp_dir().join(format!("visits-{}", common::ids::random().simple()));
    let disk = VisitFile::in_folder(folder.to_str().expect("a readable name"));
    let ours: Arc<dyn VisitStream> = shop.store.clone();
    let another: Arc<dyn VisitStream> = Arc::new(AnothersTurn(shop.store.clone()));
    let cases = [
        ("our turn", ours, VisitFile::default(), true),
        ("another's turn, and a disk", another.clone(), disk.clone(), true),
        ("another's turn", another, VisitFile::default(), false),
    ];
    for (case, stream, file, is_taken) in cases {
        let stop = CancellationToken::new();
        stop.cancel();
        let keep = keep_visits(Arc::new(VisitIndex::default()), stream, file, stop);
        assert_eq!(testkit::aside::is_done_aside(keep), is_taken, "{case}");
    }
    assert!(disk.read().is_some_and(|bytes| VisitIndex::default().adopt(&bytes)), "the disk has it all the same");
    std::fs::remove_dir_all(folder).expect("a folder of our own");
}

#[tokio::test]
async fn the_index_is_written_down_before_the_stream_forgets_what_stands_behind_it() {
    let shop = support::memory();
    shop.learn(&products()).await;
    for offset in 1..=VISIT_ENTRIES / 4 {
        let offset = i64::try_from(offset).expect("small");
        shop.click(vec![report(&somebody(), offset, &[(View, "C1")])]).await;
    }
    let (stop, stream) = (CancellationToken::new(), shop.store.clone());
    let keeper =
        tokio::spawn(keep_visits(Arc::new(VisitIndex::default()), stream.clone(), VisitFile::default(), stop.clone()));
    // Long before it is written down for being old.
    testkit::wait::until("an index that is written down", Duration::from_secs(20), async || {
        stream.snapshot().await.map_err(|error| error.to_string())?.ok_or_else(|| "none yet".to_owned())
    })
    .await;
    stop.cancel();
    keeper.await.expect("no panic");
}

#[tokio::test]
async fn one_process_at_a_time_writes_the_index_down_for_each_reason() {
    let store = support::redis().store;
    for why in [WriteDown::Time, WriteDown::Traffic] {
        for expected in [true, false] {
            assert_eq!(store.may_write(why).await.expect("the store answers"), expected, "{why:?}");
        }
    }
}
