//! The commit that makes a person: row, consents, event and the end of the sign-up, together or not at all.

use contracts::user::v1::UserRegistered;
use messaging::{Cause, Change, CommitError, Database, Outgoing, WriteError};
use sqlx::postgres::PgConnection;

use super::{Refusal, Written, commit_failed};
use crate::domain::Registration;
use crate::usecases::ports::{Registered, StoreError};

/// A person's first version.
const FIRST: i64 = 1;

pub(super) async fn register(database: &Database, registration: &Registration) -> Result<Registered, StoreError> {
    let change = Change {
        cause: Cause::Duty("register-person"),
        events: vec![Outgoing::new(event(registration), FIRST)],
        answer: None,
    };
    let registration = registration.clone();
    let outcome = database
        .commit(change, move |tx| {
            let registration = registration.clone();
            Box::pin(async move { write(tx, &registration).await })
        })
        .await;
    match outcome {
        Ok(_) => Ok(Registered::New),
        Err(CommitError::Refused(Refusal::Already)) => Ok(Registered::Already),
        Err(other) => Err(commit_failed(other)),
    }
}

fn event(registration: &Registration) -> UserRegistered {
    UserRegistered {
        user_id: registration.user_id.to_string(),
        residency_region: registration.region.code().to_owned(),
        registered_at_ms: registration.registered_at.timestamp_millis(),
        personalisation_consent: registration.consents.personalisation,
    }
}

async fn write(tx: &mut PgConnection, registration: &Registration) -> Written {
    let inserted = insert_person(tx, registration).await?;
    if inserted == 0 {
        // Somebody was faster: the reconciler, a login, or our own lost answer. The event must not be sent again.
        return Err(WriteError::Refused(Refusal::Already));
    }
    insert_consents(tx, registration).await?;
    finish_sign_up(tx, registration).await?;
    Ok(())
}

async fn insert_person(tx: &mut PgConnection, registration: &Registration) -> Result<u64, sqlx::Error> {
    let inserted = sqlx::query(
        "INSERT INTO users (user_id, first_name, last_name, email, language, residency_region, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (user_id) DO NOTHING",
    )
    .bind(registration.user_id.uuid())
    .bind(registration.first_name.open())
    .bind(registration.last_name.open())
    .bind(registration.email.open())
    .bind(registration.language.code())
    .bind(registration.region.code())
    .bind(FIRST)
    .bind(registration.registered_at.naive_utc())
    .bind(registration.registered_at)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected())
}

async fn insert_consents(tx: &mut PgConnection, registration: &Registration) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO consents (user_id, version, personalisation, marketing, changed_at, residency_region)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(registration.user_id.uuid())
    .bind(FIRST)
    .bind(registration.consents.personalisation)
    .bind(registration.consents.marketing)
    .bind(registration.registered_at)
    .bind(registration.region.code())
    .execute(tx)
    .await
    .map(drop)
}

/// Also takes up a sign-up that was given up too early: the person is there, so it is done.
async fn finish_sign_up(tx: &mut PgConnection, registration: &Registration) -> Result<(), sqlx::Error> {
    let Some(sign_up) = registration.sign_up else { return Ok(()) };
    sqlx::query(
        "UPDATE sign_ups SET state = 'done', user_id = $2, closed_at = $3 WHERE sign_up_id = $1 AND state <> 'done'",
    )
    .bind(sign_up.uuid())
    .bind(registration.user_id.uuid())
    .bind(registration.registered_at)
    .execute(tx)
    .await
    .map(drop)
}
