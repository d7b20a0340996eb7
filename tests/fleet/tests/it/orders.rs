//! Buying: the sunny day, the declined card, the lost answer, the double click.

use std::time::Duration;

use fleet::operator::{self, Shelf};
use fleet::shopper::{Shopper, get, key, product_in_stock, send};
use testkit::wait::until;

const PATIENCE: Duration = Duration::from_secs(30);

async fn shelf_becomes(sku: &str, wanted: Shelf) {
    until("the shelf to settle", PATIENCE, async || {
        let seen = operator::shelf(sku).await;
        if seen == wanted { Ok(()) } else { Err((seen, wanted)) }
    })
    .await;
}

#[tokio::test]
async fn a_bought_order_completes_and_the_stock_falls() {
    let shopper = Shopper::new().await;
    let product = product_in_stock("gadget").await;
    let sku = product["sku"].as_str().unwrap();
    let before = operator::shelf(sku).await;

    let placed = send(shopper.order(&product, 2, "tok_ok", &key())).await.expect(201);
    assert_eq!(placed.body["status"], "CREATED");
    let order_id = placed.body["order_id"].as_str().unwrap();
    assert_eq!(placed.header("location"), format!("/v1/orders/{order_id}"));

    let ended = shopper.wait_for_end(order_id).await;
    assert_eq!(ended["status"], "COMPLETED", "{ended:#}");
    let history: Vec<&str> =
        ended["history"].as_array().unwrap().iter().filter_map(|entry| entry["status"].as_str()).collect();
    assert_eq!(history, ["CREATED", "PAYMENT_PENDING", "COMPLETED"]);
    shelf_becomes(sku, Shelf { available: before.available - 2, held: before.held, sold: before.sold + 2 }).await;

    // The money is right in three independent places.
    let (debit, credit): (i64, i64) = sqlx::query_as(
        "SELECT COALESCE(sum(amount_minor) FILTER (WHERE amount_minor > 0), 0)::bigint, COALESCE(-sum(amount_minor) FILTER (WHERE amount_minor < 0), 0)::bigint
         FROM ledger_entries JOIN ledger_transactions USING (attempt_id) WHERE order_id = $1",
    )
    .bind(order_id.parse::<common::OrderId>().unwrap().uuid())
    .fetch_one(&operator::database("order_payment"))
    .await
    .unwrap();
    assert!(debit > 0 && debit == credit, "debit {debit}, credit {credit}");
    let captured: i64 = operator::books(order_id)
        .await
        .iter()
        .filter(|entry| entry["kind"] == "capture")
        .filter_map(|entry| entry["amount"].as_i64())
        .sum();
    assert_eq!(captured, debit);

    // Goods leave after the money is committed, and only then.
    until("one shipment", PATIENCE, async || {
        let shipments: i64 = sqlx::query_scalar("SELECT count(*) FROM shipments WHERE order_id = $1")
            .bind(order_id.parse::<common::OrderId>().unwrap().uuid())
            .fetch_one(&operator::database("inventory"))
            .await
            .unwrap();
        if shipments == 1 { Ok(()) } else { Err(shipments) }
    })
    .await;
}

#[tokio::test]
async fn a_declined_card_gives_the_stock_back() {
    let shopper = Shopper::new().await;
    let product = product_in_stock("gadget").await;
    let sku = product["sku"].as_str().unwrap();
    let before = operator::shelf(sku).await;

    let placed = send(shopper.order(&product, 1, "tok_declined", &key())).await.expect(201);
    let order_id = placed.body["order_id"].as_str().unwrap();
    let ended = shopper.wait_for_end(order_id).await;
    assert_eq!(ended["status"], "COMPENSATED", "{ended:#}");
    shelf_becomes(sku, before).await;
    assert!(operator::books(order_id).await.iter().all(|entry| entry["kind"] != "capture"));
}

#[tokio::test]
async fn a_repeated_order_is_the_same_order_and_a_changed_one_is_refused() {
    let shopper = Shopper::new().await;
    let product = product_in_stock("gadget").await;
    let key = key();
    let first = send(shopper.order(&product, 1, "tok_ok", &key)).await.expect(201);
    let again = send(shopper.order(&product, 1, "tok_ok", &key)).await.expect(201);
    assert_eq!(again.body, first.body);
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    let changed = send(shopper.order(&product, 2, "tok_ok", &key)).await.expect(422);
    assert_eq!(changed.code(), "idempotency-key-reused");

    let order_id = first.body["order_id"].as_str().unwrap();
    shopper.wait_for_end(order_id).await;
    let captures = operator::books(order_id).await.iter().filter(|entry| entry["kind"] == "capture").count();
    assert_eq!(captures, 1);
}

#[tokio::test]
async fn a_double_click_buys_once() {
    let shopper = Shopper::new().await;
    let product = product_in_stock("gadget").await;
    let key = key();
    let clicks: Vec<_> = (0..20).map(|_| tokio::spawn(send(shopper.order(&product, 1, "tok_ok", &key)))).collect();
    let mut ids = std::collections::HashSet::new();
    for click in clicks {
        let answer = click.await.unwrap();
        match answer.status {
            201 => drop(ids.insert(answer.body["order_id"].as_str().unwrap().to_owned())),
            409 => assert_eq!(answer.code(), "request-in-progress"),
            503 => {}
            other => panic!("{other}: {:#}", answer.body),
        }
    }
    assert_eq!(ids.len(), 1);
    let order_id = ids.into_iter().next().unwrap();
    shopper.wait_for_end(&order_id).await;
    assert_eq!(operator::books(&order_id).await.iter().filter(|entry| entry["kind"] == "capture").count(), 1);
}

#[tokio::test]
async fn a_charge_whose_answer_was_lost_still_completes_with_one_capture() {
    let shopper = Shopper::new().await;
    let product = product_in_stock("gadget").await;
    for card in ["tok_error500_charged", "tok_webhook_twice", "tok_reset"] {
        let placed = send(shopper.order(&product, 1, card, &key())).await.expect(201);
        let order_id = placed.body["order_id"].as_str().unwrap().to_owned();
        let ended = shopper.wait_for_end(&order_id).await;
        assert_eq!(ended["status"], "COMPLETED", "{card}: {ended:#}");
        let captures = operator::books(&order_id).await.iter().filter(|entry| entry["kind"] == "capture").count();
        assert_eq!(captures, 1, "{card}");
    }
}

#[tokio::test]
async fn nobody_sees_the_order_of_another_person() {
    let (owner, other) = (Shopper::new().await, Shopper::new().await);
    let product = product_in_stock("gadget").await;
    let placed = send(owner.order(&product, 1, "tok_ok", &key())).await.expect(201);
    let path = format!("/v1/orders/{}", placed.body["order_id"].as_str().unwrap());
    send(owner.get(&path)).await.expect(200);
    assert_eq!(send(other.get(&path)).await.expect(404).code(), "not-found");
    assert_eq!(send(other.get(&format!("{path}/events"))).await.expect(404).code(), "not-found");
    get(&path).await.expect(401);
    let list = send(other.get("/v1/orders")).await.expect(200);
    assert_eq!(list.body["items"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn the_live_status_tells_every_step_and_resumes() {
    let shopper = Shopper::new().await;
    let product = product_in_stock("gadget").await;
    let placed = send(shopper.order(&product, 1, "tok_ok", &key())).await.expect(201);
    let path = format!("/v1/orders/{}/events", placed.body["order_id"].as_str().unwrap());
    // The stream ends by itself with the order.
    let live = shopper.get(&path).send().await.unwrap();
    assert!(live.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let text = live.text().await.unwrap();
    let places: Vec<Option<usize>> =
        ["CREATED", "PAYMENT_PENDING", "COMPLETED"].iter().map(|status| text.find(&format!("\"{status}\""))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
    let resumed = shopper.get(&path).header("Last-Event-ID", "1").send().await.unwrap().text().await.unwrap();
    assert!(!resumed.contains("\"CREATED\"") && resumed.contains("\"COMPLETED\""), "{resumed}");
}
