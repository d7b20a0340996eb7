//! The log of consents. A row is only ever added; the newest one holds.

use chrono::{DateTime, Utc};
use common::UserId;
use messaging::{Database, WriteError};
use sqlx::postgres::PgConnection;

use super::{Refusal, Slot, changed, duty, read_failed};
use crate::domain::Consents;
use crate::usecases::ports::{Changed, ConsentState, StoreError};

#[derive(Clone, Copy, Debug, sqlx::FromRow)]
struct ConsentRow {
    version: i64,
    personalisation: bool,
    marketing: bool,
    changed_at: DateTime<Utc>,
}

impl From<ConsentRow> for ConsentState {
    fn from(row: ConsentRow) -> Self {
        let consents = Consents { personalisation: row.personalisation, marketing: row.marketing };
        Self { version: row.version, consents, changed_at: row.changed_at }
    }
}

pub(super) async fn load(database: &Database, user: UserId) -> Result<Option<ConsentState>, StoreError> {
    let mut connection = database.pool().acquire().await.map_err(read_failed)?;
    newest(&mut connection, user).await.map_err(read_failed)
}

pub(super) async fn change(
    database: &Database,
    user: UserId,
    consents: Consents,
    now: DateTime<Utc>,
) -> Result<Changed<ConsentState>, StoreError> {
    let region = database.region().code();
    let found = Slot::empty();
    let seen = found.clone();
    let outcome = database.commit(duty("change-consents"), move |tx| {
        let seen = seen.clone();
        Box::pin(async move {
            // Two changes of one person follow each other, so that versions have no gap and no twin.
            lock_person(tx, user).await?.ok_or(WriteError::Refused(Refusal::Absent))?;
            let before = newest(tx, user).await?;
            let state = match before {
                Some(state) if state.consents == consents => state,
                _ => insert(tx, user, before.map_or(1, |state| state.version + 1), consents, now, region).await?,
            };
            seen.put(state);
            Ok(())
        })
    });
    changed(outcome.await.map(drop), &found)
}

async fn newest(connection: &mut PgConnection, user: UserId) -> Result<Option<ConsentState>, sqlx::Error> {
    let row: Option<ConsentRow> = sqlx::query_as(
        "SELECT version, personalisation, marketing, changed_at FROM consents WHERE user_id = $1 ORDER BY version DESC LIMIT 1",
    )
    .bind(user.uuid())
    .fetch_optional(connection)
    .await?;
    Ok(row.map(ConsentState::from))
}

async fn lock_person(tx: &mut PgConnection, user: UserId) -> Result<Option<()>, sqlx::Error> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT version FROM users WHERE user_id = $1 FOR NO KEY UPDATE")
        .bind(user.uuid())
        .fetch_optional(tx)
        .await?;
    Ok(row.map(drop))
}

async fn insert(
    tx: &mut PgConnection,
    user: UserId,
    version: i64,
    consents: Consents,
    now: DateTime<Utc>,
    region: &str,
) -> Result<ConsentState, sqlx::Error> {
    sqlx::query_as(
        "INSERT INTO consents (user_id, version, personalisation, marketing, changed_at, residency_region)
         VALUES ($1, $2, $3, $4, $5, $6)
         RETURNING version, personalisation, marketing, changed_at",
    )
    .bind(user.uuid())
    .bind(version)
    .bind(consents.personalisation)
    .bind(consents.marketing)
    .bind(now)
    .bind(region)
    .fetch_one(tx)
    .await
    .map(|row: ConsentRow| row.into())
}
