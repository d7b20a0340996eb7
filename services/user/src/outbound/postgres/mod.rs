//! People in PostgreSQL. Every write is one [`Database::commit`]; every read is one statement.

mod addresses;
mod consents;
mod profiles;
mod registration;
mod sign_ups;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::UserId;
use messaging::{Cause, Change, CommitError, Database, WriteError};
use sqlx::postgres::PgConnection;

use crate::domain::{Address, Consents, Profile, ProfileChange, Registration, SignUpId};
use crate::usecases::ports::{
    AddressBook, Changed, ConsentState, People, Registered, SignUpEnding, StoreError, UnfinishedSignUp,
};

pub struct PostgresPeople {
    database: Database,
}

impl PostgresPeople {
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// # Errors
    /// The database does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(self.database.pool()).await.map(drop).map_err(read_failed)
    }
}

#[async_trait]
impl People for PostgresPeople {
    async fn begin_sign_up(
        &self,
        sign_up: SignUpId,
        now: DateTime<Utc>,
        first_look: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sign_ups::begin(&self.database, sign_up, now, first_look).await
    }

    async fn register(&self, registration: &Registration) -> Result<Registered, StoreError> {
        registration::register(&self.database, registration).await
    }

    async fn close_sign_up(
        &self,
        sign_up: SignUpId,
        ending: SignUpEnding,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sign_ups::close(&self.database, sign_up, ending, now).await
    }

    async fn postpone_sign_up(&self, sign_up: SignUpId, until: DateTime<Utc>) -> Result<(), StoreError> {
        sign_ups::postpone(&self.database, sign_up, until).await
    }

    async fn unfinished_sign_ups(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<UnfinishedSignUp>, StoreError> {
        sign_ups::unfinished(&self.database, now, limit).await
    }

    async fn forget_sign_ups(&self, closed_before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        sign_ups::forget(&self.database, closed_before, limit).await
    }

    async fn profile(&self, user: UserId) -> Result<Option<Profile>, StoreError> {
        profiles::load(&self.database, user).await
    }

    async fn change_profile(
        &self,
        user: UserId,
        expected: i64,
        change: &ProfileChange,
        now: DateTime<Utc>,
    ) -> Result<Changed<Profile>, StoreError> {
        profiles::change(&self.database, user, expected, change, now).await
    }

    async fn consents(&self, user: UserId) -> Result<Option<ConsentState>, StoreError> {
        consents::load(&self.database, user).await
    }

    async fn change_consents(
        &self,
        user: UserId,
        consents: Consents,
        now: DateTime<Utc>,
    ) -> Result<Changed<ConsentState>, StoreError> {
        consents::change(&self.database, user, consents, now).await
    }

    async fn addresses(&self, user: UserId) -> Result<Option<AddressBook>, StoreError> {
        addresses::load(&self.database, user).await
    }

    async fn replace_addresses(
        &self,
        user: UserId,
        expected: i64,
        list: &[Address],
        now: DateTime<Utc>,
    ) -> Result<Changed<AddressBook>, StoreError> {
        addresses::replace(&self.database, user, expected, list, now).await
    }
}

/// Why a change does not fit the state it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the state has another version")]
    Stale,
    #[error("there is no such person")]
    Absent,
    #[error("the person has a row")]
    Already,
}

type Written = Result<(), WriteError<Refusal>>;

/// A change without events, made by a duty of ours: the version in the state makes it safe to repeat.
fn duty(name: &'static str) -> Change {
    Change { cause: Cause::Duty(name), events: Vec::new(), answer: None }
}

/// Where a closure that may run twice leaves what its last run found.
#[derive(Clone, Debug)]
struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T> Slot<T> {
    fn empty() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    fn put(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    fn take(&self) -> Result<T, StoreError> {
        let value = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or_else(|| {
            StoreError::Inconsistent(anyhow::anyhow!("a commit reported success without running its statements"))
        })
    }
}

/// Turns the outcome of a versioned change into what the port promises.
fn changed<T>(outcome: Result<(), CommitError<Refusal>>, found: &Slot<T>) -> Result<Changed<T>, StoreError> {
    match outcome {
        Ok(()) => found.take().map(Changed::Done),
        Err(CommitError::Refused(Refusal::Stale)) => Ok(Changed::Stale),
        Err(CommitError::Refused(Refusal::Absent)) => Ok(Changed::Absent),
        Err(other) => Err(commit_failed(other)),
    }
}

fn commit_failed(error: CommitError<Refusal>) -> StoreError {
    match error {
        CommitError::NotWritable => StoreError::NotWritable,
        CommitError::OutcomeUnknown => StoreError::OutcomeUnknown,
        CommitError::Unavailable(_) | CommitError::Busy | CommitError::InProgress | CommitError::Crashed(_) => {
            StoreError::Unavailable(anyhow::Error::new(error))
        }
        CommitError::Database(_) | CommitError::KeyReused | CommitError::Refused(_) => {
            StoreError::Inconsistent(anyhow::Error::new(error))
        }
    }
}

/// A read that failed: the database is away unless it answered with an error of its own.
fn read_failed(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            StoreError::Inconsistent(error.into())
        }
        other => StoreError::Unavailable(other.into()),
    }
}

/// A row that says what cannot be. Names the place, never the value.
fn broken_row(table: &str, column: &str, user: UserId) -> StoreError {
    StoreError::Inconsistent(anyhow::anyhow!("{table}.{column} of user {user} is not acceptable"))
}

/// Tells whether nothing was updated because the person is gone or because the version moved on.
async fn stale_or_absent(tx: &mut PgConnection, user: UserId) -> Result<Refusal, sqlx::Error> {
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM users WHERE user_id = $1)")
        .bind(user.uuid())
        .fetch_one(tx)
        .await?;
    Ok(if exists { Refusal::Stale } else { Refusal::Absent })
}
