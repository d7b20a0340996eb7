//! What operators see and do: over HTTP, on PostgreSQL, written down.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use chassis::extract::Caller;
use chrono::Duration;
use common::{OrderId, SessionId, UserId, ids};
use http::StatusCode;
use order_payment::domain::{Call, IntentStatus, OrderStatus};
use order_payment::inbound::http::{Admin, admin_router};
use order_payment::outbound::postgres::PostgresDesk;
use order_payment::usecases::process_payment::process_payments;
use serde_json::{Value, json};

use crate::http::ask;
use crate::world::{REGION, Weather, World, a_key, an_order, shopper};

struct Office {
    world: World,
    routes: Router,
}

impl Office {
    async fn open() -> Self {
        let world = World::in_postgres().await;
        let database = world.database.as_ref().unwrap().database.clone();
        let admin = Admin { app: Arc::clone(&world.app), desk: Arc::new(PostgresDesk::new(database)) };
        Self { routes: admin_router(admin).layer(middleware::from_fn(introduce)), world }
    }

    async fn get(&self, path: &str) -> Value {
        let answer = ask(&self.routes, http::Request::get(path).header("role", "staff"), "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.bytes));
        answer.json()
    }

    async fn post(&self, path: &str) -> (StatusCode, Value) {
        let request = http::Request::post(path).header("role", "staff").header("content-type", "application/json");
        let answer = ask(&self.routes, request, json!({"reason": "for the test"}).to_string()).await;
        (answer.status, answer.json())
    }

    async fn act(&self, order: OrderId, verb: &str) -> (StatusCode, Value) {
        self.post(&format!("/v1/admin/sagas/{order}/{verb}")).await
    }

    /// An order that waits for a gateway which lost the confirmation.
    async fn an_order_in_doubt(&self, weather: Weather) -> OrderId {
        let order = self.world.an_order_to_pay().await;
        self.world.gateway.forecast(&[Weather::Fine, weather]);
        process_payments(&self.world.app).await.unwrap();
        assert_eq!(self.world.charge(order).await.state.code(), "UNKNOWN");
        order
    }

    async fn written_down(&self, subject: impl ToString) -> Vec<(String, String, String)> {
        sqlx::query_as("SELECT action, reason, outcome FROM operator_actions WHERE subject = $1 ORDER BY action_id")
            .bind(subject.to_string())
            .fetch_all(&self.world.database.as_ref().unwrap().owner)
            .await
            .unwrap()
    }

    async fn execute(&self, statement: &'static str) {
        sqlx::raw_sql(statement).execute(&self.world.database.as_ref().unwrap().owner).await.unwrap();
    }
}

/// Who calls is said by a header here; the door itself is tested in chassis. One person, so that cursors stay good.
async fn introduce(mut request: Request, next: Next) -> Response {
    let role = request.headers().get("role").and_then(|value| value.to_str().ok()).unwrap_or("shopper").to_owned();
    request.extensions_mut().insert(Caller {
        user_id: UserId::from_uuid(uuid::Uuid::from_u128(77)),
        session_id: SessionId::parse("s1").unwrap(),
        region: REGION,
        roles: vec![role],
        personalisation_consent: false,
    });
    next.run(request).await
}

#[tokio::test]
async fn every_door_of_the_office_is_for_staff_only() {
    let office = Office::open().await;
    let order = office.world.an_order_to_pay().await;
    let id = ids::random();
    for (method, path) in [
        ("GET", "/v1/admin/sagas".to_owned()),
        ("GET", format!("/v1/admin/sagas/{order}")),
        ("POST", format!("/v1/admin/sagas/{order}/retry")),
        ("POST", format!("/v1/admin/sagas/{order}/compensate")),
        ("GET", "/v1/admin/reconciliation".to_owned()),
        ("POST", format!("/v1/admin/reconciliation/findings/STATE_DIFFERS/{id}/acknowledge")),
        ("POST", format!("/v1/admin/reconciliation/findings/STATE_DIFFERS/{id}/resolve")),
    ] {
        let request = http::Request::builder().method(method).uri(&path).header("content-type", "application/json");
        let answer = ask(&office.routes, request, json!({"reason": "let me"}).to_string()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
    }
    assert_eq!(office.world.status(order).await, OrderStatus::PaymentPending);
    let unknown = OrderId::from_uuid(id);
    assert_eq!(office.act(unknown, "retry").await.0, StatusCode::NOT_FOUND);
    assert_eq!(office.act(unknown, "compensate").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_stuck_saga_is_listed_within_a_minute_retried_and_completes() {
    let office = Office::open().await;
    let world = &office.world;
    let order = office.an_order_in_doubt(Weather::LostBefore).await;
    let stuck = "/v1/admin/sagas?stuck=true";
    assert_eq!(office.get(stuck).await["items"], json!([]), "it has only just moved");
    world.clock.advance(Duration::seconds(60));
    let listed = office.get(stuck).await;
    assert_eq!(listed["items"][0]["order_id"], order.to_string(), "{listed}");
    assert_eq!(
        (&listed["items"][0]["waits_for"], &listed["items"][0]["attempt"]["state"]),
        (&json!("gateway"), &json!("UNKNOWN"))
    );
    assert_eq!(office.get("/v1/admin/sagas?older_s=3600").await["items"], json!([]));

    // Its next look would be later; the operator does not wait for it.
    sqlx::query("UPDATE payment_attempts SET due_at = due_at + interval '1 hour'")
        .execute(&world.database.as_ref().unwrap().owner)
        .await
        .unwrap();
    assert_eq!(process_payments(&world.app).await.unwrap(), 0);
    let (status, did) = office.act(order, "retry").await;
    assert_eq!((status, &did["did"]), (StatusCode::OK, &json!("made_due")), "{did}");
    assert_eq!(process_payments(&world.app).await.unwrap(), 1);
    assert_eq!(world.status(order).await, OrderStatus::Completed);
    assert_eq!(office.get(stuck).await["items"], json!([]));
    let written = office.written_down(order).await;
    assert_eq!(written, [("saga.retry".to_owned(), "for the test".to_owned(), "attempt 1 is due now".to_owned())]);
}

#[tokio::test]
async fn a_retry_tells_the_last_event_again_and_says_when_there_is_nothing_to_do() {
    let office = Office::open().await;
    let order = office.world.place(shopper(), &a_key(), an_order()).await.unwrap().order;
    let (_, did) = office.act(order, "retry").await;
    assert_eq!(did["did"], "nothing_to_do", "its event has not even left: {did}");
    assert_eq!(office.written_down(order).await, []);
    office.execute("UPDATE outbox SET published_at = now()").await;
    let (_, did) = office.act(order, "retry").await;
    assert_eq!(did["did"], "told_again", "{did}");
    let file = office.get(&format!("/v1/admin/sagas/{order}")).await;
    assert_eq!((&file["outbox"][0]["published_at"], &file["waits_for"]), (&Value::Null, &json!("relay")), "{file}");
    assert_eq!(file["actions"][0]["outcome"], "order.created is published again");
}

#[tokio::test]
async fn a_file_holds_everything_of_a_saga_and_nothing_of_a_person() {
    let office = Office::open().await;
    let buyer = shopper();
    let order = office.world.place(buyer, &a_key(), an_order()).await.unwrap().order;
    order_payment::usecases::begin_payment::begin_payment(&office.world.app, office.world.message(), order)
        .await
        .unwrap();
    office.world.pay().await;
    let file = office.get(&format!("/v1/admin/sagas/{order}")).await;
    let count = |name: &str| file[name].as_array().map(Vec::len);
    assert_eq!(
        (count("history"), count("attempts"), count("ledger"), count("outbox")),
        (Some(3), Some(1), Some(2), Some(3)),
        "{file}"
    );
    assert_eq!((&file["status"], &file["attempts"][0]["state"]), (&json!("COMPLETED"), &json!("CAPTURED")));
    let list = office.get("/v1/admin/sagas?status=COMPLETED").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
    for text in [file.to_string(), list.to_string()] {
        for personal in ["Ada", "Lovelace", "Zeil", "Frankfurt", "60313", "tok_ok", &buyer.user.to_string()] {
            assert!(!text.contains(personal), "{personal} is in {text}");
        }
    }
    let bad = ask(&office.routes, http::Request::get("/v1/admin/sagas?status=LOST").header("role", "staff"), "").await;
    assert_eq!(bad.json()["errors"][0]["pointer"], "/status");
}

#[tokio::test]
async fn a_list_of_sagas_goes_on_where_a_page_ended() {
    let office = Office::open().await;
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.push(office.world.an_order_to_pay().await.to_string());
        office.world.clock.advance(Duration::seconds(1));
    }
    office.world.clock.advance(Duration::minutes(2));
    for (path, expected) in [
        ("/v1/admin/sagas?limit=2".to_owned(), placed.iter().rev().cloned().collect::<Vec<_>>()),
        ("/v1/admin/sagas?limit=2&stuck=true".to_owned(), placed.clone()),
    ] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        // Three pages and the empty end.
        for _ in 0..4 {
            let page = office.get(&format!("{path}{cursor}")).await;
            seen.extend(
                page["items"].as_array().unwrap().iter().map(|item| item["order_id"].as_str().unwrap().to_owned()),
            );
            match page["page"]["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, expected, "{path}");
    }
}

#[tokio::test]
async fn an_order_that_has_not_begun_to_pay_is_compensated_at_once() {
    let office = Office::open().await;
    let order = office.world.place(shopper(), &a_key(), an_order()).await.unwrap().order;
    let (status, did) = office.act(order, "compensate").await;
    assert_eq!((status, &did["did"]), (StatusCode::OK, &json!("compensated")), "{did}");
    assert_eq!(office.world.status(order).await, OrderStatus::Compensated);
    assert_eq!(office.world.rows_of("outbox", "topic", "order.compensated").await, 1);
    assert_eq!(office.act(order, "compensate").await.1["did"], "already");
    let written = office.written_down(order).await;
    assert_eq!(written, [("saga.compensate".to_owned(), "for the test".to_owned(), "compensated".to_owned())]);
}

#[tokio::test]
async fn compensating_never_passes_the_gateway() {
    let office = Office::open().await;
    let world = &office.world;
    // Whether the confirmation arrived, nobody knows: the operator's wish is stored, not carried out.
    let order = office.an_order_in_doubt(Weather::LostAfter).await;
    let (status, did) = office.act(order, "compensate").await;
    assert_eq!((status, &did["did"]), (StatusCode::OK, &json!("asked")), "{did}");
    assert_eq!(
        world.status(order).await,
        OrderStatus::PaymentPending,
        "an unknown payment is not ended by an operator"
    );
    assert_eq!(office.act(order, "compensate").await.1["did"], "already");
    let file = office.get(&format!("/v1/admin/sagas/{order}")).await;
    assert_eq!(file["waits_for"], "cancel");
    world.pay().await;
    assert_eq!(world.status(order).await, OrderStatus::Compensated);
    assert!(world.gateway.calls.lock().unwrap().contains(&Call::Cancel));
    assert_eq!((world.gateway.net(order), world.ledger(order).await), (0, 0));

    // The money was taken before the cancel came: the sale stands, and the wish comes to nothing.
    let sold = office.an_order_in_doubt(Weather::LostAfter).await;
    assert_eq!(office.act(sold, "compensate").await.1["did"], "asked");
    world.gateway.force(sold, IntentStatus::Succeeded);
    world.pay().await;
    assert_eq!(world.status(sold).await, OrderStatus::Completed);
    assert_eq!((world.gateway.net(sold), world.ledger(sold).await), (4990, 4990));
    let (status, refused) = office.act(sold, "compensate").await;
    assert_eq!((status, refused["code"].as_str()), (StatusCode::CONFLICT, Some("state-conflict")));
    assert_eq!(office.written_down(sold).await.len(), 1, "what was refused was not done");
}
