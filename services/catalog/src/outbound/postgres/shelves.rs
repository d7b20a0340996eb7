//! Stock rows under lock: loaded in the order of SKU and centre, so that two transactions with the same rows wait for each
//! other and never in a circle; decided in the domain; written back once, with what moved.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::{OrderId, Sku};
use messaging::WriteError;
use sqlx::PgConnection;
use uuid::Uuid;

use super::failure::Refusal;
use super::load::StockRow;
use crate::domain::centre::Centre;
use crate::domain::shelves::{Move, Place, ShelfError, Shelves, Waiting};

/// On whose account units move.
#[derive(Clone, Copy)]
pub(super) enum Account<'a> {
    /// Steps of reservations: for each movement the version that its step gave the reservation, and when.
    Steps(&'a [(i64, DateTime<Utc>)]),
    Receipt(&'a str),
    /// With the reason that each movement carries.
    Correction {
        reference: &'a str,
        reason: &'a str,
    },
}

/// Locks the rows of `skus` and reads them, with everybody who waits for goods of theirs.
pub(super) async fn lock(tx: &mut PgConnection, skus: &[&str]) -> Result<Shelves, WriteError<Refusal>> {
    let rows = lock_rows(tx, skus).await?;
    let owes = rows.values().any(|row| row.back_ordered > 0);
    let waiting = if owes { load_waiting(tx, skus).await? } else { Vec::new() };
    Ok(Shelves::new(rows, waiting))
}

/// As [`lock`], for those who only take: they need not know who waits.
pub(super) async fn lock_to_hold(tx: &mut PgConnection, skus: &[&str]) -> Result<Shelves, WriteError<Refusal>> {
    Ok(Shelves::new(lock_rows(tx, skus).await?, Vec::new()))
}

async fn lock_rows(
    tx: &mut PgConnection,
    skus: &[&str],
) -> Result<BTreeMap<Place, crate::domain::inventory::StockLevel>, WriteError<Refusal>> {
    let rows: Vec<StockRow> = sqlx::query_as(
        r#"
        SELECT sku::text, fulfilment_centre::text, kind, available, held, sold, returned, received, back_ordered, back_order_limit, version
        FROM stock
        WHERE sku = ANY ($1)
        ORDER BY sku, fulfilment_centre
        FOR NO KEY UPDATE
        "#,
    )
    .bind(skus)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(|row| row.into_row().map_err(|error| inconsistent(&error))).collect()
}

#[derive(sqlx::FromRow)]
struct WaitingRow {
    order_id: Uuid,
    sku: String,
    fulfilment_centre: String,
    waiting: i64,
}

/// After the locks: nobody can cover or promise anything meanwhile.
async fn load_waiting(tx: &mut PgConnection, skus: &[&str]) -> Result<Vec<Waiting>, WriteError<Refusal>> {
    let rows: Vec<WaitingRow> = sqlx::query_as(
        r#"
        SELECT order_id, sku::text, fulfilment_centre::text, waiting
        FROM back_orders
        WHERE sku = ANY ($1) AND waiting > 0
        ORDER BY promise_id
        "#,
    )
    .bind(skus)
    .fetch_all(tx)
    .await?;
    let waiting = rows.into_iter().map(|row| {
        let place = place(&row.sku, &row.fulfilment_centre)?;
        let units = u32::try_from(row.waiting).map_err(|_| inconsistent(&"back_orders.waiting"))?;
        Ok(Waiting { order: OrderId::from_uuid(row.order_id), place, units, changed: false })
    });
    waiting.collect()
}

fn place(sku: &str, centre: &str) -> Result<Place, WriteError<Refusal>> {
    let sku = Sku::parse(sku).map_err(|_| inconsistent(&"back_orders.sku"))?;
    let centre = Centre::parse(centre).map_err(|_| inconsistent(&"back_orders.fulfilment_centre"))?;
    Ok((sku, centre))
}

/// Writes what changed and what moved, on `account`.
pub(super) async fn write(
    tx: &mut PgConnection,
    shelves: &Shelves,
    account: Account<'_>,
    now: DateTime<Utc>,
) -> Result<(), WriteError<Refusal>> {
    write_rows(tx, shelves).await?;
    write_waiting(tx, shelves.waiting()).await?;
    write_moves(tx, shelves.moves(), account, now).await
}

/// One statement for all rows. Each must still be what was decided about: we hold its lock, so anything else is a broken
/// promise and ends the change.
pub(super) async fn write_rows(tx: &mut PgConnection, shelves: &Shelves) -> Result<(), WriteError<Refusal>> {
    let changes: Vec<_> = shelves.changes().collect();
    if changes.is_empty() {
        return Ok(());
    }
    let column = |count: fn(&crate::domain::inventory::StockLevel) -> i64| -> Vec<i64> {
        changes.iter().map(|(_, _, row)| count(row)).collect()
    };
    let written = sqlx::query(
        r#"
        UPDATE stock
        SET available = new.available, held = new.held, sold = new.sold, returned = new.returned, received = new.received,
            back_ordered = new.back_ordered, version = new.version
        FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
             AS new (sku, fulfilment_centre, before, available, held, sold, returned, received, back_ordered, version)
        WHERE stock.sku = new.sku AND stock.fulfilment_centre = new.fulfilment_centre AND stock.version = new.before
        "#,
    )
    .bind(changes.iter().map(|((sku, _), _, _)| sku.as_str()).collect::<Vec<_>>())
    .bind(changes.iter().map(|((_, centre), _, _)| centre.as_str()).collect::<Vec<_>>())
    .bind(changes.iter().map(|(_, before, _)| *before).collect::<Vec<_>>())
    .bind(column(|row| row.available))
    .bind(column(|row| row.held))
    .bind(column(|row| row.sold))
    .bind(column(|row| row.returned))
    .bind(column(|row| row.received))
    .bind(column(|row| row.back_ordered))
    .bind(column(|row| row.version))
    .execute(tx)
    .await?;
    if written.rows_affected() == changes.len() as u64 {
        Ok(())
    } else {
        Err(inconsistent(&"a stock row changed under its lock"))
    }
}

async fn write_waiting(tx: &mut PgConnection, waiting: &[Waiting]) -> Result<(), WriteError<Refusal>> {
    let changed: Vec<&Waiting> = waiting.iter().filter(|waiting| waiting.changed).collect();
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        r#"
        UPDATE back_orders
        SET waiting = new.waiting
        FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::bigint[]) AS new (order_id, sku, fulfilment_centre, waiting)
        WHERE back_orders.order_id = new.order_id AND back_orders.sku = new.sku AND back_orders.fulfilment_centre = new.fulfilment_centre
        "#,
    )
    .bind(changed.iter().map(|waiting| waiting.order.uuid()).collect::<Vec<_>>())
    .bind(changed.iter().map(|waiting| waiting.place.0.as_str()).collect::<Vec<_>>())
    .bind(changed.iter().map(|waiting| waiting.place.1.as_str()).collect::<Vec<_>>())
    .bind(changed.iter().map(|waiting| i64::from(waiting.units)).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn write_moves(
    tx: &mut PgConnection,
    moves: &[Move],
    account: Account<'_>,
    now: DateTime<Utc>,
) -> Result<(), WriteError<Refusal>> {
    if moves.is_empty() {
        return Ok(());
    }
    let (steps, reference, reason) = match account {
        Account::Steps(steps) => (steps.to_vec(), None, None),
        Account::Receipt(reference) => (vec![(1, now); moves.len()], Some(reference), None),
        Account::Correction { reference, reason } => (vec![(1, now); moves.len()], Some(reference), Some(reason)),
    };
    let (steps, times): (Vec<i64>, Vec<DateTime<Utc>>) = steps.into_iter().unzip();
    sqlx::query(
        r#"
        INSERT INTO stock_movements (order_id, reference, sku, fulfilment_centre, kind, quantity, step, moved_at, reason)
        SELECT moved.order_id, $1, moved.sku, moved.fulfilment_centre, moved.kind, moved.quantity, moved.step, moved.moved_at, $2
        FROM UNNEST($3::uuid[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::timestamptz[])
             AS moved (order_id, sku, fulfilment_centre, kind, quantity, step, moved_at)
        "#,
    )
    .bind(reference)
    .bind(reason)
    .bind(moves.iter().map(|moved| moved.order.map(OrderId::uuid)).collect::<Vec<_>>())
    .bind(moves.iter().map(|moved| moved.place.0.as_str()).collect::<Vec<_>>())
    .bind(moves.iter().map(|moved| moved.place.1.as_str()).collect::<Vec<_>>())
    .bind(moves.iter().map(|moved| moved.kind.code()).collect::<Vec<_>>())
    .bind(moves.iter().map(|moved| i64::from(moved.units)).collect::<Vec<_>>())
    .bind(steps)
    .bind(times)
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) fn of_shelf(error: ShelfError) -> WriteError<Refusal> {
    WriteError::Refused(match error {
        ShelfError::Full(sku) => Refusal::Full(sku),
        broken @ ShelfError::Broken { .. } => Refusal::Inconsistent(broken.to_string()),
    })
}

pub(super) fn inconsistent(what: &dyn std::fmt::Display) -> WriteError<Refusal> {
    WriteError::Refused(Refusal::Inconsistent(what.to_string()))
}
