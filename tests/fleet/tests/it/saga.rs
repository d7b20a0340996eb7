//! Everything the region has published so far is a history that the saga's table allows.

use std::collections::BTreeSet;

use contracts::Event;
use fleet::shopper::{Shopper, key, product_in_stock, send};
use saga::monitor::{Monitor, Seen};
use testkit::servers;

#[tokio::test]
async fn nothing_was_published_outside_the_model() {
    // At least one whole sale of our own, so that there is something to judge.
    let shopper = Shopper::new().await;
    let product = product_in_stock("gadget").await;
    let placed = send(shopper.order(&product, 1, "tok_ok", &key())).await.expect(201);
    let order = placed.body["order_id"].as_str().unwrap().to_owned();
    assert_eq!(shopper.wait_for_end(&order).await["status"], "COMPLETED");

    let monitor = Monitor::new().unwrap();
    let region = testkit::postgres::region();
    let read = tokio::task::spawn_blocking(move || saga_monitor::read(&servers().kafka, "", region));
    let records = read.await.unwrap().unwrap();
    assert!(records.iter().any(|record| record.event.key() == order), "the topics do not have our order");
    // Other stories are under way: an order may stand anywhere, but never where no history leads.
    let findings = monitor.look(&records, false);
    println!("{findings}");
    // What the story of the operators put there by hand is no history of ours, and must be named; nothing else may be.
    let by_hand = |record: &&Seen| matches!(&record.event, Event::ShipmentCreated(shipment) if shipment.fulfilment_centre == "too-early");
    let forged: BTreeSet<&str> = records.iter().filter(by_hand).map(|record| record.event.key()).collect();
    let outside: BTreeSet<&str> = findings.outside.iter().map(|found| found.order.as_str()).collect();
    assert_eq!(outside, forged, "{findings}");
    assert!(findings.ended > 0 || findings.open > 0);
}
