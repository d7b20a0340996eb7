//! The one file that knows every concrete type: what each role is made of.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chassis::auth::{Authenticator, RedisSessions};
use chassis::config::Secret;
use chassis::{Process, grpc, http};
use common::{Sku, UserId, ids};
use contracts::Topic;
use contracts::topics::{SHIPMENT_CREATED, STOCK_REJECTED, STOCK_RESERVED, TOPICS};
use messaging::{Consumer, Database, Epoch, Relay, schema};
use tokio::sync::Mutex;

use crate::config::Config;
use crate::domain::BasketLine;
use crate::domain::{Flow, Via};
use crate::inbound::events::{self, Events};
use crate::inbound::grpc as states;
use crate::inbound::http::{Admin, Api, WebhookSettings, WebhookWire, admin_router, router};
use crate::inbound::timers;
use crate::outbound::fraud::{HttpFraudCheck, NoFraudCheck};
use crate::outbound::gate::{NoStandby, StandbyGate};
use crate::outbound::gateway::{Gateways, PaymentIntents, Square};
use crate::outbound::postgres::intake::intake;
use crate::outbound::postgres::{PostgresCarts, PostgresDesk, PostgresStore, PostgresViews};
use crate::outbound::prices::CatalogPrices;
use crate::usecases::ports::{FraudCheck, ReplicationGate};
use crate::usecases::seal_ledger::{Verdict, verify_ledger};
use crate::usecases::settle_day::{Look, settle_day};
use crate::usecases::{App, CONSUMER, Signals};
use crate::{MIGRATOR, NAME};

/// Role that reads and writes rows; rights are granted to it.
const APP_ROLE: &str = "order_payment_app";

/// The application with its real parts. Nothing is connected yet.
///
/// # Errors
/// A setting that cannot be used.
pub fn app(config: &Config, process: &Process, database: &Database) -> anyhow::Result<Arc<App>> {
    app_with(config, process, database, PostgresStore::new(database.clone()))
}

fn app_with(config: &Config, process: &Process, database: &Database, store: PostgresStore) -> anyhow::Result<Arc<App>> {
    let region = process.site().region;
    Ok(Arc::new(App {
        region,
        clock: process.clock(),
        store: Arc::new(store),
        views: Arc::new(PostgresViews::new(database.pool().clone())),
        carts: Arc::new(PostgresCarts::new(database.clone())),
        locks: config.prices.keys(region).context("prices.lock_key")?,
        prices: Arc::new(CatalogPrices::new(&config.catalog.grpc_url).context("catalog.grpc_url")?),
        gateway: Arc::new(gateways(config, region, database.epoch())?),
        gate: gate(config, database),
        fraud: fraud_check(config)?,
        rules: config.rules(),
        signals: Signals { credit_walk: Mutex::new(Some(anybody())), ..Signals::default() },
    }))
}

/// Where the walk over everybody's store credit begins, to come round to the others later. Were it the same for each process, those far from
/// there would never be compared where processes are replaced more often than a walk takes.
fn anybody() -> UserId {
    UserId::from_uuid(ids::random())
}

/// Both gateways when both are configured: the one that is not chosen carries its open attempts to their end.
fn gateways(config: &Config, region: common::Region, epoch: &Epoch) -> anyhow::Result<Gateways> {
    let (first, second) = (&config.gateway, &config.second_gateway);
    let timeout = Duration::from_secs(first.timeout_s.into());
    let intents = PaymentIntents::with_timeout(&first.base_url, first.api_key.clone(), region, epoch.clone(), timeout)?
        .settled_at(&first.settlement_url);
    let mut gateways = Gateways::new(Via { name: first.name.clone(), flow: Flow::MakeThenConfirm }, Arc::new(intents));
    if second.is_there() {
        let square = Square::with_timeout(&second.base_url, second.api_key.clone(), region, epoch.clone(), timeout)?
            .settled_at(&second.settlement_url);
        let via = Via { name: second.name.clone(), flow: Flow::MadeAuthorised };
        gateways = gateways.and(via, Arc::new(square));
    }
    if first.new_attempts.is_empty() { Ok(gateways) } else { gateways.choose(&first.new_attempts) }
}

fn gate(config: &Config, database: &Database) -> Arc<dyn ReplicationGate> {
    if config.gate.slot.is_empty() {
        Arc::new(NoStandby)
    } else {
        Arc::new(StandbyGate::new(database.pool().clone(), config.gate.slot.clone()))
    }
}

fn fraud_check(config: &Config) -> anyhow::Result<Arc<dyn FraudCheck>> {
    let check = &config.fraud_check;
    if check.url.is_empty() {
        return Ok(Arc::new(NoFraudCheck));
    }
    let timeout = Duration::from_millis(check.timeout_ms.into());
    Ok(Arc::new(HttpFraudCheck::new(&check.url, check.api_key.clone(), timeout).context("fraud_check.url")?))
}

/// # Errors
/// A setting that cannot be used.
pub fn database(config: &Config, process: &Process) -> anyhow::Result<Database> {
    let site = process.site();
    Database::connect(&config.database, site.region, Epoch::new(site.epoch)).context("database.url")
}

/// The store without which nothing can be answered. The catalog and the gateway are not among them: without the one no new
/// order is taken, without the other payments wait, but everybody can see their orders.
fn watch(process: &Process, database: &Database) {
    let pool = database.pool().clone();
    process.readiness().add("postgres", move || {
        let pool = pool.clone();
        async move { sqlx::query("SELECT 1").execute(&pool).await.map(drop) }
    });
    let database = database.clone();
    process.writable().add("fence", move || {
        let database = database.clone();
        async move { database.writable().await }
    });
}

/// # Errors
/// A pending migration, a port that is taken, a setting that cannot be used.
pub async fn serve(config: Config, process: &Process) -> anyhow::Result<SocketAddr> {
    let database = database(&config, process)?;
    schema::verify(&database, &MIGRATOR).await?;
    watch(process, &database);
    let app = app_with(&config, process, &database, store(&config, process, &database))?;
    crate::metrics::begin();
    let sessions = RedisSessions::connect(&config.redis, Duration::from_millis(config.auth.session_deadline_ms))?;
    let authenticator = Authenticator::start(process, &config.auth, sessions)?;
    grpc::serve(process, &config.grpc, states::routes(Arc::clone(&app))).await?;
    let api = Api::new(Arc::clone(&app), webhook_settings(&config), config.orders.max_streams, process.shutdown());
    let routes = router(api).merge(operators(&config, app, database));
    http::serve(process, &config.http, routes, Some(authenticator)).await
}

/// What operators see and do here.
fn operators(config: &Config, app: Arc<App>, database: Database) -> axum::Router {
    let parked = operations::Desk {
        service: NAME,
        database: database.clone(),
        topic_prefix: config.kafka.topic_prefix.clone(),
        consumer: Some((CONSUMER, Arc::new(Events(Arc::clone(&app))))),
    };
    admin_router(Admin { app, desk: Arc::new(PostgresDesk::new(database)) }).merge(operations::router(parked))
}

/// The books as `serve` writes them: new orders share commits.
fn store(config: &Config, process: &Process, database: &Database) -> PostgresStore {
    match config.orders.max_together {
        ..=1 => PostgresStore::new(database.clone()),
        most_together => {
            let (intake, lanes) = intake(database.clone(), most_together);
            process.spawn("order-intake", lanes.run(process.shutdown()));
            PostgresStore::with_intake(database.clone(), intake)
        }
    }
}

pub fn webhook_settings(config: &Config) -> Vec<WebhookSettings> {
    let (first, second) = (&config.gateway, &config.second_gateway);
    let secrets = |current: &Secret, previous: &Secret| {
        [current, previous].into_iter().filter(|secret| !secret.is_empty()).cloned().collect()
    };
    let mut settings = vec![WebhookSettings {
        name: first.name.clone(),
        wire: WebhookWire::PaymentIntents,
        secrets: secrets(&first.webhook_secret, &first.previous_webhook_secret),
    }];
    settings.extend(second.is_there().then(|| WebhookSettings {
        name: second.name.clone(),
        wire: WebhookWire::Square { notification_url: second.notification_url.clone() },
        secrets: secrets(&second.webhook_secret, &second.previous_webhook_secret),
    }));
    settings
}

/// # Errors
/// As [`serve`].
pub async fn work(config: Config, process: &Process) -> anyhow::Result<()> {
    let database = database(&config, process)?;
    schema::verify(&database, &MIGRATOR).await?;
    watch(process, &database);
    let app = app(&config, process, &database)?;
    let relay = Relay::new(database.clone(), &config.kafka)?;
    process.spawn("outbox-relay", relay.run(process.shutdown()));
    let consumer =
        Consumer::new(CONSUMER, &events::TOPICS, database, &config.kafka, Arc::new(Events(Arc::clone(&app))))?
            // Each of these is about one order: they wait side by side, and what is no refusal shares commits.
            .overlapping(&STOCK_RESERVED)
            .overlapping(&STOCK_REJECTED)
            .overlapping(&SHIPMENT_CREATED);
    process.spawn("events", consumer.run(process.shutdown()));
    crate::metrics::begin();
    process.spawn("payments", timers::payments(Arc::clone(&app), process.shutdown()));
    process.spawn("webhooks", timers::webhooks(Arc::clone(&app), process.shutdown()));
    process.spawn("deadlines", timers::deadlines(Arc::clone(&app), process.shutdown()));
    process.spawn("sealer", timers::sealer(Arc::clone(&app), process.shutdown()));
    process.spawn("orphans", timers::orphans(Arc::clone(&app), process.shutdown()));
    process.spawn("carts", timers::carts(Arc::clone(&app), process.shutdown()));
    process.spawn("backlog", timers::backlog(Arc::clone(&app), process.shutdown()));
    let hour = config.settlement.hour_utc;
    process.spawn("settlements", timers::settlements(Arc::clone(&app), hour, process.shutdown()));
    process.spawn("reconciler", timers::reconciler(app, config.reconcile_every(), process.shutdown()));
    Ok(())
}

/// # Errors
/// What the database or the broker said.
pub async fn migrate(config: Config, process: &Process) -> anyhow::Result<()> {
    let site = process.site();
    let owner_url =
        config.database.owner_url.filter(|url| !url.is_empty()).context("database.owner_url is needed to migrate")?;
    messaging::migrate(&owner_url, APP_ROLE, site.region, site.epoch, &site.name, &MIGRATOR).await?;
    let written: Vec<&'static Topic> = TOPICS.iter().copied().filter(|topic| topic.writer == NAME).collect();
    messaging::create_topics(&config.kafka, site.region, &written).await
}

/// # Errors
/// The first connection that does not work.
pub async fn check(config: Config, process: &Process) -> anyhow::Result<()> {
    let database = database(&config, process)?;
    schema::verify(&database, &MIGRATOR).await?;
    database.writable().await.map_err(anyhow::Error::msg)?;
    let app = app(&config, process, &database)?;
    let anything = BasketLine { sku: Sku::parse("check")?, quantity: 1, options: Vec::new() };
    app.prices.quote(&[anything], None).await.context("the catalog")?;
    let now = process.clock().now().timestamp();
    app.gateway.intents_between(now, now).await.map_err(anyhow::Error::msg).context("the gateway")?;
    match verify_ledger(&app).await? {
        sound @ Verdict::Sound { .. } => tracing::info!(ledger = %sound, "the books are as they were sealed"),
        broken => anyhow::bail!("the ledger was changed: {broken}"),
    }
    tracing::info!("all connections work");
    Ok(())
}

/// # Errors
/// What the database said.
pub async fn redrive(config: Config, process: &Process) -> anyhow::Result<()> {
    let database = database(&config, process)?;
    schema::verify(&database, &MIGRATOR).await?;
    let app = app(&config, process, &database)?;
    let outcome = messaging::redrive(&database, CONSUMER, &config.kafka.topic_prefix, Arc::new(Events(app))).await?;
    tracing::info!(applied = outcome.applied, waiting = outcome.waiting, "parked messages were tried again");
    Ok(())
}

/// Settles one day at every gateway and says what came of it.
///
/// # Errors
/// No day, or one that cannot be settled.
pub async fn settle(config: Config, process: &Process) -> anyhow::Result<()> {
    let day = process.arguments().first().context("say which day: order-payment settle --date 2026-11-25")?;
    let day: chrono::NaiveDate = day.parse().with_context(|| format!("{day} is no day such as 2026-11-25"))?;
    let database = database(&config, process)?;
    schema::verify(&database, &MIGRATOR).await?;
    let app = app(&config, process, &database)?;
    for gateway in app.gateway.names() {
        match settle_day(&app, &gateway, day).await? {
            Look::NoFile => tracing::warn!(gateway, %day, "the gateway has no file of this day"),
            Look::Closed(closed) => {
                for (currency, total) in &closed.totals {
                    let (net, ours, difference) = (total.theirs.net(), total.ours, total.difference());
                    tracing::info!(gateway, %day, currency, net, ours, difference, open = closed.open, "settled");
                }
            }
        }
    }
    Ok(())
}
