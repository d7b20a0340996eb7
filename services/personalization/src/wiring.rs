//! The one file that knows every concrete type: which role has which parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chassis::Process;
use chassis::auth::{Authenticator, RedisSessions};
use common::SharedClock;
use contracts::Topic;
use contracts::personalization::v1::recommendation_service_server::RecommendationServiceServer;
use contracts::topics::{CLICKSTREAM_PARKED, CLICKSTREAM_RAW, ORDER_COMPLETED, PRODUCT_CHANGED, TOPICS};
use messaging::{BatchConsumer, KafkaSettings, TopicAside, read_through};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::experiment::Arm;
use crate::domain::experiment::tally::Count;
use crate::inbound::clicks::ClickConsumer;
use crate::inbound::grpc::Recommender;
use crate::inbound::http::{self, Api};
use crate::inbound::orders::OrderConsumer;
use crate::inbound::products::ProductConsumer;
use crate::metrics;
use crate::outbound::redis::{Patience, RedisStore};
use crate::outbound::visit_file::VisitFile;
use crate::usecases::ports::{Lists, VISIT_ENTRIES, VisitStream, WriteDown};
use crate::usecases::{
    App, KeptLists, Learner, Popularity, Running, StoreUnavailable, Trials, VisitIndex, follow, follow_visits,
    kept_lists, refresh, watch_popularity, write_exposures, write_lists,
};

/// Consumer groups. Those of products and orders stand alone, so that a flood of clicks does not delay what they mean and led to.
const CLICK_GROUP: &str = "personalization";
const PRODUCT_GROUP: &str = "personalization-features";
const ORDER_GROUP: &str = "personalization-orders";

/// How long an exposure waits to be written down: shorter than anybody needs to pay for an order.
const EXPOSURES_EVERY: Duration = Duration::from_millis(500);

/// How often a learner looks whether the store still has all products. Clicks may wait for it after a loss, and it is one small question.
const PRODUCTS_EVERY: Duration = Duration::from_secs(10);

/// For metrics, beside the group that hears of each change once.
const PRODUCT_READER: &str = "personalization-features-again";

/// How often the sums of experiments are told as metrics.
const SUMS_EVERY: Duration = Duration::from_secs(30);

/// Answers HTTP and gRPC.
///
/// # Errors
/// A malformed setting, or a port that is taken. An absent Redis is no error: answers are then degraded.
pub async fn serve(config: &Config, process: &Process) -> anyhow::Result<()> {
    let store = RedisStore::connect(config.redis.url.open(), "")?;
    let trials = trials(config, process, &store)?;
    if !trials.running.plans().is_empty() {
        process.spawn("experiments", keep_experiments(trials.clone(), process.shutdown()));
    }
    let app = app(&store, process, trials);
    let (kept, lists) = (app.kept.clone(), Arc::new(store.clone()));
    process.spawn("lists", keep_lists(kept, lists, process.clock(), process.shutdown()));
    let (visits, stream) = (app.visits.clone(), Arc::new(store.clone()));
    let (file, shutdown) = (VisitFile::in_folder(&config.visits.folder), process.shutdown());
    // It listens at once, and answers from what it has; requests are sent here when the index is in, which takes seconds when it is large.
    let is_in = Arc::new(AtomicBool::new(false));
    let asked = is_in.clone();
    process.readiness().add("visits", move || {
        let is_in = asked.load(Ordering::Relaxed);
        async move { if is_in { Ok(()) } else { Err("the index of visits is being read") } }
    });
    process.spawn("visits", async move {
        read_visits(&visits, &file).await;
        // Once here, so that the first answers know what the stream says; without the store it is tried again below, and meanwhile
        // no list is kept.
        if let Ok(learned) = follow(&visits, stream.as_ref()).await {
            metrics::VISIT_STEPS.with_label_values::<&str>(&[]).inc_by(learned as u64);
        }
        is_in.store(true, Ordering::Relaxed);
        keep_visits(visits, stream, file, shutdown).await;
    });
    let (shelves, features) = (Arc::new(store.clone()), Arc::new(store.clone()));
    let watching = App { shelves, features, ..app.clone() };
    process.spawn("popularity", watch(watching, process.shutdown()));
    let deadline = Duration::from_millis(config.auth.session_deadline_ms);
    let sessions = RedisSessions::connect(&config.redis, deadline)?;
    let authenticator = Authenticator::start(process, &config.auth, sessions)?;
    let app = Arc::new(app);
    let api = Api { app: app.clone(), pseudonym_key: Arc::new(config.pseudonym.key.clone()) };
    chassis::http::serve(process, &config.http, http::router(api), Some(authenticator)).await?;
    let service =
        RecommendationServiceServer::new(Recommender(app)).max_decoding_message_size(chassis::grpc::MAX_MESSAGE);
    chassis::grpc::serve(process, &config.grpc, tonic::service::Routes::new(service)).await?;
    Ok(())
}

/// What answers work with; tests use it as production does.
pub fn app(store: &RedisStore, process: &Process, trials: Trials) -> App {
    let page = Arc::new(store.with_patience(Patience::Page));
    App {
        shelves: page.clone(),
        features: page,
        popularity: Arc::new(Popularity::default()),
        visits: Arc::new(VisitIndex::default()),
        kept: Arc::new(KeptLists::default()),
        trials,
        clock: process.clock(),
    }
}

/// The experiments that the settings name. Nobody waits for what is written about them.
fn trials(config: &Config, process: &Process, store: &RedisStore) -> anyhow::Result<Trials> {
    let key = config.pseudonym.key.open().as_bytes();
    let running = Running::new(config.plans()?, key, process.site().region.currency());
    Ok(Trials { running: Arc::new(running), tallies: Arc::new(store.clone()) })
}

/// Learns from clicks, products and paid orders.
///
/// # Errors
/// A malformed setting.
pub fn work(config: &Config, process: &Process) -> anyhow::Result<()> {
    let store = RedisStore::connect(config.redis.url.open(), "")?;
    let checked = store.clone();
    process.readiness().add("redis", move || {
        let store = checked.clone();
        async move { store.ping().await }
    });
    // A learner keeps the index too: it is there when no answering process is, and writes it down for those that start.
    let visits = Arc::new(VisitIndex::default());
    process.spawn("visits", keep_visits(visits, Arc::new(store.clone()), VisitFile::default(), process.shutdown()));
    let trials = trials(config, process, &store)?;
    let (interests, features) = (Arc::new(store.clone()), Arc::new(store.clone()));
    let learner = Learner { interests, features, trials, consents: Arc::new(store) };
    let region = process.site().region;
    let aside = Arc::new(TopicAside::new(CLICK_GROUP, &CLICKSTREAM_PARKED, region, &config.kafka)?);
    let clicks = Arc::new(ClickConsumer { learner: learner.clone(), aside, clock: process.clock() });
    let clicks = BatchConsumer::new(CLICK_GROUP, &[&CLICKSTREAM_RAW], region, &config.kafka, clicks)?;
    let pseudonym_key = Arc::new(config.pseudonym.key.clone());
    let orders = Arc::new(OrderConsumer { learner: learner.clone(), pseudonym_key });
    // Also while no experiment runs: a group that stands still would look as if it were behind.
    let orders = BatchConsumer::new(ORDER_GROUP, &[&ORDER_COMPLETED], region, &config.kafka, orders)?;
    let products = Arc::new(ProductConsumer { learner, region });
    let again = keep_products(products.clone(), config.kafka.clone(), process.shutdown());
    let products = BatchConsumer::new(PRODUCT_GROUP, &[&PRODUCT_CHANGED], region, &config.kafka, products)?;
    process.spawn("clicks", clicks.run(process.shutdown()));
    process.spawn("products", products.run(process.shutdown()));
    process.spawn("products-again", again);
    process.spawn("orders", orders.run(process.shutdown()));
    Ok(())
}

/// Creates the topics that this service writes; there is no database to bring up to date.
///
/// # Errors
/// What the broker said.
pub async fn migrate(config: &Config, process: &Process) -> anyhow::Result<()> {
    let written: Vec<&'static Topic> = TOPICS.iter().copied().filter(|topic| topic.writer == crate::NAME).collect();
    messaging::create_topics(&config.kafka, process.site().region, &written).await
}

/// Tries the store.
///
/// # Errors
/// What does not answer.
pub async fn check(config: &Config) -> anyhow::Result<()> {
    RedisStore::connect(config.redis.url.open(), "")?.ping().await?;
    tracing::info!("redis answers");
    Ok(())
}

/// Takes in what a process before this one wrote to this machine's disk, if there is anything.
pub async fn read_visits(visits: &VisitIndex, file: &VisitFile) {
    let file = file.clone();
    if let Ok(Some(bytes)) = tokio::task::spawn_blocking(move || file.read()).await {
        let adopted = visits.adopt_aside(bytes).await;
        tracing::info!(adopted, visits = visits.read(recommender::Index::len), "index of visits read from disk");
    }
}

/// Leads the index of visits on until the process stops, and writes it down: on this machine's disk, and for those that start
/// without a disk in the store, which one process at a time does: now and then, and before the stream forgets what stands behind the last.
pub async fn keep_visits(
    visits: Arc<VisitIndex>,
    stream: Arc<dyn VisitStream>,
    file: VisitFile,
    shutdown: CancellationToken,
) {
    let (mut failing, mut written, mut last) = (false, visits.position(), tokio::time::Instant::now());
    let mut read = visits.entries();
    loop {
        match follow(&visits, stream.as_ref()).await {
            Ok(learned) => {
                failing = false;
                metrics::VISIT_STEPS.with_label_values::<&str>(&[]).inc_by(learned as u64);
            }
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(error = &error as &dyn std::error::Error, "the stream of visits cannot be followed");
            }
            Err(_) => {}
        }
        let stopping = shutdown.is_cancelled();
        let why = if (stopping || last.elapsed() >= follow_visits::WRITE_DOWN) && written != visits.position() {
            (written, last) = (visits.position(), tokio::time::Instant::now());
            Some(WriteDown::Time)
        } else {
            Some(WriteDown::Traffic).filter(|_| visits.entries() - read >= VISIT_ENTRIES / 4)
        };
        if let Some(why) = why {
            read = visits.entries();
            if let Err(error) = write_down(&visits, stream.as_ref(), &file, why).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the index of visits is not in the store");
            }
        }
        if stopping {
            return;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(follow_visits::FOLLOW) => {}
        }
    }
}

/// Made only where somebody takes it, and aside from whoever answers: a large index has twenty megabytes.
async fn write_down(
    visits: &Arc<VisitIndex>,
    stream: &dyn VisitStream,
    file: &VisitFile,
    why: WriteDown,
) -> Result<(), StoreUnavailable> {
    // The disk is this machine's own, whatever the store says. Where it is behind the stream, a start takes what stands in the store.
    let file = if why == WriteDown::Time { file.clone() } else { VisitFile::default() };
    let our_turn = stream.may_write(why).await;
    if !file.is_kept() && !matches!(our_turn, Ok(true)) {
        return our_turn.map(|_| ());
    }
    let visits = visits.clone();
    let bytes = tokio::task::spawn_blocking(move || {
        let bytes = visits.to_bytes();
        if let Err(error) = file.write(&bytes) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the index of visits is not on disk");
        }
        bytes
    });
    let bytes = bytes.await.map_err(|error| StoreUnavailable(error.into()))?;
    if our_turn? { stream.write_snapshot(&bytes).await } else { Ok(()) }
}

/// Reads the topic of products through whenever the store does not have them all, until the process stops. Several learners may do it at
/// once, and beside the group: an older revision replaces no newer one.
pub async fn keep_products(products: Arc<ProductConsumer>, kafka: KafkaSettings, shutdown: CancellationToken) {
    let mut failing = false;
    loop {
        let outcome = tokio::select! {
            () = shutdown.cancelled() => return,
            outcome = learn_all(&products, &kafka) => outcome,
        };
        match outcome {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(error = format!("{error:#}"), "products cannot be learned again");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PRODUCTS_EVERY) => {}
        }
    }
}

async fn learn_all(products: &ProductConsumer, kafka: &KafkaSettings) -> anyhow::Result<()> {
    let features = &products.learner.features;
    if features.are_learned().await? {
        return Ok(());
    }
    let records = read_through(PRODUCT_READER, &PRODUCT_CHANGED, products.region, kafka, products).await?;
    features.all_learned().await?;
    tracing::info!(records, "all products are learned");
    Ok(())
}

/// Refreshes what is popular until the process stops. Failures change nothing: the lists stay as they were.
pub async fn watch(app: App, shutdown: CancellationToken) {
    let mut failing = false;
    loop {
        match refresh(&app).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(error = &error as &dyn std::error::Error, "popularity cannot be refreshed");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(watch_popularity::REFRESH) => {}
        }
    }
}

/// Writes the lists that were made until the process stops. Nobody waits for it, and what the store does not take goes on waiting.
pub async fn keep_lists(kept: Arc<KeptLists>, store: Arc<dyn Lists>, clock: SharedClock, shutdown: CancellationToken) {
    let mut failing = false;
    loop {
        let stopping = shutdown.is_cancelled();
        let pause = match write_lists(&kept, store.as_ref(), clock.now().timestamp_millis()).await {
            Ok(()) => {
                failing = false;
                kept_lists::WRITE
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "lists cannot be kept for other processes"
                    );
                }
                failing = true;
                kept_lists::WRITE_AGAIN
            }
        };
        if stopping {
            return;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Writes down who was shown something of an experiment, and tells the sums, until the process stops.
pub async fn keep_experiments(trials: Trials, shutdown: CancellationToken) {
    let (mut failing, mut told) = (false, None::<tokio::time::Instant>);
    loop {
        let stopping = shutdown.is_cancelled();
        let mut outcome = match write_exposures(&trials).await {
            Ok(people) => {
                metrics::EXPOSURES.with_label_values::<&str>(&[]).inc_by(people as u64);
                Ok(())
            }
            Err(error) => Err(error),
        };
        if outcome.is_ok() && told.is_none_or(|told| told.elapsed() >= SUMS_EVERY) {
            outcome = tell_sums(&trials).await;
            told = Some(tokio::time::Instant::now());
        }
        match outcome {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(error = &error as &dyn std::error::Error, "experiments cannot be written down");
            }
            Err(_) => {}
        }
        if stopping {
            return;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(EXPOSURES_EVERY) => {}
        }
    }
}

async fn tell_sums(trials: &Trials) -> Result<(), StoreUnavailable> {
    for plan in trials.running.plans().iter() {
        let sums = trials.tallies.sums(&plan.series()).await?;
        for arm in Arm::ALL {
            // The squares are for the arithmetic only.
            for of in Count::ALL.into_iter().filter(|of| *of != Count::Squares) {
                let labels = [plan.name.as_str(), arm.code(), of.code()];
                metrics::EXPERIMENT_SUMS.with_label_values(&labels).set(sums.of(arm).get(of));
            }
        }
    }
    Ok(())
}
