//! What the catalog is told about orders it holds stock for.

use common::{OrderId, ids};
use order_payment::usecases::order_states::{Standing, order_states};

use crate::world::{World, a_key, an_order, shopper, worlds};

#[tokio::test]
async fn an_open_order_has_a_deadline_an_ended_one_is_over_and_another_is_unknown() {
    for world in worlds().await {
        let (paid, unknown) = (world.an_order_to_pay().await, OrderId::from_uuid(ids::random()));
        world.pay().await;
        let open = world.place(shopper(), &a_key(), an_order()).await.unwrap().order;
        let deadline = world.order(open).await.deadline_at;
        assert_eq!(
            order_states(&world.app, &[unknown, open, paid]).await.unwrap(),
            [Standing::Unknown, Standing::Open(deadline), Standing::Over]
        );
    }
}

#[tokio::test]
async fn a_payment_under_way_moves_the_deadline() {
    let world = World::in_memory();
    let me = shopper();
    let order = world.place(me, &a_key(), an_order()).await.unwrap().order;
    let placed = order_states(&world.app, &[order]).await.unwrap();
    world.clock.advance(chrono::TimeDelta::seconds(60));
    order_payment::usecases::begin_payment::begin_payment(&world.app, world.message(), order).await.unwrap();
    let paying = order_states(&world.app, &[order]).await.unwrap();
    let (Standing::Open(before), Standing::Open(after)) = (placed[0], paying[0]) else {
        panic!("{placed:?} {paying:?}")
    };
    assert!(after > before);
}
