//! A stand-in payment gateway with two wire APIs, PaymentIntents and Square Payments: a process of its own, with books of its own.
//!
//! It is deliberately no ShopSphere service: it shares nothing with the code it is used to check except ids and the
//! clock, so that its books are a second opinion. See the README beside this crate for the API, the magic tokens and the books.

mod domain;
mod faults;
mod gateway;
mod http;
mod settlement;
mod settlement_file;
mod store;
mod webhooks;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use common::{SharedClock, SystemClock};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use domain::{Account, Currency, Entry, EntryKind, Summary, Totals, summarise};
pub use faults::{FaultRates, RatesError};
pub use gateway::Timings;
pub use store::StoreError;
pub use webhooks::{sign, sign_square};

use gateway::{Gateway, KEY_LIFETIME_MS};
use http::{App, BreakableListener, Line};
use store::Store;
use webhooks::{Target, Webhooks};

/// Running calls and deliveries get this long to end after [`Running::stop`].
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How to run a gateway.
#[derive(Clone)]
pub struct Settings {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The state file; made when missing, held exclusively while running.
    pub state: PathBuf,
    pub api_key: String,
    /// Where events are delivered; `None` queues nothing.
    pub webhook_url: Option<String>,
    pub webhook_secret: String,
    /// The same for the second wire.
    pub square_webhook_url: Option<String>,
    pub square_webhook_secret: String,
    /// Faults by rate, for campaigns.
    pub rates: FaultRates,
    pub timings: Timings,
    pub clock: SharedClock,
}

impl Settings {
    /// A gateway on a free loopback port with the key `sk_test_local`, the secret `whsec_local` and no webhook.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            state: state.into(),
            api_key: "sk_test_local".to_owned(),
            webhook_url: None,
            webhook_secret: "whsec_local".to_owned(),
            square_webhook_url: None,
            square_webhook_secret: "whsec_local".to_owned(),
            rates: FaultRates::default(),
            timings: Timings::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("port cannot be opened: {address}")]
    Port { address: SocketAddr, source: std::io::Error },
    #[error("state file {path} cannot be used")]
    State { path: PathBuf, source: StoreError },
    #[error("http client for webhooks cannot be made")]
    Client(#[from] reqwest::Error),
}

/// A gateway that runs among the tasks of the current runtime until it is stopped or dropped.
pub struct Running {
    /// `http://127.0.0.1:<port>`
    pub base_url: String,
    gateway: Arc<Gateway>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// Opens the state, then the port. When this returns the gateway answers.
///
/// # Errors
/// [`StartError`] for a port that is taken and a state file that another process holds or that is damaged.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let unusable = |source| StartError::State { path: settings.state.clone(), source };
    let store = Store::open(&settings.state, &tasks).map_err(unusable)?;
    let oldest_key = settings.clock.now().timestamp_millis() - KEY_LIFETIME_MS;
    store.write(move |session| session.forget_answers(oldest_key)).await.map_err(unusable)?;

    let address = settings.listen;
    let unavailable = |source| StartError::Port { address, source };
    let listener = TcpListener::bind(address).await.map_err(unavailable)?;
    let bound = listener.local_addr().map_err(unavailable)?;

    let (timings, clock) = (settings.timings, settings.clock);
    let target = |url: Option<String>, secret| Target { url: url.filter(|url| !url.is_empty()), secret };
    let intents = target(settings.webhook_url, settings.webhook_secret);
    let square = target(settings.square_webhook_url, settings.square_webhook_secret);
    let webhooks = Webhooks::new(intents, square, store.clone(), Arc::clone(&clock), timings.webhook_retry)?;
    let gateway = Arc::new(Gateway::new(store, clock, timings, webhooks.clone(), settings.rates));
    tasks.spawn(webhooks.run(shutdown.clone()));
    tasks.spawn(settlement::run(Arc::clone(&gateway), shutdown.clone()));
    let app = App {
        gateway: Arc::clone(&gateway),
        api_key: settings.api_key.into(),
        tasks: tasks.clone(),
        shutdown: shutdown.clone(),
    };
    let service = http::router(app).into_make_service_with_connect_info::<Line>();
    let server =
        axum::serve(BreakableListener(listener), service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    tasks.spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(error = &error as &dyn std::error::Error, "server ended");
        }
    });
    tasks.close();
    Ok(Running { base_url: format!("http://{bound}"), gateway, tasks, shutdown })
}

impl Running {
    /// The books, whole and in order, read directly from the state.
    ///
    /// # Errors
    /// [`StoreError`] when the state cannot be read.
    pub async fn books(&self) -> Result<Vec<Entry>, StoreError> {
        self.gateway.store.read(|reading| reading.books(0, usize::MAX)).await
    }

    /// The sums of [`Running::books`].
    ///
    /// # Errors
    /// [`StoreError`] when the state cannot be read.
    pub async fn summary(&self) -> Result<Summary, StoreError> {
        Ok(summarise(&self.books().await?))
    }

    /// Webhooks that have not been accepted yet.
    ///
    /// # Errors
    /// [`StoreError`] when the state cannot be read.
    pub async fn webhooks_waiting(&self) -> Result<u64, StoreError> {
        self.gateway.store.read(|reading| reading.deliveries_waiting()).await
    }

    /// Closes a day before midnight, as `POST /__settlements/{date}` does.
    ///
    /// # Errors
    /// [`StoreError`] when the state cannot be written.
    pub async fn close_day(&self, day: NaiveDate) -> Result<(), StoreError> {
        let now_ms = self.gateway.clock.now().timestamp_millis();
        self.gateway.store.write(move |session| session.close_day(&day.to_string(), now_ms).map(drop)).await
    }

    /// Ends running calls and closes the state file, so that it can be opened again. Waits at most five seconds for
    /// clients that do not let go.
    pub async fn stop(self) {
        let tasks = self.tasks.clone();
        drop(self);
        if tokio::time::timeout(STOP_PATIENCE, tasks.wait()).await.is_err() {
            tracing::warn!("tasks still running at the end");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
