//! Charges without an order: found once, carried by one worker at a time.

use chrono::{DateTime, Utc};
use common::{Currency, Money};
use messaging::WriteError;
use sqlx::{PgConnection, PgPool};

use super::{Written, named, unread};
use crate::domain::{Attempt, Orphan, Via};
use crate::usecases::change::OrphanStep;
use crate::usecases::error::{Conflict, StoreError};

#[derive(sqlx::FromRow)]
struct Row {
    intent_id: String,
    gateway: String,
    gateway_flow: String,
    amount_minor: i64,
    currency: String,
    claimed_order: Option<String>,
    found_at: DateTime<Utc>,
    state: String,
    giving_up: Option<String>,
    in_doubt: bool,
    tries: i32,
    due_at: DateTime<Utc>,
    leased_until: Option<DateTime<Utc>>,
    version: i64,
}

/// A new orphan, or the next version of a known one.
pub async fn write(tx: &mut PgConnection, step: &OrphanStep) -> Written {
    let orphan = &step.orphan;
    match step.from {
        None => insert(tx, orphan).await,
        Some(version) => update(tx, version, orphan).await,
    }
}

async fn insert(tx: &mut PgConnection, orphan: &Orphan) -> Written {
    let attempt = &orphan.attempt;
    sqlx::query(
        "INSERT INTO orphan_charges (intent_id, gateway, gateway_flow, amount_minor, currency, claimed_order, found_at, state, due_at, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::attempt_state, $9, $10)",
    )
    .bind(&orphan.intent)
    .bind(&attempt.via.name)
    .bind(attempt.via.flow.code())
    .bind(attempt.amount.minor())
    .bind(attempt.amount.currency().code())
    .bind(&orphan.claimed_order)
    .bind(orphan.found_at)
    .bind(attempt.state.code())
    .bind(attempt.due_at)
    .bind(attempt.version)
    .execute(tx)
    .await
    .map_err(|error| named(error, &[("orphan_charges_pkey", Conflict::Lost)]))?;
    Ok(())
}

async fn update(tx: &mut PgConnection, version: i64, orphan: &Orphan) -> Written {
    let attempt = &orphan.attempt;
    let changed = sqlx::query(
        "UPDATE orphan_charges SET state = $3::text::attempt_state, giving_up = $4, in_doubt = $5, tries = $6, due_at = $7,
                leased_until = $8, version = $9
         WHERE intent_id = $1 AND version = $2",
    )
    .bind(&orphan.intent)
    .bind(version)
    .bind(attempt.state.code())
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

/// Takes what is due and nobody has.
pub async fn claim(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: u16,
) -> Result<Vec<Orphan>, WriteError<Conflict>> {
    let rows: Vec<Row> = sqlx::query_as(
        "UPDATE orphan_charges SET leased_until = $2
         WHERE intent_id = ANY (ARRAY(
             SELECT intent_id FROM orphan_charges
             WHERE state IN ('PREPARED', 'SENT', 'UNKNOWN') AND due_at <= $1 AND (leased_until IS NULL OR leased_until <= $1)
             ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED))
         RETURNING intent_id, gateway, gateway_flow, amount_minor, currency, claimed_order, found_at, state::text, giving_up, in_doubt,
                   tries, due_at, leased_until, version",
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

pub async fn any_due(pool: &PgPool, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM orphan_charges
                        WHERE state IN ('PREPARED', 'SENT', 'UNKNOWN') AND due_at <= $1 AND (leased_until IS NULL OR leased_until <= $1))",
    )
    .bind(now)
    .fetch_one(pool)
    .await
}

/// The orphans of a gateway with these intents.
pub async fn with_intents(pool: &PgPool, gateway: &str, intents: &[String]) -> Result<Vec<Orphan>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT intent_id, gateway, gateway_flow, amount_minor, currency, claimed_order, found_at, state::text, giving_up, in_doubt,
                tries, due_at, leased_until, version
         FROM orphan_charges WHERE gateway = $1 AND intent_id = ANY($2)",
    )
    .bind(gateway)
    .bind(intents)
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    rows.into_iter().map(convert).collect()
}

/// The intents that were orphans and are not any more: their money is back, or an order turned up.
pub async fn explained(pool: &PgPool, intents: &[String]) -> Result<Vec<String>, StoreError> {
    sqlx::query_scalar(
        "SELECT intent_id FROM orphan_charges WHERE intent_id = ANY($1) AND state IN ('CAPTURED', 'VOIDED')",
    )
    .bind(intents)
    .fetch_all(pool)
    .await
    .map_err(unread)
}

fn convert(row: Row) -> Result<Orphan, StoreError> {
    let broken =
        |column: &'static str| StoreError::Inconsistent { table: "orphan_charges", column, row: row.intent_id.clone() };
    let currency: Currency = row.currency.parse().map_err(|_| broken("currency"))?;
    let amount = Money::from_minor(row.amount_minor, currency).map_err(|_| broken("amount_minor"))?;
    let flow = row.gateway_flow.parse().map_err(|_| broken("gateway_flow"))?;
    let via = Via { name: row.gateway.clone(), flow };
    let first = Orphan::refund(&row.intent_id, via, amount, row.found_at).ok_or_else(|| broken("intent_id"))?;
    let attempt = Attempt {
        state: row.state.parse().map_err(|_| broken("state"))?,
        giving_up: row.giving_up.as_deref().map(str::parse).transpose().map_err(|_| broken("giving_up"))?,
        refused_by: None,
        in_doubt: row.in_doubt,
        tries: u32::try_from(row.tries).map_err(|_| broken("tries"))?,
        due_at: row.due_at,
        leased_until: row.leased_until,
        version: row.version,
        ..first
    };
    Ok(Orphan { attempt, claimed_order: row.claimed_order, found_at: row.found_at, intent: row.intent_id })
}
