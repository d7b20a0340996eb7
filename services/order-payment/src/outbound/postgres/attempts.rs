//! Attempts to move money: read, claimed, changed by one winner.

use chrono::{DateTime, Utc};
use common::{Currency, Money, OrderId, Private};
use messaging::WriteError;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Written, named, unread};
use crate::domain::{Attempt, PaymentToken, Via};
use crate::usecases::AttemptStep;
use crate::usecases::error::{Conflict, StoreError};

#[derive(sqlx::FromRow)]
struct Row {
    attempt_id: Uuid,
    order_id: Uuid,
    number: i32,
    kind: String,
    gateway: String,
    gateway_flow: String,
    state: String,
    amount_minor: i64,
    currency: String,
    payment_token: String,
    intent_id: Option<String>,
    capture_requested: bool,
    giving_up: Option<String>,
    in_doubt: bool,
    tries: i32,
    due_at: DateTime<Utc>,
    leased_until: Option<DateTime<Utc>>,
    version: i64,
    traceparent: Option<String>,
    created_at: DateTime<Utc>,
}

/// The newest charge of an order.
pub async fn charge_of_order(pool: &PgPool, order: OrderId) -> Result<Option<Attempt>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT attempt_id, order_id, number, kind::text, gateway, gateway_flow, state::text, amount_minor, currency, payment_token, intent_id,
                capture_requested, giving_up, in_doubt, tries, due_at, leased_until, version, traceparent, created_at
         FROM payment_attempts WHERE order_id = $1 AND kind = 'CHARGE' ORDER BY number DESC LIMIT 1",
    )
    .bind(order.uuid())
    .fetch_optional(pool)
    .await
    .map_err(unread)?;
    row.map(convert).transpose()
}

pub async fn charge_of_intent(pool: &PgPool, intent: &str) -> Result<Option<Attempt>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT attempt_id, order_id, number, kind::text, gateway, gateway_flow, state::text, amount_minor, currency, payment_token, intent_id,
                capture_requested, giving_up, in_doubt, tries, due_at, leased_until, version, traceparent, created_at
         FROM payment_attempts WHERE intent_id = $1 AND kind = 'CHARGE'",
    )
    .bind(intent)
    .fetch_optional(pool)
    .await
    .map_err(unread)?;
    row.map(convert).transpose()
}

/// Charges that have reached the gateway, by the time they were made.
pub async fn charges_between(
    pool: &PgPool,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    limit: u16,
) -> Result<Vec<Attempt>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT attempt_id, order_id, number, kind::text, gateway, gateway_flow, state::text, amount_minor, currency, payment_token, intent_id,
                capture_requested, giving_up, in_doubt, tries, due_at, leased_until, version, traceparent, created_at
         FROM payment_attempts
         WHERE created_at BETWEEN $1 AND $2 AND kind = 'CHARGE' AND intent_id IS NOT NULL
         ORDER BY created_at, attempt_id LIMIT $3",
    )
    .bind(from)
    .bind(to)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    rows.into_iter().map(convert).collect()
}

/// Attempts by order and number.
pub async fn by_numbers(pool: &PgPool, wanted: &[(OrderId, u32)]) -> Result<Vec<Attempt>, StoreError> {
    let orders: Vec<Uuid> = wanted.iter().map(|(order, _)| order.uuid()).collect();
    let numbers: Vec<i32> = wanted.iter().map(|(_, number)| i32::try_from(*number).unwrap_or(i32::MAX)).collect();
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT attempt_id, order_id, number, kind::text, gateway, gateway_flow, state::text, amount_minor, currency, payment_token, intent_id,
                capture_requested, giving_up, in_doubt, tries, due_at, leased_until, version, traceparent, created_at
         FROM payment_attempts JOIN UNNEST($1::uuid[], $2::int[]) AS wanted (order_id, number) USING (order_id, number)",
    )
    .bind(orders)
    .bind(numbers)
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    rows.into_iter().map(convert).collect()
}

pub async fn any_due(pool: &PgPool, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM payment_attempts
                        WHERE state IN ('PREPARED', 'SENT', 'AUTHORISED', 'UNKNOWN') AND due_at <= $1
                          AND (leased_until IS NULL OR leased_until <= $1))",
    )
    .bind(now)
    .fetch_one(pool)
    .await
}

/// Takes what is due and nobody has. Two workers never wait for each other. Whoever takes it looks, so hints from before are answered.
pub async fn claim(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: u16,
) -> Result<Vec<Attempt>, WriteError<Conflict>> {
    let rows: Vec<Row> = sqlx::query_as(
        "UPDATE payment_attempts SET leased_until = $2, hinted_at = NULL
         WHERE attempt_id = ANY (ARRAY(
             SELECT attempt_id FROM payment_attempts
             WHERE state IN ('PREPARED', 'SENT', 'AUTHORISED', 'UNKNOWN') AND due_at <= $1
               AND (leased_until IS NULL OR leased_until <= $1)
             ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED))
         RETURNING attempt_id, order_id, number, kind::text, gateway, gateway_flow, state::text, amount_minor, currency, payment_token, intent_id,
                   capture_requested, giving_up, in_doubt, tries, due_at, leased_until, version, traceparent, created_at",
    )
    .bind(now)
    .bind(until)
    .bind(i64::from(limit))
    .fetch_all(tx)
    .await?;
    rows.into_iter()
        .map(|row| convert(row).map_err(|error| WriteError::Database(sqlx::Error::Decode(Box::new(error)))))
        .collect()
}

/// Makes the open attempts of an order due; one that a worker has, when it gives it back. Their version stays: a hint is no change
/// of state. One that is due and nobody has needs none.
pub async fn hint(tx: &mut PgConnection, order: OrderId, now: DateTime<Utc>) -> Written {
    sqlx::query(
        "UPDATE payment_attempts SET due_at = LEAST(due_at, $2), hinted_at = $2
         WHERE order_id = $1 AND state IN ('PREPARED', 'SENT', 'AUTHORISED', 'UNKNOWN') AND (due_at > $2 OR leased_until IS NOT NULL)",
    )
    .bind(order.uuid())
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Frees an attempt that is still under the lease it was claimed with: due at `due_at`, or now when somebody hinted since. (`LEAST` passes
/// over what is not there.)
pub async fn let_go(tx: &mut PgConnection, claimed: &Attempt, due_at: DateTime<Utc>) -> Written {
    sqlx::query(
        "UPDATE payment_attempts SET leased_until = NULL, due_at = LEAST($3, hinted_at)
         WHERE attempt_id = $1 AND leased_until = $2 AND state IN ('PREPARED', 'SENT', 'AUTHORISED', 'UNKNOWN')",
    )
    .bind(claimed.id.uuid())
    .bind(claimed.leased_until)
    .bind(due_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// A new attempt, or the next version of a known one.
pub async fn write(tx: &mut PgConnection, step: &AttemptStep) -> Written {
    match step.from {
        None => insert(tx, &step.attempt).await,
        Some(version) => update(tx, version, &step.attempt).await,
    }
}

async fn insert(tx: &mut PgConnection, attempt: &Attempt) -> Written {
    sqlx::query(
        "INSERT INTO payment_attempts (attempt_id, order_id, residency_region, number, kind, state, amount_minor, currency,
                                       payment_token, intent_id, due_at, version, traceparent, created_at, gateway, gateway_flow)
         SELECT $1, order_id, residency_region, $3, $4::text::attempt_kind, $5::text::attempt_state, $6, $7, $8, $9, $10, $11, $12, $13,
                $14, $15
         FROM orders WHERE order_id = $2",
    )
    .bind(attempt.id.uuid())
    .bind(attempt.order.uuid())
    .bind(i32::try_from(attempt.number).unwrap_or(i32::MAX))
    .bind(attempt.kind.code())
    .bind(attempt.state.code())
    .bind(attempt.amount.minor())
    .bind(attempt.amount.currency().code())
    .bind(attempt.token.open().as_str())
    .bind(&attempt.intent)
    .bind(attempt.due_at)
    .bind(attempt.version)
    .bind(&attempt.traceparent)
    .bind(attempt.created_at)
    .bind(&attempt.via.name)
    .bind(attempt.via.flow.code())
    .execute(tx)
    .await
    .map_err(|error| {
        let meetings = ["payment_attempts_pkey", "payment_attempts_number_once", "payment_attempts_one_charge"];
        named(error, &meetings.map(|name| (name, Conflict::Lost)))
    })?;
    Ok(())
}

/// A version without a lease gives the attempt back: a hint that came while a worker had it is not written over.
async fn update(tx: &mut PgConnection, version: i64, attempt: &Attempt) -> Written {
    let changed = sqlx::query(
        "UPDATE payment_attempts
         SET state = $3::text::attempt_state, intent_id = $4, capture_requested = $5, giving_up = $6, in_doubt = $7, tries = $8,
             due_at = CASE WHEN $10 IS NULL THEN LEAST($9, hinted_at) ELSE $9 END, leased_until = $10, version = $11
         WHERE attempt_id = $1 AND version = $2",
    )
    .bind(attempt.id.uuid())
    .bind(version)
    .bind(attempt.state.code())
    .bind(&attempt.intent)
    .bind(attempt.capture_requested)
    .bind(attempt.giving_up.map(|reason| reason.code()))
    .bind(attempt.in_doubt)
    .bind(i32::try_from(attempt.tries).unwrap_or(i32::MAX))
    .bind(attempt.due_at)
    .bind(attempt.leased_until)
    .bind(attempt.version)
    .execute(tx)
    .await?;
    if changed.rows_affected() == 1 { Ok(()) } else { Err(WriteError::Refused(Conflict::Lost)) }
}

fn convert(row: Row) -> Result<Attempt, StoreError> {
    let broken = |column: &'static str| StoreError::Inconsistent {
        table: "payment_attempts",
        column,
        row: row.attempt_id.to_string(),
    };
    let currency: Currency = row.currency.parse().map_err(|_| broken("currency"))?;
    Ok(Attempt {
        id: row.attempt_id.into(),
        order: row.order_id.into(),
        number: u32::try_from(row.number).map_err(|_| broken("number"))?,
        kind: row.kind.parse().map_err(|_| broken("kind"))?,
        via: Via { flow: row.gateway_flow.parse().map_err(|_| broken("gateway_flow"))?, name: row.gateway.clone() },
        amount: Money::from_minor(row.amount_minor, currency).map_err(|_| broken("amount_minor"))?,
        token: Private::new(PaymentToken::parse(&row.payment_token).ok_or_else(|| broken("payment_token"))?),
        state: row.state.parse().map_err(|_| broken("state"))?,
        giving_up: row.giving_up.as_deref().map(str::parse).transpose().map_err(|_| broken("giving_up"))?,
        tries: u32::try_from(row.tries).map_err(|_| broken("tries"))?,
        intent: row.intent_id,
        capture_requested: row.capture_requested,
        in_doubt: row.in_doubt,
        due_at: row.due_at,
        leased_until: row.leased_until,
        version: row.version,
        traceparent: row.traceparent,
        created_at: row.created_at,
    })
}
