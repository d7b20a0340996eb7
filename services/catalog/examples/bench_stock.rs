//! The catalog's stock half for benchmarks, driven without a broker: `cargo xtask bench` runs it, optimised.
//!
//!     bench_stock prepare OWNER_URL URL BROKERS SKUS UNITS     tables, topics, and goods: BENCH-0, BENCH-1, …, and 1,000 of BENCH-SCARCE
//!     bench_stock hot-sku URL SKU BUYERS SECONDS               buyers of one SKU at once, through the reservation batcher
//!     bench_stock sell-out URL SKU BUYERS                      buyers until nothing is left and each of them was refused
//!
//! A buyer is a loop: one order of one unit, wait for its commit, the next. What is said on the way is one line of JSON. Not
//! decided here: what a result means.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use catalog::domain::centre::Centres;
use catalog::domain::inventory::SupplyKind;
use catalog::domain::lines::{Line, Lines};
use catalog::domain::receipt::{Receipt, ReceiptLine, ReceiptReference};
use catalog::domain::reservation::{Asked, Status};
use catalog::outbound::postgres::PgStock;
use catalog::usecases::ports::stock::{Request, StockStore as _};
use catalog::usecases::reservation_batcher::ReservationBatcher;
use common::{Clock as _, MessageId, OrderId, Region, SharedClock, Sku, SystemClock, UserId, ids};
use contracts::topics::TOPICS;
use messaging::{Database, DatabaseSettings, Epoch, KafkaSettings};

/// As many as the service has by default.
const CONNECTIONS: u32 = 8;
/// To be sold out.
const SCARCE_UNITS: u32 = 1_000;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        match words[..] {
            ["prepare", owner_url, url, brokers, skus, units] => {
                prepare(owner_url, url, brokers, skus.parse()?, units.parse()?).await
            }
            ["hot-sku", url, sku, buyers, seconds] => {
                hot_sku(url, sku, buyers.parse()?, Some(Duration::from_secs(seconds.parse()?))).await
            }
            ["sell-out", url, sku, buyers] => hot_sku(url, sku, buyers.parse()?, None).await,
            _ => bail!("see the head of services/catalog/examples/bench_stock.rs for the words"),
        }
    })
}

fn home() -> Region {
    Region::ALL[0]
}

fn connect(url: &str) -> Result<PgStock> {
    let settings = DatabaseSettings { url: url.to_owned(), owner_url: None, max_connections: CONNECTIONS };
    let database = Database::connect(&settings, home(), Epoch::new(1))?;
    Ok(PgStock::new(database, Centres::of(home())?))
}

async fn prepare(owner_url: &str, url: &str, brokers: &str, skus: usize, units: u32) -> Result<()> {
    let (region, centres) = (home(), Centres::of(home())?);
    messaging::migrate(owner_url, "inventory_app", region, 1, centres.first().as_str(), &catalog::MIGRATOR).await?;
    if !brokers.is_empty() {
        let kafka = KafkaSettings {
            brokers: brokers.to_owned(),
            topic_prefix: String::new(),
            replication: 1,
            tls: messaging::KafkaTls::default(),
        };
        messaging::create_topics(&kafka, region, TOPICS).await?;
    }
    let stock = connect(url)?;
    let mut goods: Vec<(String, u32)> = (0..skus).map(|number| (format!("BENCH-{number}"), units)).collect();
    goods.push(("BENCH-SCARCE".to_owned(), SCARCE_UNITS));
    for (number, goods) in goods.chunks(Receipt::MAX_LINES).enumerate() {
        let line = |(name, quantity): &(String, u32)| {
            Ok(ReceiptLine { sku: Sku::parse(name)?, kind: SupplyKind::Counted, quantity: *quantity })
        };
        let lines = goods.iter().map(line).collect::<Result<Vec<_>>>()?;
        let reference = ReceiptReference::parse(&format!("bench-{number}"))?;
        let receipt = Receipt::new(reference, centres.first().clone(), lines)?;
        stock.receive(&receipt, UserId::from_uuid(ids::random()), SystemClock.now()).await?;
    }
    Ok(())
}

/// For `length`, or until there is nothing left.
async fn hot_sku(url: &str, sku: &str, buyers: usize, length: Option<Duration>) -> Result<()> {
    let (stock, sku) = (Arc::new(connect(url)?), Sku::parse(sku)?);
    let (batcher, clock): (Arc<ReservationBatcher>, SharedClock) = (Arc::default(), Arc::new(SystemClock));
    let (held, rejected) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    let loops = (0..buyers).map(|_| {
        let (stock, sku, batcher, clock) = (stock.clone(), sku.clone(), batcher.clone(), clock.clone());
        let (held, rejected) = (held.clone(), rejected.clone());
        tokio::spawn(async move {
            while length.is_none_or(|length| started.elapsed() < length) {
                let outcome = batcher.reserve(&*stock, &clock, order_of(&sku)?).await;
                let reserved = outcome.context("the leader went away")?.map_err(|error| anyhow!("reserve: {error}"))?;
                match reserved.status {
                    Some(Status::Held) => held.fetch_add(1, Ordering::Relaxed),
                    Some(Status::Rejected) => rejected.fetch_add(1, Ordering::Relaxed),
                    other => bail!("a new order became {other:?}"),
                };
                if length.is_none() && reserved.status == Some(Status::Rejected) {
                    break;
                }
            }
            Ok(())
        })
    });
    for ended in loops.collect::<Vec<_>>() {
        ended.await??;
    }
    let (held, rejected) = (held.load(Ordering::Relaxed), rejected.load(Ordering::Relaxed));
    let seconds = started.elapsed().as_secs_f64();
    println!(r#"{{"held": {held}, "rejected": {rejected}, "seconds": {seconds}}}"#);
    Ok(())
}

fn order_of(sku: &Sku) -> Result<Request> {
    let lines = Lines::new(vec![Line { sku: sku.clone(), quantity: 1 }]).map_err(|error| anyhow!("lines: {error}"))?;
    let asked = Asked { order: OrderId::from_uuid(ids::random()), lines, options: Default::default() };
    Ok(Request { cause: MessageId::from_uuid(ids::random()), asked, traceparent: None })
}
