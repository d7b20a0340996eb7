//! What one aggregate told and heard: its rows in the outbox, the messages that had their effect, and an event put out once
//! more. For operators; no rule of the business looks at these.

use chrono::{DateTime, Utc};
use common::MessageId;
use sqlx::PgConnection;
use uuid::Uuid;

/// One event of the outbox, without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub message_id: MessageId,
    pub topic: String,
    pub version: i64,
    pub occurred_at: DateTime<Utc>,
    /// `None`: it has not left yet.
    pub published_at: Option<DateTime<Utc>>,
}

/// The events of `key` that are still kept, in order; at most `limit`.
///
/// # Errors
/// What the database said.
pub async fn told(connection: &mut PgConnection, key: &str, limit: u16) -> Result<Vec<Told>, sqlx::Error> {
    type Row = (Uuid, String, i64, DateTime<Utc>, Option<DateTime<Utc>>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT message_id, topic, version, occurred_at, published_at FROM outbox WHERE key = $1 ORDER BY seq LIMIT $2",
    )
    .bind(key)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    let told = |(message_id, topic, version, occurred_at, published_at): Row| Told {
        message_id: message_id.into(),
        topic,
        version,
        occurred_at,
        published_at,
    };
    Ok(rows.into_iter().map(told).collect())
}

/// Which of `candidates` have had their effect at `consumer`, and when.
///
/// # Errors
/// What the database said.
pub async fn heard(
    connection: &mut PgConnection,
    consumer: &str,
    candidates: &[MessageId],
) -> Result<Vec<(MessageId, DateTime<Utc>)>, sqlx::Error> {
    let ids: Vec<Uuid> = candidates.iter().map(|id| id.uuid()).collect();
    let rows: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(
        "SELECT message_id, applied_at FROM inbox WHERE consumer = $1 AND message_id = ANY($2) ORDER BY applied_at",
    )
    .bind(consumer)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(id, at)| (id.into(), at)).collect())
}

/// Lets the relay publish the last event of `key` once more. Only the last: an earlier one would come after its successors.
/// Every reader drops an id that it knows, so this helps exactly those that have not heard it. Gives the event's topic;
/// `None` when nothing is kept any more, or when it has not left yet and will.
///
/// # Errors
/// What the database said.
pub async fn publish_last_again(tx: &mut PgConnection, key: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "UPDATE outbox SET published_at = NULL
         WHERE message_id = (SELECT message_id FROM outbox WHERE key = $1 ORDER BY seq DESC LIMIT 1) AND published_at IS NOT NULL
         RETURNING topic",
    )
    .bind(key)
    .fetch_optional(tx)
    .await
}
