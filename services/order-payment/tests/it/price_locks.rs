//! What was shown is what is charged: the guard of the expected total, and locks on prices. Whatever is refused leaves nothing.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::Duration;
use common::{Explain, Money, Private, Region, ids};
use order_payment::domain::basket::RawOrder;
use order_payment::domain::cart::CartOwner;
use order_payment::domain::price_lock::LockText;
use order_payment::domain::{BasketLine, CouponCode};
use order_payment::usecases::change_cart::{RawPlace, put_line, replace_cart};
use order_payment::usecases::error::PricesError;
use order_payment::usecases::ports::{Prices, Quote};
use order_payment::usecases::price_locks::Requote;
use order_payment::usecases::view_cart::{CartView, NotPayable, Standing, view_cart};
use order_payment::usecases::{Failure, Shopper};

use crate::world::{FixedPrices, REGION, World, a_key, an_order, line, lock_keys, shopper, worlds};

/// The same shop where prices are shown without tax.
struct Dollars(Arc<FixedPrices>);

#[async_trait]
impl Prices for Dollars {
    async fn quote(&self, lines: &[BasketLine], coupon: Option<&CouponCode>) -> Result<Quote, PricesError> {
        let mut quote = self.0.quote(lines, coupon).await?;
        for quoted in quote.known.values_mut() {
            let dollars = |euros: Money| Money::from_minor(euros.minor(), ABROAD.currency()).unwrap();
            quoted.unit_price = dollars(quoted.unit_price);
            for reduction in &mut quoted.reductions {
                reduction.amount = dollars(reduction.amount);
            }
        }
        Ok(quote)
    }
}

const ABROAD: Region = Region::Us;

fn abroad() -> World {
    let mut world = World::in_memory();
    let app = Arc::get_mut(&mut world.app).unwrap();
    (app.region, app.locks) = (ABROAD, lock_keys(ABROAD));
    app.prices = Arc::new(Dollars(Arc::clone(&world.prices)));
    world
}

fn shipped_to(postal_code: &str, total: &str, lock: Option<&LockText>) -> RawOrder {
    let mut address = an_order().address.open().clone();
    (address.country, address.postal_code) = (ABROAD.countries()[0].to_owned(), postal_code.to_owned());
    RawOrder {
        address: Private::new(address),
        expected_total: (total.to_owned(), ABROAD.currency().code().to_owned()),
        price_lock: lock.cloned(),
        ..an_order()
    }
}

#[tokio::test]
async fn where_tax_comes_on_top_the_shown_total_has_it_and_needs_a_place() {
    let world = abroad();
    let me = Shopper { region: ABROAD, ..shopper() };
    let put = put_line(&world.app, of(me), Some(0), line("LAMP-1", 1), None).await.unwrap();
    assert!(matches!(put.standing, Standing::NotPayable(NotPayable::PlaceNeeded)), "{:?}", put.standing);
    let virginia = RawPlace { country: ABROAD.countries()[0].to_owned(), postal_code: "20147".to_owned() };
    let lines = vec![line("LAMP-1", 1)];
    let shown = replace_cart(&world.app, of(me), Some(put.cart.version), lines, Some(virginia)).await.unwrap();
    let Standing::Payable { total, tax, lock } = &shown.standing else { panic!("{:?}", shown.standing) };
    let parts = tax.unwrap().parts;
    assert_eq!((parts.net.minor(), parts.tax.minor(), total.minor()), (4990, 264, 5254));
    // What would be charged without the tax is not what was shown.
    let failure = world.place(me, &a_key(), shipped_to("20147", "49.90", None)).await.unwrap_err();
    assert_eq!(requoted(failure).priced.total(), *total);
    world.prices.set("LAMP-1", 5990, 10);
    let placed = world.place(me, &a_key(), shipped_to("20147", "52.54", Some(&lock.text))).await.unwrap().order;
    let order = world.order(placed).await;
    assert_eq!((order.total, order.tax.unwrap().parts), (*total, parts));
    // Another state is another tax: the locked price holds, the total is one that nobody has seen yet.
    let failure = world.place(me, &a_key(), shipped_to("07001", "52.54", Some(&lock.text))).await.unwrap_err();
    assert_eq!(requoted(failure).priced.total().minor(), 4990 + 331);
    world.place(me, &a_key(), shipped_to("07001", "53.21", Some(&lock.text))).await.unwrap();
    let nowhere = world.place(me, &a_key(), shipped_to("00901", "52.54", None)).await.unwrap_err();
    assert_eq!(nowhere.fields()[0].pointer, "/shipping_address/postal_code");
}

/// A basket with one lamp at 49.90, and the lock that came with it.
async fn a_lock(world: &World, owner: CartOwner) -> LockText {
    let version = view_cart(&world.app, owner).await.unwrap().cart.version;
    lock_of(&put_line(&world.app, owner, Some(version), line("LAMP-1", 1), None).await.unwrap())
}

fn lock_of(view: &CartView) -> LockText {
    match &view.standing {
        Standing::Payable { lock, .. } => lock.text.clone(),
        Standing::NotPayable(why) => panic!("{why:?}"),
    }
}

fn of(shopper: Shopper) -> CartOwner {
    CartOwner::User(shopper.user)
}

fn with(lock: &LockText) -> RawOrder {
    RawOrder { price_lock: Some(lock.clone()), ..an_order() }
}

fn requoted(failure: Failure) -> Requote {
    match failure {
        Failure::PriceChanged(requote) => *requote,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_locked_price_is_charged_whether_the_price_rose_or_fell() {
    for world in worlds().await {
        for price in [5990, 3990, 4990] {
            world.prices.set("LAMP-1", 4990, 10);
            let me = shopper();
            let lock = a_lock(&world, of(me)).await;
            world.prices.set("LAMP-1", price, 10);
            let placed = world.place(me, &a_key(), with(&lock)).await.unwrap().order;
            let order = world.order(placed).await;
            assert_eq!((order.total.minor(), order.lines[0].unit_price.minor()), (4990, 4990), "now {price}");
            assert_eq!(order.lines[0].tax.unwrap().parts.gross, order.total);
        }
    }
}

#[tokio::test]
async fn without_a_lock_a_changed_price_is_refused_with_the_new_quote() {
    let world = World::in_memory();
    for price in [5990, 3990] {
        let me = shopper();
        world.prices.set("LAMP-1", price, 10);
        let failure = world.place(me, &a_key(), an_order()).await.unwrap_err();
        assert_eq!(failure.code(), "price-changed");
        let quote = requoted(failure);
        assert_eq!(quote.priced.total().minor(), price);
        // Accepting what was shown with the refusal is an order at exactly that, whatever happens to the price in between.
        world.prices.set("LAMP-1", 9990, 10);
        let total = quote.priced.total();
        let accepted = RawOrder {
            expected_total: (total.amount_string(), total.currency().code().to_owned()),
            ..with(&quote.lock.unwrap().text)
        };
        let placed = world.place(me, &a_key(), accepted).await.unwrap().order;
        assert_eq!(world.order(placed).await.total, total);
    }
}

#[tokio::test]
async fn a_lock_that_is_over_is_as_if_none_had_come() {
    for world in worlds().await {
        let me = shopper();
        let lock = a_lock(&world, of(me)).await;
        world.prices.set("LAMP-1", 5990, 10);
        world.clock.advance(Duration::minutes(15) - Duration::milliseconds(1));
        world.place(me, &a_key(), with(&lock)).await.unwrap();
        world.clock.advance(Duration::milliseconds(1));
        let failure = world.place(me, &a_key(), with(&lock)).await.unwrap_err();
        assert_eq!(failure.code(), "price-changed");
        assert_eq!(requoted(failure).priced.total().minor(), 5990);
        world.prices.set("LAMP-1", 4990, 10);
        world.place(me, &a_key(), with(&lock)).await.unwrap();
    }
}

#[tokio::test]
async fn a_repetition_after_the_lock_is_over_gets_the_first_answer() {
    for world in worlds().await {
        let (me, key) = (shopper(), a_key());
        let lock = a_lock(&world, of(me)).await;
        let first = world.place(me, &key, with(&lock)).await.unwrap();
        world.clock.advance(Duration::days(1));
        world.prices.set("LAMP-1", 5990, 0);
        let again = world.place(me, &key, with(&lock)).await.unwrap();
        assert!(again.replayed);
        assert_eq!((again.order, again.answer), (first.order, first.answer));
        // Another lock is another request.
        let other = world.place(me, &key, an_order()).await.unwrap_err();
        assert_eq!(other.code(), "idempotency-key-reused");
    }
}

#[tokio::test]
async fn a_lock_that_is_not_for_this_order_is_refused_by_its_code() {
    let world = World::in_memory();
    let (me, other) = (shopper(), shopper());
    let (mine, theirs) = (a_lock(&world, of(me)).await, a_lock(&world, of(other)).await);
    let tampered = LockText::new(mine.open().replace("pl1.", "pl1.A"));
    let abroad = lock_keys(ABROAD).seal(&lock_keys(REGION).open(&mine).unwrap());
    let table = [
        ("of another person", with(&theirs)),
        ("tampered with", with(&tampered)),
        ("of another region", with(&abroad)),
        ("not a lock", with(&LockText::new("1".to_owned()))),
        ("empty", with(&LockText::new(String::new()))),
        ("endless", with(&LockText::new("pl1.".to_owned() + &"A".repeat(60_000)))),
        ("for other quantities", RawOrder { lines: vec![line("LAMP-1", 2)], ..with(&mine) }),
        ("for other lines", RawOrder { lines: vec![line("COAT-1", 1)], ..with(&mine) }),
        ("for fewer lines", RawOrder { lines: vec![line("LAMP-1", 1), line("COAT-1", 1)], ..with(&mine) }),
    ];
    for (what, raw) in table {
        let failure = world.place(me, &a_key(), raw).await.unwrap_err();
        assert_eq!((failure.code(), failure.kind().status()), ("price-lock-invalid", 422), "{what}");
        assert_eq!(failure.fields()[0].pointer, "/price_lock", "{what}");
        assert!(!format!("{failure:?}").contains("pl1."), "{what}");
    }
    assert!(world.books().orders.is_empty());
    assert!(!format!("{:?}", with(&mine)).contains("pl1."));
}

#[tokio::test]
async fn the_lock_of_a_browser_is_good_for_whoever_logs_in_there() {
    let world = World::in_memory();
    let visitor = CartOwner::Visitor(ids::random().into());
    let lock = a_lock(&world, visitor).await;
    world.prices.set("LAMP-1", 5990, 10);
    let placed = world.place(shopper(), &a_key(), with(&lock)).await.unwrap().order;
    assert_eq!(world.order(placed).await.total.minor(), 4990);
}

#[tokio::test]
async fn a_lock_is_not_renewed_by_being_refused() {
    let world = World::in_memory();
    let me = shopper();
    let lock = a_lock(&world, of(me)).await;
    world.prices.set("LAMP-1", 5990, 10);
    let mistaken = RawOrder { expected_total: ("49.91".to_owned(), "EUR".to_owned()), ..with(&lock) };
    let quote = requoted(world.place(me, &a_key(), mistaken).await.unwrap_err());
    assert_eq!((quote.priced.total().minor(), quote.lock), (4990, None));
}

#[tokio::test]
async fn a_lock_brings_back_neither_stock_nor_what_is_not_sold() {
    let world = World::in_memory();
    let me = shopper();
    let lock = a_lock(&world, of(me)).await;
    world.prices.set("LAMP-1", 4990, 0);
    assert_eq!(world.place(me, &a_key(), with(&lock)).await.unwrap_err().code(), "out-of-stock");
    world.prices.0.lock().unwrap().remove("LAMP-1");
    assert_eq!(world.place(me, &a_key(), with(&lock)).await.unwrap_err().code(), "invalid-field");
    assert!(world.books().orders.is_empty());
}

#[tokio::test]
async fn the_tax_follows_the_address_and_the_total_stays_as_shown() {
    let world = World::in_memory();
    let french = |raw: RawOrder| {
        let mut address = raw.address.open().clone();
        address.country = "FR".to_owned();
        RawOrder { address: Private::new(address), ..raw }
    };
    // The basket was shown for nowhere, or for somewhere else.
    let germany = RawPlace { country: "DE".to_owned(), postal_code: String::new() };
    for ship_to in [None, Some(germany)] {
        let me = shopper();
        let basket = replace_cart(&world.app, of(me), Some(0), vec![line("LAMP-1", 1)], ship_to).await.unwrap();
        let placed = world.place(me, &a_key(), french(with(&lock_of(&basket)))).await.unwrap().order;
        let order = world.order(placed).await;
        let tax = order.tax.unwrap();
        assert_eq!((tax.place.code(), tax.parts.tax.minor(), order.total.minor()), ("FR", 832, 4990));
    }
}
