//! Money: charged late, contradicted, let go of, sealed, settled, and taken for no order of ours.

use chrono::{Days, Utc};
use common::{OrderId, ids};
use messaging::crash::Boundary;
use serde_json::{Value, json};
use testkit::postgres::region;
use testkit::wait::until;

use super::{COMPENSATED, COMPLETED, PATIENCE, Placed, Stage, named_rows_come_to, orders, rows_come_to};
use crate::fate::{End, Fate};
use crate::sandbox::{GATEWAY_KEY, Role, WEBHOOK_SECRET};
use crate::shop::{self, HTTP, PRICE_MINOR, insist, wait_for};
use crate::{books, owner};

/// The intent of an order's charge.
pub(super) async fn intent_of(stage: &Stage, order: OrderId) -> String {
    sqlx::query_scalar("SELECT intent_id FROM payment_attempts WHERE order_id = $1 AND kind = 'CHARGE'")
        .bind(order.uuid())
        .fetch_one(&stage.sandbox.orders)
        .await
        .expect("a completed order has an intent")
}

/// The worker stands still between the intent's commit and the next step. Meanwhile the shopper cancels and the gateway goes
/// away, so that the worker gives the payment up without a word from it; then somebody's late request charges the intent.
pub(super) async fn charged_late(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    let worker = sandbox.of(Role::OrderWork);
    let hold = worker.program.folder.hold();
    std::fs::write(&hold, "").expect("the hold can be written");
    worker.decree(&Fate { point: Boundary::PaymentCreated.after().to_owned(), passage: 1, end: End::Pause });
    let order = shop::order(sandbox, &stage.shopper, &stage.sku, "tok_ok").await;
    let intent = until("the intent to be stored", PATIENCE, async || {
        let intent: Option<Option<String>> =
            sqlx::query_scalar("SELECT intent_id FROM payment_attempts WHERE order_id = $1")
                .bind(order.uuid())
                .fetch_optional(&sandbox.orders)
                .await
                .map_err(|error| error.to_string())?;
        intent.flatten().ok_or_else(|| "no intent yet".to_owned())
    })
    .await;
    shop::cancel(sandbox, &stage.shopper, order).await;
    sandbox.close_gateway().await;
    let _ = std::fs::remove_file(&hold);
    wait_for(sandbox, order, COMPENSATED).await;
    sandbox.open_gateway().await;
    for step in ["confirm", "capture"] {
        let url = format!("{}/v1/payment_intents/{intent}/{step}", sandbox.gateway_url);
        insist("the late charge", &[200], || HTTP.post(&url).bearer_auth(GATEWAY_KEY)).await;
    }
    rows_come_to(
        &sandbox.orders,
        "the money to go back",
        "SELECT count(*) FROM payment_attempts WHERE order_id = $1 AND kind = 'REFUND' AND state = 'CAPTURED'",
        order.uuid(),
        1,
    )
    .await;
    vec![Placed::ending(order, COMPENSATED)]
}

pub(super) async fn contradicted(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    let placed = orders::bought(stage, "tok_ok", COMPLETED).await;
    let intent = intent_of(stage, placed.order).await;
    let body = json!({
        "id": format!("evt_{}", ids::random().simple()), "type": "payment_intent.succeeded",
        "data": {"object": {
            "object": "payment_intent", "id": intent, "amount": 1, "currency": region().currency().code().to_lowercase(),
            "metadata": {"order_id": placed.order.to_string()},
        }},
    })
    .to_string();
    let url = format!("{}/v1/payments/webhooks/simulator", sandbox.orders_url);
    insist("the webhook to be taken", &[200], || {
        let signature = payment_simulator::sign(WEBHOOK_SECRET, chrono::Utc::now().timestamp(), body.as_bytes());
        HTTP.post(&url)
            .header("content-type", "application/json")
            .header("stripe-signature", signature)
            .body(body.clone())
    })
    .await;
    named_rows_come_to(
        &sandbox.orders,
        "the difference to be noted",
        "SELECT count(*) FROM reconciliation_findings WHERE reference = $1",
        &intent,
        1,
    )
    .await;
    vec![placed]
}

/// The books take no step of a payment for a while: the worker lets go of it each time, until they do.
pub(super) async fn let_go(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    owner::refuse_steps(&sandbox.orders).await;
    let order = shop::order(sandbox, &stage.shopper, &stage.sku, "tok_ok").await;
    // What moves the time of an attempt that has learned nothing is that somebody let go of it.
    rows_come_to(
        &sandbox.orders,
        "the payment to be let go of",
        "SELECT count(*) FROM payment_attempts WHERE order_id = $1 AND version = 1 AND due_at > created_at",
        order.uuid(),
        1,
    )
    .await;
    owner::take_steps(&sandbox.orders).await;
    wait_for(sandbox, order, COMPLETED).await;
    vec![Placed::ending(order, COMPLETED)]
}

pub(super) async fn sealed(stage: &Stage) -> Vec<Placed> {
    let placed = orders::bought(stage, "tok_ok", COMPLETED).await;
    rows_come_to(
        &stage.sandbox.orders,
        "the books to be sealed",
        "SELECT count(*) FROM ledger_leaves JOIN ledger_transactions USING (transaction_id) WHERE order_id = $1",
        placed.order.uuid(),
        1,
    )
    .await;
    vec![placed]
}

/// The gateway has closed a day, and the worker, which looks for one when it starts, reads its file. The gateway closes a day once,
/// so every time it is the same day and the same file, as if it had never been read.
pub(super) async fn settled(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    let placed = orders::bought(stage, "tok_ok", COMPLETED).await;
    let yesterday = Utc::now().date_naive().checked_sub_days(Days::new(1)).expect("there was a yesterday");
    sandbox.close_day(yesterday).await;
    let url = format!("{}/settlements/{yesterday}", sandbox.gateway_url);
    let (_, file) = insist("the settlement file", &[200], || HTTP.get(&url).bearer_auth(GATEWAY_KEY)).await;
    owner::forget_settlement(&sandbox.orders, yesterday).await;
    sandbox.of(Role::OrderWork).restart();
    until("the day to be settled", PATIENCE, async || books::settlement(sandbox, yesterday, &file).await).await;
    vec![placed]
}

/// Somebody charged a card at the gateway with our key and for no order of ours: it is found, booked, and sent back.
pub(super) async fn orphaned(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    let url = format!("{}/v1/payment_intents", sandbox.gateway_url);
    let form = [
        ("amount", PRICE_MINOR.to_string()),
        ("currency", region().currency().code().to_lowercase()),
        ("capture_method", "manual".to_owned()),
        ("payment_method", "tok_ok".to_owned()),
        ("metadata[order_id]", ids::random().to_string()),
    ];
    let (_, made) = insist("the intent", &[200], || HTTP.post(&url).bearer_auth(GATEWAY_KEY).form(&form)).await;
    let made: Value = serde_json::from_str(&made).expect("an intent is JSON");
    let intent = made["id"].as_str().expect("an intent has an id").to_owned();
    for step in ["confirm", "capture"] {
        let url = format!("{url}/{intent}/{step}");
        insist("the charge", &[200], || HTTP.post(&url).bearer_auth(GATEWAY_KEY)).await;
    }
    named_rows_come_to(
        &sandbox.orders,
        "the charge to be found and its time to pass",
        "SELECT count(*) FROM orphan_charges WHERE intent_id = $1 AND due_at <= now()",
        &intent,
        1,
    )
    .await;
    // It looks for such money when it starts, and then every ten seconds.
    sandbox.of(Role::OrderWork).restart();
    named_rows_come_to(
        &sandbox.orders,
        "the charge to go back",
        "SELECT count(*) FROM orphan_charges WHERE intent_id = $1 AND state = 'CAPTURED'",
        &intent,
        1,
    )
    .await;
    Vec::new()
}
