//! Money goes back: for an order that is given up, by itself and once; for a completed one, when staff asks, as often as it
//! fits into what was paid.

use std::sync::{Arc, Mutex};

use chrono::Duration;
use common::{Explain as _, OrderId, ids};
use messaging::StoredAnswer;
use order_payment::domain::{AttemptState, Call, IntentStatus, OrderStatus, Refund, RefundState, RefundTarget};
use order_payment::usecases::Failure;
use order_payment::usecases::compensate_order::sweep_deadlines;
use order_payment::usecases::ports::FindingKind;
use order_payment::usecases::process_payment::process_payments;
use order_payment::usecases::reconcile::reconcile;
use order_payment::usecases::refund_order::{Asker, RawRefund, Refunded, refund_order};
use order_payment::usecases::views;
use testkit::crash::survives_every_crash;

use crate::world::{REGION, Weather, World, a_database, a_key, an_order, line, shopper, worlds};

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
                *world.gateway.forgets_refund_keys.lock().unwrap() = true;
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

pub fn clerk() -> Asker {
    Asker { shopper: shopper(), staff: true }
}

pub fn amount(text: &str) -> RawRefund {
    RawRefund {
        amount: Some((text.to_owned(), REGION.currency().code().to_owned())),
        lines: None,
        reason: "arrived broken".to_owned(),
        target: None,
    }
}

pub fn of_lines(lines: &[(&str, u32)]) -> RawRefund {
    let lines = lines.iter().map(|(sku, quantity)| ((*sku).to_owned(), *quantity)).collect();
    RawRefund { amount: None, lines: Some(lines), ..amount("1.00") }
}

fn shown(refund: &Refund) -> StoredAnswer {
    StoredAnswer { status: 201, body: format!("{} {}", refund.id, refund.amount).into_bytes() }
}

pub async fn refund(world: &World, asker: Asker, order: OrderId, raw: RawRefund) -> Result<Refunded, Failure> {
    refund_order(&world.app, asker, &a_key(), order, raw, shown).await
}

async fn refunds(world: &World, order: OrderId) -> Vec<Refund> {
    world.app.store.refunds_of(order).await.unwrap()
}

/// A completed order of three lamps: 149.70.
async fn three_lamps(world: &World) -> OrderId {
    let mut raw = an_order();
    raw.lines = vec![line("LAMP-1", 3)];
    raw.expected_total.0 = "149.70".to_owned();
    let id = world.place(shopper(), &a_key(), raw).await.unwrap().order;
    order_payment::usecases::begin_payment::begin_payment(&world.app, world.message(), id).await.unwrap();
    world.pay().await;
    assert_eq!(world.status(id).await, OrderStatus::Completed);
    id
}

#[tokio::test]
async fn several_partial_refunds_go_back_to_the_card_and_never_more_than_was_paid() {
    for world in worlds().await {
        let id = three_lamps(&world).await;
        refund(&world, clerk(), id, amount("20.00")).await.unwrap();
        refund(&world, clerk(), id, of_lines(&[("LAMP-1", 2)])).await.unwrap();
        let too_much = refund(&world, clerk(), id, amount("29.91")).await.unwrap_err();
        assert_eq!(too_much.code(), "refund-exceeds-capture");
        let too_many = refund(&world, clerk(), id, of_lines(&[("LAMP-1", 2)])).await.unwrap_err();
        assert_eq!((too_many.code(), too_many.fields()[0].pointer.as_str()), ("refund-exceeds-capture", "/lines/0"));
        world.pay().await;
        assert_eq!((world.ledger(id).await, world.gateway.net(id)), (2990, 2990));
        refund(&world, clerk(), id, amount("29.90")).await.unwrap();
        world.pay().await;
        assert_eq!((world.ledger(id).await, world.gateway.net(id)), (0, 0));
        let all = refunds(&world, id).await;
        assert_eq!(
            all.iter().map(|refund| (refund.number, refund.amount.minor(), refund.state)).collect::<Vec<_>>(),
            [(1, 2000, RefundState::Done), (2, 9980, RefundState::Done), (3, 2990, RefundState::Done)]
        );
        assert_eq!(
            world.status(id).await,
            OrderStatus::Completed,
            "what was sold stays sold; the refunds tell the rest"
        );
    }
}

#[tokio::test]
async fn a_refund_is_told_to_others_with_the_books_and_says_whether_anything_is_left() {
    let world = World::in_memory();
    let id = three_lamps(&world).await;
    refund(&world, clerk(), id, of_lines(&[("LAMP-1", 1)])).await.unwrap();
    assert!(world.books().refunds_told.is_empty(), "nothing is told before the gateway has said yes");
    world.pay().await;
    refund(&world, clerk(), id, RawRefund { amount: None, ..amount("1") }).await.unwrap();
    world.pay().await;
    assert_eq!(world.books().refunds_told, [(id, 1, false), (id, 2, true)]);

    let world = World::in_postgres().await;
    let id = three_lamps(&world).await;
    refund(&world, clerk(), id, of_lines(&[("LAMP-1", 1)])).await.unwrap();
    world.pay().await;
    let payload: Vec<u8> = sqlx::query_scalar("SELECT payload FROM outbox WHERE topic = 'order.refunded'")
        .fetch_one(&world.database.as_ref().unwrap().owner)
        .await
        .unwrap();
    let contracts::Event::OrderRefunded(told) =
        contracts::Event::decode(&contracts::topics::ORDER_REFUNDED, &payload).unwrap()
    else {
        panic!("another event")
    };
    assert_eq!((told.order_id, told.whole, told.lines.len(), told.lines[0].quantity), (id.to_string(), false, 1, 1));
}

/// Whether anything was left, as others were told with each refund of an order.
async fn told(world: &World, order: OrderId) -> Vec<bool> {
    let Some(database) = &world.database else {
        let books = world.books();
        return books.refunds_told.iter().filter(|(of, ..)| *of == order).map(|(.., whole)| *whole).collect();
    };
    let payloads: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT payload FROM outbox WHERE topic = 'order.refunded' AND key::text = $1")
            .bind(order.to_string())
            .fetch_all(&database.owner)
            .await
            .unwrap();
    let read = |payload: Vec<u8>| match contracts::Event::decode(&contracts::topics::ORDER_REFUNDED, &payload).unwrap()
    {
        contracts::Event::OrderRefunded(refunded) => refunded.whole,
        other => panic!("{other:?}"),
    };
    payloads.into_iter().map(read).collect()
}

#[tokio::test]
async fn of_two_refunds_that_the_gateway_ends_at_once_one_says_that_nothing_is_left() {
    for world in worlds().await {
        let mut orders = Vec::new();
        for _ in 0..4 {
            orders.push(three_lamps(&world).await);
        }
        for id in &orders {
            refund(&world, clerk(), *id, amount("20.00")).await.unwrap();
            refund(&world, clerk(), *id, RawRefund { amount: None, ..amount("1") }).await.unwrap();
        }
        // All eight are carried at the same time. One that met another is due again long before its lease ends.
        for _ in 0..2 {
            process_payments(&world.app).await.unwrap();
            world.clock.advance(Duration::seconds(2));
        }
        assert!(world.app.rules.payment_lease > Duration::seconds(4));
        for id in orders {
            let all = refunds(&world, id).await;
            assert!(all.iter().all(|refund| refund.state == RefundState::Done), "{all:?}");
            let mut told = told(&world, id).await;
            told.sort_unstable();
            assert_eq!((told, world.ledger(id).await), (vec![false, true], 0));
        }
    }
}

#[tokio::test]
async fn fifty_refunds_at_once_fit_into_what_was_paid_exactly() {
    for world in worlds().await {
        let id = three_lamps(&world).await;
        let world = Arc::new(world);
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let world = Arc::clone(&world);
            asked.spawn(async move { refund(&world, clerk(), id, amount("10.00")).await });
        }
        let (mut fitted, mut refused) = (0, 0);
        while let Some(outcome) = asked.join_next().await {
            match outcome.unwrap() {
                Ok(_) => fitted += 1,
                Err(failure) => {
                    assert_eq!(failure.code(), "refund-exceeds-capture", "{failure}");
                    refused += 1;
                }
            }
        }
        assert_eq!((fitted, refused), (14, 36));
        world.pay().await;
        assert_eq!((world.ledger(id).await, world.gateway.net(id)), (970, 970));
    }
}

#[tokio::test]
async fn processes_that_refund_the_same_order_meet_at_the_database() {
    let database = a_database().await;
    let first = World::on(&database);
    let id = three_lamps(&first).await;
    // Each world is a process: they share nothing but the database.
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let world = World::on(&database);
        asked.spawn(async move {
            let mut fitted = 0;
            for _ in 0..5 {
                fitted += i32::from(refund(&world, clerk(), id, amount("10.00")).await.is_ok());
            }
            fitted
        });
    }
    let fitted: i32 = asked.join_all().await.into_iter().sum();
    let standing: i64 = refunds(&first, id).await.iter().map(|refund| refund.amount.minor()).sum();
    assert_eq!((fitted, standing), (14, 14_000));
}

#[tokio::test]
async fn the_same_key_gives_one_refund_and_another_request_under_it_is_refused() {
    for world in worlds().await {
        let id = three_lamps(&world).await;
        let (asker, key) = (clerk(), a_key());
        let first = refund_order(&world.app, asker, &key, id, amount("10.00"), shown).await.unwrap();
        let again = refund_order(&world.app, asker, &key, id, amount("10.00"), shown).await.unwrap();
        assert_eq!((first.replayed, again.replayed, &first.answer), (false, true, &again.answer));
        let other = refund_order(&world.app, asker, &key, id, amount("11.00"), shown).await.unwrap_err();
        assert_eq!(other.code(), "idempotency-key-reused");
        assert_eq!(refunds(&world, id).await.len(), 1);
    }
}

#[tokio::test]
async fn only_staff_refunds_and_only_what_is_paid() {
    for world in worlds().await {
        let id = three_lamps(&world).await;
        let owner = Asker {
            shopper: order_payment::usecases::Shopper { user: world.order(id).await.user, region: REGION },
            staff: false,
        };
        let stranger = Asker { shopper: shopper(), staff: false };
        assert_eq!(refund(&world, owner, id, amount("1.00")).await.unwrap_err().code(), "forbidden");
        assert_eq!(refund(&world, stranger, id, amount("1.00")).await.unwrap_err().code(), "not-found");
        assert_eq!(
            refund(&world, clerk(), ids::random().into(), amount("1.00")).await.unwrap_err().code(),
            "not-found"
        );
        // While the outcome of the charge is unknown.
        world.gateway.forecast(&[Weather::Fine, Weather::Fine, Weather::LostAfter]);
        let unknown = world.an_order_to_pay().await;
        process_payments(&world.app).await.unwrap();
        assert_eq!(world.charge(unknown).await.state, AttemptState::Unknown);
        assert_eq!(refund(&world, clerk(), unknown, amount("1.00")).await.unwrap_err().code(), "state-conflict");
        let foreign = RawRefund { amount: Some(("1.00".to_owned(), "USD".to_owned())), ..amount("1.00") };
        let table = [
            (foreign, "/amount/currency"),
            (amount("0.00"), "/amount/amount"),
            (amount("-5.00"), "/amount/amount"),
            (amount("1.001"), "/amount/amount"),
            (RawRefund { reason: " ".to_owned(), ..amount("1.00") }, "/reason"),
            (RawRefund { target: Some("cash".to_owned()), ..amount("1.00") }, "/to"),
            (RawRefund { amount: amount("1.00").amount, ..of_lines(&[("LAMP-1", 1)]) }, "/lines"),
            (of_lines(&[]), "/lines"),
            (of_lines(&[("LAMP-1", 1), ("LAMP-1", 1)]), "/lines/1"),
            (of_lines(&[("LAMP-1", 0)]), "/lines/0"),
        ];
        for (raw, pointer) in table {
            let refused = refund(&world, clerk(), id, raw).await.unwrap_err();
            assert_eq!((refused.code(), refused.fields()[0].pointer.as_str()), ("invalid-field", pointer));
        }
        let card = RawRefund { reason: "4242 4242 4242 4242".to_owned(), ..amount("1.00") };
        assert_eq!(refund(&world, clerk(), id, card).await.unwrap_err().code(), "card-data-refused");
        assert!(refunds(&world, id).await.is_empty());
    }
}

#[tokio::test]
async fn where_the_policy_allows_an_owner_takes_back_the_whole_of_an_order_that_is_not_sent() {
    let mut world = World::in_memory();
    Arc::get_mut(&mut world.app).expect("nobody else has it yet").rules.owner_refund_window = Duration::days(1);
    let id = three_lamps(&world).await;
    let owner = Asker {
        shopper: order_payment::usecases::Shopper { user: world.order(id).await.user, region: REGION },
        staff: false,
    };
    assert_eq!(refund(&world, owner, id, amount("1.00")).await.unwrap_err().code(), "forbidden", "part of it");
    let whole = || RawRefund { amount: None, ..amount("1") };
    world.clock.advance(Duration::days(2));
    assert_eq!(refund(&world, owner, id, whole()).await.unwrap_err().code(), "forbidden", "too late");
    world.clock.advance(Duration::days(-2));
    refund(&world, owner, id, whole()).await.unwrap();
    world.pay().await;
    assert_eq!(world.gateway.net(id), 0);
}

#[tokio::test]
async fn a_refund_that_the_gateway_refuses_ends_where_people_see_it() {
    for world in worlds().await {
        let id = three_lamps(&world).await;
        *world.gateway.refuses_refunds.lock().unwrap() = true;
        refund(&world, clerk(), id, amount("10.00")).await.unwrap();
        world.pay().await;
        let sent =
            |world: &World| world.gateway.calls.lock().unwrap().iter().filter(|call| **call == Call::Refund).count();
        assert_eq!(sent(&world), 1, "it is never sent again");
        let all = refunds(&world, id).await;
        assert_eq!((all[0].state, world.ledger(id).await), (RefundState::Refused, 14_970));
        let owner = order_payment::usecases::Shopper { user: world.order(id).await.user, region: REGION };
        assert_eq!(views::order(&world.app, owner, id).await.unwrap().refunds, all);
        // A look at the books does not make it go away.
        world.clock.advance(Duration::minutes(5));
        reconcile(&world.app).await.unwrap();
        assert_eq!(open_findings(&world).await, [FindingKind::RefundRefused.code()]);
        // What was refused is free to be asked for again.
        *world.gateway.refuses_refunds.lock().unwrap() = false;
        refund(&world, clerk(), id, RawRefund { amount: None, ..amount("1") }).await.unwrap();
        world.pay().await;
        assert_eq!((world.ledger(id).await, world.gateway.net(id)), (0, 0));
    }
}

pub async fn open_findings(world: &World) -> Vec<String> {
    match &world.database {
        Some(database) => {
            sqlx::query_scalar("SELECT kind FROM reconciliation_findings WHERE resolved_at IS NULL ORDER BY kind")
                .fetch_all(&database.owner)
                .await
                .unwrap()
        }
        None => world
            .books()
            .findings
            .values()
            .filter(|(_, open)| *open)
            .map(|(finding, _)| finding.kind.code().to_owned())
            .collect(),
    }
}

#[tokio::test]
async fn a_refund_to_store_credit_is_done_at_once_and_the_money_stays() {
    for world in worlds().await {
        let id = three_lamps(&world).await;
        let raw = RawRefund { target: Some("store_credit".to_owned()), ..amount("49.90") };
        refund(&world, clerk(), id, raw).await.unwrap();
        let all = refunds(&world, id).await;
        assert_eq!((all[0].state, all[0].target, all[0].attempt), (RefundState::Done, RefundTarget::StoreCredit, None));
        world.pay().await;
        assert_eq!((world.ledger(id).await, world.gateway.net(id)), (14_970, 14_970));
        // What became credit cannot go to the card as well.
        let rest = RawRefund { target: Some("card".to_owned()), ..amount("99.81") };
        assert_eq!(refund(&world, clerk(), id, rest).await.unwrap_err().code(), "refund-exceeds-capture");
    }
}

#[tokio::test]
async fn a_refund_survives_every_crash_in_any_weather() {
    let places = [None, Some(a_database().await)];
    for database in places {
        for sky in [&[][..], &[Weather::LostAfter], &[Weather::LostBefore, Weather::Refused]] {
            for to_credit in [false, true] {
                let asked = Mutex::new(None);
                survives_every_crash(
                    async || {
                        let world = database.as_ref().map_or_else(World::in_memory, World::on);
                        let id = three_lamps(&world).await;
                        world.gateway.forecast(sky);
                        *world.gateway.forgets_refund_keys.lock().unwrap() = true;
                        *asked.lock().unwrap() = Some((id, clerk(), a_key()));
                        world
                    },
                    async |world: &World| {
                        let (id, asker, key) = asked.lock().unwrap().clone().unwrap();
                        let target = to_credit.then(|| "store_credit".to_owned());
                        let raw = RawRefund { target, ..of_lines(&[("LAMP-1", 2)]) };
                        drop(refund_order(&world.app, asker, &key, id, raw, shown).await);
                        world.pay().await;
                    },
                    async |world: &World, when: &str| {
                        let (id, ..) = asked.lock().unwrap().clone().unwrap();
                        let all = refunds(world, id).await;
                        assert_eq!(
                            all.iter().map(|refund| (refund.amount.minor(), refund.state)).collect::<Vec<_>>(),
                            [(9980, RefundState::Done)],
                            "{sky:?} {when}"
                        );
                        let left = if to_credit { 14_970 } else { 4990 };
                        assert_eq!((world.ledger(id).await, world.gateway.net(id)), (left, left), "{sky:?} {when}");
                        if world.database.is_some() {
                            assert_eq!(world.rows_of("outbox", "key", id).await, 4, "one event of the refund {when}");
                        }
                    },
                )
                .await;
            }
        }
    }
}

#[tokio::test]
async fn a_refund_whose_worker_was_killed_goes_out_once_although_the_gateway_has_forgotten_its_key() {
    for world in worlds().await {
        let id = three_lamps(&world).await;
        // What a worker leaves that is killed between the gateway's yes and its commit: SENT, and money that is back.
        world.gateway.forecast(&[Weather::Refused]);
        refund(&world, clerk(), id, amount("10.00")).await.unwrap();
        process_payments(&world.app).await.unwrap();
        let number = refunds(&world, id).await[0].attempt.unwrap();
        let intent = world.charge(id).await.intent.unwrap();
        world.gateway.refunded.lock().unwrap().entry(intent).or_default().insert(number, 1000);
        // The site comes back after two days; keys live for one.
        *world.gateway.forgets_refund_keys.lock().unwrap() = true;
        world.clock.advance(Duration::days(2));
        world.pay().await;
        assert_eq!((world.ledger(id).await, world.gateway.net(id)), (13_970, 13_970));
        assert_eq!(refunds(&world, id).await[0].state, RefundState::Done);
    }
}

#[tokio::test]
async fn the_database_refuses_refunds_beyond_the_capture_whoever_asks() {
    let world = World::in_postgres().await;
    let id = three_lamps(&world).await;
    let pool = &world.database.as_ref().unwrap().owner;
    let credit = |number: i32, minor: i64| {
        format!(
            "INSERT INTO refunds VALUES (gen_random_uuid(), '{id}', {number}, NULL, {minor}, 'EUR', 'STORE_CREDIT', 'x', NULL, 'DONE', now(), now())"
        )
    };
    let refused =
        |error: sqlx::Error| error.as_database_error().and_then(|error| error.constraint().map(str::to_owned));
    for (statement, constraint) in [
        (credit(1, 14_971), "refunds_fit_capture"),
        (credit(1, 0), "refunds_amount_is_positive"),
        (credit(0, 1), "refunds_number_counts_from_one"),
        (credit(1, 1).replace("'EUR'", "'USD'"), "refunds_currency_is_the_orders"),
        (credit(1, 1).replace("STORE_CREDIT", "CARD"), "refunds_to_the_card_have_an_attempt"),
        (
            credit(1, 1).replace("gen_random_uuid()", "'11111111-1111-1111-1111-111111111111'")
                + "; INSERT INTO refund_lines VALUES ('11111111-1111-1111-1111-111111111111', 'LAMP-1', 4)",
            "refunds_fit_lines",
        ),
    ] {
        let outcome = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone())).execute(pool).await.unwrap_err();
        assert_eq!(refused(outcome).as_deref(), Some(constraint), "{statement}");
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(credit(1, 14_970))).execute(pool).await.unwrap();
    for statement in
        ["UPDATE refunds SET amount_minor = 1", "UPDATE refunds SET state = 'REFUSED'", "DELETE FROM refunds"]
    {
        assert!(sqlx::raw_sql(statement).execute(pool).await.is_err(), "{statement}");
    }
}
