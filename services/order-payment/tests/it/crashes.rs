//! Every step of the saga may stop anywhere: it is stopped at each of its crash points, then done again, twice.

use std::sync::{Arc, Mutex};

use chrono::Duration;
use common::{AttemptId, MessageId, OrderId, Region, UserId, ids};
use contracts::envelope::Envelope;
use contracts::{Event, catalog, user};
use messaging::{Delivery, Handler, Verdict};
use order_payment::domain::{AttemptState, OrderStatus, Reason};
use order_payment::inbound::events::Events;
use order_payment::usecases::compensate_order::sweep_deadlines;
use testkit::TestDatabase;
use testkit::crash::{permutations, survives_every_crash};

use crate::world::{REGION, Weather, World, a_database, a_key, an_order, shopper};

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
    for place in Place::both().await {
        let who = Mutex::new((shopper(), a_key()));
        let asked = || who.lock().unwrap().clone();
        let survived = survives_every_crash(
            async || {
                *who.lock().unwrap() = (shopper(), a_key());
                place.world()
            },
            async |world: &World| {
                let (me, key) = asked();
                drop(world.place(me, &key, an_order()).await);
            },
            async |world: &World, when: &str| {
                let (me, key) = asked();
                let id = OrderId::derive(REGION, me.user, &key);
                assert_eq!(world.status(id).await, OrderStatus::Created, "{when}");
                if world.database.is_some() {
                    for table in ["orders", "order_lines", "order_history"] {
                        assert_eq!(world.rows_of(table, "order_id", id).await, 1, "{table} {when}");
                    }
                    assert_eq!(world.rows_of("outbox", "key", id).await, 1, "{when}");
                    assert_eq!(world.rows_of("requests", "subject", me.user).await, 1, "{when}");
                    assert_eq!(world.rows_of("order_users", "user_id", me.user).await, 1, "{when}");
                }
            },
        )
        .await;
        assert!(survived.points.len() >= 2, "{survived:?}");
    }
}

#[tokio::test]
async fn each_event_survives_every_crash() {
    for place in Place::both().await {
        for (event, expected) in [("reserved", OrderStatus::PaymentPending), ("rejected", OrderStatus::Compensated)] {
            let order = Mutex::new(None);
            let placed = || order.lock().unwrap().unwrap();
            survives_every_crash(
                async || {
                    let world = place.world();
                    let id = world.place(shopper(), &a_key(), an_order()).await.unwrap().order;
                    *order.lock().unwrap() = Some(id);
                    world
                },
                async |world: &World| {
                    let delivery = if event == "reserved" { reserved(placed()) } else { rejected(placed()) };
                    deliver(world, &delivery).await;
                },
                async |world: &World, when: &str| {
                    let order = world.order(placed()).await;
                    assert_eq!((order.status, order.version), (expected, 2), "{event} {when}");
                    if world.database.is_some() {
                        let message = if event == "reserved" { reserved(order.id) } else { rejected(order.id) };
                        assert_eq!(world.rows_of("outbox", "key", order.id).await, 2, "{event} {when}");
                        assert_eq!(
                            world.rows_of("inbox", "message_id", message.envelope.id).await,
                            1,
                            "{event} {when}"
                        );
                        let attempts = i64::from(event == "reserved");
                        assert_eq!(
                            world.rows_of("payment_attempts", "order_id", order.id).await,
                            attempts,
                            "{event} {when}"
                        );
                    }
                },
            )
            .await;
        }
    }
}

#[tokio::test]
async fn a_person_is_known_once_whatever_stops() {
    for place in Place::both().await {
        let person = Mutex::new(UserId::from_uuid(ids::random()));
        survives_every_crash(
            async || {
                *person.lock().unwrap() = UserId::from_uuid(ids::random());
                place.world()
            },
            async |world: &World| {
                let user_id = person.lock().unwrap().to_string();
                let event = user::v1::UserRegistered {
                    user_id,
                    residency_region: REGION.code().to_owned(),
                    ..Default::default()
                };
                deliver(world, &delivery(event, 1)).await;
            },
            async |world: &World, when: &str| {
                let id = *person.lock().unwrap();
                if world.database.is_some() {
                    assert_eq!(world.rows_of("order_users", "user_id", id).await, 1, "{when}");
                }
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_payment_survives_every_crash_in_any_weather() {
    for place in Place::both().await {
        let skies: [&[Weather]; 4] = [
            &[],
            &[Weather::LostAfter],
            &[Weather::Fine, Weather::LostAfter, Weather::LostBefore],
            &[Weather::Refused, Weather::Fine, Weather::Fine, Weather::LostAfter],
        ];
        // PostgreSQL sees the two skies with the most steps; the suite of stores holds both kinds of books alike.
        let skies = if place.0.is_some() { &skies[2..] } else { &skies[..] };
        for sky in skies {
            for declines in [false, true] {
                let order = Mutex::new(None);
                survives_every_crash(
                    async || {
                        let world = place.world();
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
                        if world.database.is_some() {
                            assert_eq!(world.rows_of("outbox", "key", id).await, 3, "{when}");
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
    for place in Place::both().await {
        for paying in [false, true] {
            let order = Mutex::new(None);
            survives_every_crash(
                async || {
                    let world = place.world();
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

/// The books of one test: in memory, new for each world, or in one database that all its worlds share.
pub struct Place(Option<Arc<TestDatabase>>);

impl Place {
    pub async fn both() -> [Self; 2] {
        [Self(None), Self(Some(a_database().await))]
    }

    pub fn world(&self) -> World {
        self.0.as_ref().map_or_else(World::in_memory, World::on)
    }
}
