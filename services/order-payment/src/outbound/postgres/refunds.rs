//! Refunds: asked for once, ended once.

use chrono::{DateTime, Utc};
use common::{Currency, Money, OrderId, Sku};
use messaging::WriteError;
use serde::Deserialize;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Written, named, unread};
use crate::domain::{Refund, RefundLine};
use crate::usecases::error::{Conflict, StoreError};
use crate::usecases::refund_order::attempt_id;
use crate::usecases::{RefundStep, RefundTold};

#[derive(sqlx::FromRow)]
struct Row {
    refund_id: Uuid,
    number: i32,
    attempt_number: Option<i32>,
    amount_minor: i64,
    currency: String,
    target: String,
    reason: String,
    asked_by: Option<Uuid>,
    state: String,
    asked_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    lines: Json<Vec<LineRow>>,
}

#[derive(Deserialize)]
struct LineRow {
    sku: String,
    quantity: u32,
}

/// All refunds of an order, by number.
pub async fn of_order(pool: &PgPool, order: OrderId) -> Result<Vec<Refund>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT refund_id, refunds.number, payment_attempts.number AS attempt_number, refunds.amount_minor, refunds.currency, target, reason,
                asked_by, refunds.state::text, asked_at, ended_at,
                (SELECT coalesce(jsonb_agg(jsonb_build_object('sku', sku, 'quantity', quantity) ORDER BY sku), '[]')
                 FROM refund_lines WHERE refund_lines.refund_id = refunds.refund_id) AS lines
         FROM refunds LEFT JOIN payment_attempts USING (attempt_id)
         WHERE refunds.order_id = $1 ORDER BY refunds.number",
    )
    .bind(order.uuid())
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    rows.into_iter().map(|row| convert(order, row)).collect()
}

/// A new refund with its lines, or the end of a known one.
pub async fn write(tx: &mut PgConnection, step: &RefundStep) -> Written {
    if let Some(told) = &step.told {
        nothing_came_between(tx, &step.refund, told).await?;
    }
    if step.is_new { insert(tx, &step.refund).await } else { end(tx, &step.refund).await }
}

/// Refunds of one order end one after the other: whoever has the order's lock sees those that ended before. The checks at commit take
/// the same lock, so it is only held a little longer.
async fn nothing_came_between(tx: &mut PgConnection, refund: &Refund, told: &RefundTold) -> Written {
    sqlx::query("SELECT FROM orders WHERE order_id = $1 FOR NO KEY UPDATE")
        .bind(refund.order.uuid())
        .execute(&mut *tx)
        .await?;
    // A statement of its own, begun with the lock: one that waits for a lock sees other rows as they were when it began.
    let done: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(amount_minor), 0)::bigint FROM refunds WHERE order_id = $1 AND refund_id <> $2 AND state = 'DONE'",
    )
    .bind(refund.order.uuid())
    .bind(refund.id.uuid())
    .fetch_one(tx)
    .await?;
    if done == told.before_minor { Ok(()) } else { Err(WriteError::Refused(Conflict::Lost)) }
}

async fn insert(tx: &mut PgConnection, refund: &Refund) -> Written {
    sqlx::query(
        "INSERT INTO refunds (refund_id, order_id, number, attempt_id, amount_minor, currency, target, reason, asked_by, state, asked_at, ended_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::refund_state, $11, $12)",
    )
    .bind(refund.id.uuid())
    .bind(refund.order.uuid())
    .bind(i32::try_from(refund.number).unwrap_or(i32::MAX))
    .bind(attempt_id(refund).map(|attempt| attempt.uuid()))
    .bind(refund.amount.minor())
    .bind(refund.amount.currency().code())
    .bind(refund.target.code())
    .bind(&refund.reason)
    .bind(refund.asked_by.map(|user| user.uuid()))
    .bind(refund.state.code())
    .bind(refund.asked_at)
    .bind(refund.ended_at)
    .execute(&mut *tx)
    .await
    .map_err(|error| named(error, &[("refunds_pkey", Conflict::Lost), ("refunds_number_once", Conflict::Lost)]))?;
    if refund.lines.is_empty() {
        return Ok(());
    }
    let skus: Vec<&str> = refund.lines.iter().map(|line| line.sku.as_str()).collect();
    let quantities: Vec<i32> =
        refund.lines.iter().map(|line| i32::try_from(line.quantity).unwrap_or(i32::MAX)).collect();
    sqlx::query("INSERT INTO refund_lines (refund_id, sku, quantity) SELECT $1, sku, quantity FROM UNNEST($2::text[], $3::int[]) AS line (sku, quantity)")
        .bind(refund.id.uuid())
        .bind(skus)
        .bind(quantities)
        .execute(tx)
        .await?;
    Ok(())
}

async fn end(tx: &mut PgConnection, refund: &Refund) -> Written {
    let ended = sqlx::query(
        "UPDATE refunds SET state = $2::text::refund_state, ended_at = $3 WHERE refund_id = $1 AND state = 'OPEN'",
    )
    .bind(refund.id.uuid())
    .bind(refund.state.code())
    .bind(refund.ended_at)
    .execute(tx)
    .await?;
    if ended.rows_affected() == 1 { Ok(()) } else { Err(WriteError::Refused(Conflict::Lost)) }
}

fn convert(order: OrderId, row: Row) -> Result<Refund, StoreError> {
    let broken =
        |column: &'static str| StoreError::Inconsistent { table: "refunds", column, row: row.refund_id.to_string() };
    let currency: Currency = row.currency.parse().map_err(|_| broken("currency"))?;
    let line = |line: &LineRow| Some(RefundLine { sku: Sku::parse(&line.sku).ok()?, quantity: line.quantity });
    Ok(Refund {
        id: row.refund_id.into(),
        order,
        number: u32::try_from(row.number).map_err(|_| broken("number"))?,
        attempt: row.attempt_number.map(u32::try_from).transpose().map_err(|_| broken("attempt_id"))?,
        amount: Money::from_minor(row.amount_minor, currency).map_err(|_| broken("amount_minor"))?,
        target: row.target.parse().map_err(|_| broken("target"))?,
        asked_by: row.asked_by.map(Into::into),
        state: row.state.parse().map_err(|_| broken("state"))?,
        lines: row.lines.iter().map(line).collect::<Option<_>>().ok_or_else(|| broken("lines"))?,
        reason: row.reason,
        asked_at: row.asked_at,
        ended_at: row.ended_at,
    })
}
