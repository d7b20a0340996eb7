//! The worker and the answers for benchmarks, without what they do not ask: `cargo xtask bench` runs them, optimised.
//!
//!     bench_stream fill BROKERS PREFIX RECORDS FOLDER    writes reports of 20 clicks to the topic of clicks and to one with a quarter of
//!                                                        its partitions, each click alone to a third, the features of products to
//!                                                        FOLDER/features, and says `topic`, `few`, `singles` and their names
//!     bench_stream features FOLDER                       writes the features alone
//!     bench_stream fold BROKERS PREFIX REDIS THREADS     for each line `go RECORDS PARTITIONS` one pass over all of it with an empty
//!                                                        store and a new group: `done RECORDS CLICKS PEOPLE`. PARTITIONS is all or few
//!     bench_stream lagging BROKERS PREFIX REDIS          the same consumer with some of its partitions behind, see `catch_up`
//!     bench_stream source BROKERS PREFIX                 who fills both kinds of partitions, see `catch_up`
//!     bench_stream work BROKERS PREFIX REDIS             the role work, until killed
//!     bench_stream serve BROKERS PREFIX REDIS PORT       GET /v1/recommendations for visitors, until killed; for each line how many
//!                                                        were answered so far: `done IN_FULL DEGRADED`
//!
//! What runs is the code of the service: its consumer of clicks, its fold, its store, its router. Tokens are not looked at, because
//! visitors have none. It says `ready` when it begins to listen.

mod catch_up;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::BufRead as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use chassis::{Process, Role, Service as _};
use common::{Sku, SystemClock, ids};
use contracts::topics::{CLICKSTREAM_PARKED, CLICKSTREAM_RAW, ORDER_COMPLETED, PRODUCT_CHANGED};
use contracts::user::v1::{Click, ClickType, ClicksReported};
use contracts::{DataClass, Topic};
use messaging::{BatchConsumer, BatchHandler, Firehose, KafkaSettings, Record, TopicAside};
use personalization::config::Config;
use personalization::domain::Feature;
use personalization::inbound::clicks::ClickConsumer;
use personalization::inbound::http::{Api, router};
use personalization::metrics::RECOMMENDATIONS;
use personalization::outbound::redis::RedisStore;
use personalization::outbound::visit_file::VisitFile;
use personalization::usecases::ports::{FeatureStore as _, ProductRevision};
use personalization::usecases::{App, Learner, Running, Trials, VisitIndex};
use personalization::wiring;
use prost::Message as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Clicks of one report: what a page reports at once.
const CLICKS: u64 = 20;
/// Reports of one person.
const REPORTS: u64 = 5;
/// Products that are clicked, `FA-00000` on, as in the bodies that the bench posts.
const PRODUCTS: u64 = 1_000;
/// Records under way at once while a topic is filled; the producer takes 10,000.
const AT_ONCE: u64 = 2_000;
/// A pass in which nothing happens for so long is broken.
const STUCK: Duration = Duration::from_secs(60);
/// The same for the intake, so that a visitor has one name.
const KEY: &str = "sixteen characters or more";

/// As clicks have, with a quarter of the partitions.
static FEW: Topic = Topic {
    kind: "clickstream.few",
    key: "pseudonym",
    partitions: CLICKSTREAM_RAW.partitions / 4,
    retention: CLICKSTREAM_RAW.retention,
    cleanup: CLICKSTREAM_RAW.cleanup,
    class: DataClass::Internal,
    writer: "bench",
    readers: &[],
};

/// Each click alone.
static SINGLES: Topic = Topic {
    kind: "clickstream.singles",
    key: "pseudonym",
    partitions: CLICKSTREAM_RAW.partitions,
    retention: CLICKSTREAM_RAW.retention,
    cleanup: CLICKSTREAM_RAW.cleanup,
    class: DataClass::Internal,
    writer: "bench",
    readers: &[],
};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let threads = match words[..] {
        ["fold", _, _, _, threads] => threads.parse()?,
        _ => 1,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        match words[..] {
            ["fill", brokers, prefix, records, folder] => {
                fill(&Bench::open(brokers, prefix, None)?, records.parse()?, Path::new(folder)).await
            }
            ["features", folder] => {
                write_features(Path::new(folder))?;
                println!("ready");
                Ok(())
            }
            ["fold", brokers, prefix, redis, _] => fold(&Bench::open(brokers, prefix, Some(redis))?).await,
            ["lagging", brokers, prefix, redis] => catch_up::lagging(&Bench::open(brokers, prefix, Some(redis))?).await,
            ["source", brokers, prefix] => catch_up::source(&Bench::open(brokers, prefix, None)?).await,
            ["work", brokers, prefix, redis] => work(&Bench::open(brokers, prefix, Some(redis))?).await,
            ["serve", brokers, prefix, redis, port] => {
                serve(Bench::open(brokers, prefix, Some(redis))?, port.parse()?).await
            }
            _ => bail!("see the head of services/personalization/examples/bench_stream.rs for the words"),
        }
    })
}

struct Bench {
    config: Config,
    process: Process,
}

impl Bench {
    fn open(brokers: &str, prefix: &str, redis: Option<&str>) -> Result<Self> {
        let mut variables = vec![("SHOPSPHERE__PSEUDONYM__KEY".to_owned(), KEY.to_owned())];
        variables.extend(redis.map(|url| ("SHOPSPHERE__REDIS__URL".to_owned(), url.to_owned())));
        let mut config = chassis::config::load::<Config>(personalization::Service::DEFAULTS, None, &variables)?.config;
        config.kafka = KafkaSettings { brokers: brokers.to_owned(), topic_prefix: prefix.to_owned(), ..config.kafka };
        config.http.bind = Ipv4Addr::LOCALHOST.into();
        let process = Process::new("bench", Role::Work, &config.common, Arc::new(SystemClock), Vec::new());
        Ok(Self { config, process })
    }

    fn store(&self) -> Result<RedisStore> {
        RedisStore::connect(self.config.redis.url.open(), "")
    }

    fn trials(&self, store: &RedisStore) -> Result<Trials> {
        let currency = self.process.site().region.currency();
        let running = Running::new(self.config.plans()?, KEY.as_bytes(), currency);
        Ok(Trials { running: Arc::new(running), tallies: Arc::new(store.clone()) })
    }

    /// The service's consumer over an own store, as `group`.
    fn clicks(&self, store: &RedisStore, group: &'static str) -> Result<ClickConsumer> {
        let learner = Learner {
            interests: Arc::new(store.clone()),
            features: Arc::new(store.clone()),
            trials: self.trials(store)?,
            consents: Arc::new(store.clone()),
        };
        let aside = TopicAside::new(group, &CLICKSTREAM_PARKED, self.process.site().region, &self.config.kafka)?;
        Ok(ClickConsumer { learner, aside: Arc::new(aside), clock: self.process.clock() })
    }

    fn now_ms(&self) -> i64 {
        self.process.clock().now().timestamp_millis()
    }

    async fn learn_products(&self, store: &RedisStore) -> Result<()> {
        let changed_at_ms = self.now_ms();
        let products = (0..PRODUCTS).map(|number| -> Result<ProductRevision> {
            Ok(ProductRevision {
                sku: Sku::parse(&sku(number))?,
                revision: 1,
                changed_at_ms,
                feature: Some(feature(number)),
            })
        });
        store.learn(&products.collect::<Result<Vec<_>>>()?).await?;
        // Else clicks that do not begin at the beginning would wait for them.
        store.all_learned().await?;
        Ok(())
    }
}

fn sku(number: u64) -> String {
    format!("FA-{number:05}")
}

fn feature(number: u64) -> Feature {
    Feature {
        category: format!("category/{}", number / 20),
        brand: format!("brand {}", number % 40),
        family: format!("family {}", number % 5),
        attributes: vec![format!("colour={}", number % 12), format!("material={}", number % 7)],
        ..Feature::default()
    }
}

fn person(number: u64) -> String {
    format!("{:016x}{number:016x}", mixed(number))
}

fn mixed(number: u64) -> u64 {
    number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The report `number` of one of so many people.
fn report(number: u64, people: u64, now_ms: i64) -> ClicksReported {
    report_of(person(number % people), number, now_ms)
}

/// The report `number`: few products get most of the clicks.
fn report_of(pseudonym: String, number: u64, now_ms: i64) -> ClicksReported {
    let clicks = (0..CLICKS).map(|place| {
        let click = number * CLICKS + place;
        let mixed = mixed(click);
        let (kind, list) = match click % 10 {
            0 => (ClickType::Search, ""),
            1 => (ClickType::Add, ""),
            2 | 3 => (ClickType::Impression, "category-coats"),
            _ => (ClickType::View, "category-coats"),
        };
        Click {
            event_id: format!("{:08x}-{:04x}-7000-8000-{:012x}", mixed >> 32, mixed & 0xffff, click),
            r#type: kind as i32,
            sku: sku((mixed % PRODUCTS) * (mixed >> 40) % 997),
            query: String::new(),
            list_id: list.to_owned(),
            position: u32::try_from(place).unwrap_or(0),
            at_ms: now_ms - i64::try_from(click % 60_000).unwrap_or(0),
        }
    });
    ClicksReported {
        pseudonym,
        personalisation_consent: true,
        received_at_ms: now_ms,
        clicks: clicks.collect(),
        bot: false,
    }
}

fn write_features(folder: &Path) -> Result<()> {
    let mut features = String::new();
    for number in 0..PRODUCTS {
        let Feature { category, brand, family, attributes, .. } = feature(number);
        // Writing into a String cannot fail.
        let _ = writeln!(features, "{}\t{category}\t{brand}\t{family}\t{}", sku(number), attributes.join("\t"));
    }
    std::fs::write(folder.join("features"), features)?;
    Ok(())
}

async fn fill(bench: &Bench, records: u64, folder: &Path) -> Result<()> {
    let (kafka, region) = (&bench.config.kafka, bench.process.site().region);
    messaging::create_topics(kafka, region, &[&CLICKSTREAM_RAW, &CLICKSTREAM_PARKED, &FEW, &SINGLES]).await?;
    let firehose = Arc::new(Firehose::new(kafka, region)?);
    let (people, now_ms) = (records.div_ceil(REPORTS), bench.now_ms());
    let send = |topic: &'static Topic, report: ClicksReported| {
        let firehose = Arc::clone(&firehose);
        async move { firehose.publish(topic, &report.pseudonym, &report.encode_to_vec()).await }
    };
    let mut under_way = JoinSet::new();
    for number in 0..records {
        let report = report(number, people, now_ms);
        for click in &report.clicks {
            under_way.spawn(send(&SINGLES, ClicksReported { clicks: vec![click.clone()], ..report.clone() }));
        }
        under_way.spawn(send(&FEW, report.clone()));
        under_way.spawn(send(&CLICKSTREAM_RAW, report));
        while under_way.len() as u64 >= AT_ONCE {
            under_way.join_next().await.context("something is under way")???;
        }
    }
    while let Some(sent) = under_way.join_next().await {
        sent??;
    }
    write_features(folder)?;
    for (word, topic) in [("topic", &CLICKSTREAM_RAW), ("few", &FEW), ("singles", &SINGLES)] {
        println!("{word} {}", kafka.topic_name(topic, region));
    }
    println!("ready");
    Ok(())
}

/// The service's consumer, and what it has done.
struct Counting {
    inner: ClickConsumer,
    records: AtomicU64,
    clicks: AtomicU64,
}

#[async_trait]
impl BatchHandler for Counting {
    async fn handle(&self, partition: i32, records: &[Record]) -> Result<()> {
        self.inner.handle(partition, records).await?;
        self.count(records);
        Ok(())
    }

    async fn handle_as_first(&self, partition: i32, records: &[Record]) -> Result<()> {
        self.inner.handle_as_first(partition, records).await?;
        self.count(records);
        Ok(())
    }
}

impl Counting {
    fn count(&self, records: &[Record]) {
        self.records.fetch_add(records.len() as u64, Ordering::Relaxed);
        self.clicks.fetch_add(records.len() as u64 * CLICKS, Ordering::Relaxed);
    }
}

async fn fold(bench: &Bench) -> Result<()> {
    // Lines and spans as in the service, so that they cost what they cost there.
    let _telemetry = chassis::telemetry::install("personalization", Role::Work, &bench.config.common)?;
    println!("ready");
    let lines = std::io::stdin().lock().lines();
    for line in lines {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let (wanted, topic) = match words[..] {
            ["go", records, "all"] => (records.parse()?, &CLICKSTREAM_RAW),
            ["go", records, "few"] => (records.parse()?, &FEW),
            _ => bail!("a pass is asked for by `go RECORDS all` or `go RECORDS few`"),
        };
        let [records, clicks, people] = pass(bench, wanted, topic).await?;
        println!("done {records} {clicks} {people}");
    }
    Ok(())
}

async fn pass(bench: &Bench, wanted: u64, topic: &'static Topic) -> Result<[u64; 3]> {
    let (kafka, region) = (&bench.config.kafka, bench.process.site().region);
    let mut redis = redis::Client::open(bench.config.redis.url.open())?.get_multiplexed_async_connection().await?;
    redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await?;
    let store = bench.store()?;
    bench.learn_products(&store).await?;
    // Each pass begins at the beginning: a group of its own. It is one for each pass, and there are some tens of passes.
    let group: &'static str = format!("bench-fold-{}", ids::random()).leak();
    let inner = bench.clicks(&store, group)?;
    let counting = Arc::new(Counting { inner, records: AtomicU64::new(0), clicks: AtomicU64::new(0) });
    let consumer = BatchConsumer::new(group, &[topic], region, kafka, counting.clone())?;
    let stop = CancellationToken::new();
    // A worker leads the index of visits as well.
    let visits = Arc::new(VisitIndex::default());
    let kept = wiring::keep_visits(visits, Arc::new(store), VisitFile::default(), stop.clone());
    let (kept, running) = (tokio::spawn(kept), tokio::spawn(consumer.run(stop.clone())));
    let (mut done, mut since) = (0, Instant::now());
    while done < wanted {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = counting.records.load(Ordering::Relaxed);
        if now > done {
            (done, since) = (now, Instant::now());
        }
        if since.elapsed() > STUCK {
            bail!("{done} of {wanted} records were folded, and nothing happens");
        }
    }
    stop.cancel();
    running.await??;
    kept.await?;
    let people: BTreeSet<String> = (0..wanted.div_ceil(REPORTS)).map(person).collect();
    let keys: Vec<String> = people.iter().map(|person| contracts::interest::profile_key(person)).collect();
    let people = redis::cmd("EXISTS").arg(keys).query_async::<u64>(&mut redis).await?;
    Ok([counting.records.load(Ordering::Relaxed), counting.clicks.load(Ordering::Relaxed), people])
}

async fn work(bench: &Bench) -> Result<()> {
    // Lines and spans as in the service, so that they cost what they cost there.
    let _telemetry = chassis::telemetry::install("personalization", Role::Work, &bench.config.common)?;
    let topics = [&CLICKSTREAM_RAW, &CLICKSTREAM_PARKED, &ORDER_COMPLETED, &PRODUCT_CHANGED];
    messaging::create_topics(&bench.config.kafka, bench.process.site().region, &topics).await?;
    bench.learn_products(&bench.store()?).await?;
    wiring::work(&bench.config, &bench.process)?;
    println!("ready");
    std::future::pending().await
}

async fn serve(mut bench: Bench, port: u16) -> Result<()> {
    // Lines and spans as in the service, so that they cost what they cost there.
    let _telemetry = chassis::telemetry::install("personalization", Role::Serve, &bench.config.common)?;
    bench.config.http.port = port;
    let store = bench.store()?;
    let app: App = wiring::app(&store, &bench.process, bench.trials(&store)?);
    let shutdown = bench.process.shutdown();
    let visits =
        wiring::keep_visits(app.visits.clone(), Arc::new(store.clone()), VisitFile::default(), shutdown.clone());
    bench.process.spawn("visits", visits);
    let watching = App { shelves: Arc::new(store.clone()), features: Arc::new(store), ..app.clone() };
    bench.process.spawn("popularity", wiring::watch(watching, shutdown));
    let api = Api { app: Arc::new(app), pseudonym_key: Arc::new(bench.config.pseudonym.key.clone()) };
    chassis::http::serve(&bench.process, &bench.config.http, router(api), None).await?;
    println!("ready");
    tokio::task::spawn_blocking(|| {
        for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
            let so_far = |degraded| RECOMMENDATIONS.with_label_values(&["for_you", degraded]).get();
            println!("done {} {}", so_far("no"), so_far("yes"));
        }
    });
    std::future::pending().await
}
