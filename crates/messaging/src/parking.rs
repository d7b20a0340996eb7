//! Messages that could not be applied wait in a table with their reason, and the later messages of their topic and key
//! behind them. Redrive hands them to the handler again, in that order.

use std::sync::Arc;

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::consumer::{Handler, Verdict, decode};
use crate::crash::{self, Boundary, Crashed};
use crate::database::Database;
use crate::kafka::Record;

/// Queues looked at in one pass: bounds its memory.
const REDRIVE_QUEUES: i64 = 10_000;

/// What a redrive did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redriven {
    pub applied: u64,
    /// Messages of what was asked for that still wait: those that cannot be applied, those behind them, and those beyond
    /// the bound.
    pub waiting: u64,
    /// Which messages stopped their queues, and what the handler said; at most [`STOPS_TOLD`].
    pub stopped: Vec<Stop>,
}

/// A message that still cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    pub parked_id: i64,
    pub reason: String,
}

/// Stops named in one outcome; whoever mends these sees the next ones.
pub const STOPS_TOLD: usize = 20;

/// Which parked messages are handed to their handler again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    /// Every queue of a topic, by its full name.
    Topic(String),
    /// Every queue of a key.
    Key(String),
    /// One message, which must be the first of its queue: a later one would overtake.
    One(i64),
}

/// Why a redrive was not begun.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    #[error("no message with this number waits")]
    NotWaiting,
    /// Carries the number of the one that is first.
    #[error("message {0} of the same topic and key waits before it")]
    NotFirst(i64),
    #[error("the parked messages cannot be read or marked")]
    Database(#[from] sqlx::Error),
}

pub(crate) async fn park(database: &Database, group: &str, record: &Record, reason: &str) -> Result<(), sqlx::Error> {
    let headers = serde_json::Value::from(
        record
            .headers
            .iter()
            .map(|(name, value)| serde_json::json!([name, value.replace('\0', "")]))
            .collect::<Vec<_>>(),
    );
    sqlx::query(
        "INSERT INTO parked_messages (consumer, topic, partition, \"offset\", key, payload, headers, reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT ON CONSTRAINT parked_messages_once DO NOTHING",
    )
    .bind(group)
    .bind(&record.topic)
    .bind(record.partition)
    .bind(record.offset)
    .bind(&record.key[..])
    .bind(&record.payload[..])
    .bind(headers)
    .bind(reason)
    .execute(database.pool())
    .await
    .map(drop)
}

/// The messages of one key on one topic: they keep their order. Between topics there is none to keep, and waiting for
/// another topic's message could mean waiting for one that waits for us.
pub(crate) type Queue = (String, Vec<u8>);

pub(crate) async fn has_waiting(database: &Database, group: &str, (topic, key): &Queue) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM parked_messages WHERE consumer = $1 AND topic = $2 AND key = $3 AND redriven_at IS NULL)",
    )
    .bind(group)
    .bind(topic)
    .bind(key)
    .fetch_one(database.pool())
    .await
}

pub(crate) async fn waiting_queues(database: &Database, group: &str) -> Result<Vec<Queue>, sqlx::Error> {
    queues_like(database, group, None, None).await
}

/// Queues with something that waits, the oldest first; of one topic or one key if asked.
async fn queues_like(
    database: &Database,
    group: &str,
    topic: Option<&str>,
    key: Option<&[u8]>,
) -> Result<Vec<Queue>, sqlx::Error> {
    sqlx::query_as(
        "SELECT topic, key FROM parked_messages
         WHERE consumer = $1 AND redriven_at IS NULL AND ($2::text IS NULL OR topic = $2) AND ($3::bytea IS NULL OR key = $3)
         GROUP BY topic, key ORDER BY min(parked_id) LIMIT $4",
    )
    .bind(group)
    .bind(topic)
    .bind(key)
    .bind(REDRIVE_QUEUES)
    .fetch_all(database.pool())
    .await
}

/// Hands every parked message of `group` to `handler` again, oldest queue first. A queue stops at its first message that
/// still cannot be applied; what was applied may have been what another queue waited for, so the queues are gone through
/// again for as long as that helps.
///
/// # Errors
/// What the database said; messages applied until then are marked.
pub async fn redrive(
    database: &Database,
    group: &str,
    topic_prefix: &str,
    handler: Arc<dyn Handler>,
) -> Result<Redriven, RedriveError> {
    redrive_some(database, group, topic_prefix, handler, &Which::All, u64::MAX).await
}

/// As [`redrive`], for `which` of them and at most `most` messages: an operator waits for the answer. Safe to repeat and
/// to run twice at once: what had its effect is recognised by its inbox row, and no message overtakes one of its key.
///
/// # Errors
/// [`RedriveError`]; messages applied until then are marked.
pub async fn redrive_some(
    database: &Database,
    group: &str,
    topic_prefix: &str,
    handler: Arc<dyn Handler>,
    which: &Which,
    most: u64,
) -> Result<Redriven, RedriveError> {
    let mut outcome = Redriven::default();
    loop {
        let queues = queues_of(database, group, which).await?;
        let left = if matches!(which, Which::One(_)) { 1 } else { most.saturating_sub(outcome.applied) };
        let pass = redrive_once(database, group, topic_prefix, &handler, queues, left).await?;
        outcome = Redriven { applied: outcome.applied + pass.applied, ..pass };
        // Ends: each further pass has applied at least one of finitely many messages.
        if pass_is_last(which, &outcome, pass.applied, most) {
            return Ok(outcome);
        }
    }
}

fn pass_is_last(which: &Which, outcome: &Redriven, applied_now: u64, most: u64) -> bool {
    matches!(which, Which::One(_)) || applied_now == 0 || outcome.waiting == 0 || outcome.applied >= most
}

/// The queues that `which` names, oldest first.
async fn queues_of(database: &Database, group: &str, which: &Which) -> Result<Vec<Queue>, RedriveError> {
    match which {
        Which::All => Ok(queues_like(database, group, None, None).await?),
        Which::Topic(topic) => Ok(queues_like(database, group, Some(topic), None).await?),
        Which::Key(key) => Ok(queues_like(database, group, None, Some(key.as_bytes())).await?),
        Which::One(id) => Ok(vec![queue_headed_by(database, group, *id).await?]),
    }
}

/// The queue of a message that is the first in it.
async fn queue_headed_by(database: &Database, group: &str, id: i64) -> Result<Queue, RedriveError> {
    let found: Option<(String, Vec<u8>, i64)> = sqlx::query_as(
        "SELECT topic, key, (SELECT min(first.parked_id) FROM parked_messages first
                             WHERE first.consumer = asked.consumer AND first.topic = asked.topic AND first.key = asked.key
                               AND first.redriven_at IS NULL)
         FROM parked_messages asked WHERE consumer = $1 AND parked_id = $2 AND redriven_at IS NULL",
    )
    .bind(group)
    .bind(id)
    .fetch_optional(database.pool())
    .await?;
    match found {
        None => Err(RedriveError::NotWaiting),
        Some((.., first)) if first != id => Err(RedriveError::NotFirst(first)),
        Some((topic, key, _)) => Ok((topic, key)),
    }
}

async fn redrive_once(
    database: &Database,
    group: &str,
    topic_prefix: &str,
    handler: &Arc<dyn Handler>,
    queues: Vec<Queue>,
    most: u64,
) -> Result<Redriven, sqlx::Error> {
    let mut outcome = Redriven::default();
    for (topic, key) in queues {
        let rows = sqlx::query(
            "SELECT parked_id, topic, partition, \"offset\", payload, headers FROM parked_messages
             WHERE consumer = $1 AND topic = $2 AND key = $3 AND redriven_at IS NULL ORDER BY parked_id",
        )
        .bind(group)
        .bind(&topic)
        .bind(&key)
        .fetch_all(database.pool())
        .await?;
        let mut left = rows.len() as u64;
        for row in &rows {
            if outcome.applied >= most {
                break;
            }
            let parked_id: i64 = row.try_get("parked_id")?;
            let record = record_of(row, &key)?;
            let verdict = match decode(&record, topic_prefix, database) {
                Ok(delivery) => crash::about(delivery.event.kind(), handler.handle(&delivery)).await,
                Err(reason) => Verdict::Park(reason),
            };
            if verdict != Verdict::Done {
                if outcome.stopped.len() < STOPS_TOLD {
                    outcome.stopped.push(Stop { parked_id, reason: refusal(verdict) });
                }
                break;
            }
            let mark =
                sqlx::query("UPDATE parked_messages SET redriven_at = now() WHERE parked_id = $1").bind(parked_id);
            crash::around(Boundary::MarkRedriven, mark.execute(database.pool())).await.map_err(stopped)??;
            tracing::info!(group, topic = %record.topic, partition = record.partition, offset = record.offset, "parked message redriven");
            outcome.applied += 1;
            left -= 1;
        }
        outcome.waiting += left;
    }
    Ok(outcome)
}

/// A redrive that a test stopped looks like one whose database went away.
fn stopped(crashed: Crashed) -> sqlx::Error {
    sqlx::Error::Protocol(crashed.to_string())
}

fn refusal(verdict: Verdict) -> String {
    match verdict {
        Verdict::Park(reason) => reason,
        Verdict::Retry | Verdict::Done => "not now; try again".to_owned(),
    }
}

/// A parked row as the record it was.
pub(crate) fn record_of(row: &PgRow, key: &[u8]) -> Result<Record, sqlx::Error> {
    let headers: serde_json::Value = row.try_get("headers")?;
    Ok(Record {
        topic: row.try_get("topic")?,
        partition: row.try_get("partition")?,
        offset: row.try_get("offset")?,
        key: key.to_vec().into(),
        payload: row.try_get::<Vec<u8>, _>("payload")?.into(),
        headers: serde_json::from_value(headers).unwrap_or_default(),
    })
}
