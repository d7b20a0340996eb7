//! Orders past their deadline end, whatever stands before them.

use chrono::Duration;
use order_payment::domain::{OrderStatus, Reason};
use order_payment::usecases::compensate_order::sweep_deadlines;

use crate::world::{World, a_key, an_order, shopper};

#[tokio::test]
async fn an_order_that_cannot_be_given_up_does_not_keep_those_behind_it() {
    let world = World::in_memory();
    // Its payment is nowhere: nobody can be asked to give it up.
    let broken = world.an_order_to_pay().await;
    world.books().attempts.retain(|_, attempt| attempt.order != broken);
    world.clock.advance(Duration::minutes(10));
    let behind = world.place(shopper(), &a_key(), an_order()).await.unwrap().order;
    world.clock.advance(Duration::minutes(16));
    let failure = sweep_deadlines(&world.app).await.unwrap_err();
    assert!(failure.to_string().contains("without an attempt"), "{failure}");
    let ended = world.order(behind).await;
    assert_eq!((ended.status, ended.reason), (OrderStatus::Compensated, Some(Reason::Expired)));
    assert_eq!(world.status(broken).await, OrderStatus::PaymentPending);
}
