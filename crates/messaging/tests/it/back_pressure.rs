//! One partition falls behind, and the others do not notice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use contracts::topics::STOCK_RESERVED;
use messaging::{BatchConsumer, BatchHandler, Record};
use testkit::kafka::{put_raw, topics};
use testkit::postgres::region;
use testkit::wait::until;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);
const GROUP: &str = "back-pressure";
const SLOW: &str = "o1";
const LIVE: &str = "o2";

/// Handles nothing of the slow key while it is shut; remembers the rest.
#[derive(Default)]
struct Shutter {
    open: AtomicBool,
    seen: Mutex<Vec<(String, i64)>>,
}

#[async_trait]
impl BatchHandler for Shutter {
    async fn handle(&self, _partition: i32, records: &[Record]) -> anyhow::Result<()> {
        let slow = records.iter().any(|record| record.key.as_ref() == SLOW.as_bytes());
        anyhow::ensure!(!slow || self.open.load(Ordering::Relaxed), "the store is away for this one");
        let seen = records.iter().map(|record| (String::from_utf8_lossy(&record.key).into_owned(), record.offset));
        self.seen.lock().unwrap().extend(seen);
        Ok(())
    }
}

impl Shutter {
    fn offsets(&self, key: &str) -> Vec<i64> {
        self.seen.lock().unwrap().iter().filter(|(of, _)| of == key).map(|(_, offset)| *offset).collect()
    }

    async fn until_handled(&self, key: &str, number: usize) {
        until(&format!("{number} records of {key}"), PATIENCE, async || {
            let handled = self.offsets(key).len();
            if handled >= number { Ok(()) } else { Err(format!("{handled}")) }
        })
        .await;
    }
}

/// How many partitions of this group are paused, as a scrape would find it; `None` before the first was.
fn paused() -> Option<u64> {
    let text = prometheus::TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap();
    let gauge = format!("shopsphere_consumer_paused{{group=\"{GROUP}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(gauge.as_str())).map(|value| value.parse().unwrap())
}

async fn until_paused(what: &str, expected: u64) {
    until(what, PATIENCE, async || if paused() == Some(expected) { Ok(()) } else { Err(format!("{:?}", paused())) })
        .await;
}

#[tokio::test]
async fn a_partition_full_of_large_records_waits_and_holds_nobody_up() {
    let kafka = topics(&[&STOCK_RESERVED]).await;
    // Three times what may wait in memory.
    let large = vec![b'x'; 512 * 1024];
    for _ in 0..24 {
        put_raw(&kafka, &STOCK_RESERVED, SLOW, &large, &[]).await;
    }
    let shutter = Arc::new(Shutter::default());
    let shutdown = CancellationToken::new();
    let consumer = BatchConsumer::new(GROUP, &[&STOCK_RESERVED], region(), &kafka, Arc::clone(&shutter) as _).unwrap();
    let running = tokio::spawn(consumer.run(shutdown.clone()));
    until_paused("the full partition to be paused", 1).await;
    for number in [10, 20] {
        for _ in 0..10 {
            put_raw(&kafka, &STOCK_RESERVED, LIVE, b"small", &[]).await;
        }
        shutter.until_handled(LIVE, number).await;
        assert!(shutter.offsets(SLOW).is_empty(), "it is shut");
        assert_eq!(paused(), Some(1), "it waits at the broker, alone");
    }
    shutter.open.store(true, Ordering::Relaxed);
    shutter.until_handled(SLOW, 24).await;
    assert_eq!(
        shutter.offsets(SLOW),
        (0..24).collect::<Vec<_>>(),
        "each once and in order, also those behind the pause"
    );
    until_paused("nothing to be paused any more", 0).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
