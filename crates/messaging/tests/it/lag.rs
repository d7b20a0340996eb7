//! How far a group is behind, as its gauge says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use contracts::topics::STOCK_RESERVED;
use messaging::{BatchConsumer, BatchHandler, Record};
use testkit::kafka::{put_raw, topics};
use testkit::postgres::region;
use testkit::wait::until;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);
const GROUP: &str = "falling-behind";

/// Handles nothing until it is opened.
#[derive(Default)]
struct Gate {
    open: AtomicBool,
}

#[async_trait]
impl BatchHandler for Gate {
    async fn handle(&self, _partition: i32, _records: &[Record]) -> anyhow::Result<()> {
        anyhow::ensure!(self.open.load(Ordering::Relaxed), "the store is away");
        Ok(())
    }
}

/// What a scrape would find of this group, by partition.
fn lags() -> Vec<u64> {
    let text = prometheus::TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap();
    let group = format!("group=\"{GROUP}\"");
    let ours =
        text.lines().filter(|line| line.starts_with("shopsphere_consumer_lag_records{") && line.contains(&group));
    ours.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

async fn until_the_lags_are(what: &str, expected: [u64; 2]) {
    until(what, PATIENCE, async || {
        let mut lags: Vec<u64> = lags().into_iter().filter(|lag| *lag > 0).collect();
        lags.sort_unstable();
        lags.resize(2, 0);
        if lags == expected { Ok(()) } else { Err(format!("{lags:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_group_tells_how_many_records_of_each_partition_it_has_before_it() {
    let kafka = topics(&[&STOCK_RESERVED]).await;
    // These keys lie in different partitions.
    let keys = [("o1", 3), ("o2", 5)];
    for (key, number) in keys {
        for _ in 0..number {
            put_raw(&kafka, &STOCK_RESERVED, key, b"anything", &[]).await;
        }
    }
    let partitions: std::collections::HashSet<i32> =
        testkit::kafka::read_all(&kafka, &STOCK_RESERVED).await.iter().map(|record| record.partition).collect();
    assert_eq!(partitions.len(), keys.len(), "the keys were chosen for it");

    let gate = Arc::new(Gate::default());
    let shutdown = CancellationToken::new();
    let consumer = BatchConsumer::new(GROUP, &[&STOCK_RESERVED], region(), &kafka, Arc::clone(&gate) as _).unwrap();
    let running = tokio::spawn(consumer.run(shutdown.clone()));
    until_the_lags_are("eight records to be left, and the gauge to say where", [3, 5]).await;
    put_raw(&kafka, &STOCK_RESERVED, "o1", b"one more", &[]).await;
    until_the_lags_are("one more to be left", [4, 5]).await;
    gate.open.store(true, Ordering::Relaxed);
    until_the_lags_are("nothing to be left", [0, 0]).await;
    let owned = lags().len();
    assert!(owned >= keys.len(), "a partition without lag says so: {owned}");
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
