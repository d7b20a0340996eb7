//! Baskets: whose they are, what they show, what two tabs may do to each other. Memory and PostgreSQL pass the same stories.

use std::sync::Mutex;

use axum::body::Body;
use chrono::Duration;
use common::{Explain, UserId, VisitorId, ids};
use http::StatusCode;
use order_payment::domain::cart::{Cart, CartOwner};
use order_payment::usecases::change_cart::{empty_cart, merge_cart, put_line, replace_cart, sweep_carts};
use order_payment::usecases::error::Conflict;
use order_payment::usecases::view_cart::{CartView, LineState, NotPayable, Standing, view_cart};
use serde_json::{Value, json};
use testkit::crash::survives_every_crash;

use crate::crashes::Place;
use crate::http::{Answer, ask, routes};
use crate::world::{World, a_key, line, worlds};

fn somebody() -> CartOwner {
    CartOwner::User(ids::random().into())
}

fn a_visitor() -> VisitorId {
    ids::random().into()
}

fn wanted(view: &CartView) -> Vec<(&str, u32)> {
    view.cart.lines.iter().map(|line| (line.line.sku.as_str(), line.line.quantity)).collect()
}

fn not_payable(view: &CartView) -> Option<NotPayable> {
    match view.standing {
        Standing::Payable { .. } => None,
        Standing::NotPayable(why) => Some(why),
    }
}

#[tokio::test]
async fn a_basket_is_read_back_as_it_was_written_with_the_prices_of_now() {
    for world in worlds().await {
        let owner = somebody();
        let first = view_cart(&world.app, owner).await.unwrap();
        assert_eq!((first.cart.version, not_payable(&first)), (Cart::UNWRITTEN, Some(NotPayable::Empty)));
        let put = put_line(&world.app, owner, Some(0), line("LAMP-1", 2), None).await.unwrap();
        let put = put_line(&world.app, owner, Some(put.cart.version), line("COAT-1", 1), None).await.unwrap();
        assert_eq!(put.subtotal.minor(), 22_880);
        world.prices.set("COAT-1", 13_900, 3);
        let read = view_cart(&world.app, owner).await.unwrap();
        assert_eq!(read.cart, put.cart);
        assert_eq!((wanted(&read), read.subtotal.minor()), (vec![("LAMP-1", 2), ("COAT-1", 1)], 23_880));
        let coat = &read.lines[1];
        assert_eq!(coat.line.carted.unit_price.minor(), 12_900, "the price that was seen");
        assert_eq!(coat.offer.as_ref().unwrap().unit_price.minor(), 13_900, "the price of now");
        let Standing::Payable { total, tax, .. } = &read.standing else { panic!("{:?}", read.standing) };
        assert_eq!((total.minor(), *tax), (23_880, None));
        // A quantity of zero takes a line out.
        let fewer = put_line(&world.app, owner, Some(read.cart.version), line("LAMP-1", 0), None).await.unwrap();
        assert_eq!(wanted(&fewer), [("COAT-1", 1)]);
        let none = empty_cart(&world.app, owner, Some(fewer.cart.version)).await.unwrap();
        assert_eq!((none.cart.lines.len(), view_cart(&world.app, owner).await.unwrap().cart), (0, none.cart));
    }
}

#[tokio::test]
async fn two_tabs_do_not_lose_each_others_changes() {
    for world in worlds().await {
        for owner in [somebody(), CartOwner::Visitor(a_visitor())] {
            let first = put_line(&world.app, owner, Some(0), line("LAMP-1", 1), None).await.unwrap();
            let seen = Some(first.cart.version);
            put_line(&world.app, owner, seen, line("COAT-1", 1), None).await.unwrap();
            let refused = [
                put_line(&world.app, owner, seen, line("LAMP-1", 5), None).await,
                replace_cart(&world.app, owner, seen, vec![line("LAMP-1", 5)], None).await,
                empty_cart(&world.app, owner, seen).await,
                put_line(&world.app, owner, Some(0), line("LAMP-1", 5), None).await,
                put_line(&world.app, owner, None, line("LAMP-1", 5), None).await,
            ];
            let codes: Vec<_> = refused.into_iter().map(|refused| refused.unwrap_err().code()).collect();
            assert_eq!(codes[..4], ["precondition-failed"; 4]);
            assert_eq!(codes[4], "precondition-required");
            assert_eq!(wanted(&view_cart(&world.app, owner).await.unwrap()), [("LAMP-1", 1), ("COAT-1", 1)]);
        }
    }
}

#[tokio::test]
async fn of_ten_tabs_that_saw_the_same_one_wins() {
    for world in worlds().await {
        let owner = somebody();
        for round in 0..3 {
            let seen = view_cart(&world.app, owner).await.unwrap().cart.version;
            let tabs = (1..=10).map(|tab| put_line(&world.app, owner, Some(seen), line("LAMP-1", tab), None));
            let won = futures::future::join_all(tabs).await.into_iter().filter(Result::is_ok).count();
            assert_eq!(won, 1, "round {round}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_bought_is_marked_and_stays() {
    for world in worlds().await {
        let owner = somebody();
        let lines = vec![line("LAMP-1", 1), line("COAT-1", 3)];
        let full = replace_cart(&world.app, owner, Some(0), lines, None).await.unwrap();
        assert_eq!(not_payable(&full), None);
        world.prices.set("COAT-1", 12_900, 2);
        let short = view_cart(&world.app, owner).await.unwrap();
        assert_eq!((short.lines[1].state, not_payable(&short)), (LineState::Short, Some(NotPayable::Short)));
        world.prices.0.lock().unwrap().remove("COAT-1");
        let gone = view_cart(&world.app, owner).await.unwrap();
        assert_eq!((gone.lines[1].state, not_payable(&gone)), (LineState::NotSold, Some(NotPayable::NotSold)));
        assert_eq!((wanted(&gone), gone.subtotal.minor()), (vec![("LAMP-1", 1), ("COAT-1", 3)], 4990));
        // The basket can still be changed around it, but nothing that is not sold gets in anew.
        let lines = vec![line("LAMP-1", 2), line("COAT-1", 3)];
        let changed = replace_cart(&world.app, owner, Some(gone.cart.version), lines, None).await.unwrap();
        assert_eq!(wanted(&changed), [("LAMP-1", 2), ("COAT-1", 3)]);
        let refused = put_line(&world.app, owner, Some(changed.cart.version), line("GHOST", 1), None).await;
        assert_eq!(refused.unwrap_err().code(), "invalid-field");
        world.prices.set("YACHT", 99_999_999, 1000);
        let refused = put_line(&world.app, owner, Some(changed.cart.version), line("YACHT", 99), None).await;
        assert_eq!(refused.unwrap_err().code(), "limit-exceeded");
        assert_eq!(view_cart(&world.app, owner).await.unwrap().cart, changed.cart);
    }
}

#[tokio::test]
async fn a_visitors_basket_becomes_the_persons_once_and_is_gone() {
    for world in worlds().await {
        let (user, visitor) = (UserId::from_uuid(ids::random()), a_visitor());
        let theirs = vec![line("LAMP-1", 3), line("COAT-1", 1)];
        replace_cart(&world.app, CartOwner::Visitor(visitor), Some(0), theirs, None).await.unwrap();
        put_line(&world.app, CartOwner::User(user), Some(0), line("LAMP-1", 1), None).await.unwrap();
        let merged = merge_cart(&world.app, user, visitor).await.unwrap();
        assert_eq!(wanted(&merged), [("LAMP-1", 3), ("COAT-1", 1)]);
        let again = merge_cart(&world.app, user, visitor).await.unwrap();
        assert_eq!(again.cart, merged.cart);
        let left = view_cart(&world.app, CartOwner::Visitor(visitor)).await.unwrap();
        assert_eq!(left.cart.version, Cart::UNWRITTEN);
    }
}

#[tokio::test]
async fn a_basket_is_its_owners_and_a_visitors_is_forgotten() {
    for world in worlds().await {
        let (visitor, user) = (CartOwner::Visitor(a_visitor()), somebody());
        let first = put_line(&world.app, visitor, Some(0), line("LAMP-1", 1), None).await.unwrap();
        put_line(&world.app, user, Some(0), line("LAMP-1", 1), None).await.unwrap();
        assert_eq!(view_cart(&world.app, CartOwner::Visitor(a_visitor())).await.unwrap().cart.lines, []);
        world.clock.advance(Duration::days(30));
        assert_eq!(view_cart(&world.app, visitor).await.unwrap().cart.version, Cart::UNWRITTEN);
        // One that is over does not stand in the way of a new one, which has a version of its own.
        let second = put_line(&world.app, visitor, Some(0), line("COAT-1", 1), None).await.unwrap();
        assert!(second.cart.version > first.cart.version);
        let stale = world.app.carts.write(first.cart.version, &second.cart, world.app.clock.now()).await;
        assert!(matches!(stale, Err(messaging::CommitError::Refused(Conflict::Lost))), "{stale:?}");
        world.clock.advance(Duration::days(30));
        assert_eq!(sweep_carts(&world.app).await.unwrap(), 1);
        assert_eq!(sweep_carts(&world.app).await.unwrap(), 0);
        assert_eq!(wanted(&view_cart(&world.app, user).await.unwrap()), [("LAMP-1", 1)]);
    }
}

#[tokio::test]
async fn changing_and_merging_baskets_survives_every_crash() {
    for place in Place::both().await {
        let who = Mutex::new((UserId::from_uuid(ids::random()), a_visitor()));
        let asked = || *who.lock().unwrap();
        let survived = survives_every_crash(
            async || {
                *who.lock().unwrap() = (UserId::from_uuid(ids::random()), a_visitor());
                let world = place.world();
                put_line(&world.app, CartOwner::Visitor(asked().1), Some(0), line("COAT-1", 2), None).await.unwrap();
                world
            },
            // As a client does it: read, change, and again when it is not known what came of it.
            async |world: &World| {
                let owner = CartOwner::User(asked().0);
                let Ok(seen) = view_cart(&world.app, owner).await else { return };
                drop(put_line(&world.app, owner, Some(seen.cart.version), line("LAMP-1", 1), None).await);
                drop(merge_cart(&world.app, asked().0, asked().1).await);
            },
            async |world: &World, when: &str| {
                let mine = view_cart(&world.app, CartOwner::User(asked().0)).await.unwrap();
                let mut lines = wanted(&mine);
                lines.sort_unstable();
                assert_eq!(lines, [("COAT-1", 2), ("LAMP-1", 1)], "{when}");
                let theirs = view_cart(&world.app, CartOwner::Visitor(asked().1)).await.unwrap();
                assert_eq!(theirs.cart.version, Cart::UNWRITTEN, "{when}");
            },
        )
        .await;
        assert!(survived.points.len() >= 2, "{survived:?}");
    }
}

fn request(method: &str, path: &str, user: Option<UserId>, tag: Option<&str>) -> http::request::Builder {
    let mut request = http::Request::builder().method(method).uri(path).header("content-type", "application/json");
    if let Some(user) = user {
        request = request.header("authorization", "Bearer x").header("test-user", user.to_string());
    }
    if let Some(tag) = tag {
        request = request.header("if-match", tag);
    }
    request
}

fn tag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_basket_travels_from_its_first_line_to_an_order_at_the_shown_total() {
    let world = World::in_postgres().await;
    let routes = routes(&world);
    let me = Some(UserId::from_uuid(ids::random()));
    let first = ask(&routes, request("GET", "/v1/cart", me, None), Body::empty()).await;
    assert_eq!((first.status, tag(&first).as_str()), (StatusCode::OK, "\"0\""));
    assert_eq!(first.headers["cache-control"], "no-store");
    assert_eq!(first.json()["not_payable"], "empty");
    let body = json!({"lines": [{"sku": "LAMP-1", "quantity": 2}], "ship_to": {"country": "DE"}});
    let put = ask(&routes, request("PUT", "/v1/cart", me, Some("\"0\"")), body.to_string()).await;
    let cart = put.json();
    assert_eq!(put.status, StatusCode::OK, "{cart:#}");
    assert_eq!(cart["total"], json!({"amount": "99.80", "currency": "EUR"}));
    assert_eq!(cart["ship_to"], json!({"country": "DE", "place": "DE"}));
    assert_eq!(
        cart["tax"],
        json!({"included": true, "place": "DE", "net": {"amount": "83.87", "currency": "EUR"}, "amount": {"amount": "15.93", "currency": "EUR"}})
    );
    let shown = &cart["lines"][0];
    assert_eq!((shown["state"].as_str(), shown["revision"].as_i64()), (Some("ok"), Some(1)));
    assert_eq!(shown["tax"]["rate_percent"], "19");
    // The price rises; who has the lock pays what the basket showed.
    world.prices.set("LAMP-1", 5990, 10);
    let mut order = json!({
        "lines": [{"sku": "LAMP-1", "quantity": 2}],
        "shipping_address": {"name": "Ada Lovelace", "line1": "Zeil 106", "city": "Frankfurt", "postal_code": "60313", "country": "DE"},
        "payment": {"method": "card", "token": "tok_ok"},
        "expected_total": cart["total"],
    });
    let post = |key: &str| request("POST", "/v1/orders", me, None).header("idempotency-key", key.to_owned());
    let refused = ask(&routes, post(&a_key()), order.to_string()).await;
    let problem = refused.json();
    assert_eq!((refused.status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("price-changed")));
    assert_eq!(problem["quote"]["total"], json!({"amount": "119.80", "currency": "EUR"}));
    assert_eq!(problem["quote"]["lines"][0]["unit_price"]["amount"], "59.90");
    assert!(problem["quote"]["price_lock"].as_str().unwrap().starts_with("pl1."));
    order["price_lock"] = cart["price_lock"].clone();
    let placed = ask(&routes, post(&a_key()), order.to_string()).await;
    assert_eq!(placed.status, StatusCode::CREATED, "{:#}", placed.json());
    assert_eq!((&placed.json()["total_amount"], &placed.json()["tax"]), (&cart["total"], &cart["tax"]));
    order["price_lock"] = Value::Null;
    assert_eq!(ask(&routes, post(&a_key()), order.to_string()).await.json()["code"], "invalid-field");
    order["price_lock"] = json!("pl1.forged");
    let forged = ask(&routes, post(&a_key()), order.to_string()).await;
    assert_eq!((forged.status.as_u16(), forged.json()["code"].as_str()), (422, Some("price-lock-invalid")));
    // The basket shows what is different from when it was put together.
    let now = ask(&routes, request("GET", "/v1/cart", me, None), Body::empty()).await.json();
    assert_eq!(now["lines"][0]["carted_unit_price"]["amount"], "49.90");
}

#[tokio::test]
async fn bad_requests_for_baskets_get_their_problem_and_change_nothing() {
    let world = World::in_memory();
    let routes = routes(&world);
    let visitor = format!("/v1/cart?visitor_id={}", ids::random());
    let at = |sku: &str| format!("/v1/cart/lines/{sku}?visitor_id={}", &visitor["/v1/cart?visitor_id=".len()..]);
    let lamp = json!({"quantity": 1});
    let many: Vec<_> = (0..1000).map(|index| json!({"sku": format!("S{index}"), "quantity": 1})).collect();
    /// Method, path, `If-Match`, body; status and code of the answer.
    type Refusal<'a> = (&'a str, String, Option<&'a str>, Value, u16, &'a str);
    let table: Vec<Refusal<'_>> = vec![
        ("GET", "/v1/cart".to_owned(), None, Value::Null, 401, "unauthenticated"),
        ("GET", "/v1/cart?visitor_id=1".to_owned(), None, Value::Null, 422, "invalid-field"),
        ("GET", "/v1/cart?whose=mine".to_owned(), None, Value::Null, 400, "malformed-request"),
        ("PUT", at("LAMP-1"), None, lamp.clone(), 428, "precondition-required"),
        ("PUT", at("LAMP-1"), Some("\"7\""), lamp.clone(), 412, "precondition-failed"),
        ("PUT", at("LAMP-1"), Some("*"), lamp.clone(), 412, "precondition-failed"),
        ("PUT", at("GHOST"), Some("\"0\""), lamp.clone(), 422, "invalid-field"),
        ("PUT", at("..%2Fetc"), Some("\"0\""), lamp, 422, "invalid-field"),
        ("PUT", at("LAMP-1"), Some("\"0\""), json!({"quantity": 100}), 422, "invalid-field"),
        ("PUT", at("LAMP-1"), Some("\"0\""), json!({"quantity": -1}), 422, "invalid-field"),
        ("PUT", at("LAMP-1"), Some("\"0\""), json!({"quantity": 1, "price": "1.00"}), 422, "unknown-field"),
        (
            "PUT",
            at("LAMP-1"),
            Some("\"0\""),
            json!({"quantity": 1, "options": {"note": "4242 4242 4242 4242"}}),
            422,
            "card-data-refused",
        ),
        (
            "PUT",
            at("LAMP-1"),
            Some("\"0\""),
            json!({"quantity": 1, "expected_unit_price": {"amount": "39.90", "currency": "EUR"}}),
            409,
            "price-changed",
        ),
        ("PUT", visitor.clone(), Some("\"0\""), json!({"lines": many}), 422, "invalid-field"),
        (
            "PUT",
            visitor.clone(),
            Some("\"0\""),
            json!({"lines": [], "ship_to": {"country": "US"}}),
            422,
            "invalid-field",
        ),
        ("PUT", visitor.clone(), Some("\"0\""), json!({"lines": [], "total": 1}), 422, "unknown-field"),
        ("POST", visitor.clone(), None, Value::Null, 405, "method-not-allowed"),
    ];
    for (method, path, tag, body, status, code) in table {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = ask(&routes, request(method, &path, None, tag), body.clone()).await;
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert_eq!(
            (answer.status.as_u16(), answer.json()["code"].as_str()),
            (status, Some(code)),
            "{method} {path} {body:.200}\n{text}"
        );
        assert!(!text.contains("4242"), "{text}");
    }
    let left = ask(&routes, request("GET", &visitor, None, None), Body::empty()).await;
    assert_eq!((left.json()["lines"].as_array().unwrap().len(), tag(&left).as_str()), (0, "\"0\""));
}
