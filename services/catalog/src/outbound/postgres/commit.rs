//! Writing one decision: the reservation first, so that two decisions about one order meet there before either holds a stock
//! row, then the stock rows in SKU order, then what follows from them.

use std::sync::Arc;

use common::{MessageId, Sku};
use messaging::{Cause, Change, Database, WriteError};
use sqlx::PgConnection;

use super::events;
use super::failure::{Refusal, of_commit};
use crate::domain::inventory::MovementKind;
use crate::domain::lines::Lines;
use crate::domain::reservation::{Decision, Movements, Step, USUAL_HOLD};
use crate::domain::shipment::Shipment;
use crate::usecases::ports::stock::{CONSUMER, Committed, StoreError};

type Written = Result<(), WriteError<Refusal>>;

pub(super) async fn commit(
    database: &Database,
    cause: MessageId,
    decision: &Decision,
) -> Result<Committed, StoreError> {
    let change = Change {
        cause: Cause::Message { consumer: CONSUMER, id: cause },
        events: events::of_decision(decision),
        answer: None,
    };
    let step = match decision {
        Decision::Step(step) => Some(Arc::new(step.as_ref().clone())),
        Decision::Nothing => None,
    };
    let outcome = database
        .commit(change, move |tx| {
            let step = step.clone();
            Box::pin(async move {
                match step {
                    Some(step) => write(tx, cause, &step).await,
                    None => Ok(()),
                }
            })
        })
        .await;
    match outcome {
        Ok(messaging::Committed::Applied) => Ok(Committed::Applied),
        Ok(messaging::Committed::Repeated(_)) => Ok(Committed::Repeated),
        Err(error) => Err(of_commit(error)),
    }
}

async fn write(tx: &mut PgConnection, cause: MessageId, step: &Step) -> Written {
    match step.before {
        None => begin_reservation(tx, step).await?,
        Some((status, version)) => {
            let changed = sqlx::query(
                r#"
                UPDATE reservations
                SET status = $4, version = version + 1, settled_at = $5
                WHERE order_id = $1 AND status = $2 AND version = $3
                "#,
            )
            .bind(step.after.order.uuid())
            .bind(status.code())
            .bind(version)
            .bind(step.after.status.code())
            .bind(step.at)
            .execute(&mut *tx)
            .await?;
            expect_winner(changed.rows_affected())?;
        }
    }
    if let Some(movements) = &step.movements {
        move_units(tx, step, movements).await?;
    }
    match &step.shipment {
        Some(shipment) => insert_shipment(tx, cause, shipment).await,
        None => Ok(()),
    }
}

/// No row: somebody else decided about this reservation meanwhile.
fn expect_winner(rows: u64) -> Written {
    if rows == 1 { Ok(()) } else { Err(WriteError::Refused(Refusal::Overtaken)) }
}

async fn begin_reservation(tx: &mut PgConnection, step: &Step) -> Written {
    let settled_at = step.movements.is_none().then_some(step.at);
    let inserted = sqlx::query(
        r#"
        INSERT INTO reservations (order_id, status, version, created_at, held_until, settled_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (order_id) DO NOTHING
        "#,
    )
    .bind(step.after.order.uuid())
    .bind(step.after.status.code())
    .bind(step.after.version)
    .bind(step.after.created_at)
    .bind(step.after.created_at + USUAL_HOLD)
    .bind(settled_at)
    .execute(&mut *tx)
    .await?;
    expect_winner(inserted.rows_affected())?;
    let (skus, quantities) = columns(&step.after.lines);
    sqlx::query(
        "INSERT INTO reservation_lines (order_id, sku, quantity) SELECT $1, * FROM UNNEST($2::text[], $3::bigint[])",
    )
    .bind(step.after.order.uuid())
    .bind(skus)
    .bind(quantities)
    .execute(tx)
    .await?;
    Ok(())
}

async fn move_units(tx: &mut PgConnection, step: &Step, movements: &Movements) -> Written {
    lock_rows(tx, &movements.lines).await?;
    let moved = match movements.kind {
        MovementKind::Held => hold(tx, &movements.lines).await?,
        MovementKind::Released => release(tx, &movements.lines).await?,
        MovementKind::Sold => sell(tx, &movements.lines).await?,
        MovementKind::Received => return Err(inconsistent("an order receives nothing")),
    };
    if let Some(line) = movements.lines.iter().find(|line| !moved.iter().any(|sku| sku == line.sku.as_str())) {
        return Err(match movements.kind {
            MovementKind::Held => WriteError::Refused(Refusal::OutOfStock(line.sku.clone())),
            _ => inconsistent(&format!(
                "{} units of {} are not held for order {}",
                line.quantity, line.sku, step.after.order
            )),
        });
    }
    insert_movements(tx, step, movements).await?;
    if movements.kind == MovementKind::Sold { insert_serials(tx, step, &movements.lines).await } else { Ok(()) }
}

/// In SKU order, so that two orders with the same SKUs wait for each other and never in a circle.
async fn lock_rows(tx: &mut PgConnection, lines: &Lines) -> Written {
    let (skus, _) = columns(lines);
    sqlx::query("SELECT FROM stock WHERE sku = ANY ($1) ORDER BY sku FOR NO KEY UPDATE").bind(skus).execute(tx).await?;
    Ok(())
}

/// Returns the SKUs whose condition held. What is not counted is received in the moment it is held.
async fn hold(tx: &mut PgConnection, lines: &Lines) -> Result<Vec<String>, sqlx::Error> {
    let (skus, quantities) = columns(lines);
    sqlx::query_scalar(
        r#"
        UPDATE stock
        SET available = available - CASE WHEN kind IN ('counted', 'serialised') THEN line.quantity ELSE 0 END,
            received = received + CASE WHEN kind IN ('counted', 'serialised') THEN 0 ELSE line.quantity END,
            held = held + line.quantity,
            version = version + 1
        FROM UNNEST($1::text[], $2::bigint[]) AS line (sku, quantity)
        WHERE stock.sku = line.sku
          AND (available >= line.quantity OR kind NOT IN ('counted', 'serialised'))
        RETURNING stock.sku::text
        "#,
    )
    .bind(skus)
    .bind(quantities)
    .fetch_all(tx)
    .await
}

async fn release(tx: &mut PgConnection, lines: &Lines) -> Result<Vec<String>, sqlx::Error> {
    let (skus, quantities) = columns(lines);
    sqlx::query_scalar(
        r#"
        UPDATE stock
        SET available = available + CASE WHEN kind IN ('counted', 'serialised') THEN line.quantity ELSE 0 END,
            received = received - CASE WHEN kind IN ('counted', 'serialised') THEN 0 ELSE line.quantity END,
            held = held - line.quantity,
            version = version + 1
        FROM UNNEST($1::text[], $2::bigint[]) AS line (sku, quantity)
        WHERE stock.sku = line.sku AND held >= line.quantity
        RETURNING stock.sku::text
        "#,
    )
    .bind(skus)
    .bind(quantities)
    .fetch_all(tx)
    .await
}

async fn sell(tx: &mut PgConnection, lines: &Lines) -> Result<Vec<String>, sqlx::Error> {
    let (skus, quantities) = columns(lines);
    sqlx::query_scalar(
        r#"
        UPDATE stock
        SET held = held - line.quantity, sold = sold + line.quantity, version = version + 1
        FROM UNNEST($1::text[], $2::bigint[]) AS line (sku, quantity)
        WHERE stock.sku = line.sku AND held >= line.quantity
        RETURNING stock.sku::text
        "#,
    )
    .bind(skus)
    .bind(quantities)
    .fetch_all(tx)
    .await
}

async fn insert_movements(tx: &mut PgConnection, step: &Step, movements: &Movements) -> Written {
    let (skus, quantities) = columns(&movements.lines);
    sqlx::query(
        r#"
        INSERT INTO stock_movements (order_id, sku, kind, quantity, moved_at)
        SELECT $1, line.sku, $2, line.quantity, $3
        FROM UNNEST($4::text[], $5::bigint[]) AS line (sku, quantity)
        "#,
    )
    .bind(step.after.order.uuid())
    .bind(movements.kind.code())
    .bind(step.at)
    .bind(skus)
    .bind(quantities)
    .execute(tx)
    .await?;
    Ok(())
}

/// `sold` was just raised under the row's lock: the last numbers up to it are ours and nobody else's.
async fn insert_serials(tx: &mut PgConnection, step: &Step, lines: &Lines) -> Written {
    let (skus, quantities) = columns(lines);
    sqlx::query(
        r#"
        INSERT INTO serial_numbers (sku, number, order_id)
        SELECT stock.sku, number, $1
        FROM UNNEST($2::text[], $3::bigint[]) AS line (sku, quantity)
        JOIN stock ON stock.sku = line.sku AND stock.kind = 'serialised'
        CROSS JOIN LATERAL generate_series(stock.sold - line.quantity + 1, stock.sold) AS number
        "#,
    )
    .bind(step.after.order.uuid())
    .bind(skus)
    .bind(quantities)
    .execute(tx)
    .await?;
    Ok(())
}

async fn insert_shipment(tx: &mut PgConnection, cause: MessageId, shipment: &Shipment) -> Written {
    sqlx::query(
        r#"
        INSERT INTO shipments (shipment_id, order_id, fulfilment_centre, created_at, consumer, message_id)
        VALUES ($1, $2, $3, $4, $5, $6)
        "#,
    )
    .bind(shipment.id.uuid())
    .bind(shipment.order.uuid())
    .bind(&shipment.fulfilment_centre)
    .bind(shipment.created_at)
    .bind(CONSUMER)
    .bind(cause.uuid())
    .execute(tx)
    .await?;
    Ok(())
}

fn inconsistent(what: &str) -> WriteError<Refusal> {
    WriteError::Refused(Refusal::Inconsistent(what.to_owned()))
}

fn columns(lines: &Lines) -> (Vec<&str>, Vec<i64>) {
    lines.iter().map(|line| (Sku::as_str(&line.sku), i64::from(line.quantity))).unzip()
}
