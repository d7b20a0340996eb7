//! An operator at work, with the command line only: a message is parked and redriven, a saga is stuck and goes on, an order is
//! ended with a reason.

use std::path::PathBuf;
use std::time::Duration;

use common::{OrderId, Region, ShipmentId};
use contracts::catalog::v1::ShipmentCreated;
use contracts::topics::SHIPMENT_CREATED;
use contracts::{Envelope, Event};
use fleet::operator::{self, Shelf};
use fleet::shopper::{Shopper, key, product_in_stock, send, url};
use messaging::KafkaSettings;
use serde_json::{Value, json};
use testkit::servers;
use testkit::wait::until;
use tokio::process::Command;
use xtask::stack::Stack;

const PATIENCE: Duration = Duration::from_secs(60);
const STAFF: (&str, &str) = xtask::stack::keycloak::STAFF;

/// The program with a session of its own.
struct Desk {
    program: PathBuf,
    home: PathBuf,
}

struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {}{}", self.out, self.err))
    }
}

impl Desk {
    async fn open(stack: &Stack) -> Self {
        let home = std::env::temp_dir().join(format!("shopspherectl-fleet-{}", std::process::id()));
        let desk = Self { program: stack.layout.binaries(stack.release).join("shopspherectl"), home };
        let login = desk.run(&["login", "--email", STAFF.0]).await;
        assert_eq!(login.code, 0, "{}", login.err);
        desk
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        let output = Command::new(&self.program)
            .args(["-o", "json"])
            .args(arguments)
            .env("SHOPSPHERE_URL", url(""))
            .env("SHOPSPHERECTL_HOME", &self.home)
            .env("SHOPSPHERE_PASSWORD", STAFF.1)
            .env_remove("SHOPSPHERE_TOKEN")
            .output()
            .await
            .expect("the program was built");
        Ended {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// The gateway is back, whatever the story said.
struct GatewayAway(Stack);

impl GatewayAway {
    fn of(stack: &Stack) -> Self {
        assert!(stack.kill("payment-simulator"), "the gateway was running");
        Self(stack.clone())
    }
}

impl Drop for GatewayAway {
    fn drop(&mut self) {
        let _ = self.0.start("payment-simulator");
    }
}

/// A message that comes too early: the shipment of an order that is not paid. The catalog never sends one; a defect might.
async fn tell_of_a_shipment(order: &str) {
    let order: OrderId = order.parse().unwrap();
    let event = Event::from(ShipmentCreated {
        order_id: order.to_string(),
        shipment_id: ShipmentId::derive(order, "too-early").to_string(),
        fulfilment_centre: "too-early".to_owned(),
        created_at_ms: 1,
        lines: Vec::new(),
    });
    let envelope = Envelope {
        id: common::MessageId::from_uuid(common::ids::random()),
        region: Region::ALL[0],
        epoch: 1,
        version: 1,
        occurred_at_ms: 1,
        source_lsn: 0,
        traceparent: None,
    };
    let headers = envelope.to_headers(event.kind(), "internal");
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let kafka: KafkaSettings =
        serde_json::from_value(json!({"brokers": servers().kafka, "topic_prefix": "", "replication": 1})).unwrap();
    testkit::kafka::put_raw(&kafka, &SHIPMENT_CREATED, event.key(), &event.encode(), &headers).await;
}

/// One test: two that take the gateway away at once would be in each other's way.
#[tokio::test]
async fn an_operator_frees_what_is_parked_and_stuck_and_ends_what_shall_not_be() {
    let stack = Stack::from_env().expect("the test stack is described by the environment");
    let desk = Desk::open(&stack).await;
    a_parked_message_and_a_stuck_saga_go_on(&stack, &desk).await;
    an_order_that_waits_for_its_payment_is_ended(&stack, &desk).await;
}

async fn a_parked_message_and_a_stuck_saga_go_on(stack: &Stack, desk: &Desk) {
    let shopper = Shopper::new().await;
    let product = product_in_stock("gadget").await;
    let away = GatewayAway::of(stack);
    let placed = send(shopper.order(&product, 1, "tok_ok", &key())).await.expect(201);
    let order = placed.body["order_id"].as_str().unwrap().to_owned();

    // Stuck: listed with what it waits for.
    until("the saga to be listed as stuck", PATIENCE, async || {
        let listed = desk.run(&["saga", "list", "--older", "2s", "--limit", "1000"]).await.json();
        let mine = listed["items"].as_array().into_iter().flatten().find(|item| item["order_id"] == order.as_str());
        match mine {
            Some(item) if item["waits_for"] == "gateway" => Ok(()),
            other => Err(other.cloned()),
        }
    })
    .await;

    // Parked: the shipment of an order that is not paid.
    tell_of_a_shipment(&order).await;
    let parked = until("the message to be parked", PATIENCE, async || {
        let listed = desk.run(&["dlq", "list", "--service", "order-payment", "--key", &order]).await;
        assert_eq!(listed.code, 0, "{}", listed.err);
        listed.json()["items"][0]["parked_id"].as_i64().ok_or(listed.out)
    })
    .await
    .to_string();
    let shown = desk.run(&["dlq", "show", "order-payment", &parked]).await.json();
    assert_eq!(shown["event"]["body"]["order_id"], order.as_str(), "{shown}");
    let early = desk.run(&["dlq", "redrive", "order-payment", &parked, "--reason", "too early"]).await;
    assert_eq!(early.code, 7, "its order is still not paid: {}{}", early.out, early.err);

    // Freed: the gateway is back, the saga does not wait for its next turn, and the message has its place.
    drop(away);
    let retried = desk.run(&["saga", "retry", &order, "--reason", "the gateway is back"]).await;
    assert_eq!((retried.code, retried.json()["did"].as_str()), (0, Some("made_due")), "{}", retried.err);
    assert_eq!(shopper.wait_for_end(&order).await["status"], "COMPLETED");
    until("the parked message and what came behind it to be applied", PATIENCE, async || {
        let redriven = desk.run(&["dlq", "redrive", "order-payment", "--key", &order, "--reason", "paid now"]).await;
        let left = desk.run(&["dlq", "list", "--service", "order-payment", "--key", &order]).await.json();
        if left["items"] == json!([]) { Ok(()) } else { Err((redriven.out, left)) }
    })
    .await;
    let file = desk.run(&["saga", "show", &order]).await.json();
    assert_eq!((&file["status"], &file["shipped"]), (&json!("COMPLETED"), &json!(true)), "{file:#}");
    assert_eq!(file["actions"][0]["reason"], "the gateway is back");
    assert!(!file.to_string().contains(&shopper.user_id), "{file:#}");
    let captures = operator::books(&order).await.iter().filter(|entry| entry["kind"] == "capture").count();
    assert_eq!(captures, 1);
    let again = desk.run(&["saga", "compensate", &order, "--reason", "too late"]).await;
    assert_eq!(again.code, 5, "{}{}", again.out, again.err);
}

async fn an_order_that_waits_for_its_payment_is_ended(stack: &Stack, desk: &Desk) {
    let shopper = Shopper::new().await;
    let product = product_in_stock("gadget").await;
    let sku = product["sku"].as_str().unwrap();
    let before = operator::shelf(sku).await;
    let away = GatewayAway::of(stack);
    let placed = send(shopper.order(&product, 1, "tok_ok", &key())).await.expect(201);
    let order = placed.body["order_id"].as_str().unwrap().to_owned();
    until("the order to wait for its payment", PATIENCE, async || {
        let view = send(shopper.get(&format!("/v1/orders/{order}"))).await.body;
        if view["status"] == "PAYMENT_PENDING" { Ok(()) } else { Err(view) }
    })
    .await;
    let asked = desk.run(&["saga", "compensate", &order, "--reason", "the shopper called"]).await;
    assert_eq!((asked.code, asked.json()["did"].as_str()), (0, Some("asked")), "{}", asked.err);
    drop(away);
    let ended = shopper.wait_for_end(&order).await;
    assert_eq!(ended["status"], "COMPENSATED", "{ended:#}");
    until("the shelf to be as it was", PATIENCE, async || {
        let Shelf { held, sold, .. } = operator::shelf(sku).await;
        if (held, sold) == (before.held, before.sold) { Ok(()) } else { Err((held, sold)) }
    })
    .await;
    assert!(operator::books(&order).await.iter().all(|entry| entry["kind"] != "capture"));
    let file = desk.run(&["saga", "show", &order]).await.json();
    assert_eq!((&file["reason"], &file["actions"][0]["reason"]), (&json!("CANCELLED"), &json!("the shopper called")));
}
