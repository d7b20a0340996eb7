//! The public routes: what a shopper gets, and what bad input gets. Nothing refused leaves anything behind.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use chassis::config::{Common, Http, Secret};
use chassis::extract::Caller;
use common::{SessionId, UserId, ids};
use http::{HeaderMap, StatusCode};
use order_payment::inbound::http::{Api, WebhookSettings, WebhookWire, router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::world::{REGION, World, a_key};

#[derive(Deserialize)]
struct Settings {
    #[serde(flatten)]
    common: Common,
    http: Http,
}

pub const SECRET: &str = "whsec_test";
/// What the second gateway was told to send its webhooks to.
pub const SQUARE_URL: &str = "https://shop.example/v1/payments/webhooks/square";

/// The routes with everything around them. Who calls is said by a header here; the door itself is tested in chassis.
pub fn routes(world: &World) -> Router {
    let secrets = || vec![Secret::new(SECRET), Secret::new("whsec_old")];
    let gateways = vec![
        WebhookSettings { name: "simulator".to_owned(), wire: WebhookWire::PaymentIntents, secrets: secrets() },
        WebhookSettings {
            name: "square".to_owned(),
            wire: WebhookWire::Square { notification_url: SQUARE_URL.to_owned() },
            secrets: secrets(),
        },
    ];
    let api = Api::new(Arc::clone(&world.app), gateways, 2, CancellationToken::new());
    let settings = chassis::config::load::<Settings>("[http]\n", None, &[]).unwrap().config;
    let known = router(api).layer(middleware::from_fn(introduce));
    chassis::http::dress(&settings.common.site, &settings.http, known, None)
}

async fn introduce(mut request: Request, next: Next) -> Response {
    if let Some(user) =
        request.headers().get("test-user").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok())
    {
        let role =
            request.headers().get("test-role").and_then(|role| role.to_str().ok()).unwrap_or("shopper").to_owned();
        request.extensions_mut().insert(Caller {
            user_id: user,
            session_id: SessionId::parse("s1").unwrap(),
            region: REGION,
            roles: vec![role],
            personalisation_consent: false,
        });
    }
    next.run(request).await
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.bytes)))
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub async fn ask(routes: &Router, request: http::request::Builder, body: impl Into<Body>) -> Answer {
    let response = routes.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 10_000_000).await.unwrap().to_vec();
    Answer { status: parts.status, headers: parts.headers, bytes }
}

pub fn someone() -> UserId {
    UserId::from_uuid(ids::random())
}

pub fn get(path: &str, user: UserId) -> http::request::Builder {
    http::Request::get(path).header("test-user", user.to_string())
}

pub fn post(path: &str, user: UserId, key: &str) -> http::request::Builder {
    http::Request::post(path)
        .header("test-user", user.to_string())
        .header("content-type", "application/json")
        .header("idempotency-key", key)
}

fn an_order() -> Value {
    json!({
        "lines": [{"sku": "LAMP-1", "quantity": 1}],
        "shipping_address": {"name": "Ada Lovelace", "line1": "Zeil 106", "city": "Frankfurt", "postal_code": "60313", "country": "DE"},
        "payment": {"method": "card", "token": "tok_ok"},
        "expected_total": {"amount": "49.90", "currency": "EUR"},
    })
}

#[tokio::test]
async fn an_order_is_answered_with_its_place_and_replayed_byte_for_byte() {
    let world = World::in_postgres().await;
    let routes = routes(&world);
    let (me, key) = (someone(), a_key());
    let first = ask(&routes, post("/v1/orders", me, &key), an_order().to_string()).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&first.bytes));
    let body = first.json();
    let id = body["order_id"].as_str().unwrap().to_owned();
    assert_eq!(first.headers["location"], format!("/v1/orders/{id}"));
    assert_eq!((body["status"].as_str(), body["total_amount"]["amount"].as_str()), (Some("CREATED"), Some("49.90")));
    assert_eq!(first.headers["cache-control"], "no-store");
    assert!(!first.headers.contains_key("idempotency-replayed"));
    // Written otherwise, it is the same request; a quoted key is the same key.
    let rewritten = format!(" {} ", an_order().to_string().replace("49.90", "49.9").replace(':', " : "));
    let again = ask(&routes, post("/v1/orders", me, &format!("\"{key}\"")), rewritten).await;
    assert_eq!((again.status, &again.bytes), (StatusCode::CREATED, &first.bytes));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other = an_order().to_string().replace("60313", "60314");
    let reused = ask(&routes, post("/v1/orders", me, &key), other).await;
    assert_eq!((reused.status, reused.code().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused"));

    let shown = ask(&routes, get(&format!("/v1/orders/{id}"), me), Body::empty()).await.json();
    assert_eq!(shown["payment"], json!({"state": "NONE", "attempts": 0}));
    assert_eq!(shown["history"][0]["status"], "CREATED");
    assert_eq!(shown["shipping_address"]["city"], "Frankfurt");
    let list = ask(&routes, get("/v1/orders", me), Body::empty()).await.json();
    assert_eq!((list["items"].as_array().unwrap().len(), &list["page"]["next_cursor"]), (1, &Value::Null));
}

#[tokio::test]
async fn bad_orders_get_their_problem_and_leave_nothing() {
    let world = World::in_memory();
    world.prices.set("DEAR", 99_999_999, 1000);
    let routes = routes(&world);
    let with = |pointer: &str, value: Value| {
        let mut body = an_order();
        *body.pointer_mut(pointer).unwrap() = value;
        body.to_string()
    };
    let plus = |pointer: &str, name: &str, value: Value| {
        let mut body = an_order();
        body.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
        body.to_string()
    };
    let many: Vec<_> = (0..1000).map(|index| json!({"sku": format!("S{index}"), "quantity": 1})).collect();
    let mut table: Vec<(String, u16, &str)> = Vec::new();
    // OR1: quantities that are none.
    for quantity in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!("1"),
        json!(2_147_483_648_u64),
        json!(9_223_372_036_854_775_808_u64),
        json!(1e9),
        json!(null),
        json!([1]),
        json!(100),
    ] {
        table.push((with("/lines/0/quantity", quantity), 422, "invalid-field"));
    }
    table.push((with("/lines/0", json!({"sku": "LAMP-1"})), 422, "invalid-field"));
    // OR2: what the shop decides.
    for name in ["total", "price", "discount", "shipping", "tax", "user_id", "status"] {
        table.push((plus("", name, json!("1.00")), 422, "unknown-field"));
        table.push((plus("/lines/0", name, json!("1.00")), 422, "unknown-field"));
    }
    table.push((with("/expected_total/amount", json!("1.00")), 409, "price-changed"));
    // OR3: baskets that cannot be.
    table.push((with("/lines", json!(many)), 422, "invalid-field"));
    table.push((with("/lines", json!([])), 422, "invalid-field"));
    table.push((with("/lines/0/sku", json!("OF-ANOTHER-REGION")), 422, "invalid-field"));
    table.push((with("/lines/0/sku", json!("../../etc")), 422, "invalid-field"));
    table.push((
        with("/lines", json!([{"sku": "COAT-1", "quantity": 4}])).replace("49.90", "516.00"),
        409,
        "out-of-stock",
    ));
    // OR15, GW11, OR18.
    table.push((with("/shipping_address/country", json!("US")), 422, "invalid-field"));
    table.push((with("/shipping_address/line1", json!("4242 4242 4242 4242")), 422, "card-data-refused"));
    table.push((with("/payment/token", json!("4242424242424242")), 422, "card-data-refused"));
    table.push((with("/payment/token", json!("x")), 422, "invalid-field"));
    table.push((with("/payment/method", json!("cash")), 422, "invalid-field"));
    table.push((
        with("/lines/0/sku", json!("DEAR")).replace("\"quantity\":1", "\"quantity\":99"),
        422,
        "limit-exceeded",
    ));
    table.push((with("/expected_total/currency", json!("USD")), 422, "invalid-field"));
    table.push((with("/expected_total/amount", json!(49.9)), 422, "invalid-field"));
    table.push((with("/expected_total/amount", json!("NaN")), 422, "invalid-field"));
    table.push((with("/shipping_address/name", json!("a\u{0}b")), 422, "invalid-field"));
    // Bodies that are none.
    table.push((String::new(), 400, "malformed-request"));
    table.push(("{".to_owned(), 400, "malformed-request"));
    table.push(("[]".to_owned(), 422, "invalid-field"));
    table.push((an_order().to_string() + "{}", 400, "malformed-request"));
    table.push(("[".repeat(10_000), 400, "malformed-request"));
    table.push((" ".repeat(70_000), 413, "body-too-large"));
    for (body, status, code) in table {
        let answer = ask(&routes, post("/v1/orders", someone(), &a_key()), body.clone()).await;
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{body:.300}\n{text}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert!(!text.contains("4242"), "{text}");
    }
    let books = world.books();
    assert!(books.orders.is_empty() && books.events.is_empty());
}

/// The parser would take the last of the two, and somebody would get another size than the page showed.
#[tokio::test]
async fn an_option_that_is_chosen_twice_is_refused_in_orders_and_baskets() {
    let world = World::in_memory();
    let routes = routes(&world);
    let me = someone();
    let put = |path: &str| {
        let request = http::Request::put(path).header("authorization", "Bearer x").header("test-user", me.to_string());
        request.header("content-type", "application/json").header("if-match", "\"0\"")
    };
    let line = |options: &str| format!(r#"{{"sku": "LAMP-1", "quantity": 1, "options": {options}}}"#);
    let order = |options: &str| {
        let plain = an_order().to_string();
        let chosen = plain.replace(&json!({"sku": "LAMP-1", "quantity": 1}).to_string(), &line(options));
        assert_ne!(chosen, plain);
        chosen
    };
    let (once, twice) = (r#"{"size": "m"}"#, r#"{"size": "m", "size": "l"}"#);
    let refused = [
        (post("/v1/orders", me, &a_key()), order(twice), "/lines/0/options"),
        (put("/v1/cart"), format!(r#"{{"lines": [{}]}}"#, line(twice)), "/lines/0/options"),
        (put("/v1/cart/lines/LAMP-1"), format!(r#"{{"quantity": 1, "options": {twice}}}"#), "/options"),
    ];
    for (request, body, pointer) in refused {
        let answer = ask(&routes, request, body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "invalid-field"), "{body}");
        let fault = json!({"pointer": pointer, "code": "duplicate", "message": "a key occurs twice"});
        assert_eq!(answer.json()["errors"], json!([fault]), "{body}");
    }
    assert!(world.books().orders.is_empty());
    let placed = ask(&routes, post("/v1/orders", me, &a_key()), order(once)).await;
    assert_eq!((placed.status.as_u16(), &placed.json()["lines"][0]["options"]), (201, &json!({"size": "m"})));
}

#[tokio::test]
async fn keys_callers_and_media_types_are_checked_before_anything_happens() {
    let world = World::in_memory();
    let routes = routes(&world);
    // OR6.
    let long = "k".repeat(65);
    for key in ["", "k", &long, "key with spaces 123", "🔑🔑🔑🔑🔑🔑🔑🔑", "'; DROP TABLE orders; --"] {
        let answer = ask(&routes, post("/v1/orders", someone(), key), an_order().to_string()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "idempotency-key-invalid"), "{key}");
    }
    let missing = http::Request::post("/v1/orders")
        .header("test-user", someone().to_string())
        .header("content-type", "application/json");
    assert_eq!(ask(&routes, missing, an_order().to_string()).await.code(), "idempotency-key-missing");
    let twice = post("/v1/orders", someone(), &a_key()).header("idempotency-key", a_key());
    assert_eq!(ask(&routes, twice, an_order().to_string()).await.code(), "idempotency-key-invalid");
    let xml = http::Request::post("/v1/orders")
        .header("test-user", someone().to_string())
        .header("content-type", "application/xml")
        .header("idempotency-key", a_key());
    assert_eq!(ask(&routes, xml, "<order/>").await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let put = http::Request::put("/v1/orders").header("test-user", someone().to_string());
    assert_eq!(ask(&routes, put, "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(world.books().orders.is_empty());
}

#[tokio::test]
async fn nobody_sees_anothers_order_or_a_misspelt_one() {
    let world = World::in_postgres().await;
    let routes = routes(&world);
    let (me, other) = (someone(), someone());
    let placed = ask(&routes, post("/v1/orders", me, &a_key()), an_order().to_string()).await.json();
    let id = placed["order_id"].as_str().unwrap().to_owned();
    // OR17 (a).
    let spellings = [
        id.to_uppercase(),
        format!("%7B{id}%7D"),
        id.replace('-', ""),
        "1".to_owned(),
        "%00".to_owned(),
        "..%2f".to_owned(),
    ];
    let mut answers = vec![
        ask(&routes, get(&format!("/v1/orders/{id}"), other), "").await,
        ask(&routes, get(&format!("/v1/orders/{}", ids::random()), me), "").await,
    ];
    for spelling in spellings {
        answers.push(ask(&routes, get(&format!("/v1/orders/{spelling}"), me), "").await);
    }
    answers.push(ask(&routes, get(&format!("/v1/orders/{id}/events"), other), "").await);
    answers.push(ask(&routes, post(&format!("/v1/orders/{id}/cancel"), other, &a_key()), "").await);
    for answer in answers {
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not-found"));
    }
    assert_eq!(ask(&routes, get("/v1/orders", other), "").await.json()["items"], json!([]));
    assert_eq!(ask(&routes, get(&format!("/v1/orders/{id}"), me), "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn cursors_are_good_for_their_owner_only() {
    let world = World::in_postgres().await;
    let routes = routes(&world);
    let (me, other) = (someone(), someone());
    for _ in 0..3 {
        ask(&routes, post("/v1/orders", me, &a_key()), an_order().to_string()).await;
    }
    let first = ask(&routes, get("/v1/orders?limit=2", me), "").await;
    let cursor = first.json()["page"]["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(first.headers["link"], format!("</v1/orders?cursor={cursor}&limit=2>; rel=\"next\""));
    let rest = ask(&routes, get(&format!("/v1/orders?limit=2&cursor={cursor}"), me), "").await.json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["page"]["next_cursor"]), (1, &Value::Null));
    // OR17 (b).
    let tampered = format!("{}A", &cursor[..cursor.len() - 1]);
    for (user, query) in [
        (other, format!("cursor={cursor}")),
        (me, format!("cursor={tampered}B")),
        (me, "cursor=".to_owned()),
        (me, "cursor=%27%20OR%201%3D1".to_owned()),
        (me, "limit=1000000".to_owned()),
        (me, "limit=0".to_owned()),
        (me, "limit=-1".to_owned()),
        (me, "limit=1.5".to_owned()),
    ] {
        let answer = ask(&routes, get(&format!("/v1/orders?{query}"), user), "").await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "cursor-invalid"), "{query}");
    }
    assert_eq!(ask(&routes, get("/v1/orders?status=eq.CREATED", me), "").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_wish_to_cancel_is_accepted_or_a_conflict() {
    let world = World::in_postgres().await;
    let routes = routes(&world);
    let me = someone();
    let placed = ask(&routes, post("/v1/orders", me, &a_key()), an_order().to_string()).await.json();
    let path = format!("/v1/orders/{}/cancel", placed["order_id"].as_str().unwrap());
    let key = a_key();
    let first = ask(&routes, post(&path, me, &key), "").await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    let again = ask(&routes, post(&path, me, &key), "").await;
    assert_eq!((again.status, &again.bytes), (StatusCode::ACCEPTED, &first.bytes));
    let late = ask(&routes, post(&path, me, &a_key()), "").await;
    assert_eq!((late.status.as_u16(), late.code().as_str()), (409, "state-conflict"));
}
