//! A handler whose books end before the batch it is given gets what is missing, and a handler that can be given nothing is not kept.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use contracts::topics::STOCK_RESERVED;
use messaging::{BatchConsumer, BatchHandler, KafkaSettings, Record, Rewind};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::{Offset, TopicPartitionList};
use testkit::kafka::{put_raw, read_all, topics};
use testkit::postgres::region;
use testkit::wait::until;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);
/// One partition is all that these stories need.
const KEY: &str = "o1";

/// Up to where records are counted, and which were, in that order. Can be made to forget.
#[derive(Default)]
struct Books {
    shut: AtomicBool,
    counted: Mutex<Option<i64>>,
    handled: Mutex<Vec<i64>>,
    /// How far back it wants to read when it knows nothing, as a time.
    since_ms: i64,
    /// Batches that were handed over as the first.
    firsts: AtomicUsize,
    /// Each batch finds that one more before it is missing.
    leak: AtomicBool,
}

impl Books {
    fn count(&self, records: &[Record]) {
        let mut counted = self.counted.lock().unwrap();
        let known = counted.unwrap_or(-1);
        let new = records.iter().map(|record| record.offset).filter(|offset| *offset > known);
        self.handled.lock().unwrap().extend(new);
        *counted = Some(known.max(records.last().unwrap().offset));
    }

    /// Ends at `counted` from now on, as a store that has lost what came after.
    fn forget(&self, counted: Option<i64>) {
        *self.counted.lock().unwrap() = counted;
        self.handled.lock().unwrap().retain(|offset| Some(*offset) <= counted);
    }

    async fn until_handled(&self, what: &str, offsets: impl Iterator<Item = i64>) {
        let offsets: Vec<i64> = offsets.collect();
        until(what, PATIENCE, async || {
            let handled = self.handled.lock().unwrap().clone();
            if handled == offsets { Ok(()) } else { Err(handled) }
        })
        .await;
    }
}

#[async_trait]
impl BatchHandler for Books {
    async fn handle(&self, _partition: i32, records: &[Record]) -> anyhow::Result<()> {
        anyhow::ensure!(!self.shut.load(Ordering::Relaxed), "the store is away");
        let counted = *self.counted.lock().unwrap();
        let first = records[0].offset;
        if self.leak.load(Ordering::Relaxed) && first > 0 {
            return Err(Rewind::To(first - 1).into());
        }
        match counted {
            Some(counted) if first > counted + 1 => Err(Rewind::To(counted + 1).into()),
            None if first > 0 => Err(Rewind::Since(self.since_ms).into()),
            _ => {
                self.count(records);
                Ok(())
            }
        }
    }

    async fn handle_as_first(&self, _partition: i32, records: &[Record]) -> anyhow::Result<()> {
        self.firsts.fetch_add(1, Ordering::Relaxed);
        self.count(records);
        Ok(())
    }
}

/// A group that works with these books until it is stopped.
struct Running {
    kafka: KafkaSettings,
    books: Arc<Books>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(group: &'static str, books: Books) -> Self {
        let (kafka, books) = (topics(&[&STOCK_RESERVED]).await, Arc::new(books));
        let handler: Arc<dyn BatchHandler> = books.clone();
        let consumer = BatchConsumer::new(group, &[&STOCK_RESERVED], region(), &kafka, handler).unwrap();
        let stop = CancellationToken::new();
        let running = consumer.run(stop.clone());
        let task = tokio::spawn(async move { running.await.unwrap() });
        Self { kafka, books, stop, task }
    }

    async fn put(&self, number: usize, bytes: usize) {
        for _ in 0..number {
            put_raw(&self.kafka, &STOCK_RESERVED, KEY, &vec![b'x'; bytes], &[]).await;
        }
    }

    /// Lets the topic forget what stands before `offset`, as it does by itself after its time.
    async fn cut_off(&self, offset: i64) {
        let partition = read_all(&self.kafka, &STOCK_RESERVED).await[0].partition;
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.kafka.brokers).create().unwrap();
        let mut list = TopicPartitionList::new();
        let topic = self.kafka.topic_name(&STOCK_RESERVED, region());
        list.add_partition_offset(&topic, partition, Offset::Offset(offset)).unwrap();
        let cut = admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
        cut.elements().iter().for_each(|element| element.error().unwrap());
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// The number behind a metric of a group, as a scrape finds it.
fn told(metric: &str, group: &str, more: &str) -> u64 {
    let text = prometheus::TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap();
    let line = format!("{metric}{{group=\"{group}\"{more}}} ");
    text.lines().find_map(|found| found.strip_prefix(line.as_str())).map_or(0, |number| number.parse().unwrap())
}

#[tokio::test]
async fn books_that_end_earlier_get_what_is_missing_in_order_and_once_also_when_the_partition_waits_full() {
    const GROUP: &str = "rewind-to-mark";
    let running = Running::start(GROUP, Books::default()).await;
    running.put(6, 100).await;
    running.books.until_handled("the first records", 0..6).await;
    // More than may wait in memory, so the partition is paused when the loss is found.
    running.books.shut.store(true, Ordering::Relaxed);
    running.put(12, 512 * 1024).await;
    until("the full partition to be paused", PATIENCE, async || {
        let paused = told("shopsphere_consumer_paused", GROUP, "");
        if paused == 1 { Ok(()) } else { Err(paused) }
    })
    .await;
    running.books.forget(Some(2));
    running.books.shut.store(false, Ordering::Relaxed);
    running.books.until_handled("what was lost, and what followed", 0..18).await;
    assert_eq!(told("shopsphere_consumer_rewinds_total", GROUP, ",how=\"mark\""), 1);
    assert_eq!(running.books.firsts.load(Ordering::Relaxed), 0, "there was no hole in the end");
    running.put(3, 100).await;
    running.books.until_handled("what came later: it is not paused for ever", 0..21).await;
    until("nothing to be paused any more", PATIENCE, async || {
        let paused = told("shopsphere_consumer_paused", GROUP, "");
        if paused == 0 { Ok(()) } else { Err(paused) }
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn books_that_are_gone_get_what_was_written_since_a_time() {
    const GROUP: &str = "rewind-by-time";
    // Everything was written since then.
    let running = Running::start(GROUP, Books { since_ms: 1, ..Books::default() }).await;
    running.put(6, 100).await;
    running.books.until_handled("the first records", 0..6).await;
    running.books.forget(None);
    running.put(1, 100).await;
    running.books.until_handled("everything once more", 0..7).await;
    assert_eq!(told("shopsphere_consumer_rewinds_total", GROUP, ",how=\"time\""), 1);
    running.stop().await;
}

#[tokio::test]
async fn where_nothing_was_written_in_that_time_the_batch_is_the_first() {
    const GROUP: &str = "rewind-to-nothing";
    // Nothing was written since then: it is the year 2286.
    let running = Running::start(GROUP, Books { since_ms: 9_999_999_999_999, ..Books::default() }).await;
    running.put(6, 100).await;
    running.books.until_handled("the first records", 0..6).await;
    running.books.forget(None);
    running.put(2, 100).await;
    running.books.until_handled("only what is new", 6..8).await;
    assert_eq!(told("shopsphere_consumer_rewinds_total", GROUP, ",how=\"time\""), 0);
    assert_eq!(running.books.firsts.load(Ordering::Relaxed), 1);
    running.stop().await;
}

/// A mark of another life of the topic, or one from before what it still keeps: there is nothing to go back to.
#[tokio::test]
async fn records_that_the_topic_does_not_have_are_counted_as_out_of_reach_and_hold_nobody_up() {
    const GROUP: &str = "rewind-out-of-reach";
    let books = Books { counted: Mutex::new(Some(-11)), ..Books::default() };
    let running = Running::start(GROUP, books).await;
    running.put(3, 100).await;
    running.books.until_handled("all there is", 0..3).await;
    assert_eq!(told("shopsphere_consumer_records_out_of_reach_total", GROUP, ""), 10);
    assert_eq!(running.books.firsts.load(Ordering::Relaxed), 1);
    running.stop().await;
}

#[tokio::test]
async fn books_that_end_before_the_topic_begins_go_on_where_it_begins() {
    const GROUP: &str = "rewind-to-the-beginning";
    let running = Running::start(GROUP, Books::default()).await;
    running.put(6, 100).await;
    running.books.until_handled("the first records", 0..6).await;
    running.cut_off(4).await;
    running.books.forget(Some(0));
    running.put(1, 100).await;
    running.books.until_handled("what there still is", [0, 4, 5, 6].into_iter()).await;
    assert_eq!(told("shopsphere_consumer_rewinds_total", GROUP, ",how=\"mark\""), 1, "it went back once");
    assert_eq!(told("shopsphere_consumer_records_out_of_reach_total", GROUP, ""), 3);
    assert_eq!(running.books.firsts.load(Ordering::Relaxed), 1);
    running.stop().await;
}

/// What is passed over then is in the topic: whoever looks for what is gone is not told of it.
#[tokio::test]
async fn a_partition_whose_books_leak_goes_on_in_the_end_and_nothing_is_called_out_of_reach() {
    const GROUP: &str = "rewind-again-and-again";
    let running = Running::start(GROUP, Books::default()).await;
    running.put(20, 100).await;
    running.books.until_handled("the first records", 0..20).await;
    running.books.leak.store(true, Ordering::Relaxed);
    running.put(1, 100).await;
    running.books.until_handled("the next one as well", 0..21).await;
    assert_eq!(told("shopsphere_consumer_rewinds_total", GROUP, ",how=\"mark\""), 10, "as often as it may be moved");
    assert_eq!(running.books.firsts.load(Ordering::Relaxed), 1, "and then it went on");
    assert_eq!(told("shopsphere_consumer_records_out_of_reach_total", GROUP, ""), 0);
    running.stop().await;
}
