//! The memory store is worth what it was compared with: random stories run through both stores and end alike.

use std::sync::Arc;

use catalog::domain::inventory::{StockLevel, SupplyKind};
use catalog::inbound::events::SagaEvents;
use catalog::usecases::ports::stock::StockStore;
use catalog::usecases::return_inventory::{ReturnInventory, return_inventory};
use catalog::usecases::send_awaited::send_awaited;
use chrono::DateTime;
use common::{MessageId, OrderId};
use contracts::Event;
use messaging::{Handler as _, Verdict};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::world::{
    CENTRES, World, app, audit_all, clerk, compensated, completed, created, delivery, lines, memory_stock, new_order,
    payment_pending, receipt_at, sku,
};

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
    Pending(usize),
    Returned {
        order: usize,
        units: Option<(usize, u32)>,
    },
    Received {
        sku: usize,
        at: usize,
        quantity: u32,
    },
    Limited {
        sku: usize,
        limit: u32,
    },
    /// The duty that lets awaited parcels go.
    Sent,
}

fn scenes() -> impl Strategy<Value = (Vec<Vec<(usize, u32)>>, Vec<Scene>)> {
    let basket =
        prop::collection::btree_map(0..SKUS.len(), 1_u32..6, 1..=3).prop_map(|basket| basket.into_iter().collect());
    let scene = prop_oneof![
        3 => (0..ORDERS).prop_map(Scene::Created),
        2 => (0..ORDERS).prop_map(Scene::Completed),
        2 => (0..ORDERS).prop_map(Scene::Compensated),
        1 => (0..ORDERS).prop_map(Scene::Pending),
        2 => (0..ORDERS, prop::option::of((0..SKUS.len(), 1_u32..3)))
            .prop_map(|(order, units)| Scene::Returned { order, units }),
        2 => (0..SKUS.len(), 0..CENTRES.len(), 0_u32..6)
            .prop_map(|(sku, at, quantity)| Scene::Received { sku, at, quantity }),
        1 => (0..SKUS.len(), 0_u32..5).prop_map(|(sku, limit)| Scene::Limited { sku, limit }),
        1 => Just(Scene::Sent),
    ];
    (prop::collection::vec(basket, ORDERS), prop::collection::vec(scene, 1..30))
}

/// What a story left behind, as far as both stores can tell it.
async fn ending(store: &dyn StockStore, orders: &[OrderId]) -> String {
    let skus: Vec<_> = SKUS.iter().map(|(text, _)| sku(text)).collect();
    let rows = store.rows(&skus).await.unwrap();
    let mut text: Vec<String> = skus.iter().map(|sku| format!("{sku}: {:?}", rows.get(sku))).collect();
    for order in orders {
        text.push(format!("{:?}", store.reservation(*order).await.unwrap()));
    }
    assert!(rows.values().flat_map(|rows| rows.values()).all(StockLevel::balances), "{text:#?}");
    let audited = audit_all(store).await;
    assert!(audited.iter().all(|row| row.findings().is_empty()), "{audited:#?}");
    text.push(format!("{:?}", store.sendable(100).await.unwrap()));
    text.join("\n")
}

async fn play(
    store: Arc<dyn StockStore>,
    baskets: &[Vec<(usize, u32)>],
    scenes: &[Scene],
    orders: &[OrderId],
    run: &str,
) -> (Vec<String>, String) {
    let app = app(store.clone());
    let saga = SagaEvents::new(app.clone());
    let basket = |n: usize| baskets[n].iter().map(|(at, quantity)| (SKUS[*at].0, *quantity)).collect::<Vec<_>>();
    let mut verdicts = Vec::new();
    for (at, scene) in scenes.iter().enumerate() {
        let event: Event = match scene {
            Scene::Created(n) => created(orders[*n], &basket(*n)),
            Scene::Completed(n) => completed(orders[*n], &basket(*n)),
            Scene::Compensated(n) => compensated(orders[*n]),
            // Always later than the last: each extends the hold.
            Scene::Pending(n) => payment_pending(orders[*n], 1_800_000_000_000 + i64::try_from(at).unwrap()),
            Scene::Returned { order, units } => {
                let units = units.map(|(at, units)| vec![(SKUS[at].0, units)]);
                let command = ReturnInventory { order: orders[*order], lines: units.as_deref().map(lines) };
                let cause = MessageId::derive(run, i64::try_from(at).unwrap(), "order.refunded");
                verdicts.push(format!("{:?}", Verdict::of(return_inventory(&app, cause, command).await)));
                continue;
            }
            Scene::Received { sku, at: centre, quantity } => {
                let (text, kind) = SKUS[*sku];
                let quantity = if kind.is_counted() { *quantity } else { 0 };
                let receipt = receipt_at(CENTRES[*centre], &format!("{run}-{at}"), &[(text, kind, quantity)]);
                let outcome = store.receive(&receipt, clerk(), DateTime::UNIX_EPOCH).await;
                verdicts.push(format!("{outcome:?}"));
                continue;
            }
            Scene::Limited { sku: of, limit } => {
                let outcome = store.limit_back_orders(&sku(SKUS[*of].0), *limit, clerk()).await;
                verdicts.push(format!("{outcome:?}"));
                continue;
            }
            Scene::Sent => {
                verdicts.push(format!("{:?}", send_awaited(&app).await.unwrap()));
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
        TRUNCATE stock_movements, stock_receipts, serial_numbers, shipments, entitlements, back_orders, allocations, reservation_lines, reservations,
                 stock, supplies, inbox, outbox;
        ALTER TABLE stock_movements ENABLE TRIGGER USER;
        "#,
    )
    .execute(&world.database.owner)
    .await
    .unwrap();
}
