//! Wiring of the product half: its stores, its index, its cache, and the two workers that carry changes from one to the other.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use chassis::redis_client::{Limits, RedisClient};
use chassis::{Process, Role};
use contracts::topics;
use messaging::{BatchConsumer, Database, Epoch, Hears, Publisher, Tail};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::cursor::CursorSeal;
use crate::inbound::edge_news::{self, Post, Renewing};
use crate::inbound::freshness::{Revisions, follow_stock};
use crate::inbound::http::finished::{PageSettings, Pages};
use crate::inbound::indexer::Indexer;
use crate::inbound::purges::Purges;
use crate::inbound::{index_watch, relay, stand_in, standings, turns};
use crate::outbound::audit::OperatorActions;
use crate::outbound::cache::{CacheSettings, RedisCache};
use crate::outbound::cdn::PurgeWebhook;
use crate::outbound::feed::KafkaFeed;
use crate::outbound::mongo::{self, MongoLabels, MongoProducts, MongoPromotions};
use crate::outbound::pictures::PictureFolder;
use crate::outbound::postgres::PgStock;
use crate::outbound::ratings::RedisRatings;
use crate::outbound::recommendations::GrpcRecommender;
use crate::outbound::search::{ElasticProducts, Prepared, SearchSettings};
use crate::outbound::trends::GrpcTrends;
use crate::usecases::App;
use crate::usecases::families::{Families, InNewestForm, Migrated, migrate_products};
use crate::usecases::index_products::{finish_rebuild, rebuild_index};
use crate::usecases::keep_standings::Known;
use crate::usecases::labels::Labels;
use crate::usecases::ports::pages::StockWatch;
use crate::usecases::ports::products::ProductPorts;
use crate::usecases::promotions::Promotions;
use crate::usecases::publish_products::Round;
use crate::usecases::stand_in::StandIn;
use crate::usecases::tell_products::tell_products;

/// The consumer group of the search index.
const INDEXER: &str = "catalog-indexer";

/// The consumer group that tells the edge.
const PURGER: &str = "catalog-cdn";

/// The word after `migrate` that asks for a new index.
const REINDEX: &str = "reindex";
/// The word after `migrate` that writes products anew under the newest schemas of their families.
const SCHEMAS: &str = "schemas";
/// The word after `migrate` that tells the feed of every product once more.
const TELL: &str = "tell";
/// The word after `check` that asks for a comparison of the index with the store.
const AUDIT: &str = "index";

/// After a search's own deadline, until the index that it met may go: it was sent a moment before the clock began to count.
const SEARCHES_END: Duration = Duration::from_secs(1);

/// Longest wait for Redis to connect, and between tries; callers wait less by their own deadlines.
const REDIS_TIMEOUT: Duration = Duration::from_millis(500);
const REDIS_PAUSE: Duration = Duration::from_millis(100);

/// Between tries to open the connection to Redis while it is away.
const REDIS_KNOCK: Duration = Duration::from_secs(1);
/// Longest wait for the document store before readiness asks whether the index answers instead: half the time of a probe.
const STORE_PATIENCE: Duration = Duration::from_millis(500);

/// Everything the product use cases work with. Connects when first used; readiness waits until store and index answered once,
/// or one of them while the other is away. Nothing waits for Redis: all that it has is left out or read from the store.
pub async fn connect(config: &Config, process: &Process, database: &Database) -> anyhow::Result<ProductPorts> {
    let store = store(config).await?;
    let index = index(config, process)?;
    let redis = redis(config)?;
    let region = process.site().region;
    let ratings = RedisRatings::new(
        redis.clone(),
        config.pseudonym.key.open().as_bytes(),
        Duration::from_millis(config.ratings.patience_ms),
    );
    let ratings = Arc::new(ratings);
    let settings = CacheSettings {
        shared: Duration::from_secs(config.cache.shared_ttl_s),
        local: Duration::from_millis(config.cache.local_ttl_ms),
        local_entries: config.cache.local_entries,
    };
    let (asked_store, asked_index, other_index) = (store.clone(), index.clone(), index.clone());
    once(process, "mongo", move || ping_store(asked_store.clone(), other_index.clone()));
    let stand_in = Arc::new(StandIn::new(region, config.stand_in.max_bytes));
    let instead = stand_in.clone();
    once(process, "elasticsearch", move || ping_index(asked_index.clone(), instead.clone()));
    process.spawn_work(open_redis(ratings.clone(), process.shutdown()));
    let families = Families::new(Arc::new(store.clone()));
    // Schemas that cannot be read yet are read by the loop below or by the first write; until then products are seen as they are
    // kept, and none is accepted.
    if let Err(error) = families.refresh().await {
        tracing::warn!(reason = %error, "the schemas of families are not known yet");
    }
    process.spawn("family-schemas", follow_schemas(families.clone(), process.shutdown()));
    let promotions = Arc::new(Promotions::new(Arc::new(MongoPromotions::beside(&store))));
    let labels = Arc::new(Labels::new(Arc::new(MongoLabels::beside(&store))));
    // Until the loop beside the pages can read them, keys are shown in words.
    if let Err(error) = labels.refresh().await {
        tracing::warn!(reason = %error, "the names of categories and attributes are not known yet");
    }
    Ok(ProductPorts {
        store: Arc::new(InNewestForm::new(Arc::new(store), families.clone())),
        families,
        pictures: Arc::new(PictureFolder::new(PathBuf::from(&config.pictures.folder))),
        index: Arc::new(index),
        stand_in,
        cache: Arc::new(RedisCache::new(redis, region, settings)),
        ratings,
        promotions,
        labels,
        cursors: CursorSeal::new(config.pseudonym.key.open().as_bytes()),
        audit: Arc::new(OperatorActions::new(database.clone())),
    })
}

/// Between two looks at the schemas that other processes may have added. What is written meanwhile is checked against the
/// version before, which stands beside the new one.
const SCHEMAS_PAUSE: Duration = Duration::from_secs(10);
/// The same until they were read once.
const FIRST_SCHEMAS_PAUSE: Duration = Duration::from_secs(1);

async fn follow_schemas(families: Families, shutdown: CancellationToken) {
    loop {
        let pause = if families.are_known() { SCHEMAS_PAUSE } else { FIRST_SCHEMAS_PAUSE };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        if let Err(error) = families.refresh().await {
            tracing::warn!(reason = %error, "the schemas of families could not be read");
        }
    }
}

/// Between two looks at the names that were changed since. This long a page may show an old one, and a shared cache as long as it keeps
/// the answer (`pages`).
const LABELS_PAUSE: Duration = Duration::from_secs(10);
/// The same until they were read once.
const FIRST_LABELS_PAUSE: Duration = Duration::from_secs(1);

async fn follow_labels(labels: Arc<Labels>, shutdown: CancellationToken) {
    let mut pause = FIRST_LABELS_PAUSE;
    loop {
        match labels.refresh().await {
            Ok(()) => pause = LABELS_PAUSE,
            Err(error) => tracing::warn!(reason = %error, "the names of categories and attributes could not be read"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Role serve: the finished pages, and those who keep them true: one hears of revisions, one of the stock, one of names, one renews.
pub fn pages(
    config: &Config,
    process: &Process,
    app: &Arc<App>,
    stock: Arc<dyn StockWatch>,
) -> anyhow::Result<Arc<Pages>> {
    let settings = PageSettings {
        max_bytes: config.pages.max_bytes,
        fresh: Duration::from_millis(config.pages.fresh_ms),
        stale: Duration::from_millis(config.pages.stale_ms),
    };
    let pages = Pages::new(app.clone(), settings);
    let mut hear: Vec<Arc<dyn Hears>> = vec![Arc::new(Revisions::new(pages.clone(), app.region))];
    let keeps_stand_in = config.stand_in.max_bytes > 0;
    if keeps_stand_in {
        hear.push(Arc::new(stand_in::News::new(app.products.stand_in.clone(), app.region)));
    }
    let hear = Arc::new(stand_in::All(hear));
    let tail =
        Tail::new("catalog-pages", &[&topics::PRODUCT_CHANGED], app.region, &config.kafka, hear).context("kafka")?;
    process.spawn("pages-revisions", tail.run(process.shutdown()));
    if keeps_stand_in {
        let (store, kept) = (app.products.store.clone(), app.products.stand_in.clone());
        process.spawn("stand-in", stand_in::keep(store, kept, process.shutdown()));
    }
    process.spawn("pages-stock", follow_stock(app.clone(), stock, pages.clone(), process.shutdown()));
    process.spawn("pages-labels", follow_labels(app.products.labels.clone(), process.shutdown()));
    process.spawn("pages-renewal", pages.clone().renew_stale(process.shutdown()));
    Ok(pages)
}

/// Role serve: who knows what goes with what.
pub fn recommender(config: &Config) -> anyhow::Result<Arc<GrpcRecommender>> {
    let patience = Duration::from_millis(config.personalization.patience_ms);
    let key = config.pseudonym.key.open().as_bytes();
    let recommender = GrpcRecommender::new(&config.personalization.grpc_url, key, patience);
    recommender.map(Arc::new).context("personalization.grpc_url")
}

/// Role work: tells the feed what was written, and brings the index up to the feed.
pub async fn spawn_workers(
    config: &Config,
    process: &Process,
    app: Arc<App>,
    (known, stock): (Arc<Known>, PgStock),
) -> anyhow::Result<()> {
    let site = process.site();
    let publisher = Publisher::new(&config.kafka, site.region, Epoch::new(site.epoch)).context("kafka")?;
    let feed = KafkaFeed::new(publisher);
    let indexer = Arc::new(Indexer::new(app.clone()));
    let consumer = BatchConsumer::new(INDEXER, &[&topics::PRODUCT_CHANGED], site.region, &config.kafka, indexer)
        .context("kafka")?;
    let post = spawn_edge(config, process)?;
    let shutdown = process.shutdown();
    let told = app.clone();
    process.spawn("product-relay", async move { relay::run(&*told.products.store, &feed, shutdown).await });
    process.spawn("product-indexer", consumer.run(process.shutdown()));
    let knowing = || anyhow::Ok(index(config, process)?.knowing(known.clone()));
    let renewing = || anyhow::Ok(Renewing::new(knowing()?, post.clone()));
    let (turning, products, shutdown) = (renewing()?, app.products.store.clone(), process.shutdown());
    process.spawn("product-turns", async move { turns::run(&*products, &turning, shutdown).await });
    let (audited, products, clock) = (knowing()?, app.products.store.clone(), process.clock());
    let shutdown = process.shutdown();
    process.spawn("index-audit", async move { index_watch::audit(&*products, &audited, clock, shutdown).await });
    let trends = GrpcTrends::new(&config.personalization.grpc_url).context("personalization.grpc_url")?;
    let (standing, products, shutdown) = (renewing()?, app.products.store.clone(), process.shutdown());
    process.spawn("product-standings", async move {
        standings::run(&*products, &standing, &known, (&stock, &trends, &post), shutdown).await;
    });
    Ok(())
}

/// Tells the edge, where there is one, which copies of our answers are out of date: changes of products from the feed, the rest from what
/// is put down at the post that comes back.
fn spawn_edge(config: &Config, process: &Process) -> anyhow::Result<Post> {
    if config.cdn.purge_url.is_empty() {
        return Ok(Post::default());
    }
    let webhook = PurgeWebhook::new(&config.cdn.purge_url, config.cdn.purge_token.clone()).context("cdn")?;
    let webhook = Arc::new(webhook);
    let purges = Arc::new(Purges::new(webhook.clone(), process.clock()));
    let region = process.site().region;
    let consumer =
        BatchConsumer::new(PURGER, &[&topics::PRODUCT_CHANGED], region, &config.kafka, purges).context("kafka")?;
    process.spawn("edge-purges", consumer.run(process.shutdown()));
    let ((post, news), shutdown) = (edge_news::post(), process.shutdown());
    process.spawn("edge-news", async move { edge_news::tell(&*webhook, news, shutdown).await });
    Ok(post)
}

/// Role migrate: collection, indexes, index template, index and alias. An index that was lost comes back by itself, filled from the store
/// before anybody uses it, and a rebuild that did not finish is finished; `migrate reindex` builds the next one. `migrate tell` tells the
/// feed of every product once more.
pub async fn prepare(config: &Config, process: &Process, known: Arc<Known>) -> anyhow::Result<()> {
    debug_assert_eq!(process.role(), Role::Migrate);
    mongo::migrate(config.mongo.url.open(), &config.mongo.database, config.mongo.ferretdb_postgres_url.open()).await?;
    let (store, families) = store_and_families(config).await?;
    if process.arguments().iter().any(|word| word == SCHEMAS) {
        let progress = |migrated: Migrated, of: usize| {
            let Migrated { adopted, current, stubborn, overtaken } = migrated;
            let done = adopted + current + stubborn + overtaken;
            tracing::info!(done, of, adopted, current, stubborn, overtaken, "products go over to the newest schemas");
        };
        let (region, clock) = (process.site().region, process.clock());
        migrate_products(&store, &families.known(), region, &clock, progress).await?;
        return Ok(());
    }
    let store = InNewestForm::new(Arc::new(store), families);
    if process.arguments().iter().any(|word| word == TELL) {
        let site = process.site();
        let publisher = Publisher::new(&config.kafka, site.region, Epoch::new(site.epoch)).context("kafka")?;
        let Round { told, left_out, .. } = tell_products(&store, &KafkaFeed::new(publisher)).await?;
        tracing::info!(told, left_out, "every product is told again");
        return Ok(());
    }
    let index = index(config, process)?.knowing(known);
    let patience = Duration::from_millis(config.elasticsearch.search_deadline_ms) + SEARCHES_END;
    let prepared = index.migrate().await?;
    if !process.arguments().iter().any(|word| word == REINDEX) {
        match prepared {
            Prepared::WasThere => return Ok(()),
            Prepared::Unfinished { index: current, former } => {
                tracing::info!(search.index = %current, ?former, "a rebuild of the search index did not finish; it is finished now");
                finish_rebuild(&store, &index, &current, &former, patience).await?;
                return Ok(());
            }
            Prepared::Absent | Prepared::Outdated => {}
        }
    }
    let applied = rebuild_index(&store, &index, patience).await?;
    tracing::info!(written = applied.written, refused = applied.refused, "search index filled");
    Ok(())
}

/// Role check: tries every connection. `check index` also compares the index with the store, product by product, and puts right
/// what differs, with what is `known` of how products stand; it fails when anything did, so that somebody asks why.
pub async fn check(config: &Config, process: &Process, known: Arc<Known>) -> anyhow::Result<()> {
    store(config).await?.ping().await.context("mongo")?;
    tracing::info!("document store is reachable");
    elastic(config, config.common.site.region)?.ping().await.context("elasticsearch")?;
    tracing::info!("search index is reachable");
    redis::cmd("PING").query_async::<()>(&mut redis(config)?).await.context("redis")?;
    tracing::info!("cache is reachable");
    if process.arguments().iter().any(|word| word == AUDIT) {
        let (store, families) = store_and_families(config).await?;
        // As whoever writes the index sees products, else each that went over to a newer schema would differ.
        let store = InNewestForm::new(Arc::new(store), families);
        let index = index(config, process)?.knowing(known);
        let drift = index_watch::look(&store, &index, &process.clock(), Duration::ZERO).await?;
        anyhow::ensure!(drift.total() == 0, "{} products of the search index differed from the store", drift.total());
    }
    Ok(())
}

/// Products as they are kept, and the schemas under which they are to be seen.
async fn store_and_families(config: &Config) -> anyhow::Result<(MongoProducts, Families)> {
    let store = store(config).await?;
    let families = Families::new(Arc::new(store.clone()));
    families.refresh().await?;
    Ok((store, families))
}

async fn store(config: &Config) -> anyhow::Result<MongoProducts> {
    let read_deadline = Duration::from_millis(config.mongo.read_deadline_ms);
    MongoProducts::connect(config.mongo.url.open(), &config.mongo.database, read_deadline).await
}

pub fn index(config: &Config, process: &Process) -> anyhow::Result<ElasticProducts> {
    elastic(config, process.site().region)
}

fn elastic(config: &Config, region: common::Region) -> anyhow::Result<ElasticProducts> {
    let settings = &config.elasticsearch;
    let searches = SearchSettings {
        deadline: Duration::from_millis(settings.search_deadline_ms),
        remembered: Duration::from_millis(settings.remembered_ms),
        grouped: settings.grouped,
    };
    ElasticProducts::with(&settings.url, &settings.index_prefix, region, searches)
}

fn redis(config: &Config) -> anyhow::Result<RedisClient> {
    let limits = Limits { connect: REDIS_TIMEOUT, answer: REDIS_TIMEOUT, tries: 1, pause: REDIS_PAUSE };
    RedisClient::open(config.redis.url.open(), limits)
}

/// A part must have answered once before requests come here. Later failures are answered request by request: without the
/// index the pages still work, without the store the search does, so none of them takes the whole process out. For the same
/// reason `ask` accepts what stands in for its part: a process that starts during an outage is as good as one that outlives it.
/// At a standby the documents cannot be read and no index is there before a promotion, so nothing waits for them.
fn once<F, Fut>(process: &Process, name: &'static str, ask: F)
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), String>> + Send + 'static,
{
    let answered = Arc::new(AtomicBool::new(false));
    process.led().add(name, move || {
        let (answered, asked) = (answered.clone(), ask());
        async move {
            if answered.load(Ordering::Relaxed) {
                return Ok(());
            }
            asked.await?;
            answered.store(true, Ordering::Relaxed);
            Ok::<(), String>(())
        }
    });
}

async fn ping_store(store: MongoProducts, index: ElasticProducts) -> Result<(), String> {
    let store = async { store.ping().await.map_err(|error| error.to_string()) };
    let index = async { index.ping().await.map_err(|error| error.to_string()) };
    one_of(store, index).await
}

/// Whether the first answers within [`STORE_PATIENCE`], else whether the second does; the reason is the first's.
async fn one_of(
    first: impl Future<Output = Result<(), String>>,
    second: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    let reason = match tokio::time::timeout(STORE_PATIENCE, first).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(reason)) => reason,
        Err(_) => format!("no answer within {} ms", STORE_PATIENCE.as_millis()),
    };
    second.await.map_err(|_| reason)
}

/// A process that can answer without the index need not wait for it.
async fn ping_index(index: ElasticProducts, stand_in: Arc<StandIn>) -> Result<(), String> {
    match index.ping().await {
        Err(error) if !stand_in.is_ready() => Err(error.to_string()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Opens the connection, which takes longer than anybody waits for interests; also when Redis comes later than we do.
async fn open_redis(ratings: Arc<RedisRatings>, shutdown: CancellationToken) {
    while let Err(error) = ratings.ping().await {
        tracing::warn!(reason = %error, "redis does not answer yet");
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(REDIS_KNOCK) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_becomes_ready_without_the_store_while_the_index_answers() {
        let up = || std::future::ready(Ok(()));
        let down = |name: &str| std::future::ready(Err(name.to_owned()));
        assert_eq!(one_of(up(), down("index")).await, Ok(()));
        assert_eq!(one_of(down("store"), up()).await, Ok(()));
        assert_eq!(one_of(down("store"), down("index")).await, Err("store".to_owned()));
        // A store that hangs is given up before the probe is.
        assert_eq!(one_of(std::future::pending(), up()).await, Ok(()));
    }
}
