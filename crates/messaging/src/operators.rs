//! What operators do is written down: who, when, what, to what, why, what came of it. Append-only; the table refuses
//! changes to everybody.
//!
//! Decided here: the shape of the row. Not decided here: who counts as an operator (`operations`, and the services' doors)
//! and what an action does. Where it changes state, [`record`] runs inside that change's transaction.

use chrono::{DateTime, Utc};
use common::{Region, UserId};
use sqlx::{PgConnection, PgPool};

use crate::commit::{Cause, Change, CommitError, Committed, WriteError};
use crate::database::Database;

/// Longest reason that is kept; one says why, one does not write a report.
pub const MOST_REASON: usize = 500;
/// Longest outcome that is kept; the rest of a long one is cut.
const MOST_OUTCOME: usize = 300;

/// Something an operator asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub actor: UserId,
    /// `<thing>.<verb>`
    pub name: &'static str,
    /// What it is done to.
    pub subject: String,
    /// 1 to [`MOST_REASON`] characters, in the operator's words.
    pub reason: String,
    pub outcome: String,
}

/// An action as it stands in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub actor: UserId,
    pub action: String,
    pub subject: String,
    pub reason: String,
    pub outcome: String,
    pub at: DateTime<Utc>,
}

/// Writes `action` into the transaction of the change that it is.
///
/// # Errors
/// What the database said.
pub async fn record(tx: &mut PgConnection, region: Region, action: &Action) -> Result<(), sqlx::Error> {
    let outcome: String = action.outcome.chars().take(MOST_OUTCOME).collect();
    sqlx::query(
        "INSERT INTO operator_actions (residency_region, actor, action, subject, reason, outcome)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(region.code())
    .bind(action.actor.uuid())
    .bind(action.name)
    .bind(&action.subject)
    .bind(&action.reason)
    .bind(outcome)
    .execute(tx)
    .await
    .map(drop)
}

/// What was done to `subject`, the latest last; at most `limit`.
///
/// # Errors
/// What the database said.
pub async fn done_to(connection: &mut PgConnection, subject: &str, limit: u16) -> Result<Vec<Recorded>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT actor, action, subject, reason, outcome, at FROM
         (SELECT * FROM operator_actions WHERE subject = $1 ORDER BY action_id DESC LIMIT $2) latest ORDER BY action_id",
    )
    .bind(subject)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// The latest actions, the newest first.
///
/// # Errors
/// What the database said.
pub async fn latest(pool: &PgPool, limit: u16) -> Result<Vec<Recorded>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT actor, action, subject, reason, outcome, at FROM operator_actions ORDER BY action_id DESC LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

#[derive(sqlx::FromRow)]
struct Row {
    actor: uuid::Uuid,
    action: String,
    subject: String,
    reason: String,
    outcome: String,
    at: DateTime<Utc>,
}

impl From<Row> for Recorded {
    fn from(row: Row) -> Self {
        let Row { actor, action, subject, reason, outcome, at } = row;
        Self { actor: actor.into(), action, subject, reason, outcome, at }
    }
}

/// Nothing refuses a note but the database itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the action was not written down; nothing was done")]
pub struct NotRecorded;

impl common::Explain for NotRecorded {
    fn kind(&self) -> common::ErrorKind {
        common::ErrorKind::Unavailable
    }

    fn code(&self) -> &'static str {
        "dependency-down"
    }
}

impl Database {
    /// Writes down an action that is no change of state of this service's own, behind the fence.
    ///
    /// # Errors
    /// [`CommitError`]: then it is not written down, and must not be done.
    pub async fn record_action(&self, action: Action) -> Result<Committed, CommitError<NotRecorded>> {
        let region = self.region();
        let change = Change { cause: Cause::Duty("operator-action"), events: Vec::new(), answer: None };
        self.commit(change, move |tx| {
            let action = action.clone();
            Box::pin(async move { record(tx, region, &action).await.map_err(WriteError::from) })
        })
        .await
    }
}
