//! What words find: the thing before what goes with it, its number before its words, words of the same meaning, and what to do
//! when nothing fits.

use catalog::domain::draft::{ProductDraft, TextDraft};

use super::world::{Shop, attribute};

fn english(shop: &Shop, name: &str, title: &str) -> ProductDraft {
    let text = TextDraft { language: "en".to_owned(), name: title.to_owned(), description: String::new() };
    ProductDraft { texts: vec![text], attributes: Vec::new(), ..shop.draft(name) }
}

async fn found(shop: &Shop, query: &str) -> Vec<String> {
    let answer = shop.get(&format!("/v1/search?q={query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    answer.skus(shop)
}

/// Accessories first, so that no order by SKU helps.
async fn shop() -> Shop {
    let shop = Shop::open().await;
    let numbered = |draft: ProductDraft, ean: &str, part: &str| ProductDraft {
        attributes: vec![attribute("ean", ean), attribute("part_number", part)],
        ..draft
    };
    shop.stock_up(vec![
        english(&shop, "1", "Nordia projector lamp 200 W"),
        english(&shop, "2", "Nordia vp6 Digital Projector"),
        english(&shop, "3", "Nordia notebook 15"),
        numbered(english(&shop, "4", "Nordia toner cartridge Black"), "4006381333931 0882780756472", "TN-2110"),
        numbered(english(&shop, "5", "Nordia toner cartridge for TN-2110 TN-2110 TN-2110"), "4006381333948", "TN-9999"),
        english(&shop, "6", "Nordia laptop bag"),
    ])
    .await;
    shop
}

#[tokio::test]
async fn the_thing_comes_before_what_goes_with_it() {
    let shop = shop().await;
    assert_eq!(found(&shop, "projector").await, ["2", "1"]);
    assert_eq!(found(&shop, "projector+lamp").await, ["1"]);
    shop.close().await;
}

#[tokio::test]
async fn a_number_finds_its_product_first_however_it_is_written() {
    let shop = shop().await;
    for query in ["4006381333931", "400-6381-333931", "0882780756472", "TN-2110", "tn2110", "TN+2110"] {
        assert_eq!(found(&shop, query).await.first().map(String::as_str), Some("4"), "{query}");
    }
    assert_eq!(found(&shop, "nordia+tn-9999+toner").await.first().map(String::as_str), Some("5"));
    assert_eq!(found(&shop, &shop.sku("6")).await.first().map(String::as_str), Some("6"));
    shop.close().await;
}

#[tokio::test]
async fn a_word_of_the_same_meaning_finds_too_and_the_word_itself_comes_first() {
    let shop = shop().await;
    assert_eq!(found(&shop, "laptop").await, ["6", "3"]);
    assert_eq!(found(&shop, "notebook").await, ["3", "6"]);
    shop.close().await;
}

#[tokio::test]
async fn a_search_that_finds_nothing_is_read_again_and_says_how() {
    let shop = shop().await;
    for (query, reading, corrected, first) in [
        ("projector", "as_asked", None, Some("2")),
        ("projektor", "corrected", Some("projector"), Some("2")),
        ("nordia+projetcor", "corrected", Some("nordia projector"), Some("2")),
        ("projector+zzzzzzzz", "loose", None, Some("2")),
        ("zzzzzzzz", "loose", None, None),
    ] {
        let answer = shop.get(&format!("/v1/search?q={query}")).await;
        assert_eq!(answer.body["reading"], reading, "{query}: {}", answer.body);
        assert_eq!(answer.body["corrected_query"].as_str(), corrected, "{query}");
        assert_eq!(answer.skus(&shop).first().map(String::as_str), first, "{query}");
    }
    shop.close().await;
}

#[tokio::test]
async fn filters_that_leave_nothing_are_told_from_words_that_fit_nothing() {
    let shop = shop().await;
    let filtered = shop.get("/v1/search?q=projector&brand=Nobody").await;
    assert_eq!((&filtered.body["total"]["value"], &filtered.body["without_filters"]), (&0.into(), &2.into()));
    assert_eq!(filtered.body["reading"], "as_asked", "the words are right: they are not read again");
    let nothing = shop.get("/v1/search?q=zzzzzzzz").await;
    assert_eq!(nothing.body["without_filters"], 0);
    let something = shop.get("/v1/search?q=projector").await;
    assert!(something.body.get("without_filters").is_none());
    shop.close().await;
}
