//! What other services hear, in order, and what a shipment does.

use common::{Explain, ShipmentId};
use contracts::catalog::v1::ShipmentCreated;
use contracts::order::v1::{OrderCompensated, OrderCompleted, OrderCreated, OrderPaymentPending};
use contracts::{Event, Topic};
use messaging::Verdict;
use order_payment::domain::OrderStatus;
use order_payment::usecases::cancel_order::cancel_order;
use order_payment::usecases::views;

use crate::crashes::{deliver, delivery, rejected};
use crate::world::{World, a_key, an_order, answer, shopper};

async fn outbox(world: &World) -> Vec<(i64, Event)> {
    let rows: Vec<(String, i64, Vec<u8>)> = sqlx::query_as("SELECT topic, version, payload FROM outbox ORDER BY seq")
        .fetch_all(&world.database.as_ref().unwrap().owner)
        .await
        .unwrap();
    let topic = |kind: &str| -> &'static Topic {
        contracts::topics::TOPICS.iter().copied().find(|topic| topic.kind == kind).unwrap()
    };
    rows.into_iter().map(|(kind, version, payload)| (version, Event::decode(topic(&kind), &payload).unwrap())).collect()
}

#[tokio::test]
async fn a_completed_order_tells_its_three_steps() {
    let world = World::in_postgres().await;
    let id = world.an_order_to_pay().await;
    world.pay().await;
    let told = outbox(&world).await;
    let versions: Vec<_> = told.iter().map(|(version, _)| *version).collect();
    assert_eq!(versions, [1, 2, 3]);
    let Event::OrderCreated(OrderCreated { lines, total, ship_to_country, .. }) = &told[0].1 else {
        panic!("{told:?}")
    };
    assert_eq!(
        (lines.len(), lines[0].sku.as_str(), lines[0].quantity, ship_to_country.as_str()),
        (1, "LAMP-1", 1, "DE")
    );
    assert_eq!(total.as_ref().map(|total| (total.units, total.nanos)), Some((49, 900_000_000)));
    assert!(matches!(&told[1].1, Event::OrderPaymentPending(OrderPaymentPending { attempt: 1, .. })));
    assert!(
        matches!(&told[2].1, Event::OrderCompleted(OrderCompleted { order_id, .. }) if *order_id == id.to_string())
    );
}

#[tokio::test]
async fn a_compensated_order_says_why() {
    use contracts::order::v1::CompensationReason;
    let world = World::in_postgres().await;
    let id = world.place(shopper(), &a_key(), an_order()).await.unwrap().order;
    assert_eq!(deliver(&world, &rejected(id)).await, Verdict::Done);
    let told = outbox(&world).await;
    assert!(
        matches!(&told[1], (2, Event::OrderCompensated(OrderCompensated { reason, .. })) if *reason == CompensationReason::OutOfStock as i32)
    );
}

#[tokio::test]
async fn a_shipment_is_shown_and_only_for_a_paid_order() {
    let world = World::in_postgres().await;
    let me = shopper();
    let id = world.place(me, &a_key(), an_order()).await.unwrap().order;
    let shipment = ShipmentCreated {
        order_id: id.to_string(),
        shipment_id: ShipmentId::derive(id, "rdc-a").to_string(),
        fulfilment_centre: "rdc-a".to_owned(),
        created_at_ms: 1_700_000_000_000,
        ..Default::default()
    };
    let told = delivery(shipment, 1);
    assert!(matches!(deliver(&world, &told).await, Verdict::Park(_)), "it ships before it is paid");
    order_payment::usecases::begin_payment::begin_payment(&world.app, world.message(), id).await.unwrap();
    world.pay().await;
    assert_eq!(deliver(&world, &told).await, Verdict::Done);
    assert_eq!(deliver(&world, &told).await, Verdict::Done);
    let view = views::order(&world.app, me, id).await.unwrap();
    assert_eq!(view.shipment.map(|shipment| shipment.fulfilment_centre), Some("rdc-a".to_owned()));
}

#[tokio::test]
async fn a_cancelled_order_ends_unless_the_money_is_being_taken() {
    for world in crate::world::worlds().await {
        let me = shopper();
        // Before the stock is held.
        let early = world.place(me, &a_key(), an_order()).await.unwrap().order;
        let key = a_key();
        let done = cancel_order(&world.app, me, &key, early, answer).await.unwrap();
        assert_eq!((done.replayed, world.status(early).await), (false, OrderStatus::Compensated));
        assert!(cancel_order(&world.app, me, &key, early, answer).await.unwrap().replayed);
        assert_eq!(cancel_order(&world.app, me, &a_key(), early, answer).await.unwrap_err().code(), "state-conflict");
        // While the payment is prepared.
        let paying = world.place(me, &a_key(), an_order()).await.unwrap().order;
        order_payment::usecases::begin_payment::begin_payment(&world.app, world.message(), paying).await.unwrap();
        cancel_order(&world.app, me, &a_key(), paying, answer).await.unwrap();
        world.pay().await;
        assert_eq!((world.status(paying).await, world.ledger(paying).await), (OrderStatus::Compensated, 0));
        // After it is paid, and somebody else's.
        let paid = world.place(me, &a_key(), an_order()).await.unwrap().order;
        order_payment::usecases::begin_payment::begin_payment(&world.app, world.message(), paid).await.unwrap();
        world.pay().await;
        assert_eq!(cancel_order(&world.app, me, &a_key(), paid, answer).await.unwrap_err().code(), "state-conflict");
        assert_eq!(cancel_order(&world.app, shopper(), &a_key(), paid, answer).await.unwrap_err().code(), "not-found");
        assert_eq!(world.status(paid).await, OrderStatus::Completed);
    }
}
