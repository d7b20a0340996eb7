//! The intake of clicks for benchmarks, without what it does not ask: `cargo xtask bench` runs it, optimised.
//!
//!     bench_intake serve PORT BROKERS PREFIX RECORDS THREADS
//!                                                  POST /v1/events over topics under a prefix; RECORDS is report or event. Says which
//!                                                  topic is there for the program that it is measured against
//!     bench_intake count BROKERS PREFIX EVENTS     reads the topic until it has seen so many events, and says what was there
//!
//! What runs is the code of the service: its router, its use case, its limits (set so high that nobody meets them), its way to the
//! broker, and the server of chassis with everything around it on THREADS cores. People, sessions and identities are not asked by
//! visitors and are not there. A server says `ready` when it answers.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use async_trait::async_trait;
use chassis::{Process, Role, Service as _};
use common::{SystemClock, ids};
use contracts::topics::{CLICKSTREAM_RAW, CLICKSTREAM_REFUSED};
use contracts::user::v1::ClicksReported;
use contracts::{DataClass, Topic};
use messaging::{BatchConsumer, BatchHandler, KafkaSettings, Record};
use prost::Message as _;
use user::config::{Config, Rate};
use user::inbound::http::{Api, router};
use user::outbound::clicks::Records;
use user::outbound::limits::LocalLimits;
use user::outbound::memory::{MemoryIdentities, MemoryPeople, MemorySessions};
use user::usecases::{App, Pseudonyms};
use user::wiring;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the program that we are measured against writes: as many partitions as clicks have.
static PEER: Topic = Topic {
    kind: "clickstream.peer",
    key: "none",
    partitions: CLICKSTREAM_RAW.partitions,
    retention: CLICKSTREAM_RAW.retention,
    cleanup: CLICKSTREAM_RAW.cleanup,
    class: DataClass::Internal,
    writer: "bench",
    readers: &[],
};

/// Nothing new for this long means that there is nothing more.
const SILENCE: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // What is not taken on a core needs one thread.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        match words[..] {
            ["serve", port, brokers, prefix, records, threads] => {
                let records = match records {
                    "report" => Records::Report,
                    "event" => Records::Event,
                    other => bail!("records are report or event, not {other}"),
                };
                serve(port.parse()?, brokers, prefix, records, threads.parse()?).await
            }
            ["count", brokers, prefix, events] => count(brokers, prefix, events.parse()?).await,
            _ => bail!("see the head of services/user/examples/bench_intake.rs for the words"),
        }
    })
}

fn process(brokers: &str, prefix: &str) -> Result<(Process, Config)> {
    let variables = [("SHOPSPHERE__PSEUDONYM__KEY".to_owned(), "sixteen characters or more".to_owned())];
    let mut config = chassis::config::load::<Config>(user::Service::DEFAULTS, None, &variables)?.config;
    config.http.bind = Ipv4Addr::LOCALHOST.into();
    config.kafka = KafkaSettings { brokers: brokers.to_owned(), topic_prefix: prefix.to_owned(), ..config.kafka };
    let process = Process::new("bench", Role::Serve, &config.common, Arc::new(SystemClock), Vec::new());
    Ok((process, config))
}

async fn serve(port: u16, brokers: &str, prefix: &str, records: Records, threads: usize) -> Result<()> {
    let (process, mut config) = process(brokers, prefix)?;
    // Lines and spans as in the service, so that they cost what they cost there.
    let _telemetry = chassis::telemetry::install("user", Role::Serve, &config.common)?;
    config.http.port = port;
    config.clicks.records = records;
    // A core for each processor: one in most benches, as in a pod with one.
    config.clicks.runtimes = threads;
    let all = Rate { per_minute: 600_000_000, burst: 10_000_000 };
    (config.limits.clicks_per_source, config.limits.clicks_per_person) = (all, all);
    let region = process.site().region;
    messaging::create_topics(&config.kafka, region, &[&CLICKSTREAM_RAW, &CLICKSTREAM_REFUSED, &PEER]).await?;
    let identities = Arc::new(MemoryIdentities::new(region));
    let app = App {
        region,
        people: Arc::new(MemoryPeople::default()),
        identities: identities.clone(),
        tokens: identities,
        sessions: Arc::new(MemorySessions::default()),
        clicks: Arc::new(wiring::clicks(&config, &process)?),
        limits: Arc::new(LocalLimits::new(&config.limits)),
        clock: process.clock(),
        pseudonyms: Pseudonyms::new(config.pseudonym.key.open().as_bytes()),
    };
    let routes = router(Api::new(app, wiring::answers(&config), "http://localhost"));
    wiring::listen(&config, &process, routes, None).await?;
    println!("topic {}", config.kafka.topic_name(&PEER, region));
    println!("ready");
    std::future::pending().await
}

#[derive(Default)]
struct Counter {
    records: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
}

#[async_trait]
impl BatchHandler for Counter {
    async fn handle(&self, _: i32, records: &[Record]) -> Result<()> {
        for record in records {
            let report = ClicksReported::decode(record.payload.clone())?;
            self.events.fetch_add(report.clicks.len() as u64, Ordering::Relaxed);
            self.bytes.fetch_add((record.key.len() + record.payload.len()) as u64, Ordering::Relaxed);
        }
        self.records.fetch_add(records.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

async fn count(brokers: &str, prefix: &str, expected: u64) -> Result<()> {
    let (process, config) = process(brokers, prefix)?;
    let counter = Arc::new(Counter::default());
    // Each count begins at the beginning: a group of its own. It is one for each process, which ends with it.
    let group: &'static str = format!("bench-count-{}", ids::random()).leak();
    let consumer =
        BatchConsumer::new(group, &[&CLICKSTREAM_RAW], process.site().region, &config.kafka, counter.clone())?;
    process.spawn("count", consumer.run(process.shutdown()));
    let events = || counter.events.load(Ordering::Relaxed);
    let (mut seen, mut since) = (0, Instant::now());
    // A little longer than the last event, so that more than was accepted is noticed too.
    while since.elapsed() < if seen >= expected { SILENCE / 5 } else { SILENCE } {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if events() > seen {
            (seen, since) = (events(), Instant::now());
        }
    }
    let (records, bytes) = (counter.records.load(Ordering::Relaxed), counter.bytes.load(Ordering::Relaxed));
    println!("{{\"events\":{seen},\"records\":{records},\"bytes\":{bytes}}}");
    Ok(())
}
