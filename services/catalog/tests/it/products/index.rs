//! The search index as a projection: it may hear of changes twice, late and in any order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use catalog::domain::inventory::Level;
use catalog::domain::product::Revision;
use catalog::domain::search_query::SearchQuery;
use catalog::domain::standing::Standing;
use catalog::outbound::search::{ElasticProducts, Prepared};
use catalog::usecases::index_products::{finish_rebuild, index_products, rebuild_index};
use catalog::usecases::ports::products::{
    Applied, IndexBuilder, IndexDown, Page, ProductIndex as _, ProductStore as _, TurningIndex as _,
};
use catalog::usecases::ports::standings::{StandingIndex as _, Standings};
use chassis::http_client::{self, HttpClientSettings};
use common::{Currency, Sku};
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use serde_json::Value;
use testkit::servers;

use super::world::{Shop, gone, live};

/// No search of the story is still at the index that everybody leaves.
const NOT_AT_ALL: Duration = Duration::ZERO;

fn named(shop: &Shop, name: &str, title: &str, number: i64) -> Revision {
    let mut draft = shop.draft(name);
    draft.texts[0].name = title.to_owned();
    live(draft, number)
}

async fn titles(shop: &Shop) -> Vec<String> {
    let hits = shop.index.list(None, None, 100, "de").await.unwrap();
    hits.iter().map(|hit| hit.product.text(&["de"]).unwrap().name.clone()).collect()
}

#[tokio::test]
async fn the_newest_revision_stays_in_whatever_order_they_come() {
    let shop = Shop::open().await;
    let (first, second, third) =
        (named(&shop, "A", "eins", 1), named(&shop, "A", "zwei", 2), named(&shop, "A", "drei", 3));
    for order in [[&third, &first, &second], [&second, &third, &first], [&third, &third, &third]] {
        for revision in order {
            shop.bring(std::slice::from_ref(revision)).await;
        }
        assert_eq!(titles(&shop).await, ["drei"]);
    }
    let again = shop.index.apply(std::slice::from_ref(&third)).await.unwrap();
    assert_eq!(again, Applied { written: 0, stale: 1, refused: 0 }, "a second delivery writes nothing");
    shop.close().await;
}

#[tokio::test]
async fn late_news_does_not_bring_back_what_was_deleted() {
    let shop = Shop::open().await;
    shop.bring(&[named(&shop, "A", "eins", 1)]).await;
    shop.bring(&[gone(&shop.sku("A"), 3)]).await;
    shop.bring(&[named(&shop, "A", "zwei", 2)]).await;
    assert!(titles(&shop).await.is_empty());
    shop.bring(&[named(&shop, "A", "wieder da", 4)]).await;
    assert_eq!(titles(&shop).await, ["wieder da"]);
    shop.close().await;
}

#[tokio::test]
async fn of_several_changes_in_one_batch_the_last_counts() {
    let shop = Shop::open().await;
    let batch = [
        named(&shop, "A", "zwei", 2),
        named(&shop, "B", "anderes", 1),
        named(&shop, "A", "drei", 3),
        named(&shop, "A", "eins", 1),
    ];
    let applied = index_products(&shop.index, &*shop.app.products.cache, &batch).await.unwrap();
    assert_eq!(applied, Applied { written: 2, stale: 2, refused: 0 });
    shop.index.refresh().await.unwrap();
    assert_eq!(titles(&shop).await, ["drei", "anderes"]);
    shop.close().await;
}

/// Builds as the index does. Between the second filling and the switch something happens, and whoever makes it happen says whether the
/// count is to be told as it is, or as nothing.
struct Meanwhile<'a> {
    index: &'a ElasticProducts,
    happens: Box<dyn Fn() -> BoxFuture<'a, bool> + Send + Sync + 'a>,
    /// Breaks off after the switch, before everything is written once more.
    breaks_off: bool,
    /// The indexes that were there when everything was written once more.
    there: Mutex<Vec<String>>,
}

impl<'a> Meanwhile<'a> {
    fn new(
        index: &'a ElasticProducts,
        happens: impl Fn() -> BoxFuture<'a, bool> + Send + Sync + 'a,
        breaks_off: bool,
    ) -> Self {
        Self { index, happens: Box::new(happens), breaks_off, there: Mutex::default() }
    }
}

/// The numbered indexes of this shop, by name.
async fn indexes(index: &ElasticProducts) -> Vec<String> {
    let http = http_client::new(HttpClientSettings::default()).unwrap();
    let url = format!("{}/{}-v*/_alias", servers().elasticsearch_url, index.alias());
    let answer = http.get(url).send().await.unwrap().bytes().await.unwrap();
    let listed: Value = serde_json::from_slice(&answer).unwrap();
    let mut names: Vec<String> = listed.as_object().unwrap().keys().cloned().collect();
    names.sort_unstable();
    names
}

#[async_trait]
impl IndexBuilder for Meanwhile<'_> {
    async fn begin(&self) -> Result<String, IndexDown> {
        self.index.begin().await
    }

    async fn fill(&self, index: &str, revisions: &[Revision]) -> Result<Applied, IndexDown> {
        self.index.fill(index, revisions).await
    }

    async fn fill_again(&self, index: &str, revisions: &[Revision]) -> Result<Applied, IndexDown> {
        let there = indexes(self.index).await;
        *self.there.lock().unwrap() = there;
        if self.breaks_off {
            return Err(IndexDown("broken off for a test".to_owned()));
        }
        self.index.fill_again(index, revisions).await
    }

    async fn count(&self, index: &str) -> Result<usize, IndexDown> {
        let as_it_is = (self.happens)().await;
        let count = self.index.count(index).await?;
        Ok(if as_it_is { count } else { 0 })
    }

    async fn switch_to(&self, index: &str) -> Result<Option<String>, IndexDown> {
        self.index.switch_to(index).await
    }

    async fn discard(&self, index: &str) -> Result<(), IndexDown> {
        self.index.discard(index).await
    }
}

/// One level for everything.
#[derive(Default)]
struct Shelves(AtomicBool);

#[async_trait]
impl Standings for Shelves {
    async fn of(&self, revisions: &[Revision]) -> HashMap<Sku, Standing> {
        let level = if self.0.load(Ordering::SeqCst) { Level::Out } else { Level::InStock };
        let standing = Standing { level: Some(level), popularity: 0 };
        revisions.iter().map(|revision| (revision.sku().clone(), standing)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_between_the_last_reading_and_the_switch_is_in_the_new_index() {
    let shop = Shop::open().await;
    shop.stock_up((0..3).map(|number| shop.draft(&format!("P{number}"))).collect()).await;
    let shelves = Arc::new(Shelves::default());
    let index = shop.index.clone().knowing(shelves.clone());
    let (renamed, made) = (named(&shop, "P0", "neu", 2), named(&shop, "P9", "erst jetzt", 1));
    let sold_out = named(&shop, "P1", "Rote Kopfhörer", 1);
    let happens = || {
        async {
            let changes = [renamed.clone(), made.clone()];
            shop.store.insert(&changes).await.unwrap();
            // All of it goes to the old index: the changes from the feed, and what the stock says of a product that did not change.
            index.apply(&changes).await.unwrap();
            shelves.0.store(true, Ordering::SeqCst);
            index.renew(std::slice::from_ref(&sold_out)).await.unwrap();
            true
        }
        .boxed()
    };
    rebuild_index(&shop.store, &Meanwhile::new(&index, happens, false), NOT_AT_ALL).await.unwrap();
    shop.index.refresh().await.unwrap();
    let titles = titles(&shop).await;
    assert!(titles.len() == 4 && ["neu", "erst jetzt"].iter().all(|title| titles.contains(&(*title).to_owned())));
    let sku = sold_out.sku().clone();
    assert_eq!(index.standings(std::slice::from_ref(&sku)).await.unwrap()[&sku].level, Some(Level::Out));
    shop.close().await;
}

#[tokio::test]
async fn an_index_that_was_lost_is_not_seen_before_it_is_filled() {
    let shop = Shop::open().await;
    shop.stock_up((0..3).map(|number| shop.draft(&format!("P{number}"))).collect()).await;
    shop.index.drop_all().await.unwrap();
    assert_eq!(shop.index.migrate().await.unwrap(), Prepared::Absent);
    let happens = || {
        async {
            let seen = shop.index.list(None, None, 10, "de").await;
            assert!(seen.is_err(), "whoever asks is told that there is no index: {seen:?}");
            true
        }
        .boxed()
    };
    rebuild_index(&shop.store, &Meanwhile::new(&shop.index, happens, false), NOT_AT_ALL).await.unwrap();
    assert_eq!(titles(&shop).await.len(), 3);
    assert_eq!(shop.index.migrate().await.unwrap(), Prepared::WasThere);
    shop.close().await;
}

#[tokio::test]
async fn a_new_index_that_lacks_products_is_deleted_and_the_old_one_stays() {
    let shop = Shop::open().await;
    shop.stock_up(vec![shop.draft("A")]).await;
    let lost = || async { false }.boxed();
    let rebuilt = rebuild_index(&shop.store, &Meanwhile::new(&shop.index, lost, false), NOT_AT_ALL).await;
    assert!(rebuilt.is_err(), "{rebuilt:?}");
    assert_eq!(titles(&shop).await.len(), 1);
    let next = shop.index.begin().await.unwrap();
    assert!(next.ends_with("-v2"), "the number is free again: {next}");
    shop.index.discard(&next).await.unwrap();
    shop.close().await;
}

#[tokio::test]
async fn the_old_index_stays_until_everything_is_written_and_the_searches_that_met_it_have_ended() {
    let shop = Shop::open().await;
    shop.stock_up(vec![shop.draft("A")]).await;
    let numbered = |number: u32| format!("{}-v{number}", shop.index.alias());
    let nothing = || async { true }.boxed();
    let (builder, patience) = (Meanwhile::new(&shop.index, nothing, false), Duration::from_secs(2));
    let began = Instant::now();
    rebuild_index(&shop.store, &builder, patience).await.unwrap();
    assert_eq!(*builder.there.lock().unwrap(), [numbered(1), numbered(2)]);
    assert!(began.elapsed() >= patience, "{:?}", began.elapsed());
    assert_eq!(indexes(&shop.index).await, [numbered(2)]);
    drop(builder);
    shop.close().await;
}

#[tokio::test]
async fn a_rebuild_that_was_broken_off_after_the_switch_is_finished_by_the_next_migration() {
    let shop = Shop::open().await;
    shop.stock_up(vec![shop.draft("A"), shop.draft("B")]).await;
    let shelves = Arc::new(Shelves::default());
    let index = shop.index.clone().knowing(shelves.clone());
    let sold_out = named(&shop, "A", "Rote Kopfhörer", 1);
    let changed = named(&shop, "B", "neu", 2);
    let happens = || {
        async {
            shop.store.insert(std::slice::from_ref(&changed)).await.unwrap();
            index.apply(std::slice::from_ref(&changed)).await.unwrap();
            shelves.0.store(true, Ordering::SeqCst);
            index.renew(std::slice::from_ref(&sold_out)).await.unwrap();
            true
        }
        .boxed()
    };
    let rebuilt = rebuild_index(&shop.store, &Meanwhile::new(&index, happens, true), NOT_AT_ALL).await;
    assert!(rebuilt.is_err(), "{rebuilt:?}");
    let sku = sold_out.sku().clone();
    let level = async || index.standings(std::slice::from_ref(&sku)).await.unwrap()[&sku].level;
    assert_eq!(level().await, Some(Level::InStock), "what the old index was told is not in the new one");
    let Prepared::Unfinished { index: current, former } = index.migrate().await.unwrap() else {
        panic!("the old index is still there")
    };
    let numbered = |number: u32| format!("{}-v{number}", shop.index.alias());
    assert_eq!((current.clone(), former.clone()), (numbered(2), vec![numbered(1)]));
    finish_rebuild(&shop.store, &index, &current, &former, NOT_AT_ALL).await.unwrap();
    assert_eq!(level().await, Some(Level::Out));
    shop.index.refresh().await.unwrap();
    assert!(titles(&shop).await.contains(&"neu".to_owned()));
    assert_eq!((indexes(&index).await, index.migrate().await.unwrap()), (vec![numbered(2)], Prepared::WasThere));
    // Somebody else may have deleted it in between.
    finish_rebuild(&shop.store, &index, &current, &former, NOT_AT_ALL).await.unwrap();
    shop.close().await;
}

#[tokio::test]
async fn an_index_that_is_being_filled_elsewhere_is_left_alone() {
    let shop = Shop::open().await;
    shop.stock_up(vec![shop.draft("A")]).await;
    let elsewhere = shop.index.begin().await.unwrap();
    assert_eq!(shop.index.migrate().await.unwrap(), Prepared::WasThere);
    rebuild_index(&shop.store, &shop.index, NOT_AT_ALL).await.unwrap();
    assert!(indexes(&shop.index).await.contains(&elsewhere), "a rebuild deletes what it left and nothing else");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_rebuilt_from_the_store_while_search_goes_on() {
    let shop = Shop::open().await;
    shop.stock_up((0..20).map(|number| shop.draft(&format!("P{number:02}"))).collect()).await;
    shop.store.insert(&[gone(&shop.sku("P00"), 2), named(&shop, "P01", "neu", 2)]).await.unwrap();
    let query = SearchQuery::parse(&[], Currency::Eur).unwrap();
    let searches = (0..20).map(|_| shop.index.search(Page { query: &query, language: "de", from: 0, size: 50 }));
    let (applied, answers) = tokio::join!(rebuild_index(&shop.store, &shop.index, NOT_AT_ALL), join_all(searches));
    assert_eq!(applied.unwrap().written, 20, "of each product what it is now, and not what it was");
    for answer in answers {
        assert!(answer.unwrap().total.value >= 19, "search is never empty");
    }
    let titles = titles(&shop).await;
    assert_eq!((titles.len(), titles.iter().filter(|title| *title == "neu").count()), (19, 1));
    let after = shop.index.list(None, Some(&Sku::parse(&shop.sku("P17")).unwrap()), 10, "de").await.unwrap();
    assert_eq!(after.len(), 2, "the list goes on after a SKU");
    shop.close().await;
}

#[tokio::test]
async fn preparing_twice_changes_nothing() {
    let shop = Shop::open().await;
    shop.bring(&[named(&shop, "A", "eins", 1)]).await;
    assert_eq!(shop.index.migrate().await.unwrap(), Prepared::WasThere);
    assert_eq!(titles(&shop).await, ["eins"]);
    shop.close().await;
}

#[tokio::test]
async fn an_index_of_an_older_description_is_not_taken_for_the_current_one() {
    let shop = Shop::open().await;
    let http = http_client::new(HttpClientSettings::default()).unwrap();
    let url = format!("{}/{}/_mapping", servers().elasticsearch_url, shop.index.alias());
    let older = r#"{"_meta": {"version": 1}}"#;
    let answer = http.put(url).header("content-type", "application/json").body(older).send().await.unwrap();
    assert!(answer.status().is_success());
    assert_eq!(shop.index.migrate().await.unwrap(), Prepared::Outdated);
    rebuild_index(&shop.store, &shop.index, NOT_AT_ALL).await.unwrap();
    assert_eq!(shop.index.migrate().await.unwrap(), Prepared::WasThere);
    shop.close().await;
}
