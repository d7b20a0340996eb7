//! What operators look at and do, in PostgreSQL. A file or a report is read within one snapshot; each write is a commit with
//! the operator's action in it. Statements about what is shown stand in `desk_rows`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{MessageId, OrderId};
use messaging::{Action, Cause, Database, WriteError, operators, parked, trail};
use sqlx::{PgConnection, Postgres, Transaction};

use super::desk_rows as rows;
use super::{Shared, attempts, unread};
use crate::usecases::CONSUMER;
use crate::usecases::desk::{Desk, Heard, Nudge, Owned, Report, SagaCard, SagaFile, SagaFilter};
use crate::usecases::error::{CommitError, Conflict, StoreError};

/// Rows of one kind in a saga's file: a saga has a handful; a thousand webhooks are somebody's mistake.
const MOST_ROWS: u16 = 100;

/// What the catalog tells about an order, and how many versions of it there can be.
const HEARD: [&str; 3] = ["stock.reserved", "stock.rejected", "shipment.created"];
const MOST_VERSIONS: i64 = 8;

#[derive(Clone, Debug)]
pub struct PostgresDesk {
    database: Database,
}

impl PostgresDesk {
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    async fn snapshot(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        self.database.pool().begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(unread)
    }

    /// A write that says whether it found something to write; the action is written only then.
    async fn act<T, F>(&self, action: &Action, write: F) -> Result<T, CommitError>
    where
        T: Default + Send + PartialEq + Clone + 'static,
        F: for<'t> Fn(&'t mut PgConnection) -> futures::future::BoxFuture<'t, Result<(T, bool), WriteError<Conflict>>>
            + Send
            + Sync
            + 'static,
    {
        let (outcome, action, region) = (Shared::<T>::default(), action.clone(), self.database.region());
        let result = outcome.clone();
        let write = std::sync::Arc::new(write);
        let change = messaging::Change { cause: Cause::Duty("operator"), events: Vec::new(), answer: None };
        self.database
            .commit(change, move |tx| {
                let (outcome, action, write) = (outcome.clone(), action.clone(), std::sync::Arc::clone(&write));
                Box::pin(async move {
                    let (said, acted) = write(&mut *tx).await?;
                    if acted {
                        operators::record(tx, region, &action).await?;
                    }
                    outcome.set(said);
                    Ok(())
                })
            })
            .await?;
        Ok(result.take())
    }
}

#[async_trait]
impl Desk for PostgresDesk {
    async fn sagas(&self, filter: &SagaFilter) -> Result<Vec<SagaCard>, StoreError> {
        rows::cards(self.database.pool(), filter).await
    }

    async fn saga(&self, order: OrderId) -> Result<Option<SagaFile>, StoreError> {
        let mut tx = self.snapshot().await?;
        let Some(card) = rows::card(&mut tx, order).await? else { return Ok(None) };
        let key = order.to_string();
        let file = SagaFile {
            card,
            lines: rows::lines(&mut tx, order).await?,
            history: rows::history(&mut tx, order).await?,
            attempts: rows::attempts(&mut tx, order).await?,
            ledger: rows::ledger(&mut tx, order).await?,
            webhooks: rows::webhooks(&mut tx, order, MOST_ROWS).await?,
            findings: rows::findings_of(&mut tx, order, MOST_ROWS).await?,
            told: trail::told(&mut tx, &key, MOST_ROWS).await.map_err(unread)?,
            heard: heard(&mut tx, &key).await?,
            parked: parked::of_key(&mut tx, &key, MOST_ROWS).await.map_err(unread)?,
            actions: operators::done_to(&mut tx, &key, MOST_ROWS).await.map_err(unread)?,
            shipped: rows::is_shipped(&mut tx, order).await?,
        };
        tx.commit().await.map_err(unread)?;
        Ok(Some(file))
    }

    async fn nudge(
        &self,
        order: OrderId,
        nudge: Nudge,
        action: &Action,
        now: DateTime<Utc>,
    ) -> Result<bool, CommitError> {
        self.act(action, move |tx| {
            Box::pin(async move {
                let moved = match nudge {
                    Nudge::MakeDue => {
                        attempts::hint(&mut *tx, &[order], now).await?;
                        rows::has_open_attempt(tx, order).await?
                    }
                    Nudge::TellAgain => trail::publish_last_again(tx, &order.to_string()).await?.is_some(),
                };
                Ok((moved, moved))
            })
        })
        .await
    }

    async fn report(&self) -> Result<Report, StoreError> {
        let mut tx = self.snapshot().await?;
        let report = Report {
            findings: rows::unresolved(&mut tx).await?,
            counts: rows::counts(&mut tx).await?,
            days: rows::days(&mut tx).await?,
            settlements: rows::settlements(&mut tx).await?,
        };
        tx.commit().await.map_err(unread)?;
        Ok(report)
    }

    async fn acknowledge(
        &self,
        kind: &str,
        reference: &str,
        action: &Action,
        now: DateTime<Utc>,
    ) -> Result<Owned, CommitError> {
        let (kind, reference, own) = (kind.to_owned(), reference.to_owned(), action.clone());
        let outcome = self
            .act(action, move |tx| {
                let (kind, reference, own) = (kind.clone(), reference.clone(), own.clone());
                Box::pin(async move {
                    let state = rows::lock_finding(&mut *tx, &kind, &reference).await?;
                    let open = state.as_deref() == Some("OPEN");
                    if open {
                        rows::acknowledge(tx, &kind, &reference, &own, now).await?;
                    }
                    Ok((Some(owned(state.is_some(), open)), open))
                })
            })
            .await?;
        Ok(outcome.unwrap_or(Owned::Absent))
    }

    async fn resolve(
        &self,
        kind: &str,
        reference: &str,
        action: &Action,
        now: DateTime<Utc>,
    ) -> Result<Owned, CommitError> {
        let (kind, reference, own) = (kind.to_owned(), reference.to_owned(), action.clone());
        let outcome = self
            .act(action, move |tx| {
                let (kind, reference, own) = (kind.clone(), reference.clone(), own.clone());
                Box::pin(async move {
                    let state = rows::lock_finding(&mut *tx, &kind, &reference).await?;
                    let unresolved = state.as_deref().is_some_and(|state| state != "RESOLVED");
                    if unresolved {
                        rows::resolve(tx, &kind, &reference, &own, now).await?;
                    }
                    Ok((Some(owned(state.is_some(), unresolved)), unresolved))
                })
            })
            .await?;
        Ok(outcome.unwrap_or(Owned::Absent))
    }
}

fn owned(exists: bool, done: bool) -> Owned {
    match (exists, done) {
        (false, _) => Owned::Absent,
        (true, true) => Owned::Done,
        (true, false) => Owned::Already,
    }
}

/// Message ids are derived from what they tell, so what was heard can be asked for by name.
async fn heard(tx: &mut PgConnection, key: &str) -> Result<Vec<Heard>, StoreError> {
    let versions = (1..=MOST_VERSIONS).flat_map(|version| HEARD.map(|kind| (kind, version)));
    let named: Vec<(MessageId, &'static str, i64)> =
        versions.map(|(kind, version)| (MessageId::derive(key, version, kind), kind, version)).collect();
    let ids: Vec<MessageId> = named.iter().map(|(id, ..)| *id).collect();
    let found = trail::heard(tx, CONSUMER, &ids).await.map_err(unread)?;
    let name = |(id, applied_at): (MessageId, DateTime<Utc>)| {
        let (_, kind, version) = named.iter().find(|(known, ..)| *known == id)?;
        Some(Heard { kind, version: *version, applied_at })
    };
    Ok(found.into_iter().filter_map(name).collect())
}
