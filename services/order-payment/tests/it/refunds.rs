//! Money that was taken for an order that is given up goes back, once.

use chrono::Duration;
use order_payment::domain::{AttemptState, Call, IntentStatus, OrderStatus};
use order_payment::usecases::compensate_order::sweep_deadlines;
use order_payment::usecases::reconcile::reconcile;
use testkit::crash::survives_every_crash;

use crate::world::{Weather, World, worlds};

/// An order that was given up with the gateway's word, and that the gateway charged in spite of it.
async fn betrayed(world: &World) -> common::OrderId {
    world.gateway.forecast(&[Weather::Fine, Weather::Fine, Weather::Refused]);
    let id = world.an_order_to_pay().await;
    order_payment::usecases::process_payment::process_payments(&world.app).await.unwrap();
    world.clock.advance(Duration::minutes(16));
    sweep_deadlines(&world.app).await.unwrap();
    world.pay().await;
    assert_eq!(
        (world.status(id).await, world.charge(id).await.state),
        (OrderStatus::Compensated, AttemptState::Voided)
    );
    assert_eq!(world.gateway.calls.lock().unwrap().last(), Some(&Call::Cancel));
    world.gateway.force(id, IntentStatus::Succeeded);
    id
}

#[tokio::test]
async fn a_charge_after_an_accepted_cancel_is_found_recorded_and_sent_back() {
    for world in worlds().await {
        let id = betrayed(&world).await;
        let found = reconcile(&world.app).await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((world.charge(id).await.state, world.ledger(id).await), (AttemptState::Captured, 4990));
        world.pay().await;
        assert_eq!(
            (world.ledger(id).await, world.gateway.net(id), world.status(id).await),
            (0, 0, OrderStatus::Compensated)
        );
        assert!(reconcile(&world.app).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn sending_it_back_survives_every_crash() {
    for sky in [&[][..], &[Weather::LostAfter], &[Weather::LostBefore, Weather::Refused]] {
        let order = std::sync::Mutex::new(None);
        survives_every_crash(
            async || {
                let world = World::in_memory();
                *order.lock().unwrap() = Some(betrayed(&world).await);
                world.gateway.forecast(sky);
                world
            },
            async |world: &World| {
                let _ = reconcile(&world.app).await;
                world.pay().await;
            },
            async |world: &World, when: &str| {
                let id = order.lock().unwrap().unwrap();
                assert_eq!((world.ledger(id).await, world.gateway.net(id)), (0, 0), "{sky:?} {when}");
                assert_eq!(world.books().ledger.len(), 2, "{when}");
            },
        )
        .await;
    }
}
