//! Product pages, lists and what staff may do, as seen over HTTP.

use std::io::Read as _;
use std::time::Duration;

use axum::body::Body;
use catalog::domain::draft::ProductDraft;
use catalog::usecases::ports::products::ProductStore as _;
use common::{Sku, UserId, ids};
use http::{Method, Request};
use serde_json::{Value, json};
use testkit::wait;

use super::world::{Shop, authorised, caller, gone, staff};

fn body_of(shop: &Shop, name: &str) -> Value {
    json!({
        "sku": shop.sku(name), "family": "gadget", "category": "audio/headphones", "brand": "Acme",
        "texts": {"en": {"name": "Headphones", "description": "Loud"}, "de": {"name": "Kopfhörer"}},
        "prices": {"EUR": "49.90", "USD": "54.90"},
        "attributes": [{"key": "weight", "value": "200", "unit": "g"}],
        "options": [{"key": "size", "values": ["S", "M"]}],
        "images": ["/static/products/x.svg"]
    })
}

#[tokio::test]
async fn a_page_shows_the_product_in_the_language_of_the_reader() {
    let shop = Shop::open().await;
    let path = format!("/v1/products/{}", shop.sku("A"));
    let answer = shop.post_as(&staff(), "/v1/admin/products/batch", &json!({"products": [body_of(&shop, "A")]})).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body),
        (200, json!({"created": 1, "changed": 0, "unchanged": 0, "rejected": []}))
    );
    let english = Request::get(&path).header("accept-language", "en-GB,de;q=0.5").body(Body::empty()).unwrap();
    let page = shop.send(english).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let expected = json!({
        "sku": shop.sku("A"), "family": "gadget", "name": "Headphones", "description": "Loud", "brand": "Acme",
        "category": "audio/headphones",
        "breadcrumbs": [{"path": "audio", "label": "Audio"}, {"path": "audio/headphones", "label": "Headphones"}],
        "price": {"amount": "49.90", "currency": "EUR"}, "price_includes_tax": true,
        "attributes": [{"key": "weight", "label": "Weight", "value": "200", "unit": "g"}],
        "options": [{"key": "size", "label": "Size", "values": ["S", "M"]}],
        "images": ["/static/products/x.svg"], "availability": "out", "revision": 1
    });
    assert_eq!(page.body, expected);
    assert_eq!((page.header("content-language"), page.header("vary")), ("en", "Accept-Language, Accept-Encoding"));
    assert_eq!(page.header("content-type"), "application/json");
    assert!(page.header("cache-control").starts_with("public, ") && page.header("cache-control").contains("s-maxage="));
    let german = shop.get(&path).await;
    assert_eq!((german.body["name"].as_str(), german.header("content-language")), (Some("Kopfhörer"), "de"));
    assert_ne!(german.header("etag"), page.header("etag"));
    shop.close().await;
}

#[tokio::test]
async fn a_page_that_did_not_change_is_not_sent_again() {
    let shop = Shop::open().await;
    shop.stock_up(vec![shop.draft("A")]).await;
    let path = format!("/v1/products/{}", shop.sku("A"));
    let tag = shop.get(&path).await.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{tag}");
    let again = |tag: &str| Request::get(&path).header("if-none-match", tag).body(Body::empty()).unwrap();
    let unchanged = shop.send(again(&tag)).await;
    assert_eq!((unchanged.status.as_u16(), unchanged.body), (304, Value::Null));
    assert_eq!(unchanged.headers.get("etag").unwrap(), &tag);
    assert_eq!(shop.send(again("\"of-another-region\"")).await.status, 200);
    let mut changed = body_of(&shop, "A");
    changed["brand"] = json!("Emca");
    let put = shop
        .send_json(&staff(), Method::PUT, &format!("/v1/admin/products/{}", shop.sku("A")), Some("\"1\""), &changed)
        .await;
    assert_eq!((put.status.as_u16(), put.header("etag")), (200, "\"2\""), "{}", put.body);
    let page = shop.send(again(&tag)).await;
    assert_eq!(
        (page.status.as_u16(), page.body["brand"].as_str(), page.body["revision"].as_i64()),
        (200, Some("Emca"), Some(2))
    );
    shop.close().await;
}

#[tokio::test]
async fn a_list_that_did_not_change_is_not_sent_again() {
    let shop = Shop::open().await;
    shop.stock_up(vec![shop.draft("A")]).await;
    for path in ["/v1/products?category=audio", "/v1/categories"] {
        let tag = shop.get(path).await.header("etag").to_owned();
        let again = || Request::get(path).header("if-none-match", &tag).body(Body::empty()).unwrap();
        let unchanged = shop.send(again()).await;
        assert_eq!(
            (unchanged.status.as_u16(), unchanged.body, unchanged.headers["etag"].to_str().unwrap()),
            (304, Value::Null, tag.as_str())
        );
        shop.stock_up(vec![shop.draft(if path.contains('?') { "B" } else { "C" })]).await;
        assert_eq!(shop.send(again()).await.status, 200, "{path}");
    }
    assert_eq!(shop.get("/v1/products?category=audio").await.header("cache-tag"), "c-audio");
    for of_the_whole_shop in ["/v1/products", "/v1/categories"] {
        assert_eq!(shop.get(of_the_whole_shop).await.header("cache-tag"), "shop");
    }
    shop.close().await;
}

#[tokio::test]
async fn lists_travel_encoded_under_tags_of_their_own_and_what_is_for_one_person_travels_as_it_is() {
    let shop = Shop::open().await;
    // So many that both the list and the tree are worth an encoding.
    let kind =
        |number: u32| ProductDraft { category: format!("audio/kind-{number}"), ..shop.draft(&format!("P{number}")) };
    shop.stock_up((10..30).map(kind).collect()).await;
    for path in ["/v1/products?category=audio", "/v1/categories"] {
        let ask = async |list: &[(&str, &str)]| {
            let asked = list.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
            shop.sent(asked.body(Body::empty()).unwrap()).await
        };
        let (_, plain, bytes) = ask(&[]).await;
        assert_eq!(plain.get("content-encoding"), None);
        assert_eq!(plain["vary"], "Accept-Language, Authorization, Accept-Encoding");
        let mut tags = vec![plain["etag"].to_str().unwrap().to_owned()];
        for name in ["gzip", "br"] {
            let (status, head, encoded) = ask(&[("accept-encoding", name)]).await;
            assert_eq!(status, 200, "{path}");
            assert_eq!(head["content-encoding"], name, "{path}");
            assert_eq!((&head["vary"], &head["cache-control"]), (&plain["vary"], &plain["cache-control"]));
            assert!(encoded.len() * 2 < bytes.len(), "{path}: names and keys repeat themselves");
            let mut read = Vec::new();
            match name {
                "gzip" => flate2::read::GzDecoder::new(&encoded[..]).read_to_end(&mut read).map(drop).unwrap(),
                _ => brotli::BrotliDecompress(&mut &encoded[..], &mut read).unwrap(),
            }
            assert_eq!(read, bytes, "{path}");
            let tag = head["etag"].to_str().unwrap().to_owned();
            let (status, same, nothing) = ask(&[("accept-encoding", name), ("if-none-match", tag.as_str())]).await;
            assert_eq!((status.as_u16(), nothing.len(), same.get("content-encoding")), (304, 0, None), "{path}");
            assert_eq!((&same["etag"], &same["vary"]), (&head["etag"], &head["vary"]));
            tags.push(tag);
        }
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 3, "{path}: other bytes are another entity");
    }
    let someone = caller(UserId::from_uuid(ids::random()), &[]);
    let asked = authorised(&someone, Request::get("/v1/products").header("accept-encoding", "br"));
    let (_, head, bytes) = shop.sent(asked.body(Body::empty()).unwrap()).await;
    assert_eq!(head["cache-control"], "private, no-store");
    assert_eq!(head.get("content-encoding"), None);
    assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
    shop.close().await;
}

#[tokio::test]
async fn what_is_no_product_is_not_found_and_never_reaches_the_store() {
    let shop = Shop::open().await;
    let long = "x".repeat(10 * 1024);
    for name in ["NONE", "..%2F", "%2e%2e", "%00", "%c0%ae", "$where", "%7B%22$gt%22:%22%22%7D", "a%20b", &long] {
        shop.get(&format!("/v1/products/{name}")).await.is_problem(404, "not-found");
    }
    assert_eq!(shop.get("/v1/products/NONE?utm_source=mail&x=y").await.status, 404);
    shop.close().await;
}

#[tokio::test]
async fn a_deleted_product_and_one_without_a_price_here_are_not_found() {
    let shop = Shop::open().await;
    shop.stock_up(vec![shop.draft("A"), shop.draft("B")]).await;
    let mut abroad = body_of(&shop, "C");
    abroad["prices"] = json!({"USD": "1.00"});
    shop.post_as(&staff(), "/v1/admin/products/batch", &json!({"products": [abroad]})).await;
    assert_eq!(shop.get(&format!("/v1/products/{}", shop.sku("A"))).await.status, 200);
    let removed = shop
        .send_json(&staff(), Method::DELETE, &format!("/v1/admin/products/{}", shop.sku("A")), None, &Value::Null)
        .await;
    assert_eq!(removed.status, 204);
    for name in ["A", "C"] {
        shop.get(&format!("/v1/products/{}", shop.sku(name))).await.is_problem(404, "not-found");
    }
    let twice = shop
        .send_json(&staff(), Method::DELETE, &format!("/v1/admin/products/{}", shop.sku("A")), None, &Value::Null)
        .await;
    twice.is_problem(404, "not-found");
    shop.bring(&[gone(&shop.sku("A"), 2)]).await;
    assert_eq!(shop.get("/v1/products").await.skus(&shop), ["B"]);
    assert_eq!(shop.store.newest(&Sku::parse(&shop.sku("A")).unwrap()).await.unwrap().unwrap().number, 2);
    shop.close().await;
}

#[tokio::test]
async fn a_list_shows_each_product_once_page_by_page() {
    let shop = Shop::open().await;
    let names: Vec<String> = (0..7).map(|number| format!("P{number}")).collect();
    shop.stock_up(names.iter().map(|name| shop.draft(name)).collect()).await;
    let (mut path, mut seen) = ("/v1/products?category=audio&limit=3".to_owned(), Vec::new());
    for page in 0..3 {
        let answer = shop.get(&path).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        seen.extend(answer.skus(&shop));
        match answer.body["page"]["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/products?category=audio&limit=3&cursor={cursor}"),
            None => assert_eq!(page, 2),
        }
    }
    assert_eq!(seen, names);
    assert!(shop.get("/v1/products?category=fashion").await.skus(&shop).is_empty());
    for bad in
        ["cursor=x", "cursor=MQ.AAAAAAAAAAAAAAAA", "cursor=%00", &path["/v1/products?category=audio&limit=3&".len()..]]
    {
        shop.get(&format!("/v1/products?category=fashion&{bad}")).await.is_problem(400, "cursor-invalid");
    }
    shop.get("/v1/products?limit=0").await.is_problem(400, "malformed-request");
    shop.get("/v1/products?category=..%2F").await.is_problem(422, "invalid-field");
    let categories = shop.get("/v1/categories").await;
    let expected = json!([{"path": "audio", "label": "Audio", "products": 7}, {"path": "audio/headphones", "label": "Headphones", "parent": "audio", "products": 7}]);
    assert_eq!(categories.body["items"], expected);
    shop.close().await;
}

#[tokio::test]
async fn only_staff_changes_products() {
    let shop = Shop::open().await;
    let body = json!({"products": [body_of(&shop, "A")]});
    for roles in [&[][..], &["shopper"], &["Staff"], &["STAFF", "staff "]] {
        let nobody = caller(UserId::from_uuid(ids::random()), roles);
        shop.post_as(&nobody, "/v1/admin/products/batch", &body).await.is_problem(403, "forbidden");
    }
    assert!(shop.store.unpublished(10).await.unwrap().is_empty(), "nothing was written");
    shop.close().await;
}

#[tokio::test]
async fn one_unacceptable_product_refuses_the_whole_batch_with_its_place() {
    let shop = Shop::open().await;
    let broken = |change: &dyn Fn(&mut Value)| {
        let mut body = body_of(&shop, "B");
        change(&mut body);
        json!({"products": [body_of(&shop, "A"), body]})
    };
    let price = |currency: &'static str, amount: &'static str| {
        move |body: &mut Value| body["prices"] = json!({currency: amount})
    };
    let key = |key: &'static str| move |body: &mut Value| body["attributes"][0]["key"] = json!(key);
    let many: Vec<Value> = (0..1000).map(|number| json!({"key": format!("k{number}"), "value": "x"})).collect();
    let table: Vec<(Value, &str)> = vec![
        (broken(&price("EUR", "0")), "/products/1/prices/EUR"),
        (broken(&price("EUR", "-1")), "/products/1/prices/EUR"),
        (broken(&price("EUR", "1e-9")), "/products/1/prices/EUR"),
        (broken(&price("EUR", "99999999.995")), "/products/1/prices/EUR"),
        (broken(&price("EURO", "1")), "/products/1/prices/EURO"),
        (broken(&price("JPY", "1.5")), "/products/1/prices/JPY"),
        (broken(&key("$set")), "/products/1/attributes/0/key"),
        (broken(&key("a.b")), "/products/1/attributes/0/key"),
        (broken(&key("__proto__")), "/products/1/attributes/0/key"),
        (broken(&key("")), "/products/1/attributes/0/key"),
        (broken(&|body| body["attributes"] = json!(many)), "/products/1/attributes"),
        (broken(&|body| body["images"] = json!(["http://169.254.169.254/"])), "/products/1/images/0"),
        (broken(&|body| body["sku"] = json!("../")), "/products/1/sku"),
        (json!({"products": []}), "/products"),
    ];
    for (body, pointer) in table {
        let answer = shop.post_as(&staff(), "/v1/admin/products/batch", &body).await;
        answer.is_problem(422, "invalid-field");
        assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{}", answer.body);
    }
    shop.post_as(&staff(), "/v1/admin/products/batch", &broken(&|body| body["price"] = json!(1)))
        .await
        .is_problem(422, "unknown-field");
    shop.post_as(&staff(), "/v1/admin/products/batch", &broken(&|body| body["prices"] = json!({"EUR": 1.5})))
        .await
        .is_problem(422, "invalid-field");
    let mut deep = json!("x");
    for _ in 0..100 {
        deep = json!([deep]);
    }
    shop.post_as(&staff(), "/v1/admin/products/batch", &broken(&|body| body["attributes"] = deep.clone()))
        .await
        .is_problem(400, "malformed-request");
    assert!(shop.store.unpublished(10).await.unwrap().is_empty(), "nothing was written");
    shop.close().await;
}

#[tokio::test]
async fn a_repeated_import_writes_nothing() {
    let shop = Shop::open().await;
    let batch = json!({"products": [body_of(&shop, "A"), body_of(&shop, "B")]});
    shop.post_as(&staff(), "/v1/admin/products/batch", &batch).await;
    let again = shop.post_as(&staff(), "/v1/admin/products/batch", &batch).await;
    assert_eq!(again.body, json!({"created": 0, "changed": 0, "unchanged": 2, "rejected": []}));
    assert_eq!(shop.store.unpublished(10).await.unwrap().len(), 2);
    let mut changed = body_of(&shop, "A");
    changed["brand"] = json!("Emca");
    let twice = json!({"products": [body_of(&shop, "A"), changed]});
    let answer = shop.post_as(&staff(), "/v1/admin/products/batch", &twice).await;
    assert_eq!(
        (answer.body["changed"].as_u64(), answer.body["rejected"][0]["code"].as_str()),
        (Some(1), Some("version-conflict"))
    );
    shop.close().await;
}

#[tokio::test]
async fn two_people_at_one_product_do_not_lose_each_others_change() {
    let shop = Shop::open().await;
    let path = format!("/v1/admin/products/{}", shop.sku("A"));
    let put = async |brand: &str, if_match: Option<&str>| {
        let mut body = body_of(&shop, "A");
        body["brand"] = json!(brand);
        shop.send_json(&staff(), Method::PUT, &path, if_match, &body).await
    };
    put("Acme", Some("\"1\"")).await.is_problem(412, "precondition-failed");
    assert_eq!(put("Acme", None).await.status, 201);
    assert_eq!(put("Emca", Some("\"1\"")).await.status, 200);
    put("Nord", Some("\"1\"")).await.is_problem(412, "precondition-failed");
    put("Nord", Some("one")).await.is_problem(400, "malformed-request");
    let brands = ["b1", "b2", "b3", "b4"].map(|brand| put(brand, Some("\"2\"")));
    let answers = futures::future::join_all(brands).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "one of four has revision 3");
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.code() == "precondition-failed"));
    shop.close().await;
}

#[tokio::test]
async fn a_change_is_on_the_page_within_the_life_of_the_cache() {
    let shop = Shop::open().await;
    shop.stock_up(vec![shop.draft("A")]).await;
    let path = format!("/v1/products/{}", shop.sku("A"));
    assert_eq!(shop.get(&path).await.body["brand"], "Acme");
    let mut body = body_of(&shop, "A");
    body["brand"] = json!("Emca");
    shop.send_json(&staff(), Method::PUT, &format!("/v1/admin/products/{}", shop.sku("A")), None, &body).await;
    wait::until("the new brand", Duration::from_secs(2), async || match shop.get(&path).await.body["brand"].as_str() {
        Some("Emca") => Ok(()),
        other => Err(other.map(str::to_owned)),
    })
    .await;
    shop.close().await;
}

#[tokio::test]
async fn without_the_index_the_page_still_works_and_search_says_so() {
    let shop = Shop::open().await;
    shop.stock_up(vec![shop.draft("A")]).await;
    shop.index.drop_all().await.unwrap();
    for path in ["/v1/search?q=x", "/v1/products", "/v1/categories", "/v1/search/completions?q=x"] {
        let begun = std::time::Instant::now();
        let answer = shop.get(path).await;
        answer.is_problem(503, "dependency-down");
        assert!(!answer.header("retry-after").is_empty() && begun.elapsed() < Duration::from_secs(2));
    }
    assert_eq!(shop.get(&format!("/v1/products/{}", shop.sku("A"))).await.status, 200);
}
