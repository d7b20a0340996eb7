//! A service with parked messages, and operators at its door.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use chassis::extract::Caller;
use common::{MessageId, Region, SessionId, UserId};
use contracts::catalog::v1::StockReserved;
use contracts::topics::STOCK_RESERVED;
use contracts::{Envelope, Event};
use http::StatusCode;
use messaging::{Cause, Change, Database, Delivery, Handler, Verdict, WriteError};
use operations::{Desk, router};
use testkit::TestDatabase;
use testkit::postgres::region;
use tower::ServiceExt as _;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("tests/it/migrations");
const GROUP: &str = "applying";

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

/// Applies each message once by its inbox row; refuses those of the key `bad` for as long as told.
struct Applying {
    database: Database,
    refusing: AtomicBool,
}

#[async_trait]
impl Handler for Applying {
    async fn handle(&self, delivery: &Delivery) -> Verdict {
        let name = format!("{}/{}", delivery.event.key(), delivery.envelope.version);
        if delivery.event.key() == "bad" && self.refusing.load(Ordering::Relaxed) {
            return Verdict::Park("state-conflict: not while the test says no".to_owned());
        }
        let cause = Cause::Message { consumer: GROUP, id: delivery.envelope.id };
        let change = Change { cause, events: Vec::new(), answer: None };
        let written = self.database.commit(change, move |tx| {
            let name = name.clone();
            Box::pin(async move {
                sqlx::query("INSERT INTO applied (message) VALUES ($1)").bind(name).execute(tx).await?;
                Ok::<_, WriteError<Never>>(())
            })
        });
        if written.await.is_ok() { Verdict::Done } else { Verdict::Retry }
    }
}

struct Shop {
    db: TestDatabase,
    handler: Arc<Applying>,
    routes: Router,
}

impl Shop {
    async fn open() -> Self {
        let db = TestDatabase::create("inventory", &MIGRATIONS).await;
        let handler = Arc::new(Applying { database: db.database.clone(), refusing: AtomicBool::new(true) });
        let desk = Desk {
            service: "catalog",
            database: db.database.clone(),
            topic_prefix: String::new(),
            consumer: Some((GROUP, Arc::clone(&handler) as _)),
        };
        let routes = router(desk).layer(middleware::from_fn(introduce));
        Self { db, handler, routes }
    }

    /// Parks version `version` of `key`, as the consumer would.
    async fn park(&self, key: &str, version: i64) -> i64 {
        let topic = STOCK_RESERVED.name(region());
        let payload = Event::from(StockReserved { order_id: key.to_owned() }).encode();
        let envelope = Envelope {
            id: MessageId::derive(key, version, "stock.reserved"),
            region: region(),
            epoch: 1,
            version,
            occurred_at_ms: 1,
            source_lsn: 0,
            traceparent: None,
        };
        let headers: Vec<(String, String)> = envelope
            .to_headers("stock.reserved", "internal")
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        sqlx::query_scalar(
            "INSERT INTO parked_messages (consumer, topic, partition, \"offset\", key, payload, headers, reason)
             VALUES ($1, $2, 0, (SELECT count(*) FROM parked_messages), $3, $4, $5, 'state-conflict: for the test') RETURNING parked_id",
        )
        .bind(GROUP)
        .bind(topic)
        .bind(key.as_bytes())
        .bind(payload)
        .bind(sqlx::types::Json(headers))
        .fetch_one(&self.db.owner)
        .await
        .unwrap()
    }

    async fn applied(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT message FROM applied ORDER BY place").fetch_all(&self.db.owner).await.unwrap()
    }

    async fn written_down(&self) -> Vec<(String, String, String, String)> {
        sqlx::query_as("SELECT action, subject, reason, outcome FROM operator_actions ORDER BY action_id")
            .fetch_all(&self.db.owner)
            .await
            .unwrap()
    }

    async fn ask(&self, request: http::request::Builder, body: &str) -> (StatusCode, serde_json::Value) {
        let request = request.header("content-type", "application/json").body(Body::from(body.to_owned())).unwrap();
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1_000_000).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (StatusCode, serde_json::Value) {
        self.ask(http::Request::get(format!("/v1/admin/parked-messages/catalog{path}")).header("role", "staff"), "")
            .await
    }

    async fn redrive(&self, body: &str) -> (StatusCode, serde_json::Value) {
        let path = "/v1/admin/parked-messages/catalog/redrive";
        self.ask(http::Request::post(path).header("role", "staff"), body).await
    }
}

/// Who calls is said by a header here; the door itself is tested in chassis.
async fn introduce(mut request: Request, next: Next) -> Response {
    let role = request.headers().get("role").and_then(|value| value.to_str().ok()).unwrap_or("shopper").to_owned();
    request.extensions_mut().insert(Caller {
        user_id: UserId::from_uuid(common::ids::random()),
        session_id: SessionId::parse("s1").unwrap(),
        region: Region::ALL[0],
        roles: vec![role],
        personalisation_consent: false,
    });
    next.run(request).await
}

#[tokio::test]
async fn only_staff_looks_at_parked_messages_and_only_with_a_reason_redrives() {
    let shop = Shop::open().await;
    shop.park("o1", 1).await;
    let shopper = |request: http::request::Builder| request.header("role", "shopper");
    for request in [
        http::Request::get("/v1/admin/parked-messages/catalog"),
        http::Request::get("/v1/admin/parked-messages/catalog/1"),
        http::Request::post("/v1/admin/parked-messages/catalog/redrive"),
    ] {
        let (status, body) = shop.ask(shopper(request), r#"{"all": true, "reason": "me too"}"#).await;
        assert_eq!((status, body["code"].as_str()), (StatusCode::FORBIDDEN, Some("forbidden")));
    }
    for body in [
        r#"{"all": true}"#,
        r#"{"all": true, "reason": " "}"#,
        r#"{"reason": "which?"}"#,
        r#"{"id": 1, "key": "o1", "reason": "both"}"#,
        r#"{"key": "", "reason": "nothing"}"#,
    ] {
        assert_eq!(shop.redrive(body).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    assert_eq!((shop.applied().await, shop.written_down().await), (vec![], vec![]));
}

#[tokio::test]
async fn a_parked_message_is_listed_shown_redriven_and_all_of_it_is_written_down() {
    let shop = Shop::open().await;
    let (first, second) = (shop.park("bad", 1).await, shop.park("bad", 2).await);
    let (_, list) = shop.get("?key=bad").await;
    assert_eq!(list["items"][0]["parked_id"], first);
    assert_eq!(
        (&list["items"][0]["first_of_its_queue"], &list["items"][1]["first_of_its_queue"]),
        (&true.into(), &false.into())
    );
    let (_, shown) = shop.get(&format!("/{second}")).await;
    assert_eq!(shown["event"], serde_json::json!({"kind": "stock.reserved", "body": {"order_id": "bad"}}));
    assert_eq!(shop.get("/999").await.0, StatusCode::NOT_FOUND);

    let (status, refused) = shop.redrive(&format!(r#"{{"id": {first}, "reason": "try"}}"#)).await;
    assert_eq!((status, &refused["applied"], &refused["waiting"]), (StatusCode::OK, &0.into(), &2.into()));
    assert!(refused["stopped"][0]["reason"].as_str().unwrap().contains("the test says no"), "{refused}");
    shop.handler.refusing.store(false, Ordering::Relaxed);
    let (_, done) = shop.redrive(r#"{"key": "bad", "reason": "mended"}"#).await;
    assert_eq!((&done["applied"], &done["waiting"]), (&2.into(), &0.into()));
    assert_eq!(shop.applied().await, ["bad/1", "bad/2"]);
    let (_, empty) = shop.get("").await;
    assert_eq!(empty["items"].as_array().map(Vec::len), Some(0));
    let (_, kept) = shop.get("?state=redriven").await;
    assert_eq!(kept["items"].as_array().map(Vec::len), Some(2));
    let written = shop.written_down().await;
    let outcomes: Vec<&str> = written.iter().map(|(.., outcome)| outcome.as_str()).collect();
    assert_eq!(outcomes, ["asked", "0 applied, 2 still waiting", "asked", "2 applied, 0 still waiting"]);
    assert!(written.iter().all(|(action, ..)| action == "parked.redrive"), "{written:?}");
    assert_eq!((written[2].1.as_str(), written[2].2.as_str()), ("catalog/key/bad", "mended"));
}

#[tokio::test]
async fn a_message_is_not_redriven_before_an_earlier_one_of_its_key() {
    let shop = Shop::open().await;
    let (first, second) = (shop.park("bad", 1).await, shop.park("bad", 2).await);
    shop.handler.refusing.store(false, Ordering::Relaxed);
    let (status, refused) = shop.redrive(&format!(r#"{{"id": {second}, "reason": "this one"}}"#)).await;
    assert_eq!(
        (status, refused["code"].as_str(), shop.applied().await),
        (StatusCode::CONFLICT, Some("state-conflict"), Vec::<String>::new()),
        "order of a key: {refused}"
    );
    assert!(refused["detail"].as_str().unwrap().contains(&first.to_string()), "{refused}");
    for id in [first, second] {
        let (status, done) = shop.redrive(&format!(r#"{{"id": {id}, "reason": "in order"}}"#)).await;
        assert_eq!((status, &done["applied"]), (StatusCode::OK, &1.into()), "{done}");
    }
    assert_eq!(shop.applied().await, ["bad/1", "bad/2"]);
    let (status, _) = shop.redrive(&format!(r#"{{"id": {second}, "reason": "again"}}"#)).await;
    assert_eq!((status, shop.applied().await.len()), (StatusCode::NOT_FOUND, 2));
}

#[tokio::test]
async fn a_topic_is_redriven_whole_and_other_queues_go_on_behind_one_that_refuses() {
    let shop = Shop::open().await;
    for (key, version) in [("bad", 1), ("o1", 1), ("o2", 1), ("o1", 2)] {
        shop.park(key, version).await;
    }
    let topic = STOCK_RESERVED.name(region());
    let (_, none) = shop.redrive(r#"{"topic": "nothing.like.it", "reason": "typo"}"#).await;
    assert_eq!((&none["applied"], &none["waiting"]), (&0.into(), &0.into()));
    let (_, done) = shop.redrive(&format!(r#"{{"topic": "{topic}", "reason": "deployed"}}"#)).await;
    assert_eq!((&done["applied"], &done["waiting"]), (&3.into(), &1.into()), "{done}");
    let applied = shop.applied().await;
    let of_o1: Vec<_> = applied.iter().map(String::as_str).filter(|name| name.starts_with("o1")).collect();
    assert_eq!((of_o1, applied.len()), (vec!["o1/1", "o1/2"], 3));
    // What had its effect has it once, even when the mark was lost.
    sqlx::query("UPDATE parked_messages SET redriven_at = NULL").execute(&shop.db.owner).await.unwrap();
    shop.redrive(&format!(r#"{{"topic": "{topic}", "reason": "again"}}"#)).await;
    assert_eq!(shop.applied().await.len(), 3);
}

#[tokio::test]
async fn what_operators_did_is_never_changed() {
    let shop = Shop::open().await;
    shop.redrive(r#"{"all": true, "reason": "look"}"#).await;
    for statement in
        ["UPDATE operator_actions SET reason = 'other'", "DELETE FROM operator_actions", "TRUNCATE operator_actions"]
    {
        let error = sqlx::query(statement).execute(&shop.db.owner).await.unwrap_err();
        let constraint = error.as_database_error().and_then(|error| error.constraint());
        assert_eq!(constraint, Some("operator_actions_append_only"), "{statement}: {error}");
    }
    assert_eq!(shop.written_down().await.len(), 2);
}
