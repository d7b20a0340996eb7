//! The connection of one write transaction: begun behind the fence's lock, ended by a commit whose answer can be believed.
//!
//! Decided here: what the answer to a COMMIT means. An error that says the database undid the change is a failure; no answer,
//! a late answer, or an answer with a warning ("cancelled the wait for the standby", whose text is translated, so it is not
//! compared) leaves the outcome unknown. A connection that ended in any of these ways is closed and never used again.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Postgres, pool::PoolConnection};
use tracing::instrument::WithSubscriber as _;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

use crate::commit::{CommitError, classify, sql_state};
use crate::database::Database;

/// After this long a commit counts as unknown: longer than a standby needs to be dropped from a quorum that it left, and about
/// as long as anybody waits for an answer.
const COMMIT_PATIENCE: Duration = Duration::from_secs(5);
/// Where sqlx reports what the server said beside its answer.
const NOTICE: &str = "sqlx::postgres::notice";

/// How long a transaction waits for the lock of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Twins {
    /// 200 ms: two requests with one key meet, and the second person is told to come again rather than kept waiting.
    Impatient,
    /// 5 s: whoever waits has the work to do in any case.
    Patient,
}

/// Why a commit did not end in a plain yes.
pub(crate) enum Uncommitted {
    /// The database undid the change and says so.
    Undone(sqlx::Error),
    /// It may have happened, now or a little later.
    Unknown(String),
}

/// A connection inside a transaction. Unless it is told that the transaction ended well, it is closed and not reused.
pub(crate) struct Held(Option<PoolConnection<Postgres>>);

impl Held {
    /// Begins a transaction that holds the fence's lock and has seen the fence, in one round trip.
    ///
    /// The advisory lock is the fence's (see `guard_region_fence`): a change of reign waits for us, and we for it. The three
    /// statements have a snapshot each, so the fence is read as it is once the lock is held.
    pub(crate) async fn begin<E>(database: &Database, twins: Twins) -> Result<Self, CommitError<E>> {
        let begin = match twins {
            Twins::Impatient => {
                "BEGIN; SET LOCAL lock_timeout = '200ms'; SELECT pg_advisory_xact_lock_shared(7305);
                 SELECT region, epoch FROM region_fence"
            }
            Twins::Patient => {
                "BEGIN; SET LOCAL lock_timeout = '5s'; SELECT pg_advisory_xact_lock_shared(7305);
                 SELECT region, epoch FROM region_fence"
            }
        };
        let mut held = Self(Some(database.pool.acquire().await.map_err(CommitError::Unavailable)?));
        let rows = sqlx::raw_sql(begin).fetch_all(held.connection()).await.map_err(classify)?;
        // The first row is the lock's.
        let fence: Option<(String, i64)> =
            rows.get(1).map(sqlx::FromRow::from_row).transpose().map_err(CommitError::Database)?;
        if fence.is_some_and(|(region, epoch)| region == database.region.code() && epoch == database.epoch.get()) {
            return Ok(held);
        }
        held.roll_back().await;
        Err(CommitError::NotWritable)
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.0.as_mut().unwrap_or_else(|| unreachable!("the connection is taken only when the transaction ends"))
    }

    pub(crate) async fn roll_back(mut self) {
        if let Some(mut connection) = self.0.take()
            && sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.is_err()
        {
            connection.close_on_drop();
        }
    }

    /// Commits. No cancel request is ever sent: one that meets a commit waiting for its standby would end the wait.
    pub(crate) async fn commit(mut self) -> Result<(), Uncommitted> {
        let watched =
            Watched { warned: AtomicBool::new(false), heard_by: tracing::dispatcher::get_default(Dispatch::clone) };
        let (answer, warned) = WATCHED
            .scope(watched, async {
                let commit = sqlx::raw_sql("COMMIT").execute(self.connection()).with_subscriber(WATCH.clone());
                let answer = tokio::time::timeout(COMMIT_PATIENCE, commit).await;
                (answer, WATCHED.with(|watched| watched.warned.load(Ordering::Relaxed)))
            })
            .await;
        match answer {
            Ok(Ok(_)) if !warned => {
                self.0.take();
                Ok(())
            }
            Ok(Ok(_)) => Err(Uncommitted::Unknown("the answer came with a warning".to_owned())),
            Ok(Err(error)) if undone(&error) => Err(Uncommitted::Undone(error)),
            Ok(Err(error)) => Err(Uncommitted::Unknown(error.to_string())),
            Err(_) => Err(Uncommitted::Unknown("the answer did not come in time".to_owned())),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

/// A violated constraint or a failed serialisation: these are raised before a transaction counts as committed.
fn undone(error: &sqlx::Error) -> bool {
    sql_state(error).is_some_and(|state| state.starts_with("23") || state.starts_with("40"))
}

/// What is known about the commit that the present task waits for.
struct Watched {
    warned: AtomicBool,
    /// Who hears of everything, the warning included.
    heard_by: Dispatch,
}

tokio::task_local! {
    static WATCHED: Watched;
}

/// Listens to one commit. It is in force only while a COMMIT is being polled, whatever the process does with its log: a
/// warning must not be missed because somebody turned its log down.
struct Watch;

/// One for the process: each new dispatcher would make every log statement ask again whether it is wanted.
static WATCH: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Watch));

fn is_warning(metadata: &Metadata<'_>) -> bool {
    metadata.target() == NOTICE && *metadata.level() <= Level::WARN
}

impl Subscriber for Watch {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let heard = || WATCHED.try_with(|watched| watched.heard_by.enabled(metadata)).unwrap_or(false);
        is_warning(metadata) || (metadata.is_event() && heard())
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        let _ = WATCHED.try_with(|watched| {
            if is_warning(event.metadata()) {
                watched.warned.store(true, Ordering::Relaxed);
            }
            if watched.heard_by.enabled(event.metadata()) {
                watched.heard_by.event(event);
            }
        });
    }

    // No span begins inside a COMMIT.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
