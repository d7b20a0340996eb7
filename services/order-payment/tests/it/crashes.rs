//! Every step of the saga may stop anywhere: it is stopped at each of its crash points, then done again, twice.

use std::sync::Arc;

use chrono::Duration;
use common::{AttemptId, MessageId, OrderId, Region, UserId, ids};
use contracts::envelope::Envelope;
use contracts::{Event, catalog, user};
use messaging::{Delivery, Handler, Verdict};
use order_payment::domain::{AttemptState, OrderStatus, Reason};
use order_payment::inbound::events::Events;
use order_payment::usecases::compensate_order::sweep_deadlines;
use testkit::crash::{permutations, survives_every_crash};

use crate::world::{REGION, Weather, World, a_key, an_order, shopper};

/// An event as the consumer hands it over; the same arguments give the same message.
pub fn delivery(event: impl Into<Event>, version: i64) -> Delivery {
    let event = event.into();
    let envelope = Envelope {
        id: MessageId::derive(event.key(), version, event.kind()),
        region: REGION,
        epoch: 1,
        version,
        occurred_at_ms: 0,
        source_lsn: 0,
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
    };
    Delivery { event, envelope }
}

pub fn reserved(order: OrderId) -> Delivery {
    delivery(catalog::v1::StockReserved { order_id: order.to_string() }, 1)
}

pub fn rejected(order: OrderId) -> Delivery {
    delivery(catalog::v1::StockRejected { order_id: order.to_string(), sku: "LAMP-1".to_owned() }, 1)
}

pub async fn deliver(world: &World, delivery: &Delivery) -> Verdict {
    Events(Arc::clone(&world.app)).handle(delivery).await
}

#[tokio::test]
async fn placing_an_order_survives_every_crash() {
    for postgres in [false, true] {
        let me = shopper();
        let key = a_key();
        let survived = survives_every_crash(
            async || world(postgres).await,
            async |world: &World| drop(world.place(me, &key, an_order()).await),
            async |world: &World, when: &str| {
                let id = OrderId::derive(REGION, me.user, &key);
                assert_eq!(world.status(id).await, OrderStatus::Created, "{when}");
                if let Some(database) = &world.database {
                    for table in ["orders", "order_lines", "order_history", "outbox", "requests", "order_users"] {
                        assert_eq!(database.count(table).await, 1, "{table} {when}");
                    }
                }
            },
        )
        .await;
        assert!(survived.points.len() >= 2, "{survived:?}");
    }
}

#[tokio::test]
async fn each_event_survives_every_crash() {
    for postgres in [false, true] {
        for (event, expected) in [("reserved", OrderStatus::PaymentPending), ("rejected", OrderStatus::Compensated)] {
            let (me, key) = (shopper(), a_key());
            let id = OrderId::derive(REGION, me.user, &key);
            survives_every_crash(
                async || {
                    let world = world(postgres).await;
                    world.place(me, &key, an_order()).await.unwrap();
                    world
                },
                async |world: &World| {
                    let delivery = if event == "reserved" { reserved(id) } else { rejected(id) };
                    deliver(world, &delivery).await;
                },
                async |world: &World, when: &str| {
                    let order = world.order(id).await;
                    assert_eq!((order.status, order.version), (expected, 2), "{event} {when}");
                    if let Some(database) = &world.database {
                        let attempts = i64::from(event == "reserved");
                        assert_eq!(
                            (database.count("outbox").await, database.count("inbox").await),
                            (2, 1),
                            "{event} {when}"
                        );
                        assert_eq!(database.count("payment_attempts").await, attempts, "{event} {when}");
                    }
                },
            )
            .await;
        }
    }
}

#[tokio::test]
async fn a_person_is_known_once_whatever_stops() {
    for postgres in [false, true] {
        let id = UserId::from_uuid(ids::random());
        survives_every_crash(
            async || world(postgres).await,
            async |world: &World| {
                let event = user::v1::UserRegistered {
                    user_id: id.to_string(),
                    residency_region: REGION.code().to_owned(),
                    ..Default::default()
                };
                deliver(world, &delivery(event, 1)).await;
            },
            async |world: &World, when: &str| {
                if let Some(database) = &world.database {
                    assert_eq!(database.count("order_users").await, 1, "{when}");
                }
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_payment_survives_every_crash_in_any_weather() {
    for postgres in [false, true] {
        let skies: [&[Weather]; 4] = [
            &[],
            &[Weather::LostAfter],
            &[Weather::Fine, Weather::LostAfter, Weather::LostBefore],
            &[Weather::Refused, Weather::Fine, Weather::Fine, Weather::LostAfter],
        ];
        // PostgreSQL sees the two skies with the most steps; the suite of stores holds both kinds of books alike.
        let skies = if postgres { &skies[2..] } else { &skies[..] };
        for sky in skies {
            for declines in [false, true] {
                let order = std::sync::Mutex::new(None);
                survives_every_crash(
                    async || {
                        let world = world(postgres).await;
                        world.gateway.forecast(sky);
                        *world.gateway.declines.lock().unwrap() = declines;
                        let id = world.an_order_to_pay().await;
                        *order.lock().unwrap() = Some(id);
                        world
                    },
                    async |world: &World| world.pay().await,
                    async |world: &World, when: &str| {
                        let id = order.lock().unwrap().unwrap();
                        let (status, money) =
                            if declines { (OrderStatus::Compensated, 0) } else { (OrderStatus::Completed, 4990) };
                        assert_eq!(world.status(id).await, status, "{sky:?} {when}");
                        assert_eq!((world.ledger(id).await, world.gateway.net(id)), (money, money), "{sky:?} {when}");
                        if let Some(database) = &world.database {
                            assert_eq!(database.count("outbox").await, 3, "{when}");
                        }
                    },
                )
                .await;
            }
        }
    }
}

#[tokio::test]
async fn the_deadline_sweep_survives_every_crash() {
    for postgres in [false, true] {
        for paying in [false, true] {
            let order = std::sync::Mutex::new(None);
            survives_every_crash(
                async || {
                    let world = world(postgres).await;
                    let id = if paying {
                        // The gateway cannot be reached at all.
                        world.gateway.forecast(&[Weather::Refused; 200]);
                        world.an_order_to_pay().await
                    } else {
                        world.place(shopper(), &a_key(), an_order()).await.unwrap().order
                    };
                    *order.lock().unwrap() = Some(id);
                    world.clock.advance(Duration::minutes(16));
                    world
                },
                async |world: &World| {
                    let _ = sweep_deadlines(&world.app).await;
                    world.pay().await;
                },
                async |world: &World, when: &str| {
                    let id = order.lock().unwrap().unwrap();
                    let order = world.order(id).await;
                    assert_eq!(
                        (order.status, order.reason),
                        (OrderStatus::Compensated, Some(Reason::Expired)),
                        "{when}"
                    );
                    assert_eq!((world.ledger(order.id).await, world.gateway.net(order.id)), (0, 0), "{when}");
                },
            )
            .await;
        }
    }
}

/// Deliveries, the sweep and the payment worker in any order, each delivery twice: money agrees everywhere at the end.
#[tokio::test]
async fn shuffled_and_doubled_steps_end_in_one_agreed_state() {
    #[derive(Clone, Copy, Debug)]
    enum Happens {
        Reserved,
        ReservedAgain,
        DeadlinePasses,
        Pays,
        Registered,
    }
    use Happens::{DeadlinePasses, Pays, Registered, Reserved, ReservedAgain};
    for order_of_things in permutations(&[Reserved, ReservedAgain, DeadlinePasses, Pays, Registered]) {
        let world = World::in_memory();
        let me = shopper();
        let id = world.place(me, &a_key(), an_order()).await.unwrap().order;
        for happens in &order_of_things {
            match happens {
                Reserved | ReservedAgain => assert_eq!(deliver(&world, &reserved(id)).await, Verdict::Done),
                DeadlinePasses => {
                    world.clock.advance(Duration::minutes(16));
                    sweep_deadlines(&world.app).await.unwrap();
                }
                Pays => world.pay().await,
                Registered => {
                    let event = user::v1::UserRegistered {
                        user_id: me.user.to_string(),
                        residency_region: REGION.code().to_owned(),
                        ..Default::default()
                    };
                    assert_eq!(deliver(&world, &delivery(event, 1)).await, Verdict::Done);
                }
            }
        }
        world.pay().await;
        let order = world.order(id).await;
        let money = if order.status == OrderStatus::Completed { 4990 } else { 0 };
        assert!(order.status.is_final(), "{order_of_things:?}");
        assert_eq!((world.ledger(id).await, world.gateway.net(id)), (money, money), "{order_of_things:?}");
        let attempt = world.books().attempts.get(&AttemptId::derive(id, 1)).cloned();
        assert_eq!(
            attempt.is_some_and(|attempt| attempt.state == AttemptState::Captured),
            money > 0,
            "{order_of_things:?}"
        );
    }
}

#[tokio::test]
async fn an_event_of_another_region_or_order_is_parked() {
    let world = World::in_memory();
    let unknown = OrderId::from_uuid(ids::random());
    assert!(matches!(deliver(&world, &reserved(unknown)).await, Verdict::Park(_)));
    assert!(matches!(deliver(&world, &rejected(unknown)).await, Verdict::Park(_)));
    let garbled = delivery(catalog::v1::StockReserved { order_id: "' OR 1=1".to_owned() }, 1);
    assert!(matches!(deliver(&world, &garbled).await, Verdict::Park(_)));
    let abroad = user::v1::UserRegistered {
        user_id: ids::random().to_string(),
        residency_region: Region::Us.code().to_owned(),
        ..Default::default()
    };
    assert!(matches!(deliver(&world, &delivery(abroad, 1)).await, Verdict::Park(_)));
    let paying = world.an_order_to_pay().await;
    assert!(matches!(deliver(&world, &rejected(paying)).await, Verdict::Park(_)), "rejected after it was reserved");
}

async fn world(postgres: bool) -> World {
    if postgres { World::in_postgres().await } else { World::in_memory() }
}
