//! A hold on a card that outlives its order: found, and a person's.

use chrono::Duration;
use common::OrderId;
use order_payment::domain::{AttemptState, Call, IntentStatus, OrderStatus};
use order_payment::usecases::compensate_order::sweep_deadlines;
use order_payment::usecases::ports::{Finding, FindingKind};
use order_payment::usecases::process_payment::process_payments;
use order_payment::usecases::reconcile::reconcile;

use crate::world::{Weather, World, worlds};

/// An order that was given up in this weather, although the gateway still holds its money.
async fn held(world: &World, weather: &[Weather]) -> OrderId {
    world.gateway.forecast(weather);
    let id = world.an_order_to_pay().await;
    process_payments(&world.app).await.unwrap();
    world.clock.advance(Duration::minutes(16));
    sweep_deadlines(&world.app).await.unwrap();
    world.pay().await;
    assert_eq!(
        (world.status(id).await, world.charge(id).await.state),
        (OrderStatus::Compensated, AttemptState::Voided)
    );
    world.gateway.force(id, IntentStatus::RequiresCapture);
    id
}

async fn found(world: &World) -> Vec<(FindingKind, Option<OrderId>)> {
    reconcile(&world.app).await.unwrap().into_iter().map(|finding| (finding.kind, finding.order)).collect()
}

#[tokio::test]
async fn money_held_after_the_end_is_found_whether_or_not_its_id_ever_reached_us() {
    for world in worlds().await {
        let known = held(&world, &[Weather::Fine, Weather::Fine, Weather::Refused]).await;
        assert!(world.charge(known).await.intent.is_some());
        assert_eq!(found(&world).await, [(FindingKind::HeldAfterEnd, Some(known))]);
        // It is a person's, and nothing that the service would undo by itself.
        if let Some(database) = &world.database {
            let owner: String =
                sqlx::query_scalar("SELECT owner FROM reconciliation_findings WHERE kind = 'HELD_AFTER_END'")
                    .fetch_one(&database.owner)
                    .await
                    .unwrap();
            assert_eq!(owner, "PERSON");
        }
        world.gateway.force(known, IntentStatus::Canceled);
        world.clock.advance(Duration::minutes(1));
        assert_eq!(found(&world).await, []);

        // The answer to the first call was lost, and the order was given up before anybody asked again.
        let unknown = held(&world, &[Weather::LostAfter]).await;
        assert!(world.charge(unknown).await.intent.is_none());
        assert_eq!(found(&world).await, [(FindingKind::HeldAfterEnd, Some(unknown))]);
        assert_eq!(world.charge(unknown).await.state, AttemptState::Voided, "nothing is done about it");
        world.gateway.force(unknown, IntentStatus::Canceled);
        world.clock.advance(Duration::minutes(1));
        assert_eq!(found(&world).await, []);
    }
}

#[tokio::test]
async fn who_has_a_finding_is_the_same_in_the_code_and_in_the_table() {
    let world = World::in_postgres().await;
    let now = world.app.clock.now();
    for kind in FindingKind::ALL {
        let (reference, detail) = (kind.code().to_owned(), "for the test".to_owned());
        let finding = Finding { kind, reference, order: None, detail, happened_at: None };
        world.app.store.note_finding(&finding, now).await.unwrap();
    }
    let mut owners: Vec<(String, String)> = sqlx::query_as("SELECT kind, owner FROM reconciliation_findings")
        .fetch_all(&world.database.as_ref().unwrap().owner)
        .await
        .unwrap();
    let owner = |kind: FindingKind| if kind.is_worked_off() { "MACHINE" } else { "PERSON" };
    let mut expected: Vec<(String, String)> =
        FindingKind::ALL.iter().map(|kind| (kind.code().to_owned(), owner(*kind).to_owned())).collect();
    owners.sort();
    expected.sort();
    assert_eq!(owners, expected);
}

#[tokio::test]
async fn a_hold_of_a_payment_under_way_is_no_difference() {
    for world in worlds().await {
        // Held, and the capture does not get through.
        world.gateway.forecast(&[Weather::Fine, Weather::Fine, Weather::Refused]);
        let id = world.an_order_to_pay().await;
        process_payments(&world.app).await.unwrap();
        assert_eq!(world.gateway.calls.lock().unwrap().last(), Some(&Call::Capture));
        world.clock.advance(Duration::minutes(5));
        assert_eq!(found(&world).await, [], "{id}");
    }
}
