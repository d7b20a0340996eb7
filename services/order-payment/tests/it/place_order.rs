//! Placing orders: once per key, at the catalog's prices, or not at all.

use common::{Explain, Private, Region, UserId, ids};
use order_payment::domain::basket::RawOrder;
use order_payment::domain::{OrderEvent, OrderStatus};
use order_payment::usecases::Shopper;

use crate::world::{World, a_key, an_order, line, shopper, worlds};

#[tokio::test]
async fn a_repeated_request_key_returns_the_first_order() {
    for world in worlds().await {
        let (shopper, key) = (shopper(), a_key());
        let first = world.place(shopper, &key, an_order()).await.unwrap();
        assert!(!first.replayed);
        // Whatever the price is now, and whether the catalog answers at all.
        world.prices.set("LAMP-1", 1, 0);
        world.prices.set("CATALOG-IS-DOWN", 1, 0);
        let again = world.place(shopper, &key, an_order()).await.unwrap();
        assert!(again.replayed);
        assert_eq!((again.order, again.answer), (first.order, first.answer));
    }
}

#[tokio::test]
async fn a_key_used_for_another_order_is_refused() {
    for world in worlds().await {
        let (shopper, key) = (shopper(), a_key());
        world.place(shopper, &key, an_order()).await.unwrap();
        let other = RawOrder { token: Private::new("tok_visa".to_owned()), ..an_order() };
        let refused = world.place(shopper, &key, other).await.unwrap_err();
        assert_eq!(refused.code(), "idempotency-key-reused");
    }
}

#[tokio::test]
async fn a_key_used_before_decides_whatever_else_is_in_the_way() {
    for world in worlds().await {
        let (shopper, key) = (shopper(), a_key());
        let first = world.place(shopper, &key, an_order()).await.unwrap();
        let other = RawOrder { token: Private::new("tok_visa".to_owned()), ..an_order() };
        // Sold out, at another price, not sold any more, catalog away: each comes before the commit.
        for (sku, minor, available) in [("LAMP-1", 4990, 0), ("LAMP-1", 9900, 10), ("CATALOG-IS-DOWN", 1, 0)] {
            world.prices.set(sku, minor, available);
            let again = world.place(shopper, &key, an_order()).await.unwrap();
            assert!(again.replayed);
            assert_eq!((again.order, &again.answer), (first.order, &first.answer));
            let refused = world.place(shopper, &key, other.clone()).await.unwrap_err();
            assert_eq!(refused.code(), "idempotency-key-reused");
        }
        world.prices.0.lock().unwrap().clear();
        assert!(world.place(shopper, &key, an_order()).await.unwrap().replayed);
        // A key that nobody used is told what is in the way.
        assert_eq!(world.place(shopper, &a_key(), an_order()).await.unwrap_err().code(), "invalid-field");
    }
}

#[tokio::test]
async fn the_same_key_of_two_people_is_two_keys() {
    for world in worlds().await {
        let (ada, bob, key) = (shopper(), shopper(), a_key());
        let one = world.place(ada, &key, an_order()).await.unwrap();
        let other = world.place(bob, &key, an_order()).await.unwrap();
        assert_ne!(one.order, other.order);
        assert!(!other.replayed);
        for (who, first) in [(ada, &one), (bob, &other)] {
            let again = world.place(who, &key, an_order()).await.unwrap();
            assert!(again.replayed);
            assert_eq!(again.answer, first.answer, "the answer of somebody else");
        }
    }
}

#[tokio::test]
async fn fifty_twins_at_once_are_one_order() {
    let world = World::in_postgres().await;
    let (shopper, key) = (shopper(), a_key());
    let twins = futures::future::join_all((0..50).map(|_| world.place(shopper, &key, an_order()))).await;
    let mut bodies = Vec::new();
    for twin in twins {
        match twin {
            Ok(placed) => bodies.push(placed.answer.body),
            Err(failure) => {
                // All of them ask the shopper to repeat with the same key.
                let repeat = ["request-in-progress", "overloaded", "dependency-down", "outcome-unknown"];
                assert!(repeat.contains(&failure.code()), "{} {failure}", failure.code())
            }
        }
    }
    bodies.push(world.place(shopper, &key, an_order()).await.unwrap().answer.body);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    let database = world.database.as_ref().unwrap();
    assert_eq!(
        (database.count("orders").await, database.count("outbox").await, database.count("requests").await),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn a_key_whose_row_is_gone_still_meets_its_order() {
    let world = World::in_postgres().await;
    let (shopper, key) = (shopper(), a_key());
    let first = world.place(shopper, &key, an_order()).await.unwrap();
    let owner = &world.database.as_ref().unwrap().owner;
    sqlx::query("DELETE FROM requests").execute(owner).await.unwrap();
    let again = world.place(shopper, &key, an_order()).await.unwrap();
    assert!(again.replayed);
    assert_eq!((again.order, again.answer), (first.order, first.answer));
    sqlx::query("DELETE FROM requests").execute(owner).await.unwrap();
    let other = RawOrder { token: Private::new("tok_visa".to_owned()), ..an_order() };
    assert_eq!(world.place(shopper, &key, other).await.unwrap_err().code(), "idempotency-key-reused");
    assert_eq!(world.database.as_ref().unwrap().count("orders").await, 1);
}

#[tokio::test]
async fn what_cannot_be_ordered_leaves_nothing_behind() {
    let world = World::in_memory();
    let table: Vec<(RawOrder, &str, &str)> = vec![
        (
            RawOrder { lines: vec![line("UNKNOWN", 1), line("LAMP-1", 1)], ..an_order() },
            "invalid-field",
            "/lines/0/sku",
        ),
        (RawOrder { lines: vec![line("LAMP-1", 2)], ..an_order() }, "price-changed", "/expected_total"),
        (
            RawOrder { expected_total: ("49.89".to_owned(), "EUR".to_owned()), ..an_order() },
            "price-changed",
            "/expected_total",
        ),
        (
            RawOrder {
                lines: vec![line("COAT-1", 4)],
                expected_total: ("516.00".to_owned(), "EUR".to_owned()),
                ..an_order()
            },
            "out-of-stock",
            "/lines/0/quantity",
        ),
        (RawOrder { lines: vec![line("YACHT", 99)], ..an_order() }, "limit-exceeded", ""),
        (RawOrder { lines: vec![], ..an_order() }, "invalid-field", "/lines"),
        (
            RawOrder { token: Private::new("4242 4242 4242 4242".to_owned()), ..an_order() },
            "card-data-refused",
            "/payment/token",
        ),
    ];
    world.prices.set("YACHT", 99_999_999, 1000);
    for (raw, code, pointer) in table {
        let failure = world.place(shopper(), &a_key(), raw.clone()).await.unwrap_err();
        assert_eq!(failure.code(), code, "{raw:?}");
        assert_eq!(failure.fields().first().map_or("", |field| field.pointer.as_str()), pointer, "{raw:?}");
        assert!(!failure.to_string().contains("4242"));
    }
    let abroad = Shopper { user: UserId::from_uuid(ids::random()), region: Region::Us };
    assert_eq!(world.place(abroad, &a_key(), an_order()).await.unwrap_err().code(), "residency-mismatch");
    world.prices.set("CATALOG-IS-DOWN", 1, 1);
    assert_eq!(world.place(shopper(), &a_key(), an_order()).await.unwrap_err().code(), "dependency-down");
    let books = world.books();
    assert!(books.orders.is_empty() && books.events.is_empty() && books.people.is_empty());
}

#[tokio::test]
async fn one_product_in_two_lines_is_merged_and_priced_once() {
    let world = World::in_memory();
    let raw = RawOrder {
        lines: vec![line("LAMP-1", 1), line("COAT-1", 1), line("LAMP-1", 1)],
        expected_total: ("228.80".to_owned(), "EUR".to_owned()),
        ..an_order()
    };
    let placed = world.place(shopper(), &a_key(), raw).await.unwrap();
    let order = world.order(placed.order).await;
    assert_eq!(
        order.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect::<Vec<_>>(),
        [("LAMP-1", 2), ("COAT-1", 1)]
    );
    assert_eq!((order.status, order.version, order.total.minor()), (OrderStatus::Created, 1, 22_880));
    assert_eq!(world.books().events, [(order.id, 1, OrderEvent::Created)]);
}
