//! The catalog for benchmarks, each part without what it does not ask: `cargo xtask bench` runs it, optimised.
//!
//!     bench_catalog pages PORT PRODUCTS MAX_BYTES FRESH_S       product pages over a generated catalog; /__pages says how many are kept
//!     bench_catalog fill ELASTICSEARCH PREFIX PRODUCTS          an index of generated products
//!     bench_catalog search PORT ELASTICSEARCH PREFIX GROUPED    searches over that index; GROUPED is true or false
//!     bench_catalog questions ELASTICSEARCH PREFIX TEXT…        what is asked of the index for each text, one a line
//!     bench_catalog stand-in PRODUCTS                           memory of the index's stand-in for each product, and how long it takes
//!     bench_catalog freshness ELASTICSEARCH PREFIX BROKERS RATE SECONDS
//!                                                               changes through feed and indexer, and when a search finds them
//!
//! What runs is the code of the service: its pages, router, index and workers, and the server of chassis with everything around it.
//! Stores that the measured path does not ask are not there. A server says `ready` when it answers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use async_trait::async_trait;
use axum::routing::get;
use catalog::config::Config;
use catalog::domain::centre::Centres;
use catalog::domain::draft::{AttributeDraft, ProductDraft, TextDraft};
use catalog::domain::product::{Revision, State};
use catalog::domain::search_query::SearchQuery;
use catalog::domain::stand_in::{Ask, StandIn};
use catalog::inbound::http::finished::{PageSettings, Pages};
use catalog::inbound::http::router_over;
use catalog::inbound::indexer::Indexer;
use catalog::inbound::relay;
use catalog::outbound::bare;
use catalog::outbound::feed::KafkaFeed;
use catalog::outbound::memory_products::MemoryProducts;
use catalog::outbound::memory_stock::MemoryStock;
use catalog::outbound::search::{ElasticProducts, SearchSettings};
use catalog::usecases::App;
use catalog::usecases::ports::products::{Page, ProductCache, ProductIndex, ProductPorts, ProductStore, StoreDown};
use catalog::usecases::put_product::{By, put_products};
use catalog::usecases::reservation_batcher::ReservationBatcher;
use chassis::http::Shelf;
use chassis::{Process, Role, Service as _};
use common::{Clock as _, Region, Sku, SystemClock, ids};
use contracts::topics;
use futures::{StreamExt as _, TryStreamExt as _};
use messaging::{BatchConsumer, Epoch, KafkaSettings, Publisher};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often somebody looks which products can be found, and how long until all of them have to be.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const GIVE_UP: Duration = Duration::from_secs(120);
/// Begins every SKU.
const PREFIX: &str = "B";

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // One thread for one processor, as in a pod with one.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        match words[..] {
            ["pages", port, products, max_bytes, fresh_s] => {
                let settings = PageSettings {
                    max_bytes: max_bytes.parse()?,
                    fresh: Duration::from_secs(fresh_s.parse()?),
                    stale: Duration::from_secs(3_600),
                };
                serve(port.parse()?, MadeUp { products: products.parse()? }, Arc::new(bare::Absent), settings).await
            }
            ["fill", url, prefix, products] => fill(&index(url, prefix, true)?, products.parse()?).await,
            ["search", port, url, prefix, grouped] => {
                let index = Arc::new(index(url, prefix, grouped.parse()?)?);
                serve(port.parse()?, MadeUp { products: 0 }, index, PageSettings::default()).await
            }
            ["stand-in", products] => stand_in(products.parse()?),
            ["questions", url, prefix, ref texts @ ..] => questions(&index(url, prefix, true)?, texts),
            ["freshness", url, prefix, brokers, rate, seconds] => {
                freshness(url, index(url, prefix, true)?, brokers, rate.parse()?, seconds.parse()?).await
            }
            _ => bail!("see the head of services/catalog/examples/bench_catalog.rs for the words"),
        }
    })
}

fn home() -> Region {
    Region::ALL[0]
}

fn language() -> &'static str {
    home().languages().first().copied().unwrap_or("en")
}

/// Nothing is remembered: a search that was asked before is not what is measured.
fn index(url: &str, prefix: &str, grouped: bool) -> Result<ElasticProducts> {
    let settings = SearchSettings { deadline: Duration::from_secs(10), remembered: Duration::ZERO, grouped };
    ElasticProducts::with(url, prefix, home(), settings)
}

async fn fill(index: &ElasticProducts, products: u64) -> Result<()> {
    index.create().await?;
    let all: Vec<u64> = (0..products).collect();
    for portion in all.chunks(500) {
        let made = portion.iter().map(|number| {
            let sku = Sku::parse(&format!("{PREFIX}{number:07}"))?;
            product(&sku, *number).context("a generated product is one")
        });
        let applied = index.apply(&made.collect::<Result<Vec<_>>>()?).await?;
        anyhow::ensure!(applied.refused == 0, "the index refused {} products", applied.refused);
    }
    Ok(index.refresh().await?)
}

fn questions(index: &ElasticProducts, texts: &[&str]) -> Result<()> {
    for text in texts {
        let query = SearchQuery::parse(&[("q".to_owned(), (*text).to_owned())], home().currency())
            .map_err(|_| anyhow!("no search: {text}"))?;
        println!("{}", index.question(Page { query: &query, language: language(), from: 0, size: query.limit }));
    }
    Ok(())
}

/// Resident memory before and after, and the slowest of a few questions that cost most.
fn stand_in(products: u64) -> Result<()> {
    let before = resident_bytes()?;
    let mut kept = StandIn::new(home(), usize::MAX);
    for number in 0..products {
        let sku = Sku::parse(&format!("{PREFIX}{number:07}"))?;
        kept.apply(&product(&sku, number).context("a generated product is one")?);
    }
    let resident = resident_bytes()?.saturating_sub(before);
    // Every product has the first word; the others begin many.
    let texts = ["device", "maker 1", "black device maker", "gerät rot 4", "B0000042"];
    let mut slowest = (0.0, "");
    for text in texts {
        let query = SearchQuery::parse(&[("q".to_owned(), text.to_owned())], home().currency())
            .map_err(|_| anyhow!("no search: {text}"))?;
        let begun = Instant::now();
        let found = kept.search(Ask { query: &query, language: language(), at: SystemClock.now(), from: 0, size: 100 });
        let took = begun.elapsed().as_secs_f64() * 1_000.0;
        anyhow::ensure!(found.total > 0, "nothing is found for {text}");
        if took > slowest.0 {
            slowest = (took, text);
        }
    }
    println!(
        "{{\"products\":{},\"resident_bytes_each\":{},\"reckoned_bytes_each\":{},\"slowest_ms\":{:.1},\"slowest\":\"{}\"}}",
        kept.count(),
        resident / products.max(1),
        kept.bytes() as u64 / products.max(1),
        slowest.0,
        slowest.1
    );
    Ok(())
}

fn resident_bytes() -> Result<u64> {
    /// Linux counts them in pages of this size on the machines we build for.
    const PAGE: u64 = 4_096;
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let resident: u64 = pages.split_whitespace().nth(1).context("/proc/self/statm")?.parse()?;
    Ok(resident * PAGE)
}

/// Milliseconds from the commit of each until a search found it. One look for all that wait: a search for each would be thousands a second,
/// and what is measured would be those.
async fn found(
    url: &str,
    index: &ElasticProducts,
    waiting: &Mutex<BTreeMap<String, Instant>>,
    count: usize,
) -> Result<Vec<f64>> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    let path = format!("{url}/{}/_search?request_cache=false", index.alias());
    let (begun, mut times) = (Instant::now(), Vec::with_capacity(count));
    while times.len() < count {
        anyhow::ensure!(begun.elapsed() < GIVE_UP, "{} of {count} are found", times.len());
        tokio::time::sleep(LOOK_EVERY).await;
        let wanted: Vec<String> = waiting.lock().map_err(|_| anyhow!("poisoned"))?.keys().cloned().collect();
        let asked = json!({"size": wanted.len(), "_source": false, "query": {"ids": {"values": wanted}}});
        let answer: Value = http.post(&path).json(&asked).send().await?.error_for_status()?.json().await?;
        let hits = answer["hits"]["hits"].as_array().context("an answer without hits")?;
        let mut waiting = waiting.lock().map_err(|_| anyhow!("poisoned"))?;
        for since in hits.iter().filter_map(|hit| waiting.remove(hit["_id"].as_str()?)) {
            times.push(since.elapsed().as_secs_f64() * 1_000.0);
        }
    }
    Ok(times)
}

/// New products at a fixed rate, each looked for until a search finds it; times from the write's commit to the answer that has it.
async fn freshness(url: &str, index: ElasticProducts, brokers: &str, rate: f64, seconds: f64) -> Result<()> {
    let kafka = KafkaSettings {
        brokers: brokers.to_owned(),
        topic_prefix: format!("{}.", ids::time_ordered().simple()),
        replication: 1,
        tls: messaging::KafkaTls::default(),
    };
    messaging::create_topics(&kafka, home(), &[&topics::PRODUCT_CHANGED]).await?;
    index.create().await?;
    let (process, _) = process()?;
    let app = app(&process, MadeUp { products: 0 }, Arc::new(index.clone()))?;
    let feed = KafkaFeed::new(Publisher::new(&kafka, home(), Epoch::new(1))?);
    let indexer = Arc::new(Indexer::new(app.clone()));
    let consumer = BatchConsumer::new("bench-indexer", &[&topics::PRODUCT_CHANGED], home(), &kafka, indexer)?;
    let (relayed, shutdown) = (app.clone(), process.shutdown());
    process.spawn("relay", async move { relay::run(&*relayed.products.store, &feed, shutdown).await });
    process.spawn("indexer", consumer.run(process.shutdown()));
    let begun = Instant::now();
    let count = (rate * seconds) as u64;
    let run = ids::random().simple().to_string();
    let waiting: Mutex<BTreeMap<String, Instant>> = Mutex::default();
    let writes = futures::stream::iter(0..count).map(|number| {
        let (app, run, waiting) = (&app, &run, &waiting);
        async move {
            tokio::time::sleep_until((begun + Duration::from_secs_f64(number as f64 / rate)).into()).await;
            let sku = Sku::parse(&format!("{PREFIX}{}-{number}", &run[..12]))?;
            let made = product(&sku, number).context("a generated product is one")?;
            let State::Live(wanted) = made.state else { bail!("a generated product lives") };
            put_products(app, vec![wanted], &By { author: None, traceparent: None }).await?;
            waiting.lock().map_err(|_| anyhow!("poisoned"))?.insert(sku.to_string(), Instant::now());
            anyhow::Ok(())
        }
    });
    let written = writes.buffer_unordered(usize::try_from(count)?.max(1)).try_for_each(|()| async { Ok(()) });
    let ((), mut times) = tokio::try_join!(written, found(url, &index, &waiting, usize::try_from(count)?))?;
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1];
    let refresh_ms = index.refresh_interval().await?.as_millis();
    println!(
        "{{\"found\":{},\"p50_ms\":{:.1},\"p99_ms\":{:.1},\"refresh_ms\":{refresh_ms}}}",
        times.len(),
        at(0.5),
        at(0.99)
    );
    Ok(())
}

fn process() -> Result<(Process, Config)> {
    let mut config = chassis::config::load::<Config>(catalog::Service::DEFAULTS, None, &[])?.config;
    config.http.bind = Ipv4Addr::LOCALHOST.into();
    let process = Process::new("bench", Role::Serve, &config.common, Arc::new(SystemClock), Vec::new());
    Ok((process, config))
}

fn app(process: &Process, products: MadeUp, index: Arc<dyn ProductIndex>) -> Result<Arc<App>> {
    let region = process.site().region;
    let centres = Centres::of(region).context("topology")?;
    let store = Arc::new(MemoryProducts::default());
    Ok(Arc::new(App {
        region,
        centres: centres.clone(),
        clock: process.clock(),
        stock: Arc::new(MemoryStock::new(centres)),
        orders: Arc::new(bare::Absent),
        reservations: ReservationBatcher::default(),
        products: ProductPorts { index, cache: Arc::new(products), ..bare::products(store) },
    }))
}

async fn serve(port: u16, products: MadeUp, index: Arc<dyn ProductIndex>, settings: PageSettings) -> Result<()> {
    let (process, mut config) = process()?;
    // Lines and spans as in the service, so that they cost what they cost there.
    let _telemetry = chassis::telemetry::install("catalog", Role::Serve, &config.common)?;
    config.http.port = port;
    let app = app(&process, products, index)?;
    let pages = Pages::new(app.clone(), settings);
    let counted = pages.clone();
    let count = move || async move { format!("{{\"pages\":{},\"bytes\":{}}}", counted.count(), counted.bytes()) };
    let routes = router_over(pages.clone(), app).route("/__pages", get(count));
    process.spawn("renewal", pages.clone().renew_stale(process.shutdown()));
    let front = (pages as Arc<dyn Shelf>, &config.common.telemetry);
    chassis::http::serve_behind(&process, &config.http, routes, None, front).await?;
    println!("ready");
    std::future::pending().await
}

/// A catalog of any size that takes no memory: each product is what its number says.
struct MadeUp {
    products: u64,
}

#[async_trait]
impl ProductCache for MadeUp {
    async fn newest(&self, sku: &Sku, _: &Arc<dyn ProductStore>) -> Result<Option<Arc<Revision>>, StoreDown> {
        let number = sku.as_str().strip_prefix(PREFIX).and_then(|number| number.parse().ok());
        let Some(number) = number.filter(|number| *number < self.products) else { return Ok(None) };
        Ok(product(sku, number).map(Arc::new))
    }

    async fn forget(&self, _: &[Sku]) {}
}

/// Like a product of an office shop: 19 attributes and two sentences, 1.5 kB as an answer.
fn product(sku: &Sku, number: u64) -> Option<Revision> {
    const COLOURS: [&str; 7] = ["black", "white", "red", "blue", "grey", "silver", "green"];
    let colour = COLOURS[usize::try_from(number).ok()? % COLOURS.len()];
    let text = |language: &str, name: &str| TextDraft {
        language: language.to_owned(),
        name: format!("{name} {number} {colour}"),
        description: format!(
            "{name} number {number} in {colour}. It does what others of its kind do, and this one is number {number}."
        ),
    };
    let attribute = |key: u64| AttributeDraft {
        key: format!("property_{key}"),
        value: format!("value {}", (number.wrapping_mul(2_654_435_761) >> key) % 1_000),
        unit: key.is_multiple_of(3).then(|| "mm".to_owned()),
    };
    let draft = ProductDraft {
        sku: sku.to_string(),
        family: "gadget".to_owned(),
        category: format!("office/kind-{}", number % 40),
        brand: format!("Maker {}", number % 160),
        texts: vec![text("de", "Gerät"), text("en", "Device")],
        prices: vec![("EUR".to_owned(), format!("{}.90", 1 + number % 900))],
        attributes: (0..19).map(attribute).collect(),
        images: vec![format!("/static/products/{sku}.svg")],
        ..ProductDraft::default()
    };
    let changed_at = chrono::DateTime::from_timestamp(1_700_000_000, 0)?;
    let state = State::Live(draft.check("").ok()?);
    Some(Revision::after(None, 1, state, home(), changed_at, None))
}
