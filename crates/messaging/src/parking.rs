//! Messages that could not be applied wait in a table with their reason, and the later messages of their topic and key
//! behind them. Redrive hands them to the handler again, in that order.

use std::sync::Arc;

use sqlx::Row as _;

use crate::consumer::{Handler, Verdict, decode};
use crate::crash::{self, Boundary, Crashed};
use crate::database::Database;
use crate::kafka::Record;

/// Queues looked at in one pass: bounds its memory.
const REDRIVE_QUEUES: i64 = 10_000;

/// What a redrive did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redriven {
    pub applied: u64,
    /// Messages that still cannot be applied, and those behind them.
    pub waiting: u64,
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
    sqlx::query_as("SELECT topic, key FROM parked_messages WHERE consumer = $1 AND redriven_at IS NULL GROUP BY topic, key ORDER BY min(parked_id) LIMIT $2")
        .bind(group)
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
) -> Result<Redriven, sqlx::Error> {
    let mut outcome = Redriven::default();
    loop {
        let pass = redrive_once(database, group, topic_prefix, &handler).await?;
        outcome = Redriven { applied: outcome.applied + pass.applied, waiting: pass.waiting };
        // Ends: each further pass has applied at least one of finitely many messages.
        if pass.applied == 0 || pass.waiting == 0 {
            return Ok(outcome);
        }
    }
}

async fn redrive_once(
    database: &Database,
    group: &str,
    topic_prefix: &str,
    handler: &Arc<dyn Handler>,
) -> Result<Redriven, sqlx::Error> {
    let mut outcome = Redriven::default();
    for (topic, key) in waiting_queues(database, group).await? {
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
            let headers: serde_json::Value = row.try_get("headers")?;
            let record = Record {
                topic: row.try_get("topic")?,
                partition: row.try_get("partition")?,
                offset: row.try_get("offset")?,
                key: key.clone().into(),
                payload: row.try_get::<Vec<u8>, _>("payload")?.into(),
                headers: serde_json::from_value(headers).unwrap_or_default(),
            };
            let verdict = match decode(&record, topic_prefix, database) {
                Ok(delivery) => crash::about(delivery.event.kind(), handler.handle(&delivery)).await,
                Err(reason) => Verdict::Park(reason),
            };
            if verdict != Verdict::Done {
                break;
            }
            let mark = sqlx::query("UPDATE parked_messages SET redriven_at = now() WHERE parked_id = $1")
                .bind(row.try_get::<i64, _>("parked_id")?);
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
