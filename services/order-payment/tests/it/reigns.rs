//! More of the one suite for both kinds of books: nothing is written under an old reign, and an event is there exactly when
//! its change is. The simulation leans on both.

use std::sync::Arc;

use chrono::Duration;
use common::{OrderId, ShipmentId};
use messaging::{Cause, CommitError, Epoch};
use order_payment::domain::Reason;
use order_payment::outbound::postgres::PostgresStore;
use order_payment::usecases::Change;
use order_payment::usecases::ports::{Shipment, Store};

use crate::world::{World, a_key, an_order, shopper, worlds};

/// The same books as a process of another reign writes them.
fn of_another_reign(world: &World) -> Arc<dyn Store> {
    match (&world.memory, &world.database) {
        (Some(memory), _) => Arc::new(memory.under(Epoch::new(7))),
        (_, Some(database)) => Arc::new(PostgresStore::new(database.another_process("order_payment", 7))),
        _ => unreachable!("a world has books"),
    }
}

/// Kind and version of everything told about an order.
async fn told(world: &World, order: OrderId) -> Vec<(String, i64)> {
    if let Some(database) = &world.database {
        return sqlx::query_as("SELECT topic, version FROM outbox WHERE key = $1 ORDER BY seq")
            .bind(order.to_string())
            .fetch_all(&database.owner)
            .await
            .unwrap();
    }
    let books = world.books();
    let mine = books.outbox.iter().filter(|row| row.event.key() == order.to_string());
    mine.map(|row| (row.event.kind().to_owned(), row.version)).collect()
}

#[tokio::test]
async fn a_process_of_another_reign_writes_nothing() {
    for world in worlds().await {
        let order = world.an_order_to_pay().await;
        let (charge, now) = (world.charge(order).await, world.app.clock.now());
        let store = of_another_reign(&world);
        let step = world.order(order).await.compensate(Reason::Expired, now).unwrap();
        let change = Change { order: Some(step), ..Change::default() };
        let refused = store.commit(Cause::Duty("test"), change).await;
        assert!(matches!(refused, Err(CommitError::NotWritable)), "{refused:?}");
        let claimed = store.claim_due(now, now + Duration::seconds(20), 5).await;
        assert!(matches!(claimed, Err(CommitError::NotWritable)), "{claimed:?}");
        let hinted = store.hint(&[order], now - Duration::hours(1)).await;
        assert!(matches!(hinted, Err(CommitError::NotWritable)), "{hinted:?}");
        let id = ShipmentId::derive(order, "rdc");
        let shipment = Shipment { order, id, fulfilment_centre: "rdc".to_owned(), created_at: now };
        let shipped = store.record_shipment(world.message(), shipment).await;
        assert!(matches!(shipped, Err(CommitError::NotWritable | CommitError::Refused(_))), "{shipped:?}");
        assert_eq!((world.charge(order).await, world.order(order).await.version), (charge, 2));
    }
}

#[tokio::test]
async fn an_event_is_there_exactly_when_its_change_is() {
    for world in worlds().await {
        let order = world.place(shopper(), &a_key(), an_order()).await.unwrap().order;
        assert_eq!(told(&world, order).await, [("order.created".to_owned(), 1)]);
        let now = world.app.clock.now();
        let (first, second) = (world.order(order).await, world.order(order).await);
        let first = Change { order: Some(first.compensate(Reason::Expired, now).unwrap()), ..Change::default() };
        world.app.store.commit(Cause::Duty("test"), first).await.unwrap();
        let late = Change { order: Some(second.compensate(Reason::Cancelled, now).unwrap()), ..Change::default() };
        assert!(world.app.store.commit(Cause::Duty("test"), late).await.is_err());
        let expected = [("order.created".to_owned(), 1), ("order.compensated".to_owned(), 2)];
        assert_eq!(told(&world, order).await, expected);
    }
}
