//! Webhooks: signed, kept once, worked off in any order, never believed without asking.

use axum::Router;
use common::{Clock as _, OrderId};
use http::StatusCode;
use order_payment::domain::{AttemptState, IntentStatus, OrderStatus};
use order_payment::usecases::begin_payment::begin_payment;
use order_payment::usecases::compensate_order::sweep_deadlines;
use order_payment::usecases::ports::{Finding, FindingKind, WebhookEnd};
use order_payment::usecases::process_payment::process_payments;
use order_payment::usecases::receive_webhook::process_webhooks;
use order_payment::usecases::reconcile::reconcile;
use serde_json::{Value, json};
use testkit::crash::permutations;

use crate::http::{Answer, SECRET, SQUARE_URL, ask, routes};
use crate::refunds::{amount, clerk, open_findings, refund};
use crate::world::{Weather, World, a_key, an_order, shopper, worlds};

fn event(id: &str, kind: &str, order: OrderId, amount: i64) -> Value {
    json!({
        "id": id, "object": "event", "type": kind, "created": 1,
        "data": {"object": {
            "id": format!("pi_{}", order.uuid().simple()), "object": "payment_intent", "status": "succeeded",
            "amount": amount, "currency": "eur", "metadata": {"order_id": order.to_string(), "attempt": "1", "region": "eu"},
        }},
    })
}

async fn send(world: &World, routes: &Router, body: &[u8]) -> Answer {
    let signature = payment_simulator::sign(SECRET, world.clock.now().timestamp(), body);
    send_signed(routes, body, &signature).await
}

async fn send_signed(routes: &Router, body: &[u8], signature: &str) -> Answer {
    let request = http::Request::post("/v1/payments/webhooks/simulator")
        .header("content-type", "application/json")
        .header("stripe-signature", signature);
    ask(routes, request, body.to_vec()).await
}

#[tokio::test]
async fn a_genuine_webhook_is_kept_once_and_hints_at_the_state() {
    for world in worlds().await {
        let routes = routes(&world);
        // The capture's answer is lost, and asking again is minutes away.
        world.gateway.forecast(&[Weather::Fine, Weather::Fine, Weather::LostAfter]);
        let id = world.an_order_to_pay().await;
        process_payments(&world.app).await.unwrap();
        assert_eq!(world.charge(id).await.state, AttemptState::Unknown);
        let body = event("evt_1", "payment_intent.succeeded", id, 4990).to_string();
        for _ in 0..3 {
            assert_eq!(send(&world, &routes, body.as_bytes()).await.status, StatusCode::OK);
        }
        assert_eq!(process_webhooks(&world.app).await.unwrap(), 1);
        process_payments(&world.app).await.unwrap();
        assert_eq!((world.status(id).await, world.ledger(id).await), (OrderStatus::Completed, 4990));
        assert_eq!(process_webhooks(&world.app).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn what_is_not_signed_by_the_gateway_is_refused_and_not_kept() {
    let world = World::in_memory();
    let routes = routes(&world);
    let id = world.an_order_to_pay().await;
    let body = event("evt_1", "payment_intent.succeeded", id, 4990).to_string();
    let now = world.clock.now().timestamp();
    let sign = |secret: &str, at: i64| payment_simulator::sign(secret, at, body.as_bytes());
    let genuine = sign(SECRET, now);
    let table = [
        (sign("stolen", now), 401),
        (String::new(), 400),
        ("t=soon,v1=00".to_owned(), 400),
        ("t=9223372036854775808,v1=00".to_owned(), 400),
        (sign(SECRET, now - 301), 401),
        (sign(SECRET, now + 301), 401),
        (genuine.to_uppercase().replace("T=", "t=").replace("V1=", "v1="), 401),
        (genuine[..genuine.len() - 1].to_owned(), 401),
    ];
    for (signature, status) in table {
        assert_eq!(send_signed(&routes, body.as_bytes(), &signature).await.status.as_u16(), status, "{signature}");
    }
    for altered in
        [body.replace("4990", "4991"), format!("{body}\n"), format!("\u{feff}{body}"), body.replace(':', ": ")]
    {
        assert_eq!(send_signed(&routes, altered.as_bytes(), &genuine).await.status.as_u16(), 401, "{altered}");
    }
    let unsigned = http::Request::post("/v1/payments/webhooks/simulator").header("content-type", "application/json");
    assert_eq!(ask(&routes, unsigned, body.clone()).await.status.as_u16(), 401);
    let elsewhere = http::Request::post("/v1/payments/webhooks/another")
        .header("content-type", "application/json")
        .header("stripe-signature", &genuine);
    assert_eq!(ask(&routes, elsewhere, body.clone()).await.status.as_u16(), 404);
    let xml = http::Request::post("/v1/payments/webhooks/simulator")
        .header("content-type", "application/xml")
        .header("stripe-signature", &genuine);
    assert_eq!(ask(&routes, xml, body.clone()).await.status.as_u16(), 415);
    let huge = http::Request::post("/v1/payments/webhooks/simulator")
        .header("content-type", "application/json")
        .header("stripe-signature", &genuine);
    assert_eq!(ask(&routes, huge, vec![b' '; 5 * 1024 * 1024]).await.status.as_u16(), 413);
    assert!(world.books().webhooks.is_empty());
    let rotated = payment_simulator::sign("whsec_old", now, body.as_bytes());
    assert_eq!(send_signed(&routes, body.as_bytes(), &rotated).await.status.as_u16(), 200);
}

#[tokio::test]
async fn signed_nonsense_is_refused_and_foreign_orders_are_not_kept() {
    let world = World::in_memory();
    let routes = routes(&world);
    let id = world.an_order_to_pay().await;
    let good = event("evt_1", "payment_intent.succeeded", id, 4990).to_string();
    let mut foreign: Value = serde_json::from_str(&good).unwrap();
    foreign["data"]["object"]["metadata"]["region"] = json!("us");
    let table = [
        ("<xml/>".to_owned(), 400),
        (good.replacen("{", "{\"id\":\"evt_2\",", 1), 400),
        ("[".repeat(1000), 400),
        ("{}".to_owned(), 422),
        (foreign.to_string(), 404),
    ];
    for (body, status) in table {
        assert_eq!(send(&world, &routes, body.as_bytes()).await.status.as_u16(), status, "{body:.200}");
    }
    assert!(world.books().webhooks.is_empty());
}

#[tokio::test]
async fn one_event_id_with_two_contents_has_the_effect_of_the_first_and_is_noted() {
    for world in worlds().await {
        let routes = routes(&world);
        let id = world.an_order_to_pay().await;
        let first = event("evt_1", "payment_intent.succeeded", id, 4990).to_string();
        let second = event("evt_1", "payment_intent.canceled", id, 4990).to_string();
        for body in [&first, &second, &first] {
            assert_eq!(send(&world, &routes, body.as_bytes()).await.status, StatusCode::OK);
        }
        assert_eq!(process_webhooks(&world.app).await.unwrap(), 1);
        world.pay().await;
        assert_eq!(world.ledger(id).await, 4990);
        if let Some(database) = &world.database {
            assert_eq!((database.count("webhooks").await, database.count("reconciliation_findings").await), (1, 1));
        }
    }
}

#[tokio::test]
async fn an_event_about_another_amount_changes_nothing_but_is_noted() {
    for world in worlds().await {
        let routes = routes(&world);
        let id = world.an_order_to_pay().await;
        let before = world.charge(id).await;
        send(&world, &routes, event("evt_1", "payment_intent.succeeded", id, 1).to_string().as_bytes()).await;
        process_webhooks(&world.app).await.unwrap();
        assert_eq!(world.charge(id).await, before);
        // The books agree among themselves. That somebody was told something else stays a matter for a person.
        world.pay().await;
        assert_eq!(reconcile(&world.app).await.unwrap(), []);
        match &world.database {
            Some(database) => {
                let open: Vec<(String, String)> =
                    sqlx::query_as("SELECT kind, owner FROM reconciliation_findings WHERE resolved_at IS NULL")
                        .fetch_all(&database.owner)
                        .await
                        .unwrap();
                assert_eq!(open, [(FindingKind::WebhookDiffers.code().to_owned(), "PERSON".to_owned())]);
            }
            None => {
                let books = world.books();
                let open: Vec<_> = books.findings.values().filter(|(_, open)| *open).collect();
                let is_kept = matches!(open[..], [(Finding { kind: FindingKind::WebhookDiffers, .. }, _)]);
                assert!(is_kept, "open for a person: {open:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_webhook_that_fails_does_not_keep_those_behind_it_waiting() {
    let world = World::in_memory();
    let routes = routes(&world);
    // Money came late for an order that cannot be read any more.
    world.gateway.forecast(&[Weather::Fine, Weather::Fine, Weather::Refused]);
    let late = world.an_order_to_pay().await;
    process_payments(&world.app).await.unwrap();
    world.clock.advance(chrono::Duration::minutes(16));
    sweep_deadlines(&world.app).await.unwrap();
    world.pay().await;
    world.gateway.force(late, IntentStatus::Succeeded);
    let gone = world.books().orders.remove(&late).unwrap();
    // Behind it, a hint at a capture whose answer was lost.
    world.gateway.forecast(&[Weather::Fine, Weather::Fine, Weather::LostAfter]);
    let behind = world.an_order_to_pay().await;
    process_payments(&world.app).await.unwrap();
    for (name, order) in [("evt_1", late), ("evt_2", behind)] {
        send(&world, &routes, event(name, "payment_intent.succeeded", order, 4990).to_string().as_bytes()).await;
    }
    assert!(process_webhooks(&world.app).await.is_err(), "the failure is told");
    process_payments(&world.app).await.unwrap();
    assert_eq!(world.status(behind).await, OrderStatus::Completed);
    assert_eq!(process_webhooks(&world.app).await.unwrap(), 0, "the one that failed has its pause");
    // However long it takes to mend the order, the webhook is not given up.
    world.clock.advance(chrono::Duration::days(4));
    assert!(process_webhooks(&world.app).await.is_err());
    world.books().orders.insert(late, gone);
    world.clock.advance(chrono::Duration::hours(1));
    assert_eq!(process_webhooks(&world.app).await.unwrap(), 1);
    assert_eq!(world.ledger(late).await, 4990);
}

#[tokio::test]
async fn an_event_that_comes_before_its_order_waits_for_it() {
    let world = World::in_memory();
    let routes = routes(&world);
    let (me, key) = (shopper(), a_key());
    let id = OrderId::derive(crate::world::REGION, me.user, &key);
    send(&world, &routes, event("evt_1", "payment_intent.succeeded", id, 4990).to_string().as_bytes()).await;
    assert_eq!(process_webhooks(&world.app).await.unwrap(), 1);
    assert_eq!(process_webhooks(&world.app).await.unwrap(), 0, "it waits");
    world.place(me, &key, an_order()).await.unwrap();
    begin_payment(&world.app, world.message(), id).await.unwrap();
    world.clock.advance(chrono::Duration::minutes(5));
    assert_eq!(process_webhooks(&world.app).await.unwrap(), 1);
    assert!(world.books().webhooks.values().all(|(_, end, _)| *end == Some(WebhookEnd::Hinted)));
}

#[tokio::test]
async fn an_event_that_never_finds_its_order_is_given_up_after_three_days() {
    let world = World::in_memory();
    let routes = routes(&world);
    send(
        &world,
        &routes,
        event("evt_1", "payment_intent.succeeded", common::ids::random().into(), 4990).to_string().as_bytes(),
    )
    .await;
    process_webhooks(&world.app).await.unwrap();
    world.clock.advance(chrono::Duration::days(4));
    process_webhooks(&world.app).await.unwrap();
    assert!(world.books().webhooks.values().all(|(_, end, _)| *end == Some(WebhookEnd::GaveUp)));
}

#[tokio::test]
async fn any_order_of_events_ends_in_the_same_state() {
    let kinds = [
        "payment_intent.amount_capturable_updated",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "payment_intent.canceled",
    ];
    for sequence in permutations(&kinds) {
        let world = World::in_memory();
        let routes = routes(&world);
        let id = world.an_order_to_pay().await;
        for (number, kind) in sequence.iter().enumerate() {
            let body = event(&format!("evt_{number}"), kind, id, 4990).to_string();
            send(&world, &routes, body.as_bytes()).await;
            send(&world, &routes, body.as_bytes()).await;
            process_webhooks(&world.app).await.unwrap();
            process_payments(&world.app).await.unwrap();
        }
        world.pay().await;
        assert_eq!(
            (world.status(id).await, world.ledger(id).await, world.gateway.net(id)),
            (OrderStatus::Completed, 4990, 4990),
            "{sequence:?}"
        );
    }
}

#[tokio::test]
async fn a_late_success_told_by_a_webhook_is_sent_back() {
    for world in worlds().await {
        let routes = routes(&world);
        world.gateway.forecast(&[Weather::Fine, Weather::Fine, Weather::Refused]);
        let id = world.an_order_to_pay().await;
        process_payments(&world.app).await.unwrap();
        world.clock.advance(chrono::Duration::minutes(16));
        sweep_deadlines(&world.app).await.unwrap();
        world.pay().await;
        assert_eq!(world.charge(id).await.state, AttemptState::Voided);
        // Said, but not so: the gateway is asked, and nothing happens.
        send(&world, &routes, event("evt_1", "payment_intent.succeeded", id, 4990).to_string().as_bytes()).await;
        process_webhooks(&world.app).await.unwrap();
        assert_eq!((world.charge(id).await.state, world.ledger(id).await), (AttemptState::Voided, 0));
        // Said, and so, and twice in one round.
        world.gateway.force(id, IntentStatus::Succeeded);
        for name in ["evt_2", "evt_3"] {
            send(&world, &routes, event(name, "payment_intent.succeeded", id, 4990).to_string().as_bytes()).await;
        }
        assert_eq!(process_webhooks(&world.app).await.unwrap(), 2);
        assert_eq!(process_webhooks(&world.app).await.unwrap(), 0, "the second sees what the first has done");
        assert_eq!(world.ledger(id).await, 4990);
        world.pay().await;
        assert_eq!((world.ledger(id).await, world.gateway.net(id)), (0, 0));
    }
}

#[tokio::test]
async fn the_second_gateways_webhooks_are_verified_over_its_url_and_hint_at_the_state() {
    let world = World::in_memory();
    let routes = routes(&world);
    world.gateway.forecast(&[Weather::Fine, Weather::Fine, Weather::LostAfter]);
    let id = world.an_order_to_pay().await;
    process_payments(&world.app).await.unwrap();
    let body = json!({
        "event_id": "evt_sq", "type": "payment.updated",
        "data": {"type": "payment", "object": {"payment": {
            "id": format!("pi_{}", id.uuid().simple()), "status": "COMPLETED", "reference_id": id.to_string(),
            "amount_money": {"amount": 4990, "currency": "EUR"},
        }}},
    })
    .to_string();
    let send = async |signature: String| {
        let request = http::Request::post("/v1/payments/webhooks/square")
            .header("content-type", "application/json")
            .header("x-square-hmacsha256-signature", signature);
        ask(&routes, request, body.clone()).await.status.as_u16()
    };
    let sign = |secret: &str, url: &str| payment_simulator::sign_square(secret, url, body.as_bytes());
    for forged in [
        sign("stolen", SQUARE_URL),
        sign(SECRET, "https://shop.example/v1/payments/webhooks/simulator"),
        String::new(),
        payment_simulator::sign(SECRET, world.clock.now().timestamp(), body.as_bytes()),
    ] {
        assert_eq!(send(forged).await, 401);
    }
    assert!(world.books().webhooks.is_empty());
    for secret in [SECRET, "whsec_old"] {
        assert_eq!(send(sign(secret, SQUARE_URL)).await, 200);
    }
    assert_eq!(process_webhooks(&world.app).await.unwrap(), 1, "one event, one effect");
    process_payments(&world.app).await.unwrap();
    assert_eq!((world.status(id).await, world.ledger(id).await), (OrderStatus::Completed, 4990));
}

#[tokio::test]
async fn a_thousand_replays_have_one_effect() {
    for world in worlds().await {
        let routes = routes(&world);
        let id = world.an_order_to_pay().await;
        let body = event("evt_1", "payment_intent.succeeded", id, 4990).to_string();
        // GW3; PostgreSQL gets fewer, each is a transaction.
        for _ in 0..if world.database.is_some() { 100 } else { 1_000 } {
            assert_eq!(send(&world, &routes, body.as_bytes()).await.status, StatusCode::OK);
        }
        assert_eq!(process_webhooks(&world.app).await.unwrap(), 1);
        world.pay().await;
        assert_eq!((world.ledger(id).await, world.gateway.net(id)), (4990, 4990));
    }
}

/// Event ids of what is kept, sorted.
pub async fn kept_webhooks(world: &World) -> Vec<String> {
    let mut kept: Vec<String> = match &world.database {
        Some(database) => sqlx::query_scalar("SELECT event_id FROM webhooks").fetch_all(&database.owner).await.unwrap(),
        None => world.books().webhooks.keys().map(|(_, event)| event.clone()).collect(),
    };
    kept.sort();
    kept
}

/// All that is kept came 31 days earlier.
async fn grow_old(world: &World) {
    let Some(database) = &world.database else {
        world.books().webhooks.values_mut().for_each(|(hook, ..)| hook.received_at -= chrono::Duration::days(31));
        return;
    };
    let older = sqlx::query("UPDATE webhooks SET received_at = received_at - INTERVAL '31 days'");
    older.execute(&database.owner).await.unwrap();
}

#[tokio::test]
async fn a_webhook_that_comes_again_after_it_was_forgotten_does_no_harm() {
    for world in worlds().await {
        let routes = routes(&world);
        let id = world.an_order_to_pay().await;
        world.pay().await;
        let tell = async |name: &str| {
            let body = event(name, "payment_intent.succeeded", id, 4990).to_string();
            assert_eq!(send(&world, &routes, body.as_bytes()).await.status, StatusCode::OK);
            assert_eq!(process_webhooks(&world.app).await.unwrap(), 1, "{name}");
        };
        tell("evt_1").await;
        grow_old(&world).await;
        tell("evt_2").await;
        assert_eq!(kept_webhooks(&world).await, ["evt_2"]);
        tell("evt_1").await;
        world.pay().await;
        assert_eq!(
            (world.status(id).await, world.ledger(id).await, world.gateway.net(id)),
            (OrderStatus::Completed, 4990, 4990)
        );
        assert_eq!(kept_webhooks(&world).await, ["evt_1", "evt_2"]);
    }
}

#[tokio::test]
async fn events_that_cannot_be_true_yet_move_nothing_backwards() {
    // GW4: a refund before the capture, a decline and a cancel after it.
    for world in worlds().await {
        let routes = routes(&world);
        let id = world.an_order_to_pay().await;
        let tell = async |number: u32, kind: &str| {
            let body = event(&format!("evt_{number}"), kind, id, 4990).to_string();
            assert_eq!(send(&world, &routes, body.as_bytes()).await.status, StatusCode::OK);
            process_webhooks(&world.app).await.unwrap();
        };
        tell(1, "charge.refunded").await;
        assert_eq!(world.ledger(id).await, 0);
        world.pay().await;
        tell(2, "payment_intent.payment_failed").await;
        tell(3, "payment_intent.canceled").await;
        tell(4, "charge.refunded").await;
        world.pay().await;
        assert_eq!(
            (world.status(id).await, world.charge(id).await.state, world.ledger(id).await),
            (OrderStatus::Completed, AttemptState::Captured, 4990)
        );
    }
}

#[tokio::test]
async fn an_event_in_another_currency_changes_nothing_but_is_noted() {
    for world in worlds().await {
        let routes = routes(&world);
        let id = world.an_order_to_pay().await;
        let before = world.charge(id).await;
        let body = event("evt_1", "payment_intent.succeeded", id, 4990).to_string().replace("\"eur\"", "\"usd\"");
        assert_eq!(send(&world, &routes, body.as_bytes()).await.status, StatusCode::OK);
        process_webhooks(&world.app).await.unwrap();
        assert_eq!(world.charge(id).await, before);
    }
}

#[tokio::test]
async fn a_dispute_about_an_order_nobody_knows_is_kept_and_becomes_a_matter_for_a_person() {
    for world in worlds().await {
        let routes = routes(&world);
        let body = event("evt_1", "charge.dispute.created", common::ids::random().into(), 4990).to_string();
        assert_eq!(send(&world, &routes, body.as_bytes()).await.status, StatusCode::OK);
        process_webhooks(&world.app).await.unwrap();
        world.clock.advance(chrono::Duration::days(4));
        process_webhooks(&world.app).await.unwrap();
        let found = FindingKind::WebhookWithoutOrder;
        match &world.database {
            Some(database) => {
                let open: (String, String) =
                    sqlx::query_as("SELECT kind, owner FROM reconciliation_findings WHERE resolved_at IS NULL")
                        .fetch_one(&database.owner)
                        .await
                        .unwrap();
                assert_eq!(open, (found.code().to_owned(), "PERSON".to_owned()));
            }
            None => assert!(world.books().findings.contains_key(&(found, "evt_1".to_owned()))),
        }
    }
}

/// A refund of `minor`, as the gateway shows it; its amount is its own and not that of the charge.
fn refund_event(id: &str, kind: &str, status: &str, order: OrderId, minor: i64) -> Value {
    json!({
        "id": id, "object": "event", "type": kind, "created": 1,
        "data": {"object": {
            "id": "re_1", "object": "refund", "status": status, "amount": minor, "currency": "eur", "charge": "ch_1",
            "payment_intent": format!("pi_{}", order.uuid().simple()),
            "metadata": {"order_id": order.to_string(), "attempt": "2", "region": "eu"},
        }},
    })
}

#[tokio::test]
async fn an_event_about_a_part_that_goes_back_is_no_difference_and_hints_at_the_refund() {
    for world in worlds().await {
        let routes = routes(&world);
        let told =
            [("refund.created", "succeeded"), ("charge.refund.updated", "succeeded"), ("refund.updated", "pending")];
        for (number, (kind, status)) in told.into_iter().enumerate() {
            let id = world.an_order_to_pay().await;
            world.pay().await;
            // The refund's answer is lost, and asking again is not due.
            world.gateway.forecast(&[Weather::LostAfter]);
            refund(&world, clerk(), id, amount("10.00")).await.unwrap();
            process_payments(&world.app).await.unwrap();
            process_payments(&world.app).await.unwrap();
            assert_eq!(world.ledger(id).await, 4990, "{kind}");
            let body = refund_event(&format!("evt_{number}"), kind, status, id, 1000).to_string();
            assert_eq!(send(&world, &routes, body.as_bytes()).await.status, StatusCode::OK);
            assert_eq!(process_webhooks(&world.app).await.unwrap(), 1);
            process_payments(&world.app).await.unwrap();
            assert_eq!((world.ledger(id).await, world.gateway.net(id)), (3990, 3990), "{kind}");
            assert!(open_findings(&world).await.is_empty(), "{kind}");
        }
    }
}

#[tokio::test]
async fn a_refund_that_fails_after_it_was_given_is_a_matter_for_a_person() {
    for world in worlds().await {
        let routes = routes(&world);
        let told = [("refund.failed", "failed"), ("refund.updated", "canceled"), ("charge.refund.updated", "failed")];
        for (number, (kind, status)) in told.into_iter().enumerate() {
            let id = world.an_order_to_pay().await;
            world.pay().await;
            refund(&world, clerk(), id, amount("49.90")).await.unwrap();
            world.pay().await;
            assert_eq!(world.ledger(id).await, 0);
            // The amount is that of the charge. Said twice by two events, it is one thing to look after.
            for again in 0..2 {
                let body = refund_event(&format!("evt_{number}_{again}"), kind, status, id, 4990).to_string();
                assert_eq!(send(&world, &routes, body.as_bytes()).await.status, StatusCode::OK);
                assert_eq!(process_webhooks(&world.app).await.unwrap(), 1);
            }
            assert_eq!(open_findings(&world).await, vec![FindingKind::RefundRefused.code(); number + 1], "{kind}");
            assert_eq!(world.ledger(id).await, 0, "a webhook moves nothing");
        }
        // The books agree among themselves; a look at them does not close it.
        world.clock.advance(chrono::Duration::minutes(5));
        reconcile(&world.app).await.unwrap();
        assert_eq!(open_findings(&world).await.len(), 3);
    }
}

#[tokio::test]
async fn without_a_durable_row_there_is_no_yes() {
    // GW8 (b): the gateway repeats what was not answered with 2xx.
    let world = World::in_postgres().await;
    let routes = routes(&world);
    let id = world.an_order_to_pay().await;
    world.database.as_ref().unwrap().database.pool().close().await;
    let body = event("evt_1", "payment_intent.succeeded", id, 4990).to_string();
    assert_eq!(send(&world, &routes, body.as_bytes()).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.database.as_ref().unwrap().count("webhooks").await, 0);
}
