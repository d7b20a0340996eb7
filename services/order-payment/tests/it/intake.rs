//! Stories of order intake: those who arrive together share a commit, and nobody notices except by the clock.

use std::sync::Arc;

use common::{Explain as _, OrderId};
use futures::future::join_all;
use messaging::crash::Boundary;
use messaging::{Cause, CommitError, Committed, RequestKey};
use order_payment::domain::{OrderEvent, OrderStep};
use order_payment::outbound::postgres::PostgresStore;
use order_payment::outbound::postgres::intake::{Intake, Lanes, intake};
use order_payment::usecases::Change;
use order_payment::usecases::error::Conflict;
use order_payment::usecases::place_order::{ROUTE, place_order};
use order_payment::usecases::ports::Store as _;
use testkit::TestDatabase;
use testkit::crash::survives_every_crash;
use tokio_util::sync::CancellationToken;

use crate::world::{World, a_database, a_key, an_order, answer, line, shopper};

/// How many transactions wrote the orders that are there.
async fn commits(database: &TestDatabase) -> i64 {
    sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM orders").fetch_one(&database.owner).await.unwrap()
}

#[tokio::test]
async fn orders_that_arrive_together_share_commits_and_each_gets_its_own_answer() {
    let database = a_database().await;
    let world = World::with_intake(&database);
    let placed = join_all((0..40).map(|_| async { world.place(shopper(), &a_key(), an_order()).await })).await;
    let placed: Vec<_> = placed.into_iter().map(|placed| placed.expect("an order is placed")).collect();
    for one in &placed {
        let order = world.order(one.order).await;
        assert_eq!((order.id, order.lines.len(), order.total.minor()), (one.order, 1, 4990));
        assert_eq!(one.answer, answer(&order));
        assert_eq!(world.rows_of("order_history", "order_id", one.order).await, 1);
        assert_eq!(world.rows_of("outbox", "key", one.order).await, 1);
    }
    // The first goes out at once and the second lane takes who came next; everybody else waited for one of the two.
    assert!(commits(&database).await < 20, "{} commits for 40 orders", commits(&database).await);
}

#[tokio::test]
async fn the_line_items_of_each_order_stay_its_own() {
    let database = a_database().await;
    let world = World::with_intake(&database);
    let orders = (1..=8_u32).map(|quantity| {
        let mut raw = an_order();
        raw.lines = vec![line("LAMP-1", quantity)];
        let cents = 4990 * u64::from(quantity);
        raw.expected_total.0 = format!("{}.{:02}", cents / 100, cents % 100);
        let world = &world;
        async move { (quantity, world.place(shopper(), &a_key(), raw).await.unwrap().order) }
    });
    for (quantity, id) in join_all(orders).await {
        let order = world.order(id).await;
        assert_eq!(order.lines.iter().map(|line| line.quantity).collect::<Vec<_>>(), [quantity]);
    }
}

#[tokio::test]
async fn twins_at_the_intake_are_one_order() {
    let database = a_database().await;
    let world = World::with_intake(&database);
    let (me, key) = (shopper(), a_key());
    let twins = join_all((0..50).map(|_| world.place(me, &key, an_order()))).await;
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for twin in twins {
        match twin {
            Ok(placed) => bodies.push(placed.answer.body),
            Err(failure) => assert_eq!(failure.code(), "request-in-progress"),
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    assert_eq!((database.count("orders").await, database.count("outbox").await), (1, 1));
}

#[tokio::test]
async fn an_order_that_exists_is_refused_and_its_neighbours_are_placed() {
    let database = a_database().await;
    let world = World::with_intake(&database);
    let (me, key) = (shopper(), a_key());
    let first = world.place(me, &key, an_order()).await.unwrap();
    // Its answer was pruned after thirty days; the order is still here and knows the request.
    sqlx::query("DELETE FROM requests").execute(&database.owner).await.unwrap();
    let other_key = a_key();
    let (again, other) =
        futures::future::join(world.place(me, &key, an_order()), world.place(shopper(), &other_key, an_order())).await;
    let (again, other) = (again.unwrap(), other.unwrap());
    assert_eq!((again.order, again.replayed, other.replayed), (first.order, true, false));
    assert_eq!((database.count("orders").await, database.count("requests").await), (2, 1));
}

/// What placing an order is for the books, with a cause of its own.
async fn a_change() -> (Cause, Change) {
    let (world, me, key) = (World::in_memory(), shopper(), a_key());
    let id = world.place(me, &key, an_order()).await.unwrap().order;
    let order = world.order(id).await;
    let fingerprint = order.fingerprint;
    let request = RequestKey { subject: me.user.uuid(), method: "POST", route: ROUTE, key, fingerprint };
    let answer = Some(answer(&order));
    let step = OrderStep { from: None, at: order.created_at, event: OrderEvent::Created, order };
    let person = Some((me.user, me.region));
    (Cause::Request(request), Change { person, order: Some(step), answer, ..Change::default() })
}

#[tokio::test]
async fn an_order_that_the_database_refuses_fails_alone() {
    let database = a_database().await;
    let world = World::with_intake(&database);
    let (cause, mut crooked) = a_change().await;
    // Lines that do not add up: the check at commit finds it.
    crooked.order.as_mut().unwrap().order.lines[0].quantity = 2;
    let good = (0..5).map(|_| async {
        let (cause, change) = a_change().await;
        world.app.store.commit(cause, change).await
    });
    let (refused, placed) = futures::future::join(world.app.store.commit(cause, crooked), join_all(good)).await;
    assert!(matches!(refused, Err(CommitError::Database(_))), "{refused:?}");
    assert!(placed.iter().all(|placed| matches!(placed, Ok(Committed::Applied))), "{placed:?}");
    assert_eq!(database.count("orders").await, 5);
}

#[tokio::test]
async fn too_many_waiting_orders_are_turned_away_at_once() {
    let database = a_database().await;
    // Nobody runs the lanes, so whatever is handed in waits.
    let (intake, _lanes): (Intake, Lanes) = intake(database.database.clone(), 64);
    let store = Arc::new(PostgresStore::with_intake(database.database.clone(), intake));
    let mut waiting = Vec::new();
    let refused: CommitError<Conflict> = loop {
        let (cause, change) = a_change().await;
        let store = Arc::clone(&store);
        let mut handed_in = Box::pin(async move { store.commit(cause, change).await });
        match futures::poll!(&mut handed_in) {
            std::task::Poll::Ready(outcome) => break outcome.unwrap_err(),
            std::task::Poll::Pending => waiting.push(handed_in),
        }
        assert!(waiting.len() < 100_000, "the queue has no bound");
    };
    assert_eq!((refused.code(), refused.kind().status()), ("overloaded", 503));
    assert_eq!(database.count("orders").await, 0);
}

#[tokio::test]
async fn an_order_whose_shopper_left_before_it_was_begun_is_not_placed() {
    let database = a_database().await;
    let (intake, lanes) = intake(database.database.clone(), 64);
    let store = PostgresStore::with_intake(database.database.clone(), intake);
    let (cause, change) = a_change().await;
    let mut gone = Box::pin(store.commit(cause, change));
    assert!(futures::poll!(&mut gone).is_pending());
    drop(gone);
    let (cause, change) = a_change().await;
    let stays = store.commit(cause, change);
    let placed = tokio::select! {
        placed = stays => placed,
        () = lanes.run(CancellationToken::new()) => panic!("the lanes ended"),
    };
    assert!(matches!(placed, Ok(Committed::Applied)), "{placed:?}");
    assert_eq!((database.count("orders").await, database.count("requests").await), (1, 1));
}

#[tokio::test]
async fn the_lanes_end_when_nobody_can_hand_in_orders_any_more() {
    let database = a_database().await;
    let (intake, lanes) = intake(database.database.clone(), 64);
    let running = tokio::spawn(lanes.run(CancellationToken::new()));
    let store = PostgresStore::with_intake(database.database.clone(), intake);
    let (cause, change) = a_change().await;
    assert!(matches!(store.commit(cause, change).await, Ok(Committed::Applied)));
    drop(store);
    running.await.unwrap();
}

#[tokio::test]
async fn placing_through_the_intake_survives_every_crash() {
    let database = a_database().await;
    let who = std::sync::Mutex::new((shopper(), a_key()));
    let asked = || who.lock().unwrap().clone();
    let survived = survives_every_crash(
        async || {
            *who.lock().unwrap() = (shopper(), a_key());
        },
        async |_: &()| {
            let (me, key) = asked();
            let (intake, lanes) = intake(database.database.clone(), 64);
            let store = PostgresStore::with_intake(database.database.clone(), intake);
            let world = World::with_store(&database, Arc::new(store));
            // In one task, so that the harness stops the lanes as well.
            tokio::select! {
                _ = place_order(&world.app, me, &key, an_order(), answer) => {}
                () = lanes.run(CancellationToken::new()) => {}
            }
        },
        async |_: &(), when: &str| {
            let (me, key) = asked();
            let world = World::on(&database);
            let id = OrderId::derive(me.region, me.user, &key);
            assert_eq!(world.order(id).await.version, 1, "{when}");
            for (table, column) in [("order_lines", "order_id"), ("order_history", "order_id"), ("outbox", "key")] {
                assert_eq!(world.rows_of(table, column, id).await, 1, "{table} {when}");
            }
            assert_eq!(world.rows_of("requests", "key", &key).await, 1, "{when}");
        },
    )
    .await;
    let within = |point: &&str| point.starts_with("commit_many.");
    assert_eq!(survived.points.iter().filter(|point| within(point)).count(), 5, "{:?}", survived.points);
    assert!(
        survived.points.contains(&Boundary::PlaceOrder.before())
            && survived.points.contains(&Boundary::PlaceOrder.after())
    );
}
