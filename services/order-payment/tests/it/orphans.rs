//! Money without an order: found, booked, sent back by its deadline, or kept when an order turns up for it.

use std::sync::{Arc, Mutex};

use chrono::Duration;
use order_payment::domain::{Account, Call, Flow, Intent, IntentStatus, Via};
use order_payment::outbound::fraud::NoFraudCheck;
use order_payment::outbound::gate::NoStandby;
use order_payment::outbound::gateway::Gateways;
use order_payment::usecases::orphan_money::refund_orphans;
use order_payment::usecases::ports::FindingKind;
use order_payment::usecases::reconcile::reconcile;
use order_payment::usecases::{App, Signals};
use testkit::crash::survives_every_crash;

use crate::world::{MiniGateway, Weather, World, a_database, lock_keys, worlds};

/// The gateway has taken 49.90 for something we never heard of, minutes ago.
pub fn strange_charge(world: &World) -> String {
    let id = format!("pi_{}", common::ids::random().simple());
    let intent = Intent {
        id: id.clone(),
        status: IntentStatus::Succeeded,
        declined: false,
        amount_minor: 4990,
        currency: "EUR".to_owned(),
        order: Some(common::ids::random().to_string()),
        attempt: Some(1),
        created_unix: world.app.clock.now().timestamp(),
        refunded_minor: None,
    };
    world.gateway.intents.lock().unwrap().insert(id.clone(), intent);
    world.clock.advance(Duration::minutes(5));
    id
}

fn taken(world: &World, intent: &str) -> i64 {
    let back: i64 = world.gateway.refunded.lock().unwrap().get(intent).into_iter().flat_map(|mine| mine.values()).sum();
    4990 - back
}

/// What stands in suspense for this intent, and in how many transactions.
pub async fn suspense(world: &World, intent: &str) -> (i64, i64) {
    if let Some(database) = &world.database {
        return sqlx::query_as(
            "SELECT coalesce(-sum(amount_minor), 0)::bigint, count(*) FROM ledger_transactions JOIN ledger_entries USING (transaction_id)
             WHERE reference = $1 AND account = 'suspense'",
        )
        .bind(intent)
        .fetch_one(&database.owner)
        .await
        .unwrap();
    }
    let books = world.books();
    let of_it: Vec<_> = books.ledger.iter().filter(|moved| moved.reference.as_deref() == Some(intent)).collect();
    (-of_it.iter().map(|moved| moved.moved(Account::Suspense)).sum::<i64>(), i64::try_from(of_it.len()).unwrap())
}

#[tokio::test]
async fn money_without_an_order_is_booked_when_found_and_goes_back_when_its_deadline_has_passed() {
    for world in worlds().await {
        let intent = strange_charge(&world);
        for _ in 0..2 {
            let found = reconcile(&world.app).await.unwrap();
            assert_eq!(found.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::ChargeWithoutOrder]);
        }
        assert_eq!(suspense(&world, &intent).await, (4990, 1));
        assert_eq!(refund_orphans(&world.app).await.unwrap(), 0, "its deadline is a day away");
        world.clock.advance(Duration::hours(24));
        assert_eq!(refund_orphans(&world.app).await.unwrap(), 1);
        assert_eq!((taken(&world, &intent), suspense(&world, &intent).await), (0, (0, 2)));
        assert_eq!(reconcile(&world.app).await.unwrap(), [], "the difference is resolved");
        world.clock.advance(Duration::hours(1));
        assert_eq!(refund_orphans(&world.app).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn money_without_an_order_goes_back_through_the_gateway_that_took_it_wherever_payments_begin_now() {
    for world in worlds().await {
        let intent = strange_charge(&world);
        // The site has changed to another gateway since; the first one stays wired.
        let second = Arc::new(MiniGateway::default());
        let via = Via { name: "square".to_owned(), flow: Flow::MadeAuthorised };
        let both = Gateways::new(Via::default(), world.gateway.clone()).and(via, second.clone());
        let app = App {
            region: world.app.region,
            clock: world.clock.clone(),
            store: Arc::clone(&world.app.store),
            views: Arc::clone(&world.app.views),
            prices: world.prices.clone(),
            carts: Arc::clone(&world.app.carts),
            locks: lock_keys(world.app.region),
            gateway: Arc::new(both.choose("square").unwrap()),
            gate: Arc::new(NoStandby),
            fraud: Arc::new(NoFraudCheck),
            rules: world.app.rules,
            signals: Signals::default(),
        };
        reconcile(&app).await.unwrap();
        world.clock.advance(Duration::hours(24));
        assert_eq!(refund_orphans(&app).await.unwrap(), 1);
        assert!(second.calls.lock().unwrap().is_empty(), "the second gateway knows nothing of this money");
        let left = (taken(&world, &intent), suspense(&world, &intent).await);
        assert_eq!(left, (0, (0, 2)), "the money is back where it came from");
    }
}

#[tokio::test]
async fn an_order_that_turns_up_in_time_keeps_its_money() {
    for world in worlds().await {
        let id = world.an_order_to_pay().await;
        let intent = strange_charge(&world);
        reconcile(&world.app).await.unwrap();
        // What was forgotten comes back: the order's attempt is the one with this intent.
        match &world.database {
            Some(database) => {
                sqlx::query("UPDATE payment_attempts SET intent_id = $1 WHERE order_id = $2")
                    .bind(&intent)
                    .bind(id.uuid())
                    .execute(&database.owner)
                    .await
                    .unwrap();
            }
            None => world.books().attempts.values_mut().for_each(|attempt| attempt.intent = Some(intent.clone())),
        }
        world.clock.advance(Duration::hours(24));
        refund_orphans(&world.app).await.unwrap();
        assert_eq!((taken(&world, &intent), suspense(&world, &intent).await), (4990, (0, 2)), "a reversal, no refund");
        assert!(!world.gateway.calls.lock().unwrap().contains(&Call::Refund));
    }
}

#[tokio::test]
async fn an_orphan_that_the_gateway_will_not_give_back_waits_for_a_person() {
    for world in worlds().await {
        let intent = strange_charge(&world);
        *world.gateway.refuses_refunds.lock().unwrap() = true;
        reconcile(&world.app).await.unwrap();
        world.clock.advance(Duration::hours(24));
        for _ in 0..5 {
            refund_orphans(&world.app).await.unwrap();
            world.clock.advance(Duration::minutes(10));
        }
        let sent = world.gateway.calls.lock().unwrap().iter().filter(|call| **call == Call::Refund).count();
        assert_eq!((sent, suspense(&world, &intent).await), (1, (4990, 1)), "it stays in the books");
        if world.database.is_none() {
            assert!(world.books().findings.contains_key(&(FindingKind::RefundRefused, intent)));
        }
    }
}

#[tokio::test]
async fn sending_an_orphan_back_survives_every_crash() {
    for database in [None, Some(a_database().await)] {
        for sky in [&[][..], &[Weather::LostAfter], &[Weather::LostBefore, Weather::Refused]] {
            let orphan = Mutex::new(String::new());
            survives_every_crash(
                async || {
                    let world = database.as_ref().map_or_else(World::in_memory, World::on);
                    *orphan.lock().unwrap() = strange_charge(&world);
                    world.gateway.forecast(sky);
                    *world.gateway.forgets_refund_keys.lock().unwrap() = true;
                    world
                },
                async |world: &World| {
                    let _ = reconcile(&world.app).await;
                    world.clock.advance(Duration::hours(25));
                    for _ in 0..4 {
                        let _ = refund_orphans(&world.app).await;
                        world.clock.advance(Duration::minutes(6));
                    }
                },
                async |world: &World, when: &str| {
                    let intent = orphan.lock().unwrap().clone();
                    assert_eq!((taken(world, &intent), suspense(world, &intent).await), (0, (0, 2)), "{sky:?} {when}");
                },
            )
            .await;
        }
    }
}
