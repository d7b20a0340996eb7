//! Steps of payments that meet: they share a commit, and each ends as it would have ended alone. What both kinds of books must do
//! is in the store suite; here is what only PostgreSQL can get wrong.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::future::join_all;
use futures::poll;
use messaging::{Cause, CommitError, Committed};
use order_payment::domain::{Attempt, AttemptState, CouponCode, CouponUse, OrderStatus, Transaction};
use order_payment::usecases::begin_payment::begin_payment;
use order_payment::usecases::error::Conflict;
use order_payment::usecases::ports::{CouponWord, Kept, Webhook};
use order_payment::usecases::process_payment::{CONCURRENCY, process_payments};
use order_payment::usecases::{AttemptStep, Change};
use testkit::TestDatabase;
use testkit::wait::until;

use crate::world::{World, a_database, a_key, an_order, shopper};

type Outcome = Result<Committed, CommitError<Conflict>>;

/// How many transactions gave orders this status.
async fn commits(database: &TestDatabase, status: &str) -> i64 {
    sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM order_history WHERE status::text = $1")
        .bind(status)
        .fetch_one(&database.owner)
        .await
        .unwrap()
}

#[tokio::test]
async fn payment_steps_that_meet_share_commits() {
    let database = a_database().await;
    let world = World::on(&database);
    let mut orders = Vec::new();
    for _ in 0..CONCURRENCY {
        orders.push(world.an_order_to_pay().await);
    }
    assert_eq!(process_payments(&world.app).await.unwrap(), CONCURRENCY);
    for order in &orders {
        assert_eq!(world.status(*order).await, OrderStatus::Completed);
        assert_eq!(world.charge(*order).await.state, AttemptState::Captured);
        assert_eq!(world.ledger(*order).await, 4990);
        assert_eq!(world.gateway.net(*order), 4990);
        // Created, pending, completed: each told once.
        assert_eq!(world.rows_of("outbox", "key", *order).await, 3);
    }
    let commits = commits(&database, "COMPLETED").await;
    assert!(commits < CONCURRENCY as i64 / 2, "{commits} commits completed {CONCURRENCY} orders");
}

/// How many transactions wrote rows of `table`.
async fn transactions(database: &TestDatabase, table: &str) -> i64 {
    let query = format!("SELECT count(DISTINCT xmin::text) FROM {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&database.owner).await.unwrap()
}

#[tokio::test]
async fn messages_that_stock_is_held_share_commits_and_each_order_gets_its_one_attempt() {
    let database = a_database().await;
    let world = World::on(&database);
    let mut orders = Vec::new();
    for _ in 0..CONCURRENCY {
        orders.push(world.place(shopper(), &a_key(), an_order()).await.unwrap().order);
    }
    let messages = orders.iter().map(|order| begin_payment(&world.app, world.message(), *order));
    for begun in join_all(messages).await {
        begun.unwrap();
    }
    // The same again, from another message.
    begin_payment(&world.app, world.message(), orders[0]).await.unwrap();
    for order in &orders {
        assert_eq!((world.status(*order).await, world.charge(*order).await.version), (OrderStatus::PaymentPending, 1));
        assert_eq!(world.rows_of("payment_attempts", "order_id", *order).await, 1);
        assert_eq!(world.rows_of("order_history", "order_id", *order).await, 2);
    }
    let commits = transactions(&database, "payment_attempts").await;
    assert!(commits < CONCURRENCY as i64 / 2, "{commits} commits began {CONCURRENCY} payments");
}

#[tokio::test]
async fn webhooks_that_arrive_together_are_kept_once_each_and_two_contents_under_one_id_are_a_difference() {
    let database = a_database().await;
    let world = World::on(&database);
    let hook = |id: usize, body: &str| Webhook {
        gateway: "psp".to_owned(),
        event_id: format!("evt_{id}"),
        event_type: "payment_intent.succeeded".to_owned(),
        intent: format!("pi_{id}"),
        order: None,
        amount_minor: Some(100),
        currency: Some("EUR".to_owned()),
        body: body.as_bytes().to_vec(),
        received_at: world.app.clock.now(),
        tries: 0,
    };
    let mut hooks: Vec<Webhook> = (0..30).map(|id| hook(id, "a")).collect();
    hooks.extend([hook(7, "a"), hook(8, "b")]);
    let kept = join_all(hooks.iter().map(|hook| world.app.store.keep_webhook(hook))).await;
    let kept: Vec<Kept> = kept.into_iter().map(Result::unwrap).collect();
    assert_eq!(kept.iter().filter(|kept| **kept == Kept::New).count(), 30);
    assert_eq!((kept[30], kept[31]), (Kept::Again, Kept::Clash));
    let open = world.app.store.backlog().await.unwrap().open;
    assert_eq!(open.iter().filter(|open| open.what == "finding").map(|open| open.count).sum::<i64>(), 1, "{open:?}");
    let commits = transactions(&database, "webhooks").await;
    assert!(commits < 15, "{commits} commits kept 30 webhooks");
}

#[tokio::test]
async fn a_sale_that_the_database_refuses_at_its_commit_fails_alone() {
    let database = a_database().await;
    let world = World::on(&database);
    let (mut changes, mut orders) = (Vec::new(), Vec::new());
    for place in 0..5 {
        let id = world.an_order_to_pay().await;
        let (order, attempt, now) = (world.order(id).await, world.charge(id).await, world.app.clock.now());
        let intent = Some(format!("pi_{}", id.uuid().simple()));
        let sent = AttemptStep::after(attempt.version, Attempt { state: AttemptState::Sent, intent, ..attempt });
        let paid = Attempt { state: AttemptState::Captured, ..sent.attempt.clone() };
        let change = Change { attempts: vec![sent], ..Change::default() };
        world.app.store.commit(Cause::Duty("payment-sent"), change).await.unwrap();
        let capture = Transaction::capture(id, paid.id, paid.amount, now);
        changes.push(Change {
            order: Some(order.complete(now).unwrap()),
            // The second is a sale without money: that is seen only when everything is written.
            ledger: if place == 1 { Vec::new() } else { vec![capture] },
            attempts: vec![AttemptStep::after(paid.version, paid)],
            ..Change::default()
        });
        orders.push(id);
    }
    let store = &world.app.store;
    let sales = changes.into_iter().map(|change| store.commit(Cause::Duty("payment-captured"), change));
    for (place, outcome) in join_all(sales).await.into_iter().enumerate() {
        match (place, outcome) {
            (1, Err(CommitError::Database(_))) | (0 | 2 | 3 | 4, Ok(Committed::Applied)) => {}
            (place, outcome) => panic!("sale {place} ended as {outcome:?}"),
        }
    }
    for (place, id) in orders.into_iter().enumerate() {
        let expected = if place == 1 { (OrderStatus::PaymentPending, 0, 2) } else { (OrderStatus::Completed, 4990, 3) };
        let told = world.rows_of("outbox", "key", id).await;
        assert_eq!((world.status(id).await, world.ledger(id).await, told), expected, "sale {place}");
    }
}

#[tokio::test]
async fn when_a_leader_goes_away_those_it_led_for_hear_of_their_commit_all_the_same() {
    let database = a_database().await;
    let world = World::on(&database);
    let (mut steps, mut orders) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let order = world.an_order_to_pay().await;
        let attempt = world.charge(order).await;
        let change = Change { attempts: vec![AttemptStep::after(attempt.version, attempt)], ..Change::default() };
        steps.push(world.app.store.commit(Cause::Duty("payment-noted"), change));
        orders.push(order);
    }
    let mut steps = steps.into_iter();
    let mut next = || -> Pin<Box<dyn Future<Output = Outcome> + Send + '_>> { steps.next().unwrap() };
    let (mut leader, mut second, mut third) = (next(), next(), next());
    // Two may lead and give others a turn; the third waits. Then the first takes all three with it, and goes away.
    assert!(poll!(&mut leader).is_pending() && poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
    assert!(poll!(&mut leader).is_pending());
    drop(leader);
    for outcome in [second.await, third.await] {
        assert!(matches!(outcome, Ok(Committed::Applied)), "{outcome:?}");
    }
    for order in orders {
        until("the step that was under way", Duration::from_secs(10), async || {
            let version = world.charge(order).await.version;
            if version == 2 { Ok(()) } else { Err(version) }
        })
        .await;
    }
}

/// Rows of coupons and of balances belong to many orders: what touches them goes by itself, or two batches wait in a circle.
#[tokio::test]
async fn payments_that_are_declined_at_once_give_their_coupons_back_each_by_itself() {
    let database = a_database().await;
    let world = World::on(&database);
    let codes = ["SPRING", "SUMMER", "WINTER"].map(|code| CouponCode::parse(code).unwrap());
    {
        let mut promotions = world.prices.1.lock().unwrap();
        promotions.off_with_coupon.insert("LAMP-1".to_owned(), 1_000);
        for code in &codes {
            let coupon = CouponUse { code: code.clone(), revision: 1, most_uses: Some(50), most_per_person: None };
            promotions.words.insert(code.clone(), CouponWord::Good(coupon));
        }
    }
    *world.gateway.declines.lock().unwrap() = true;
    let mut orders = Vec::new();
    for place in 0..CONCURRENCY {
        let raw = order_payment::domain::basket::RawOrder {
            coupon: Some(codes[place % codes.len()].to_string()),
            expected_total: ("39.90".to_owned(), "EUR".to_owned()),
            ..an_order()
        };
        let order = world.place(shopper(), &a_key(), raw).await.unwrap().order;
        begin_payment(&world.app, world.message(), order).await.unwrap();
        orders.push(order);
    }
    world.pay().await;
    for order in orders {
        assert_eq!((world.status(order).await, world.gateway.net(order)), (OrderStatus::Compensated, 0));
    }
    for code in &codes {
        assert_eq!(world.app.store.coupon_count(code, None).await.unwrap().used, 0);
    }
    let commits = commits(&database, "COMPENSATED").await;
    assert_eq!(commits, CONCURRENCY as i64);
}
