//! Bad input beside what `search` and `imports` tell: a single product that staff writes, prices in the wrong money, and questions to
//! the stand-in. A clear answer each, bounded work, nothing stored half. Which story holds which kind of bad input is listed in the
//! service's README.

use std::time::{Duration, Instant};

use axum::body::Body;
use catalog::domain::draft::ProductDraft;
use catalog::usecases::ports::products::ProductStore as _;
use catalog::usecases::stand_in::fill;
use http::{Method, Request};
use serde_json::{Value, json};

use super::stand_in::shop_behind_a_gate;
use super::world::{Answer, Shop, authorised, staff};

async fn put(shop: &Shop, body: impl Into<Body>) -> Answer {
    let path = format!("/v1/admin/products/{}", shop.sku("A"));
    let request = authorised(&staff(), Request::builder().method(Method::PUT).uri(path));
    shop.send(request.header("content-type", "application/json").body(body.into()).unwrap()).await
}

fn good() -> Value {
    json!({
        "family": "general", "category": "a/b", "brand": "x",
        "texts": {"en": {"name": "Product", "description": "plain"}}, "prices": {"EUR": "1.50"}
    })
}

#[tokio::test]
async fn a_product_that_is_too_much_or_half_or_hostile_is_refused_with_its_place_and_nothing_is_stored() {
    let shop = Shop::open().await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = good();
        change(&mut body);
        body.to_string()
    };
    let described = |text: String| with(&|body| body["texts"]["en"]["description"] = json!(text));
    let fields: serde_json::Map<String, Value> = (0..1_000).map(|number| (format!("f{number}"), json!(1))).collect();
    let attributes: Vec<Value> = (0..1_000).map(|number| json!({"key": format!("k{number}"), "value": "x"})).collect();
    let whole = good().to_string();
    for (body, status, code, pointer) in [
        (Value::Object(fields).to_string(), 422, "unknown-field", "/f"),
        (with(&|body| body["attributes"] = json!(attributes)), 422, "invalid-field", "/attributes"),
        (described("x".repeat(2 * 1024 * 1024)), 422, "invalid-field", "/texts/en/description"),
        (described("x".repeat(5 * 1024 * 1024)), 413, "body-too-large", ""),
        (described("<script>alert(1)</script>".to_owned()), 422, "invalid-field", "/texts/en/description"),
        (described("<img src=x onerror=alert(1)>".to_owned()), 422, "invalid-field", "/texts/en/description"),
        (described("nul\u{0}".to_owned()), 422, "invalid-field", "/texts/en/description"),
        (described("gnp.\u{202e}exe".to_owned()), 422, "invalid-field", "/texts/en/description"),
        (whole.replace("\"brand\":\"x\"", "\"brand\":\"x\",\"brand\":\"y\""), 400, "malformed-request", ""),
        (whole.replace("\"EUR\":\"1.50\"", "\"EUR\":\"1.50\",\"EUR\":\"9.99\""), 422, "invalid-field", "/prices"),
        (whole[..whole.len() / 2].to_owned(), 400, "malformed-request", ""),
        (String::new(), 400, "malformed-request", ""),
    ] {
        let shown: String = body.chars().take(100).collect();
        let answer = put(&shop, body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{shown}: {}", answer.body);
        let told = answer.body["errors"][0]["pointer"].as_str().unwrap_or_default();
        assert!(told.starts_with(pointer) && told.is_empty() == pointer.is_empty(), "{shown}: {told}");
        assert!(answer.body.to_string().len() < 4_096, "an answer does not send back what was sent");
    }
    assert!(shop.store.unpublished(10).await.unwrap().is_empty(), "nothing was written");
    assert_eq!(put(&shop, whole).await.status, 201);
    shop.close().await;
}

#[tokio::test]
async fn money_of_another_currency_is_refused_and_never_compared() {
    let shop = Shop::open().await;
    let priced = |name: &str, prices: &[(&str, &str)]| ProductDraft {
        prices: prices.iter().map(|(currency, amount)| ((*currency).to_owned(), (*amount).to_owned())).collect(),
        ..shop.draft(name)
    };
    shop.stock_up(vec![
        priced("A", &[("EUR", "50.00"), ("USD", "5.00")]),
        priced("B", &[("USD", "5.00")]),
        priced("C", &[("EUR", "5.00"), ("JPY", "9000")]),
    ])
    .await;
    for bound in ["10%20USD", "USD10", "%E2%82%AC10", "10,50", "1e3", "0x10"] {
        shop.get(&format!("/v1/search?price_max={bound}")).await.is_problem(422, "invalid-field");
    }
    assert_eq!(
        shop.get("/v1/search?price_max=10").await.skus(&shop),
        ["C"],
        "what costs five dollars costs fifty euros"
    );
    assert_eq!(shop.get("/v1/search?sort=price_asc").await.skus(&shop), ["C", "A"]);
    for special in [
        json!({"region": "eu", "currency": "USD", "amount": "1.00"}),
        json!({"currency": "XXX", "amount": "1.00"}),
        json!({"currency": "JPY", "amount": "1.50"}),
    ] {
        let mut body = good();
        body["special_prices"] = json!([special]);
        let answer = put(&shop, body.to_string()).await;
        answer.is_problem(422, "invalid-field");
        let pointer = answer.body["errors"][0]["pointer"].as_str().unwrap_or_default();
        assert!(pointer.starts_with("/special_prices"), "{}", answer.body);
    }
    shop.close().await;
}

#[tokio::test]
async fn odd_and_costly_questions_get_the_same_answers_while_the_index_is_away() {
    let (shop, gate) = shop_behind_a_gate().await;
    shop.stock_up((0..50).map(|number| shop.draft(&format!("P{number:02}"))).collect()).await;
    fill(&*shop.app.products.store, &shop.app.products.stand_in, Duration::ZERO).await;
    gate.close();
    // The first one notices that the index is away.
    assert_eq!(shop.get("/v1/search").await.status, 200);
    for (query, status, code) in [
        (format!("q={}", "a+".repeat(7_000)), 422, "query-too-costly"),
        ("q=*phone".to_owned(), 422, "query-too-costly"),
        ("q=(a%2B)%2B%24".to_owned(), 422, "query-too-costly"),
        ("page=1000000".to_owned(), 400, "malformed-request"),
        ("limit=1000000".to_owned(), 400, "malformed-request"),
        ("facet.colour=red".to_owned(), 400, "malformed-request"),
        ("price_min=20&price_max=10".to_owned(), 422, "invalid-field"),
    ] {
        shop.get(&format!("/v1/search?{query}")).await.is_problem(status, code);
    }
    for query in [
        "q=a%2Ab%2Ac%2Ad%2Ae%2A",
        "q=%2F.%2A%2F",
        "q=%00%01%7F",
        "q=%E2%80%AEabc",
        "q=%E2%81%A6abc%E2%81%A9",
        "q=%F0%9F%8E%A7",
        "q=k+o+p+f+h+o+e+r+e+r+a+b+c+d+e+f",
        "q=kopfhorrrer+kopfhorrrer+kopfhorrrer+kopfhorrrer+kopfhorrrer+kopfhorrrer+kopfhorrrer+kopfhorrrer",
        "attr.nothing=x",
        "attr.colour=%3Cscript%3E",
        "price_max=99999999",
    ] {
        let begun = Instant::now();
        let answer = shop.get(&format!("/v1/search?{query}")).await;
        assert_eq!((answer.status.as_u16(), &answer.body["degraded"]), (200, &json!(true)), "{query}: {}", answer.body);
        assert!(begun.elapsed() < Duration::from_secs(5), "{query} took {:?}", begun.elapsed());
    }
    gate.open();
    shop.close().await;
}
