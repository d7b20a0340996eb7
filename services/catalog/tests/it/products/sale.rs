//! When, where and for how much a product is for sale, as shoppers and staff see it.

use std::time::Duration;

use catalog::domain::draft::{OfferedDraft, PriceDraft, ProductDraft, VariantDraft};
use catalog::domain::lines::Line;
use catalog::domain::product::{Product, Revision, State};
use catalog::usecases::ports::products::ProductStore as _;
use catalog::usecases::quote::quote;
use catalog::usecases::renew_turned::renew_turned;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use common::{Clock as _, Region, Sku, SystemClock};
use http::Method;
use serde_json::{Value, json};
use testkit::wait;

use super::world::{Shop, attribute, live, product, staff};

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn sku(text: &str) -> Sku {
    Sku::parse(text).unwrap()
}

fn in_eu(from: Option<DateTime<Utc>>, until: Option<DateTime<Utc>>) -> Vec<OfferedDraft> {
    vec![OfferedDraft { region: "eu".to_owned(), from: from.map(written), until: until.map(written) }]
}

fn special(amount: &str, from: DateTime<Utc>, until: Option<DateTime<Utc>>) -> PriceDraft {
    PriceDraft {
        region: None,
        currency: "EUR".to_owned(),
        amount: amount.to_owned(),
        from: Some(written(from)),
        until: until.map(written),
    }
}

/// Units of each SKU that an order could have now, by name.
async fn for_sale(shop: &Shop, names: &[&str]) -> Vec<String> {
    let lines = names.iter().map(|name| Line { sku: sku(&shop.sku(name)), quantity: 1 }).collect();
    let quote = quote(&shop.app, lines, None).await.unwrap();
    quote.lines.iter().map(|line| line.line.sku.as_str().replace(&format!("{}-", shop.prefix), "")).collect()
}

#[tokio::test]
async fn a_product_is_nowhere_to_be_seen_before_its_time_after_it_and_in_other_regions() {
    let shop = Shop::open().await;
    let now = SystemClock.now();
    let hour = TimeDelta::hours(1);
    let mut drafts = ["NOW", "SOON", "GONE", "AWAY"].map(|name| shop.draft(name));
    drafts[0].offered = in_eu(Some(now - hour), Some(now + hour));
    drafts[1].offered = in_eu(Some(now + hour), None);
    drafts[2].offered = in_eu(None, Some(now - hour));
    drafts[3].offered = vec![OfferedDraft { region: "us".to_owned(), ..OfferedDraft::default() }];
    shop.stock_up(drafts.to_vec()).await;
    for (name, status) in [("NOW", 200), ("SOON", 404), ("GONE", 404), ("AWAY", 404)] {
        assert_eq!(shop.get(&format!("/v1/products/{}", shop.sku(name))).await.status, status, "{name}");
    }
    for path in ["/v1/products", "/v1/search?q=headphones", "/v1/search?q=Kopfh%C3%B6rer"] {
        assert_eq!(shop.get(path).await.skus(&shop), ["NOW"], "{path}");
    }
    assert_eq!(shop.get("/v1/categories").await.body["items"][0]["products"], 1);
    assert_eq!(for_sale(&shop, &["NOW", "SOON", "GONE", "AWAY"]).await, ["NOW"]);
    shop.close().await;
}

#[tokio::test]
async fn typing_is_completed_with_what_may_be_seen_and_nothing_else() {
    let shop = Shop::open().await;
    let now = SystemClock.now();
    let (hour, moment) = (TimeDelta::hours(1), now + TimeDelta::seconds(6));
    let offered = [
        ("NOW", in_eu(Some(now - hour), Some(now + hour))),
        ("NEXT", in_eu(Some(moment), None)),
        ("SOON", in_eu(Some(now + hour), None)),
        ("GONE", in_eu(None, Some(now - hour))),
        ("AWAY", vec![OfferedDraft { region: "us".to_owned(), ..OfferedDraft::default() }]),
    ];
    let drafts = offered.map(|(name, offered)| {
        let mut draft = shop.draft(name);
        draft.texts.truncate(1);
        draft.texts[0].name = format!("Zitrone {name}");
        ProductDraft { brand: format!("Zest {name}"), offered, ..draft }
    });
    shop.stock_up(drafts.to_vec()).await;
    let texts = async |typed: &str| -> Vec<String> {
        let answer = shop.get(&format!("/v1/search/completions?q={typed}")).await;
        let items = answer.body["items"].as_array().unwrap();
        let mut texts: Vec<String> = items.iter().map(|item| item["text"].as_str().unwrap().to_owned()).collect();
        texts.sort();
        texts
    };
    assert_eq!((texts("zit").await, texts("zes").await), (vec!["Zitrone NOW".to_owned()], vec!["Zest NOW".to_owned()]));
    wait::until("the next one is shown", Duration::from_secs(20), async || {
        let renewed = renew_turned(&*shop.app.products.store, &shop.index).await.unwrap();
        shop.index.refresh().await.unwrap();
        if texts("zit").await == ["Zitrone NEXT", "Zitrone NOW"] { Ok(()) } else { Err(renewed) }
    })
    .await;
    shop.close().await;
}

#[tokio::test]
async fn a_product_and_a_price_begin_at_their_moment_without_a_write() {
    let shop = Shop::open().await;
    let moment = SystemClock.now() + TimeDelta::seconds(4);
    let mut soon = shop.draft("SOON");
    soon.offered = in_eu(Some(moment), None);
    let mut cheaper = shop.draft("CHEAPER");
    cheaper.special_prices = vec![special("29.90", moment, None)];
    shop.stock_up(vec![soon, cheaper]).await;
    let path = format!("/v1/products/{}", shop.sku("CHEAPER"));
    let before = shop.get(&path).await;
    assert_eq!(before.body["price"]["amount"], "49.90");
    assert!(before.header("cache-control").starts_with("public, max-age=0, s-maxage="), "{:?}", before.headers);
    assert!(!before.header("cache-control").contains("stale"), "nobody shows the old price beyond its end");
    let patience = Duration::from_secs(10);
    wait::until("the product is shown", patience, async || {
        let page = shop.get(&format!("/v1/products/{}", shop.sku("SOON"))).await;
        let listed = shop.get("/v1/products").await.skus(&shop);
        if page.status == 200 && listed.len() == 2 { Ok(()) } else { Err((page.status, listed)) }
    })
    .await;
    let after = shop.get(&path).await;
    assert_eq!((after.body["price"]["amount"].as_str(), after.body["revision"].as_i64()), (Some("29.90"), Some(1)));
    assert_ne!(after.header("etag"), before.header("etag"));
    let listed = shop.get("/v1/products").await;
    assert_eq!(listed.body["items"][0]["price"]["amount"], "29.90", "{}", listed.body);
    let quote = quote(&shop.app, vec![Line { sku: sku(&shop.sku("CHEAPER")), quantity: 1 }], None).await.unwrap();
    assert_eq!(quote.lines[0].unit_price.minor(), 2990);
    shop.close().await;
}

#[tokio::test]
async fn no_shared_copy_of_a_list_shows_what_has_ended_by_itself() {
    let shop = Shop::open().await;
    let moment = SystemClock.now() + TimeDelta::seconds(30);
    let mut drafts = ["REDUCED", "GOING", "STAYING"].map(|name| shop.draft(name));
    drafts[0].special_prices = vec![special("29.90", moment - TimeDelta::days(1), Some(moment))];
    drafts[1].offered = in_eu(None, Some(moment));
    for (draft, category) in drafts.iter_mut().zip(["a/reduced", "a/going", "a/staying"]) {
        draft.category = category.to_owned();
    }
    shop.stock_up(drafts.to_vec()).await;
    for (name, category, ends) in
        [("REDUCED", "a/reduced", true), ("GOING", "a/going", true), ("STAYING", "a/staying", false)]
    {
        for path in [format!("/v1/products?category={category}"), format!("/v1/search?category={category}")] {
            let list = shop.get(&path).await;
            assert_eq!(list.skus(&shop), [name], "{path}");
            let rule = list.header("cache-control");
            assert!(rule.starts_with("public, max-age=0, s-maxage="), "{path}: {rule}");
            assert_eq!(!rule.contains("stale"), ends, "{path}: {rule}");
        }
    }
    let all = shop.get("/v1/search").await;
    assert!(!all.header("cache-control").contains("stale"), "the first of a list to end decides: {:?}", all.headers);
    shop.close().await;
}

#[tokio::test]
async fn filters_follow_a_price_that_began_by_itself() {
    let shop = Shop::open().await;
    let mut cheaper = shop.draft("A");
    cheaper.special_prices = vec![special("9.90", SystemClock.now() + TimeDelta::seconds(3), None)];
    shop.stock_up(vec![cheaper, shop.draft("B")]).await;
    let cheap = async || shop.get("/v1/search?price_max=10").await.skus(&shop);
    assert!(cheap().await.is_empty());
    wait::until("the cheap one is found", Duration::from_secs(10), async || {
        let renewed = renew_turned(&*shop.app.products.store, &shop.index).await.unwrap();
        shop.index.refresh().await.unwrap();
        if cheap().await == ["A"] { Ok(()) } else { Err(renewed) }
    })
    .await;
    assert_eq!(renew_turned(&*shop.app.products.store, &shop.index).await.unwrap(), 0, "nothing is left to renew");
    shop.close().await;
}

/// Writes the life of a product, one state after the other at its moment.
async fn live_through(shop: &Shop, states: Vec<(DateTime<Utc>, Product)>) {
    let mut newest: Option<Revision> = None;
    for (number, (at, product)) in (1..).zip(states) {
        let next = Revision::after(newest.as_ref(), number, State::Live(product), Region::Eu, at, None);
        shop.store.insert(std::slice::from_ref(&next)).await.unwrap();
        newest = Some(next);
    }
}

#[tokio::test]
async fn beside_a_reduced_price_stands_the_lowest_one_of_the_thirty_days_before() {
    let shop = Shop::open().await;
    let now = SystemClock.now();
    let usual = |amount: &str| {
        let mut draft = shop.draft("A");
        draft.prices = vec![("EUR".to_owned(), amount.to_owned())];
        draft
    };
    let (begin, end) = (now - TimeDelta::hours(1), now + TimeDelta::days(2));
    let mut reduced = usual("59.90");
    reduced.special_prices = vec![special("39.90", begin, Some(end))];
    live_through(
        &shop,
        vec![
            (now - TimeDelta::days(50), product(usual("19.90"))),
            (now - TimeDelta::days(40), product(usual("49.90"))),
            (now - TimeDelta::days(10), product(usual("59.90"))),
            (now - TimeDelta::days(1), product(reduced)),
        ],
    )
    .await;
    let page = shop.get(&format!("/v1/products/{}", shop.sku("A"))).await;
    assert_eq!(page.body["price"], json!({"amount": "39.90", "currency": "EUR"}));
    assert_eq!(page.body["lowest_price_of_30_days"], json!({"amount": "49.90", "currency": "EUR"}), "{}", page.body);
    assert_eq!(
        DateTime::parse_from_rfc3339(page.body["price_until"].as_str().unwrap()).unwrap().timestamp(),
        end.timestamp()
    );
    let mut usual_again = usual("45.00");
    usual_again.sku = shop.sku("B");
    shop.stock_up(vec![usual_again]).await;
    let page = shop.get(&format!("/v1/products/{}", shop.sku("B"))).await;
    assert_eq!(page.body.get("lowest_price_of_30_days"), None, "a usual price is compared with nothing");
    shop.close().await;
}

fn with_sizes(shop: &Shop, name: &str, sizes: &[(&str, Option<&str>)]) -> catalog::domain::draft::ProductDraft {
    let mut draft = shop.draft(name);
    let variant = |(size, price): &(&str, Option<&str>)| VariantDraft {
        sku: shop.sku(&format!("{name}-{size}")),
        attributes: vec![attribute("size", size)],
        prices: price.iter().map(|price| ("EUR".to_owned(), (*price).to_owned())).collect(),
        ..VariantDraft::default()
    };
    draft.variants = sizes.iter().map(variant).collect();
    draft
}

fn body(shop: &Shop, name: &str, variants: &[&str]) -> Value {
    let variant = |sku: &&str| json!({"sku": shop.sku(sku), "attributes": [{"key": "size", "value": sku}]});
    json!({
        "sku": shop.sku(name), "family": "general", "category": "a", "brand": "x", "texts": {"en": {"name": "N"}},
        "prices": {"EUR": "1.00"}, "variants": variants.iter().map(variant).collect::<Vec<_>>()
    })
}

#[tokio::test]
async fn a_variant_is_shown_with_its_product_and_ordered_by_its_own_sku() {
    let shop = Shop::open().await;
    let draft = with_sizes(&shop, "A", &[("M", None), ("XL", Some("55.00"))]);
    let variants: Vec<Value> = draft
        .variants
        .iter()
        .map(|own| json!({"sku": own.sku, "attributes": [{"key": "size", "value": own.attributes[0].value}], "prices": own.prices.iter().cloned().collect::<std::collections::BTreeMap<_, _>>()}))
        .collect();
    let mut batch = body(&shop, "A", &[]);
    batch["variants"] = json!(variants);
    batch["prices"] = json!({"EUR": "49.90"});
    let answer = shop.post_as(&staff(), "/v1/admin/products/batch", &json!({"products": [batch]})).await;
    assert_eq!(answer.body["created"], 1, "{}", answer.body);
    let page = shop.get(&format!("/v1/products/{}", shop.sku("A"))).await;
    let shown: Vec<_> =
        page.body["variants"].as_array().unwrap().iter().map(|own| own["price"]["amount"].clone()).collect();
    assert_eq!(shown, ["49.90", "55.00"], "{}", page.body);
    let of_variant = shop.get(&format!("/v1/products/{}", shop.sku("A-XL"))).await;
    assert_eq!(of_variant.body["sku"], page.body["sku"]);
    let lines = ["A", "A-M", "A-XL"].map(|name| Line { sku: sku(&shop.sku(name)), quantity: 1 });
    let quote = quote(&shop.app, lines.to_vec(), None).await.unwrap();
    let quoted: Vec<_> = quote.lines.iter().map(|line| (line.name.as_str(), line.unit_price.minor())).collect();
    assert_eq!(quoted, [("N (M)", 4990), ("N (XL)", 5500)]);
    assert_eq!(quote.unknown, [sku(&shop.sku("A"))], "one orders a size, not a product that has sizes");
    let told: Vec<String> =
        shop.store.unpublished(10).await.unwrap().iter().map(|revision| revision.sku().to_string()).collect();
    assert_eq!(told, [shop.sku("A")], "nobody needs to hear of the claims");
    shop.bring(&[live(draft, 2)]).await;
    assert_eq!(shop.get("/v1/search?attr.size=XL").await.skus(&shop), ["A"], "found by what its variants are");
    shop.close().await;
}

#[tokio::test]
async fn a_sku_belongs_to_one_product() {
    let shop = Shop::open().await;
    let put = async |name: &str, variants: &[&str]| {
        let path = format!("/v1/admin/products/{}", shop.sku(name));
        shop.send_json(&staff(), Method::PUT, &path, None, &body(&shop, name, variants)).await
    };
    assert_eq!(put("A", &["S", "M"]).await.status, 201);
    assert_eq!(put("B", &[]).await.status, 201);
    put("C", &["M"]).await.is_problem(409, "state-conflict");
    put("C", &["B"]).await.is_problem(409, "state-conflict");
    put("M", &[]).await.is_problem(409, "state-conflict");
    shop.get(&format!("/v1/products/{}", shop.sku("C"))).await.is_problem(404, "not-found");
    let batch = json!({"products": [body(&shop, "D", &["M"]), body(&shop, "E", &[])]});
    let answer = shop.post_as(&staff(), "/v1/admin/products/batch", &batch).await;
    assert_eq!(
        (answer.body["created"].as_u64(), answer.body["rejected"][0]["code"].as_str()),
        (Some(1), Some("state-conflict"))
    );
    // What its product gave up is free again.
    assert_eq!(put("A", &["S"]).await.status, 200);
    shop.get(&format!("/v1/products/{}", shop.sku("M"))).await.is_problem(404, "not-found");
    assert_eq!(put("C", &["M"]).await.status, 201);
    assert_eq!(shop.get(&format!("/v1/products/{}", shop.sku("M"))).await.body["sku"], shop.sku("C"));
    let racers = ["F", "G", "H", "I"].map(|name| put(name, &["X"]));
    let answers = futures::future::join_all(racers).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "one of four has the variant");
    shop.close().await;
}

#[tokio::test]
async fn each_revision_says_who_made_it_and_why() {
    let shop = Shop::open().await;
    let (anna, path) = (staff(), format!("/v1/admin/products/{}", shop.sku("A")));
    shop.send_json(&anna, Method::PUT, &format!("{path}?reason=new%20season"), None, &body(&shop, "A", &[])).await;
    shop.send_json(&staff(), Method::DELETE, &path, None, &Value::Null).await;
    let gone = shop.store.newest(&sku(&shop.sku("A"))).await.unwrap().unwrap();
    assert_eq!((gone.number, gone.author.as_ref().map(|author| author.reason.is_none())), (2, Some(true)));
    let long = format!("{path}?reason={}", "x".repeat(501));
    shop.send_json(&anna, Method::PUT, &long, None, &body(&shop, "A", &[])).await.is_problem(422, "invalid-field");
    shop.close().await;
}
