//! Who may reach which data: a role of one service cannot read another's database, and adding a reader of events needs
//! no change of the writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::ids;
use contracts::topics::ORDER_COMPLETED;
use fleet::shopper::{Shopper, key, product_in_stock, send};
use messaging::{BatchConsumer, BatchHandler, KafkaSettings, KafkaTls, Record};
use sqlx::Connection as _;
use testkit::postgres::region;
use testkit::servers;
use testkit::wait::until;
use tokio_util::sync::CancellationToken;

const DATABASES: [&str; 3] = ["user_profile", "order_payment", "inventory"];

#[tokio::test]
async fn a_role_reaches_its_own_database_only() {
    for role_of in DATABASES {
        for database in DATABASES {
            for suffix in ["app", "owner"] {
                let url = servers().postgres_url(database, &format!("{role_of}_{suffix}"));
                let outcome = sqlx::PgConnection::connect(&url).await;
                assert_eq!(outcome.is_ok(), role_of == database, "{role_of}_{suffix} at {database}");
            }
        }
    }
}

struct Counting(AtomicU32);

#[async_trait]
impl BatchHandler for Counting {
    async fn handle(&self, _partition: i32, records: &[Record]) -> anyhow::Result<()> {
        self.0.fetch_add(u32::try_from(records.len())?, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test]
async fn another_reader_of_completed_orders_needs_no_change_of_the_writer() {
    let kafka = KafkaSettings {
        brokers: servers().kafka,
        topic_prefix: String::new(),
        replication: 1,
        tls: KafkaTls::default(),
    };
    let counting = Arc::new(Counting(AtomicU32::new(0)));
    let group: &'static str = Box::leak(format!("loyalty-{}", ids::random().simple()).into_boxed_str());
    let shutdown = CancellationToken::new();
    let consumer =
        BatchConsumer::new(group, &[&ORDER_COMPLETED], region(), &kafka, Arc::clone(&counting) as _).unwrap();
    let running = tokio::spawn(consumer.run(shutdown.clone()));

    let shopper = Shopper::new().await;
    let product = product_in_stock("gadget").await;
    let placed = send(shopper.order(&product, 1, "tok_ok", &key())).await.expect(201);
    let ended = shopper.wait_for_end(placed.body["order_id"].as_str().unwrap()).await;
    assert_eq!(ended["status"], "COMPLETED");
    until("the new reader to have seen it", Duration::from_secs(30), async || {
        match counting.0.load(Ordering::Relaxed) {
            0 => Err(0),
            _ => Ok(()),
        }
    })
    .await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
