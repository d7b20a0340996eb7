//! The saga over a real broker: news of an order go in, what became of its stock comes out.

use std::sync::Arc;
use std::time::Duration;

use catalog::domain::inventory::SupplyKind;
use catalog::domain::reservation::Status;
use catalog::inbound::events;
use catalog::usecases::ports::stock::CONSUMER;
use common::Region;
use contracts::topics::{SHIPMENT_CREATED, STOCK_FINALISED, STOCK_REJECTED, STOCK_RESERVED};
use contracts::{Event, Topic, envelope::headers};
use messaging::{Consumer, Epoch, Outgoing, Publisher, Relay};
use testkit::kafka::{Seen, read_all, topics};
use testkit::wait::until;
use tokio_util::sync::CancellationToken;

use super::world::{World, completed, counts, created, new_order, receive};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_comes_in_from_the_broker_and_its_stock_is_told_back() {
    let world = World::new().await;
    receive(&*world.store, "r1", &[("A", SupplyKind::Counted, 5)]).await.unwrap();
    let mut all: Vec<&'static Topic> = catalog::wiring::written_topics();
    all.extend(events::TOPICS);
    let kafka = topics(&all).await;
    let shutdown = CancellationToken::new();
    let database = world.database.database.clone();
    let consumer =
        Consumer::new(CONSUMER, &events::TOPICS, database.clone(), &kafka, Arc::clone(&world.saga) as _).unwrap();
    let relay = Relay::new(database, &kafka).unwrap();
    let consuming = tokio::spawn(consumer.run(shutdown.clone()));
    let relaying = tokio::spawn(relay.run(shutdown.clone()));

    let (paid, too_much) = (new_order(), new_order());
    let publisher = Publisher::new(&kafka, Region::ALL[0], Epoch::new(1)).unwrap();
    // The completion goes out first: it travels on another topic, so nothing keeps it behind its order.
    let news = [
        Outgoing::new(completed(paid, &[("A", 2)]), 3),
        Outgoing::new(created(paid, &[("A", 2)]), 1),
        Outgoing::new(created(too_much, &[("A", 6)]), 1),
    ];
    publisher.publish_all(&news, 0).await.unwrap();
    publisher.publish_all(&news, 0).await.unwrap();

    until("both orders to end", PATIENCE, async || {
        let status = |found: Option<catalog::domain::reservation::Reservation>| found.map(|found| found.status);
        let seen = (
            status(world.store.reservation(paid).await.unwrap()),
            status(world.store.reservation(too_much).await.unwrap()),
        );
        if seen == (Some(Status::Finalised), Some(Status::Rejected)) { Ok(()) } else { Err(seen) }
    })
    .await;
    until("the outbox to be empty", PATIENCE, async || {
        match world.count("SELECT count(*) FROM outbox WHERE published_at IS NULL").await {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
    shutdown.cancel();
    consuming.await.unwrap().unwrap();
    relaying.await.unwrap().unwrap();

    for (topic, order, version) in [
        (&STOCK_RESERVED, paid, "1"),
        (&STOCK_FINALISED, paid, "2"),
        (&SHIPMENT_CREATED, paid, "2"),
        (&STOCK_REJECTED, too_much, "1"),
    ] {
        let told: Vec<Seen> = read_all(&kafka, topic).await;
        assert_eq!(told.len(), 1, "{topic}: {told:?}");
        assert_eq!(
            (told[0].key.clone(), told[0].header(headers::VERSION)),
            (order.to_string(), Some(version)),
            "{topic}"
        );
        assert!(Event::decode(topic, &told[0].payload).is_ok(), "{topic}");
    }
    assert_eq!(counts(&*world.store, "A").await, (3, 0, 2, 5));
    assert_eq!(world.database.count("parked_messages").await, 0);
    world.audit().await;
}
