//! The one place that knows every concrete type: builds the application from its settings and starts the parts of a role.
//! Tests build theirs with the same functions.

pub mod products;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chassis::auth::{Authenticator, RedisSessions};
use chassis::config::ConfigError;
use chassis::http::Shelf;
use chassis::{Process, Role};
use contracts::topics::{ORDER_COMPENSATED, ORDER_COMPLETED, ORDER_CREATED, ORDER_PAYMENT_PENDING};
use contracts::{Topic, topics};
use messaging::{Consumer, Database, Epoch, Relay};
use sqlx::migrate::Migrator;

use crate::config::{self, Config};
use crate::domain::audit::Finding;
use crate::domain::centre::Centres;
use crate::inbound::events::{self, SagaEvents};
use crate::inbound::{grpc, http, promotions, stock_watch};
use crate::outbound::orders::OrderStates;
use crate::outbound::postgres::PgStock;
use crate::usecases::App;
use crate::usecases::keep_standings::Known;
use crate::usecases::ports::products::ProductPorts;
use crate::usecases::ports::stock::{CONSUMER, StockStore as _};
use crate::usecases::reservation_batcher::ReservationBatcher;

/// The tables of the database `inventory`; those of `messaging` come before them.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/inventory");

/// The role that the service itself uses; migrations grant it what it needs.
const APP_ROLE: &str = "inventory_app";

/// Findings that `check` prints: more would not be read.
const FINDINGS_SHOWN: u16 = 100;

pub struct Service;

impl chassis::Service for Service {
    const NAME: &'static str = "catalog";
    const DEFAULTS: &'static str = include_str!("../../config.default.toml");
    type Config = Config;

    fn check(config: &Config) -> Result<(), ConfigError> {
        config::check(config)
    }

    async fn start(role: Role, config: Config, process: &Process) -> anyhow::Result<()> {
        match role {
            Role::Serve => serve(&config, process).await,
            Role::Work => work(&config, process).await,
            Role::Migrate => migrate(&config, process).await,
            Role::Check => check(&config, process).await,
            Role::Redrive => redrive(&config, process).await,
            Role::Settle => anyhow::bail!("this service moves no money, so it has no day to settle"),
        }
    }
}

/// The application over `database` and `products`.
///
/// # Errors
/// A setting that cannot be used.
pub fn app(config: &Config, process: &Process, database: Database, products: ProductPorts) -> anyhow::Result<Arc<App>> {
    let region = process.site().region;
    let centres = Centres::of(region).context("topology")?;
    Ok(Arc::new(App {
        region,
        centres: centres.clone(),
        clock: process.clock(),
        stock: Arc::new(PgStock::new(database, centres)),
        orders: Arc::new(OrderStates::new(&config.order_payment.grpc_url).context("order_payment.grpc_url")?),
        reservations: ReservationBatcher::default(),
        products,
    }))
}

/// The topics this service writes, by the table of topics.
pub fn written_topics() -> Vec<&'static Topic> {
    topics::TOPICS.iter().copied().filter(|topic| topic.writer == "catalog").collect()
}

async fn serve(config: &Config, process: &Process) -> anyhow::Result<()> {
    let database = database(config, process).await?;
    let products = products::connect(config, process, &database).await?;
    let app = app(config, process, database.clone(), products)?;
    process.spawn_work(promotions::learn(app.products.promotions.clone(), process.shutdown()));
    let stock_watch = PgStock::new(database.clone(), app.centres.clone());
    let parked = operations::Desk {
        service: "catalog",
        database,
        topic_prefix: config.kafka.topic_prefix.clone(),
        consumer: Some((CONSUMER, Arc::new(SagaEvents::new(app.clone())))),
    };
    let pages = products::pages(config, process, &app, Arc::new(stock_watch))?;
    let routes = http::router_over(pages.clone(), app.clone())
        .merge(http::strip::router(app.clone(), products::recommender(config)?, pages.clone()))
        .merge(operations::router(parked));
    let sessions = RedisSessions::connect(&config.redis, Duration::from_millis(config.auth.session_deadline_ms))?;
    let authenticator = Authenticator::start(process, &config.auth, sessions)?;
    let front = (pages as Arc<dyn Shelf>, &config.common.telemetry);
    chassis::http::serve_behind(process, &config.http, routes, Some(authenticator), front).await?;
    chassis::grpc::serve(process, &config.grpc, grpc::routes(app)).await?;
    Ok(())
}

async fn work(config: &Config, process: &Process) -> anyhow::Result<()> {
    let database = database(config, process).await?;
    let stock = PgStock::new(database.clone(), Centres::of(process.site().region).context("topology")?);
    let known = Arc::new(Known::new(Arc::new(stock.clone())));
    let mut products = products::connect(config, process, &database).await?;
    products.index = Arc::new(products::index(config, process)?.knowing(known.clone()));
    let app = app(config, process, database.clone(), products)?;
    let consumer = Consumer::new(
        CONSUMER,
        &events::TOPICS,
        database.clone(),
        &config.kafka,
        Arc::new(SagaEvents::new(app.clone())),
    )?
    // New orders of all partitions meet in one batcher, and what becomes of them meets in the store's commits.
    .overlapping(&ORDER_CREATED)
    .overlapping(&ORDER_PAYMENT_PENDING)
    .overlapping(&ORDER_COMPLETED)
    .overlapping(&ORDER_COMPENSATED);
    let relay = Relay::new(database, &config.kafka)?;
    process.spawn("saga-consumer", consumer.run(process.shutdown()));
    process.spawn("outbox-relay", relay.run(process.shutdown()));
    process.spawn("stock-holds", stock_watch::holds(app.clone(), process.shutdown()));
    process.spawn("stock-parcels", stock_watch::parcels(app.clone(), process.shutdown()));
    process.spawn("stock-audit", stock_watch::audit(app.clone(), process.shutdown()));
    process.spawn("stock-findings", stock_watch::findings(app.clone(), process.shutdown()));
    products::spawn_workers(config, process, app, (known, stock)).await
}

async fn migrate(config: &Config, process: &Process) -> anyhow::Result<()> {
    let owner_url = config.database.owner_url.as_deref().context("database.owner_url is needed to migrate")?;
    let site = process.site();
    messaging::migrate(owner_url, APP_ROLE, site.region, site.epoch, &site.name, &MIGRATOR)
        .await
        .context("inventory could not be migrated")?;
    tracing::info!("schema is up to date");
    messaging::create_topics(&config.kafka, site.region, &written_topics())
        .await
        .context("topics could not be created")?;
    let database = database(config, process).await?;
    let stock = PgStock::new(database, Centres::of(site.region).context("topology")?);
    products::prepare(config, process, Arc::new(Known::new(Arc::new(stock)))).await
}

async fn check(config: &Config, process: &Process) -> anyhow::Result<()> {
    let database = database(config, process).await?;
    database.writable().await.map_err(anyhow::Error::msg)?;
    tracing::info!("database is reachable, up to date and writable");
    stock_findings(&database, process).await?;
    let stock = PgStock::new(database, Centres::of(process.site().region).context("topology")?);
    products::check(config, process, Arc::new(Known::new(Arc::new(stock)))).await
}

/// Says which counts do not follow from their movements, as the audit of the role work left them.
async fn stock_findings(database: &Database, process: &Process) -> anyhow::Result<()> {
    let stock = PgStock::new(database.clone(), Centres::of(process.site().region)?);
    let findings = stock.open_findings(FINDINGS_SHOWN).await?;
    for Finding { place: (sku, centre), counter, expected, found } in &findings {
        tracing::error!(%sku, fulfilment_centre = %centre, counter, expected, found, "a count of the stock is wrong");
    }
    anyhow::ensure!(findings.is_empty(), "{} counts of the stock do not follow from their movements", findings.len());
    tracing::info!("every count of the stock follows from its movements");
    Ok(())
}

async fn redrive(config: &Config, process: &Process) -> anyhow::Result<()> {
    let database = database(config, process).await?;
    let products = products::connect(config, process, &database).await?;
    let handler = Arc::new(SagaEvents::new(app(config, process, database.clone(), products)?));
    let redriven = messaging::redrive(&database, CONSUMER, &config.kafka.topic_prefix, handler).await?;
    tracing::info!(applied = redriven.applied, waiting = redriven.waiting, "parked messages redriven");
    Ok(())
}

/// Declines to start while a migration is pending.
async fn database(config: &Config, process: &Process) -> anyhow::Result<Database> {
    let site = process.site();
    let database = Database::connect(&config.database, site.region, Epoch::new(site.epoch)).context("database.url")?;
    messaging::schema::verify(&database, &MIGRATOR).await.context("database inventory")?;
    let asked = database.clone();
    process.readiness().add("postgres", move || ping(asked.clone()));
    let fence = database.clone();
    process.writable().add("fence", move || {
        let fence = fence.clone();
        async move { fence.writable().await }
    });
    Ok(database)
}

async fn ping(database: Database) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1").execute(database.pool()).await.map(drop)
}
