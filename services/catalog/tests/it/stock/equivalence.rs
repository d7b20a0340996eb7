//! The memory store is worth what it was compared with: random stories run through both stores and end alike.

use std::sync::Arc;

use catalog::domain::inventory::SupplyKind;
use catalog::inbound::events::SagaEvents;
use catalog::outbound::memory_stock::MemoryStock;
use catalog::usecases::ports::stock::StockStore;
use common::OrderId;
use contracts::Event;
use messaging::{Handler as _, Verdict};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::world::{World, app, compensated, completed, created, delivery, new_order, receive, sku};

const SKUS: [(&str, SupplyKind); 4] = [
    ("A", SupplyKind::Counted),
    ("B", SupplyKind::Counted),
    ("D", SupplyKind::Unlimited),
    ("S", SupplyKind::Serialised),
];
const ORDERS: usize = 4;

#[derive(Clone, Debug)]
enum Scene {
    Created(usize),
    Completed(usize),
    Compensated(usize),
    Received { sku: usize, quantity: u32 },
}

fn scenes() -> impl Strategy<Value = (Vec<Vec<(usize, u32)>>, Vec<Scene>)> {
    let basket =
        prop::collection::btree_map(0..SKUS.len(), 1_u32..6, 1..=3).prop_map(|basket| basket.into_iter().collect());
    let scene = prop_oneof![
        3 => (0..ORDERS).prop_map(Scene::Created),
        2 => (0..ORDERS).prop_map(Scene::Completed),
        2 => (0..ORDERS).prop_map(Scene::Compensated),
        1 => (0..SKUS.len(), 0_u32..6).prop_map(|(sku, quantity)| Scene::Received { sku, quantity }),
    ];
    (prop::collection::vec(basket, ORDERS), prop::collection::vec(scene, 1..25))
}

/// What a story left behind, as far as both stores can tell it.
async fn ending(store: &dyn StockStore, orders: &[OrderId]) -> String {
    let skus: Vec<_> = SKUS.iter().map(|(text, _)| sku(text)).collect();
    let levels = store.levels(&skus).await.unwrap();
    let mut text: Vec<String> = skus.iter().map(|sku| format!("{sku}: {:?}", levels.get(sku))).collect();
    for order in orders {
        text.push(format!("{:?}", store.reservation(*order).await.unwrap()));
    }
    assert!(levels.values().all(|level| level.balances()), "{text:#?}");
    text.join("\n")
}

async fn play(
    store: Arc<dyn StockStore>,
    baskets: &[Vec<(usize, u32)>],
    scenes: &[Scene],
    orders: &[OrderId],
    run: &str,
) -> (Vec<String>, String) {
    let saga = SagaEvents::new(app(store.clone()));
    let basket = |n: usize| baskets[n].iter().map(|(at, quantity)| (SKUS[*at].0, *quantity)).collect::<Vec<_>>();
    let mut verdicts = Vec::new();
    for (at, scene) in scenes.iter().enumerate() {
        let event: Event = match scene {
            Scene::Created(n) => created(orders[*n], &basket(*n)),
            Scene::Completed(n) => completed(orders[*n], &basket(*n)),
            Scene::Compensated(n) => compensated(orders[*n]),
            Scene::Received { sku, quantity } => {
                let (text, kind) = SKUS[*sku];
                let quantity = if kind.is_counted() { *quantity } else { 0 };
                let outcome = receive(&*store, &format!("{run}-{at}"), &[(text, kind, quantity)]).await;
                verdicts.push(format!("{outcome:?}"));
                continue;
            }
        };
        let verdict = saga.handle(&delivery(&event)).await;
        assert!(!matches!(&verdict, Verdict::Park(reason) if reason.starts_with("internal")), "{verdict:?}");
        verdicts.push(format!("{verdict:?}"));
    }
    let end = ending(&*store, orders).await;
    (verdicts, end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_stories_end_alike_in_memory_and_in_postgresql() {
    let runtime = tokio::runtime::Handle::current();
    // One database for each story would cost a second each; a story on fresh rows is as good, so tables are emptied between.
    let world = Arc::new(World::new().await);
    let played = world.clone();
    let outcome = tokio::task::spawn_blocking(move || {
        let mut runner =
            TestRunner::new(Config { cases: 60, failure_persistence: None, max_shrink_iters: 60, ..Config::default() });
        runner.run(&scenes(), |(baskets, scenes)| {
            runtime.block_on(async {
                wipe(&played).await;
                let orders: Vec<OrderId> = (0..ORDERS).map(|_| new_order()).collect();
                let memory = play(Arc::new(memory_stock()), &baskets, &scenes, &orders, "m").await;
                let postgres = play(played.store.clone(), &baskets, &scenes, &orders, "m").await;
                played.audit().await;
                prop_assert_eq!(memory, postgres);
                Ok(())
            })
        })
    })
    .await
    .unwrap();
    outcome.unwrap_or_else(|error| panic!("{error}"));
    drop(world);
}

/// The owner of a test database may suspend the triggers that keep history; nobody else can.
async fn wipe(world: &World) {
    sqlx::raw_sql(
        r#"
        ALTER TABLE stock_movements DISABLE TRIGGER USER;
        TRUNCATE stock_movements, stock_receipts, serial_numbers, shipments, reservation_lines, reservations, stock, inbox, outbox;
        ALTER TABLE stock_movements ENABLE TRIGGER USER;
        "#,
    )
    .execute(&world.database.owner)
    .await
    .unwrap();
}
