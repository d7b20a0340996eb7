//! What the world sends: every answer is a problem with a stable code, and nothing has changed.

use fleet::operator;
use fleet::shopper::{Answer, HTTP, Shopper, get, key, product_in_stock, send, url};
use serde_json::{Value, json};

#[track_caller]
fn is_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{:#}", answer.body);
    assert!(answer.header("content-type").starts_with("application/problem+json"), "{}", answer.header("content-type"));
    for field in ["type", "title", "detail"] {
        assert!(answer.body[field].is_string(), "{field} is missing in {:#}", answer.body);
    }
}

#[tokio::test]
async fn a_bad_order_is_refused_with_a_code_and_changes_nothing() {
    let shopper = Shopper::new().await;
    let product = product_in_stock("gadget").await;
    let good: Value = {
        let request = shopper.order(&product, 1, "tok_ok", &key()).build().unwrap();
        serde_json::from_slice(request.body().unwrap().as_bytes().unwrap()).unwrap()
    };
    let with = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let mut extra = good.clone();
    extra["discount"] = json!("10.00");
    let mut no_lines = good.clone();
    no_lines["lines"] = json!([]);
    let table = [
        (with("/lines/0/quantity", json!(0)), 422, "invalid-field"),
        (with("/lines/0/quantity", json!(-1)), 422, "invalid-field"),
        (with("/lines/0/quantity", json!(1.5)), 422, "invalid-field"),
        (with("/lines/0/quantity", json!("1")), 422, "invalid-field"),
        (with("/lines/0/quantity", json!(4_294_967_296_u64)), 422, "invalid-field"),
        (with("/lines/0/quantity", json!(null)), 422, "invalid-field"),
        (with("/lines/0/sku", json!("NO-SUCH-SKU")), 422, "invalid-field"),
        (with("/lines/0/sku", json!("../etc")), 422, "invalid-field"),
        (with("/expected_total/amount", json!("0.01")), 409, "price-changed"),
        (with("/expected_total/currency", json!("EURO")), 422, "invalid-field"),
        (with("/payment/token", json!("4111111111111111")), 422, "card-data-refused"),
        (with("/shipping_address/line1", json!("card 4111 1111 1111 1111")), 422, "card-data-refused"),
        (with("/shipping_address/country", json!("US")), 422, "invalid-field"),
        (extra, 422, "unknown-field"),
        (no_lines, 422, "invalid-field"),
    ];
    let before = orders_of(&shopper).await;
    for (body, status, code) in table {
        let answer = send(shopper.post("/v1/orders").header("Idempotency-Key", key()).json(&body)).await;
        is_problem(&answer, status, code);
    }
    for (name, value, code) in [
        (None, "", "idempotency-key-missing"),
        (Some("Idempotency-Key"), "short", "idempotency-key-invalid"),
        (Some("Idempotency-Key"), "with spaces and more", "idempotency-key-invalid"),
    ] {
        let mut request = shopper.post("/v1/orders").json(&good);
        if let Some(name) = name {
            request = request.header(name, value);
        }
        is_problem(&send(request).await, 400, code);
    }
    let malformed = shopper
        .post("/v1/orders")
        .header("Idempotency-Key", key())
        .header("content-type", "application/json")
        .body("{\"lines\": [");
    is_problem(&send(malformed).await, 400, "malformed-request");
    let form =
        shopper.post("/v1/orders").header("Idempotency-Key", key()).header("content-type", "text/xml").body("<order/>");
    is_problem(&send(form).await, 415, "unsupported-media-type");
    let huge = shopper
        .post("/v1/orders")
        .header("Idempotency-Key", key())
        .header("content-type", "application/json")
        .body("x".repeat(80 * 1024));
    is_problem(&send(huge).await, 413, "body-too-large");
    assert_eq!(orders_of(&shopper).await, before);
}

async fn orders_of(shopper: &Shopper) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM orders WHERE user_id = $1")
        .bind(shopper.user_id.parse::<common::UserId>().unwrap().uuid())
        .fetch_one(&operator::database("order_payment"))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_bad_token_is_refused_by_every_service_alike() {
    let shopper = Shopper::new().await;
    let forged = {
        let mut parts: Vec<String> = shopper.token.split('.').map(str::to_owned).collect();
        let flipped = if parts[2].starts_with('A') { "B" } else { "A" };
        parts[2].replace_range(0..1, flipped);
        parts.join(".")
    };
    for path in ["/v1/me", "/v1/orders"] {
        let answers = [
            get(path).await,
            send(HTTP.get(url(path)).bearer_auth(&forged)).await,
            send(HTTP.get(url(path)).bearer_auth("eyJhbGciOiJub25lIn0.e30.")).await,
            send(HTTP.get(url(path)).header("authorization", "Bearer ")).await,
        ];
        for answer in answers {
            is_problem(&answer, 401, "unauthenticated");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{:?}", answer.headers);
        }
        send(shopper.get(path)).await.expect(200);
    }
    for path in ["/v1/products", "/v1/recommendations"] {
        is_problem(&send(HTTP.get(url(path)).bearer_auth(&forged)).await, 401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_session_ends_everywhere_with_its_logout() {
    let shopper = Shopper::new().await;
    send(shopper.get("/v1/orders")).await.expect(200);
    send(HTTP.delete(url("/v1/sessions/current")).bearer_auth(&shopper.token)).await.expect(204);
    for path in ["/v1/me", "/v1/orders", "/v1/recommendations"] {
        is_problem(&send(shopper.get(path)).await, 401, "unauthenticated");
    }
}

#[tokio::test]
async fn unknown_places_and_methods_are_problems_too() {
    is_problem(&get("/v1/nothing").await, 404, "not-found");
    is_problem(&get("/v1/products/NO-SUCH-SKU").await, 404, "not-found");
    is_problem(&get("/v1/products/%2e%2e").await, 404, "not-found");
    is_problem(&send(HTTP.put(url("/v1/products"))).await, 405, "method-not-allowed");
    is_problem(&get("/v1/products?cursor=tampered").await, 400, "cursor-invalid");
    is_problem(&get(&format!("/v1/search?q={}", "a".repeat(2000))).await, 422, "query-too-costly");
}

#[tokio::test]
async fn every_answer_says_who_gave_it() {
    for path in ["/v1/regions", "/v1/products?limit=1", "/v1/recommendations?kind=trending", "/v1/cart"] {
        let answer = get(path).await;
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
        assert_eq!(answer.header("shopsphere-epoch"), "1", "{path}");
        assert_eq!(answer.header("shopsphere-site"), common::Region::ALL[0].sites()[0], "{path}");
    }
}
