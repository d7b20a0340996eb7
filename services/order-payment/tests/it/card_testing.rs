//! Somebody with a script and a list of stolen cards, and the people who only want to buy something.

use std::sync::Arc;

use chrono::Duration;
use order_payment::domain::{Attempt, AttemptState, Call, CardTesting, OrderStatus, Reason, Refusal, Tried};
use order_payment::outbound::fraud::NoFraudCheck;
use order_payment::usecases::begin_payment::begin_payment;
use order_payment::usecases::cancel_order::cancel_order;
use order_payment::usecases::process_payment::process_payments;
use order_payment::usecases::{App, AttemptStep, Change, Rules, Shopper};

use crate::world::{Weather, World, a_key, an_order, answer, shopper, worlds};

/// Five declined cards within an hour.
fn five() -> Rules {
    Rules { card_testing: CardTesting { most_declined: 5, within: Duration::hours(1) }, ..Rules::default() }
}

fn guarded(world: &World) -> Arc<App> {
    world.with(five(), Arc::new(NoFraudCheck))
}

/// An order of `who` whose payment is due.
async fn order_to_pay(world: &World, who: Shopper) -> common::OrderId {
    world.clock.advance(Duration::milliseconds(1));
    let order = world.place(who, &a_key(), an_order()).await.unwrap().order;
    begin_payment(&world.app, world.message(), order).await.unwrap();
    order
}

/// Two workers at once, until everything has ended: what waits for others is due again within seconds.
async fn until_all_ended(world: &World, app: &App, orders: &[common::OrderId]) {
    for _ in 0..200 {
        let (one, other) = tokio::join!(process_payments(app), process_payments(app));
        one.unwrap();
        other.unwrap();
        let mut open = 0;
        for order in orders {
            open += usize::from(!world.status(*order).await.is_final());
        }
        if open == 0 {
            return;
        }
        world.clock.advance(Duration::seconds(2));
    }
    panic!("some payments never end");
}

/// How often the gateway was asked to charge a card.
fn confirmed(world: &World) -> usize {
    world.gateway.calls.lock().unwrap().iter().filter(|call| **call == Call::Confirm).count()
}

async fn refusals(world: &World, orders: &[common::OrderId]) -> Vec<Option<Refusal>> {
    let mut refusals = Vec::new();
    for order in orders {
        refusals.push(world.charge(*order).await.refused_by);
    }
    refusals
}

#[tokio::test]
async fn sixty_stolen_cards_at_once_are_five_tries_and_all_look_declined() {
    for world in worlds().await {
        world.prices.set("LAMP-1", 4990, 1_000);
        let (app, thief) = (guarded(&world), shopper());
        *world.gateway.declines.lock().unwrap() = true;
        let mut orders = Vec::new();
        for _ in 0..60 {
            orders.push(order_to_pay(&world, thief).await);
        }
        until_all_ended(&world, &app, &orders).await;
        assert_eq!(confirmed(&world), 5, "the gateway was asked to charge more cards than it may");
        let refusals = refusals(&world, &orders).await;
        assert_eq!(refusals.iter().filter(|refusal| **refusal == Some(Refusal::CardTesting)).count(), 55);
        // Nothing tells the thief a refused card from a declined one, and nothing has moved.
        for order in &orders {
            let ended = world.order(*order).await;
            assert_eq!((ended.status, ended.reason), (OrderStatus::Compensated, Some(Reason::PaymentDeclined)));
            assert_eq!(world.charge(*order).await.state, AttemptState::Declined);
            assert_eq!((world.ledger(*order).await, world.gateway.net(*order)), (0, 0));
        }
    }
}

#[tokio::test]
async fn whoever_stops_trying_may_pay_again_after_an_hour() {
    for world in worlds().await {
        let (app, person) = (guarded(&world), shopper());
        *world.gateway.declines.lock().unwrap() = true;
        for _ in 0..5 {
            let order = order_to_pay(&world, person).await;
            until_all_ended(&world, &app, &[order]).await;
        }
        *world.gateway.declines.lock().unwrap() = false;
        world.clock.advance(Duration::minutes(2));
        for _ in 0..5 {
            let refused = order_to_pay(&world, person).await;
            until_all_ended(&world, &app, &[refused]).await;
            assert_eq!(world.charge(refused).await.refused_by, Some(Refusal::CardTesting));
        }
        // An hour after the last declined card; what we refused ourselves since does not count.
        world.clock.advance(Duration::minutes(59));
        let later = order_to_pay(&world, person).await;
        until_all_ended(&world, &app, &[later]).await;
        assert_eq!(
            world.charge(later).await.refused_by,
            None,
            "an hour after the last declined card a good one is refused"
        );
        assert_eq!(world.status(later).await, OrderStatus::Completed);
    }
}

/// The script cancels each order while the gateway is asked, so that none of them ends as declined.
#[tokio::test]
async fn cancelling_in_time_is_no_way_round_the_limit() {
    for world in worlds().await {
        world.prices.set("LAMP-1", 4990, 1_000);
        let (app, thief) = (guarded(&world), shopper());
        *world.gateway.declines.lock().unwrap() = true;
        let mut orders = Vec::new();
        for _ in 0..8 {
            let order = order_to_pay(&world, thief).await;
            // The answer to the confirmation is lost, and before anybody asks again the order is cancelled.
            world.gateway.forecast(&[Weather::Fine, Weather::LostAfter]);
            process_payments(&app).await.unwrap();
            if world.charge(order).await.state == AttemptState::Unknown {
                cancel_order(&app, thief, &a_key(), order, answer).await.unwrap();
            }
            world.gateway.forecast(&[]);
            world.clock.advance(Duration::seconds(30));
            until_all_ended(&world, &app, &[order]).await;
            orders.push(order);
        }
        let refusals = refusals(&world, &orders).await;
        assert_eq!(refusals.iter().filter(|refusal| refusal.is_none()).count(), 5, "{refusals:?}");
        assert_eq!(confirmed(&world), 5);
        let mut ends = Vec::new();
        for order in &orders[..5] {
            ends.push(world.charge(*order).await.state);
        }
        assert_eq!(ends, [AttemptState::Voided; 5], "none of them was declined");
    }
}

#[tokio::test]
async fn one_persons_stolen_cards_are_nobody_elses_trouble() {
    for world in worlds().await {
        world.prices.set("LAMP-1", 4990, 1_000);
        let app = guarded(&world);
        *world.gateway.declines.lock().unwrap() = true;
        let thief = shopper();
        let mut stolen = Vec::new();
        for _ in 0..12 {
            stolen.push(order_to_pay(&world, thief).await);
        }
        until_all_ended(&world, &app, &stolen).await;
        *world.gateway.declines.lock().unwrap() = false;
        let mut honest = Vec::new();
        for _ in 0..12 {
            honest.push(order_to_pay(&world, shopper()).await);
        }
        until_all_ended(&world, &app, &honest).await;
        assert_eq!(refusals(&world, &honest).await, vec![None; 12]);
        for order in honest {
            assert_eq!(world.status(order).await, OrderStatus::Completed);
        }
    }
}

/// A day's mix: most cards are good, some people have to try a second and a third one, and somebody buys for a whole school at once.
#[tokio::test]
async fn the_normal_mix_passes() {
    for world in worlds().await {
        world.prices.set("LAMP-1", 4990, 10_000);
        let app = guarded(&world);
        let mut orders = Vec::new();
        for number in 0..60 {
            let person = shopper();
            let declined = match number % 20 {
                0 => 3,
                1 | 2 => 1,
                _ => 0,
            };
            *world.gateway.declines.lock().unwrap() = true;
            for _ in 0..declined {
                let order = order_to_pay(&world, person).await;
                until_all_ended(&world, &app, &[order]).await;
                assert_eq!(world.charge(order).await.refused_by, None);
            }
            *world.gateway.declines.lock().unwrap() = false;
            let order = order_to_pay(&world, person).await;
            until_all_ended(&world, &app, &[order]).await;
            orders.push(order);
        }
        let school = shopper();
        for _ in 0..30 {
            orders.push(order_to_pay(&world, school).await);
        }
        until_all_ended(&world, &app, &orders).await;
        for order in orders {
            assert_eq!(
                (world.status(order).await, world.charge(order).await.refused_by),
                (OrderStatus::Completed, None)
            );
        }
    }
}

#[tokio::test]
async fn what_else_a_person_tried_is_counted_alike_in_all_books() {
    for world in worlds().await {
        let (person, store) = (shopper(), Arc::clone(&world.app.store));
        let placed = world.app.clock.now();
        let mut orders = Vec::new();
        for _ in 0..4 {
            orders.push(order_to_pay(&world, person).await);
        }
        orders.push(order_to_pay(&world, shopper()).await);
        let mut charges = Vec::new();
        for order in &orders {
            charges.push(world.charge(*order).await);
        }
        let ids: Vec<_> = charges.iter().map(|charge| charge.id).collect();
        let tried = |since, now| {
            let (store, ids) = (Arc::clone(&store), ids.clone());
            async move {
                let found = store.tried(&ids, since, now).await.unwrap();
                ids.iter()
                    .map(|id| found.get(id).map(|tried| (tried.declined, tried.ahead)).unwrap())
                    .collect::<Vec<_>>()
            }
        };
        let now = world.app.clock.now();
        assert_eq!(tried(placed, now).await, [(0, 0); 5], "what nobody has will count the others when somebody has it");

        // One worker takes three of them, another the fourth and that of somebody else.
        let (one, other) = (now + Duration::seconds(20), now + Duration::seconds(21));
        assert_eq!(store.claim_due(now, one, 3).await.unwrap().len(), 3);
        assert_eq!(store.claim_due(now, other, 3).await.unwrap().len(), 2);
        assert_eq!(tried(placed, now).await, [(0, 1), (0, 2), (0, 3), (0, 3), (0, 0)]);
        assert_eq!(
            tried(placed, one).await,
            [(0, 1), (0, 1), (0, 1), (0, 0), (0, 0)],
            "a lease that has ended is none"
        );

        // The first ends as declined by a bank, the second as refused by us, the third is being tried, the fourth was and is cancelled.
        let end = |charge: &Attempt, state, giving_up, refused_by, intent: Option<&str>| {
            let intent = intent.map(str::to_owned);
            let ended = Attempt { state, giving_up, refused_by, intent, leased_until: None, ..charge.clone() };
            AttemptStep::after(charge.version, ended)
        };
        let declined = Some(Reason::PaymentDeclined);
        let steps = vec![
            end(&charges[0], AttemptState::Declined, declined, None, None),
            end(&charges[1], AttemptState::Declined, declined, Some(Refusal::CardTesting), None),
            end(&charges[2], AttemptState::Sent, None, None, Some("pi_third")),
            end(&charges[3], AttemptState::Voided, Some(Reason::Cancelled), None, Some("pi_fourth")),
        ];
        let change = Change { attempts: steps, ..Change::default() };
        store.commit(messaging::Cause::Duty("test"), change).await.unwrap();
        assert_eq!(world.charge(orders[1]).await.refused_by, Some(Refusal::CardTesting), "read back as it was written");
        let next = order_to_pay(&world, person).await;
        let next = world.charge(next).await.id;
        assert_eq!(store.tried(&[next], placed, now).await.unwrap()[&next], Tried { declined: 2, ahead: 1 });
        // Later than all of them were placed.
        assert_eq!(store.tried(&[next], now + Duration::hours(1), now).await.unwrap()[&next], Tried::default());
        assert_eq!(store.tried(&[], placed, now).await.unwrap().len(), 0);
    }
}
