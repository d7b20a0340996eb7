//! More of the one suite for both stores: nothing is written under an old reign, and an event is there exactly when its step
//! is. The simulation leans on both.

use std::collections::BTreeMap;

use catalog::domain::inventory::SupplyKind;
use catalog::domain::reservation::{Asked, Decision, release};
use catalog::outbound::memory_stock::MemoryStock;
use catalog::outbound::postgres::PgStock;
use catalog::usecases::ports::stock::{Committed, Request, Reserved, StockStore, StoreError, Why};
use chrono::{DateTime, Utc};
use common::{Explain as _, MessageId, OrderId, ids};
use messaging::Epoch;

use super::world::{World, centres, counts, lines, new_order, receive};

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn cause() -> MessageId {
    MessageId::from_uuid(ids::random())
}

async fn hold(store: &dyn StockStore, order: OrderId) -> Result<Reserved, StoreError> {
    let asked = Asked { order, lines: lines(&[("A", 1)]), options: BTreeMap::new() };
    let request = Request { cause: cause(), asked, traceparent: None };
    store.reserve(&[request], NOW).await.remove(0)
}

/// `old` writes the same stock under another reign than `store`.
async fn refuses_another_reign(store: &dyn StockStore, old: &dyn StockStore) {
    receive(store, "r1", &[("A", SupplyKind::Counted, 3)]).await.unwrap();
    let held = hold(old, new_order()).await;
    assert!(matches!(&held, Err(error) if error.code() == "not-writable"), "{held:?}");
    let noted = old.commit(Why::Message(cause()), &Decision::Nothing).await;
    assert!(matches!(&noted, Err(error) if error.code() == "not-writable"), "{noted:?}");
    assert!(receive(old, "r2", &[("A", SupplyKind::Counted, 3)]).await.is_err());
    assert_eq!(counts(store, "A").await, (3, 0, 0, 3));
}

#[tokio::test]
async fn the_memory_store_refuses_a_process_of_another_reign() {
    let store = MemoryStock::new(centres());
    refuses_another_reign(&store, &store.under(Epoch::new(7))).await;
}

#[tokio::test]
async fn the_postgres_store_refuses_a_process_of_another_reign() {
    let world = World::new().await;
    let old = PgStock::new(world.database.another_process("inventory", 7), centres());
    refuses_another_reign(&*world.store, &old).await;
}

/// Holds one order and then tries to release it twice about the same state.
async fn takes_one_of_two_steps(store: &dyn StockStore) -> OrderId {
    receive(store, "r1", &[("A", SupplyKind::Counted, 3)]).await.unwrap();
    let order = new_order();
    assert_eq!(hold(store, order).await.unwrap().committed, Committed::Applied);
    let current = store.reservation(order).await.unwrap();
    let released = release(current, order, NOW).unwrap();
    assert_eq!(store.commit(Why::Message(cause()), &released).await.unwrap(), Committed::Applied);
    let again = store.commit(Why::Message(cause()), &released).await;
    assert!(matches!(&again, Err(error) if error.code() == "version-conflict"), "{again:?}");
    order
}

const TOLD: [&str; 2] = ["stock.reserved", "stock.released"];

#[tokio::test]
async fn the_memory_store_tells_exactly_what_it_committed() {
    let store = MemoryStock::new(centres());
    takes_one_of_two_steps(&store).await;
    assert_eq!(store.outbox(0).iter().map(|row| row.event.kind()).collect::<Vec<_>>(), TOLD);
}

#[tokio::test]
async fn the_postgres_store_tells_exactly_what_it_committed() {
    let world = World::new().await;
    let order = takes_one_of_two_steps(&*world.store).await;
    assert_eq!(world.told(order).await, TOLD);
}
