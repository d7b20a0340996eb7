//! Many at once: what was there is sold once, and nobody waits for ever.

use std::sync::Arc;
use std::time::Duration;

use catalog::domain::inventory::SupplyKind;
use catalog::usecases::ports::stock::Committed;
use common::Explain as _;
use contracts::Event;
use messaging::Verdict;
use tokio::task::JoinSet;

use super::world::{
    Worker, World, clerk, compensated, completed, counts, created, new_order, receive, receive_at, row, sku,
};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Delivers as a consumer does: until it is settled. Bounded, because a database under a crowd may refuse a few times.
async fn settle(world: &impl Worker, event: &Event) {
    for _ in 0..200 {
        match world.take(event).await {
            Verdict::Done => return,
            Verdict::Retry => tokio::time::sleep(PAUSE).await,
            Verdict::Park(reason) => panic!("{}: {reason}", event.kind()),
        }
    }
    panic!("{} never settled", event.kind());
}

async fn all_at_once<W: Worker + 'static>(world: &Arc<W>, events: Vec<Event>) {
    let mut tasks = JoinSet::new();
    for event in events {
        let world = world.clone();
        tasks.spawn(async move { settle(&*world, &event).await });
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

/// As [`all_at_once`], but never more than so many in flight: a consumer has bounded hands, and so has this machine.
async fn in_crowds_of(crowd: usize, world: &Arc<World>, events: Vec<Event>) {
    let mut tasks = JoinSet::new();
    for event in events {
        if tasks.len() == crowd {
            tasks.join_next().await.unwrap().unwrap();
        }
        let world = world.clone();
        tasks.spawn(async move { settle(&*world, &event).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

async fn ended_as(world: &World, status: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM reservations WHERE status = $1")
        .bind(status)
        .fetch_one(&world.database.owner)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_ten_thousand_buyers_of_one_unit_exactly_one_wins() {
    let world = Arc::new(World::new().await);
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 1)]).await.unwrap();
    in_crowds_of(256, &world, (0..10_000).map(|_| created(new_order(), &[("A", 1)])).collect()).await;
    assert_eq!(counts(&*world.store, "A").await, (0, 1, 0, 1));
    assert_eq!((ended_as(&world, "HELD").await, ended_as(&world, "REJECTED").await), (1, 9_999));
    assert_eq!(world.count("SELECT count(*) FROM outbox WHERE topic = 'stock.reserved'").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM outbox WHERE topic = 'stock.rejected'").await, 9_999);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_hundred_buyers_of_a_hundred_units_take_exactly_a_hundred_from_wherever_they_lie() {
    let world = Arc::new(World::new().await);
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 60)]).await.unwrap();
    receive_at(&*world.store, "fc-b", "r2", &[("A", SupplyKind::Counted, 40)]).await;
    // Two processes with a batcher each: they meet at the rows.
    let other = Arc::new(world.beside());
    let (here, there): (Vec<_>, Vec<_>) =
        (0..500).map(|n| (n, created(new_order(), &[("A", 1)]))).partition(|(n, _)| n % 2 == 0);
    let events = |list: Vec<(i32, Event)>| list.into_iter().map(|(_, event)| event).collect::<Vec<_>>();
    let (first, second) = (events(here), events(there));
    tokio::join!(all_at_once(&world, first), all_at_once(&other, second));
    assert_eq!(counts(&*world.store, "A").await, (0, 100, 0, 100));
    assert_eq!((ended_as(&world, "HELD").await, ended_as(&world, "REJECTED").await), (100, 400));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_buyers_are_promised_no_more_than_the_limit_while_goods_come_in() {
    let world = Arc::new(World::new().await);
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 10)]).await.unwrap();
    world.store.limit_back_orders(&sku("A"), 30, clerk()).await.unwrap();
    let orders: Vec<_> = (0..200).map(|_| new_order()).collect();
    let events = orders.iter().map(|order| created(*order, &[("A", 1)])).collect();
    let deliveries = async {
        for n in 0..5 {
            receive_at(&*world.store, "fc-b", &format!("d{n}"), &[("A", SupplyKind::Counted, 4)]).await;
        }
    };
    let snapshots = async {
        for _ in 0..50 {
            let beyond = "SELECT count(*) FROM stock WHERE back_ordered > 30 OR back_ordered > 0 AND available > 0";
            assert_eq!(world.count(beyond).await, 0);
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(all_at_once(&world, events), deliveries, snapshots);
    // Ten were there, twenty came in, thirty may be owed at the end; less only if buyers came before the goods did.
    let held = ended_as(&world, "HELD").await;
    let owed = row(&*world.store, "A", "rdc-a").await.back_ordered;
    let free: i64 = counts(&*world.store, "A").await.0;
    assert_eq!(held, 10 + 20 - free + owed, "each hold is a unit that came in or one that is owed");
    assert!(owed <= 30, "{owed}");
    assert_eq!(held + ended_as(&world, "REJECTED").await, 200);
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
