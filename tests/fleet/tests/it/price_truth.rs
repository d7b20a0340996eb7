//! What was shown is what is carted is what is charged: the price changes between the page and the order.

use common::{Region, ids};
use fleet::operator;
use fleet::shopper::{HTTP, Shopper, get, key, send, url};
use serde_json::{Value, json};

/// A product of one story alone, whose price staff changes.
pub struct Priced {
    sku: String,
    staff: String,
}

impl Priced {
    pub async fn on_the_shelf(price: &str, units: u32) -> Self {
        // The staff member that the realm of a local region comes with.
        let login = json!({"email": "staff@shopsphere.example", "password": "ShopSphere-staff-1"});
        let session = send(HTTP.post(url("/v1/sessions")).json(&login)).await.expect(200);
        let staff = session.body["access_token"].as_str().expect("a token").to_owned();
        let product = Self { sku: format!("PT-{}", ids::random().simple()), staff };
        product.costs(price).await;
        let receipt =
            json!({"reference": product.sku, "lines": [{"sku": product.sku, "quantity": units, "kind": "counted"}]});
        send(HTTP.post(url("/v1/admin/stock/receipts")).bearer_auth(&product.staff).json(&receipt)).await.expect(200);
        product
    }

    async fn costs(&self, price: &str) {
        let currency = Region::ALL[0].currency().code();
        let body = json!({
            "family": "gadget", "category": "gadgets", "brand": "Lumen",
            "texts": {"en": {"name": "A lamp of changing price", "description": ""}},
            "prices": {currency: price},
        });
        let path = url(&format!("/v1/admin/products/{}", self.sku));
        let written = send(HTTP.put(path).bearer_auth(&self.staff).json(&body)).await;
        assert!(matches!(written.status, 200 | 201), "{:#}", written.body);
    }

    pub async fn page(&self) -> Value {
        get(&format!("/v1/products/{}", self.sku)).await.expect(200).body
    }
}

fn carted(shopper: &Shopper, sku: &str, tag: &str, page: &Value) -> reqwest::RequestBuilder {
    HTTP.put(url(&format!("/v1/cart/lines/{sku}")))
        .bearer_auth(&shopper.token)
        .header("If-Match", tag)
        .json(&json!({"quantity": 2, "expected_unit_price": page["price"]}))
}

/// What the gateway took for an order, in minor units.
async fn captured(order: &str) -> i64 {
    let books = operator::books(order).await;
    books.iter().filter(|entry| entry["kind"] == "capture").filter_map(|entry| entry["amount"].as_i64()).sum()
}

#[tokio::test]
async fn a_price_that_changed_after_the_page_is_refused_and_a_locked_one_is_charged_as_shown() {
    let (product, shopper) = (Priced::on_the_shelf("50.00", 20).await, Shopper::new().await);
    let page = product.page().await;
    let cart = send(shopper.get("/v1/cart")).await.expect(200);
    let cart = send(carted(&shopper, &product.sku, cart.header("etag"), &page)).await.expect(200);
    // The page, the basket and the price are of one revision, and a revision never changes.
    let line = &cart.body["lines"][0];
    assert_eq!((&line["unit_price"], &line["revision"]), (&page["price"], &page["revision"]));
    assert_eq!(cart.body["total"]["amount"], "100.00");

    // The price rises between page and order. Without the lock: a refusal that says what it would cost now.
    product.costs("60.00").await;
    let refused = send(shopper.order(&page, 2, "tok_ok", &key())).await.expect(409);
    assert_eq!((refused.code(), &refused.body["quote"]["total"]["amount"]), ("price-changed", &json!("120.00")));
    // With it: what the basket showed.
    let mut order = json!({
        "lines": [{"sku": product.sku, "quantity": 2}],
        "shipping_address": {"name": "Ada Fleet", "line1": "1 Example Street", "city": "Example", "postal_code": "10115", "country": Region::ALL[0].countries()[5]},
        "payment": {"method": "card", "token": "tok_ok"},
        "expected_total": cart.body["total"],
        "price_lock": cart.body["price_lock"],
    });
    let post = |body: &Value| shopper.post("/v1/orders").header("Idempotency-Key", key()).json(body);
    let placed = send(post(&order)).await.expect(201);
    assert_eq!(placed.body["total_amount"], cart.body["total"]);
    let id = placed.body["order_id"].as_str().unwrap();
    let ended = shopper.wait_for_end(id).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended:#}");
    assert_eq!(
        (captured(id).await, &ended["total_amount"], &ended["tax"]),
        (10_000, &cart.body["total"], &placed.body["tax"])
    );

    // Another basket than the lock was made for.
    order["lines"][0]["quantity"] = json!(1);
    assert_eq!(send(post(&order)).await.expect(422).code(), "price-lock-invalid");
    // What was shown with the refusal can be accepted as it was shown, though the price moves on.
    product.costs("70.00").await;
    order["lines"][0]["quantity"] = json!(2);
    order["expected_total"] = refused.body["quote"]["total"].clone();
    order["price_lock"] = refused.body["quote"]["price_lock"].clone();
    let placed = send(post(&order)).await.expect(201);
    let id = placed.body["order_id"].as_str().unwrap();
    assert_eq!(shopper.wait_for_end(id).await["status"], "COMPLETED");
    assert_eq!(captured(id).await, 12_000);
    // The basket tells that its price is not the one it was filled at.
    let now = send(shopper.get("/v1/cart")).await.expect(200).body;
    assert_eq!(
        (&now["lines"][0]["unit_price"]["amount"], &now["lines"][0]["carted_unit_price"]["amount"]),
        (&json!("70.00"), &json!("50.00"))
    );
}

#[tokio::test]
async fn a_page_that_is_out_of_date_cannot_fill_a_basket() {
    let (product, shopper) = (Priced::on_the_shelf("50.00", 20).await, Shopper::new().await);
    let page = product.page().await;
    product.costs("60.00").await;
    let stale = send(carted(&shopper, &product.sku, "\"0\"", &page)).await.expect(409);
    assert_eq!(stale.code(), "price-changed");
    assert_eq!(send(shopper.get("/v1/cart")).await.expect(200).body["lines"], json!([]));
}

impl Priced {
    /// Off this story's product alone: other stories go on at their prices.
    async fn promotion(&self, id: &str, percent: &str, coupon: Option<Value>) {
        let mut body = json!({"title": "A story", "percent": percent, "target": {"skus": [self.sku]}, "stacks": true});
        if let Some(coupon) = coupon {
            body["coupon"] = coupon;
        }
        let written =
            send(HTTP.put(url(&format!("/v1/admin/promotions/{id}"))).bearer_auth(&self.staff).json(&body)).await;
        assert!(matches!(written.status, 200 | 201), "{:#}", written.body);
    }

    async fn ended(&self, id: &str) {
        send(HTTP.delete(url(&format!("/v1/admin/promotions/{id}"))).bearer_auth(&self.staff)).await.expect(204);
    }
}

#[tokio::test]
async fn what_a_promotion_and_a_coupon_take_off_is_charged_as_shown_and_the_coupon_is_used_once() {
    let (product, shopper) = (Priced::on_the_shelf("50.00", 20).await, Shopper::new().await);
    let name = product.sku.to_lowercase();
    let (sale, voucher) = (format!("sale-{}", &name[3..20]), format!("voucher-{}", &name[3..20]));
    let code = voucher.to_uppercase();
    product.promotion(&sale, "10", None).await;
    product.promotion(&voucher, "20", Some(json!({"code": code, "most_uses": 1}))).await;
    let page = product.page().await;
    let cart = send(carted(&shopper, &product.sku, "\"0\"", &page)).await.expect(200);
    assert_eq!((&cart.body["subtotal"]["amount"], &cart.body["total"]["amount"]), (&json!("100.00"), &json!("90.00")));
    let coupon = |tag: &str, code: &str| {
        HTTP.put(url("/v1/cart/coupon"))
            .bearer_auth(&shopper.token)
            .header("If-Match", tag)
            .json(&json!({"code": code}))
    };
    let tag = cart.header("etag");
    assert_eq!(send(coupon(tag, "NOBODY-KNOWS")).await.expect(422).code(), "coupon-unknown");
    let cart = send(coupon(tag, &code)).await.expect(200).body;
    assert_eq!((&cart["coupon"]["state"], &cart["total"]["amount"]), (&json!("ok"), &json!("72.00")));
    // Everything is over and dearer before the order: what was shown is charged.
    product.costs("80.00").await;
    product.ended(&sale).await;
    let order = json!({
        "lines": [{"sku": product.sku, "quantity": 2}],
        "shipping_address": {"name": "Ada Fleet", "line1": "1 Example Street", "city": "Example", "postal_code": "10115", "country": Region::ALL[0].countries()[5]},
        "payment": {"method": "card", "token": "tok_ok"},
        "expected_total": cart["total"], "price_lock": cart["price_lock"], "coupon": code,
    });
    let post = || shopper.post("/v1/orders").header("Idempotency-Key", key()).json(&order);
    let placed = send(post()).await.expect(201);
    let id = placed.body["order_id"].as_str().unwrap();
    let ended = shopper.wait_for_end(id).await;
    assert_eq!((ended["status"].as_str(), captured(id).await), (Some("COMPLETED"), 7_200));
    assert_eq!(ended["lines"][0]["reductions"].as_array().map(Vec::len), Some(2));
    assert_eq!(send(post()).await.expect(409).code(), "coupon-used");
    let now = send(shopper.get("/v1/cart")).await.expect(200).body;
    assert_eq!((&now["coupon"]["state"], &now["total"]["amount"]), (&json!("coupon-used"), &json!("160.00")));
    product.ended(&voucher).await;
}
