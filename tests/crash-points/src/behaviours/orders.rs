//! Orders on their way: bought, and given up by the shopper, by a deadline, by the stock or by an operator.

use super::{COMPENSATED, COMPLETED, EITHER, Placed, Stage, written_down};
use crate::sandbox::Role;
use crate::shop::{self, wait_for};
use crate::{desk, owner};

pub(super) async fn bought(stage: &Stage, card: &str, wanted: &'static [&'static str]) -> Placed {
    let order = shop::order(&stage.sandbox, &stage.shopper, &stage.sku, card).await;
    wait_for(&stage.sandbox, order, wanted).await;
    Placed::ending(order, wanted)
}

pub(super) async fn started(stage: &Stage) -> Vec<Placed> {
    stage.sandbox.of(Role::OrderWork).restart();
    stage.sandbox.of(Role::CatalogWork).restart();
    vec![bought(stage, "tok_ok", COMPLETED).await]
}

/// Both orders are accepted while the catalog holds still, so that the stock decides.
pub(super) async fn last_unit(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    let sku = shop::stock(sandbox, &stage.staff, 1).await;
    sandbox.of(Role::CatalogWork).signal(libc::SIGSTOP);
    let first = shop::order(sandbox, &stage.shopper, &sku, "tok_ok").await;
    let second = shop::order(sandbox, &stage.shopper, &sku, "tok_ok").await;
    sandbox.of(Role::CatalogWork).signal(libc::SIGCONT);
    let ends = [wait_for(sandbox, first, EITHER).await, wait_for(sandbox, second, EITHER).await];
    assert_eq!(ends.iter().filter(|end| *end == "COMPLETED").count(), 1, "one unit, {ends:?}");
    vec![Placed::ending(first, EITHER), Placed::ending(second, EITHER)]
}

pub(super) async fn cancelled(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    sandbox.of(Role::CatalogWork).signal(libc::SIGSTOP);
    let order = shop::order(sandbox, &stage.shopper, &stage.sku, "tok_ok").await;
    shop::cancel(sandbox, &stage.shopper, order).await;
    sandbox.of(Role::CatalogWork).signal(libc::SIGCONT);
    // A catalog that died and came back meanwhile may have been faster than the cancellation.
    wait_for(sandbox, order, EITHER).await;
    vec![Placed::ending(order, EITHER)]
}

pub(super) async fn expired(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    sandbox.of(Role::CatalogWork).signal(libc::SIGSTOP);
    let order = shop::order(sandbox, &stage.shopper, &stage.sku, "tok_ok").await;
    owner::let_deadline_pass(&sandbox.orders, order.uuid()).await;
    wait_for(sandbox, order, EITHER).await;
    sandbox.of(Role::CatalogWork).signal(libc::SIGCONT);
    vec![Placed::ending(order, EITHER)]
}

/// The gateway is away until the order has been given up.
pub(super) async fn payment_expired(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    sandbox.close_gateway().await;
    let order = shop::order(sandbox, &stage.shopper, &stage.sku, "tok_ok").await;
    wait_for(sandbox, order, &["PAYMENT_PENDING"]).await;
    owner::let_deadline_pass(&sandbox.orders, order.uuid()).await;
    wait_for(sandbox, order, COMPENSATED).await;
    sandbox.open_gateway().await;
    vec![Placed::ending(order, COMPENSATED)]
}

/// An operator ends an order whose stock is not held yet: once, however often it is asked for.
pub(super) async fn ended_by_operator(stage: &Stage) -> Vec<Placed> {
    let sandbox = &stage.sandbox;
    sandbox.of(Role::CatalogWork).signal(libc::SIGSTOP);
    let order = shop::order(sandbox, &stage.shopper, &stage.sku, "tok_ok").await;
    desk::compensate(sandbox, &stage.staff, order).await;
    sandbox.of(Role::CatalogWork).signal(libc::SIGCONT);
    // A catalog that died and came back meanwhile may have been faster than the operator.
    let end = wait_for(sandbox, order, EITHER).await;
    let actions = written_down(&sandbox.orders, "saga.compensate", &order.to_string()).await;
    assert!(actions == 1 || (actions == 0 && end == "COMPLETED"), "{actions} actions, and it is {end}");
    vec![Placed::ending(order, EITHER)]
}
