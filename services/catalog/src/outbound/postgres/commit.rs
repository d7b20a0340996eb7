//! Writing one decision about an order that is known, or its tombstone: the reservation first, so that two decisions about
//! one order meet there before either holds a stock row, then the stock rows, then what follows from them.

use std::sync::Arc;

use common::{MessageId, Region, Sku};
use messaging::{Cause, Change, Database, WriteError};
use sqlx::PgConnection;

use super::events;
use super::failure::{Refusal, of_commit};
use super::shelves::{self, Account, inconsistent, of_shelf};
use crate::domain::entitlement::Entitlement;
use crate::domain::inventory::MovementKind;
use crate::domain::reservation::{Decision, Movements, Step};
use crate::domain::shipment::Shipment;
use crate::usecases::ports::stock::{CONSUMER, Committed, StoreError, Why};

type Written = Result<(), WriteError<Refusal>>;

pub(super) async fn commit(database: &Database, why: Why, decision: &Decision) -> Result<Committed, StoreError> {
    let cause = match why {
        Why::Message(id) => Cause::Message { consumer: CONSUMER, id },
        Why::Duty(name) => Cause::Duty(name),
    };
    let change = Change { cause, events: events::of_decision(decision), answer: None };
    let step = match decision {
        Decision::Step(step) => Some(Arc::new(step.as_ref().clone())),
        Decision::Nothing => None,
    };
    let region = database.region();
    let outcome = database
        .commit(change, move |tx| {
            let step = step.clone();
            Box::pin(async move {
                match step {
                    Some(step) => write(tx, region, why, &step).await,
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

async fn write(tx: &mut PgConnection, region: Region, why: Why, step: &Step) -> Written {
    match step.before {
        None => insert_tombstone(tx, step).await?,
        Some((status, version)) => {
            let changed = sqlx::query(
                r#"
                UPDATE reservations
                SET status = $4, version = $5, held_until = $6, settled_at = CASE $4 WHEN 'HELD' THEN NULL ELSE COALESCE(settled_at, $7) END
                WHERE order_id = $1 AND status = $2 AND version = $3
                "#,
            )
            .bind(step.after.order.uuid())
            .bind(status.code())
            .bind(version)
            .bind(step.after.status.code())
            .bind(step.after.version)
            .bind(step.after.held_until)
            .bind(step.at)
            .execute(&mut *tx)
            .await?;
            expect_winner(changed.rows_affected())?;
        }
    }
    if let Some(movements) = &step.movements {
        move_units(tx, step, movements).await?;
    }
    write_shipments(tx, why, step).await?;
    for entitlement in &step.granted {
        grant(tx, region, entitlement).await?;
    }
    revoke(tx, step).await
}

/// No row: somebody else decided about this reservation meanwhile.
fn expect_winner(rows: u64) -> Written {
    if rows == 1 { Ok(()) } else { Err(WriteError::Refused(Refusal::Overtaken)) }
}

/// An order that ended before it was heard of. New orders that hold something are written by `reserve`.
async fn insert_tombstone(tx: &mut PgConnection, step: &Step) -> Written {
    if step.movements.is_some() || !step.after.lines.is_empty() {
        return Err(inconsistent(&"a new order is reserved and not committed"));
    }
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
    .bind(step.after.held_until)
    .bind(step.at)
    .execute(&mut *tx)
    .await?;
    expect_winner(inserted.rows_affected())
}

async fn move_units(tx: &mut PgConnection, step: &Step, movements: &Movements) -> Written {
    let mut skus: Vec<&str> = movements.pieces.iter().map(|piece| Sku::as_str(&piece.sku)).collect();
    skus.dedup();
    let mut rows = shelves::lock(tx, &skus).await?;
    let (order, pieces) = (step.after.order, &movements.pieces);
    let mut serials = Vec::new();
    match movements.kind {
        MovementKind::Released => rows.release(order, pieces),
        MovementKind::Sold => rows.sell(order, pieces).map(|numbers| serials = numbers),
        MovementKind::Returned => rows.take_back(order, pieces),
        MovementKind::Received
        | MovementKind::Found
        | MovementKind::Lost
        | MovementKind::BackOrdered
        | MovementKind::Held
        | MovementKind::Covered => {
            return Err(inconsistent(&"a known order neither receives nor holds"));
        }
    }
    .map_err(of_shelf)?;
    shelves::write(tx, &rows, Account::Step(step.after.version), step.at).await?;
    insert_serials(tx, step, &serials).await
}

/// `sold` was raised under the rows' locks: these numbers are ours and nobody else's.
async fn insert_serials(tx: &mut PgConnection, step: &Step, serials: &[(Sku, i64)]) -> Written {
    if serials.is_empty() {
        return Ok(());
    }
    let (skus, numbers): (Vec<&str>, Vec<i64>) = serials.iter().map(|(sku, number)| (sku.as_str(), *number)).unzip();
    sqlx::query(
        "INSERT INTO serial_numbers (order_id, sku, number) SELECT $1, * FROM UNNEST($2::text[], $3::bigint[])",
    )
    .bind(step.after.order.uuid())
    .bind(skus)
    .bind(numbers)
    .execute(tx)
    .await?;
    Ok(())
}

/// The sale makes parcels, each tied to the message that said that the order is paid; later steps let waiting ones go.
async fn write_shipments(tx: &mut PgConnection, why: Why, step: &Step) -> Written {
    for shipment in &step.shipments {
        match why {
            Why::Message(cause) => insert_shipment(tx, cause, shipment).await?,
            Why::Duty(_) => settle_shipment(tx, step, shipment).await?,
        }
    }
    Ok(())
}

async fn insert_shipment(tx: &mut PgConnection, cause: MessageId, shipment: &Shipment) -> Written {
    sqlx::query(
        r#"
        INSERT INTO shipments (shipment_id, order_id, fulfilment_centre, state, created_at, consumer, message_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        "#,
    )
    .bind(shipment.id.uuid())
    .bind(shipment.order.uuid())
    .bind(shipment.centre.as_str())
    .bind(shipment.state.code())
    .bind(shipment.created_at)
    .bind(CONSUMER)
    .bind(cause.uuid())
    .execute(tx)
    .await?;
    Ok(())
}

async fn settle_shipment(tx: &mut PgConnection, step: &Step, shipment: &Shipment) -> Written {
    let settled = sqlx::query(
        r#"
        UPDATE shipments SET state = $3, settled_at = $4
        WHERE order_id = $1 AND fulfilment_centre = $2 AND state = 'WAITING'
        "#,
    )
    .bind(shipment.order.uuid())
    .bind(shipment.centre.as_str())
    .bind(shipment.state.code())
    .bind(step.at)
    .execute(tx)
    .await?;
    expect_winner(settled.rows_affected())
}

async fn grant(tx: &mut PgConnection, region: Region, entitlement: &Entitlement) -> Written {
    sqlx::query(
        r#"
        INSERT INTO entitlements (residency_region, user_id, order_id, sku, quantity, valid_from, valid_until)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        "#,
    )
    .bind(region.code())
    .bind(entitlement.user.uuid())
    .bind(entitlement.order.uuid())
    .bind(entitlement.sku.as_str())
    .bind(i64::from(entitlement.quantity))
    .bind(entitlement.valid_from)
    .bind(entitlement.valid_until)
    .execute(tx)
    .await?;
    Ok(())
}

/// A SKU that was sent and not granted has no entitlement to end.
async fn revoke(tx: &mut PgConnection, step: &Step) -> Written {
    if step.revoked.is_empty() {
        return Ok(());
    }
    let (skus, units): (Vec<&str>, Vec<i64>) =
        step.revoked.iter().map(|(sku, units)| (sku.as_str(), i64::from(*units))).unzip();
    sqlx::query(
        r#"
        UPDATE entitlements
        SET revoked = revoked + ended.units, revoked_at = $2
        FROM UNNEST($3::text[], $4::bigint[]) AS ended (sku, units)
        WHERE order_id = $1 AND entitlements.sku = ended.sku
        "#,
    )
    .bind(step.after.order.uuid())
    .bind(step.at)
    .bind(skus)
    .bind(units)
    .execute(tx)
    .await?;
    Ok(())
}
