//! The shop's own fraud check: a small program behind HTTP that says yes, no, nothing, or something else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration as Wait;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use chassis::config::Secret;
use chrono::Duration;
use order_payment::domain::{OrderStatus, Reason, Refusal};
use order_payment::outbound::fraud::HttpFraudCheck;
use order_payment::usecases::process_payment::process_payments;
use order_payment::usecases::{App, Rules};
use serde_json::{Value, json};

use crate::world::{World, worlds};

/// What it says next, with a pause before; after the last it says yes.
type Script = VecDeque<(Wait, StatusCode, String)>;

#[derive(Clone, Default)]
struct Checker {
    script: Arc<Mutex<Script>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Checker {
    /// Starts it; returns its address.
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route("/assessments", post(answer)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        format!("http://{address}/assessments")
    }

    fn says(&self, status: u16, body: &str) -> &Self {
        self.says_after(Wait::ZERO, status, body)
    }

    fn says_after(&self, pause: Wait, status: u16, body: &str) -> &Self {
        let status = StatusCode::from_u16(status).unwrap();
        self.script.lock().unwrap().push_back((pause, status, body.to_owned()));
        self
    }

    fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(State(checker): State<Checker>, headers: HeaderMap, body: String) -> (StatusCode, String) {
    let key = headers.get("authorization").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    checker.asked.lock().unwrap().push((key, serde_json::from_str(&body).unwrap()));
    let yes = || (Wait::ZERO, StatusCode::OK, json!({"verdict": "pass"}).to_string());
    let (pause, status, text) = checker.script.lock().unwrap().pop_front().unwrap_or_else(yes);
    tokio::time::sleep(pause).await;
    (status, text)
}

async fn checked(world: &World, checker: &Checker, unassessed_pass: bool) -> Arc<App> {
    let url = checker.start().await;
    let check = HttpFraudCheck::new(&url, Secret::new("key of the check"), Wait::from_millis(300)).unwrap();
    world.with(Rules { unassessed_pass, ..Rules::default() }, Arc::new(check))
}

#[tokio::test]
async fn what_the_check_refuses_ends_as_declined_and_the_gateway_never_hears_of_it() {
    for world in worlds().await {
        let checker = Checker::default();
        let app = checked(&world, &checker, true).await;
        checker.says(200, r#"{"verdict": "refuse", "score": 97}"#);
        let refused = world.an_order_to_pay().await;
        process_payments(&app).await.unwrap();
        let order = world.order(refused).await;
        assert_eq!((order.status, order.reason), (OrderStatus::Compensated, Some(Reason::PaymentDeclined)));
        assert_eq!(world.charge(refused).await.refused_by, Some(Refusal::FraudCheck));
        assert!(world.gateway.calls.lock().unwrap().is_empty());

        let passed = world.an_order_to_pay().await;
        process_payments(&app).await.unwrap();
        assert_eq!(world.status(passed).await, OrderStatus::Completed);
        // Once for each: the steps after the first ask nobody.
        assert_eq!(checker.asked().len(), 2);
    }
}

#[tokio::test]
async fn the_check_is_told_what_is_bought_and_neither_who_nor_with_which_card() {
    let world = World::in_memory();
    let checker = Checker::default();
    let app = checked(&world, &checker, true).await;
    let order = world.an_order_to_pay().await;
    process_payments(&app).await.unwrap();
    let [(key, facts)] = <[_; 1]>::try_from(checker.asked()).unwrap();
    assert_eq!(key, "Bearer key of the check");
    assert_eq!(
        (&facts["order_id"], &facts["attempt_id"]),
        (&json!(order.to_string()), &json!(world.charge(order).await.id.to_string()))
    );
    assert_eq!(
        (&facts["amount_minor"], &facts["currency"], &facts["region"]),
        (&json!(4990), &json!("EUR"), &json!("eu"))
    );
    assert_eq!((&facts["country"], &facts["lines"], &facts["units"]), (&json!("DE"), &json!(1), &json!(1)));
    let person = facts["person"].as_str().unwrap();
    assert_eq!(person.len(), 32);
    let told = facts.to_string();
    let bought = world.order(order).await;
    for secret in
        ["Lovelace", "Zeil", "60313", "tok_ok", &bought.user.to_string(), &bought.user.uuid().simple().to_string()]
    {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    let names: Vec<&String> = facts.as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 10, "a new fact has to be thought about: {names:?}");
}

#[tokio::test]
async fn silence_passes_or_waits_as_the_shop_wishes() {
    for (status, body, pause) in [
        (500, "", Wait::ZERO),
        (200, "certainly", Wait::ZERO),
        (200, r#"{"verdict": "perhaps"}"#, Wait::ZERO),
        (302, r#"{"verdict": "refuse"}"#, Wait::ZERO),
        (200, r#"{"verdict": "refuse"}"#, Wait::from_millis(900)),
    ] {
        for unassessed_pass in [true, false] {
            let world = World::in_memory();
            let checker = Checker::default();
            let app = checked(&world, &checker, unassessed_pass).await;
            checker.says_after(pause, status, body);
            let order = world.an_order_to_pay().await;
            process_payments(&app).await.unwrap();
            let expected = if unassessed_pass { OrderStatus::Completed } else { OrderStatus::PaymentPending };
            assert_eq!(world.status(order).await, expected, "{status} {body}");
            if !unassessed_pass {
                assert!(world.gateway.calls.lock().unwrap().is_empty(), "nothing was sent while nobody had spoken");
                // It is asked again, and now it says yes.
                world.clock.advance(Duration::minutes(6));
                process_payments(&app).await.unwrap();
                assert_eq!(world.status(order).await, OrderStatus::Completed);
            }
        }
    }
}

#[tokio::test]
async fn a_check_that_is_not_there_at_all_is_silent_too() {
    let world = World::in_memory();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}/assessments", listener.local_addr().unwrap());
    drop(listener);
    let check = HttpFraudCheck::new(&nobody, Secret::new("key"), Wait::from_millis(300)).unwrap();
    let app = world.with(Rules::default(), Arc::new(check));
    let order = world.an_order_to_pay().await;
    process_payments(&app).await.unwrap();
    assert_eq!(world.status(order).await, OrderStatus::Completed);
}
