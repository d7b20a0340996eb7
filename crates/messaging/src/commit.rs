//! One change, one commit: the fence, the cause, the state, the outbox, in one transaction. There is no second way to write
//! (`commit_many` is this one for many changes).
//!
//! Decided here: that a cause has its effect once (a request key or message id is a row of the same transaction), that a
//! process of an old reign cannot write, that serialisation failures run the whole change again, and what a caller may
//! conclude when the outcome is not known. Not decided here: the state itself, which the caller's closure writes.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use common::{ErrorKind, Explain, MessageId};
use contracts::Event;
use futures::future::BoxFuture;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::crash::{self, Crashed};
use crate::database::Database;
use crate::metrics;
use crate::transaction::{Held, Twins, Uncommitted};

/// Tries of one change when the database asks to run it again (40001, 40P01): more would hold a request beyond its deadline.
pub(crate) const MAX_TRIES: u32 = 3;

/// Why a change is made. It has its effect once.
#[derive(Clone, Debug)]
pub enum Cause {
    /// A request with an idempotency key; the answer is stored with the change.
    Request(RequestKey),
    /// An event, as seen by `consumer`.
    Message { consumer: &'static str, id: MessageId },
    /// A duty of the service itself, such as a reconciler's step. Its name is for logs; the state's version makes it safe.
    Duty(&'static str),
}

impl Cause {
    pub(crate) fn twins(&self) -> Twins {
        if matches!(self, Self::Request(_)) { Twins::Impatient } else { Twins::Patient }
    }
}

/// A request key within its scope: the same text of another person, method or route is another key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    pub subject: Uuid,
    pub method: &'static str,
    pub route: &'static str,
    pub key: String,
    /// SHA-256 of the canonical validated request.
    pub fingerprint: [u8; 32],
}

/// The answer a request got, replayed byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl StoredAnswer {
    pub(crate) fn status_column(&self) -> i16 {
        i16::try_from(self.status).unwrap_or(200)
    }
}

/// An event to publish, and the version of its aggregate that it brought about (from 1).
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    pub event: Event,
    pub version: i64,
}

impl Outgoing {
    pub fn new(event: impl Into<Event>, version: i64) -> Self {
        Self { event: event.into(), version }
    }

    /// Derived, so that the same change made again describes itself by the same id.
    pub fn message_id(&self) -> MessageId {
        MessageId::derive(self.event.key(), self.version, self.event.kind())
    }
}

/// A change without its state, which the closure given to [`Database::commit`] writes.
#[derive(Clone, Debug)]
pub struct Change {
    pub cause: Cause,
    pub events: Vec<Outgoing>,
    /// Stored with a [`Cause::Request`], ignored otherwise.
    pub answer: Option<StoredAnswer>,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    Applied,
    /// The cause had its effect before; a request gets the answer it got then.
    Repeated(Option<StoredAnswer>),
}

/// What the closure that writes the state may say.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The state does not allow the change. Everything is rolled back.
    #[error(transparent)]
    Refused(E),
    #[error("the database refused a statement")]
    Database(#[from] sqlx::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum CommitError<E> {
    #[error("this site may not write now; nothing was changed")]
    NotWritable,
    #[error("the idempotency key was used with another request; nothing was changed")]
    KeyReused,
    #[error("a request with this idempotency key is under way; nothing was changed by this one")]
    InProgress,
    #[error("too many other changes are under way; nothing was changed")]
    Busy,
    #[error("the outcome is not known yet; repeat the request with the same key")]
    OutcomeUnknown,
    #[error("the database cannot be reached; nothing was changed")]
    Unavailable(#[source] sqlx::Error),
    #[error(transparent)]
    Refused(E),
    #[error("the database refused the change")]
    Database(#[source] sqlx::Error),
    #[error(transparent)]
    Crashed(#[from] Crashed),
}

impl<E: Explain> Explain for CommitError<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotWritable | Self::Busy | Self::OutcomeUnknown | Self::Unavailable(_) | Self::Crashed(_) => {
                ErrorKind::Unavailable
            }
            Self::KeyReused => ErrorKind::Unprocessable,
            Self::InProgress => ErrorKind::Conflict,
            Self::Refused(refusal) => refusal.kind(),
            Self::Database(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotWritable => "not-writable",
            Self::KeyReused => "idempotency-key-reused",
            Self::InProgress => "request-in-progress",
            Self::Busy => "overloaded",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::Unavailable(_) | Self::Crashed(_) => "dependency-down",
            Self::Refused(refusal) => refusal.code(),
            Self::Database(_) => "internal",
        }
    }

    fn fields(&self) -> Vec<common::FieldProblem> {
        match self {
            Self::Refused(refusal) => refusal.fields(),
            _ => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after(),
            Self::KeyReused | Self::Database(_) => None,
            _ => Some(Duration::from_secs(1)),
        }
    }
}

/// Writes the state of one change. May be called more than once, each time in a new transaction.
pub type WriteState<E> =
    Arc<dyn for<'t> Fn(&'t mut PgConnection) -> BoxFuture<'t, Result<(), WriteError<E>>> + Send + Sync>;

impl Database {
    /// Commits `change` with the state that `write` writes: all of it or nothing.
    ///
    /// Round trips: begin with the fence, cause (none for a duty), the state's own, outbox (if there are events), commit.
    /// The work runs on a task of its own, so a caller that goes away leaves no open transaction behind.
    ///
    /// # Errors
    /// [`CommitError::Refused`] carries what `write` refused; every other variant says what the caller may conclude.
    pub async fn commit<E, F>(&self, change: Change, write: F) -> Result<Committed, CommitError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
        F: for<'t> Fn(&'t mut PgConnection) -> BoxFuture<'t, Result<(), WriteError<E>>> + Send + Sync + 'static,
    {
        let database = self.clone();
        let write: WriteState<E> = Arc::new(write);
        let traceparent = contracts::trace::current_traceparent();
        let span = tracing::Span::current();
        let work =
            crash::carried(async move { database.commit_with_retries(&change, &write, traceparent.as_deref()).await });
        let outcome = tokio::spawn(tracing::Instrument::instrument(work, span)).await;
        let outcome = outcome.unwrap_or_else(|panicked| {
            tracing::error!(error = %panicked, "a commit panicked");
            Err(CommitError::OutcomeUnknown)
        });
        metrics::COMMITS.with_label_values(&[label(&outcome)]).inc();
        outcome
    }

    /// The stored answer of a request, before any work is done for it.
    ///
    /// # Errors
    /// [`CommitError::KeyReused`] when the key belongs to another request, [`CommitError::Unavailable`] without a database.
    pub async fn find_answer<E>(&self, request: &RequestKey) -> Result<Option<StoredAnswer>, CommitError<E>> {
        let mut connection = self.pool.acquire().await.map_err(CommitError::Unavailable)?;
        stored_answer(&mut connection, self.region.code(), request).await
    }

    async fn commit_with_retries<E>(
        &self,
        change: &Change,
        write: &WriteState<E>,
        traceparent: Option<&str>,
    ) -> Result<Committed, CommitError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let mut tries = 0;
        loop {
            tries += 1;
            match crash::around_commit(&change.cause, self.commit_once(change, write, traceparent)).await? {
                Err(CommitError::Database(error)) if tries < MAX_TRIES && wants_another_try(&error) => {
                    metrics::COMMIT_RETRIES.inc();
                }
                // Only a request can have a twin; elsewhere a lock that does not come is plain contention.
                Err(CommitError::InProgress) if !matches!(change.cause, Cause::Request(_)) => {
                    return Err(CommitError::Busy);
                }
                outcome => return outcome,
            }
        }
    }

    async fn commit_once<E>(
        &self,
        change: &Change,
        write: &WriteState<E>,
        traceparent: Option<&str>,
    ) -> Result<Committed, CommitError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let mut held = Held::begin(self, change.cause.twins()).await?;
        if !self.admit(held.connection(), change).await? {
            let repeated = match &change.cause {
                Cause::Request(request) => stored_answer(held.connection(), self.region.code(), request).await?,
                _ => None,
            };
            held.roll_back().await;
            return Ok(Committed::Repeated(repeated));
        }
        crash::point("commit.after_cause")?;

        match write(held.connection()).await {
            Ok(()) => {}
            Err(WriteError::Refused(refusal)) => {
                held.roll_back().await;
                return Err(CommitError::Refused(refusal));
            }
            Err(WriteError::Database(error)) => {
                held.roll_back().await;
                return Err(classify(error));
            }
        }
        crash::point("commit.after_state")?;

        let events: Vec<_> = change.events.iter().map(|event| (event, traceparent)).collect();
        self.write_outbox(held.connection(), &events).await.map_err(classify)?;
        crash::point("commit.after_outbox")?;

        match held.commit().await {
            Ok(()) => {}
            Err(Uncommitted::Undone(error)) => return Err(classify(error)),
            Err(Uncommitted::Unknown(why)) => return self.find_out(change, &why).await,
        }
        // Most steps of a saga tell nobody anything: the relay would look, and find nothing.
        if !change.events.is_empty() {
            self.committed.notify_one();
        }
        Ok(Committed::Applied)
    }

    /// Records the cause. `false`: it had its effect before.
    async fn admit<E>(&self, connection: &mut PgConnection, change: &Change) -> Result<bool, CommitError<E>> {
        let recorded = match &change.cause {
            Cause::Request(request) => {
                let answer = change.answer.as_ref();
                sqlx::query(
                    "INSERT INTO requests (residency_region, subject, method, route, key, fingerprint, status, body)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
                )
                .bind(self.region.code())
                .bind(request.subject)
                .bind(request.method)
                .bind(request.route)
                .bind(&request.key)
                .bind(request.fingerprint.as_slice())
                .bind(answer.map_or(200, StoredAnswer::status_column))
                .bind(answer.map_or(&[][..], |answer| &answer.body))
                .execute(connection)
                .await
            }
            Cause::Message { consumer, id } => {
                sqlx::query("INSERT INTO inbox (consumer, message_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                    .bind(consumer)
                    .bind(id.uuid())
                    .execute(connection)
                    .await
            }
            Cause::Duty(_) => return Ok(true),
        };
        Ok(recorded.map_err(classify)?.rows_affected() == 1)
    }

    /// Events with the trace each belongs to, in this order.
    pub(crate) async fn write_outbox(
        &self,
        connection: &mut PgConnection,
        events: &[(&Outgoing, Option<&str>)],
    ) -> Result<(), sqlx::Error> {
        if events.is_empty() {
            return Ok(());
        }
        let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (outgoing, traceparent) in events {
            columns.0.push(outgoing.message_id().uuid());
            columns.1.push(outgoing.event.kind());
            columns.2.push(outgoing.event.key());
            columns.3.push(outgoing.version);
            columns.4.push(outgoing.event.encode());
            columns.5.push(*traceparent);
        }
        sqlx::query(
            "INSERT INTO outbox (message_id, topic, key, version, payload, epoch, traceparent)
             SELECT message_id, topic, key, version, payload, $7, traceparent
             FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::text[])
                  AS event (message_id, topic, key, version, payload, traceparent)",
        )
        .bind(columns.0)
        .bind(columns.1)
        .bind(columns.2)
        .bind(columns.3)
        .bind(columns.4)
        .bind(columns.5)
        .bind(self.epoch.get())
        .execute(connection)
        .await
        .map(drop)
    }

    async fn find_out<E>(&self, change: &Change, why: &str) -> Result<Committed, CommitError<E>> {
        tracing::warn!(error = why, "the outcome of a commit is not known");
        let found = self.happened(&[change]).await.first() == Some(&true);
        if found { Ok(Committed::Applied) } else { Err(CommitError::OutcomeUnknown) }
    }

    /// The commit was sent and no plain answer came. The causes' rows tell, on a new connection, once a later write is
    /// acknowledged: a row may be visible here and not yet be safe. `false` means that nobody knows, because "not found" may
    /// mean "not yet": the old backend can still be committing.
    pub(crate) async fn happened(&self, changes: &[&Change]) -> Vec<bool> {
        match self.find_causes(changes).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(error = %error, "an unknown commit could not be looked up");
                vec![false; changes.len()]
            }
        }
    }

    async fn find_causes(&self, changes: &[&Change]) -> Result<Vec<bool>, CommitError<Infallible>> {
        let mut connection = self.pool.acquire().await.map_err(CommitError::Unavailable)?;
        let mut found = Vec::with_capacity(changes.len());
        for change in changes {
            found.push(match &change.cause {
                Cause::Request(request) => {
                    stored_answer::<Infallible>(&mut connection, self.region.code(), request).await?.is_some()
                }
                Cause::Message { consumer, id } => {
                    sqlx::query_scalar("SELECT EXISTS (SELECT FROM inbox WHERE consumer = $1 AND message_id = $2)")
                        .bind(consumer)
                        .bind(id.uuid())
                        .fetch_one(&mut *connection)
                        .await
                        .map_err(classify)?
                }
                Cause::Duty(_) => false,
            });
        }
        drop(connection);
        if found.contains(&true) {
            let mut held = Held::begin(self, Twins::Patient).await?;
            sqlx::query(
                "INSERT INTO confirmations DEFAULT VALUES ON CONFLICT (only_row) DO UPDATE SET confirmed_at = now()",
            )
            .execute(held.connection())
            .await
            .map_err(classify)?;
            held.commit().await.map_err(|_| CommitError::OutcomeUnknown)?;
        }
        Ok(found)
    }
}

pub(crate) async fn stored_answer<E>(
    connection: &mut PgConnection,
    region: &str,
    request: &RequestKey,
) -> Result<Option<StoredAnswer>, CommitError<E>> {
    let row: Option<(Vec<u8>, i16, Vec<u8>)> = sqlx::query_as(
        "SELECT fingerprint, status, body FROM requests
         WHERE residency_region = $1 AND subject = $2 AND method = $3 AND route = $4 AND key = $5",
    )
    .bind(region)
    .bind(request.subject)
    .bind(request.method)
    .bind(request.route)
    .bind(&request.key)
    .fetch_optional(connection)
    .await
    .map_err(classify)?;
    match row {
        None => Ok(None),
        Some((fingerprint, ..)) if fingerprint != request.fingerprint => Err(CommitError::KeyReused),
        Some((_, status, body)) => Ok(Some(StoredAnswer { status: u16::try_from(status).unwrap_or(500), body })),
    }
}

pub(crate) fn sql_state(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code)
}

/// Serialisation failure or deadlock: the database undid the change and asks to run it again.
pub(crate) fn wants_another_try(error: &sqlx::Error) -> bool {
    matches!(sql_state(error).as_deref(), Some("40001" | "40P01"))
}

/// Before the commit was sent, a lost connection means that nothing was changed.
pub(crate) fn classify<E>(error: sqlx::Error) -> CommitError<E> {
    match sql_state(&error).as_deref() {
        Some("55P03") => CommitError::InProgress,
        // read only transaction: this is no longer the primary
        Some("25006") => CommitError::NotWritable,
        // shutting down, starting up, too many connections
        Some("57P01" | "57P02" | "57P03" | "53300") => CommitError::Unavailable(error),
        Some(_) => CommitError::Database(error),
        None => match error {
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => CommitError::Unavailable(error),
            other => CommitError::Database(other),
        },
    }
}

pub(crate) fn label<E>(outcome: &Result<Committed, CommitError<E>>) -> &'static str {
    match outcome {
        Ok(Committed::Applied) => "applied",
        Ok(Committed::Repeated(_)) => "repeated",
        Err(CommitError::NotWritable) => "not_writable",
        Err(CommitError::KeyReused) => "key_reused",
        Err(CommitError::InProgress) => "in_progress",
        Err(CommitError::Busy) => "busy",
        Err(CommitError::OutcomeUnknown) => "unknown",
        Err(CommitError::Unavailable(_)) => "unavailable",
        Err(CommitError::Refused(_)) => "refused",
        Err(CommitError::Database(_)) => "error",
        Err(CommitError::Crashed(_)) => "crashed",
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(request) => write!(out, "request {} {}", request.method, request.route),
            Self::Message { consumer, id } => write!(out, "message {id} at {consumer}"),
            Self::Duty(name) => write!(out, "duty {name}"),
        }
    }
}
