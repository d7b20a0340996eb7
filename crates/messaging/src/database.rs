//! A service's own PostgreSQL database: its pool, the region it belongs to, the epoch under which it may write.
//!
//! Reads take [`Database::pool`]; writes go through [`Database::commit`] (see `commit`), which checks the fence.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use common::Region;
use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgPool};
use tokio::sync::Notify;

/// How long a caller waits for a free connection before it is told that the database is not there. Opening one costs a
/// password hash and, on a busy machine, seconds; a worker that gives up too early leaves its work to the end of a lease.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was in use so recently is not asked whether it still works: under load that saves each change a round
/// trip, and after an outage the idle connections are tried before anybody meets a dead one.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// Where a service's database is.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// Connection of the application role: reads and writes rows, cannot change tables.
    pub url: String,
    /// Connection of the owning role; only the `migrate` role of a service has it.
    #[serde(default)]
    pub owner_url: Option<String>,
    /// Connections this process may hold.
    pub max_connections: u32,
}

impl std::fmt::Debug for DatabaseSettings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URLs carry passwords.
        out.debug_struct("DatabaseSettings").field("max_connections", &self.max_connections).finish_non_exhaustive()
    }
}

/// The reign under which this process writes. Shared by all its parts; it changes when the region's lease changes hands.
#[derive(Clone, Debug)]
pub struct Epoch(Arc<AtomicI64>);

impl Epoch {
    pub fn new(epoch: i64) -> Self {
        Self(Arc::new(AtomicI64::new(epoch)))
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }

    /// Takes up a newer reign; an older one is ignored.
    pub fn advance(&self, epoch: i64) {
        self.0.fetch_max(epoch, Ordering::AcqRel);
    }
}

/// A service's database.
#[derive(Clone, Debug)]
pub struct Database {
    pub(crate) pool: PgPool,
    pub(crate) region: Region,
    pub(crate) epoch: Epoch,
    pub(crate) committed: Arc<Notify>,
}

impl Database {
    /// Makes the pool; connections are opened when they are needed.
    ///
    /// # Errors
    /// A malformed URL.
    pub fn connect(settings: &DatabaseSettings, region: Region, epoch: Epoch) -> Result<Self, sqlx::Error> {
        let pool = pool(&settings.url, settings.max_connections)?;
        Ok(Self { pool, region, epoch, committed: Arc::new(Notify::new()) })
    }

    /// For reads. A write that goes past [`Database::commit`] goes past the fence.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Does it answer now? For whoever has to tell its absence from a failure of its own.
    pub(crate) async fn answers(&self) -> bool {
        sqlx::query("SELECT 1").execute(&self.pool).await.is_ok()
    }

    pub fn region(&self) -> Region {
        self.region
    }

    pub fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Whether this process may write now: the database answers, takes writes, belongs to our region and is under our epoch. A
    /// standby has the fence of its primary, so the fence alone would call both sites of a pair the active one.
    ///
    /// # Errors
    /// What the database said, in one line.
    pub async fn writable(&self) -> Result<(), String> {
        // On whatever follows another server, every transaction is read only.
        let row: Option<(String, i64, bool)> =
            sqlx::query_as("SELECT region, epoch, current_setting('transaction_read_only')::boolean FROM region_fence")
                .fetch_optional(&self.pool)
                .await
                .map_err(|error| format!("database unreachable: {error}"))?;
        match row {
            Some((_, _, true)) => Err("the database is read only: it follows another".to_owned()),
            Some((region, epoch, _)) if region == self.region.code() && epoch == self.epoch.get() => Ok(()),
            Some((region, epoch, _)) => Err(format!(
                "fenced: the database is under epoch {epoch} of region {region}, this process under epoch {} of region {}",
                self.epoch.get(),
                self.region
            )),
            None => Err("the database has no fence: run migrate".to_owned()),
        }
    }
}

/// A pool of connections that are opened lazily and closed after five idle minutes, so that an idle process is small.
pub(crate) fn pool(url: &str, max_connections: u32) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?.application_name("shopsphere");
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, seen| {
            Box::pin(async move {
                if seen.idle_for > TRUSTED_FOR {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .idle_timeout(Duration::from_secs(300))
        .connect_lazy_with(options))
}
