//! Refunds and store credit over HTTP: who may, what comes back, what the order shows.

use common::UserId;
use http::StatusCode;
use order_payment::usecases::begin_payment::begin_payment;
use serde_json::{Value, json};

use crate::http::{Answer, ask, get, post, routes, someone};
use crate::world::{World, a_key, worlds};

fn order_with(payment: Value) -> String {
    json!({
        "lines": [{"sku": "LAMP-1", "quantity": 1}],
        "shipping_address": {"name": "Ada Lovelace", "line1": "Zeil 106", "city": "Frankfurt", "postal_code": "60313", "country": "DE"},
        "payment": payment,
        "expected_total": {"amount": "49.90", "currency": "EUR"},
    })
    .to_string()
}

async fn placed(world: &World, routes: &axum::Router, me: UserId, payment: Value) -> String {
    let answer = ask(routes, post("/v1/orders", me, &a_key()), order_with(payment)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&answer.bytes));
    let id = answer.json()["order_id"].as_str().unwrap().to_owned();
    begin_payment(&world.app, world.message(), id.parse().unwrap()).await.unwrap();
    world.pay().await;
    id
}

async fn as_staff(routes: &axum::Router, path: &str, body: Value) -> Answer {
    ask(routes, post(path, someone(), &a_key()).header("test-role", "support"), body.to_string()).await
}

#[tokio::test]
async fn staff_refunds_and_the_order_shows_it_to_its_owner() {
    for world in worlds().await {
        let routes = routes(&world);
        let me = someone();
        let id = placed(&world, &routes, me, json!({"method": "card", "token": "tok_ok"})).await;
        let path = format!("/v1/orders/{id}/refunds");
        let body = json!({"amount": {"amount": "10.00", "currency": "EUR"}, "reason": "scratched"});
        let mine = ask(&routes, post(&path, me, &a_key()), body.to_string()).await;
        assert_eq!((mine.status.as_u16(), mine.code().as_str()), (403, "forbidden"));
        let foreign = ask(&routes, post(&path, someone(), &a_key()), body.to_string()).await;
        assert_eq!((foreign.status.as_u16(), foreign.code().as_str()), (404, "not-found"));
        let (clerk, key) = (someone(), a_key());
        let first = ask(&routes, post(&path, clerk, &key).header("test-role", "staff"), body.to_string()).await;
        assert_eq!(first.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&first.bytes));
        assert_eq!((&first.json()["state"], &first.json()["to"]), (&json!("OPEN"), &json!("CARD")));
        let again = ask(&routes, post(&path, clerk, &key).header("test-role", "staff"), body.to_string()).await;
        assert_eq!((&again.bytes, again.headers["idempotency-replayed"].to_str().unwrap()), (&first.bytes, "true"));
        let beyond =
            as_staff(&routes, &path, json!({"amount": {"amount": "39.91", "currency": "EUR"}, "reason": "x"})).await;
        assert_eq!((beyond.status.as_u16(), beyond.code().as_str()), (422, "refund-exceeds-capture"));
        let line = as_staff(&routes, &path, json!({"lines": [{"sku": "LAMP-1", "quantity": 2}], "reason": "x"})).await;
        assert_eq!((line.status.as_u16(), &line.json()["errors"][0]["pointer"]), (422, &json!("/lines/0")));
        let unknown = as_staff(&routes, &path, json!({"reason": "x", "to_whom": "me"})).await;
        assert_eq!(unknown.code(), "unknown-field");
        let keyless = http::Request::post(&path)
            .header("test-user", clerk.to_string())
            .header("content-type", "application/json");
        assert_eq!(ask(&routes, keyless, body.to_string()).await.code(), "idempotency-key-missing");
        world.pay().await;
        let shown = ask(&routes, get(&format!("/v1/orders/{id}"), me), "").await.json();
        assert_eq!(
            (&shown["refunds"][0]["state"], &shown["refunds"][0]["amount"]["amount"]),
            (&json!("DONE"), &json!("10.00"))
        );
        assert!(!shown.to_string().contains("scratched"), "why stays with staff");
    }
}

#[tokio::test]
async fn credit_is_given_by_staff_seen_by_its_owner_and_spent_at_checkout() {
    for world in worlds().await {
        let routes = routes(&world);
        let me = someone();
        placed(&world, &routes, me, json!({"method": "card", "token": "tok_ok"})).await;
        let grants = "/v1/admin/store-credit/grants";
        let gift =
            json!({"user_id": me.to_string(), "amount": {"amount": "20.00", "currency": "EUR"}, "reason": "sorry"});
        let mine = ask(&routes, post(grants, me, &a_key()), gift.to_string()).await;
        assert_eq!((mine.status.as_u16(), mine.code().as_str()), (403, "forbidden"));
        assert_eq!(as_staff(&routes, grants, gift).await.status, StatusCode::CREATED);
        let balance = async || ask(&routes, get("/v1/me/store-credit", me), "").await.json();
        let euros = |amount: &str| json!({"amount": amount, "currency": "EUR"});
        assert_eq!(balance().await, json!({"balance": euros("20.00"), "held": euros("0.00")}));
        let all = ask(&routes, post("/v1/orders", me, &a_key()), order_with(json!({"method": "store_credit"}))).await;
        assert_eq!((all.status.as_u16(), all.code().as_str()), (409, "store-credit-short"));
        let id =
            placed(&world, &routes, me, json!({"method": "card", "token": "tok_ok", "store_credit": euros("5.00")}))
                .await;
        let shown = ask(&routes, get(&format!("/v1/orders/{id}"), me), "").await.json();
        assert_eq!((&shown["status"], &shown["payment"]["store_credit"]), (&json!("COMPLETED"), &euros("5.00")));
        placed(&world, &routes, me, json!({"method": "card", "token": "tok_ok", "store_credit": true})).await;
        assert_eq!(balance().await, json!({"balance": euros("0.00"), "held": euros("0.00")}));
    }
}
