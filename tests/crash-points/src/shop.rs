//! What people do in the sandbox, over the public HTTP API. A request whose answer does not come is sent again with the same
//! key, as a shopper's program would.

use std::sync::LazyLock;
use std::time::Duration;

use common::{OrderId, Region, ids};
use serde_json::{Value, json};
use testkit::postgres::region;
use testkit::wait::until;

use crate::issuer::Person;
use crate::sandbox::Sandbox;

/// Between a death and the next readiness on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The price of everything here.
const PRICE: &str = "49.90";
pub const PRICE_MINOR: i64 = 4_990;

pub static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A connection to a process that was killed is of no use.
    reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(15))
        .build()
        .expect("a client can be made")
});

/// Sends until an answer with one of these statuses comes; whatever else comes is no answer yet.
pub async fn insist(what: &str, wanted: &[u16], request: impl Fn() -> reqwest::RequestBuilder) -> (u16, String) {
    until(what, PATIENCE, async || match request().send().await {
        Ok(answer) => {
            let status = answer.status().as_u16();
            match answer.text().await {
                Ok(text) if wanted.contains(&status) => Ok((status, text)),
                Ok(text) => Err(format!("{status} {text}")),
                Err(error) => Err(error.to_string()),
            }
        }
        Err(error) => Err(error.to_string()),
    })
    .await
}

/// A product that nobody else sells, with so many units.
pub async fn stock(sandbox: &Sandbox, staff: &Person, units: u32) -> String {
    let sku = product(sandbox, staff).await;
    receive(sandbox, staff, &sku, units).await;
    sku
}

pub async fn product(sandbox: &Sandbox, staff: &Person) -> String {
    let sku = format!("CP-{}", ids::random().simple());
    let currency = region().currency().code();
    let body = json!({"products": [{
        "sku": sku, "family": "gadget", "category": "audio/headphones", "brand": "Crash",
        "texts": {"en": {"name": "Headphones", "description": "Loud"}}, "prices": {currency: PRICE},
    }]});
    let url = format!("{}/v1/admin/products/batch", sandbox.catalog_url);
    insist("the product", &[200], || HTTP.post(&url).bearer_auth(&staff.token).json(&body)).await;
    sku
}

pub async fn receive(sandbox: &Sandbox, staff: &Person, sku: &str, units: u32) {
    let body = json!({
        "reference": format!("crash-{}", ids::random().simple()),
        "lines": [{"sku": sku, "quantity": units, "kind": "counted"}],
    });
    let url = format!("{}/v1/admin/stock/receipts", sandbox.catalog_url);
    insist("the receipt", &[200], || HTTP.post(&url).bearer_auth(&staff.token).json(&body)).await;
}

/// Somebody counts the shelf and finds one more than the books say.
pub async fn find_one_more(sandbox: &Sandbox, staff: &Person, sku: &str) {
    let body = json!({
        "reference": format!("count-{}", ids::random().simple()),
        "reason": "found behind the shelf",
        "lines": [{"sku": sku, "change": 1}],
    });
    let url = format!("{}/v1/admin/stock/corrections", sandbox.catalog_url);
    insist("the correction", &[200], || HTTP.post(&url).bearer_auth(&staff.token).json(&body)).await;
}

/// How much of a product may be promised before it comes in.
pub async fn limit_back_orders(sandbox: &Sandbox, staff: &Person, sku: &str, units: u32) {
    let url = format!("{}/v1/admin/stock/{sku}/back-order-limit", sandbox.catalog_url);
    let limit = json!({"limit": units});
    insist("the limit", &[200], || HTTP.put(&url).bearer_auth(&staff.token).json(&limit)).await;
}

/// An amount as the API writes it.
pub fn money(amount: &str) -> Value {
    json!({"amount": amount, "currency": region().currency().code()})
}

/// Orders one unit with a card.
pub async fn order(sandbox: &Sandbox, shopper: &Person, sku: &str, card: &str) -> OrderId {
    place(sandbox, shopper, sku, &json!({"method": "card", "token": card})).await
}

/// Orders one unit that store credit pays whole.
pub async fn order_by_credit(sandbox: &Sandbox, shopper: &Person, sku: &str) -> OrderId {
    place(sandbox, shopper, sku, &json!({"method": "store_credit"})).await
}

async fn place(sandbox: &Sandbox, shopper: &Person, sku: &str, payment: &Value) -> OrderId {
    let key = ids::random().simple().to_string();
    let (_, body) = insist("the order", &[201], || ordering(sandbox, shopper, sku, payment, &key)).await;
    let body: Value = serde_json::from_str(&body).expect("an answer is JSON");
    body["order_id"].as_str().and_then(|id| id.parse().ok()).expect("an order has an id")
}

fn ordering(sandbox: &Sandbox, shopper: &Person, sku: &str, payment: &Value, key: &str) -> reqwest::RequestBuilder {
    HTTP.post(format!("{}/v1/orders", sandbox.orders_url)).bearer_auth(&shopper.token).header("Idempotency-Key", key).json(
        &json!({
            "lines": [{ "sku": sku, "quantity": 1 }],
            "shipping_address": { "name": "Ada Crash", "line1": "1 Example Street", "city": "Example", "postal_code": "10115", "country": Region::ALL[0].countries()[5] },
            "payment": payment,
            "expected_total": money(PRICE),
        }),
    )
}

pub async fn cancel(sandbox: &Sandbox, shopper: &Person, order: OrderId) -> u16 {
    let key = ids::random().simple().to_string();
    let url = format!("{}/v1/orders/{order}/cancel", sandbox.orders_url);
    // 409: the order was faster.
    let send = || HTTP.post(&url).bearer_auth(&shopper.token).header("Idempotency-Key", &key).json(&json!({}));
    insist("the cancellation", &[200, 202, 409], send).await.0
}

/// The status of an order in the database.
pub async fn status(sandbox: &Sandbox, order: OrderId) -> String {
    sqlx::query_scalar("SELECT status::text FROM orders WHERE order_id = $1")
        .bind(order.uuid())
        .fetch_one(&sandbox.orders)
        .await
        .expect("an accepted order is in the database")
}

/// Waits until the order is in one of these statuses.
pub async fn wait_for(sandbox: &Sandbox, order: OrderId, wanted: &[&str]) -> String {
    until(&format!("order {order} to become {wanted:?}"), PATIENCE, async || {
        let status = status(sandbox, order).await;
        if wanted.contains(&status.as_str()) { Ok(status) } else { Err(status) }
    })
    .await
}
