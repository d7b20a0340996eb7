//! What a search finds, and how it answers odd questions.

use axum::body::Body;
use catalog::domain::draft::{ProductDraft, TextDraft};
use http::Request;
use serde_json::{Value, json};

use super::world::{Shop, attribute, gone};

fn titled(shop: &Shop, name: &str, german: &str, english: &str) -> ProductDraft {
    let text = |language: &str, name: &str| TextDraft {
        language: language.to_owned(),
        name: name.to_owned(),
        description: String::new(),
    };
    ProductDraft { texts: vec![text("de", german), text("en", english)], ..shop.draft(name) }
}

/// Six products that differ in everything one can ask for.
async fn small_shop() -> Shop {
    let shop = Shop::open().await;
    let priced =
        |draft: ProductDraft, euro: &str| ProductDraft { prices: vec![("EUR".to_owned(), euro.to_owned())], ..draft };
    let coloured =
        |draft: ProductDraft, colour: &str| ProductDraft { attributes: vec![attribute("colour", colour)], ..draft };
    let placed = |draft: ProductDraft, category: &str, brand: &str| ProductDraft {
        category: category.to_owned(),
        brand: brand.to_owned(),
        ..draft
    };
    let drafts = vec![
        placed(
            priced(coloured(titled(&shop, "1", "Rote Kopfhörer", "Red headphones"), "red"), "10"),
            "audio/headphones",
            "Acme",
        ),
        placed(
            priced(coloured(titled(&shop, "2", "Blaue Kopfhörer", "Blue headphones"), "blue"), "30"),
            "audio/headphones",
            "Emca",
        ),
        placed(
            priced(coloured(titled(&shop, "3", "Lautsprecher <b>laut</b>", "Loudspeaker"), "red"), "60"),
            "audio/speakers",
            "Acme",
        ),
        placed(
            priced(coloured(titled(&shop, "4", "Wintermäntel", "Winter coats"), "red"), "120"),
            "fashion/coats",
            "Nord",
        ),
        placed(
            priced(coloured(titled(&shop, "5", "Regenmantel", "Rain coat"), "green"), "80"),
            "fashion/coats",
            "Nord",
        ),
        ProductDraft {
            prices: vec![("USD".to_owned(), "5".to_owned())],
            ..titled(&shop, "6", "Kopfhörer für Amerika", "Headphones for America")
        },
    ];
    shop.stock_up(drafts).await;
    shop
}

async fn found(shop: &Shop, query: &str) -> Vec<String> {
    let answer = shop.get(&format!("/v1/search?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    let mut skus = answer.skus(shop);
    skus.sort();
    skus
}

fn buckets(body: &Value, key: &str) -> Vec<(String, u64, bool)> {
    let facet = body["facets"].as_array().and_then(|facets| facets.iter().find(|facet| facet["key"] == key));
    let buckets = facet.map(|facet| facet["buckets"].as_array().cloned().unwrap_or_default()).unwrap_or_default();
    let mut list: Vec<_> = buckets
        .iter()
        .map(|bucket| {
            (
                bucket["value"].as_str().unwrap_or_default().to_owned(),
                bucket["count"].as_u64().unwrap_or(0),
                bucket["selected"] == true,
            )
        })
        .collect();
    list.sort();
    list
}

#[tokio::test]
async fn words_are_found_in_the_language_of_the_reader_and_nearly_right() {
    let shop = small_shop().await;
    for (query, expected) in [
        ("q=kopfh%C3%B6rer", vec!["1", "2"]),
        ("q=kopfhoerer", vec!["1", "2"]),
        ("q=Kopfhorer", vec!["1", "2"]),
        ("q=kopfh%C3%B6rrer", vec!["1", "2"]),
        ("q=headphones", vec!["1", "2"]),
        ("q=mantel", vec!["4", "5"]),
        ("q=regenmantel", vec!["5"]),
        ("q=winterm%C3%A4ntel", vec!["4"]),
        ("q=wintermantel", vec!["4"]),
        ("q=acme+rote", vec!["1"]),
        ("q=nord", vec!["4", "5"]),
        ("q=qqqqqqqq", vec![]),
    ] {
        assert_eq!(found(&shop, query).await, expected, "{query}");
    }
    let french = Request::get("/v1/search?q=headphones").header("accept-language", "fr").body(Body::empty()).unwrap();
    let answer = shop.send(french).await;
    assert_eq!(
        (answer.header("content-language"), answer.body["items"][0]["name"].as_str()),
        ("fr", Some("Red headphones"))
    );
    shop.close().await;
}

#[tokio::test]
async fn filters_narrow_and_facets_count_what_choosing_another_value_would_give() {
    let shop = small_shop().await;
    for (query, expected) in [
        ("category=audio", vec!["1", "2", "3"]),
        ("category=audio%2Fspeakers", vec!["3"]),
        ("brand=Acme&brand=Emca", vec!["1", "2", "3"]),
        ("attr.colour=red", vec!["1", "3", "4"]),
        ("attr.colour=red&brand=Acme", vec!["1", "3"]),
        ("price_min=30&price_max=80", vec!["2", "3", "5"]),
        ("price_min=30.01", vec!["3", "4", "5"]),
        ("family=gadget&category=fashion", vec!["4", "5"]),
        ("attr.nothing=x", vec![]),
    ] {
        assert_eq!(found(&shop, query).await, expected, "{query}");
    }
    let answer = shop.get("/v1/search?brand=Acme&attr.colour=red").await;
    let value = |name: &str, count, selected| (name.to_owned(), count, selected);
    assert_eq!(buckets(&answer.body, "brand"), [value("Acme", 2, true), value("Nord", 1, false)]);
    assert_eq!(buckets(&answer.body, "attr.colour"), [value("red", 2, true)]);
    assert_eq!(
        buckets(&answer.body, "category"),
        [value("audio", 2, false), value("audio/headphones", 1, false), value("audio/speakers", 1, false)]
    );
    assert_eq!(answer.body["total"], json!({"value": 2, "relation": "eq"}));
    let priced = shop.get("/v1/search?price_min=25&price_max=50").await;
    assert_eq!(buckets(&priced.body, "price").iter().filter(|(_, _, selected)| *selected).count(), 1);
    shop.close().await;
}

#[tokio::test]
async fn a_chosen_value_has_its_own_count_however_many_others_have_more() {
    let shop = Shop::open().await;
    let of = |brand: &str, number: usize| ProductDraft { brand: brand.to_owned(), ..shop.draft(&format!("{number}")) };
    let mut drafts: Vec<_> = (0..62).map(|number| of(&format!("Many{:02}", number / 2), number)).collect();
    drafts.push(of("Zed", 62));
    shop.stock_up(drafts).await;
    let answer = shop.get("/v1/search?brand=Zed").await;
    assert_eq!(answer.body["total"]["value"], 1);
    let brands = buckets(&answer.body, "brand");
    assert_eq!((brands.len(), &brands[30]), (31, &("Zed".to_owned(), 1, true)), "{brands:?}");
    shop.close().await;
}

#[tokio::test]
async fn a_price_range_counts_what_choosing_it_finds_its_bounds_included() {
    let shop = Shop::open().await;
    let prices = ["24.99", "25", "25.01", "49.99", "50", "50.01", "1000"];
    let drafts = prices.into_iter().zip(1..).map(|(euro, number)| ProductDraft {
        prices: vec![("EUR".to_owned(), euro.to_owned())],
        ..shop.draft(&format!("{number}"))
    });
    shop.stock_up(drafts.collect()).await;
    let all = buckets(&shop.get("/v1/search").await.body, "price");
    for (value, count, _) in &all {
        let (from, to) = value.split_once('-').unwrap();
        let most = if to.is_empty() { String::new() } else { format!("&price_max={to}") };
        let chosen = shop.get(&format!("/v1/search?price_min={from}{most}")).await.body;
        assert_eq!(chosen["total"]["value"].as_u64(), Some(*count), "{value} of {all:?}");
        let selected: Vec<_> = buckets(&chosen, "price").into_iter().filter(|(_, _, selected)| *selected).collect();
        assert_eq!(selected, [(value.clone(), *count, true)]);
    }
    let counts: Vec<_> = all.iter().map(|(value, count, _)| (value.as_str(), *count)).collect();
    assert_eq!(counts, [("0-25", 2), ("1000-", 1), ("25-50", 4), ("50-100", 2), ("500-1000", 1)]);
    shop.close().await;
}

#[tokio::test]
async fn an_order_can_be_chosen_and_pages_show_everything_once() {
    let shop = small_shop().await;
    for (sort, expected) in [("price_asc", ["1", "2", "3", "5", "4"]), ("price_desc", ["4", "5", "3", "2", "1"])] {
        let mut path = format!("/v1/search?sort={sort}&limit=2");
        let mut seen = Vec::new();
        for _ in 0..4 {
            let answer = shop.get(&path).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            seen.extend(answer.skus(&shop));
            let Some(cursor) = answer.body["page"]["next_cursor"].as_str() else { break };
            assert!(answer.header("link").contains(cursor) && answer.header("link").ends_with("rel=\"next\""));
            path = format!("/v1/search?sort={sort}&limit=2&cursor={cursor}");
        }
        assert_eq!(seen, expected, "{sort}");
    }
    shop.close().await;
}

/// Leafs through a search as a stranger does. `meanwhile` happens after each page but the last, and is told how many there were and what
/// they showed.
async fn leafed(shop: &Shop, question: &str, meanwhile: impl AsyncFn(usize, &[String])) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for pages in 1..20 {
        let page = shop.get(&format!("/v1/search?{question}{cursor}")).await;
        assert_eq!(page.status, 200, "{}", page.body);
        seen.extend(page.skus(shop));
        let Some(next) = page.body["page"]["next_cursor"].as_str() else { return seen };
        cursor = format!("&cursor={next}");
        meanwhile(pages, &seen[..]).await;
    }
    panic!("it does not end: {seen:?}");
}

#[tokio::test]
async fn what_stays_is_shown_once_though_the_index_changes_between_two_pages() {
    for (question, is_in_order) in [("sort=price_asc&limit=2", true), ("q=kopfh%C3%B6rer&limit=2", false)] {
        let shop = Shop::open().await;
        let priced = |name: &str, euro: usize| ProductDraft {
            prices: vec![("EUR".to_owned(), euro.to_string())],
            ..shop.draft(name)
        };
        shop.stock_up((1..=7).map(|number| priced(&format!("B{number}"), 10 * number)).collect()).await;
        let mut seen = leafed(&shop, question, async |pages: usize, seen: &[String]| match pages {
            // Places move forward: by its place alone the next page would pass over one.
            1 => shop.bring(&[gone(&shop.sku(&seen[0]), 2)]).await,
            // And back: by its place alone it would show one again.
            2 => shop.stock_up(vec![priced("A1", 5)]).await,
            _ => {}
        })
        .await;
        if is_in_order {
            assert_eq!(seen, ["B1", "B2", "B3", "B4", "A1", "B5", "B6", "B7"], "what came in before is next");
        }
        seen.sort();
        assert_eq!(seen, ["A1", "B1", "B2", "B3", "B4", "B5", "B6", "B7"], "{question}");
        shop.close().await;
    }
}

#[tokio::test]
async fn deep_in_a_list_places_may_move_by_half_of_what_a_cursor_remembers() {
    for forward in [true, false] {
        let shop = Shop::open().await;
        let priced = |name: String, euro: usize| ProductDraft {
            prices: vec![("EUR".to_owned(), euro.to_string())],
            ..shop.draft(&name)
        };
        let all: Vec<String> = (0..150).map(|number| format!("B{number:03}")).collect();
        shop.stock_up(all.iter().zip(100..).map(|(name, euro)| priced(name.clone(), euro)).collect()).await;
        let seen = leafed(&shop, "sort=price_asc&limit=60", async |pages: usize, seen: &[String]| {
            if pages == 2 && forward {
                let went: Vec<_> = seen[..40].iter().map(|name| gone(&shop.sku(name), 2)).collect();
                shop.bring(&went).await;
            } else if pages == 2 {
                shop.stock_up((0..40).map(|number| priced(format!("A{number:03}"), 1 + number)).collect()).await;
            }
        })
        .await;
        assert_eq!(seen, all, "forward: {forward}");
        shop.close().await;
    }
}

#[tokio::test]
async fn passages_are_shown_encoded_and_words_are_corrected() {
    let shop = small_shop().await;
    let answer = shop.get("/v1/search?q=lautsprecher").await;
    let passage = answer.body["items"][0]["highlights"]["name.de"].as_str().unwrap_or_default();
    assert!(passage.contains("<em>Lautsprecher</em>") && passage.contains("&lt;b&gt;"), "{passage}");
    let answer = shop.get("/v1/search?q=blue+headphnes").await;
    assert_eq!(answer.body["corrected_query"], "blue headphones", "{}", answer.body);
    let answer = shop.get("/v1/search?q=rain+coat").await;
    assert!(answer.body.get("corrected_query").is_none());
    let explained = shop.get("/v1/search?q=coat&explain=true").await;
    assert!(explained.body["items"][0]["explain"]["relevance"].as_f64().is_some_and(|relevance| relevance > 0.0));
    shop.close().await;
}

#[tokio::test]
async fn typing_is_completed() {
    let shop = small_shop().await;
    let texts = async |query: &str| -> Vec<String> {
        let answer = shop.get(&format!("/v1/search/completions?q={query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["items"].as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap().to_owned()).collect()
    };
    assert!(texts("rote").await.contains(&"Rote Kopfhörer".to_owned()));
    assert!(texts("acm").await.contains(&"Acme".to_owned()));
    assert!(texts("").await.is_empty());
    shop.get("/v1/search/completions?size=5").await.is_problem(400, "malformed-request");
    shop.close().await;
}

#[tokio::test]
async fn costly_hostile_and_unknown_questions_are_refused_in_one_shape() {
    let shop = Shop::open().await;
    let long = "x".repeat(10 * 1024);
    for (query, status, code) in [
        (format!("q={long}"), 422, "query-too-costly"),
        (format!("q={}", "a+".repeat(10_000)), 422, "query-too-costly"),
        ("q=*phone".to_owned(), 422, "query-too-costly"),
        ("q=(a%2B)%2B%24".to_owned(), 422, "query-too-costly"),
        (format!("q={}", "a~+".repeat(50)), 422, "query-too-costly"),
        ((0..1000).map(|number| format!("brand=b{number}")).collect::<Vec<_>>().join("&"), 422, "query-too-costly"),
        ("_source=true".to_owned(), 400, "malformed-request"),
        ("size=1000000000".to_owned(), 400, "malformed-request"),
        ("from=-1".to_owned(), 400, "malformed-request"),
        ("limit=1.5".to_owned(), 400, "malformed-request"),
        ("limit=101".to_owned(), 400, "malformed-request"),
        ("cursor=AAAA.BBBB".to_owned(), 400, "cursor-invalid"),
        ("sort=_score".to_owned(), 422, "invalid-field"),
        ("attr.__proto__=x".to_owned(), 422, "invalid-field"),
        ("price_min=-1".to_owned(), 422, "invalid-field"),
        (format!("price_max={}", "9".repeat(40)), 422, "invalid-field"),
        ("price_min=NaN".to_owned(), 422, "invalid-field"),
        ("price_min=20&price_max=10".to_owned(), 422, "invalid-field"),
        ("limit=0".to_owned(), 400, "malformed-request"),
        ("limit=99999999999999999999".to_owned(), 400, "malformed-request"),
        ("page=1000000".to_owned(), 400, "malformed-request"),
        ("facet.colour=red".to_owned(), 400, "malformed-request"),
        ("attr.=x".to_owned(), 422, "invalid-field"),
        ("category=..%2F..".to_owned(), 422, "invalid-field"),
    ] {
        shop.get(&format!("/v1/search?{query}")).await.is_problem(status, code);
    }
    shop.close().await;
}

#[tokio::test]
async fn odd_texts_get_a_sensible_answer() {
    let shop = small_shop().await;
    for query in [
        "q=%3Cscript%3E",
        "q=%E2%80%AEabc",
        "q=%F0%9F%8E%A7",
        "q=%00",
        "q=%ED%A0%80",
        "q=",
        "q=der+die+das",
        "q=!!!",
        "q=%22AND%22+OR+NOT",
        "utm_source=mail",
    ] {
        let answer = shop.get(&format!("/v1/search?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    }
    shop.close().await;
}

#[tokio::test]
async fn a_cursor_works_only_for_the_question_it_came_from() {
    let shop = small_shop().await;
    let answer = shop.get("/v1/search?q=coat&limit=1").await;
    let cursor = answer.body["page"]["next_cursor"].as_str().expect("two coats").to_owned();
    assert_eq!(shop.get(&format!("/v1/search?q=coat&limit=1&cursor={cursor}")).await.status, 200);
    shop.get(&format!("/v1/search?q=speaker&limit=1&cursor={cursor}")).await.is_problem(400, "cursor-invalid");
    shop.get(&format!("/v1/products?limit=1&cursor={cursor}")).await.is_problem(400, "cursor-invalid");
    shop.close().await;
}

#[tokio::test]
async fn a_search_that_finds_the_same_is_not_sent_again_and_one_for_a_person_has_no_tag() {
    let shop = small_shop().await;
    let path = "/v1/search?q=kopfh%C3%B6rer";
    let first = shop.get(path).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"'), "a strong tag: {tag}");
    let ask = async |path: &str, tag: &str| {
        let request = Request::get(path).header("if-none-match", tag).body(Body::empty()).unwrap();
        shop.send(request).await
    };
    let again = ask(path, &tag).await;
    assert_eq!((again.status.as_u16(), again.header("etag"), &again.body), (304, &*tag, &Value::Null));
    assert_eq!(again.header("vary"), "Accept-Language, Authorization");
    // Another page, another question, another revision: another answer.
    for other in ["/v1/search?q=kopfh%C3%B6rer&limit=1", "/v1/search?q=mantel"] {
        assert_eq!(ask(other, &tag).await.status, 200, "{other}");
    }
    shop.bring(&[super::world::live(titled(&shop, "1", "Grüne Kopfhörer", "Green headphones"), 2)]).await;
    let changed = ask(path, &tag).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.body["query_id"], first.body["query_id"]);
    let someone = super::world::caller(common::UserId::from_uuid(common::ids::random()), &[]);
    let personal = shop.get_as(&someone, path).await;
    assert_eq!((personal.header("etag"), personal.header("cache-control")), ("", "private, no-store"));
    assert_ne!(personal.body["query_id"], shop.get_as(&someone, path).await.body["query_id"]);
    shop.close().await;
}
