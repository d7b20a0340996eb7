//! Seals over the books: made in one transaction from what waits, read back for the check.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use common::{Currency, Region, TransactionId};
use messaging::WriteError;
use serde::Deserialize;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

use super::{Written, named, unread};
use crate::domain::ledger_seal::{self, Hash, Leaf, Seal};
use crate::domain::{Entry, Transaction};
use crate::usecases::error::{Conflict, StoreError};

#[derive(sqlx::FromRow)]
struct TransactionRow {
    transaction_id: Uuid,
    kind: String,
    order_id: Option<Uuid>,
    attempt_id: Option<Uuid>,
    user_id: Option<Uuid>,
    reference: Option<String>,
    reverses: Option<Uuid>,
    currency: String,
    recorded_at: DateTime<Utc>,
    entries: Json<Vec<EntryRow>>,
}

#[derive(Deserialize)]
struct EntryRow {
    account: String,
    amount: i64,
}

#[derive(sqlx::FromRow)]
struct SealRow {
    seal_no: i64,
    previous_root: Vec<u8>,
    root: Vec<u8>,
    first_position: i64,
    last_position: i64,
    sealed_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct LeafRow {
    position: i64,
    transaction_id: Uuid,
    leaf: Vec<u8>,
}

/// Takes what waits and seals it. Whoever seals at the same time waits for the same rows and finds them gone.
pub async fn make(
    tx: &mut PgConnection,
    region: Region,
    now: DateTime<Utc>,
    limit: u16,
) -> Result<Option<Seal>, WriteError<Conflict>> {
    let waiting: Vec<Uuid> = sqlx::query_scalar(
        "DELETE FROM ledger_unsealed WHERE transaction_id = ANY (ARRAY(SELECT transaction_id FROM ledger_unsealed LIMIT $1)) RETURNING transaction_id",
    )
    .bind(i64::from(limit))
    .fetch_all(&mut *tx)
    .await?;
    if waiting.is_empty() {
        return Ok(None);
    }
    let mut transactions = read(&mut *tx, &waiting).await.map_err(inconsistent)?;
    transactions.sort_by_key(|transaction| (transaction.at, transaction.id));
    let before: Option<SealRow> = sqlx::query_as(
        "SELECT seal_no, previous_root, root, first_position, last_position, sealed_at FROM ledger_seals ORDER BY seal_no DESC LIMIT 1",
    )
    .fetch_optional(&mut *tx)
    .await?;
    let before = before.map(seal).transpose().map_err(inconsistent)?;
    let hashes: Vec<Hash> = transactions.iter().map(ledger_seal::leaf).collect();
    let Some(made) = Seal::over(region, before.as_ref(), &hashes, now) else { return Ok(None) };
    write(tx, &made, &transactions, &hashes).await?;
    Ok(Some(made))
}

async fn write(tx: &mut PgConnection, seal: &Seal, transactions: &[Transaction], hashes: &[Hash]) -> Written {
    sqlx::query("INSERT INTO ledger_seals (seal_no, previous_root, root, first_position, last_position, sealed_at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(seal.number)
        .bind(seal.previous.as_slice())
        .bind(seal.root.as_slice())
        .bind(seal.first)
        .bind(seal.last)
        .bind(seal.sealed_at)
        .execute(&mut *tx)
        .await
        .map_err(|error| named(error, &[("ledger_seals_pkey", Conflict::Lost), ("ledger_seals_are_a_chain", Conflict::Lost)]))?;
    let ids: Vec<Uuid> = transactions.iter().map(|transaction| transaction.id.uuid()).collect();
    let leaves: Vec<&[u8]> = hashes.iter().map(Hash::as_slice).collect();
    sqlx::query(
        "INSERT INTO ledger_leaves (position, seal_no, transaction_id, leaf)
         SELECT $1 + number - 1, $2, transaction_id, leaf
         FROM UNNEST($3::uuid[], $4::bytea[]) WITH ORDINALITY AS sealed (transaction_id, leaf, number)",
    )
    .bind(seal.first)
    .bind(seal.number)
    .bind(ids)
    .bind(leaves)
    .execute(tx)
    .await?;
    Ok(())
}

/// Seals after `number`, in their order.
pub async fn after(pool: &PgPool, number: i64, limit: u16) -> Result<Vec<Seal>, StoreError> {
    let rows: Vec<SealRow> = sqlx::query_as(
        "SELECT seal_no, previous_root, root, first_position, last_position, sealed_at FROM ledger_seals
         WHERE seal_no > $1 ORDER BY seal_no LIMIT $2",
    )
    .bind(number)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    rows.into_iter().map(seal).collect()
}

/// The leaves of one seal, each with its transaction as the books have it now.
pub async fn leaves(pool: &PgPool, number: i64) -> Result<Vec<(Leaf, Option<Transaction>)>, StoreError> {
    let rows: Vec<LeafRow> =
        sqlx::query_as("SELECT position, transaction_id, leaf FROM ledger_leaves WHERE seal_no = $1 ORDER BY position")
            .bind(number)
            .fetch_all(pool)
            .await
            .map_err(unread)?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.transaction_id).collect();
    let mut known: HashMap<TransactionId, Transaction> =
        read(pool, &ids).await?.into_iter().map(|transaction| (transaction.id, transaction)).collect();
    let leaf = |row: LeafRow| {
        let transaction = TransactionId::from_uuid(row.transaction_id);
        let hash = hash(row.leaf, "ledger_leaves", row.position)?;
        Ok((Leaf { position: row.position, transaction, hash }, known.remove(&transaction)))
    };
    rows.into_iter().map(leaf).collect()
}

/// Transactions that are neither sealed nor waiting for it: somebody took them out of the queue.
pub async fn kept_out(pool: &PgPool) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM ledger_transactions moved
         WHERE NOT EXISTS (SELECT FROM ledger_leaves WHERE ledger_leaves.transaction_id = moved.transaction_id)
           AND NOT EXISTS (SELECT FROM ledger_unsealed WHERE ledger_unsealed.transaction_id = moved.transaction_id)",
    )
    .fetch_one(pool)
    .await
    .map_err(unread)?;
    Ok(u64::try_from(count).unwrap_or_default())
}

async fn read(executor: impl PgExecutor<'_>, ids: &[Uuid]) -> Result<Vec<Transaction>, StoreError> {
    let rows: Vec<TransactionRow> = sqlx::query_as(
        "SELECT transaction_id, kind::text, order_id, attempt_id, user_id, reference, reverses, currency, recorded_at,
                (SELECT coalesce(jsonb_agg(jsonb_build_object('account', account, 'amount', amount_minor) ORDER BY entry_no), '[]')
                 FROM ledger_entries WHERE ledger_entries.transaction_id = moved.transaction_id) AS entries
         FROM ledger_transactions moved WHERE transaction_id = ANY($1)",
    )
    .bind(ids)
    .fetch_all(executor)
    .await
    .map_err(unread)?;
    rows.into_iter().map(transaction).collect()
}

fn transaction(row: TransactionRow) -> Result<Transaction, StoreError> {
    let broken = |column: &'static str| StoreError::Inconsistent {
        table: "ledger_transactions",
        column,
        row: row.transaction_id.to_string(),
    };
    let currency: Currency = row.currency.parse().map_err(|_| broken("currency"))?;
    let entry = |entry: &EntryRow| {
        let account = entry.account.parse().map_err(|_| broken("entries"))?;
        Ok(Entry { account, amount_minor: entry.amount })
    };
    Ok(Transaction {
        id: row.transaction_id.into(),
        kind: row.kind.parse().map_err(|_| broken("kind"))?,
        order: row.order_id.map(Into::into),
        attempt: row.attempt_id.map(Into::into),
        user: row.user_id.map(Into::into),
        reverses: row.reverses.map(Into::into),
        currency,
        entries: row.entries.iter().map(entry).collect::<Result<_, StoreError>>()?,
        reference: row.reference,
        at: row.recorded_at,
    })
}

fn seal(row: SealRow) -> Result<Seal, StoreError> {
    Ok(Seal {
        number: row.seal_no,
        previous: hash(row.previous_root, "ledger_seals", row.seal_no)?,
        root: hash(row.root, "ledger_seals", row.seal_no)?,
        first: row.first_position,
        last: row.last_position,
        sealed_at: row.sealed_at,
    })
}

fn hash(bytes: Vec<u8>, table: &'static str, row: i64) -> Result<Hash, StoreError> {
    bytes.try_into().map_err(|_| StoreError::Inconsistent { table, column: "root", row: row.to_string() })
}

fn inconsistent(error: StoreError) -> WriteError<Conflict> {
    WriteError::Database(sqlx::Error::Decode(Box::new(error)))
}
