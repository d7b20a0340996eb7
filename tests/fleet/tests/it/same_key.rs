//! One key, fifty times at once, while the process that answers is killed and started again twice: one order, one capture,
//! and everybody who is told yes is told the same.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleet::operator;
use fleet::shopper::{Shopper, key, product_in_stock};
use testkit::wait::until;
use xtask::stack::Stack;

const TWINS: usize = 50;
const KILLS: usize = 2;
/// Two starts of a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const SERVER: &str = "order-payment-serve";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_fifty_times_across_kills_is_one_order_and_one_capture() {
    let stack = Stack::from_env().expect("the test stack is described by the environment");
    let shopper = Shopper::new().await;
    let product = product_in_stock("gadget").await;
    let (key, asked) = (key(), AtomicUsize::new(0));
    let twins = futures::future::join_all((0..TWINS).map(|_| insist(&shopper, &product, &key, &asked)));
    let (answers, ()) = tokio::join!(twins, kill_the_server(&stack, &asked));
    let bodies: BTreeSet<Vec<u8>> = answers.into_iter().collect();
    assert_eq!(bodies.len(), 1, "everybody is told the same, byte for byte");
    let body: serde_json::Value = serde_json::from_slice(bodies.first().expect("there is one")).expect("it is JSON");
    let order = body["order_id"].as_str().expect("an order has an id");
    let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders WHERE user_id = $1::uuid")
        .bind(&shopper.user_id)
        .fetch_one(&operator::database("order_payment"))
        .await
        .expect("orders can be counted");
    assert_eq!(orders, 1);
    assert_eq!(shopper.wait_for_end(order).await["status"], "COMPLETED");
    let captures = operator::books(order).await.iter().filter(|entry| entry["kind"] == "capture").count();
    assert_eq!(captures, 1);
}

async fn kill_the_server(stack: &Stack, asked: &AtomicUsize) {
    for kill in 1..=KILLS {
        // In the middle: requests are under way, and after the first kill somebody is asking again.
        until("requests under way", PATIENCE, async || {
            let asked = asked.load(Ordering::SeqCst);
            if asked >= kill * TWINS / 2 { Ok(()) } else { Err(asked) }
        })
        .await;
        assert!(stack.kill(SERVER), "{SERVER} was running");
        let again = stack.clone();
        tokio::task::spawn_blocking(move || again.start(SERVER))
            .await
            .expect("starting does not panic")
            .unwrap_or_else(|error| panic!("{SERVER} starts again: {error:#}"));
    }
}

/// Sends until the answer is a yes; gives its bytes. Anything else (no connection, a broken one, a twin under way, a process that is
/// starting) is no answer, so the same request is sent again.
async fn insist(shopper: &Shopper, product: &serde_json::Value, key: &str, asked: &AtomicUsize) -> Vec<u8> {
    until("a yes", PATIENCE, async || {
        asked.fetch_add(1, Ordering::SeqCst);
        let answer = shopper.order(product, 1, "tok_ok", key).send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| error.to_string())?;
        assert!(status.as_u16() != 422, "the same request is never another: {body:?}");
        if status.is_success() { Ok(body.to_vec()) } else { Err(format!("{status}")) }
    })
    .await
}
