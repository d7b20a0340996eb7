//! Many at once: what was there is sold once, and nobody waits for ever.

use std::sync::Arc;
use std::time::Duration;

use catalog::domain::inventory::SupplyKind;
use catalog::usecases::ports::stock::Committed;
use common::Explain as _;
use contracts::Event;
use messaging::Verdict;
use tokio::task::JoinSet;

use super::world::{World, compensated, completed, counts, created, new_order, receive};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Delivers as a consumer does: until it is settled. Bounded, because a database under a crowd may refuse a few times.
async fn settle(world: &World, event: &Event) {
    for _ in 0..200 {
        match world.deliver(event).await {
            Verdict::Done => return,
            Verdict::Retry => tokio::time::sleep(PAUSE).await,
            Verdict::Park(reason) => panic!("{}: {reason}", event.kind()),
        }
    }
    panic!("{} never settled", event.kind());
}

async fn all_at_once(world: &Arc<World>, events: Vec<Event>) {
    let mut tasks = JoinSet::new();
    for event in events {
        let world = world.clone();
        tasks.spawn(async move { settle(&world, &event).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_orders_for_twenty_units_reserve_exactly_twenty() {
    let world = Arc::new(World::new().await);
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 20)]).await.unwrap();
    all_at_once(&world, (0..200).map(|_| created(new_order(), &[("A", 1)])).collect()).await;
    assert_eq!(counts(&*world.store, "A").await, (0, 20, 0, 20));
    assert_eq!(world.count("SELECT count(*) FROM reservations WHERE status = 'HELD'").await, 20);
    assert_eq!(world.count("SELECT count(*) FROM reservations WHERE status = 'REJECTED'").await, 180);
    assert_eq!(world.count("SELECT count(*) FROM outbox WHERE topic = 'stock.reserved'").await, 20);
    assert_eq!(world.count("SELECT count(*) FROM outbox WHERE topic = 'stock.rejected'").await, 180);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn orders_over_the_same_shelves_in_opposite_orders_all_come_to_an_end() {
    let world = Arc::new(World::new().await);
    let kind = SupplyKind::Counted;
    receive(&*world.store, "r1", &[("A", kind, 60), ("B", kind, 60), ("C", kind, 60)]).await.unwrap();
    let baskets: [&[(&str, u32)]; 4] =
        [&[("A", 1), ("B", 1)], &[("B", 1), ("A", 1)], &[("C", 1), ("A", 1)], &[("B", 1), ("C", 1)]];
    let orders: Vec<_> = (0..80).map(|n| (new_order(), baskets[n % baskets.len()], n % 2 == 0)).collect();
    // News of one order race each other, and orders race for the shelves.
    let mut events: Vec<Event> = Vec::new();
    for (order, basket, paid) in &orders {
        events.push(created(*order, basket));
        events.push(created(*order, basket));
        events.push(if *paid { completed(*order, basket) } else { compensated(*order) });
    }
    all_at_once(&world, events).await;
    assert_eq!(world.count("SELECT count(*) FROM reservations WHERE status = 'HELD'").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM reservations WHERE status = 'FINALISED'").await, 40);
    world.audit().await;
}

/// Sends it as staff's client does: again, while the store says that this can help.
async fn send_receipt(world: &World) -> Committed {
    for _ in 0..50 {
        match receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 5), ("B", SupplyKind::Counted, 5)]).await {
            Ok(committed) => return committed,
            Err(error) if error.kind().retryable() => tokio::time::sleep(PAUSE).await,
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("the receipt was never answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_reference_sent_by_many_counts_once() {
    let world = Arc::new(World::new().await);
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let world = world.clone();
        tasks.spawn(async move { send_receipt(&world).await });
    }
    let mut applied = 0;
    while let Some(outcome) = tasks.join_next().await {
        applied += i32::from(outcome.unwrap() == Committed::Applied);
    }
    assert_eq!(applied, 1);
    assert_eq!(counts(&*world.store, "A").await, (5, 0, 0, 5));
    world.audit().await;
}
