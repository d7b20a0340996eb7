//! Store credit: given, set aside, spent, given back; the balance is always what the books say.

use std::sync::{Arc, Mutex};

use chrono::Duration;
use common::{Explain as _, OrderId, Private, UserId, ids};
use messaging::StoredAnswer;
use order_payment::domain::basket::{RawCredit, RawOrder};
use order_payment::domain::{OrderStatus, Reason};
use order_payment::usecases::begin_payment::begin_payment;
use order_payment::usecases::cancel_order::cancel_order;
use order_payment::usecases::compensate_order::{stock_was_rejected, sweep_deadlines};
use order_payment::usecases::compensate_saga::{Compensated, compensate_saga};
use order_payment::usecases::ports::{Finding, FindingKind};
use order_payment::usecases::reconcile::reconcile;
use order_payment::usecases::refund_order::{Asker, RawRefund, refund_order};
use order_payment::usecases::store_credit::{Grant, RawGrant, balance, grant, sweep_paid_by_credit};
use order_payment::usecases::{Failure, Shopper};
use testkit::crash::survives_every_crash;

use crate::world::{World, a_database, a_key, an_order, answer, shopper, worlds};

fn clerk() -> Asker {
    Asker { shopper: shopper(), staff: true }
}

fn given(grant: &Grant) -> StoredAnswer {
    StoredAnswer { status: 201, body: grant.amount.to_string().into_bytes() }
}

fn a_grant(me: Shopper, amount: &str) -> RawGrant {
    RawGrant {
        user: me.user.to_string(),
        amount: (amount.to_owned(), "EUR".to_owned()),
        reason: "the parcel came late".to_owned(),
    }
}

/// Somebody known here, with this much store credit.
async fn somebody_with(world: &World, amount: &str) -> Shopper {
    let me = shopper();
    let person = order_payment::usecases::Change { person: Some((me.user, me.region)), ..Default::default() };
    world.app.store.commit(messaging::Cause::Duty("test"), person).await.unwrap();
    grant(&world.app, clerk(), &a_key(), a_grant(me, amount), given).await.unwrap();
    me
}

async fn credit(world: &World, me: Shopper) -> (i64, i64) {
    let credit = balance(&world.app, me).await.unwrap();
    (credit.free.minor(), credit.held.minor())
}

fn with_credit(credit: RawCredit) -> RawOrder {
    RawOrder { credit, ..an_order() }
}

fn amount(text: &str) -> RawCredit {
    RawCredit::Amount(text.to_owned(), "EUR".to_owned())
}

fn without_card() -> RawOrder {
    RawOrder { method: "store_credit".to_owned(), token: Private::new(String::new()), ..an_order() }
}

async fn place(world: &World, me: Shopper, raw: RawOrder) -> Result<OrderId, Failure> {
    world.place(me, &a_key(), raw).await.map(|placed| placed.order)
}

/// The stock is held, and the process stops before it completes an order that credit pays whole.
async fn begin_only(world: &World, id: OrderId) {
    let step = world.order(id).await.begin_payment(0, Duration::minutes(15), world.app.clock.now()).unwrap();
    let begun = order_payment::usecases::Change { order: Some(step), ..Default::default() };
    world.app.store.commit(messaging::Cause::Duty("test"), begun).await.unwrap();
}

#[tokio::test]
async fn credit_is_set_aside_when_ordering_and_the_card_pays_the_rest() {
    for world in worlds().await {
        let me = somebody_with(&world, "20.00").await;
        let id = place(&world, me, with_credit(RawCredit::AsMuchAsThereIs)).await.unwrap();
        assert_eq!(credit(&world, me).await, (0, 2000));
        begin_payment(&world.app, world.message(), id).await.unwrap();
        world.pay().await;
        assert_eq!((world.status(id).await, credit(&world, me).await), (OrderStatus::Completed, (0, 0)));
        assert_eq!((world.ledger(id).await, world.gateway.net(id)), (2990, 2990));
        assert_eq!(reconcile(&world.app).await.unwrap(), []);
    }
}

#[tokio::test]
async fn credit_that_covers_everything_needs_no_gateway() {
    for world in worlds().await {
        let me = somebody_with(&world, "60.00").await;
        let id = place(&world, me, without_card()).await.unwrap();
        begin_payment(&world.app, world.message(), id).await.unwrap();
        world.pay().await;
        assert_eq!((world.status(id).await, credit(&world, me).await), (OrderStatus::Completed, (1010, 0)));
        assert!(world.gateway.calls.lock().unwrap().is_empty());
        assert!(world.app.store.charge_of(id).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn more_than_there_is_cannot_be_spent_however_many_try() {
    for world in worlds().await {
        let me = somebody_with(&world, "100.00").await;
        for (raw, code) in
            [(with_credit(amount("49.91")), "invalid-field"), (with_credit(amount("0.00")), "invalid-field")]
        {
            assert_eq!(place(&world, me, raw).await.unwrap_err().code(), code);
        }
        assert_eq!(place(&world, shopper(), without_card()).await.unwrap_err().code(), "store-credit-short");
        let world = Arc::new(world);
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let world = Arc::clone(&world);
            asked.spawn(async move { place(&world, me, with_credit(amount("30.00"))).await });
        }
        let (mut placed, mut refused) = (0, 0);
        while let Some(outcome) = asked.join_next().await {
            match outcome.unwrap() {
                Ok(_) => placed += 1,
                Err(failure) => {
                    // A lock that did not come in time is repeated by the shopper.
                    assert!(["store-credit-short", "request-in-progress"].contains(&failure.code()), "{failure}");
                    refused += 1;
                }
            }
        }
        assert!(placed <= 3 && placed + refused == 12, "{placed} {refused}");
        let (free, held) = credit(&world, me).await;
        assert_eq!((free + held, held), (10_000, 3000 * placed));
    }
}

#[tokio::test]
async fn whatever_ends_an_order_without_a_sale_frees_its_credit() {
    for world in worlds().await {
        let me = somebody_with(&world, "20.00").await;
        let operator = UserId::from_uuid(ids::random());
        for end in ["rejected", "cancelled", "expired", "declined", "cancelled while paying", "ended by an operator"] {
            let id = place(&world, me, with_credit(amount("20.00"))).await.unwrap();
            assert_eq!(credit(&world, me).await, (0, 2000), "{end}");
            match end {
                "rejected" => stock_was_rejected(&world.app, world.message(), id).await.unwrap(),
                "cancelled" => drop(cancel_order(&world.app, me, &a_key(), id, answer).await.unwrap()),
                "expired" => {
                    world.clock.advance(Duration::minutes(16));
                    sweep_deadlines(&world.app).await.unwrap();
                }
                "ended by an operator" => {
                    let ended = compensate_saga(&world.app, operator, id, end.to_owned()).await.unwrap();
                    assert_eq!(ended, Compensated::Now);
                }
                "declined" => {
                    *world.gateway.declines.lock().unwrap() = true;
                    begin_payment(&world.app, world.message(), id).await.unwrap();
                    world.pay().await;
                    *world.gateway.declines.lock().unwrap() = false;
                }
                _ => {
                    begin_payment(&world.app, world.message(), id).await.unwrap();
                    cancel_order(&world.app, me, &a_key(), id, answer).await.unwrap();
                    world.pay().await;
                }
            }
            assert_eq!(
                (world.status(id).await, credit(&world, me).await),
                (OrderStatus::Compensated, (2000, 0)),
                "{end}"
            );
            assert_eq!(world.gateway.net(id), 0, "{end}");
        }
        assert_eq!(reconcile(&world.app).await.unwrap(), []);
    }
}

#[tokio::test]
async fn an_order_that_cannot_be_completed_does_not_hold_up_the_others() {
    let world = World::in_memory();
    let me = somebody_with(&world, "249.50").await;
    for _ in 0..5 {
        let id = place(&world, me, without_card()).await.unwrap();
        begin_only(&world, id).await;
    }
    world.books().unreachable = 1;
    assert!(sweep_paid_by_credit(&world.app).await.is_err(), "the failure is told");
    assert_eq!(credit(&world, me).await, (0, 4990), "four of five are completed");
    assert_eq!(sweep_paid_by_credit(&world.app).await.unwrap(), 1);
    assert_eq!(credit(&world, me).await, (0, 0));
}

#[tokio::test]
async fn a_sweep_does_not_wait_for_the_books_a_hundred_times() {
    let world = World::in_memory();
    let me = somebody_with(&world, "249.50").await;
    for _ in 0..5 {
        let id = place(&world, me, without_card()).await.unwrap();
        begin_only(&world, id).await;
    }
    world.books().unreachable = 100;
    assert!(sweep_paid_by_credit(&world.app).await.is_err());
    assert_eq!(world.books().unreachable, 97);
}

#[tokio::test]
async fn an_operator_ends_an_order_that_credit_pays_whole_without_asking_a_gateway() {
    for world in worlds().await {
        let me = somebody_with(&world, "49.90").await;
        let id = place(&world, me, without_card()).await.unwrap();
        begin_only(&world, id).await;
        let operator = UserId::from_uuid(ids::random());
        let ended = compensate_saga(&world.app, operator, id, "asked by phone".to_owned()).await.unwrap();
        assert_eq!((ended, world.status(id).await), (Compensated::Now, OrderStatus::Compensated));
        assert_eq!(credit(&world, me).await, (4990, 0));
        assert!(world.gateway.calls.lock().unwrap().is_empty());
        assert_eq!(sweep_paid_by_credit(&world.app).await.unwrap(), 0, "it is nothing to complete any more");
    }
}

#[tokio::test]
async fn an_order_paid_by_both_gives_back_to_each_at_most_what_came_from_it() {
    for world in worlds().await {
        let me = somebody_with(&world, "20.00").await;
        let id = place(&world, me, with_credit(RawCredit::AsMuchAsThereIs)).await.unwrap();
        begin_payment(&world.app, world.message(), id).await.unwrap();
        world.pay().await;
        let ask = async |amount: Option<&str>, target: Option<&str>| {
            let raw = RawRefund {
                amount: amount.map(|amount| (amount.to_owned(), "EUR".to_owned())),
                lines: None,
                reason: "back".to_owned(),
                target: target.map(str::to_owned),
            };
            let render = |refund: &order_payment::domain::Refund| StoredAnswer {
                status: 201,
                body: refund.target.code().into(),
            };
            refund_order(&world.app, clerk(), &a_key(), id, raw, render).await.map(|refunded| refunded.answer.body)
        };
        assert_eq!(ask(Some("30.00"), Some("card")).await.unwrap_err().code(), "refund-exceeds-capture");
        assert_eq!(ask(Some("29.90"), None).await.unwrap(), b"CARD");
        assert_eq!(ask(None, None).await.unwrap(), b"STORE_CREDIT");
        assert_eq!(ask(Some("0.01"), None).await.unwrap_err().code(), "refund-exceeds-capture");
        world.pay().await;
        assert_eq!((world.gateway.net(id), world.ledger(id).await, credit(&world, me).await), (0, 0, (2000, 0)));
    }
}

#[tokio::test]
async fn only_staff_gives_credit_and_only_to_somebody_known() {
    for world in worlds().await {
        let me = somebody_with(&world, "1.00").await;
        let anybody = Asker { shopper: shopper(), staff: false };
        assert_eq!(
            grant(&world.app, anybody, &a_key(), a_grant(me, "5.00"), given).await.unwrap_err().code(),
            "forbidden"
        );
        assert_eq!(
            grant(&world.app, clerk(), &a_key(), a_grant(shopper(), "5.00"), given).await.unwrap_err().code(),
            "not-found"
        );
        for (raw, pointer) in [
            (a_grant(me, "0.00"), "/amount/amount"),
            (a_grant(me, "-1.00"), "/amount/amount"),
            (a_grant(me, "1000000.00"), "/amount/amount"),
            (RawGrant { amount: ("5.00".to_owned(), "USD".to_owned()), ..a_grant(me, "5.00") }, "/amount/currency"),
            (RawGrant { user: "me".to_owned(), ..a_grant(me, "5.00") }, "/user_id"),
            (RawGrant { reason: String::new(), ..a_grant(me, "5.00") }, "/reason"),
        ] {
            let refused = grant(&world.app, clerk(), &a_key(), raw, given).await.unwrap_err();
            assert_eq!((refused.code(), refused.fields()[0].pointer.as_str()), ("invalid-field", pointer));
        }
        let (staff, key) = (clerk(), a_key());
        let first = grant(&world.app, staff, &key, a_grant(me, "5.00"), given).await.unwrap();
        let again = grant(&world.app, staff, &key, a_grant(me, "5.00"), given).await.unwrap();
        assert_eq!((first.1, again.1, first.0), (false, true, again.0));
        assert_eq!(credit(&world, me).await, (600, 0));
    }
}

#[tokio::test]
async fn paying_with_credit_survives_every_crash() {
    for database in [None, Some(a_database().await)] {
        for (raw, card) in [(without_card(), 0), (with_credit(amount("20.00")), 2990)] {
            for cancels in [false, true] {
                let who = Mutex::new(None);
                survives_every_crash(
                    async || {
                        let world = database.as_ref().map_or_else(World::in_memory, World::on);
                        let me = somebody_with(&world, "50.00").await;
                        *who.lock().unwrap() = Some((me, a_key(), a_key()));
                        world
                    },
                    async |world: &World| {
                        let (me, key, other) = who.lock().unwrap().clone().unwrap();
                        let Ok(placed) = world.place(me, &key, raw.clone()).await else { return };
                        if cancels {
                            drop(cancel_order(&world.app, me, &other, placed.order, answer).await);
                        }
                        let message = common::MessageId::derive(&placed.order.to_string(), 1, "stock.reserved");
                        let cause =
                            messaging::Cause::Message { consumer: order_payment::usecases::CONSUMER, id: message };
                        drop(begin_payment(&world.app, cause, placed.order).await);
                        let _ = sweep_paid_by_credit(&world.app).await;
                        world.pay().await;
                    },
                    async |world: &World, when: &str| {
                        let (me, key, _) = who.lock().unwrap().clone().unwrap();
                        let id = OrderId::derive(crate::world::REGION, me.user, &key);
                        let order = world.order(id).await;
                        let used = order.credit.minor();
                        // What stopped before its wish to cancel was durable may have been paid meanwhile.
                        let (status, free, net) = if order.reason == Some(Reason::Cancelled) {
                            (OrderStatus::Compensated, 5000, 0)
                        } else {
                            (OrderStatus::Completed, 5000 - used, card)
                        };
                        assert!(cancels || order.reason.is_none(), "{when}");
                        assert_eq!(order.status, status, "{when}");
                        assert_eq!((credit(world, me).await, world.gateway.net(id)), ((free, 0), net), "{when}");
                    },
                )
                .await;
            }
        }
    }
}

#[tokio::test]
async fn a_balance_that_is_not_the_sum_of_its_movements_is_found() {
    let world = World::in_postgres().await;
    let me = somebody_with(&world, "20.00").await;
    let owner = &world.database.as_ref().unwrap().owner;
    assert_eq!(reconcile(&world.app).await.unwrap(), []);
    sqlx::query("UPDATE store_credit_balances SET balance_minor = balance_minor + 1").execute(owner).await.unwrap();
    let found = reconcile(&world.app).await.unwrap();
    assert_eq!(
        found.iter().map(|finding| (finding.kind, finding.reference.clone())).collect::<Vec<_>>(),
        [(FindingKind::CreditDiffers, me.user.to_string())]
    );
    // The service itself cannot write a balance.
    let app = world.database.as_ref().unwrap().database.pool();
    assert!(sqlx::query("UPDATE store_credit_balances SET balance_minor = 1").execute(app).await.is_err());
}

#[tokio::test]
async fn a_walk_that_begins_anywhere_comes_round_to_those_before() {
    let world = World::in_postgres().await;
    let me = somebody_with(&world, "20.00").await;
    let owner = &world.database.as_ref().unwrap().owner;
    sqlx::query("UPDATE store_credit_balances SET balance_minor = balance_minor + 1").execute(owner).await.unwrap();
    *world.app.signals.credit_walk.lock().await = Some(me.user);
    assert_eq!(reconcile(&world.app).await.unwrap(), [], "nobody comes after");
    let found: Vec<_> = reconcile(&world.app).await.unwrap().into_iter().map(|finding| finding.reference).collect();
    assert_eq!(found, [me.user.to_string()]);
}

#[tokio::test]
async fn everybodys_credit_is_compared_a_few_people_at_a_time() {
    for world in worlds().await {
        for _ in 0..7 {
            somebody_with(&world, "20.00").await;
        }
        let (mut after, mut read) = (None, Vec::new());
        for _ in 0..4 {
            let look = world.app.store.credit_differences(after, 2).await.unwrap();
            assert_eq!(look.differ, []);
            read.push(look.read);
            after = look.next;
        }
        // One movement of each person, and the walk is at its end.
        assert_eq!((read, after), (vec![2, 2, 2, 1], None));
    }
}

#[tokio::test]
async fn a_balance_that_differs_is_found_in_its_turn_and_stays_found_while_the_walk_is_elsewhere() {
    let world = World::in_postgres().await;
    let mut people = Vec::new();
    for _ in 0..6 {
        people.push(somebody_with(&world, "20.00").await.user);
    }
    people.sort();
    let (owner, store) = (&world.database.as_ref().unwrap().owner, &world.app.store);
    let change = async |by: i64| {
        let statement = "UPDATE store_credit_balances SET balance_minor = balance_minor + $2 WHERE user_id = $1";
        sqlx::query(statement).bind(people[4].uuid()).bind(by).execute(owner).await.unwrap();
    };
    let look = async |after: Option<UserId>| {
        let look = store.credit_differences(after, 2).await.unwrap();
        (look.differ, look.next)
    };
    change(1).await;
    let wrong = vec![people[4]];
    assert_eq!(look(None).await, (vec![], Some(people[1])));
    assert_eq!(look(Some(people[1])).await, (vec![], Some(people[3])));
    // Nobody has written it down yet: the next look finds it again.
    assert_eq!(look(Some(people[3])).await, (wrong.clone(), Some(people[3])));
    let finding = Finding {
        kind: FindingKind::CreditDiffers,
        reference: people[4].to_string(),
        order: None,
        detail: "one cent too much".to_owned(),
        happened_at: None,
    };
    store.note_finding(&finding, world.app.clock.now()).await.unwrap();
    assert_eq!(look(Some(people[3])).await, (wrong.clone(), Some(people[5])));
    assert_eq!(look(Some(people[5])).await, (wrong.clone(), None));
    assert_eq!(look(None).await, (wrong, Some(people[1])));
    change(-1).await;
    assert_eq!(look(None).await, (vec![], Some(people[1])));
}
