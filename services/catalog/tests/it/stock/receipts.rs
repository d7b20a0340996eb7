//! What staff can say about goods that came in, and what the answer is to everything else.

use std::sync::Arc;

use axum::body::Body;
use axum::{Extension, Router};
use catalog::inbound::http::router;
use catalog::outbound::memory_stock::MemoryStock;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use messaging::Handler as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::world::{app, caller, counts, created, delivery, memory_stock, new_order};

fn routes(store: &Arc<MemoryStock>, role: &str) -> Router {
    router(app(store.clone())).layer(Extension(caller(role)))
}

async fn post(routes: &Router, body: &str) -> (StatusCode, Value) {
    let request = Request::post("/v1/admin/stock/receipts")
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = routes.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn receipt(reference: &str, lines: Value) -> String {
    json!({ "reference": reference, "lines": lines }).to_string()
}

#[tokio::test]
async fn a_receipt_sent_twice_counts_once() {
    let store = Arc::new(memory_stock());
    let routes = routes(&store, "staff");
    let body = receipt(
        "seed-1",
        json!([{"sku": "A", "quantity": 5, "kind": "counted"}, {"sku": "D", "quantity": 0, "kind": "unlimited"}]),
    );
    assert_eq!(
        post(&routes, &body).await,
        (StatusCode::OK, json!({"reference": "seed-1", "lines": 2, "repeated": false}))
    );
    assert_eq!(
        post(&routes, &body).await,
        (StatusCode::OK, json!({"reference": "seed-1", "lines": 2, "repeated": true}))
    );
    assert_eq!(counts(&*store, "A").await, (5, 0, 0, 5));
}

#[tokio::test]
async fn what_is_wrong_is_answered_with_its_code_and_counts_nothing() {
    let store = Arc::new(memory_stock());
    let routes = routes(&store, "staff");
    let line = |quantity: i64, kind: &str| json!([{"sku": "A", "quantity": quantity, "kind": kind}]);
    post(&routes, &receipt("seed-1", line(5, "counted"))).await;
    let table = [
        (receipt("seed-1", line(6, "counted")), 422, "idempotency-key-reused"),
        (receipt("seed-2", line(5, "serialised")), 409, "state-conflict"),
        (receipt("seed-2", line(5, "Counted")), 422, "invalid-field"),
        (receipt("seed-2", line(5, "unlimited")), 422, "invalid-field"),
        (receipt("seed-2", line(-1, "counted")), 422, "invalid-field"),
        (receipt("seed-2", line(10_000_001, "counted")), 422, "invalid-field"),
        (receipt("seed-2", json!([])), 422, "invalid-field"),
        (receipt("../x", line(5, "counted")), 422, "invalid-field"),
        (receipt("seed-2", json!([{"sku": "A", "quantity": 1, "kind": "counted", "price": 1}])), 422, "unknown-field"),
        (receipt("seed-2", json!("A")), 422, "invalid-field"),
        ("{".to_owned(), 400, "malformed-request"),
    ];
    for (body, status, code) in table {
        let (answered, problem) = post(&routes, &body).await;
        assert_eq!((answered.as_u16(), problem["code"].as_str()), (status, Some(code)), "{body}: {problem}");
    }
    assert_eq!(counts(&*store, "A").await, (5, 0, 0, 5));
}

async fn ask(routes: &Router, request: Request<Body>) -> (StatusCode, Value) {
    let response = routes.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn set_limit(sku: &str, body: Value) -> Request<Body> {
    Request::put(format!("/v1/admin/stock/{sku}/back-order-limit"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

#[tokio::test]
async fn staff_says_where_goods_came_in_and_how_many_may_be_promised_and_sees_both() {
    let store = Arc::new(memory_stock());
    let routes = routes(&store, "staff");
    let lines = json!([{"sku": "A", "quantity": 5, "kind": "counted"}]);
    post(&routes, &receipt("r-1", lines.clone())).await;
    let elsewhere = json!({"reference": "r-2", "fulfilment_centre": "fc-b", "lines": lines}).to_string();
    assert_eq!(post(&routes, &elsewhere).await.0, StatusCode::OK);
    let unknown = json!({"reference": "r-3", "fulfilment_centre": "fc-z", "lines": lines}).to_string();
    let (status, problem) = post(&routes, &unknown).await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["pointer"]), (422, &json!("/fulfilment_centre")));
    let (status, view) = ask(&routes, set_limit("A", json!({"limit": 7}))).await;
    let centre = |at: &str, limit: i64| json!({"fulfilment_centre": at, "available": 5, "held": 0, "sold": 0, "returned": 0, "received": 5, "back_ordered": 0, "back_order_limit": limit});
    assert_eq!(
        (status, &view),
        (StatusCode::OK, &json!({"sku": "A", "kind": "counted", "centres": [centre("rdc-a", 7), centre("fc-b", 0)]}))
    );
    let shown = Request::get("/v1/admin/stock/A").body(Body::empty()).unwrap();
    assert_eq!(ask(&routes, shown).await, (StatusCode::OK, view));
    post(&routes, &receipt("r-4", json!([{"sku": "D", "quantity": 0, "kind": "unlimited"}]))).await;
    for (sku, body, status, code) in [
        ("X", json!({"limit": 7}), 404, "not-found"),
        ("D", json!({"limit": 7}), 409, "state-conflict"),
        ("A", json!({"limit": 10_000_001}), 422, "invalid-field"),
        ("A", json!({"limit": -1}), 422, "invalid-field"),
        ("A", json!({"limits": 1}), 422, "unknown-field"),
    ] {
        let (answered, problem) = ask(&routes, set_limit(sku, body.clone())).await;
        assert_eq!((answered.as_u16(), problem["code"].as_str()), (status, Some(code)), "{sku} {body}: {problem}");
    }
}

#[tokio::test]
async fn staff_sees_where_an_order_was_taken_and_what_it_waits_for() {
    let store = Arc::new(memory_stock());
    let routes = routes(&store, "staff");
    post(&routes, &receipt("r-1", json!([{"sku": "A", "quantity": 1, "kind": "counted"}]))).await;
    ask(&routes, set_limit("A", json!({"limit": 2}))).await;
    let order = new_order();
    let saga = catalog::inbound::events::SagaEvents::new(app(store.clone()));
    assert_eq!(saga.handle(&delivery(&created(order, &[("A", 3)]))).await, messaging::Verdict::Done);
    let show = |id: String| Request::get(format!("/v1/admin/stock/reservations/{id}")).body(Body::empty()).unwrap();
    let (status, view) = ask(&routes, show(order.to_string())).await;
    assert_eq!((status, &view["status"], &view["version"]), (StatusCode::OK, &json!("HELD"), &json!(1)));
    let piece = json!([{"sku": "A", "fulfilment_centre": "rdc-a", "quantity": 3, "waiting": 2, "returned": 0}]);
    assert_eq!(view["pieces"], piece);
    for id in [new_order().to_string(), "x".to_owned()] {
        assert_eq!(ask(&routes, show(id)).await.0, StatusCode::NOT_FOUND);
    }
    let shopper = self::routes(&store, "shopper");
    assert_eq!(ask(&shopper, show(order.to_string())).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ask(&shopper, set_limit("A", json!({"limit": 9}))).await.0, StatusCode::FORBIDDEN);
    assert_eq!(
        ask(&shopper, Request::get("/v1/admin/stock/A").body(Body::empty()).unwrap()).await.0,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn only_staff_may_say_what_came_in() {
    let store = Arc::new(memory_stock());
    let body = receipt("seed-1", json!([{"sku": "A", "quantity": 5, "kind": "counted"}]));
    for role in ["shopper", "Staff", "STAFF", "support", ""] {
        let (status, problem) = post(&routes(&store, role), &body).await;
        assert_eq!((status, problem["code"].as_str()), (StatusCode::FORBIDDEN, Some("forbidden")), "{role:?}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_unread() {
    let store = Arc::new(memory_stock());
    let (status, problem) = post(&routes(&store, "staff"), &format!("\"{}\"", "x".repeat(200 * 1024))).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (413, Some("body-too-large")));
}
