//! What the tables refuse by themselves, whatever the code above them believes.

use catalog::domain::inventory::SupplyKind;
use catalog::domain::reservation::{LEGAL_STEPS, Status};
use catalog::usecases::ports::stock::StoreError;
use sqlx::PgPool;

use super::world::{World, completed, counts, created, new_order, receive};

/// Name of the violated constraint, or the SQLSTATE where there is none.
async fn refused(pool: &PgPool, sql: &'static str) -> String {
    match sqlx::query(sql).execute(pool).await {
        Ok(done) => panic!("accepted, {} rows: {sql}", done.rows_affected()),
        Err(sqlx::Error::Database(error)) => {
            error.constraint().map(str::to_owned).or_else(|| error.code().map(Into::into)).unwrap_or_default()
        }
        Err(other) => panic!("{sql}: {other}"),
    }
}

const PERMISSION_DENIED: &str = "42501";

async fn sold_one() -> World {
    let world = World::new().await;
    receive(
        &*world.store,
        "r1",
        &[("A", SupplyKind::Counted, 5), ("D", SupplyKind::Unlimited, 0), ("S", SupplyKind::Serialised, 5)],
    )
    .await
    .unwrap();
    let order = new_order();
    for event in [created(order, &[("A", 1), ("S", 1)]), completed(order, &[("A", 1), ("S", 1)])] {
        assert_eq!(world.deliver(&event).await, messaging::Verdict::Done);
    }
    world
}

#[tokio::test]
async fn a_stock_row_keeps_its_equation_and_its_signs() {
    let world = sold_one().await;
    let owner = &world.database.owner;
    for (sql, constraint) in [
        ("UPDATE stock SET available = -1, received = received - 5 WHERE sku = 'A'", "stock_available_not_negative"),
        ("UPDATE stock SET available = available + 1 WHERE sku = 'A'", "stock_balances"),
        ("UPDATE stock SET sold = sold + 1 WHERE sku = 'A'", "stock_balances"),
        ("UPDATE stock SET available = 1, received = received + 1 WHERE sku = 'D'", "stock_shelf_is_counted"),
        ("UPDATE stock SET kind = 'other' WHERE sku = 'A'", "stock_kind_known"),
        (
            "UPDATE stock SET available = 1000000000001, received = 1000000000002 WHERE sku = 'A'",
            "stock_received_in_range",
        ),
        ("INSERT INTO stock (sku, fulfilment_centre, kind) VALUES ('A', 'rdc-a', 'counted')", "stock_pkey"),
        ("INSERT INTO stock (sku, fulfilment_centre, kind) VALUES ('A', 'fc-b', 'unlimited')", "stock_supply_fkey"),
        (
            "UPDATE stock SET back_ordered = -1, available = available - 1 WHERE sku = 'A'",
            "stock_back_ordered_not_negative",
        ),
        ("UPDATE stock SET back_ordered = 1, available = available + 1 WHERE sku = 'A'", "stock_promises_within_limit"),
        (
            "UPDATE stock SET back_order_limit = 9, back_ordered = 1, available = available + 1 WHERE sku = 'A'",
            "stock_shelf_or_debt",
        ),
        (
            "INSERT INTO stock (sku, fulfilment_centre, kind, back_ordered, held) VALUES ('A', 'fc-b', 'counted', 1, 1)",
            "stock_promises_within_limit",
        ),
    ] {
        assert_eq!(refused(owner, sql).await, constraint, "{sql}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_count_more_says_so_and_counts_nothing() {
    let world = sold_one().await;
    let full = "UPDATE stock SET available = 999999999999 - sold, received = 999999999999 WHERE sku = 'A'";
    sqlx::query(full).execute(&world.database.owner).await.unwrap();
    let outcome =
        receive(&*world.store, "r2", &[("A", SupplyKind::Counted, 2), ("S", SupplyKind::Serialised, 2)]).await;
    assert!(matches!(outcome, Err(StoreError::Full)), "{outcome:?}");
    assert_eq!(counts(&*world.store, "S").await, (4, 0, 1, 5));
}

#[tokio::test]
async fn history_is_only_added_to_even_by_the_owner() {
    let world = sold_one().await;
    let owner = &world.database.owner;
    for sql in [
        "UPDATE stock_movements SET quantity = 2",
        "DELETE FROM stock_movements",
        "TRUNCATE stock_movements",
        "UPDATE stock_receipts SET reference = 'other'",
        "DELETE FROM stock_receipts",
        "UPDATE reservation_lines SET quantity = 9",
        "DELETE FROM reservation_lines",
        "DELETE FROM reservations",
        "UPDATE shipments SET fulfilment_centre = 'other'",
        "DELETE FROM shipments",
        "UPDATE serial_numbers SET number = 9",
        "DELETE FROM serial_numbers",
        "UPDATE allocations SET quantity = 9",
        "DELETE FROM allocations",
    ] {
        assert_eq!(refused(owner, sql).await, "history_is_only_added_to", "{sql}");
    }
}

#[tokio::test]
async fn the_service_may_do_no_more_than_its_work_needs() {
    let world = sold_one().await;
    let service = world.database.database.pool();
    for sql in [
        "UPDATE stock SET kind = 'unlimited' WHERE sku = 'A'",
        "UPDATE stock SET sku = 'B' WHERE sku = 'A'",
        "DELETE FROM stock WHERE sku = 'A'",
        "UPDATE stock_movements SET quantity = 2",
        "DELETE FROM stock_movements",
        "TRUNCATE stock_movements",
        "DELETE FROM reservations",
        "UPDATE reservations SET created_at = now()",
        "UPDATE reservation_lines SET quantity = 9",
        "UPDATE shipments SET message_id = order_id",
        "DELETE FROM serial_numbers",
        "UPDATE region_fence SET epoch = epoch + 1",
        "CREATE TABLE own (id int)",
    ] {
        assert_eq!(refused(service, sql).await, PERMISSION_DENIED, "{sql}");
    }
}

#[tokio::test]
async fn no_goods_leave_before_the_money_is_committed() {
    let world = sold_one().await;
    let owner = &world.database.owner;
    let held = new_order();
    assert_eq!(world.deliver(&created(held, &[("A", 1)])).await, messaging::Verdict::Done);
    let unsold = "INSERT INTO shipments (shipment_id, order_id, fulfilment_centre, created_at, consumer, message_id)
        SELECT gen_random_uuid(), order_id, 'x', now(), consumer, message_id FROM reservations, inbox WHERE status = 'HELD' LIMIT 1";
    assert_eq!(refused(owner, unsold).await, "shipments_follow_sale");
    // Finalised by hand, without the message that says so.
    sqlx::query("UPDATE reservations SET status = 'FINALISED', version = 2 WHERE order_id = $1")
        .bind(held.uuid())
        .execute(owner)
        .await
        .unwrap();
    let without_message =
        "INSERT INTO shipments (shipment_id, order_id, fulfilment_centre, created_at, consumer, message_id)
        SELECT gen_random_uuid(), order_id, 'x', now(), 'catalog', gen_random_uuid() FROM reservations r
        WHERE NOT EXISTS (SELECT FROM shipments s WHERE s.order_id = r.order_id)";
    assert_eq!(refused(owner, without_message).await, "shipments_completed_order_fkey");
    let second = "INSERT INTO shipments (shipment_id, order_id, fulfilment_centre, created_at, consumer, message_id)
        SELECT gen_random_uuid(), order_id, fulfilment_centre, created_at, consumer, message_id FROM shipments";
    assert_eq!(refused(owner, second).await, "shipments_once");
}

#[tokio::test]
async fn a_movement_has_one_cause_and_happens_once() {
    let world = sold_one().await;
    let owner = &world.database.owner;
    for (sql, constraint) in [
        (
            "INSERT INTO stock_movements (order_id, sku, fulfilment_centre, kind, quantity, moved_at) SELECT order_id, sku, fulfilment_centre, kind, quantity, moved_at FROM stock_movements WHERE kind = 'held'",
            "stock_movements_once",
        ),
        (
            "INSERT INTO stock_movements (order_id, sku, fulfilment_centre, kind, quantity, moved_at) SELECT order_id, sku, fulfilment_centre, 'released', quantity, moved_at FROM stock_movements WHERE kind = 'sold'",
            "stock_movements_one_end",
        ),
        (
            "INSERT INTO stock_movements (reference, sku, fulfilment_centre, kind, quantity, moved_at) VALUES ('r1', 'A', 'rdc-a', 'received', 1, now())",
            "stock_movements_received_once",
        ),
        (
            "INSERT INTO stock_movements (sku, fulfilment_centre, kind, quantity, moved_at) VALUES ('A', 'rdc-a', 'received', 1, now())",
            "stock_movements_one_cause",
        ),
        (
            "INSERT INTO stock_movements (order_id, sku, fulfilment_centre, kind, quantity, moved_at) VALUES (gen_random_uuid(), 'A', 'rdc-a', 'received', 1, now())",
            "stock_movements_one_cause",
        ),
        (
            "INSERT INTO stock_movements (order_id, sku, fulfilment_centre, kind, quantity, moved_at) VALUES (gen_random_uuid(), 'A', 'rdc-a', 'held', 0, now())",
            "stock_movements_quantity_positive",
        ),
        (
            "INSERT INTO stock_movements (order_id, sku, fulfilment_centre, kind, quantity, moved_at) VALUES (gen_random_uuid(), 'X', 'rdc-a', 'held', 1, now())",
            "stock_movements_stock_fkey",
        ),
        ("INSERT INTO serial_numbers SELECT sku, number, order_id FROM serial_numbers", "serial_numbers_pkey"),
    ] {
        assert_eq!(refused(owner, sql).await, constraint, "{sql}");
    }
}

/// Every pair of states through the trigger: it accepts exactly what `LEGAL_STEPS` lists.
#[tokio::test]
async fn the_trigger_and_the_code_know_the_same_legal_steps() {
    let world = World::new().await;
    let owner = &world.database.owner;
    let mut accepted = Vec::new();
    for from in [None, Some(Status::Held), Some(Status::Rejected), Some(Status::Released), Some(Status::Finalised)] {
        for to in Status::ALL {
            let order = new_order();
            let mut version = 0;
            // The legal way to `from`.
            let way: &[Status] = match from {
                None => &[],
                Some(Status::Finalised) => &[Status::Held, Status::Finalised],
                Some(Status::Held) => &[Status::Held],
                Some(Status::Rejected) => &[Status::Rejected],
                Some(Status::Released) => &[Status::Released],
            };
            for status in way {
                step(owner, order.uuid(), *status, &mut version).await.unwrap();
            }
            match step(owner, order.uuid(), to, &mut version).await {
                Ok(()) => accepted.push((from, to)),
                Err(error) => {
                    let constraint = error.as_database_error().and_then(|error| error.constraint()).map(str::to_owned);
                    assert_eq!(constraint.as_deref(), Some("reservations_legal_step"), "{from:?} {to:?}: {error}");
                }
            }
        }
    }
    assert_eq!(accepted, LEGAL_STEPS);
}

async fn step(owner: &PgPool, order: uuid::Uuid, to: Status, version: &mut i64) -> Result<(), sqlx::Error> {
    *version += 1;
    let sql = if *version == 1 {
        "INSERT INTO reservations (order_id, status, version, created_at, held_until) VALUES ($1, $2, $3, now(), now())"
    } else {
        "UPDATE reservations SET status = $2, version = $3 WHERE order_id = $1"
    };
    sqlx::query(sql).bind(order).bind(to.code()).bind(*version).execute(owner).await.map(drop)
}
