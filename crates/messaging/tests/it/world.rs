//! What the stories of this crate share: a database with the smallest state, an event, a change that writes both.

use contracts::catalog::v1::StockReserved;
use messaging::{Cause, Change, CommitError, Committed, Database, Outgoing, RequestKey, StoredAnswer, WriteError};
use testkit::TestDatabase;

pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("tests/it/migrations");

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused by the rules")]
pub struct Refused;

impl common::Explain for Refused {
    fn kind(&self) -> common::ErrorKind {
        common::ErrorKind::Conflict
    }

    fn code(&self) -> &'static str {
        "state-conflict"
    }
}

pub async fn database() -> TestDatabase {
    TestDatabase::create("inventory", &MIGRATIONS).await
}

pub fn event(order: &str, version: i64) -> Outgoing {
    Outgoing::new(StockReserved { order_id: order.to_owned() }, version)
}

pub fn request(key: &str, fingerprint: u8) -> RequestKey {
    RequestKey {
        subject: uuid::Uuid::from_u128(7),
        method: "POST",
        route: "/v1/marks",
        key: key.to_owned(),
        fingerprint: [fingerprint; 32],
    }
}

pub fn answer(body: &str) -> StoredAnswer {
    StoredAnswer { status: 201, body: body.as_bytes().to_vec() }
}

/// Commits one mark with one event.
pub async fn mark(
    database: &Database,
    cause: Cause,
    name: &str,
    events: Vec<Outgoing>,
    stored: Option<StoredAnswer>,
) -> Result<Committed, CommitError<Refused>> {
    let name = name.to_owned();
    database
        .commit(Change { cause, events, answer: stored }, move |tx| {
            let name = name.clone();
            Box::pin(async move {
                sqlx::query("INSERT INTO marks (name, seen) VALUES ($1, 1)").bind(name).execute(tx).await?;
                Ok::<_, WriteError<Refused>>(())
            })
        })
        .await
}
