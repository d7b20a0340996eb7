//! A count of the shelves that says something else than the books, what may be said about it, and what is written down.

use std::sync::Arc;

use axum::body::Body;
use axum::{Extension, Router};
use catalog::domain::inventory::SupplyKind;
use catalog::inbound::http::router;
use catalog::outbound::audit::OperatorActions;
use catalog::usecases::App;
use catalog::usecases::ports::audit::{Act, Audit as _};
use chassis::extract::Caller;
use common::{UserId, ids};
use http::Request;
use http_body_util::BodyExt as _;
use messaging::operators;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::world::{World, app, caller, clerk, counts, created, memory_stock, new_order, receive, receive_at, row};

fn routes(app: Arc<App>, who: &Caller) -> Router {
    router(app).layer(Extension(who.clone()))
}

async fn post(routes: &Router, body: &Value) -> (u16, Value) {
    let request = Request::post("/v1/admin/stock/corrections").header("content-type", "application/json");
    let response = routes.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn correction(reference: &str, lines: Value) -> Value {
    json!({"reference": reference, "reason": "counted on Tuesday", "lines": lines})
}

#[tokio::test]
async fn a_correction_counts_once_says_why_and_who_and_the_books_still_follow() {
    let world = World::new().await;
    receive(&*world.store, "r-1", &[("A", SupplyKind::Counted, 10), ("B", SupplyKind::Serialised, 3)]).await.unwrap();
    let who = caller("warehouse");
    let routes = routes(world.app.clone(), &who);
    let body = correction("count-1", json!([{"sku": "B", "change": 2}, {"sku": "A", "change": -4}]));
    let answer =
        |repeated: bool| json!({"reference": "count-1", "lines": 2, "found": 2, "missed": 4, "repeated": repeated});
    assert_eq!(post(&routes, &body).await, (200, answer(false)));
    assert_eq!(post(&routes, &body).await, (200, answer(true)));
    assert_eq!(counts(&*world.store, "A").await, (6, 0, 0, 6));
    assert_eq!(counts(&*world.store, "B").await, (5, 0, 0, 5));
    world.audit().await;
    let moved: Vec<(String, String, i64, String)> = sqlx::query_as(
        "SELECT sku::text, kind, quantity, reason FROM stock_movements WHERE reference = 'count-1' ORDER BY sku",
    )
    .fetch_all(&world.database.owner)
    .await
    .unwrap();
    let moved: Vec<_> =
        moved.iter().map(|(sku, kind, units, why)| (sku.as_str(), kind.as_str(), *units, why.as_str())).collect();
    assert_eq!(moved, [("A", "lost", 4, "counted on Tuesday"), ("B", "found", 2, "counted on Tuesday")]);
    let mut noted = operators::latest(world.database.database.pool(), 10).await.unwrap();
    noted.retain(|act| act.action == "stock.correct");
    assert_eq!(noted.len(), 1, "a repetition is not another act: {noted:?}");
    assert_eq!(
        (noted[0].actor, noted[0].action.as_str(), noted[0].subject.as_str(), noted[0].reason.as_str()),
        (who.user_id, "stock.correct", "count-1", "counted on Tuesday")
    );
    assert_eq!(noted[0].outcome, "2 lines in rdc-a: 2 units found, 4 missed");
}

#[tokio::test]
async fn what_belongs_to_somebody_is_not_taken_off_and_a_refused_correction_changes_nothing() {
    let world = World::new().await;
    receive(&*world.store, "r-1", &[("A", SupplyKind::Counted, 5), ("B", SupplyKind::Counted, 5)]).await.unwrap();
    assert_eq!(world.deliver(&created(new_order(), &[("A", 3)])).await, messaging::Verdict::Done);
    let routes = routes(world.app.clone(), &caller("staff"));
    let too_much = correction("count-1", json!([{"sku": "A", "change": -3}, {"sku": "B", "change": 1}]));
    let (status, problem) = post(&routes, &too_much).await;
    assert_eq!((status, &problem["code"]), (409, &json!("state-conflict")));
    assert_eq!(counts(&*world.store, "A").await, (2, 3, 0, 5));
    assert_eq!(counts(&*world.store, "B").await, (5, 0, 0, 5));
    assert_eq!(world.count("SELECT count(*) FROM operator_actions WHERE action = 'stock.correct'").await, 0);
    // The reference was not used up.
    assert_eq!(post(&routes, &correction("count-1", json!([{"sku": "A", "change": -2}]))).await.0, 200);
    world.audit().await;
}

#[tokio::test]
async fn what_is_found_goes_to_those_who_wait_first() {
    let world = World::new().await;
    receive(&*world.store, "r-1", &[("A", SupplyKind::Counted, 1)]).await.unwrap();
    world.store.limit_back_orders(&super::world::sku("A"), 5, clerk()).await.unwrap();
    assert_eq!(world.deliver(&created(new_order(), &[("A", 3)])).await, messaging::Verdict::Done);
    let routes = routes(world.app.clone(), &caller("staff"));
    assert_eq!(post(&routes, &correction("count-1", json!([{"sku": "A", "change": 3}]))).await.0, 200);
    let row = row(&*world.store, "A", "rdc-a").await;
    assert_eq!((row.available, row.held, row.received, row.back_ordered), (1, 3, 4, 0));
    world.audit().await;
}

#[tokio::test]
async fn what_is_wrong_is_answered_with_its_code() {
    let store = Arc::new(memory_stock());
    receive(&*store, "r-1", &[("A", SupplyKind::Counted, 5), ("D", SupplyKind::Unlimited, 0)]).await.unwrap();
    receive_at(&*store, "fc-b", "r-2", &[("C", SupplyKind::Counted, 5)]).await;
    let routes = routes(app(store.clone()), &caller("staff"));
    let line = |change: Value| json!([{"sku": "A", "change": change}]);
    assert_eq!(post(&routes, &correction("count-1", line(json!(1)))).await.0, 200);
    let with = |key: &str, value: Value| {
        let mut body = correction("count-2", line(json!(1)));
        body[key] = value;
        body
    };
    let pointing = [
        (with("reason", json!("")), "/reason"),
        (with("reason", json!("two\nlines")), "/reason"),
        (with("reason", json!("x".repeat(501))), "/reason"),
        (with("reference", json!("../x")), "/reference"),
        (with("fulfilment_centre", json!("fc-z")), "/fulfilment_centre"),
        (with("lines", json!([])), "/lines"),
        (with("lines", line(json!(0))), "/lines/0/change"),
        (with("lines", line(json!(10_000_001))), "/lines/0/change"),
        (with("lines", line(json!(i64::MIN))), "/lines/0/change"),
        (with("lines", json!([{"sku": "A", "change": 1}, {"sku": "A", "change": 1}])), "/lines/1/sku"),
        (with("lines", json!([{"sku": "A", "change": 1}, {"sku": "X", "change": 1}])), "/lines/1/sku"),
        (with("lines", json!([{"sku": "C", "change": 1}])), "/lines/0/sku"),
        (with("lines", json!([{"sku": "$set", "change": 1}])), "/lines/0/sku"),
    ];
    for (body, pointer) in pointing {
        let (status, problem) = post(&routes, &body).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid-field")), "{body}: {problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
    }
    let coded = [
        (correction("count-1", line(json!(2))), 422, "idempotency-key-reused"),
        (correction("r-1", line(json!(1))), 422, "idempotency-key-reused"),
        (correction("count-2", json!([{"sku": "D", "change": 1}])), 409, "state-conflict"),
        (correction("count-2", line(json!(-7))), 409, "state-conflict"),
        (correction("count-2", line(json!(1.5))), 422, "invalid-field"),
        (correction("count-2", line(json!("1"))), 422, "invalid-field"),
        (with("price", json!(1)), 422, "unknown-field"),
        (json!({"reference": "count-2", "lines": line(json!(1))}), 422, "invalid-field"),
    ];
    for (body, status, code) in coded {
        let (answered, problem) = post(&routes, &body).await;
        assert_eq!((answered, problem["code"].as_str()), (status, Some(code)), "{body}: {problem}");
    }
    assert_eq!(counts(&*store, "A").await, (6, 0, 0, 6));
    for role in ["shopper", "merchandiser", "pricing", ""] {
        let routes = self::routes(app(store.clone()), &caller(role));
        assert_eq!(post(&routes, &correction("count-3", line(json!(1)))).await.0, 403, "{role}");
    }
}

#[tokio::test]
async fn the_tables_refuse_a_correction_without_a_reason() {
    let world = World::new().await;
    receive(&*world.store, "r-1", &[("A", SupplyKind::Counted, 5)]).await.unwrap();
    let insert = r#"
        INSERT INTO stock_movements (reference, sku, fulfilment_centre, kind, quantity, moved_at)
        VALUES ('r-1', 'A', 'rdc-a', 'lost', 1, now())
    "#;
    let refused = sqlx::query(insert).execute(&world.database.owner).await.unwrap_err();
    let constraint = refused.as_database_error().and_then(|error| error.constraint()).map(str::to_owned);
    assert_eq!(constraint.as_deref(), Some("stock_movements_say_why"));
}

#[tokio::test]
async fn who_said_what_came_in_and_what_may_be_promised_is_written_down_with_it() {
    let world = World::new().await;
    let who = caller("warehouse");
    let routes = routes(world.app.clone(), &who);
    let ask = async |method: &str, path: &str, body: Value| {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.body(Body::from(body.to_string())).unwrap();
        routes.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    let receipt =
        |quantity: u32| json!({"reference": "r-1", "lines": [{"sku": "A", "quantity": quantity, "kind": "counted"}]});
    // Said once, said again, and said otherwise.
    for (quantity, status) in [(5, 200), (5, 200), (6, 422)] {
        assert_eq!(ask("POST", "/v1/admin/stock/receipts", receipt(quantity)).await, status);
    }
    assert_eq!(ask("PUT", "/v1/admin/stock/A/back-order-limit", json!({"limit": 7})).await, 200);
    assert_eq!(ask("PUT", "/v1/admin/stock/X/back-order-limit", json!({"limit": 7})).await, 404);
    let noted = operators::latest(world.database.database.pool(), 10).await.unwrap();
    assert!(noted.iter().all(|act| act.actor == who.user_id), "{noted:?}");
    let acts: Vec<_> =
        noted.iter().map(|act| (act.action.as_str(), act.subject.as_str(), act.outcome.as_str())).collect();
    assert_eq!(
        acts,
        [
            ("stock.limit_back_orders", "A", "at most 7 units from rdc-a"),
            ("stock.receive", "r-1", "1 lines in rdc-a: 5 units")
        ],
        "the latest first; what was refused or said before is no act"
    );
}

#[tokio::test]
async fn an_act_is_written_down_in_the_table_of_operators() {
    let world = World::new().await;
    let audit = OperatorActions::new(world.database.database.clone());
    let by = UserId::from_uuid(ids::random());
    let act = |reason: &str| Act {
        by,
        name: "product.export",
        subject: "products".to_owned(),
        reason: reason.to_owned(),
        outcome: "all of them as csv".to_owned(),
    };
    audit.note(act("none given")).await.unwrap();
    let noted = operators::latest(world.database.database.pool(), 10).await.unwrap();
    assert_eq!((noted.len(), noted[0].actor, noted[0].action.as_str()), (1, by, "product.export"));
    assert!(audit.note(act("")).await.is_err(), "the table wants a reason");
}
