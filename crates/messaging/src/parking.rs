//! Messages that could not be applied wait in a table with their reason, and the later messages of their key behind them.
//! Redrive hands them to the handler again, in order, one key at a time.

use std::sync::Arc;

use sqlx::Row as _;

use crate::consumer::{Handler, Verdict, decode};
use crate::database::Database;
use crate::kafka::Record;

/// Keys one redrive looks at: a person started it and waits.
const REDRIVE_KEYS: i64 = 10_000;

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

pub(crate) async fn has_waiting(database: &Database, group: &str, key: &[u8]) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM parked_messages WHERE consumer = $1 AND key = $2 AND redriven_at IS NULL)",
    )
    .bind(group)
    .bind(key)
    .fetch_one(database.pool())
    .await
}

pub(crate) async fn waiting_keys(database: &Database, group: &str) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar("SELECT DISTINCT key FROM parked_messages WHERE consumer = $1 AND redriven_at IS NULL")
        .bind(group)
        .fetch_all(database.pool())
        .await
}

/// Hands every parked message of `group` to `handler` again. A key stops at its first message that still cannot be applied.
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
    let keys: Vec<Vec<u8>> = waiting_keys(database, group)
        .await?
        .into_iter()
        .take(usize::try_from(REDRIVE_KEYS).unwrap_or(usize::MAX))
        .collect();
    for key in keys {
        let rows = sqlx::query(
            "SELECT parked_id, topic, partition, \"offset\", payload, headers FROM parked_messages
             WHERE consumer = $1 AND key = $2 AND redriven_at IS NULL ORDER BY parked_id",
        )
        .bind(group)
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
                Ok(delivery) => handler.handle(&delivery).await,
                Err(reason) => Verdict::Park(reason),
            };
            if verdict != Verdict::Done {
                break;
            }
            sqlx::query("UPDATE parked_messages SET redriven_at = now() WHERE parked_id = $1")
                .bind(row.try_get::<i64, _>("parked_id")?)
                .execute(database.pool())
                .await?;
            tracing::info!(group, topic = %record.topic, partition = record.partition, offset = record.offset, "parked message redriven");
            outcome.applied += 1;
            left -= 1;
        }
        outcome.waiting += left;
    }
    Ok(outcome)
}
