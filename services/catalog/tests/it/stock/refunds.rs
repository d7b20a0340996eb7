//! Money that comes back, and where its goods are meanwhile: what has left the house is not sold once more.

use catalog::domain::correction::{Correction, CorrectionLine};
use catalog::domain::inventory::SupplyKind;
use catalog::domain::receipt::ReceiptReference;
use catalog::domain::reservation::Status;
use catalog::usecases::send_awaited::send_awaited;
use chrono::DateTime;
use common::OrderId;
use messaging::Verdict;

use super::world::{CENTRES, World, centre, clerk, completed, counts, created, new_order, receive, returned, row, sku};

async fn bought(world: &World, units: u32) -> OrderId {
    let order = new_order();
    for event in [created(order, &[("A", units)]), completed(order, &[("A", units)])] {
        assert_eq!(world.deliver(&event).await, Verdict::Done);
    }
    order
}

/// What became of the next order, of one unit.
async fn next_buyer(world: &World) -> Status {
    let order = new_order();
    assert_eq!(world.deliver(&created(order, &[("A", 1)])).await, Verdict::Done);
    world.store.reservation(order).await.unwrap().unwrap().status
}

#[tokio::test]
async fn the_only_unit_is_sold_again_when_somebody_has_it_in_hand_and_not_when_its_money_comes_back() {
    let world = World::new().await;
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 1)]).await.unwrap();
    let order = bought(&world, 1).await;
    assert_eq!(world.told(order).await, ["stock.reserved", "stock.finalised", "shipment.created"]);
    for told in ["for the first time", "again"] {
        assert_eq!(returned(&world, order, 7, None).await, Verdict::Done, "{told}");
        assert_eq!(world.count("SELECT count(*) FROM inbox").await, 3, "the refund is remembered, {told}");
        assert_eq!(counts(&*world.store, "A").await, (0, 0, 1, 1), "{told}");
    }
    assert_eq!(next_buyer(&world).await, Status::Rejected, "the unit is in the mail, or lost there");
    // The parcel comes back, and the warehouse says so.
    let lines = vec![CorrectionLine { sku: sku("A"), change: 1 }];
    let reference = ReceiptReference::parse("back-1").unwrap();
    let found = Correction::new(reference, centre(CENTRES[0]), "came back".to_owned(), lines).unwrap();
    world.store.correct(&found, clerk(), DateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!(next_buyer(&world).await, Status::Held);
    world.audit().await;
}

#[tokio::test]
async fn goods_that_left_do_not_serve_the_oldest_back_order() {
    let world = World::new().await;
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 1)]).await.unwrap();
    world.store.limit_back_orders(&sku("A"), 5, clerk()).await.unwrap();
    let (gone, waits) = (bought(&world, 1).await, bought(&world, 2).await);
    assert_eq!(returned(&world, gone, 7, None).await, Verdict::Done);
    let waiting = async || world.store.reservation(waits).await.unwrap().unwrap().pieces[0].waiting;
    assert_eq!((waiting().await, send_awaited(&world.app).await.unwrap()), (2, 0), "nothing came in");
    // Of what never left one unit is given up; the other leaves when it is there, and then its money brings nothing back either.
    assert_eq!(returned(&world, waits, 8, Some(&[("A", 1)])).await, Verdict::Done);
    assert_eq!(waiting().await, 1);
    receive(&*world.store, "r2", &[("A", SupplyKind::Counted, 1)]).await.unwrap();
    assert_eq!(send_awaited(&world.app).await.unwrap(), 1);
    assert_eq!(returned(&world, waits, 9, None).await, Verdict::Done);
    let level = row(&*world.store, "A", CENTRES[0]).await;
    assert_eq!((level.available, level.sold, level.returned, level.received, level.back_ordered), (0, 3, 1, 2, 0));
    world.audit().await;
}
