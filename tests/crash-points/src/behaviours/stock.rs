//! Stock that is not as usual: held for longer than it should be, promised before it came in, counted wrong.

use sqlx::PgPool;
use testkit::wait::until;
use uuid::Uuid;

use super::{COMPLETED, PATIENCE, Placed, Stage, named_rows_come_to, rows_come_to};
use crate::shop::{self, wait_for};
use crate::{desk, owner};

/// The gateway is away, and the time of the hold passes: the catalog asks about the order, hears that it is open, and holds on.
/// Then the gateway is back, and an operator lets the payment be tried at once.
pub(super) async fn held_on(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    sandbox.close_gateway().await;
    let order = shop::order(sandbox, &stage.shopper, &stage.sku, "tok_ok").await;
    wait_for(sandbox, order, &["PAYMENT_PENDING"]).await;
    // The catalog has heard it, and holds the units for as long as the payment may take.
    let told: Uuid =
        sqlx::query_scalar("SELECT message_id FROM outbox WHERE topic = 'order.payment-pending' AND key = $1")
            .bind(order.to_string())
            .fetch_one(&sandbox.orders)
            .await
            .expect("a payment that begins is told of");
    rows_come_to(
        &sandbox.stock,
        "the catalog to hear of the payment",
        "SELECT count(*) FROM inbox WHERE message_id = $1",
        told,
        1,
    )
    .await;
    let version = owner::let_hold_pass(&sandbox.stock, order.uuid()).await;
    until("the hold to be extended", PATIENCE, async || {
        // A catalog that died after it had claimed the hold would ask again half a minute later.
        owner::ask_again(&sandbox.stock, order.uuid(), version).await;
        extended(&sandbox.stock, order.uuid(), version).await
    })
    .await;
    sandbox.open_gateway().await;
    desk::retry(sandbox, &stage.staff, order).await;
    wait_for(sandbox, order, COMPLETED).await;
    vec![Placed::ending(order, COMPLETED)]
}

async fn extended(stock: &PgPool, order: Uuid, version: i64) -> Result<(), String> {
    let (status, now): (String, i64) = sqlx::query_as("SELECT status, version FROM reservations WHERE order_id = $1")
        .bind(order)
        .fetch_one(stock)
        .await
        .map_err(|error| error.to_string())?;
    if status == "HELD" && now > version { Ok(()) } else { Err(format!("{status} in version {now}")) }
}

/// One unit is there and one more may be promised. The second order is paid, and its parcel leaves when its unit has come in.
pub(super) async fn back_ordered(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    let sku = shop::stock(sandbox, &stage.staff, 1).await;
    shop::limit_back_orders(sandbox, &stage.staff, &sku, 1).await;
    let first = shop::order(sandbox, &stage.shopper, &sku, "tok_ok").await;
    wait_for(sandbox, first, COMPLETED).await;
    let second = shop::order(sandbox, &stage.shopper, &sku, "tok_ok").await;
    wait_for(sandbox, second, COMPLETED).await;
    rows_come_to(
        &sandbox.stock,
        "the parcel to wait",
        "SELECT count(*) FROM shipments WHERE order_id = $1 AND state = 'WAITING'",
        second.uuid(),
        1,
    )
    .await;
    shop::receive(sandbox, &stage.staff, &sku, 1).await;
    rows_come_to(
        &sandbox.stock,
        "the parcel to leave",
        "SELECT count(*) FROM shipments WHERE order_id = $1 AND state = 'READY'",
        second.uuid(),
        1,
    )
    .await;
    vec![Placed::ending(first, COMPLETED), Placed::ending(second, COMPLETED)]
}

/// Somebody with all rights changes a count. It is found and noted, once for each counter, and the note ends when the count is
/// mended.
pub(super) async fn miscounted(stage: &Stage) -> Vec<Placed> {
    const OPEN: &str = "SELECT count(*) FROM stock_findings WHERE sku = $1 AND resolved_at IS NULL";
    const ALL: &str = "SELECT count(*) FROM stock_findings WHERE sku = $1";
    let stock = &stage.sandbox.stock;
    let sku = shop::stock(&stage.sandbox, &stage.staff, 1).await;
    owner::miscount(stock, &sku, 1).await;
    // What is there, and what came in.
    named_rows_come_to(stock, "the count to be found wrong", OPEN, &sku, 2).await;
    owner::miscount(stock, &sku, -1).await;
    named_rows_come_to(stock, "the count to be found right", OPEN, &sku, 0).await;
    named_rows_come_to(stock, "one finding for each counter", ALL, &sku, 2).await;
    Vec::new()
}
