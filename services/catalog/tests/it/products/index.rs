//! The search index as a projection: it may hear of changes twice, late and in any order.

use catalog::domain::search_query::SearchQuery;
use catalog::usecases::index_products::{index_products, rebuild_index};
use catalog::usecases::ports::products::{Applied, Page, ProductIndex as _, ProductStore as _};
use chassis::http_client::{self, HttpClientSettings};
use common::{Currency, Sku};
use futures::future::join_all;
use testkit::servers;

use super::world::{Shop, gone, live};

fn named(shop: &Shop, name: &str, title: &str, number: i64) -> catalog::domain::product::Revision {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_rebuilt_from_the_store_while_search_goes_on() {
    let shop = Shop::open().await;
    shop.stock_up((0..20).map(|number| shop.draft(&format!("P{number:02}"))).collect()).await;
    shop.store.insert(&[gone(&shop.sku("P00"), 2), named(&shop, "P01", "neu", 2)]).await.unwrap();
    let query = SearchQuery::parse(&[], Currency::Eur).unwrap();
    let searches = (0..20).map(|_| shop.index.search(Page { query: &query, language: "de", from: 0, size: 50 }));
    let (applied, answers) = tokio::join!(rebuild_index(&shop.store, &shop.index), join_all(searches));
    assert_eq!(applied.unwrap().written, 22);
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
    assert_eq!(shop.index.migrate().await.unwrap(), catalog::outbound::search::Prepared::WasThere);
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
    assert_eq!(shop.index.migrate().await.unwrap(), catalog::outbound::search::Prepared::Outdated);
    rebuild_index(&shop.store, &shop.index).await.unwrap();
    assert_eq!(shop.index.migrate().await.unwrap(), catalog::outbound::search::Prepared::WasThere);
    shop.close().await;
}
