//! More of the one suite for both kinds of books: "look at this payment now" is heard although a worker has the payment, and has in mind
//! to look at it later.

use chrono::{DateTime, Duration, Utc};
use messaging::Cause;
use order_payment::domain::Attempt;
use order_payment::usecases::ports::Store;
use order_payment::usecases::{AttemptStep, Change};

use crate::world::{World, worlds};

fn lease() -> Duration {
    Duration::seconds(60)
}

async fn claim(world: &World, now: DateTime<Utc>) -> Vec<Attempt> {
    world.app.store.claim_due(now, now + lease(), 5).await.unwrap()
}

/// The worker's own way: it commits what it learned and lets go until `due_at`.
async fn put_off(store: &dyn Store, held: &Attempt, due_at: DateTime<Utc>) {
    let step = AttemptStep::after(held.version, Attempt { leased_until: None, due_at, ..held.clone() });
    store.commit(Cause::Duty("test"), Change { attempts: vec![step], ..Change::default() }).await.unwrap();
}

#[tokio::test]
async fn a_hint_that_comes_while_a_worker_has_the_payment_makes_it_due_when_the_worker_is_done() {
    for world in worlds().await {
        for lets_go in [false, true] {
            let (order, now) = (world.an_order_to_pay().await, world.app.clock.now());
            let (store, held) = (&world.app.store, claim(&world, now).await.remove(0));
            assert_eq!(held.order, order);
            let hinted_at = now + Duration::seconds(1);
            store.hint(&[order], hinted_at).await.unwrap();
            assert!(claim(&world, hinted_at).await.is_empty(), "a hint takes nothing away from who has it");
            let due_at = now + Duration::minutes(10);
            if lets_go {
                store.let_go(&held, due_at).await.unwrap();
            } else {
                put_off(store.as_ref(), &held, due_at).await;
            }
            let again = claim(&world, hinted_at).await;
            assert_eq!(again.iter().map(|attempt| attempt.id).collect::<Vec<_>>(), [held.id], "let go: {lets_go}");
            // A hint is answered once: what the next worker has in mind counts.
            put_off(store.as_ref(), &again[0], due_at).await;
            assert!(claim(&world, due_at - Duration::seconds(1)).await.is_empty());
            assert_eq!(claim(&world, due_at).await.len(), 1);
        }
    }
}

#[tokio::test]
async fn a_hint_before_a_claim_is_answered_by_it_and_what_is_learned_meanwhile_gives_nothing_back() {
    for world in worlds().await {
        let (order, now) = (world.an_order_to_pay().await, world.app.clock.now());
        let (store, due_at) = (&world.app.store, now + Duration::minutes(10));
        put_off(store.as_ref(), &claim(&world, now).await[0], due_at).await;
        store.hint(&[order], now).await.unwrap();
        let held = claim(&world, now).await.remove(0);
        // A step in between keeps the lease, and with it the hint for later.
        store.hint(&[order], now).await.unwrap();
        let step = AttemptStep::after(held.version, Attempt { in_doubt: true, ..held });
        let held = step.attempt.clone();
        store.commit(Cause::Duty("test"), Change { attempts: vec![step], ..Change::default() }).await.unwrap();
        assert!(claim(&world, now).await.is_empty());
        put_off(store.as_ref(), &held, due_at).await;
        let held = claim(&world, now).await.remove(0);
        put_off(store.as_ref(), &held, due_at).await;
        assert!(claim(&world, now).await.is_empty(), "the claim answered it");
    }
}
