//! The one file that knows every concrete type: what each role is made of.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use chassis::auth::{Authenticator, RedisSessions as SessionLookUp};
use chassis::http::OnCores;
use chassis::{Process, http};
use contracts::Topic;
use contracts::topics::TOPICS;
use messaging::{Database, Epoch, Firehose, Relay, schema};

use crate::MIGRATOR;
use crate::config::Config;
use crate::inbound::http::{Api, INTAKE, SignUpAnswers, router};
use crate::inbound::timer::reconcile_sign_ups_forever;
use crate::outbound::clicks::spill::Spill;
use crate::outbound::clicks::{Broker, DurableClicks, KafkaBroker, NoClicks};
use crate::outbound::keycloak::Keycloak;
use crate::outbound::limits::LocalLimits;
use crate::outbound::postgres::PostgresPeople;
use crate::outbound::redis::RedisSessions;
use crate::outbound::tokens::{NoTokens, VerifiedTokens};
use crate::usecases::ports::{ClickLog, Tokens};
use crate::usecases::{App, Pseudonyms};

/// Role that reads and writes rows; rights are granted to it.
const APP_ROLE: &str = "user_profile_app";

/// The application with its real parts. Nothing is connected yet.
///
/// # Errors
/// A setting that cannot be used.
fn app(
    config: &Config,
    process: &Process,
    database: &Database,
    tokens: Arc<dyn Tokens>,
    clicks: Arc<dyn ClickLog>,
) -> anyhow::Result<App> {
    let sessions = Arc::new(RedisSessions::connect(&config.redis)?);
    let people = Arc::new(PostgresPeople::new(database.clone()));
    watch(process, database, &people, &sessions);
    Ok(App {
        region: process.site().region,
        people,
        identities: Arc::new(Keycloak::new(&config.keycloak, process.clock())?),
        tokens,
        sessions,
        clicks,
        limits: Arc::new(LocalLimits::new(&config.limits)),
        clock: process.clock(),
        pseudonyms: Pseudonyms::new(config.pseudonym.key.open().as_bytes()),
    })
}

/// Where clicks go, and with a folder for it what carries them over a time without the broker.
///
/// # Errors
/// Settings that the broker client refuses, a folder that another process uses.
pub fn clicks(config: &Config, process: &Process) -> anyhow::Result<DurableClicks> {
    let settings = &config.clicks;
    let spills = !settings.spill_folder.is_empty();
    let broker: Arc<dyn Broker> =
        Arc::new(KafkaBroker::new(Firehose::new(&config.kafka, process.site().region)?, spills));
    if !spills {
        return Ok(DurableClicks::new(broker, None, settings.records));
    }
    let most = settings.spill_max_mb << 20;
    let (spill, writer, replay) =
        Spill::open(Path::new(&settings.spill_folder), most).context("clicks.spill_folder")?;
    process.spawn("click-spill", writer.run(process.shutdown()));
    process.spawn("click-replay", replay.run(broker.clone(), process.shutdown()));
    Ok(DurableClicks::new(broker, Some(spill), settings.records))
}

/// The stores without which no request can be answered. Keycloak and Kafka are not among them: without the one nobody logs in,
/// without the other no click is taken, but everybody who is logged in can go on.
fn watch(process: &Process, database: &Database, people: &Arc<PostgresPeople>, sessions: &Arc<RedisSessions>) {
    let people = people.clone();
    process.readiness().add("postgres", move || {
        let people = people.clone();
        async move { people.ping().await }
    });
    let sessions = sessions.clone();
    process.readiness().add("redis", move || {
        let sessions = sessions.clone();
        async move { sessions.ping().await }
    });
    let database = database.clone();
    process.writable().add("fence", move || {
        let database = database.clone();
        async move { database.writable().await }
    });
}

pub fn database(config: &Config, process: &Process) -> anyhow::Result<Database> {
    let site = process.site();
    Database::connect(&config.database, site.region, Epoch::new(site.epoch)).context("database.url")
}

/// Returns the bound address of the public port.
///
/// # Errors
/// A pending migration, a port that is taken, a setting that cannot be used.
pub async fn serve(config: Config, process: &Process) -> anyhow::Result<SocketAddr> {
    let database = database(&config, process)?;
    schema::verify(&database, &MIGRATOR).await?;
    let look_up = SessionLookUp::connect(&config.redis, Duration::from_millis(config.auth.session_deadline_ms))?;
    let authenticator = Authenticator::start(process, &config.auth, look_up)?;
    let tokens = Arc::new(VerifiedTokens::new(authenticator.clone()));
    let app = app(&config, process, &database, tokens, Arc::new(clicks(&config, process)?))?;
    let api = Api::new(app, answers(&config), &process.site().public_url);
    // This service consumes no events, so its table of parked messages stays empty; operators ask each service alike.
    let parked = operations::Desk {
        service: crate::NAME,
        database,
        topic_prefix: config.kafka.topic_prefix.clone(),
        consumer: None,
    };
    let routes = router(api).merge(operations::router(parked));
    listen(&config, process, routes, Some(authenticator)).await
}

/// Opens the public port: clicks are taken on a runtime per processor, everything else on the one of the process.
///
/// # Errors
/// A port that is taken, a thread that cannot be had.
pub async fn listen(
    config: &Config,
    process: &Process,
    routes: Router,
    authenticator: Option<Arc<Authenticator>>,
) -> anyhow::Result<SocketAddr> {
    let cores = OnCores { runtimes: config.clicks.runtimes, paths: &[INTAKE] };
    http::serve_on_cores(process, &config.http, routes, authenticator, cores).await
}

pub fn answers(config: &Config) -> SignUpAnswers {
    SignUpAnswers {
        neutral: config.sign_up.neutral_answers,
        min_duration: Duration::from_millis(config.sign_up.min_answer_ms),
    }
}

/// # Errors
/// As [`serve`].
pub async fn work(config: Config, process: &Process) -> anyhow::Result<()> {
    let database = database(&config, process)?;
    schema::verify(&database, &MIGRATOR).await?;
    let app = app(&config, process, &database, Arc::new(NoTokens), Arc::new(NoClicks))?;
    let relay = Relay::new(database, &config.kafka)?;
    process.spawn("outbox-relay", relay.run(process.shutdown()));
    let pause = Duration::from_millis(config.sign_up.reconcile_every_ms);
    let reconciler = reconcile_sign_ups_forever(app, pause, config.sign_up.reconcile_at_once, process.shutdown());
    process.spawn("sign-up-reconciler", reconciler);
    Ok(())
}

/// # Errors
/// What the database or the broker said.
pub async fn migrate(config: Config, process: &Process) -> anyhow::Result<()> {
    let site = process.site();
    let owner_url =
        config.database.owner_url.filter(|url| !url.is_empty()).context("database.owner_url is needed to migrate")?;
    messaging::migrate(&owner_url, APP_ROLE, site.region, site.epoch, &site.name, &MIGRATOR).await?;
    let written: Vec<&'static Topic> = TOPICS.iter().copied().filter(|topic| topic.writer == crate::NAME).collect();
    messaging::create_topics(&config.kafka, site.region, &written).await
}

/// # Errors
/// The first connection that does not work.
pub async fn check(config: Config, process: &Process) -> anyhow::Result<()> {
    let database = database(&config, process)?;
    schema::verify(&database, &MIGRATOR).await?;
    database.writable().await.map_err(anyhow::Error::msg)?;
    RedisSessions::connect(&config.redis)?.ping().await?;
    Keycloak::new(&config.keycloak, process.clock())?.check().await?;
    tracing::info!("all connections work");
    Ok(())
}
