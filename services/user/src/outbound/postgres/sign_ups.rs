//! Intents to sign somebody up. They name nobody.

use chrono::{DateTime, Utc};
use common::UserId;
use messaging::Database;
use uuid::Uuid;

use super::{Written, commit_failed, duty, read_failed};
use crate::domain::SignUpId;
use crate::usecases::ports::{SignUpEnding, StoreError, UnfinishedSignUp};

pub(super) async fn begin(
    database: &Database,
    sign_up: SignUpId,
    now: DateTime<Utc>,
    first_look: DateTime<Utc>,
) -> Result<(), StoreError> {
    let region = database.region().code();
    let outcome = database.commit(duty("begin-sign-up"), move |tx| {
        Box::pin(async move {
            sqlx::query(
                "INSERT INTO sign_ups (sign_up_id, state, next_look_at, created_at, residency_region)
                 VALUES ($1, 'open', $2, $3, $4)
                 ON CONFLICT (sign_up_id) DO NOTHING",
            )
            .bind(sign_up.uuid())
            .bind(first_look)
            .bind(now)
            .bind(region)
            .execute(tx)
            .await?;
            Written::Ok(())
        })
    });
    outcome.await.map(drop).map_err(commit_failed)
}

pub(super) async fn close(
    database: &Database,
    sign_up: SignUpId,
    ending: SignUpEnding,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let (state, user) = match ending {
        SignUpEnding::Refused => ("refused", None),
        SignUpEnding::Abandoned => ("abandoned", None),
        SignUpEnding::Done(user) => ("done", Some(user)),
    };
    let outcome = database.commit(duty("close-sign-up"), move |tx| {
        Box::pin(async move {
            sqlx::query(
                "UPDATE sign_ups SET state = $2, user_id = $3, closed_at = $4 WHERE sign_up_id = $1 AND state = 'open'",
            )
            .bind(sign_up.uuid())
            .bind(state)
            .bind(user.map(UserId::uuid))
            .bind(now)
            .execute(tx)
            .await?;
            Written::Ok(())
        })
    });
    outcome.await.map(drop).map_err(commit_failed)
}

pub(super) async fn postpone(database: &Database, sign_up: SignUpId, until: DateTime<Utc>) -> Result<(), StoreError> {
    let outcome = database.commit(duty("postpone-sign-up"), move |tx| {
        Box::pin(async move {
            // The count stops where its type would; two looks already decide.
            sqlx::query("UPDATE sign_ups SET looks = LEAST(looks + 1, 1000), next_look_at = $2 WHERE sign_up_id = $1 AND state = 'open'")
                .bind(sign_up.uuid())
                .bind(until)
                .execute(tx)
                .await?;
            Written::Ok(())
        })
    });
    outcome.await.map(drop).map_err(commit_failed)
}

pub(super) async fn unfinished(
    database: &Database,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<UnfinishedSignUp>, StoreError> {
    let rows: Vec<(Uuid, i16)> =
        sqlx::query_as("SELECT sign_up_id, looks FROM sign_ups WHERE state = 'open' AND next_look_at <= $1 ORDER BY next_look_at LIMIT $2")
            .bind(now)
            .bind(i64::from(limit))
            .fetch_all(database.pool())
            .await
            .map_err(read_failed)?;
    Ok(rows
        .into_iter()
        .map(|(id, looks)| UnfinishedSignUp {
            sign_up: SignUpId::from_uuid(id),
            looks: u16::try_from(looks).unwrap_or_default(),
        })
        .collect())
}

pub(super) async fn forget(database: &Database, closed_before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
    let old: Vec<Uuid> =
        sqlx::query_scalar("SELECT sign_up_id FROM sign_ups WHERE state <> 'open' AND closed_at < $1 LIMIT $2")
            .bind(closed_before)
            .bind(i64::from(limit))
            .fetch_all(database.pool())
            .await
            .map_err(read_failed)?;
    if old.is_empty() {
        return Ok(0);
    }
    let count = old.len() as u64;
    let outcome = database.commit(duty("forget-sign-ups"), move |tx| {
        let old = old.clone();
        Box::pin(async move {
            sqlx::query("DELETE FROM sign_ups WHERE sign_up_id = ANY($1) AND state <> 'open'")
                .bind(old)
                .execute(tx)
                .await?;
            Written::Ok(())
        })
    });
    outcome.await.map(|_| count).map_err(commit_failed)
}
