//! Paid orders of which no parcel has left: seen when they are late, and only while goods are owed.

use chrono::Duration;
use common::{Clock as _, OrderId, ShipmentId};
use order_payment::domain::OrderStatus;
use order_payment::usecases::backlog::{LOOKED_THROUGH, see_backlog};
use order_payment::usecases::begin_payment::begin_payment;
use order_payment::usecases::ports::{OpenCount, Shipment};
use order_payment::usecases::record_shipment::record_shipment;

use crate::refunds::{amount, clerk, of_lines, refund};
use crate::world::{World, a_key, an_order, line, shopper, worlds};

async fn paid(world: &World, lines: &[(&str, u32)], total: &str) -> OrderId {
    let mut raw = an_order();
    raw.lines = lines.iter().map(|(sku, quantity)| line(sku, *quantity)).collect();
    raw.expected_total.0 = total.to_owned();
    let id = world.place(shopper(), &a_key(), raw).await.unwrap().order;
    begin_payment(&world.app, world.message(), id).await.unwrap();
    world.pay().await;
    assert_eq!(world.status(id).await, OrderStatus::Completed);
    id
}

async fn send(world: &World, order: OrderId) {
    let shipment = Shipment {
        order,
        id: ShipmentId::derive(order, "rdc-a"),
        fulfilment_centre: "rdc-a".to_owned(),
        created_at: world.clock.now(),
    };
    record_shipment(&world.app, world.message(), shipment).await.unwrap();
}

/// At most `most` of those that were completed two days ago or longer, and within a month.
async fn late(world: &World, most: u16) -> Vec<OrderId> {
    let now = world.clock.now();
    let found = world.app.store.unsent(now - Duration::days(30), now - Duration::hours(48), most).await.unwrap();
    found.into_iter().map(|(order, _)| order).collect()
}

#[tokio::test]
async fn a_paid_order_that_is_not_sent_is_seen_when_it_is_late_and_only_while_goods_are_owed() {
    for world in worlds().await {
        world.prices.set("MUSIC-1", 990, 10);
        // Goods are owed for these.
        let lamp = paid(&world, &[("LAMP-1", 1)], "49.90").await;
        let lamp_and_music = paid(&world, &[("LAMP-1", 1), ("MUSIC-1", 1)], "59.80").await;
        let one_of_two = paid(&world, &[("LAMP-1", 2)], "99.80").await;
        refund(&world, clerk(), one_of_two, of_lines(&[("LAMP-1", 1)])).await.unwrap();
        let cheaper = paid(&world, &[("LAMP-1", 1)], "49.90").await;
        refund(&world, clerk(), cheaper, amount("5.00")).await.unwrap();
        // And not for these.
        let sent = paid(&world, &[("LAMP-1", 1)], "49.90").await;
        send(&world, sent).await;
        paid(&world, &[("MUSIC-1", 1)], "9.90").await;
        let money_back = paid(&world, &[("LAMP-1", 1)], "49.90").await;
        refund(&world, clerk(), money_back, amount("49.90")).await.unwrap();
        let only_music_left = paid(&world, &[("LAMP-1", 1), ("MUSIC-1", 1)], "59.80").await;
        refund(&world, clerk(), only_music_left, of_lines(&[("LAMP-1", 1)])).await.unwrap();
        world.place(shopper(), &a_key(), an_order()).await.unwrap();
        world.pay().await;
        assert!(late(&world, 10).await.is_empty(), "all of it was paid a moment ago");

        world.clock.advance(Duration::hours(48));
        let owed = [lamp, lamp_and_music, one_of_two, cheaper];
        assert_eq!(late(&world, 10).await, owed, "each that is owed goods and no other");
        assert_eq!(late(&world, 2).await, [lamp, lamp_and_music], "the oldest first");
        send(&world, lamp).await;
        assert_eq!(late(&world, 10).await, [lamp_and_music, one_of_two, cheaper]);
        world.clock.advance(Duration::days(28));
        assert!(late(&world, 10).await.is_empty(), "a month is as far as anybody looks");
    }
}

#[tokio::test]
async fn one_look_goes_through_a_bounded_number_of_orders_whose_money_went_back() {
    for world in worlds().await {
        for _ in 0..LOOKED_THROUGH {
            let money_back = paid(&world, &[("LAMP-1", 1)], "49.90").await;
            refund(&world, clerk(), money_back, amount("49.90")).await.unwrap();
        }
        world.clock.advance(Duration::seconds(1));
        let lamp = paid(&world, &[("LAMP-1", 1)], "49.90").await;
        world.clock.advance(Duration::hours(48));
        assert!(
            late(&world, 1).await.is_empty(),
            "for one that is told it goes through those before it and no further"
        );
        assert_eq!(late(&world, 2).await, [lamp]);
    }
}

async fn shown(world: &World) -> Option<OpenCount> {
    see_backlog(&world.app).await.unwrap().open.into_iter().find(|row| row.what == "parcel")
}

#[tokio::test]
async fn operators_see_how_many_paid_orders_are_not_sent_and_since_when() {
    for world in worlds().await {
        let first = paid(&world, &[("LAMP-1", 1)], "49.90").await;
        world.clock.advance(Duration::hours(1));
        let second = paid(&world, &[("LAMP-1", 1)], "49.90").await;
        assert_eq!(shown(&world).await, None);
        world.clock.advance(Duration::hours(48));
        let both = shown(&world).await.unwrap();
        assert_eq!((both.state.as_str(), both.count), ("NOT_SENT", 2));
        assert!(both.oldest_s >= 49 * 3600, "{both:?}");
        send(&world, first).await;
        let one = shown(&world).await.unwrap();
        assert_eq!(one.count, 1);
        assert!((48 * 3600..both.oldest_s).contains(&one.oldest_s), "{one:?}");
        send(&world, second).await;
        assert_eq!(shown(&world).await, None);
    }
}

#[tokio::test]
async fn what_else_is_open_is_shown_also_when_parcels_cannot_be_counted() {
    let world = World::in_postgres().await;
    paid(&world, &[("LAMP-1", 1)], "49.90").await;
    world.clock.advance(Duration::hours(49));
    world.place(shopper(), &a_key(), an_order()).await.unwrap();
    assert!(shown(&world).await.is_some());
    let owner = &world.database.as_ref().unwrap().owner;
    sqlx::query("REVOKE SELECT ON orders_to_ship FROM order_payment_app").execute(owner).await.unwrap();
    let open = see_backlog(&world.app).await.unwrap().open;
    assert!(open.iter().any(|row| row.what == "order"), "{open:?}");
    assert!(open.iter().all(|row| row.what != "parcel"), "{open:?}");
}
