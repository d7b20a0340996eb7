//! Promotions and coupons in baskets and orders: what is shown is charged, no coupon is used more often than it may be, and a use
//! comes back with an order that ends without a sale.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use chrono::Duration;
use common::{Explain as _, OrderId, UserId, ids};
use http::StatusCode;
use order_payment::domain::basket::RawOrder;
use order_payment::domain::cart::CartOwner;
use order_payment::domain::price_lock::LockText;
use order_payment::domain::{CouponCode, CouponCount, CouponUse, OrderStatus, RefundTarget};
use order_payment::usecases::cancel_order::cancel_order;
use order_payment::usecases::change_cart::{merge_cart, put_coupon, put_line};
use order_payment::usecases::compensate_order::{stock_was_rejected, sweep_deadlines};
use order_payment::usecases::coupons::CouponState;
use order_payment::usecases::ports::CouponWord;
use order_payment::usecases::refund_order::{Asker, RawRefund, Refunded, refund_order};
use order_payment::usecases::view_cart::{CartView, Standing, view_cart};
use order_payment::usecases::{Failure, Shopper};
use serde_json::{Value, json};
use testkit::crash::survives_every_crash;
use tokio::task::JoinSet;

use crate::crashes::Place;
use crate::http::{ask, routes};
use crate::world::{World, a_database, a_key, an_order, answer, line, shopper, worlds};

fn code() -> CouponCode {
    CouponCode::parse("AUTUMN-10").unwrap()
}

/// The coupon is good for 10.00 off each lamp.
fn give_out(world: &World, revision: i64, most_uses: Option<u32>, most_per_person: Option<u32>) {
    let mut promotions = world.prices.1.lock().unwrap();
    promotions.off_with_coupon.insert("LAMP-1".to_owned(), 1_000);
    let coupon = CouponUse { code: code(), revision, most_uses, most_per_person };
    promotions.words.insert(code(), CouponWord::Good(coupon));
}

fn say(world: &World, word: CouponWord) {
    world.prices.1.lock().unwrap().words.insert(code(), word);
}

fn with_coupon() -> RawOrder {
    RawOrder {
        coupon: Some("autumn-10".to_owned()),
        expected_total: ("39.90".to_owned(), "EUR".to_owned()),
        ..an_order()
    }
}

async fn count(world: &World, person: Shopper) -> CouponCount {
    world.app.store.coupon_count(&code(), Some(person.user)).await.unwrap()
}

async fn used(world: &World) -> u64 {
    count(world, shopper()).await.used
}

/// Repeats, with its key, what only met somebody else at the same moment, or found no connection in a crowd.
async fn place_patiently(world: &World, me: Shopper, raw: RawOrder) -> Result<OrderId, Failure> {
    let key = a_key();
    loop {
        match world.place(me, &key, raw.clone()).await {
            Err(failure) if failure.kind().retryable() || failure.code() == "request-in-progress" => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            other => return other.map(|placed| placed.order),
        }
    }
}

fn lock_of(view: &CartView) -> LockText {
    match &view.standing {
        Standing::Payable { lock, .. } => lock.text.clone(),
        Standing::NotPayable(why) => panic!("{why:?}"),
    }
}

fn total_of(view: &CartView) -> i64 {
    match &view.standing {
        Standing::Payable { total, .. } => total.minor(),
        Standing::NotPayable(why) => panic!("{why:?}"),
    }
}

#[tokio::test]
async fn an_order_keeps_what_each_line_was_reduced_by_and_its_tax_is_that_of_the_rest() {
    for world in worlds().await {
        world.prices.1.lock().unwrap().off.insert("COAT-1".to_owned(), 2_900);
        give_out(&world, 4, None, None);
        let raw = RawOrder {
            lines: vec![line("LAMP-1", 2), line("COAT-1", 1)],
            expected_total: ("179.80".to_owned(), "EUR".to_owned()),
            ..with_coupon()
        };
        let id = place_patiently(&world, shopper(), raw).await.unwrap();
        let order = world.order(id).await;
        let told: Vec<_> = order
            .lines
            .iter()
            .map(|line| {
                let off = line.reductions.iter().map(|off| (off.promotion.as_str(), off.revision, off.amount.minor()));
                (line.unit_price.minor(), off.collect::<Vec<_>>(), line.tax.unwrap().parts.gross.minor())
            })
            .collect();
        assert_eq!(told, [(4_990, vec![("coupon", 4, 2_000)], 7_980), (12_900, vec![("autumn", 3, 2_900)], 10_000)]);
        let parts = order.tax.unwrap().parts;
        assert_eq!((parts.gross.minor(), order.total.minor()), (17_980, 17_980));
        assert_eq!(parts.net.checked_add(parts.tax), Ok(parts.gross));
        assert_eq!(used(&world).await, 1);
    }
}

#[tokio::test]
async fn of_five_hundred_buyers_exactly_a_hundred_use_a_hundred_uses() {
    for world in worlds().await {
        give_out(&world, 1, Some(100), None);
        let world = Arc::new(world);
        let mut buyers = JoinSet::new();
        for _ in 0..500 {
            let world = Arc::clone(&world);
            buyers.spawn(async move { place_patiently(&world, shopper(), with_coupon()).await });
        }
        let (mut placed, mut refused) = (Vec::new(), 0);
        while let Some(outcome) = buyers.join_next().await {
            match outcome.unwrap() {
                Ok(order) => placed.push(order),
                Err(failure) => {
                    assert_eq!(failure.code(), "coupon-used");
                    refused += 1;
                }
            }
        }
        assert_eq!((placed.len(), refused, used(&world).await), (100, 400, 100));
        if let Some(database) = &world.database {
            // Nothing of those who got none is left: no order, no answer, no redemption, nothing told.
            for table in ["orders", "requests", "coupon_redemptions", "outbox"] {
                assert_eq!(database.count(table).await, 100, "{table}");
            }
        }
        // One that ends without a sale makes room for one, and for one only.
        stock_was_rejected(&world.app, world.message(), placed[0]).await.unwrap();
        assert_eq!(used(&world).await, 99);
        place_patiently(&world, shopper(), with_coupon()).await.unwrap();
        assert_eq!(place_patiently(&world, shopper(), with_coupon()).await.unwrap_err().code(), "coupon-used");
        assert_eq!(used(&world).await, 100);
    }
}

#[tokio::test]
async fn one_person_uses_it_as_often_as_one_may_however_many_tabs_try() {
    for world in worlds().await {
        give_out(&world, 1, None, Some(3));
        let (world, me) = (Arc::new(world), shopper());
        let mut tabs = JoinSet::new();
        for _ in 0..20 {
            let world = Arc::clone(&world);
            tabs.spawn(async move { place_patiently(&world, me, with_coupon()).await });
        }
        let outcomes = tabs.join_all().await;
        let placed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok().copied()).collect();
        assert_eq!((placed.len(), count(&world, me).await), (3, CouponCount { used: 3, by_person: 3 }));
        // Somebody else has uses of their own, and what is given back is mine again.
        place_patiently(&world, shopper(), with_coupon()).await.unwrap();
        stock_was_rejected(&world.app, world.message(), placed[1]).await.unwrap();
        assert_eq!(count(&world, me).await, CouponCount { used: 3, by_person: 2 });
        place_patiently(&world, me, with_coupon()).await.unwrap();
        assert_eq!(place_patiently(&world, me, with_coupon()).await.unwrap_err().code(), "coupon-used");
    }
}

#[tokio::test]
async fn a_use_comes_back_whoever_ends_the_order_and_stays_with_a_sale() {
    for world in worlds().await {
        give_out(&world, 1, Some(10), None);
        let place = || place_patiently(&world, shopper(), with_coupon());
        let (rejected, expired) = (place().await.unwrap(), place().await.unwrap());
        let me = shopper();
        let cancelled = place_patiently(&world, me, with_coupon()).await.unwrap();
        assert_eq!(used(&world).await, 3);
        let message = world.message();
        stock_was_rejected(&world.app, message.clone(), rejected).await.unwrap();
        stock_was_rejected(&world.app, message, rejected).await.unwrap();
        cancel_order(&world.app, me, &a_key(), cancelled, answer).await.unwrap();
        assert_eq!(used(&world).await, 1);
        world.clock.advance(Duration::minutes(16));
        sweep_deadlines(&world.app).await.unwrap();
        assert_eq!((world.status(expired).await, used(&world).await), (OrderStatus::Compensated, 0));
        // Declined by the gateway, and sold.
        for (declines, left) in [(true, 0), (false, 1)] {
            let id = place().await.unwrap();
            *world.gateway.declines.lock().unwrap() = declines;
            order_payment::usecases::begin_payment::begin_payment(&world.app, world.message(), id).await.unwrap();
            world.pay().await;
            assert!(world.status(id).await.is_final());
            assert_eq!(used(&world).await, left);
        }
    }
}

#[tokio::test]
async fn using_a_coupon_and_giving_it_back_survive_every_crash() {
    for place in Place::both().await {
        let who = Mutex::new((shopper(), a_key()));
        let asked = || who.lock().unwrap().clone();
        let before = Mutex::new(0);
        let survived = survives_every_crash(
            async || {
                *who.lock().unwrap() = (shopper(), a_key());
                let world = place.world();
                give_out(&world, 1, None, Some(1));
                *before.lock().unwrap() = used(&world).await;
                world
            },
            async |world: &World| {
                let (me, key) = asked();
                drop(world.place(me, &key, with_coupon()).await);
            },
            async |world: &World, when: &str| {
                let (me, _) = asked();
                let expected = *before.lock().unwrap() + 1;
                assert_eq!(count(world, me).await, CouponCount { used: expected, by_person: 1 }, "{when}");
            },
        )
        .await;
        assert!(survived.points.len() >= 2, "{survived:?}");
        let order = Mutex::new(None);
        survives_every_crash(
            async || {
                let (world, me) = (place.world(), shopper());
                give_out(&world, 1, None, Some(1));
                let id = world.place(me, &a_key(), with_coupon()).await.unwrap().order;
                *order.lock().unwrap() = Some((me, id));
                world
            },
            async |world: &World| {
                let (_, id) = order.lock().unwrap().unwrap();
                drop(stock_was_rejected(&world.app, world.message(), id).await);
            },
            async |world: &World, when: &str| {
                let (me, id) = order.lock().unwrap().unwrap();
                assert_eq!(
                    (world.status(id).await, count(world, me).await.by_person),
                    (OrderStatus::Compensated, 0),
                    "{when}"
                );
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_coupon_that_is_not_good_is_refused_by_its_code_and_nothing_is_ordered() {
    for world in worlds().await {
        let me = shopper();
        for (word, expected) in [
            (CouponWord::Unknown, "coupon-unknown"),
            (CouponWord::ReducesNothing, "coupon-unknown"),
            (CouponWord::NotNow, "coupon-expired"),
        ] {
            say(&world, word);
            let failure = world.place(me, &a_key(), with_coupon()).await.unwrap_err();
            assert_eq!((failure.code(), failure.fields()[0].pointer.as_str()), (expected, "/coupon"));
        }
        let crooked = RawOrder { coupon: Some("a b".to_owned()), ..with_coupon() };
        assert_eq!(world.place(me, &a_key(), crooked).await.unwrap_err().fields()[0].pointer, "/coupon");
        let card = RawOrder { coupon: Some("4242 4242 4242 4242".to_owned()), ..with_coupon() };
        assert_eq!(world.place(me, &a_key(), card).await.unwrap_err().code(), "card-data-refused");
        // One key is one intention: with another coupon it is another.
        give_out(&world, 1, None, None);
        let key = a_key();
        world.place(me, &key, with_coupon()).await.unwrap();
        assert!(world.place(me, &key, with_coupon()).await.unwrap().replayed);
        let other = RawOrder { coupon: Some("OTHER".to_owned()), ..with_coupon() };
        assert_eq!(world.place(me, &key, other).await.unwrap_err().code(), "idempotency-key-reused");
        assert_eq!(used(&world).await, 1);
    }
}

#[tokio::test]
async fn a_repetition_gets_its_first_answer_though_the_coupon_is_used_up_or_over() {
    for world in worlds().await {
        let (me, key) = (shopper(), a_key());
        give_out(&world, 1, Some(1), Some(1));
        let first = world.place(me, &key, with_coupon()).await.unwrap();
        // The only use is its own.
        let again = world.place(me, &key, with_coupon()).await.unwrap();
        assert!(again.replayed);
        assert_eq!(place_patiently(&world, shopper(), with_coupon()).await.unwrap_err().code(), "coupon-used");
        for word in [CouponWord::NotNow, CouponWord::Unknown, CouponWord::ReducesNothing] {
            say(&world, word);
            let again = world.place(me, &key, with_coupon()).await.unwrap();
            assert_eq!((again.order, again.answer, again.replayed), (first.order, first.answer.clone(), true));
        }
        assert_eq!(used(&world).await, 1);
    }
}

#[tokio::test]
async fn a_locked_reduction_is_charged_as_shown_and_the_newest_word_limits_its_uses() {
    for world in worlds().await {
        let me = shopper();
        let owner = CartOwner::User(me.user);
        give_out(&world, 1, Some(2), None);
        world.prices.1.lock().unwrap().off.insert("LAMP-1".to_owned(), 90);
        let put = put_line(&world.app, owner, Some(0), line("LAMP-1", 1), None).await.unwrap();
        assert_eq!((put.subtotal.minor(), put.discount.minor(), total_of(&put)), (4_990, 90, 4_900));
        let shown = put_coupon(&world.app, owner, Some(put.cart.version), Some("autumn-10")).await.unwrap();
        assert_eq!((shown.coupon, shown.discount.minor(), total_of(&shown)), (Some(CouponState::Good), 1_090, 3_900));
        let lock = lock_of(&shown);
        let locked = || RawOrder {
            price_lock: Some(lock.clone()),
            expected_total: ("39.00".to_owned(), "EUR".to_owned()),
            ..with_coupon()
        };
        // A lock on prices with a coupon is none without it, and the other way round.
        let without = RawOrder { coupon: None, ..locked() };
        assert_eq!(world.place(me, &a_key(), without).await.unwrap_err().code(), "price-lock-invalid");
        let other = RawOrder { price_lock: Some(lock_of(&put)), ..locked() };
        assert_eq!(world.place(me, &a_key(), other).await.unwrap_err().code(), "price-lock-invalid");
        // Everything is over and dearer: what was shown is charged.
        world.prices.set("LAMP-1", 9_900, 10);
        world.prices.1.lock().unwrap().off.clear();
        say(&world, CouponWord::NotNow);
        let placed = world.place(me, &a_key(), locked()).await.unwrap().order;
        let order = world.order(placed).await;
        assert_eq!((order.total.minor(), order.lines[0].reductions.len(), used(&world).await), (3_900, 2, 1));
        // Staff lowers the limit below what was promised: a lock holds prices, it holds no use.
        give_out(&world, 2, Some(1), None);
        assert_eq!(place_patiently(&world, me, locked()).await.unwrap_err().code(), "coupon-used");
        give_out(&world, 3, Some(2), None);
        place_patiently(&world, me, locked()).await.unwrap();
        // An older word does not undo it.
        give_out(&world, 1, Some(50), None);
        assert_eq!(place_patiently(&world, me, locked()).await.unwrap_err().code(), "coupon-used");
    }
}

#[tokio::test]
async fn a_limit_lowered_below_what_was_used_holds_from_the_first_refusal_whatever_older_words_say() {
    for world in worlds().await {
        let me = shopper();
        let place = |who: Shopper| place_patiently(&world, who, with_coupon());
        give_out(&world, 1, Some(5), None);
        let (first, second) = (place(me).await.unwrap(), place(me).await.unwrap());
        place(shopper()).await.unwrap();
        // Staff lowers it. Whoever comes first brings the news, and is refused.
        give_out(&world, 2, Some(2), None);
        assert_eq!(place(shopper()).await.unwrap_err().code(), "coupon-used");
        // A quote of a moment ago, or a lock: an older word raises nothing, also when uses come back.
        give_out(&world, 1, Some(5), None);
        for (over, used_then) in [(None, 3), (Some(first), 2)] {
            if let Some(order) = over {
                stock_was_rejected(&world.app, world.message(), order).await.unwrap();
            }
            assert_eq!(place(shopper()).await.unwrap_err().code(), "coupon-used");
            assert_eq!(used(&world).await, used_then);
        }
        stock_was_rejected(&world.app, world.message(), second).await.unwrap();
        place(me).await.unwrap();
        assert_eq!(used(&world).await, 2);
        // So it is with the limit of one person; a newer word raises what it says.
        give_out(&world, 3, Some(9), Some(2));
        place(me).await.unwrap();
        give_out(&world, 4, Some(9), Some(1));
        assert_eq!(place(me).await.unwrap_err().code(), "coupon-used");
        give_out(&world, 3, Some(9), Some(3));
        assert_eq!(place(me).await.unwrap_err().code(), "coupon-used");
        place(shopper()).await.unwrap();
        assert_eq!(count(&world, me).await, CouponCount { used: 4, by_person: 2 });
    }
}

#[tokio::test]
async fn without_a_lock_a_reduction_that_ended_is_a_changed_price() {
    for world in worlds().await {
        let me = shopper();
        world.prices.1.lock().unwrap().off.insert("LAMP-1".to_owned(), 1_000);
        let reduced = RawOrder { coupon: None, ..with_coupon() };
        world.place(me, &a_key(), reduced.clone()).await.unwrap();
        world.prices.1.lock().unwrap().off.clear();
        let failure = world.place(me, &a_key(), reduced.clone()).await.unwrap_err();
        assert_eq!(failure.code(), "price-changed");
        // A catalog that gives things away is not believed.
        world.prices.1.lock().unwrap().off.insert("LAMP-1".to_owned(), 4_990);
        assert_eq!(world.place(me, &a_key(), reduced).await.unwrap_err().code(), "internal");
    }
}

#[tokio::test]
async fn a_basket_shows_what_became_of_its_coupon_and_stays_payable() {
    for world in worlds().await {
        let me = shopper();
        let owner = CartOwner::User(me.user);
        let put = put_line(&world.app, owner, Some(0), line("LAMP-1", 1), None).await.unwrap();
        let seen = Some(put.cart.version);
        for (word, expected) in [(CouponWord::Unknown, "coupon-unknown"), (CouponWord::NotNow, "coupon-expired")] {
            say(&world, word);
            let refused = put_coupon(&world.app, owner, seen, Some("AUTUMN-10")).await.unwrap_err();
            assert_eq!((refused.code(), refused.fields()[0].pointer.as_str()), (expected, "/code"));
        }
        assert_eq!(put_coupon(&world.app, owner, seen, Some("?")).await.unwrap_err().code(), "invalid-field");
        give_out(&world, 1, Some(1), None);
        let shown = put_coupon(&world.app, owner, seen, Some("AUTUMN-10")).await.unwrap();
        assert_eq!(view_cart(&world.app, owner).await.unwrap().cart, shown.cart);
        // Somebody else is faster: the basket says so and costs what it costs without.
        place_patiently(&world, shopper(), with_coupon()).await.unwrap();
        let late = view_cart(&world.app, owner).await.unwrap();
        assert_eq!((late.coupon, total_of(&late), late.discount.minor()), (Some(CouponState::UsedUp), 4_990, 0));
        let refused = world.place(me, &a_key(), with_coupon()).await.unwrap_err();
        assert_eq!(refused.code(), "coupon-used");
        let plain = RawOrder { price_lock: Some(lock_of(&late)), ..an_order() };
        world.place(me, &a_key(), plain).await.unwrap();
        for (word, state) in [
            (CouponWord::NotNow, CouponState::NotNow),
            (CouponWord::Unknown, CouponState::Unknown),
            (CouponWord::ReducesNothing, CouponState::ReducesNothing),
        ] {
            say(&world, word);
            let view = view_cart(&world.app, owner).await.unwrap();
            assert_eq!((view.coupon, total_of(&view)), (Some(state), 4_990));
        }
        let taken = put_coupon(&world.app, owner, Some(late.cart.version), None).await.unwrap();
        assert_eq!((taken.cart.coupon, taken.coupon), (None, None));
    }
}

#[tokio::test]
async fn a_visitors_coupon_comes_along_when_somebody_logs_in() {
    for world in worlds().await {
        give_out(&world, 1, None, None);
        let (visitor, me) = (ids::random().into(), UserId::from_uuid(ids::random()));
        let owner = CartOwner::Visitor(visitor);
        let put = put_line(&world.app, owner, Some(0), line("LAMP-1", 1), None).await.unwrap();
        put_coupon(&world.app, owner, Some(put.cart.version), Some("AUTUMN-10")).await.unwrap();
        let mine = merge_cart(&world.app, me, visitor).await.unwrap();
        assert_eq!((mine.cart.coupon, mine.coupon), (Some(code()), Some(CouponState::Good)));
    }
}

fn refunded(refund: &order_payment::domain::Refund) -> messaging::StoredAnswer {
    messaging::StoredAnswer { status: 201, body: refund.amount.to_string().into_bytes() }
}

#[tokio::test]
async fn a_reduced_line_gives_back_what_was_paid_for_it_and_not_its_list_price() {
    for world in worlds().await {
        world.prices.1.lock().unwrap().off.insert("LAMP-1".to_owned(), 1_663);
        let raw = RawOrder {
            lines: vec![line("LAMP-1", 3), line("COAT-1", 1)],
            expected_total: ("228.81".to_owned(), "EUR".to_owned()),
            ..an_order()
        };
        let id = world.place(shopper(), &a_key(), raw).await.unwrap().order;
        order_payment::usecases::begin_payment::begin_payment(&world.app, world.message(), id).await.unwrap();
        world.pay().await;
        let clerk = Asker { shopper: shopper(), staff: true };
        let refund = async |lines: Vec<(String, u32)>| -> Result<Refunded, Failure> {
            let raw = RawRefund { amount: None, lines: Some(lines), reason: "broken".to_owned(), target: None };
            refund_order(&world.app, clerk, &a_key(), id, raw, refunded).await
        };
        let mut back = Vec::new();
        for _ in 0..3 {
            back.push(String::from_utf8(refund(vec![("LAMP-1".to_owned(), 1)]).await.unwrap().answer.body).unwrap());
        }
        assert_eq!(back, ["33.27 EUR", "33.27 EUR", "33.27 EUR"]);
        assert_eq!(refund(vec![("LAMP-1".to_owned(), 1)]).await.unwrap_err().code(), "refund-exceeds-capture");
        world.pay().await;
        let refunds = world.app.store.refunds_of(id).await.unwrap();
        assert!(refunds.iter().all(|refund| refund.target == RefundTarget::Card));
        assert_eq!(world.gateway.net(id), 12_900);
    }
}

#[tokio::test]
async fn a_coupon_travels_from_the_basket_to_the_order_over_http() {
    let world = World::in_postgres().await;
    let routes = routes(&world);
    give_out(&world, 4, Some(1), None);
    let me = UserId::from_uuid(ids::random());
    let request = |method: &str, path: &str, tag: Option<&str>| {
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("authorization", "Bearer x")
            .header("test-user", me.to_string());
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        request
    };
    let first = json!({"lines": [{"sku": "LAMP-1", "quantity": 1}]});
    let put = ask(&routes, request("PUT", "/v1/cart", Some("\"0\"")), first.to_string()).await;
    let tag = put.headers["etag"].to_str().unwrap().to_owned();
    for (body, status, code) in [
        (json!({"code": "nothing-10"}), 422, "coupon-unknown"),
        (json!({"code": "x"}), 422, "invalid-field"),
        (json!({"code": "autumn-10", "uses": 9}), 422, "unknown-field"),
        (json!({}), 422, "invalid-field"),
    ] {
        let refused = ask(&routes, request("PUT", "/v1/cart/coupon", Some(&tag)), body.to_string()).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (status, code), "{body}");
        assert_eq!(refused.headers["content-type"], "application/problem+json");
    }
    let body = json!({"code": "autumn-10"}).to_string();
    let blind = ask(&routes, request("PUT", "/v1/cart/coupon", None), body.clone()).await;
    assert_eq!(blind.code(), "precondition-required");
    let cart = ask(&routes, request("PUT", "/v1/cart/coupon", Some(&tag)), body).await;
    let (tag, cart) = (cart.headers["etag"].to_str().unwrap().to_owned(), cart.json());
    let euro = |amount: &str| json!({"amount": amount, "currency": "EUR"});
    assert_eq!(cart["coupon"], json!({"code": "AUTUMN-10", "state": "ok"}), "{cart:#}");
    assert_eq!(
        (&cart["subtotal"], &cart["discount"], &cart["total"]),
        (&euro("49.90"), &euro("10.00"), &euro("39.90"))
    );
    let reductions = json!([{"promotion": "coupon", "revision": 4, "amount": euro("10.00")}]);
    assert_eq!(cart["lines"][0]["reductions"], reductions);
    let order = json!({
        "lines": [{"sku": "LAMP-1", "quantity": 1}],
        "shipping_address": {"name": "Ada Lovelace", "line1": "Zeil 106", "city": "Frankfurt", "postal_code": "60313", "country": "DE"},
        "payment": {"method": "card", "token": "tok_ok"},
        "expected_total": cart["total"], "price_lock": cart["price_lock"], "coupon": cart["coupon"]["code"],
    });
    let post = || request("POST", "/v1/orders", None).header("idempotency-key", a_key());
    let placed = ask(&routes, post(), order.to_string()).await;
    assert_eq!(placed.status, StatusCode::CREATED, "{:#}", placed.json());
    assert_eq!(
        (&placed.json()["total_amount"], &placed.json()["lines"][0]["reductions"]),
        (&euro("39.90"), &reductions)
    );
    let id = placed.json()["order_id"].as_str().unwrap().to_owned();
    let shown = ask(&routes, request("GET", &format!("/v1/orders/{id}"), None), Body::empty()).await.json();
    assert_eq!(shown["lines"][0]["reductions"], reductions);
    let uses = |role: &str| request("GET", "/v1/admin/coupons/autumn-10", None).header("test-role", role.to_owned());
    let told = ask(&routes, uses("staff"), Body::empty()).await;
    assert_eq!(told.json(), json!({"code": "AUTUMN-10", "used": 1}));
    assert_eq!(ask(&routes, uses("shopper"), Body::empty()).await.code(), "forbidden");
    let second = ask(&routes, post(), order.to_string()).await;
    assert_eq!((second.status, second.code().as_str()), (StatusCode::CONFLICT, "coupon-used"));
    let now = ask(&routes, request("GET", "/v1/cart", None), Body::empty()).await.json();
    assert_eq!((&now["coupon"]["state"], &now["total"]), (&json!("coupon-used"), &euro("49.90")));
    let gone = ask(&routes, request("DELETE", "/v1/cart/coupon", Some(&tag)), Body::empty()).await.json();
    assert_eq!((&gone["coupon"], &gone["discount"]), (&Value::Null, &Value::Null));
}

/// What the tables refuse by themselves, whoever writes.
#[tokio::test]
async fn the_tables_know_the_limits_and_let_the_service_write_none() {
    let database = a_database().await;
    let world = World::on(&database);
    give_out(&world, 1, Some(2), None);
    let id = place_patiently(&world, shopper(), with_coupon()).await.unwrap();
    let refused = async |pool: &sqlx::PgPool, statement: &'static str| {
        sqlx::query(statement).execute(pool).await.unwrap_err().to_string()
    };
    let (app, owner) = (database.database.pool(), &database.owner);
    for statement in [
        "UPDATE coupon_uses SET used = 0",
        "INSERT INTO coupon_uses VALUES ('FREE', 1, NULL, NULL, 0)",
        "UPDATE coupon_redemptions SET given_back_at = now()",
        "DELETE FROM coupon_redemptions",
        "UPDATE order_lines SET reduction_minor = 1",
    ] {
        assert!(refused(app, statement).await.contains("permission denied"), "{statement}");
    }
    for (statement, constraint) in [
        ("UPDATE coupon_uses SET used = 3", "coupon_uses_are_capped"),
        ("INSERT INTO coupon_uses VALUES ('FREE', 1, 2, NULL, 3)", "coupon_uses_are_capped"),
        ("UPDATE coupon_uses SET revision = 0", "coupon_uses_know_the_newest_word"),
        ("UPDATE coupon_uses SET used = -1", "coupon_uses_are_counted"),
        ("DELETE FROM coupon_redemptions", "never changed"),
        ("UPDATE coupon_redemptions SET code = 'OTHER'", "given back once"),
        (
            "INSERT INTO order_lines (order_id, line_no, sku, name, quantity, unit_price_minor, reduction_minor, reductions)
             SELECT order_id, 7, 'X', '', 1, 10, 10, '[1]' FROM orders",
            "order_lines_are_never_free",
        ),
        (
            "INSERT INTO order_lines (order_id, line_no, sku, name, quantity, unit_price_minor, reduction_minor)
             SELECT order_id, 7, 'X', '', 1, 10, 5 FROM orders",
            "order_lines_name_their_reductions",
        ),
    ] {
        let said = refused(owner, statement).await;
        assert!(said.contains(constraint), "{statement}: {said}");
    }
    assert_eq!(world.rows_of("coupon_redemptions", "order_id", id).await, 1);
}
