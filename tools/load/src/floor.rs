//! The floor of a saga: what stands under it when nobody computes anything. Each run is a commit, then three times a round trip
//! through Kafka (produced, acknowledged by all copies, consumed) and a commit, one after the other; runs overlap.
//!
//! Open loop: run n is due at n / rate after the start, and its clock runs from there.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use common::ids;
use futures::future::{join_all, select};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message as _};
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::oneshot;

use crate::times::Times;

const TOPIC: &str = "bench.floor";
/// As the topics of a saga have.
const PARTITIONS: i32 = 12;
const ROUND_TRIPS: usize = 3;
/// Connections, as many as a service has by default.
const CONNECTIONS: u32 = 16;
/// Bytes of a record: an order with three lines.
const BYTES: usize = 400;
/// How long the consumer may take to get its partitions.
const ASSIGNED_WITHIN: Duration = Duration::from_secs(30);
/// A record that is away for so long is lost.
const LOST_AFTER: Duration = Duration::from_secs(20);

#[derive(Args)]
pub struct Floor {
    /// Database with a table bench_insert
    #[arg(long)]
    postgres: String,
    #[arg(long)]
    brokers: String,
    /// Runs per second
    #[arg(long)]
    rate: f64,
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
}

type Waiting = Rc<RefCell<HashMap<Vec<u8>, oneshot::Sender<()>>>>;

struct Parts {
    pool: PgPool,
    producer: FutureProducer,
    waiting: Waiting,
}

pub fn run(floor: &Floor) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, drive(floor))
}

async fn drive(floor: &Floor) -> Result<()> {
    let client = |words: &[(&str, &str)]| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &floor.brokers);
        for (key, value) in words {
            config.set(*key, *value);
        }
        config
    };
    let admin: AdminClient<DefaultClientContext> = client(&[]).create()?;
    let topic = NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(1));
    // One that is there already is as good.
    admin.create_topics([&topic], &AdminOptions::new()).await?;
    let group = format!("bench-floor-{}", ids::random());
    let consumer: StreamConsumer =
        client(&[("group.id", &group), ("auto.offset.reset", "latest"), ("enable.auto.commit", "false")]).create()?;
    consumer.subscribe(&[TOPIC])?;
    let producer = client(&[("acks", "all"), ("enable.idempotence", "true"), ("linger.ms", "0")]).create()?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .min_connections(CONNECTIONS)
        .test_before_acquire(false)
        .connect(&floor.postgres)
        .await?;
    let parts = Rc::new(Parts { pool, producer, waiting: Waiting::default() });
    let times = {
        let consumed = Box::pin(consume(&consumer, &parts.waiting));
        let produced = Box::pin(runs(floor, &parts));
        match select(consumed, produced).await {
            futures::future::Either::Left((ended, _)) => ended.and_then(|()| bail!("the consumer ended")),
            futures::future::Either::Right((times, _)) => times,
        }
    };
    println!("{}", report(floor, &mut times?));
    Ok(())
}

/// Wakes whoever waits for a record.
async fn consume(consumer: &StreamConsumer, waiting: &Waiting) -> Result<()> {
    loop {
        let message = consumer.recv().await?;
        let woken = message.key().and_then(|key| waiting.borrow_mut().remove(key));
        if let Some(woken) = woken {
            // Nobody listens to the echo of a probe that was given up.
            let _ = woken.send(());
        }
    }
}

async fn runs(floor: &Floor, parts: &Rc<Parts>) -> Result<Times> {
    assigned(parts).await?;
    let (started, times) = (Instant::now(), Rc::new(RefCell::new(Times::default())));
    let count = (floor.rate * floor.seconds) as u64;
    let mut under_way = Vec::new();
    for number in 0..count {
        let due = started + Duration::from_secs_f64(number as f64 / floor.rate);
        tokio::time::sleep_until(due.into()).await;
        times.borrow_mut().sent(due.elapsed());
        let (parts, times) = (Rc::clone(parts), Rc::clone(&times));
        under_way.push(tokio::task::spawn_local(async move {
            commit(&parts).await?;
            for _ in 0..ROUND_TRIPS {
                echo(&parts, LOST_AFTER).await?;
                commit(&parts).await?;
            }
            times.borrow_mut().done(due.elapsed());
            anyhow::Ok(())
        }));
    }
    for ended in join_all(under_way).await {
        ended??;
    }
    Ok(times.take())
}

/// Until every partition answers: a consumer that is about to join misses what was produced before.
async fn assigned(parts: &Parts) -> Result<()> {
    let began = Instant::now();
    let mut answered = 0;
    while answered < 4 * PARTITIONS {
        if began.elapsed() > ASSIGNED_WITHIN {
            bail!("the consumer did not get its partitions");
        }
        answered = if echo(parts, Duration::from_millis(500)).await.is_ok() { answered + 1 } else { 0 };
    }
    Ok(())
}

async fn commit(parts: &Parts) -> Result<()> {
    sqlx::query("INSERT INTO bench_insert (payload) VALUES (repeat('x', 100))").execute(&parts.pool).await?;
    Ok(())
}

async fn echo(parts: &Parts, patience: Duration) -> Result<()> {
    let (key, payload) = (ids::random().to_string(), [b'x'; BYTES]);
    let (sender, echoed) = oneshot::channel();
    parts.waiting.borrow_mut().insert(key.clone().into_bytes(), sender);
    let record = FutureRecord::to(TOPIC).key(&key).payload(&payload[..]);
    if let Err((error, _)) = parts.producer.send(record, patience).await {
        return Err(error.into());
    }
    tokio::time::timeout(patience, echoed).await.context("a record did not come back")?.context("nobody consumes")
}

fn report(floor: &Floor, times: &mut Times) -> serde_json::Value {
    json!({
        "rate": floor.rate,
        "seconds": floor.seconds,
        "late": times.late,
        "p50_ms": times.percentile_ms(0.50),
        "p99_ms": times.percentile_ms(0.99),
    })
}
