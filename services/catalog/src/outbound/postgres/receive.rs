//! Counting what came in, and how many units may be promised before they do; who said so is written down in the same transaction.
//! A receipt's own row comes first: a second receipt with its reference waits for it and then finds it, so nothing is counted twice.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::{Region, Sku, UserId};
use messaging::operators::{self, Action};
use messaging::{Cause, Change, Database, WriteError};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::failure::{Refusal, counted_once, of_commit};
use super::shelves::{self, Account, of_shelf};
use crate::domain::centre::{Centre, Centres};
use crate::domain::receipt::{Receipt, ReceiptReference};
use crate::usecases::ports::stock::{Committed, StoreError};

/// Nobody is asked why goods came in, or may be promised.
const NO_REASON: &str = "none given";

pub(super) type Written = Result<(), WriteError<Refusal>>;

pub(super) async fn receive(
    database: &Database,
    centres: &Centres,
    receipt: &Receipt,
    by: UserId,
    now: DateTime<Utc>,
) -> Result<Committed, StoreError> {
    let change = Change { cause: Cause::Duty("receive_stock"), events: Vec::new(), answer: None };
    let (receipt, home, region) = (Arc::new(receipt.clone()), centres.first().clone(), database.region());
    let outcome = database
        .commit(change, move |tx| {
            let (receipt, home) = (receipt.clone(), home.clone());
            Box::pin(async move { write(tx, &receipt, &home, (region, by), now).await })
        })
        .await;
    counted_once(outcome)
}

async fn write(
    tx: &mut PgConnection,
    receipt: &Receipt,
    home: &Centre,
    (region, by): (Region, UserId),
    now: DateTime<Utc>,
) -> Written {
    insert_reference(tx, receipt.reference(), &receipt.canonical_lines(home), now).await?;
    declare_supplies(tx, receipt).await?;
    make_rows(tx, receipt).await?;
    let skus: Vec<&str> = receipt.lines().iter().map(|line| line.sku.as_str()).collect();
    let mut rows = shelves::lock(tx, &skus).await?;
    for line in receipt.lines() {
        rows.receive(&line.sku, receipt.centre(), line.quantity).map_err(of_shelf)?;
    }
    shelves::write(tx, &rows, Account::Receipt(receipt.reference().as_str()), now).await?;
    let action = Action {
        actor: by,
        name: "stock.receive",
        subject: receipt.reference().to_string(),
        reason: NO_REASON.to_owned(),
        outcome: format!("{} lines in {}: {} units", receipt.lines().len(), receipt.centre(), receipt.units()),
    };
    Ok(operators::record(tx, region, &action).await?)
}

/// Takes the reference of a receipt or a correction, which are one space of names: `content` is what a repetition must say too.
pub(super) async fn insert_reference(
    tx: &mut PgConnection,
    reference: &ReceiptReference,
    content: &str,
    now: DateTime<Utc>,
) -> Written {
    let fingerprint: [u8; 32] = Sha256::digest(content.as_bytes()).into();
    let inserted = sqlx::query(
        r#"
        INSERT INTO stock_receipts (reference, fingerprint, received_at)
        VALUES ($1, $2, $3)
        ON CONFLICT (reference) DO NOTHING
        "#,
    )
    .bind(reference.as_str())
    .bind(fingerprint.as_slice())
    .bind(now)
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(());
    }
    let counted: Vec<u8> = sqlx::query_scalar("SELECT fingerprint FROM stock_receipts WHERE reference = $1")
        .bind(reference.as_str())
        .fetch_one(tx)
        .await?;
    let refusal = if counted == fingerprint { Refusal::ReceivedBefore } else { Refusal::ReferenceReused };
    Err(WriteError::Refused(refusal))
}

/// The first receipt of a SKU says how it is supplied; later ones must say the same. Lines come in SKU order, and so do the
/// inserts that may wait for each other.
async fn declare_supplies(tx: &mut PgConnection, receipt: &Receipt) -> Written {
    let skus: Vec<&str> = receipt.lines().iter().map(|line| line.sku.as_str()).collect();
    let kinds: Vec<&str> = receipt.lines().iter().map(|line| line.kind.code()).collect();
    sqlx::query(
        r#"
        INSERT INTO supplies (sku, kind)
        SELECT sku, kind FROM UNNEST($1::text[], $2::text[]) WITH ORDINALITY AS line (sku, kind, place)
        ORDER BY place
        ON CONFLICT (sku) DO NOTHING
        "#,
    )
    .bind(&skus)
    .bind(&kinds)
    .execute(&mut *tx)
    .await?;
    let other: Option<i64> = sqlx::query_scalar(
        r#"
        SELECT place FROM UNNEST($1::text[], $2::text[]) WITH ORDINALITY AS line (sku, kind, place)
        JOIN supplies ON supplies.sku = line.sku AND supplies.kind <> line.kind
        ORDER BY place LIMIT 1
        "#,
    )
    .bind(&skus)
    .bind(&kinds)
    .fetch_optional(tx)
    .await?;
    let line = other.and_then(|place| receipt.lines().get(usize::try_from(place - 1).ok()?));
    line.map_or(Ok(()), |line| Err(WriteError::Refused(Refusal::KindDiffers(line.sku.clone()))))
}

/// A row without units for each SKU that the centre does not have yet; what came in is counted under its lock.
async fn make_rows(tx: &mut PgConnection, receipt: &Receipt) -> Written {
    sqlx::query(
        r#"
        INSERT INTO stock (sku, fulfilment_centre, kind)
        SELECT sku, $3, kind FROM UNNEST($1::text[], $2::text[]) WITH ORDINALITY AS line (sku, kind, place)
        ORDER BY place
        ON CONFLICT (sku, fulfilment_centre) DO NOTHING
        "#,
    )
    .bind(receipt.lines().iter().map(|line| line.sku.as_str()).collect::<Vec<_>>())
    .bind(receipt.lines().iter().map(|line| line.kind.code()).collect::<Vec<_>>())
    .bind(receipt.centre().as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// The limit of a SKU lives on its row in the first centre that has one, where its promises are made: a promise and its limit
/// are one row, under one lock.
pub(super) async fn limit_back_orders(
    database: &Database,
    centres: &Centres,
    (sku, limit): (&Sku, u32),
    by: UserId,
) -> Result<(), StoreError> {
    let change = Change { cause: Cause::Duty("limit_back_orders"), events: Vec::new(), answer: None };
    let (sku, centres, region) = (sku.clone(), centres.clone(), database.region());
    let outcome = database
        .commit(change, move |tx| {
            let (sku, centres) = (sku.clone(), centres.clone());
            Box::pin(async move {
                let rows = shelves::lock_to_hold(tx, &[sku.as_str()]).await?;
                let place = rows.promising(&sku, &centres).map_err(|error| WriteError::Refused(error.into()))?;
                sqlx::query(
                    r#"
                    UPDATE stock
                    SET back_order_limit = CASE WHEN fulfilment_centre = $2 THEN $3 ELSE 0 END, version = version + 1
                    WHERE sku = $1 AND back_order_limit <> CASE WHEN fulfilment_centre = $2 THEN $3 ELSE 0 END
                    "#,
                )
                .bind(sku.as_str())
                .bind(place.1.as_str())
                .bind(i64::from(limit))
                .execute(&mut *tx)
                .await?;
                let action = Action {
                    actor: by,
                    name: "stock.limit_back_orders",
                    subject: sku.to_string(),
                    reason: NO_REASON.to_owned(),
                    outcome: format!("at most {limit} units from {}", place.1),
                };
                Ok(operators::record(tx, region, &action).await?)
            })
        })
        .await;
    outcome.map(drop).map_err(of_commit)
}
