//! An order served from several centres, and goods that are promised before they come in, through the whole saga.

use catalog::domain::inventory::SupplyKind;
use catalog::usecases::ports::stock::Committed;
use catalog::usecases::send_awaited::send_awaited;
use contracts::{Event, order};
use messaging::Verdict;

use super::world::{
    CENTRES, SHOPPER, World, clerk, compensated, completed, created, new_order, receipt_at, receive, receive_at,
    returned, row, sku, wire_line,
};

/// `(centre, state)` of each parcel of the only order, by centre.
async fn parcels(world: &World) -> Vec<(String, String)> {
    sqlx::query_as("SELECT fulfilment_centre::text, state FROM shipments ORDER BY fulfilment_centre")
        .fetch_all(&world.database.owner)
        .await
        .unwrap()
}

fn parcel(at: &str, state: &str) -> (String, String) {
    (at.to_owned(), state.to_owned())
}

#[tokio::test]
async fn each_centre_involved_sends_one_parcel_with_its_own_part() {
    let world = World::new().await;
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 2), ("B", SupplyKind::Counted, 1)]).await.unwrap();
    receive_at(&*world.store, "fc-b", "r2", &[("A", SupplyKind::Counted, 2)]).await;
    let (order, basket) = (new_order(), [("A", 3), ("B", 1)]);
    for event in [created(order, &basket), completed(order, &basket), completed(order, &basket)] {
        assert_eq!(world.deliver(&event).await, Verdict::Done);
    }
    assert_eq!(parcels(&world).await, [parcel("fc-b", "READY"), parcel("rdc-a", "READY")]);
    let told: Vec<(String, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT topic, version, payload FROM outbox WHERE key = $1 AND topic = 'shipment.created' ORDER BY version",
    )
    .bind(order.to_string())
    .fetch_all(&world.database.owner)
    .await
    .unwrap();
    let sent: Vec<_> = told
        .iter()
        .map(|(_, version, payload)| {
            let event = Event::decode(&contracts::topics::SHIPMENT_CREATED, payload).unwrap();
            let Event::ShipmentCreated(shipment) = event else { panic!("{event:?}") };
            let lines: Vec<_> = shipment.lines.iter().map(|line| (line.sku.clone(), line.quantity)).collect();
            (*version, shipment.fulfilment_centre, lines)
        })
        .collect();
    let line = |text: &str, units| (text.to_owned(), units);
    assert_eq!(
        sent,
        [(2, "fc-b".to_owned(), vec![line("A", 1)]), (3, "rdc-a".to_owned(), vec![line("A", 2), line("B", 1)])]
    );
    world.audit().await;
}

#[tokio::test]
async fn what_was_chosen_reaches_the_parcel() {
    let world = World::new().await;
    receive(&*world.store, "r1", &[("M", SupplyKind::MadeToOrder, 0)]).await.unwrap();
    let order = new_order();
    let lines = vec![wire_line("M", 2, &[("size", "m"), ("colour", "red")])];
    let created = order::v1::OrderCreated { order_id: order.to_string(), lines: lines.clone(), ..Default::default() };
    let (order_id, user_id) = (order.to_string(), SHOPPER.to_owned());
    let completed = order::v1::OrderCompleted { order_id, user_id, lines, ..Default::default() };
    for event in [Event::from(created), Event::from(completed)] {
        assert_eq!(world.deliver(&event).await, Verdict::Done);
    }
    let payload: Vec<u8> = sqlx::query_scalar("SELECT payload FROM outbox WHERE topic = 'shipment.created'")
        .fetch_one(&world.database.owner)
        .await
        .unwrap();
    let Event::ShipmentCreated(shipment) = Event::decode(&contracts::topics::SHIPMENT_CREATED, &payload).unwrap()
    else {
        panic!("another event")
    };
    let chosen: Vec<_> = shipment.lines[0].options.iter().map(|choice| (&*choice.key, &*choice.value)).collect();
    assert_eq!((shipment.lines[0].quantity, chosen), (2, vec![("colour", "red"), ("size", "m")]));
    world.audit().await;
}

#[tokio::test]
async fn goods_that_were_promised_leave_when_they_are_there_and_the_rest_before() {
    let world = World::new().await;
    let kind = SupplyKind::Counted;
    receive(&*world.store, "r1", &[("A", kind, 0)]).await.unwrap();
    receive_at(&*world.store, "fc-b", "r2", &[("A", kind, 1)]).await;
    world.store.limit_back_orders(&sku("A"), 5, clerk()).await.unwrap();
    let (order, basket) = (new_order(), [("A", 3)]);
    for event in [created(order, &basket), completed(order, &basket)] {
        assert_eq!(world.deliver(&event).await, Verdict::Done);
    }
    assert_eq!(parcels(&world).await, [parcel("fc-b", "READY"), parcel("rdc-a", "WAITING")]);
    receive(&*world.store, "r3", &[("A", kind, 1)]).await.unwrap();
    assert_eq!(send_awaited(&world.app).await.unwrap(), 0);
    // The tables refuse it too.
    let early = sqlx::query("UPDATE shipments SET state = 'READY' WHERE state = 'WAITING'")
        .execute(&world.database.owner)
        .await;
    let constraint = early.unwrap_err().as_database_error().and_then(|error| error.constraint()).map(str::to_owned);
    assert_eq!(constraint.as_deref(), Some("shipments_wait_for_goods"));
    receive_at(&*world.store, "fc-c", "r4", &[("A", kind, 9)]).await;
    assert_eq!(send_awaited(&world.app).await.unwrap(), 1);
    assert_eq!(send_awaited(&world.app).await.unwrap(), 0);
    assert_eq!(parcels(&world).await, [parcel("fc-b", "READY"), parcel("rdc-a", "READY")]);
    assert_eq!(
        (row(&*world.store, "A", CENTRES[0]).await.received, row(&*world.store, "A", "fc-c").await.available),
        (2, 8)
    );
    let versions: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM outbox WHERE topic = 'shipment.created' ORDER BY version")
            .fetch_all(&world.database.owner)
            .await
            .unwrap();
    assert_eq!(versions, [2, 3]);
    world.audit().await;
}

#[tokio::test]
async fn a_parcel_whose_goods_were_given_back_before_they_came_never_leaves() {
    let world = World::new().await;
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 0)]).await.unwrap();
    world.store.limit_back_orders(&sku("A"), 5, clerk()).await.unwrap();
    let (order, basket) = (new_order(), [("A", 3)]);
    for event in [created(order, &basket), completed(order, &basket)] {
        assert_eq!(world.deliver(&event).await, Verdict::Done);
    }
    assert_eq!(returned(&world, order, 7, None).await, Verdict::Done);
    assert_eq!(send_awaited(&world.app).await.unwrap(), 1);
    assert_eq!(parcels(&world).await, [parcel("rdc-a", "CANCELLED")]);
    assert_eq!(world.told(order).await, ["stock.reserved", "stock.finalised"]);
    let level = row(&*world.store, "A", CENTRES[0]).await;
    assert_eq!((level.available, level.sold, level.returned, level.back_ordered), (0, 3, 3, 0));
    world.audit().await;
}

#[tokio::test]
async fn an_order_that_waited_in_vain_owes_nothing_any_more() {
    let world = World::new().await;
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 1)]).await.unwrap();
    world.store.limit_back_orders(&sku("A"), 2, clerk()).await.unwrap();
    let order = new_order();
    for event in [created(order, &[("A", 3)]), compensated(order)] {
        assert_eq!(world.deliver(&event).await, Verdict::Done);
    }
    let level = row(&*world.store, "A", CENTRES[0]).await;
    assert_eq!((level.available, level.held, level.back_ordered), (1, 0, 0));
    world.audit().await;
}

/// The same reference with the same lines at another centre is another receipt.
#[tokio::test]
async fn a_reference_names_its_centre_too() {
    let world = World::new().await;
    let lines = [("A", SupplyKind::Counted, 3)];
    receive(&*world.store, "r1", &lines).await.unwrap();
    assert_eq!(receive(&*world.store, "r1", &lines).await.unwrap(), Committed::Repeated);
    let elsewhere = world.store.receive(&receipt_at("fc-b", "r1", &lines), clerk(), chrono::DateTime::UNIX_EPOCH).await;
    assert!(matches!(elsewhere, Err(catalog::usecases::ports::stock::StoreError::ReferenceReused)), "{elsewhere:?}");
}
