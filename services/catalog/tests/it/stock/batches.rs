//! Many orders in one commit: driven without a broker, as the benchmark does it, and with members at fault.

use std::sync::Arc;

use catalog::domain::inventory::SupplyKind;
use catalog::domain::reservation::Asked;
use catalog::usecases::ports::stock::Committed;
use catalog::usecases::reserve_inventory::reserve_inventory;
use common::{MessageId, ids};
use messaging::Verdict;
use tokio::task::JoinSet;

use super::world::{World, compensated, completed, counts, created, lines, new_order, receive};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_and_twenty_eight_callers_on_one_sku_share_their_commits() {
    let world = Arc::new(World::new().await);
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 1_000)]).await.unwrap();
    let before = commits(&world).await;
    let mut callers = JoinSet::new();
    for _ in 0..128 {
        let app = world.app.clone();
        callers.spawn(async move {
            let asked = Asked { order: new_order(), lines: lines(&[("A", 1)]), options: Default::default() };
            reserve_inventory(&app, MessageId::from_uuid(ids::random()), asked).await.unwrap()
        });
    }
    while let Some(outcome) = callers.join_next().await {
        assert_eq!(outcome.unwrap(), Committed::Applied);
    }
    assert_eq!(counts(&*world.store, "A").await, (872, 128, 0, 1_000));
    // Alone it would be one transaction each.
    let shared = commits(&world).await - before;
    assert!(shared < 128, "{shared} transactions for 128 orders");
    world.audit().await;
}

/// One thread, so that everybody's turn is known: without a turn for those who come back, every other commit would hold one order.
#[tokio::test]
async fn buyers_who_come_back_at_once_share_the_next_commit() {
    let world = Arc::new(World::new().await);
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 1_000)]).await.unwrap();
    let mut buyers = JoinSet::new();
    for _ in 0..16 {
        let app = world.app.clone();
        buyers.spawn(async move {
            for _ in 0..4 {
                let asked = Asked { order: new_order(), lines: lines(&[("A", 1)]), options: Default::default() };
                reserve_inventory(&app, MessageId::from_uuid(ids::random()), asked).await.unwrap();
            }
        });
    }
    while let Some(outcome) = buyers.join_next().await {
        outcome.unwrap();
    }
    assert_eq!(counts(&*world.store, "A").await, (936, 64, 0, 1_000));
    let shared = commits(&world).await;
    assert!(shared <= 6, "{shared} transactions for 4 rounds of 16 orders");
}

/// Transactions that reserved something: each gave all its reservations one instant of the database.
async fn commits(world: &World) -> i64 {
    world.count("SELECT count(DISTINCT xmin::text) FROM reservations").await
}

#[tokio::test]
async fn sales_that_are_told_at_once_share_commits_and_no_number_is_given_twice() {
    let world = World::new().await;
    receive(&*world.store, "r1", &[("A", SupplyKind::Serialised, 100)]).await.unwrap();
    let orders: Vec<_> = (0..32).map(|_| new_order()).collect();
    for order in &orders {
        assert_eq!(world.deliver(&created(*order, &[("A", 2)])).await, Verdict::Done);
    }
    let messages: Vec<_> = orders.iter().map(|order| completed(*order, &[("A", 2)])).collect();
    let told = futures::future::join_all(messages.iter().map(|message| world.deliver(message))).await;
    assert!(told.iter().all(|verdict| *verdict == Verdict::Done), "{told:?}");
    assert_eq!(counts(&*world.store, "A").await, (36, 0, 64, 100));
    assert_eq!(world.count("SELECT count(DISTINCT number) FROM serial_numbers").await, 64);
    let shared = world.count("SELECT count(DISTINCT xmin::text) FROM reservations WHERE status = 'FINALISED'").await;
    assert!(shared <= 8, "{shared} transactions for 32 sales");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_order_that_cannot_be_written_fails_alone() {
    let world = Arc::new(World::new().await);
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 100)]).await.unwrap();
    // Somebody else is in the middle of ending one of these orders: its tombstone is not committed yet.
    let late = new_order();
    let mut ending = world.database.owner.begin().await.unwrap();
    let tombstone = "INSERT INTO reservations (order_id, status, version, created_at, held_until) VALUES ($1, 'RELEASED', 1, now(), now())";
    sqlx::query(tombstone).bind(late.uuid()).execute(&mut *ending).await.unwrap();
    let mut deliveries = JoinSet::new();
    for n in 0..20 {
        let world = world.clone();
        let order = if n == 7 { late } else { new_order() };
        deliveries.spawn(async move { world.deliver(&created(order, &[("A", 1)])).await });
    }
    ending.commit().await.unwrap();
    while let Some(verdict) = deliveries.join_next().await {
        assert_eq!(verdict.unwrap(), Verdict::Done);
    }
    assert_eq!(counts(&*world.store, "A").await, (81, 19, 0, 100));
    assert_eq!(world.deliver(&compensated(late)).await, Verdict::Done);
    world.audit().await;
}
