//! Counting what came in. The receipt's own row comes first: a second receipt with its reference waits for it and then finds
//! it, so nothing is counted twice.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use messaging::{Cause, Change, CommitError, Database, WriteError};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::failure::{Refusal, of_commit};
use crate::domain::receipt::Receipt;
use crate::usecases::ports::stock::{Committed, StoreError};

type Written = Result<(), WriteError<Refusal>>;

pub(super) async fn receive(
    database: &Database,
    receipt: &Receipt,
    now: DateTime<Utc>,
) -> Result<Committed, StoreError> {
    let change = Change { cause: Cause::Duty("receive_stock"), events: Vec::new(), answer: None };
    let receipt = Arc::new(receipt.clone());
    let outcome = database
        .commit(change, move |tx| {
            let receipt = receipt.clone();
            Box::pin(async move { write(tx, &receipt, now).await })
        })
        .await;
    match outcome {
        Ok(messaging::Committed::Applied) => Ok(Committed::Applied),
        Ok(messaging::Committed::Repeated(_)) | Err(CommitError::Refused(Refusal::ReceivedBefore)) => {
            Ok(Committed::Repeated)
        }
        Err(error) => Err(of_commit(error)),
    }
}

async fn write(tx: &mut PgConnection, receipt: &Receipt, now: DateTime<Utc>) -> Written {
    insert_receipt(tx, receipt, now).await?;
    raise_levels(tx, receipt).await?;
    insert_movements(tx, receipt, now).await
}

async fn insert_receipt(tx: &mut PgConnection, receipt: &Receipt, now: DateTime<Utc>) -> Written {
    let fingerprint: [u8; 32] = Sha256::digest(receipt.canonical_lines().as_bytes()).into();
    let inserted = sqlx::query(
        r#"
        INSERT INTO stock_receipts (reference, fingerprint, received_at)
        VALUES ($1, $2, $3)
        ON CONFLICT (reference) DO NOTHING
        "#,
    )
    .bind(receipt.reference().as_str())
    .bind(fingerprint.as_slice())
    .bind(now)
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(());
    }
    let counted: Vec<u8> = sqlx::query_scalar("SELECT fingerprint FROM stock_receipts WHERE reference = $1")
        .bind(receipt.reference().as_str())
        .fetch_one(tx)
        .await?;
    let refusal = if counted == fingerprint { Refusal::ReceivedBefore } else { Refusal::ReferenceReused };
    Err(WriteError::Refused(refusal))
}

/// Lines come in SKU order, and so do the locks.
async fn raise_levels(tx: &mut PgConnection, receipt: &Receipt) -> Written {
    let (skus, quantities) = columns(receipt);
    let kinds: Vec<&str> = receipt.lines().iter().map(|line| line.kind.code()).collect();
    let raised: Vec<String> = sqlx::query_scalar(
        r#"
        INSERT INTO stock (sku, kind, available, received, version)
        SELECT sku, kind, quantity, quantity, 1
        FROM UNNEST($1::text[], $2::text[], $3::bigint[]) AS line (sku, kind, quantity)
        ON CONFLICT (sku) DO UPDATE
        SET available = stock.available + EXCLUDED.available,
            received = stock.received + EXCLUDED.received,
            version = stock.version + 1
        WHERE stock.kind = EXCLUDED.kind
        RETURNING sku::text
        "#,
    )
    .bind(skus)
    .bind(kinds)
    .bind(quantities)
    .fetch_all(tx)
    .await?;
    match receipt.lines().iter().find(|line| !raised.iter().any(|sku| sku == line.sku.as_str())) {
        Some(line) => Err(WriteError::Refused(Refusal::KindDiffers(line.sku.clone()))),
        None => Ok(()),
    }
}

/// A line without units declares how its SKU is supplied and moves nothing.
async fn insert_movements(tx: &mut PgConnection, receipt: &Receipt, now: DateTime<Utc>) -> Written {
    let (skus, quantities) = columns(receipt);
    sqlx::query(
        r#"
        INSERT INTO stock_movements (reference, sku, kind, quantity, moved_at)
        SELECT $1, line.sku, 'received', line.quantity, $2
        FROM UNNEST($3::text[], $4::bigint[]) AS line (sku, quantity)
        WHERE line.quantity > 0
        "#,
    )
    .bind(receipt.reference().as_str())
    .bind(now)
    .bind(skus)
    .bind(quantities)
    .execute(tx)
    .await?;
    Ok(())
}

fn columns(receipt: &Receipt) -> (Vec<&str>, Vec<i64>) {
    receipt.lines().iter().map(|line| (line.sku.as_str(), i64::from(line.quantity))).unzip()
}
