//! Stories of the consumer: once, in order per key, poison parked and redriven, offsets only past what is done.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::MessageId;
use contracts::topics::STOCK_RESERVED;
use contracts::{Envelope, Event};
use messaging::{
    BatchConsumer, BatchHandler, Cause, Consumer, Delivery, Handler, KafkaSettings, Publisher, Record, Verdict,
};
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use testkit::TestDatabase;
use testkit::kafka::{put_raw, topics};
use testkit::postgres::region;
use testkit::wait::until;
use tokio_util::sync::CancellationToken;

use crate::world::{database, event, mark};

const PATIENCE: Duration = Duration::from_secs(30);

/// Writes a mark per delivery through the inbox; refuses keys that begin with `bad` while told so.
struct Marking {
    database: messaging::Database,
    refusing: AtomicBool,
    refused: AtomicU32,
    flaky: AtomicU32,
}

impl Marking {
    fn new(database: messaging::Database) -> Arc<Self> {
        let (refusing, [refused, flaky]) = (AtomicBool::new(true), Default::default());
        Arc::new(Self { database, refusing, refused, flaky })
    }
}

#[async_trait]
impl Handler for Marking {
    async fn handle(&self, delivery: &Delivery) -> Verdict {
        let key = delivery.event.key();
        if key.starts_with("bad") && self.refusing.load(Ordering::Relaxed) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Verdict::Park("this test refuses it".to_owned());
        }
        if key.starts_with("flaky") && self.flaky.fetch_add(1, Ordering::Relaxed) < 3 {
            return Verdict::Retry;
        }
        let cause = Cause::Message { consumer: "marking", id: delivery.envelope.id };
        Verdict::of(mark(&self.database, cause, &format!("{key}/{}", delivery.envelope.version), vec![], None).await)
    }
}

struct Stage {
    db: TestDatabase,
    kafka: KafkaSettings,
    handler: Arc<Marking>,
}

impl Stage {
    async fn set() -> Self {
        let (db, kafka) = (database().await, topics(&[&STOCK_RESERVED]).await);
        let handler = Marking::new(db.database.clone());
        Self { db, kafka, handler }
    }

    fn consumer(&self, handler: &Arc<Marking>) -> Consumer {
        let (database, handler) = (self.db.database.clone(), Arc::clone(handler));
        Consumer::new("marking", &[&STOCK_RESERVED], database, &self.kafka, handler).unwrap()
    }

    async fn publish(&self, key: &str, versions: std::ops::RangeInclusive<i64>) {
        let publisher = Publisher::new(&self.kafka, region(), self.db.database.epoch().clone()).unwrap();
        for version in versions {
            publisher.publish_all(&[event(key, version)], 1).await.unwrap();
        }
    }

    /// Runs a consumer until `enough` says so.
    async fn consume_until(&self, what: &str, enough: impl AsyncFn() -> Result<(), String>) {
        let shutdown = CancellationToken::new();
        let consumer = self.consumer(&self.handler);
        let running = tokio::spawn(consumer.run(shutdown.clone()));
        until(what, PATIENCE, enough).await;
        shutdown.cancel();
        running.await.unwrap().unwrap();
    }

    async fn marks(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT name FROM marks ORDER BY at").fetch_all(&self.db.owner).await.unwrap()
    }

    async fn marks_of(&self, key: &str) -> Vec<String> {
        self.marks().await.into_iter().filter(|name| name.starts_with(&format!("{key}/"))).collect()
    }

    async fn parked(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT reason FROM parked_messages WHERE redriven_at IS NULL ORDER BY parked_id")
            .fetch_all(&self.db.owner)
            .await
            .unwrap()
    }
}

fn exactly<T: PartialEq + std::fmt::Debug>(seen: T, wanted: T) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
}

#[tokio::test]
async fn an_event_delivered_many_times_has_its_effect_once_and_in_order() {
    let stage = Stage::set().await;
    stage.publish("o1", 1..=5).await;
    stage.publish("o1", 1..=5).await;
    stage.publish("o2", 1..=1).await;
    stage.consume_until("six marks", async || exactly(stage.marks().await.len(), 6)).await;
    assert_eq!(stage.marks_of("o1").await, ["o1/1", "o1/2", "o1/3", "o1/4", "o1/5"]);
    assert_eq!(stage.db.count("inbox").await, 6);
}

/// Waits until `together` deliveries are at hand at once, then lets all go; counts keys that were at hand twice.
struct Meeting {
    marking: Arc<Marking>,
    at_hand: Mutex<Vec<String>>,
    most: AtomicU32,
    twice: AtomicU32,
}

#[async_trait]
impl Handler for Meeting {
    async fn handle(&self, delivery: &Delivery) -> Verdict {
        let key = delivery.event.key().to_owned();
        {
            let mut at_hand = self.at_hand.lock().unwrap();
            self.twice.fetch_add(u32::from(at_hand.contains(&key)), Ordering::Relaxed);
            at_hand.push(key.clone());
            self.most.fetch_max(u32::try_from(at_hand.len()).unwrap(), Ordering::Relaxed);
        }
        let verdict = self.marking.handle(delivery).await;
        self.at_hand.lock().unwrap().retain(|other| *other != key);
        verdict
    }
}

#[tokio::test]
async fn records_of_an_overlapping_topic_are_handled_side_by_side_but_never_two_of_one_key() {
    let stage = Stage::set().await;
    let keys: Vec<String> = (0..60).map(|n| format!("o{n}")).collect();
    let publisher = Publisher::new(&stage.kafka, region(), stage.db.database.epoch().clone()).unwrap();
    let events: Vec<_> = (1..=3).flat_map(|version| keys.iter().map(move |key| event(key, version))).collect();
    publisher.publish_all(&events, 1).await.unwrap();
    let meeting = Arc::new(Meeting {
        marking: Arc::clone(&stage.handler),
        at_hand: Mutex::default(),
        most: AtomicU32::new(0),
        twice: AtomicU32::new(0),
    });
    let shutdown = CancellationToken::new();
    let database = stage.db.database.clone();
    let consumer = Consumer::new("marking", &[&STOCK_RESERVED], database, &stage.kafka, Arc::clone(&meeting) as _);
    let running = tokio::spawn(consumer.unwrap().overlapping(&STOCK_RESERVED).run(shutdown.clone()));
    until("all marks", PATIENCE, async || exactly(stage.marks().await.len(), 180)).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
    for key in &keys {
        assert_eq!(stage.marks_of(key).await, [format!("{key}/1"), format!("{key}/2"), format!("{key}/3")]);
    }
    let partitions = u32::try_from(STOCK_RESERVED.partitions).unwrap();
    let most = meeting.most.load(Ordering::Relaxed);
    assert!(most > partitions, "{most} at once over {partitions} partitions: one of each is no overlap");
    assert_eq!(meeting.twice.load(Ordering::Relaxed), 0, "two records of one key at once");
}

#[tokio::test]
async fn a_restarted_consumer_goes_on_where_the_work_was_done() {
    let stage = Stage::set().await;
    stage.publish("o1", 1..=3).await;
    stage.consume_until("three marks", async || exactly(stage.marks().await.len(), 3)).await;
    stage.publish("o1", 4..=6).await;
    stage.consume_until("six marks", async || exactly(stage.marks().await.len(), 6)).await;
    assert_eq!(stage.marks_of("o1").await, ["o1/1", "o1/2", "o1/3", "o1/4", "o1/5", "o1/6"]);
}

#[tokio::test]
async fn a_transient_failure_is_retried_in_place() {
    let stage = Stage::set().await;
    stage.publish("flaky", 1..=2).await;
    stage
        .consume_until("two marks", async || {
            exactly(stage.marks().await, vec!["flaky/1".to_owned(), "flaky/2".to_owned()])
        })
        .await;
    assert!(stage.handler.flaky.load(Ordering::Relaxed) >= 4);
    assert!(stage.parked().await.is_empty());
}

#[tokio::test]
async fn a_refused_message_is_parked_with_what_follows_its_key_and_redriven_in_order() {
    let stage = Stage::set().await;
    stage.publish("bad", 1..=1).await;
    stage.publish("good", 1..=2).await;
    stage.publish("bad", 2..=3).await;
    stage
        .consume_until("good marks and parked messages", async || {
            exactly((stage.marks().await.len(), stage.parked().await.len()), (2, 3))
        })
        .await;
    // The cause is mended; later messages still queue behind the parked ones until somebody redrives.
    stage.handler.refusing.store(false, Ordering::Relaxed);
    stage.publish("bad", 4..=4).await;
    stage.consume_until("the fourth message behind the others", async || exactly(stage.parked().await.len(), 4)).await;
    assert!(stage.marks_of("bad").await.is_empty());

    let redriven =
        messaging::redrive(&stage.db.database, "marking", &stage.kafka.topic_prefix, Arc::clone(&stage.handler) as _)
            .await
            .unwrap();
    assert_eq!((redriven.applied, redriven.waiting), (4, 0));
    assert_eq!(stage.marks_of("bad").await, ["bad/1", "bad/2", "bad/3", "bad/4"]);
    stage.publish("bad", 5..=5).await;
    stage.consume_until("the key flowing again", async || exactly(stage.marks_of("bad").await.len(), 5)).await;
    let again =
        messaging::redrive(&stage.db.database, "marking", &stage.kafka.topic_prefix, Arc::clone(&stage.handler) as _)
            .await
            .unwrap();
    assert_eq!(again.applied, 0, "a redrive is idempotent");
}

#[tokio::test]
async fn what_no_handler_may_see_is_parked_and_blocks_nobody() {
    let stage = Stage::set().await;
    let envelope = |region: common::Region, epoch| Envelope {
        id: MessageId::derive("x", 1, "stock.reserved"),
        region,
        epoch,
        version: 1,
        occurred_at_ms: 1,
        source_lsn: 0,
        traceparent: None,
    };
    let put = async |key: &str, payload: &[u8], headers: Vec<(&'static str, String)>| {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        put_raw(&stage.kafka, &STOCK_RESERVED, key, payload, &headers).await;
    };
    let body = |key: &str| Event::from(contracts::catalog::v1::StockReserved { order_id: key.to_owned() }).encode();
    let fine = envelope(region(), 1).to_headers("stock.reserved", "internal");
    put("garbage", &[0xff, 0xff], fine.clone()).await;
    put("no-headers", &body("no-headers"), vec![]).await;
    put("foreign", &body("foreign"), envelope(common::Region::ALL[1], 1).to_headers("stock.reserved", "internal"))
        .await;
    put("future", &body("future"), envelope(region(), 2).to_headers("stock.reserved", "internal")).await;
    put("mismatch", &body("another"), fine.clone()).await;
    put("", &[], fine).await;
    stage.publish("good", 1..=1).await;
    stage
        .consume_until("six parked, one mark", async || {
            exactly((stage.parked().await.len(), stage.marks().await.len()), (6, 1))
        })
        .await;
    let reasons = stage.parked().await.join("\n");
    for part in
        ["is not a", "header aggregate_version", "written in region", "which is after ours", "not the one in its body"]
    {
        assert!(reasons.contains(part), "{part} is not among\n{reasons}");
    }
}

#[tokio::test]
async fn a_record_still_being_retried_at_a_stop_is_handled_after_it() {
    let stage = Stage::set().await;
    stage.publish("flaky", 1..=1).await;
    // Stopped between two tries: a regular stop commits the offsets that were stored.
    stage
        .consume_until("a first try", async || {
            if stage.handler.flaky.load(Ordering::Relaxed) > 0 { Ok(()) } else { Err("no try yet".to_owned()) }
        })
        .await;
    assert!(stage.marks().await.is_empty(), "the stop came too late to show anything");
    stage.consume_until("the mark of the retried record", async || exactly(stage.marks().await.len(), 1)).await;
}

/// Takes every connection at the first delivery and gives them back at the second: in between nobody reaches the database, for
/// as long as it takes to find that out. Both deliveries fail; the next ones are handled.
struct Outage {
    marking: Arc<Marking>,
    connections: Mutex<Vec<PoolConnection<Postgres>>>,
    deliveries: AtomicU32,
}

#[async_trait]
impl Handler for Outage {
    async fn handle(&self, delivery: &Delivery) -> Verdict {
        match self.deliveries.fetch_add(1, Ordering::Relaxed) {
            0 => {
                let pool = self.marking.database.pool();
                for _ in 0..pool.options().get_max_connections() {
                    let connection = pool.acquire().await.unwrap();
                    self.connections.lock().unwrap().push(connection);
                }
                Verdict::Retry
            }
            1 => {
                self.connections.lock().unwrap().clear();
                Verdict::Retry
            }
            _ => self.marking.handle(delivery).await,
        }
    }
}

#[tokio::test]
async fn what_failed_while_the_database_was_away_is_tried_again_when_it_is_back_and_not_parked() {
    let stage = Stage::set().await;
    stage.publish("o1", 1..=1).await;
    let (marking, connections) = (Arc::clone(&stage.handler), Mutex::default());
    let outage = Arc::new(Outage { marking, connections, deliveries: AtomicU32::new(0) });
    let shutdown = CancellationToken::new();
    let database = stage.db.database.clone();
    let consumer = Consumer::new("marking", &[&STOCK_RESERVED], database, &stage.kafka, Arc::clone(&outage) as _);
    // Less than it takes to learn that there is no connection.
    let consumer = consumer.unwrap().patient_for(Duration::from_secs(2));
    let running = tokio::spawn(consumer.run(shutdown.clone()));
    until("the message to come to an end", PATIENCE, async || {
        exactly(stage.marks().await.len() + stage.parked().await.len(), 1)
    })
    .await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(stage.parked().await, Vec::<String>::new(), "the absence of the database is no fault of the message");
    assert_eq!(outage.deliveries.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_message_behind_one_parked_by_the_same_process_waits() {
    let stage = Stage::set().await;
    stage.publish("bad", 1..=1).await;
    stage
        .consume_until("the first parked, the second behind it", async || {
            if stage.parked().await.len() == 1 && stage.handler.refusing.swap(false, Ordering::Relaxed) {
                stage.publish("bad", 2..=2).await;
            }
            exactly((stage.parked().await.len(), stage.marks().await.len()), (2, 0))
        })
        .await;
}

#[tokio::test]
async fn a_message_behind_one_parked_by_another_process_waits_when_its_partition_comes_over() {
    let stage = Stage::set().await;
    let (stop_one, stop_other) = (CancellationToken::new(), CancellationToken::new());
    let one = tokio::spawn(stage.consumer(&stage.handler).run(stop_one.clone()));
    let publisher = Publisher::new(&stage.kafka, region(), stage.db.database.epoch().clone()).unwrap();
    let publish = async |keys: std::ops::Range<u32>, name: &str, version| {
        let events: Vec<_> = keys.map(|number| event(&format!("{name}-{number}"), version)).collect();
        publisher.publish_all(&events, 1).await.unwrap();
    };
    publish(0..24, "good", 1).await;
    until("the one at work on every partition", PATIENCE, async || exactly(stage.marks().await.len(), 24)).await;
    // Another one comes, gets some of the partitions, and refuses what it finds there.
    let other = Marking::new(stage.db.database.clone());
    let another = tokio::spawn(stage.consumer(&other).run(stop_other.clone()));
    let published = AtomicU32::new(0);
    until("something that the other one parked", PATIENCE, async || {
        let first = published.fetch_add(12, Ordering::Relaxed);
        publish(first..first + 12, "bad", 1).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        if other.refused.load(Ordering::Relaxed) > 0 { Ok(()) } else { Err("it has no partition yet".to_owned()) }
    })
    .await;
    let all = published.into_inner();
    let waiting = async |count: u32| exactly(stage.parked().await.len(), count as usize);
    until("every first message parked", PATIENCE, async || waiting(all).await).await;
    // It goes; its partitions come back to the one that runs on, with what follows the parked messages.
    stop_other.cancel();
    another.await.unwrap().unwrap();
    stage.handler.refusing.store(false, Ordering::Relaxed);
    publish(0..all, "bad", 2).await;
    until("every second message behind the first", PATIENCE, async || waiting(2 * all).await).await;
    stop_one.cancel();
    one.await.unwrap().unwrap();
    assert_eq!(stage.marks().await.len(), 24, "none of them was handled");
}

#[tokio::test]
async fn a_consumer_may_stop_at_any_point() {
    for (n, point) in
        ["consumer.before_handle", "consumer.after_handle", "consumer.after_offset"].into_iter().enumerate()
    {
        let stage = Stage::set().await;
        stage.publish("o1", 1..=4).await;
        // Points inside the commit lie between the first and the second; stop at the n-th of the consumer's own by name.
        let stop_at = match n {
            0 => 0,
            1 => 6,
            _ => 7,
        };
        let plan = messaging::crash::Plan::stopping_at(stop_at);
        let consumer = Consumer::new(
            "marking",
            &[&STOCK_RESERVED],
            stage.db.database.clone(),
            &stage.kafka,
            Arc::clone(&stage.handler) as _,
        )
        .unwrap();
        let crashed = messaging::crash::under(plan, consumer.run(CancellationToken::new())).await;
        assert_eq!(crashed.map_err(|crash| crash.0), Err(point));
        stage.consume_until("four marks", async || exactly(stage.marks().await.len(), 4)).await;
        assert_eq!(stage.marks_of("o1").await, ["o1/1", "o1/2", "o1/3", "o1/4"], "stopped at {point}");
    }
}

/// Remembers what it was given; fails as often as told first.
struct Remembering {
    fail_first: AtomicU32,
    seen: Mutex<Vec<(i32, i64)>>,
}

#[async_trait]
impl BatchHandler for Remembering {
    async fn handle(&self, partition: i32, records: &[Record]) -> anyhow::Result<()> {
        if self.fail_first.load(Ordering::Relaxed) > 0 {
            self.fail_first.fetch_sub(1, Ordering::Relaxed);
            anyhow::bail!("the store is away");
        }
        self.seen.lock().unwrap().extend(records.iter().map(|record| (partition, record.offset)));
        Ok(())
    }
}

#[tokio::test]
async fn a_failed_batch_comes_again_and_none_is_skipped() {
    let stage = Stage::set().await;
    for key in ["a", "b", "c", "d"] {
        stage.publish(key, 1..=10).await;
    }
    let handler = Arc::new(Remembering { fail_first: AtomicU32::new(3), seen: Mutex::default() });
    let shutdown = CancellationToken::new();
    let consumer =
        BatchConsumer::new("remembering", &[&STOCK_RESERVED], region(), &stage.kafka, Arc::clone(&handler) as _)
            .unwrap();
    let running = tokio::spawn(consumer.run(shutdown.clone()));
    until("forty records", PATIENCE, async || exactly(handler.seen.lock().unwrap().len(), 40)).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
    let mut seen = handler.seen.lock().unwrap().clone();
    for partition in seen.iter().map(|(partition, _)| *partition).collect::<std::collections::HashSet<_>>() {
        let offsets: Vec<i64> = seen.iter().filter(|(of, _)| *of == partition).map(|(_, offset)| *offset).collect();
        assert!(offsets.is_sorted(), "partition {partition}: {offsets:?}");
    }
    seen.dedup();
    assert_eq!(seen.len(), 40);
}
