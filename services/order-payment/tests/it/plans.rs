//! A region begins empty, and what the database plans then it keeps: questions about one order must not come to read all of them.

use chrono::Duration;
use common::OrderId;

use crate::world::World;

/// The database keeps a plan for good after five rounds on a connection; there are eight.
const UNTIL_PLANNED: usize = 100;
const OTHERS: i64 = 2_000;
const ASKED: i64 = 50;
/// Index entries for one round of questions about an order with one payment: each finds its row by a key.
const MOST_READ: i64 = 40;

async fn ask(world: &World, order: OrderId) {
    let (store, now) = (&world.app.store, world.app.clock.now());
    let charge = store.charge_of(order).await.unwrap().unwrap();
    store.tried(&[charge.id], now - Duration::hours(1), now).await.unwrap();
    store.hint(&[order], now).await.unwrap();
    store.order(order).await.unwrap().unwrap();
    assert!(store.charge_of_intent("pi_of_nobody").await.unwrap().is_none());
}

/// Other people's orders, each with its payment under way, made from this one.
async fn fill(world: &World, order: OrderId) {
    let copies = [
        "CREATE TEMP TABLE made ON COMMIT DROP AS SELECT gen_random_uuid() AS id FROM generate_series(1, $2) WHERE $1::uuid IS NOT NULL",
        "INSERT INTO order_users SELECT (jsonb_populate_record(known, jsonb_build_object('user_id', id))).*
         FROM made, order_users known, orders WHERE known.user_id = orders.user_id AND order_id = $1 AND $2 > 0",
        "INSERT INTO orders
         SELECT (jsonb_populate_record(orders, jsonb_build_object('order_id', id, 'user_id', id, 'status', 'CREATED', 'version', 1))).*
         FROM made, orders WHERE order_id = $1 AND $2 > 0",
        "INSERT INTO order_lines SELECT (jsonb_populate_record(order_lines, jsonb_build_object('order_id', id))).*
         FROM made, order_lines WHERE order_id = $1 AND $2 > 0",
        "INSERT INTO order_history SELECT (jsonb_populate_record(order_history, jsonb_build_object('order_id', id))).*
         FROM made, order_history WHERE order_id = $1 AND version = 1 AND $2 > 0",
        "INSERT INTO payment_attempts
         SELECT (jsonb_populate_record(payment_attempts, jsonb_build_object('order_id', id, 'attempt_id', id))).*
         FROM made, payment_attempts WHERE order_id = $1 AND $2 > 0",
    ];
    let mut tx = world.database.as_ref().unwrap().owner.begin().await.unwrap();
    for copy in copies {
        sqlx::query(copy).bind(order.uuid()).bind(OTHERS).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn questions_about_one_order_read_no_more_when_there_are_thousands() {
    let world = World::in_postgres().await;
    let order = world.an_order_to_pay().await;
    for _ in 0..UNTIL_PLANNED {
        ask(&world, order).await;
    }
    fill(&world, order).await;
    let read_so_far =
        async || world.database.as_ref().unwrap().index_entries_read(&["orders", "payment_attempts"]).await;
    let before = read_so_far().await;
    for _ in 0..ASKED {
        ask(&world, order).await;
    }
    let read = read_so_far().await - before;
    assert!(read <= ASKED * MOST_READ, "{} index entries for one round of questions", read / ASKED);
    assert!(read >= ASKED, "the database counts what is read: {read}");
}
