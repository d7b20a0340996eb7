//! Profiles: one row each, changed from a known version only.

use chrono::{DateTime, NaiveDateTime, Utc};
use common::UserId;
use messaging::{Database, WriteError};
use uuid::Uuid;

use super::{Slot, broken_row, changed, duty, read_failed, stale_or_absent};
use crate::domain::{Email, Language, PersonName, Profile, ProfileChange};
use crate::usecases::ports::{Changed, StoreError};

#[derive(Clone, Debug, sqlx::FromRow)]
struct ProfileRow {
    user_id: Uuid,
    email: String,
    first_name: String,
    last_name: String,
    language: String,
    residency_region: String,
    version: i64,
    created_at: NaiveDateTime,
}

impl TryFrom<ProfileRow> for Profile {
    type Error = StoreError;

    fn try_from(row: ProfileRow) -> Result<Self, StoreError> {
        let user_id = UserId::from_uuid(row.user_id);
        let broken = |column| broken_row("users", column, user_id);
        let region = row.residency_region.parse().map_err(|_| broken("residency_region"))?;
        Ok(Self {
            user_id,
            email: Email::parse(&row.email).map_err(|_| broken("email"))?,
            first_name: PersonName::parse(&row.first_name).map_err(|_| broken("first_name"))?,
            last_name: PersonName::parse(&row.last_name).map_err(|_| broken("last_name"))?,
            // The catalog may have given up a language since; nobody is locked out for that.
            language: Language::parse(&row.language, region).unwrap_or_else(|_| Language::default_of(region)),
            region,
            version: row.version,
            created_at: row.created_at.and_utc(),
        })
    }
}

pub(super) async fn load(database: &Database, user: UserId) -> Result<Option<Profile>, StoreError> {
    let row: Option<ProfileRow> = sqlx::query_as(
        "SELECT user_id, email, first_name, last_name, language, residency_region, version, created_at
         FROM users WHERE user_id = $1",
    )
    .bind(user.uuid())
    .fetch_optional(database.pool())
    .await
    .map_err(read_failed)?;
    row.map(Profile::try_from).transpose()
}

pub(super) async fn change(
    database: &Database,
    user: UserId,
    expected: i64,
    change: &ProfileChange,
    now: DateTime<Utc>,
) -> Result<Changed<Profile>, StoreError> {
    let (found, change) = (Slot::empty(), change.clone());
    let seen = found.clone();
    let outcome = database.commit(duty("change-profile"), move |tx| {
        let (seen, change) = (seen.clone(), change.clone());
        Box::pin(async move {
            let row: Option<ProfileRow> = sqlx::query_as(
                "UPDATE users
                 SET first_name = COALESCE($3, first_name), last_name = COALESCE($4, last_name),
                     language = COALESCE($5, language), version = version + 1, updated_at = $6
                 WHERE user_id = $1 AND version = $2
                 RETURNING user_id, email, first_name, last_name, language, residency_region, version, created_at",
            )
            .bind(user.uuid())
            .bind(expected)
            .bind(change.first_name.as_ref().map(PersonName::open))
            .bind(change.last_name.as_ref().map(PersonName::open))
            .bind(change.language.map(Language::code))
            .bind(now)
            .fetch_optional(&mut *tx)
            .await?;
            match row {
                Some(row) => seen.put(row),
                None => return Err(WriteError::Refused(stale_or_absent(tx, user).await?)),
            }
            Ok(())
        })
    });
    match changed(outcome.await.map(drop), &found)? {
        Changed::Done(row) => Profile::try_from(row).map(Changed::Done),
        Changed::Stale => Ok(Changed::Stale),
        Changed::Absent => Ok(Changed::Absent),
    }
}
