//! The saga's deliveries, each possibly twice, in every order they can arrive in: the end is the same.

use std::collections::BTreeSet;

use catalog::domain::inventory::SupplyKind;
use catalog::domain::reservation::Status;
use common::OrderId;
use contracts::Event;
use messaging::Verdict;

use super::world::{World, compensated, completed, counts, created, new_order, receive};

const BASKET: [(&str, u32); 3] = [("A", 2), ("D", 1), ("S", 3)];

async fn stocked() -> World {
    use SupplyKind::{Counted, Serialised, Unlimited};
    let world = World::new().await;
    receive(&*world.store, "r1", &[("A", Counted, 1000), ("D", Unlimited, 0), ("S", Serialised, 1000)]).await.unwrap();
    world
}

/// Delivers in this order; what asks for a retry is tried again after the others, as a consumer of another topic would.
async fn deliver_all(world: &World, deliveries: &[Event]) -> Vec<Verdict> {
    let (mut waiting, mut verdicts) = (deliveries.to_vec(), Vec::new());
    // Each round ends at least one delivery, so there are never more rounds than deliveries.
    for _ in 0..=deliveries.len() {
        let mut retried = Vec::new();
        for event in waiting {
            match world.deliver(&event).await {
                Verdict::Retry => retried.push(event),
                verdict => verdicts.push(verdict),
            }
        }
        waiting = retried;
    }
    assert!(waiting.is_empty(), "never settled: {waiting:?}");
    verdicts
}

/// Every order in which the news of one order can arrive, each of them twice.
fn arrivals(first: &'static str, second: &'static str) -> BTreeSet<Vec<&'static str>> {
    testkit::crash::permutations(&[first, first, second, second]).into_iter().collect()
}

fn news(kind: &str, order: OrderId) -> Event {
    match kind {
        "order.created" => created(order, &BASKET),
        "order.completed" => completed(order, &BASKET),
        _ => compensated(order),
    }
}

async fn status(world: &World, order: OrderId) -> Option<(Status, i64)> {
    world.store.reservation(order).await.unwrap().map(|reservation| (reservation.status, reservation.version))
}

#[tokio::test]
async fn a_paid_order_ends_sold_and_sent_in_whatever_order_its_news_arrive() {
    let world = stocked().await;
    let arrivals = arrivals("order.created", "order.completed");
    assert_eq!(arrivals.len(), 6);
    for (done, kinds) in arrivals.iter().enumerate() {
        let order = new_order();
        let deliveries: Vec<Event> = kinds.iter().map(|kind| news(kind, order)).collect();
        let verdicts = deliver_all(&world, &deliveries).await;
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Done), "{verdicts:?}");
        assert_eq!(status(&world, order).await, Some((Status::Finalised, 2)));
        assert_eq!(world.told(order).await, ["stock.reserved", "stock.finalised", "shipment.created"]);
        let sold = i64::try_from(done).unwrap() + 1;
        assert_eq!(counts(&*world.store, "A").await, (1000 - 2 * sold, 0, 2 * sold, 1000));
        assert_eq!(counts(&*world.store, "D").await, (0, 0, sold, sold));
        assert_eq!(counts(&*world.store, "S").await, (1000 - 3 * sold, 0, 3 * sold, 1000));
    }
    world.audit().await;
}

#[tokio::test]
async fn a_compensated_order_holds_nothing_in_whatever_order_its_news_arrive() {
    let world = stocked().await;
    for kinds in arrivals("order.created", "order.compensated") {
        let order = new_order();
        let deliveries: Vec<Event> = kinds.iter().map(|kind| news(kind, order)).collect();
        let verdicts = deliver_all(&world, &deliveries).await;
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Done), "{verdicts:?}");
        // A compensation that came first leaves a tombstone: nothing was held, so nothing is told.
        let (expected, told): (_, &[&str]) = if kinds[0] == "order.created" {
            ((Status::Released, 2), &["stock.reserved", "stock.released"])
        } else {
            ((Status::Released, 1), &[])
        };
        assert_eq!(status(&world, order).await, Some(expected));
        assert_eq!(world.told(order).await, told);
        assert_eq!(counts(&*world.store, "A").await, (1000, 0, 0, 1000));
        assert_eq!(counts(&*world.store, "D").await, (0, 0, 0, 0));
        assert_eq!(counts(&*world.store, "S").await, (1000, 0, 0, 1000));
    }
    world.audit().await;
}

#[tokio::test]
async fn a_rejected_order_says_so_once_and_its_compensation_gives_nothing_back() {
    let world = stocked().await;
    let order = new_order();
    let too_much = [("A", 2), ("S", 1001)];
    let verdicts = deliver_all(
        &world,
        &[created(order, &too_much), created(order, &too_much), compensated(order), compensated(order)],
    )
    .await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Done), "{verdicts:?}");
    assert_eq!(status(&world, order).await, Some((Status::Rejected, 1)));
    assert_eq!(world.told(order).await, ["stock.rejected"]);
    assert_eq!(counts(&*world.store, "A").await, (1000, 0, 0, 1000));
    world.audit().await;
}

#[tokio::test]
async fn a_completion_waits_for_an_order_that_is_still_on_its_way() {
    let world = stocked().await;
    let order = new_order();
    assert_eq!(world.deliver(&completed(order, &BASKET)).await, Verdict::Retry);
    assert_eq!(status(&world, order).await, None);
    assert_eq!(world.deliver(&created(order, &BASKET)).await, Verdict::Done);
    assert_eq!(world.deliver(&completed(order, &BASKET)).await, Verdict::Done);
    assert_eq!(status(&world, order).await, Some((Status::Finalised, 2)));
}

#[tokio::test]
async fn what_must_not_happen_is_parked_for_a_person_and_changes_nothing() {
    let world = stocked().await;
    let (paid, ended, other) = (new_order(), new_order(), new_order());
    deliver_all(
        &world,
        &[
            created(paid, &BASKET),
            completed(paid, &BASKET),
            created(ended, &BASKET),
            compensated(ended),
            created(other, &BASKET),
        ],
    )
    .await;
    let before = (counts(&*world.store, "A").await, counts(&*world.store, "S").await);
    for event in [compensated(paid), completed(ended, &BASKET), completed(other, &[("A", 1)])] {
        let verdict = world.deliver(&event).await;
        assert!(
            matches!(&verdict, Verdict::Park(reason) if reason.starts_with("state-conflict")),
            "{} {verdict:?}",
            event.kind()
        );
    }
    assert_eq!((counts(&*world.store, "A").await, counts(&*world.store, "S").await), before);
    world.audit().await;
}

#[tokio::test]
async fn a_download_may_be_used_and_is_not_sent() {
    let world = stocked().await;
    let order = new_order();
    deliver_all(&world, &[created(order, &[("D", 1)]), completed(order, &[("D", 1)])]).await;
    assert_eq!(world.told(order).await, ["stock.reserved", "stock.finalised"]);
    assert_eq!(world.count("SELECT count(*) FROM shipments").await, 0);
    assert_eq!(world.count("SELECT quantity FROM entitlements WHERE revoked = 0 AND valid_until IS NULL").await, 1);
    world.audit().await;
}

#[tokio::test]
async fn a_shipment_points_to_the_completed_order_that_caused_it() {
    let world = stocked().await;
    let order = new_order();
    let paid = completed(order, &BASKET);
    deliver_all(&world, &[created(order, &BASKET), paid.clone()]).await;
    let cause: uuid::Uuid = sqlx::query_scalar(
        "SELECT i.message_id FROM shipments s JOIN inbox i USING (consumer, message_id) WHERE s.order_id = $1",
    )
    .bind(order.uuid())
    .fetch_one(&world.database.owner)
    .await
    .unwrap();
    assert_eq!(cause, super::world::delivery(&paid).envelope.id.uuid());
}
