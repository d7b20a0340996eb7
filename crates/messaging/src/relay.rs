//! Carries committed events from the outbox to Kafka.
//!
//! Decided here: claim, publish, mark. The claim is a synchronous commit of its own, and the log is ordered, so once it is
//! acknowledged everything before it is safe too: an event can never describe a change that a failover will undo. The mark
//! does not wait for the disk: one that is lost is a second publication, which carries the same id (ADR 0078). Order
//! per key holds because one relay works at a time (an advisory lock) and one batch is under way. A relay that lost the
//! lock without noticing does no harm: it cannot mark rows claimed after it (`claim_gen`).
//!
//! A topic that this program does not know belongs to another release, which was rolled back or is not here yet: its rows wait
//! for a relay that knows it, and are counted. Later events of the same aggregate overtake them, which no reader can tell:
//! order holds within one topic, and of that topic all rows wait. To hold back the aggregate's other events would stop its saga.
//!
//! Polling instead of NOTIFY or logical decoding: NOTIFY halves the throughput of the business transaction, and a promoted
//! standby has no logical slot.

use std::time::Duration;

use chrono::{DateTime, Utc};
use common::{Clock as _, SystemClock, ids};
use contracts::{Envelope, Topic};
use futures::future::join_all;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::crash::{self, Boundary};
use crate::database::Database;
use crate::kafka::KafkaSettings;
use crate::metrics;
use crate::publisher::{PublishError, Publisher};

/// Events per round: a few round trips to the broker's batch, and little to publish again after a crash.
const BATCH: i64 = 500;
/// Pause when there is nothing to do and there was something a moment ago: events of other processes are told by nobody, and a
/// saga waits for this once per hop. A look that finds nothing is one indexed read without a flush.
const BUSY_PAUSE: Duration = Duration::from_millis(2);
/// Looks that find nothing before the pause grows, and what it grows to: an idle region asks twenty times a second.
const BUSY_LOOKS: u32 = 50;
const IDLE_PAUSE: Duration = Duration::from_millis(50);
/// How the statements of a relay are planned. A region begins empty, and what is planned then stays (ADR 0076): on an empty table a scan of all
/// looks as cheap as an index, and a bitmap of the rows that wait as cheap as these in their order. A bitmap reads what has been
/// published since the last vacuum as well, each time; an index scan leaves it out from the second time on. Without compilation, which
/// costs more than any of these statements.
const PLANNED_WITH: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off";
/// Pause after a failure and while another relay works.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Published rows stay this long, so that a promoted standby can publish the last window again.
const KEEP_PUBLISHED: &str = "7 days";
/// Stored answers are replayed for this long.
const KEEP_REQUESTS: &str = "30 days";
/// A message that had its effect is known again for this long. It can come again for as long as its topic keeps it, from when a promoted
/// standby published the last window again: two weeks, and twice that for an operator who reads a topic anew or sets a longer
/// retention. A compacted topic keeps its records for ever; who reads one has no inbox.
const KEEP_HANDLED: &str = "30 days";
/// Between two rounds of housekeeping, and after a round that left something: a batch of each table every 100 ms is far above
/// what a region writes, and leaves most of the database's time to others.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
const PRUNE_AGAIN: Duration = Duration::from_millis(100);
/// Between two counts of the rows whose topic is not known, each with an error in the log when there are any.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// Rows of each table deleted per housekeeping round, so that it never holds locks for long.
const PRUNE_BATCH: u64 = 1_000;

/// Publishes one database's outbox.
pub struct Relay {
    database: Database,
    publisher: Publisher,
    /// Names this relay in the claims it makes.
    id: Uuid,
    /// Kinds of the topics that this program knows, and claims.
    known: Vec<&'static str>,
}

#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("the outbox could not be read or marked")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("outbox row {0} is not one this binary wrote: {1}")]
    Inconsistent(Uuid, &'static str),
    #[error(transparent)]
    Crashed(#[from] crash::Crashed),
}

struct Claimed {
    message_id: Uuid,
    claim_gen: i32,
    topic: &'static Topic,
    key: String,
    payload: Vec<u8>,
    envelope: Envelope,
    occurred_at: DateTime<Utc>,
}

impl Relay {
    /// # Errors
    /// Settings that the broker client refuses.
    pub fn new(database: Database, kafka: &KafkaSettings) -> Result<Self, PublishError> {
        let publisher = Publisher::new(kafka, database.region(), database.epoch().clone())?;
        let known = contracts::topics::TOPICS.iter().map(|topic| topic.kind).collect();
        Ok(Self { database, publisher, id: ids::random(), known })
    }

    /// Publishes until `shutdown`. Failures are logged and tried again: the rows wait.
    ///
    /// # Errors
    /// Only a crash point ends it early.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), crash::Crashed> {
        // Not the reign's: one that is interrupted twice a second does not fill the log.
        let mut count_due = Instant::now();
        while !shutdown.is_cancelled() {
            match self.reign(&mut count_due, &shutdown).await {
                Ok(()) => {}
                Err(RelayError::Crashed(crashed)) => return Err(crashed),
                Err(error) => {
                    tracing::warn!(error = %error, source = ?std::error::Error::source(&error).map(ToString::to_string), "outbox relay interrupted");
                    pause(RETRY_PAUSE, &shutdown).await;
                }
            }
        }
        self.publisher.flush(Duration::from_secs(5)).await;
        Ok(())
    }

    /// Works for as long as this connection holds the relay lock.
    async fn reign(&self, count_due: &mut Instant, shutdown: &CancellationToken) -> Result<(), RelayError> {
        let mut connection = self.connection().await?;
        let (mine,): (bool,) = sqlx::query_as("SELECT pg_try_advisory_lock(7306)").fetch_one(&mut connection).await?;
        metrics::OUTBOX_WAITING.with_label_values(&["active"]).set(mine.into());
        if !mine {
            metrics::OUTBOX_UNKNOWN.set(0);
            pause(RETRY_PAUSE, shutdown).await;
            return Ok(());
        }
        let (mut prune_due, mut empty_looks) = (Instant::now(), 0_u32);
        while !shutdown.is_cancelled() {
            if prune_due <= Instant::now() {
                let most = crash::around(Boundary::RelayPrune, self.prune(&mut connection)).await??;
                prune_due = Instant::now() + prune_pause(most);
            }
            if *count_due <= Instant::now() {
                self.count_unknown(&mut connection).await?;
                *count_due = Instant::now() + COUNT_EVERY;
            }
            if self.publish_batch(&mut connection).await? > 0 {
                empty_looks = 0;
                continue;
            }
            empty_looks = empty_looks.saturating_add(1);
            tokio::select! {
                () = self.database.committed.notified() => {}
                () = tokio::time::sleep(idle_pause(empty_looks)) => {}
                () = shutdown.cancelled() => {}
            }
        }
        Ok(())
    }

    /// A connection of its own, taken out of the pool: the lock lives and dies with it, and so do the settings of its plans.
    ///
    /// # Errors
    /// What the database said.
    pub async fn connection(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = self.database.pool().acquire().await?.detach();
        sqlx::raw_sql(PLANNED_WITH).execute(&mut connection).await?;
        Ok(connection)
    }

    /// One round on [`Relay::connection`]: claim, publish, mark. Returns how many events it published.
    ///
    /// # Errors
    /// Whatever interrupted it; every event that was not marked is published again.
    pub async fn publish_batch(&self, connection: &mut PgConnection) -> Result<usize, RelayError> {
        let batch = crash::around(Boundary::RelayClaim, self.claim(&mut *connection)).await??;
        if batch.is_empty() {
            return Ok(0);
        }
        let outcomes = crash::around(Boundary::RelayPublish, self.publish(&batch)).await?;

        let mut published = (Vec::new(), Vec::new());
        let mut failed_keys = Vec::new();
        let mut failure = None;
        for (row, outcome) in batch.iter().zip(outcomes) {
            match outcome {
                // Behind a failure of its key nothing counts as published, so that the key is published again in order.
                Ok(()) if !failed_keys.contains(&&row.key) => {
                    published.0.push(row.message_id);
                    published.1.push(row.claim_gen);
                    let lag = SystemClock.now() - row.occurred_at;
                    metrics::OUTBOX_OLDEST_AGE.observe(lag.as_seconds_f64().max(0.0));
                }
                Ok(()) => {}
                Err(error) => {
                    failed_keys.push(&row.key);
                    failure = Some(error);
                }
            }
        }
        // Looked for by their ids alone: asked for what waits, it would go through all of that. The generation says that it is still ours.
        let mark = sqlx::query(
            "UPDATE outbox SET published_at = now()
             FROM set_config('synchronous_commit', 'off', true)
             WHERE message_id = ANY ($1) AND claim_gen = ($2::int[])[array_position($1::uuid[], message_id)]",
        )
        .bind(&published.0)
        .bind(&published.1);
        crash::around(Boundary::RelayMark, mark.execute(connection)).await??;
        metrics::OUTBOX_PUBLISHED.inc_by(published.0.len() as u64);
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(published.0.len()),
        }
    }

    /// Rows that wait for a relay of another release, because their topic is not in this one's table. Shown, and logged when there are any.
    ///
    /// # Errors
    /// What the database said.
    pub async fn count_unknown(&self, connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
        // Planned each time: a plan from when the table was empty may read all of it (ADR 0076).
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT topic, count(*) FROM outbox WHERE published_at IS NULL AND topic <> ALL ($1) GROUP BY topic ORDER BY topic",
        )
        .bind(&self.known)
        .persistent(false)
        .fetch_all(connection)
        .await?;
        let waiting: i64 = rows.iter().map(|(_, count)| count).sum();
        metrics::OUTBOX_UNKNOWN.set(waiting);
        if waiting > 0 {
            tracing::error!(rows = waiting, topics = ?rows, "outbox rows have a topic that this program does not know");
        }
        Ok(waiting)
    }

    async fn publish(&self, batch: &[Claimed]) -> Vec<Result<(), PublishError>> {
        // Every send is queued before the first is awaited: the queue keeps their order, the broker gets one batch.
        let sends: Vec<_> =
            batch.iter().map(|row| self.publisher.send(row.topic, &row.key, &row.payload, &row.envelope)).collect();
        join_all(sends).await
    }

    async fn claim(&self, connection: &mut PgConnection) -> Result<Vec<Claimed>, RelayError> {
        // An array and no join: with statistics from a moment when much waited, a join would read the whole table each time.
        let mut rows = sqlx::query(
            "UPDATE outbox SET claimed_by = $1, claim_gen = claim_gen + 1
             WHERE message_id = ANY (ARRAY(
                 SELECT message_id FROM outbox WHERE published_at IS NULL AND topic = ANY ($3)
                 ORDER BY seq LIMIT $2 FOR UPDATE SKIP LOCKED))
             RETURNING message_id, seq, claim_gen, topic, key, version, payload, epoch, traceparent, occurred_at,
                       (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint AS source_lsn",
        )
        .bind(self.id)
        .bind(BATCH)
        .bind(&self.known)
        .fetch_all(connection)
        .await?;
        rows.sort_by_key(|row| row.get::<i64, _>("seq"));
        rows.iter().map(|row| self.read(row)).collect()
    }

    fn read(&self, row: &PgRow) -> Result<Claimed, RelayError> {
        let message_id: Uuid = row.try_get("message_id")?;
        let kind: String = row.try_get("topic")?;
        let topic = contracts::topics::TOPICS
            .iter()
            .copied()
            .find(|topic| topic.kind == kind)
            .ok_or(RelayError::Inconsistent(message_id, "its topic is not in the topic table"))?;
        let occurred_at: DateTime<Utc> = row.try_get("occurred_at")?;
        let source_lsn: i64 = row.try_get("source_lsn")?;
        Ok(Claimed {
            message_id,
            claim_gen: row.try_get("claim_gen")?,
            topic,
            key: row.try_get("key")?,
            payload: row.try_get("payload")?,
            envelope: Envelope {
                id: message_id.into(),
                region: self.database.region(),
                epoch: row.try_get("epoch")?,
                version: row.try_get("version")?,
                occurred_at_ms: occurred_at.timestamp_millis(),
                source_lsn: u64::try_from(source_lsn).unwrap_or_default(),
                traceparent: row.try_get("traceparent")?,
            },
            occurred_at,
        })
    }

    /// Deletes what was kept long enough, oldest first. Returns how many rows it took from the table that had most.
    async fn prune(&self, connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
        // Arrays of places and no join, in the order of an index: neither reads a whole table, whenever it was planned (ADR 0076).
        let old_events = "DELETE FROM outbox WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM outbox WHERE published_at < now() - $1::interval ORDER BY published_at LIMIT $2))";
        let old_answers = "DELETE FROM requests WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM requests WHERE answered_at < now() - $1::interval ORDER BY answered_at LIMIT $2))";
        let long_handled = "DELETE FROM inbox WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM inbox WHERE applied_at < now() - $1::interval ORDER BY applied_at LIMIT $2))";
        let mut most = 0;
        for (delete, keep) in [(old_events, KEEP_PUBLISHED), (old_answers, KEEP_REQUESTS), (long_handled, KEEP_HANDLED)]
        {
            let query = sqlx::query(delete).bind(keep).bind(PRUNE_BATCH.cast_signed());
            most = most.max(query.execute(&mut *connection).await?.rows_affected());
        }
        Ok(most)
    }
}

/// After a round that took so many rows from a table: a full batch says that there is more.
fn prune_pause(most: u64) -> Duration {
    if most >= PRUNE_BATCH { PRUNE_AGAIN } else { PRUNE_EVERY }
}

/// After so many looks in a row that found nothing.
fn idle_pause(empty_looks: u32) -> Duration {
    let doublings = empty_looks.saturating_sub(BUSY_LOOKS).min(8);
    (BUSY_PAUSE * (1 << doublings)).min(IDLE_PAUSE)
}

async fn pause(length: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        () = shutdown.cancelled() => {}
    }
}

#[cfg(test)]
mod tests {
    use contracts::topics::Cleanup;

    use super::*;

    #[test]
    fn housekeeping_goes_on_soon_after_a_full_batch_only() {
        assert_eq!(prune_pause(0), PRUNE_EVERY);
        assert_eq!(prune_pause(PRUNE_BATCH - 1), PRUNE_EVERY);
        assert_eq!(prune_pause(PRUNE_BATCH), PRUNE_AGAIN);
    }

    #[test]
    fn whatever_can_come_again_is_still_known() {
        let days = |text: &str| Duration::from_secs(86_400 * text.trim_end_matches(" days").parse::<u64>().unwrap());
        for topic in contracts::topics::TOPICS.iter().filter(|topic| topic.cleanup == Cleanup::Delete) {
            assert!(topic.retention + days(KEEP_PUBLISHED) < days(KEEP_HANDLED), "{topic} outlives the inbox");
        }
    }

    #[test]
    fn a_relay_looks_often_after_traffic_and_seldom_when_idle() {
        assert_eq!(idle_pause(1), BUSY_PAUSE);
        assert_eq!(idle_pause(BUSY_LOOKS), BUSY_PAUSE);
        assert_eq!(idle_pause(BUSY_LOOKS + 1), BUSY_PAUSE * 2);
        assert_eq!(idle_pause(BUSY_LOOKS + 8), IDLE_PAUSE);
        assert_eq!(idle_pause(u32::MAX), IDLE_PAUSE);
    }
}
