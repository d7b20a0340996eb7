//! A shopper: signs up, logs in, looks, clicks, buys, all through the edge as a browser would.

use std::sync::LazyLock;
use std::time::Duration;

use common::{Region, ids};
use serde_json::{Value, json};
use testkit::servers;

pub static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    // An error means that another test of this process has installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Each story has a runtime of its own; a connection kept for the next one would die with it.
    reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(20))
        .build()
        .expect("a client can be made")
});

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The stable code of a problem answer.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:#}", self.body);
        self
    }
}

/// Sends a request through the edge.
pub async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("the edge answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("the answer can be read");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, headers, body }
}

pub fn url(path: &str) -> String {
    format!("{}{path}", servers().edge_url)
}

pub async fn get(path: &str) -> Answer {
    send(HTTP.get(url(path))).await
}

/// A person with an account, logged in.
#[derive(Clone, Debug)]
pub struct Shopper {
    pub user_id: String,
    pub email: String,
    pub token: String,
}

pub const PASSWORD: &str = "correct horse battery";

impl Shopper {
    /// Signs up and logs in.
    pub async fn new() -> Self {
        let email = format!("fleet-{}@shopsphere.example", ids::random().simple());
        let created = send(HTTP.post(url("/v1/users")).json(&json!({
            "email": email, "password": PASSWORD, "first_name": "Ada", "last_name": "Fleet",
            "residency_region": Region::ALL[0].code(), "language": "en",
            "consents": { "personalisation": true, "marketing": false },
        })))
        .await
        .expect(201);
        let user_id = created.body["user_id"].as_str().expect("a user id").to_owned();
        let token = Self::log_in(&email).await;
        Self { user_id, email, token }
    }

    async fn log_in(email: &str) -> String {
        let session = send(HTTP.post(url("/v1/sessions")).json(&json!({ "email": email, "password": PASSWORD })))
            .await
            .expect(200);
        session.body["access_token"].as_str().expect("an access token").to_owned()
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        HTTP.get(url(path)).bearer_auth(&self.token)
    }

    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        HTTP.post(url(path)).bearer_auth(&self.token)
    }

    /// Orders `quantity` of `product` (as the product page shows it) with `card`.
    pub fn order(&self, product: &Value, quantity: u32, card: &str, key: &str) -> reqwest::RequestBuilder {
        let cents = cents(&product["price"]) * u64::from(quantity);
        self.post("/v1/orders").header("Idempotency-Key", key).json(&json!({
            "lines": [{ "sku": product["sku"], "quantity": quantity }],
            "shipping_address": { "name": "Ada Fleet", "line1": "1 Example Street", "city": "Example", "postal_code": "10115", "country": Region::ALL[0].countries()[5] },
            "payment": { "method": "card", "token": card },
            "expected_total": { "amount": format!("{}.{:02}", cents / 100, cents % 100), "currency": product["price"]["currency"] },
        }))
    }

    /// Waits until the order has ended; gives its last view.
    pub async fn wait_for_end(&self, order_id: &str) -> Value {
        testkit::wait::until("the order to end", Duration::from_secs(60), async || {
            let view = send(self.get(&format!("/v1/orders/{order_id}"))).await;
            match view.body["status"].as_str() {
                Some("COMPLETED" | "COMPENSATED") => Ok(view.body),
                _ => Err(view.body),
            }
        })
        .await
    }
}

/// A fresh idempotency key.
pub fn key() -> String {
    ids::random().simple().to_string()
}

fn cents(price: &Value) -> u64 {
    let amount = price["amount"].as_str().expect("an amount is a string");
    let (units, digits) = amount.split_once('.').expect("two digits after the point");
    assert_eq!(digits.len(), 2, "{amount}");
    units.parse::<u64>().expect("digits") * 100 + digits.parse::<u64>().expect("digits")
}

/// A product in stock of the family, as its page shows it.
pub async fn product_in_stock(family: &str) -> Value {
    testkit::wait::until("a product in stock", Duration::from_secs(30), async || {
        let mut cursor = String::new();
        // The demo catalog fits in ten pages of a hundred.
        for _ in 0..10 {
            let page = get(&format!("/v1/products?limit=100{cursor}")).await.expect(200);
            let items = page.body["items"].as_array().cloned().unwrap_or_default();
            let fits = |item: &&Value| item["family"] == family && item["availability"] == "in_stock";
            if let Some(item) = items.iter().find(fits) {
                return Ok(item.clone());
            }
            match page.body["page"]["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        Err("no such product on any page")
    })
    .await
}
