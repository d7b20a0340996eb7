//! Money that goes back, to the card or as store credit, and store credit that pays.

use common::UserId;
use serde_json::json;
use uuid::Uuid;

use super::{Back, COMPLETED, Placed, Stage, messages, money, orders, rows_come_to, written_down};
use crate::desk;
use crate::issuer::Person;
use crate::sandbox::GATEWAY_KEY;
use crate::shop::{self, HTTP, PRICE_MINOR, insist, wait_for};

/// What the first refund gives back of the price.
const PART: (&str, i64) = ("10.00", 1_000);
/// A present, and what is left of it when it has paid for one unit.
const PRESENT: (&str, i64) = ("50.00", 5_000);
const LEFT_OVER: i64 = PRESENT.1 - PRICE_MINOR;

/// Somebody whom order-payment knows: nobody else can have store credit.
async fn known_person(stage: &Stage) -> Person {
    let person = stage.sandbox.issuer.person("shopper").await;
    messages::register(stage, person.user).await;
    person
}

/// What somebody may spend.
async fn credit_of(stage: &Stage, user: UserId) -> i64 {
    sqlx::query_scalar("SELECT balance_minor FROM store_credit_balances WHERE user_id = $1")
        .bind(user.uuid())
        .fetch_one(&stage.sandbox.orders)
        .await
        .expect("whoever has store credit has a balance")
}

/// A present pays for an order, and nobody asks the gateway.
pub(super) async fn paid_by_credit(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    let shopper = known_person(stage).await;
    desk::grant(sandbox, &stage.staff, shopper.user, PRESENT.0).await;
    let order = shop::order_by_credit(sandbox, &shopper, &stage.sku).await;
    wait_for(sandbox, order, COMPLETED).await;
    assert_eq!(credit_of(stage, shopper.user).await, LEFT_OVER, "one present, spent once");
    vec![Placed::ending(order, COMPLETED)]
}

/// Part of the price goes back to the card, then the rest becomes store credit, and the unit that has left stays out.
pub(super) async fn refunded(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    let shopper = known_person(stage).await;
    let order = shop::order(sandbox, &shopper, &stage.sku, "tok_ok").await;
    wait_for(sandbox, order, COMPLETED).await;
    let part = json!({"amount": shop::money(PART.0), "to": "card", "reason": "a scratch"});
    desk::refund(sandbox, &stage.staff, order, &part).await;
    rows_come_to(
        &sandbox.orders,
        "the first refund to be done",
        "SELECT count(*) FROM refunds WHERE order_id = $1 AND state = 'DONE'",
        order.uuid(),
        1,
    )
    .await;
    let rest = json!({"to": "store_credit", "reason": "it came back"});
    desk::refund(sandbox, &stage.staff, order, &rest).await;
    // Nothing moves for it, so that the catalog has dealt with it is all there is to see.
    let told: Uuid =
        sqlx::query_scalar("SELECT message_id FROM outbox WHERE topic = 'order.refunded' AND key = $1 AND version = 2")
            .bind(order.to_string())
            .fetch_one(&sandbox.orders)
            .await
            .expect("a refund that is done is told of");
    rows_come_to(
        &sandbox.stock,
        "the catalog to hear of the refund",
        "SELECT count(*) FROM inbox WHERE message_id = $1",
        told,
        1,
    )
    .await;
    let as_credit = PRICE_MINOR - PART.1;
    assert_eq!(credit_of(stage, shopper.user).await, as_credit, "the rest, once");
    let back = Back { to_card: PART.1, as_credit, by_hand: 0 };
    vec![Placed { back, ..Placed::ending(order, COMPLETED) }]
}

/// Somebody gave a cent back at the gateway, so that the gateway refuses to give back all of it; the finding gets an owner and an
/// end.
pub(super) async fn refund_refused(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    let placed = orders::bought(stage, "tok_ok", COMPLETED).await;
    let intent = money::intent_of(stage, placed.order).await;
    let form = [("payment_intent", intent), ("amount", "1".to_owned())];
    let url = format!("{}/v1/refunds", sandbox.gateway_url);
    insist("the refund by hand", &[200], || HTTP.post(&url).bearer_auth(GATEWAY_KEY).form(&form)).await;
    let whole = json!({"to": "card", "reason": "it came back"});
    desk::refund(sandbox, &stage.staff, placed.order, &whole).await;
    rows_come_to(
        &sandbox.orders,
        "the refund to be refused",
        "SELECT count(*) FROM refunds WHERE order_id = $1 AND state = 'REFUSED'",
        placed.order.uuid(),
        1,
    )
    .await;
    let reference: String = sqlx::query_scalar(
        "SELECT reference FROM reconciliation_findings WHERE order_id = $1 AND kind = 'REFUND_REFUSED'",
    )
    .bind(placed.order.uuid())
    .fetch_one(&sandbox.orders)
    .await
    .expect("a refund that was refused is a finding");
    for (verb, action) in [("acknowledge", "finding.acknowledge"), ("resolve", "finding.resolve")] {
        desk::own(sandbox, &stage.staff, ("REFUND_REFUSED", &reference), verb).await;
        let actions = written_down(&sandbox.orders, action, &format!("REFUND_REFUSED/{reference}")).await;
        assert_eq!(actions, 1, "{action} is written down once");
    }
    vec![Placed { back: Back { by_hand: 1, ..Back::default() }, ..placed }]
}
