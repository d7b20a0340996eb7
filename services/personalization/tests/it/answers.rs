//! What a client sees: the shape of the answer, its cache rules, refusals, and what is left when the store is gone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use async_trait::async_trait;
use axum::body::Body;
use chassis::config::Secret;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use personalization::domain::ClickKind::View;
use personalization::domain::recommend::Popular;
use personalization::domain::{Person, Pseudonym};
use personalization::inbound::http::{Api, router};
use personalization::outbound::memory::MemoryStore;
use personalization::usecases::generate_recommendations::{PATIENCE, generate_until};
use personalization::usecases::ports::{Shelf, Shelves};
use personalization::usecases::{App, Asked, Command, Kept, Kind, StoreUnavailable};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::support::{self, Shop, products, redis_store, report, somebody};

async fn get(app: &App, path: &str) -> (StatusCode, String, Value) {
    ask(app, Request::get(path).body(Body::empty()).expect("a request")).await
}

async fn ask(app: &App, request: Request<Body>) -> (StatusCode, String, Value) {
    let api = Api { app: Arc::new(app.clone()), pseudonym_key: Arc::new(Secret::new("a-key-of-the-test-stack")) };
    let response = router(api).oneshot(request).await.expect("an answer");
    let cache = response
        .headers()
        .get(header::CACHE_CONTROL)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, cache, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test]
async fn an_answer_has_the_public_shape_and_its_cache_rule() {
    let shop = support::memory();
    shop.learn(&products()).await;
    shop.click(vec![report(&somebody(), 1, &[(View, "C1")])]).await;
    shop.refresh().await;
    let (status, cache, body) = get(&shop.app, "/v1/recommendations?kind=trending&limit=2").await;
    assert_eq!((status, cache.as_str()), (StatusCode::OK, "public, max-age=5"));
    assert_eq!(body["items"][0], serde_json::json!({"sku": "C1", "reason": "trending"}));
    assert_eq!(
        (body["items"].as_array().map(Vec::len), &body["degraded"], &body["model"]),
        (Some(2), &Value::Bool(false), &Value::from("popularity-decay-1"))
    );
    assert!(
        body["list_id"].as_str().is_some_and(|id| id.len() == 36) && body.get("profile_age_ms").is_none(),
        "{body}"
    );
    let (_, cache, _) = get(&shop.app, "/v1/recommendations").await;
    assert_eq!(cache, "private, no-cache");
}

/// A shop and the id of a visitor who has looked at D1.
async fn visited() -> (Shop<MemoryStore>, uuid::Uuid) {
    let shop = support::memory();
    shop.learn(&products()).await;
    let visitor = common::ids::random();
    let who = contracts::interest::pseudonym(b"a-key-of-the-test-stack", common::VisitorId::from_uuid(visitor));
    let who = Pseudonym::parse(&who).expect("a pseudonym");
    shop.click(vec![report(&who, 1, &[(View, "D1")])]).await;
    shop.refresh().await;
    (shop, visitor)
}

#[tokio::test]
async fn a_visitor_id_finds_the_visitors_own_profile() {
    let (shop, visitor) = visited().await;
    let (_, _, body) = get(&shop.app, &format!("/v1/recommendations?kind=for_you&visitor_id={visitor}")).await;
    assert_eq!(body["model"], "interest-decay-1", "{body}");
    assert_eq!(body["items"][0]["sku"], "D2");
    assert_eq!(body["profile_age_ms"], 59_000);
    let (_, _, body) =
        get(&shop.app, &format!("/v1/recommendations?kind=for_you&visitor_id={}", common::ids::random())).await;
    assert_eq!(body["model"], "popularity-decay-1", "another visitor is a stranger");
}

#[tokio::test]
async fn a_visitor_who_objects_later_is_a_stranger_whatever_was_kept_before() {
    let (shop, visitor) = visited().await;
    let path = format!("/v1/recommendations?kind=for_you&visitor_id={visitor}");
    for (header, value, model) in [
        ("dnt", "0", "interest-decay-1"),
        ("dnt", "1", "popularity-decay-1"),
        ("sec-gpc", "1", "popularity-decay-1"),
        ("sec-gpc", "0", "interest-decay-1"),
    ] {
        let request = Request::get(&path).header(header, value).body(Body::empty()).expect("a request");
        let (status, _, body) = ask(&shop.app, request).await;
        assert_eq!((status, &body["model"]), (StatusCode::OK, &Value::from(model)), "{header}: {value}: {body}");
        assert_eq!(body.get("profile_age_ms").is_some(), value == "0", "{header}: {value}: {body}");
    }
}

#[tokio::test]
async fn senseless_questions_are_refused_with_the_field_at_fault() {
    let shop = support::memory();
    for (query, pointer) in [
        ("kind=nonsense", "/kind"),
        ("kind=", "/kind"),
        ("kind=similar", "/sku"),
        ("kind=also_viewed", "/sku"),
        ("kind=similar&sku=..%2Fetc", "/sku"),
        ("limit=0", "/limit"),
        ("limit=101", "/limit"),
        ("limit=-1", "/limit"),
        ("limit=1.5", "/limit"),
        ("limit=99999999999999999999", "/limit"),
        ("visitor_id=me", "/visitor_id"),
        ("visitor_id=%7B%22%24gt%22%3A%22%22%7D", "/visitor_id"),
    ] {
        let (status, _, body) = get(&shop.app, &format!("/v1/recommendations?{query}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {body}");
        assert_eq!(
            (&body["code"], &body["errors"][0]["pointer"]),
            (&Value::from("invalid-field"), &Value::from(pointer)),
            "{query}"
        );
    }
    let (status, _, body) = get(&shop.app, "/v1/recommendations?limit=1&limit=2").await;
    assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &Value::from("malformed-request")));
}

/// The router here has no session store to ask: a question that came so far would be answered with 500.
#[tokio::test]
async fn what_makes_no_sense_is_refused_before_anybody_is_asked_who_is_asking() {
    let shop = support::memory();
    let long = format!("kind=similar&sku={}", "x".repeat(5_000));
    for query in ["limit=101", "limit=0", "kind=similar", "kind=nonsense", long.as_str()] {
        let request = Request::get(format!("/v1/recommendations?{query}")).header(header::AUTHORIZATION, "Bearer x");
        let (status, _, body) = ask(&shop.app, request.body(Body::empty()).expect("a request")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query:.40}: {body}");
    }
    let request = Request::get("/v1/recommendations").header(header::AUTHORIZATION, "Bearer x");
    let (status, _, _) = ask(&shop.app, request.body(Body::empty()).expect("a request")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "one that makes sense does come so far");
    assert_eq!(shop.store.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_the_crowd_likes_is_shared_among_strangers_and_kept_by_who_is_known() {
    let shop = support::memory();
    let (_, stranger, _) = get(&shop.app, "/v1/recommendations?kind=trending").await;
    let known = format!("/v1/recommendations?kind=trending&visitor_id={}", common::ids::random());
    let (_, known, _) = get(&shop.app, &known).await;
    assert_eq!((stranger.as_str(), known.as_str()), ("public, max-age=5", "private, no-cache"));
}

#[tokio::test]
async fn without_the_store_every_kind_is_answered_from_memory_and_says_so() {
    let shop = support::memory();
    shop.learn(&products()).await;
    shop.click(vec![report(&somebody(), 1, &[(View, "C2")])]).await;
    shop.refresh().await;
    shop.store.down.store(true, Ordering::Relaxed);
    for (kind, sku) in [
        (Kind::ForYou, ""),
        (Kind::Continue, ""),
        (Kind::Similar, "C1"),
        (Kind::AlsoViewed, "C1"),
        (Kind::AlsoBought, "C1"),
    ] {
        let path = format!(
            "/v1/recommendations?kind={}&visitor_id={}{}",
            kind.code(),
            common::ids::random(),
            if sku.is_empty() { String::new() } else { format!("&sku={sku}") }
        );
        let (status, _, body) = get(&shop.app, &path).await;
        assert_eq!((status, &body["degraded"]), (StatusCode::OK, &Value::Bool(true)), "{path}: {body}");
        assert_eq!(body["items"][0]["sku"], "C2");
        assert!(body["items"].as_array().is_some_and(|items| items.iter().all(|item| item["sku"] != sku)));
    }
    let (_, _, body) = get(&shop.app, "/v1/recommendations?kind=trending").await;
    assert_eq!(body["degraded"], false, "what is trending is known without the store");
}

#[tokio::test]
async fn a_store_that_has_lost_what_products_are_gives_no_empty_lists_and_says_that_something_is_wrong() {
    let shop = support::memory();
    shop.learn(&products()).await;
    shop.click(vec![report(&somebody(), 1, &[(View, "C2"), (View, "C3")])]).await;
    shop.follow().await;
    shop.refresh().await;
    shop.store.lose_products();
    let visitor = common::ids::random();
    let paths = [
        "kind=for_you".to_owned(),
        "kind=also_viewed&sku=C2".to_owned(),
        format!("kind=trending&visitor_id={visitor}"),
    ];
    for refreshed in [false, true] {
        if refreshed {
            // What is popular is not replaced by nothing.
            shop.refresh().await;
        }
        for query in &paths {
            let (_, _, body) = get(&shop.app, &format!("/v1/recommendations?{query}")).await;
            assert_eq!(body["degraded"], true, "{query}: {body}");
            assert!(body["items"].as_array().is_some_and(|items| !items.is_empty()), "{query}: {body}");
        }
    }
    // A shop without products is another matter: all of them are known.
    let empty = support::memory();
    empty.learn(&[]).await;
    let (_, _, body) = get(&empty.app, "/v1/recommendations?kind=for_you").await;
    assert_eq!((&body["degraded"], body["items"].as_array().map(Vec::len)), (&Value::Bool(false), Some(0)));
    // They come back.
    shop.learn(&products()).await;
    let (_, _, body) = get(&shop.app, "/v1/recommendations?kind=for_you").await;
    assert_eq!(body["degraded"], false, "{body}");
}

/// A store that was asked and says nothing.
struct Silent;

#[async_trait]
impl Shelves for Silent {
    async fn person(&self, _: &Pseudonym) -> Result<Person, StoreUnavailable> {
        std::future::pending().await
    }

    async fn asked(&self, _: &Asked) -> Result<(Person, Option<Kept>), StoreUnavailable> {
        std::future::pending().await
    }

    async fn lists(&self, _: &[Shelf], _: usize, _: i64) -> Result<Vec<Vec<Popular>>, StoreUnavailable> {
        std::future::pending().await
    }

    async fn active_categories(&self, _: usize, _: i64) -> Result<Vec<String>, StoreUnavailable> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn what_it_took_to_know_who_asks_is_not_waited_for_again() {
    let shop = support::memory();
    let app = App { shelves: Arc::new(Silent), ..shop.app.clone() };
    let (kind, pseudonym) = (Kind::ForYou, Some(somebody()));
    let command = Command { kind, pseudonym, takes_part: false, sku: None, limit: 5, explain: false };
    // The quickest of twenty, because the machine may be busy.
    let mut quickest = PATIENCE;
    for _ in 0..20 {
        let (started, spent) = (Instant::now(), tokio::time::Instant::now());
        let answer = generate_until(&app, &command, spent).await.expect("an answer");
        assert!(answer.degraded);
        quickest = quickest.min(started.elapsed());
    }
    assert!(quickest < PATIENCE, "{quickest:?}");
    let started = Instant::now();
    let answer = generate_until(&app, &command, tokio::time::Instant::now() + PATIENCE).await.expect("an answer");
    assert!(answer.degraded && started.elapsed() >= PATIENCE, "and what is left of it is");
}

/// A real connection to a port where nobody answers, and to one that accepts and then says nothing.
#[tokio::test]
async fn a_dead_or_silent_redis_gives_a_degraded_answer_and_no_wait() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent_port = silent.local_addr().expect("an address").port();
    let dead_port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("an address").port()
    };
    for port in [dead_port, silent_port] {
        let shop = Shop::on(redis_store(&format!("redis://127.0.0.1:{port}")));
        for _ in 0..20 {
            let started = Instant::now();
            let (status, _, body) =
                get(&shop.app, &format!("/v1/recommendations?visitor_id={}", common::ids::random())).await;
            assert_eq!((status, &body["degraded"]), (StatusCode::OK, &Value::Bool(true)), "{body}");
            // Ten times the patience: this is about hanging, not about speed.
            assert!(started.elapsed() < personalization::usecases::generate_recommendations::PATIENCE * 10);
        }
    }
    drop(silent);
}
