//! Every step of the saga stopped at every point of its way, then done again twice: the end is as if nothing had happened.

use catalog::domain::inventory::SupplyKind;
use catalog::domain::reservation::Status;
use catalog::usecases::send_awaited::send_awaited;
use common::{OrderId, ids};
use contracts::Event;
use messaging::Verdict;
use testkit::crash::survives_every_crash;

use super::world::{
    World, clerk, compensated, completed, counts, created, new_order, payment_pending, receive, returned, sku,
};

const BASKET: [(&str, u32); 2] = [("A", 2), ("S", 1)];

/// What a story should leave behind.
struct Ending {
    status: (Status, i64),
    /// Available, held and sold of A, which came in with ten units.
    counts: (i64, i64, i64),
    told: &'static [&'static str],
}

/// Units received, the news that came before the step, the news whose handling is stopped everywhere.
async fn story(received: u32, before: fn(OrderId) -> Vec<Event>, step: fn(OrderId) -> Vec<Event>, ending: Ending) {
    // Worlds are told apart by their databases; the order is the same in all of them.
    let order = OrderId::from_uuid(ids::random());
    let survived = survives_every_crash(
        async || {
            let world = World::new().await;
            receive(&*world.store, "r1", &[("A", SupplyKind::Counted, received), ("S", SupplyKind::Serialised, 10)])
                .await
                .unwrap();
            for event in before(order) {
                assert_eq!(world.deliver(&event).await, Verdict::Done);
            }
            world
        },
        async |world: &World| {
            for event in step(order) {
                if world.deliver(&event).await != Verdict::Done {
                    return;
                }
            }
        },
        async |world: &World, when: &str| {
            let reservation = world.store.reservation(order).await.unwrap().map(|found| (found.status, found.version));
            assert_eq!(reservation, Some(ending.status), "{when}");
            let (available, held, sold, _) = counts(&*world.store, "A").await;
            assert_eq!((available, held, sold), ending.counts, "{when}");
            assert_eq!(world.told(order).await, ending.told, "{when}");
            world.audit().await;
        },
    )
    .await;
    assert!(survived.points.len() >= 5, "{:?}", survived.points);
}

fn nothing(_order: OrderId) -> Vec<Event> {
    Vec::new()
}

fn order_created(order: OrderId) -> Vec<Event> {
    vec![created(order, &BASKET)]
}

fn order_compensated(order: OrderId) -> Vec<Event> {
    vec![compensated(order)]
}

fn order_completed(order: OrderId) -> Vec<Event> {
    vec![completed(order, &BASKET)]
}

#[tokio::test]
async fn reserving_survives_every_crash() {
    let ending = Ending { status: (Status::Held, 1), counts: (8, 2, 0), told: &["stock.reserved"] };
    story(10, nothing, order_created, ending).await;
}

#[tokio::test]
async fn rejecting_survives_every_crash() {
    let ending = Ending { status: (Status::Rejected, 1), counts: (1, 0, 0), told: &["stock.rejected"] };
    story(1, nothing, order_created, ending).await;
}

#[tokio::test]
async fn releasing_survives_every_crash() {
    let ending =
        Ending { status: (Status::Released, 2), counts: (10, 0, 0), told: &["stock.reserved", "stock.released"] };
    story(10, order_created, order_compensated, ending).await;
}

#[tokio::test]
async fn a_tombstone_survives_every_crash() {
    let ending = Ending { status: (Status::Released, 1), counts: (10, 0, 0), told: &[] };
    story(10, nothing, |order| vec![compensated(order), created(order, &BASKET)], ending).await;
}

#[tokio::test]
async fn finalising_survives_every_crash() {
    let ending = Ending {
        status: (Status::Finalised, 2),
        counts: (8, 0, 2),
        told: &["stock.reserved", "stock.finalised", "shipment.created"],
    };
    story(10, order_created, order_completed, ending).await;
}

#[tokio::test]
async fn a_whole_order_survives_every_crash() {
    let ending = Ending {
        status: (Status::Finalised, 2),
        counts: (8, 0, 2),
        told: &["stock.reserved", "stock.finalised", "shipment.created"],
    };
    story(10, nothing, |order| [order_created(order), order_completed(order)].concat(), ending).await;
}

#[tokio::test]
async fn extending_survives_every_crash() {
    let ending = Ending { status: (Status::Held, 2), counts: (8, 2, 0), told: &["stock.reserved"] };
    story(10, order_created, |order| vec![payment_pending(order, 9_999_999_999_999)], ending).await;
}

#[tokio::test]
async fn returning_survives_every_crash() {
    let order = OrderId::from_uuid(ids::random());
    let survived = survives_every_crash(
        async || {
            let world = World::new().await;
            receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 10), ("D", SupplyKind::Unlimited, 0)])
                .await
                .unwrap();
            let basket = [("A", 2), ("D", 3)];
            for event in [created(order, &basket), completed(order, &basket)] {
                assert_eq!(world.deliver(&event).await, Verdict::Done);
            }
            world
        },
        async |world: &World| {
            let _ = returned(world, order, 7, Some(&[("A", 1), ("D", 3)])).await;
        },
        async |world: &World, when: &str| {
            // The two units of A have left the house, and of D nothing ever lay there.
            assert_eq!(counts(&*world.store, "A").await, (8, 0, 2, 10), "{when}");
            assert_eq!(world.count("SELECT sum(returned)::bigint FROM stock").await, 3, "{when}");
            assert_eq!(world.count("SELECT revoked FROM entitlements WHERE revoked_at IS NOT NULL").await, 3, "{when}");
            world.audit().await;
        },
    )
    .await;
    assert!(survived.points.len() >= 5, "{:?}", survived.points);
}

/// The parcel of a paid order leaves when its goods are there, whatever stops the duty that looks for it.
#[tokio::test]
async fn sending_awaited_parcels_survives_every_crash() {
    let order = OrderId::from_uuid(ids::random());
    let survived = survives_every_crash(
        async || {
            let world = World::new().await;
            receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 1)]).await.unwrap();
            world.store.limit_back_orders(&sku("A"), 5, clerk()).await.unwrap();
            for event in [created(order, &[("A", 3)]), completed(order, &[("A", 3)])] {
                assert_eq!(world.deliver(&event).await, Verdict::Done);
            }
            assert_eq!(send_awaited(&world.app).await.unwrap(), 0, "the goods are not there");
            assert_eq!(world.told(order).await, ["stock.reserved", "stock.finalised"]);
            receive(&*world.store, "r2", &[("A", SupplyKind::Counted, 2)]).await.unwrap();
            world
        },
        async |world: &World| {
            let _ = send_awaited(&world.app).await;
        },
        async |world: &World, when: &str| {
            assert_eq!(world.told(order).await, ["stock.reserved", "stock.finalised", "shipment.created"], "{when}");
            assert_eq!(world.count("SELECT count(*) FROM shipments WHERE state = 'READY'").await, 1, "{when}");
            world.audit().await;
        },
    )
    .await;
    assert!(survived.points.len() >= 5, "{:?}", survived.points);
}

#[tokio::test]
async fn receiving_survives_every_crash() {
    let survived = survives_every_crash(
        World::new,
        async |world: &World| {
            let _ =
                receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 5), ("B", SupplyKind::Serialised, 2)]).await;
        },
        async |world: &World, when: &str| {
            assert_eq!(counts(&*world.store, "A").await, (5, 0, 0, 5), "{when}");
            assert_eq!(counts(&*world.store, "B").await, (2, 0, 0, 2), "{when}");
            world.audit().await;
        },
    )
    .await;
    assert!(survived.points.len() >= 4, "{:?}", survived.points);
}

/// The order of another shopper on the same shelf is not touched by any of it.
#[tokio::test]
async fn a_neighbour_keeps_what_it_holds() {
    let world = World::new().await;
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 3)]).await.unwrap();
    let (neighbour, order) = (new_order(), new_order());
    for event in [created(neighbour, &[("A", 2)]), created(order, &[("A", 1)]), compensated(order), compensated(order)]
    {
        assert_eq!(world.deliver(&event).await, Verdict::Done);
    }
    assert_eq!(counts(&*world.store, "A").await, (1, 2, 0, 3));
    world.audit().await;
}
