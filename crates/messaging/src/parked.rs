//! Parked messages as an operator looks at them: listed, found, counted. What they say is decoded elsewhere; redrive is
//! `parking`'s.

use chrono::{DateTime, Utc};
use contracts::{Event, Topic};
use sqlx::{PgConnection, PgPool, Row as _};

use crate::database::Database;
use crate::parking::record_of;

/// One parked message without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    pub parked_id: i64,
    pub consumer: String,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// As text; bytes that are none are shown replaced.
    pub key: String,
    pub reason: String,
    pub parked_at: DateTime<Utc>,
    pub redriven_at: Option<DateTime<Utc>>,
    /// Nothing of its topic and key waits before it: redriving can begin here.
    pub is_first: bool,
}

/// Which ones are asked for. What is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub topic: Option<String>,
    pub key: Option<String>,
    /// Those that wait, or those that were redriven.
    pub waiting: Option<bool>,
    /// Only later ones: the place of a list.
    pub after: Option<i64>,
}

/// One parked message in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    pub parked: Parked,
    /// Names and values as they travelled.
    pub headers: Vec<(String, String)>,
    pub payload_bytes: usize,
    /// `None`: the payload is no event of that topic.
    pub event: Option<Event>,
}

#[derive(sqlx::FromRow)]
struct ParkedRow {
    parked_id: i64,
    consumer: String,
    topic: String,
    partition: i32,
    offset: i64,
    key: Vec<u8>,
    reason: String,
    parked_at: DateTime<Utc>,
    redriven_at: Option<DateTime<Utc>>,
    is_first: bool,
}

impl From<ParkedRow> for Parked {
    fn from(row: ParkedRow) -> Self {
        Self {
            parked_id: row.parked_id,
            consumer: row.consumer,
            topic: row.topic,
            partition: row.partition,
            offset: row.offset,
            key: String::from_utf8_lossy(&row.key).into_owned(),
            reason: row.reason,
            parked_at: row.parked_at,
            redriven_at: row.redriven_at,
            is_first: row.is_first,
        }
    }
}

/// In the order of parking, at most `limit`.
///
/// # Errors
/// What the database said.
pub async fn list(pool: &PgPool, asked: &Asked, limit: u16) -> Result<Vec<Parked>, sqlx::Error> {
    let rows: Vec<ParkedRow> = sqlx::query_as(
        "SELECT parked_id, consumer, topic, partition, \"offset\", key, reason, parked_at, redriven_at,
                redriven_at IS NULL AND NOT EXISTS (
                    SELECT FROM parked_messages earlier
                    WHERE earlier.consumer = parked.consumer AND earlier.topic = parked.topic AND earlier.key = parked.key
                      AND earlier.parked_id < parked.parked_id AND earlier.redriven_at IS NULL) AS is_first
         FROM parked_messages parked
         WHERE ($1::text IS NULL OR topic = $1) AND ($2::bytea IS NULL OR key = $2)
           AND ($3::boolean IS NULL OR (redriven_at IS NULL) = $3) AND ($4::bigint IS NULL OR parked_id > $4)
         ORDER BY parked_id LIMIT $5",
    )
    .bind(&asked.topic)
    .bind(asked.key.as_ref().map(|key| key.as_bytes()))
    .bind(asked.waiting)
    .bind(asked.after)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// What waits under `key`, in order; at most `limit`.
///
/// # Errors
/// What the database said.
pub async fn of_key(connection: &mut PgConnection, key: &str, limit: u16) -> Result<Vec<Parked>, sqlx::Error> {
    let rows: Vec<ParkedRow> = sqlx::query_as(
        "SELECT parked_id, consumer, topic, partition, \"offset\", key, reason, parked_at, redriven_at,
                redriven_at IS NULL AS is_first
         FROM parked_messages WHERE key = $1 ORDER BY parked_id LIMIT $2",
    )
    .bind(key.as_bytes())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// One message with what it says.
///
/// # Errors
/// What the database said.
pub async fn find(database: &Database, topic_prefix: &str, parked_id: i64) -> Result<Option<Opened>, sqlx::Error> {
    let after = Asked { after: Some(parked_id - 1), ..Asked::default() };
    let Some(parked) = list(database.pool(), &after, 1).await?.into_iter().find(|row| row.parked_id == parked_id)
    else {
        return Ok(None);
    };
    let row = sqlx::query(
        "SELECT topic, partition, \"offset\", key, payload, headers FROM parked_messages WHERE parked_id = $1",
    )
    .bind(parked_id)
    .fetch_one(database.pool())
    .await?;
    let record = record_of(&row, &row.try_get::<Vec<u8>, _>("key")?)?;
    let name = record.topic.strip_prefix(topic_prefix).unwrap_or(&record.topic);
    let event = Topic::of(name, database.region()).and_then(|topic| Event::decode(topic, &record.payload).ok());
    Ok(Some(Opened { parked, headers: record.headers, payload_bytes: record.payload.len(), event }))
}
