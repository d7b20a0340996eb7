//! Books compared: differences are noted, stay open while they last, and are resolved.

use chrono::Duration;
use order_payment::domain::{Answer, IntentStatus};
use order_payment::usecases::ports::{FindingKind, Gateway as _};
use order_payment::usecases::reconcile::reconcile;

use crate::world::{World, worlds};

#[tokio::test]
async fn agreeing_books_have_no_findings() {
    for world in worlds().await {
        for _ in 0..3 {
            world.an_order_to_pay().await;
        }
        world.pay().await;
        assert_eq!(reconcile(&world.app).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_charge_nobody_ordered_is_found_and_a_charge_that_vanished_too() {
    let world = World::in_postgres().await;
    let (vanished, kept) = (world.an_order_to_pay().await, world.an_order_to_pay().await);
    world.pay().await;
    let attempt = world.charge(kept).await;
    let vanished = world.charge(vanished).await.intent.unwrap();
    world.gateway.intents.lock().unwrap().remove(&vanished);
    let Answer::Intent(mut orphan) = world.gateway.look(order_payment::domain::Look::Intent, &attempt).await else {
        panic!("no intent")
    };
    orphan.id = "pi_orphan".to_owned();
    orphan.status = IntentStatus::Succeeded;
    world.gateway.intents.lock().unwrap().insert(orphan.id.clone(), orphan);

    let mut kinds: Vec<_> = reconcile(&world.app).await.unwrap().into_iter().map(|finding| finding.kind).collect();
    kinds.sort();
    assert_eq!(kinds, [FindingKind::ChargeWithoutOrder, FindingKind::OrderWithoutCharge]);
    assert_eq!(open(&world).await, 2);
    world.gateway.intents.lock().unwrap().remove("pi_orphan");
    world.clock.advance(Duration::minutes(1));
    reconcile(&world.app).await.unwrap();
    assert_eq!(open(&world).await, 1, "what is no longer found is resolved");
    let backlog = world.app.store.backlog().await.unwrap();
    assert!(
        backlog.open.iter().any(|row| row.what == "finding" && row.state == "ORDER_WITHOUT_CHARGE" && row.count == 1),
        "{backlog:?}"
    );
}

async fn open(world: &World) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM reconciliation_findings WHERE resolved_at IS NULL")
        .fetch_one(&world.database.as_ref().unwrap().owner)
        .await
        .unwrap()
}
