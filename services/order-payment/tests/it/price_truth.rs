//! The price truth in miniature: baskets while prices and promotions change every millisecond. `demo price-truth` does it through the
//! edge of a whole region, against the gateway's books.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Explain as _, Money, ids};
use futures::StreamExt as _;
use order_payment::domain::basket::RawOrder;
use order_payment::domain::cart::CartOwner;
use order_payment::domain::{CouponCode, CouponUse};
use order_payment::usecases::Failure;
use order_payment::usecases::change_cart::{put_coupon, put_line};
use order_payment::usecases::coupons::CouponState;
use order_payment::usecases::ports::CouponWord;
use order_payment::usecases::view_cart::Standing;

use crate::world::{World, a_key, an_order, line, shopper, worlds};

const BASKETS: u32 = 200;
/// Twice as many as there are connections: some wait, nobody waits for long.
const AT_ONCE: usize = 16;

/// Another price, another promotion, a coupon that comes and goes.
fn change(world: &World, turn: i64) {
    world.prices.set("LAMP-1", 2_000 + (turn * 797) % 5_000, 1_000);
    let mut promotions = world.prices.1.lock().unwrap();
    promotions.off.insert("LAMP-1".to_owned(), 1 + (turn * 313) % 900);
    promotions.off_with_coupon.insert("LAMP-1".to_owned(), 1 + (turn * 71) % 500);
    let code = CouponCode::parse("TRUTH").unwrap();
    let coupon = CouponUse { code: code.clone(), revision: turn, most_uses: None, most_per_person: None };
    promotions.words.insert(code, if turn % 3 == 0 { CouponWord::NotNow } else { CouponWord::Good(coupon) });
}

/// What was shown last, and what is charged for it.
async fn order(world: &World, number: u32) -> Result<(Money, Money), Failure> {
    let owner = CartOwner::Visitor(ids::random().into());
    let mut cart = put_line(&world.app, owner, Some(0), line("LAMP-1", 1 + number % 5), None).await?;
    if number.is_multiple_of(2)
        && let Ok(with_coupon) = put_coupon(&world.app, owner, Some(cart.cart.version), Some("truth")).await
    {
        cart = with_coupon;
    }
    let Standing::Payable { total: shown, lock, .. } = &cart.standing else { panic!("{:?}", cart.standing) };
    tokio::time::sleep(Duration::from_millis(3)).await;
    let coupon = (cart.coupon == Some(CouponState::Good)).then(|| "truth".to_owned());
    let raw = RawOrder {
        lines: vec![line("LAMP-1", 1 + number % 5)],
        expected_total: (shown.amount_string(), shown.currency().code().to_owned()),
        price_lock: (!number.is_multiple_of(3)).then(|| lock.text.clone()),
        coupon,
        ..an_order()
    };
    let (me, key) = (shopper(), a_key());
    loop {
        match world.place(me, &key, raw.clone()).await {
            // In a crowd one waits for a lock or a connection; the key makes repeating it harmless.
            Err(failure) if failure.kind().retryable() || failure.code() == "request-in-progress" => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            placed => return Ok((*shown, world.order(placed?.order).await.total)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_prices_and_promotions_change_nobody_is_charged_above_what_was_shown() {
    for world in worlds().await {
        change(&world, 1);
        let (world, over) = (Arc::new(world), Arc::new(AtomicBool::new(false)));
        let staff = tokio::spawn({
            let (world, over) = (Arc::clone(&world), Arc::clone(&over));
            async move {
                let mut turn = 1;
                while !over.load(Ordering::Relaxed) {
                    turn += 1;
                    change(&world, turn);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
        let baskets = (0..BASKETS).map(|number| {
            let world = &world;
            async move { (number, order(world, number).await) }
        });
        let mut baskets = futures::stream::iter(baskets).buffer_unordered(AT_ONCE);
        let (mut charged, mut refused) = (0, 0);
        while let Some((number, ended)) = baskets.next().await {
            match ended {
                Ok((shown, total)) => {
                    assert_eq!(total, shown, "basket {number}");
                    charged += 1;
                }
                // Who has a lock is never told that the price has changed.
                Err(failure) if number % 3 > 0 => panic!("basket {number}: {failure}"),
                Err(failure) => {
                    assert!(["price-changed", "coupon-expired"].contains(&failure.code()), "{failure}");
                    refused += 1;
                }
            }
        }
        over.store(true, Ordering::Relaxed);
        staff.await.unwrap();
        assert!(charged >= BASKETS * 2 / 3 && refused > 0, "{charged} charged, {refused} refused");
    }
}
