//! Attempts to move money: read, claimed, changed by one winner.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use common::{AttemptId, Currency, Money, OrderId, Private};
use messaging::WriteError;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Written, named, unread};
use crate::domain::{Attempt, PaymentToken, Tried, Via};
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
    refused_by: Option<String>,
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
                capture_requested, giving_up, refused_by, in_doubt, tries, due_at, leased_until, version, traceparent, created_at
         FROM payment_attempts WHERE order_id = $1 AND kind = 'CHARGE' ORDER BY number DESC LIMIT 1",
    )
    .bind(order.uuid())
    .fetch_optional(pool)
    .await
    .map_err(unread)?;
    row.map(convert).transpose()
}

/// Charges by the gateway's id.
pub async fn charges_of_intents(pool: PgPool, intents: Vec<String>) -> Result<HashMap<String, Attempt>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT attempt_id, order_id, number, kind::text, gateway, gateway_flow, state::text, amount_minor, currency, payment_token, intent_id,
                capture_requested, giving_up, refused_by, in_doubt, tries, due_at, leased_until, version, traceparent, created_at
         FROM payment_attempts WHERE intent_id = ANY ($1) AND kind = 'CHARGE'",
    )
    .bind(intents)
    .fetch_all(&pool)
    .await
    .map_err(unread)?;
    rows.into_iter()
        .map(convert)
        .filter_map(|attempt| attempt.map(|attempt| Some((attempt.intent.clone()?, attempt))).transpose())
        .collect()
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
                capture_requested, giving_up, refused_by, in_doubt, tries, due_at, leased_until, version, traceparent, created_at
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
                capture_requested, giving_up, refused_by, in_doubt, tries, due_at, leased_until, version, traceparent, created_at
         FROM payment_attempts JOIN UNNEST($1::uuid[], $2::int[]) AS wanted (order_id, number) USING (order_id, number)",
    )
    .bind(orders)
    .bind(numbers)
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    rows.into_iter().map(convert).collect()
}

/// Each person's orders of the last while are found by their index and read once, however many of their charges are asked about. Row by row
/// (`OFFSET 0`): a join was planned while the tables were small, and read all of them from then on.
pub async fn tried(
    pool: &PgPool,
    charges: &[AttemptId],
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<BTreeMap<AttemptId, Tried>, StoreError> {
    let rows: Vec<(Uuid, i64, i64)> = sqlx::query_as(
        "WITH mine AS MATERIALIZED (
             SELECT asked.attempt_id, attempt.created_at, attempt.leased_until, ordered.user_id
             FROM UNNEST($1::uuid[]) AS asked (attempt_id)
             CROSS JOIN LATERAL (SELECT order_id, created_at, leased_until FROM payment_attempts
                                 WHERE payment_attempts.attempt_id = asked.attempt_id OFFSET 0) attempt
             CROSS JOIN LATERAL (SELECT user_id FROM orders WHERE orders.order_id = attempt.order_id OFFSET 0) ordered
         ), theirs AS MATERIALIZED (
             SELECT person.user_id, attempt.*
             FROM (SELECT DISTINCT user_id FROM mine) person
             CROSS JOIN LATERAL (SELECT order_id FROM orders WHERE orders.user_id = person.user_id AND created_at >= $2 OFFSET 0) ordered
             CROSS JOIN LATERAL (
                 SELECT attempt_id, created_at, leased_until,
                        refused_by IS NULL AND (state = 'DECLINED' OR (state = 'VOIDED' AND intent_id IS NOT NULL)) AS is_lost,
                        state IN ('SENT', 'AUTHORISED', 'UNKNOWN') OR (state = 'PREPARED' AND (intent_id IS NOT NULL OR in_doubt)) AS is_tried,
                        state = 'PREPARED' AND intent_id IS NULL AND NOT in_doubt AND leased_until > $3 AS is_taken
                 FROM payment_attempts WHERE payment_attempts.order_id = ordered.order_id AND kind = 'CHARGE' OFFSET 0) attempt
         ), sums AS (
             SELECT user_id, count(*) FILTER (WHERE is_lost) AS lost, count(*) FILTER (WHERE is_tried) AS tried
             FROM theirs GROUP BY user_id
         )
         SELECT mine.attempt_id, coalesce(lost, 0), coalesce(tried, 0) + (
             SELECT count(*) FROM theirs
             WHERE theirs.user_id = mine.user_id AND is_taken AND theirs.attempt_id <> mine.attempt_id
               AND (theirs.leased_until IS DISTINCT FROM mine.leased_until
                    OR (theirs.created_at, theirs.attempt_id) < (mine.created_at, mine.attempt_id)))
         FROM mine LEFT JOIN sums USING (user_id)",
    )
    .bind(charges.iter().map(|charge| charge.uuid()).collect::<Vec<_>>())
    .bind(since)
    .bind(now)
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
    let row = |(id, declined, ahead)| (AttemptId::from(id), Tried { declined: count(declined), ahead: count(ahead) });
    Ok(rows.into_iter().map(row).collect())
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
                   capture_requested, giving_up, refused_by, in_doubt, tries, due_at, leased_until, version, traceparent, created_at",
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

/// Makes the open attempts of some orders due; one that a worker has, when it gives it back. Their version stays: a hint is no change
/// of state. One that is due and nobody has needs none. Locked in the order of orders, as steps of payments are. Asked for in these words,
/// the index of what is due does not offer itself, which would read all that is open.
pub async fn hint(tx: &mut PgConnection, orders: &[OrderId], now: DateTime<Utc>) -> Written {
    sqlx::query(
        "UPDATE payment_attempts SET due_at = LEAST(due_at, $2), hinted_at = $2
         WHERE attempt_id = ANY (ARRAY(
             SELECT attempt_id FROM payment_attempts
             WHERE order_id = ANY ($1) AND state NOT IN ('CAPTURED', 'DECLINED', 'VOIDED')
               AND (due_at > $2 OR leased_until IS NOT NULL)
             ORDER BY order_id FOR NO KEY UPDATE))",
    )
    .bind(orders.iter().map(|order| order.uuid()).collect::<Vec<_>>())
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

/// New attempts, and the next versions of known ones, in two statements at most. One that another decision overtook refuses all.
pub async fn write(tx: &mut PgConnection, steps: &[&AttemptStep]) -> Written {
    let (known, new): (Vec<&AttemptStep>, Vec<_>) = steps.iter().partition(|step| step.from.is_some());
    if !new.is_empty() {
        insert(tx, &new.iter().map(|step| &step.attempt).collect::<Vec<_>>()).await?;
    }
    if known.is_empty() { Ok(()) } else { update(tx, &known).await }
}

async fn insert(tx: &mut PgConnection, new: &[&Attempt]) -> Written {
    fn column<'a, T>(new: &[&'a Attempt], of: impl Fn(&'a Attempt) -> T) -> Vec<T> {
        new.iter().map(|attempt| of(attempt)).collect()
    }
    let inserted = sqlx::query(
        "INSERT INTO payment_attempts (attempt_id, order_id, residency_region, number, kind, state, amount_minor, currency,
                                       payment_token, intent_id, due_at, version, traceparent, created_at, gateway, gateway_flow)
         SELECT attempt_id, new.order_id, residency_region, number, kind::attempt_kind, state::attempt_state, amount_minor, new.currency,
                new.payment_token, intent_id, due_at, new.version, traceparent, new.created_at, gateway, gateway_flow
         FROM UNNEST($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[],
                     $10::timestamptz[], $11::bigint[], $12::text[], $13::timestamptz[], $14::text[], $15::text[])
              AS new (attempt_id, order_id, number, kind, state, amount_minor, currency, payment_token, intent_id, due_at, version,
                      traceparent, created_at, gateway, gateway_flow)
         JOIN orders ON orders.order_id = new.order_id",
    )
    .bind(column(new, |attempt| attempt.id.uuid()))
    .bind(column(new, |attempt| attempt.order.uuid()))
    .bind(column(new, |attempt| i32::try_from(attempt.number).unwrap_or(i32::MAX)))
    .bind(column(new, |attempt| attempt.kind.code()))
    .bind(column(new, |attempt| attempt.state.code()))
    .bind(column(new, |attempt| attempt.amount.minor()))
    .bind(column(new, |attempt| attempt.amount.currency().code()))
    .bind(column(new, |attempt| attempt.token.open().as_str()))
    .bind(column(new, |attempt| attempt.intent.as_deref()))
    .bind(column(new, |attempt| attempt.due_at))
    .bind(column(new, |attempt| attempt.version))
    .bind(column(new, |attempt| attempt.traceparent.as_deref()))
    .bind(column(new, |attempt| attempt.created_at))
    .bind(column(new, |attempt| attempt.via.name.as_str()))
    .bind(column(new, |attempt| attempt.via.flow.code()))
    .execute(tx)
    .await
    .map_err(|error| {
        let meetings = ["payment_attempts_pkey", "payment_attempts_number_once", "payment_attempts_one_charge"];
        named(error, &meetings.map(|name| (name, Conflict::Lost)))
    })?;
    all_of(new.len(), inserted.rows_affected())
}

/// A version without a lease gives the attempt back: a hint that came while a worker had it is not written over.
async fn update(tx: &mut PgConnection, known: &[&AttemptStep]) -> Written {
    fn column<'a, T>(known: &[&'a AttemptStep], of: impl Fn(&'a Attempt) -> T) -> Vec<T> {
        known.iter().map(|step| of(&step.attempt)).collect()
    }
    let changed = sqlx::query(
        "UPDATE payment_attempts
         SET state = new.state::attempt_state, intent_id = new.intent_id, capture_requested = new.capture_requested,
             giving_up = new.giving_up, refused_by = new.refused_by, in_doubt = new.in_doubt, tries = new.tries,
             due_at = CASE WHEN new.leased_until IS NULL THEN LEAST(new.due_at, hinted_at) ELSE new.due_at END,
             leased_until = new.leased_until, version = new.version
         FROM UNNEST($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::bool[], $6::text[], $7::bool[], $8::int[],
                     $9::timestamptz[], $10::timestamptz[], $11::bigint[], $12::text[])
              AS new (attempt_id, before, state, intent_id, capture_requested, giving_up, in_doubt, tries, due_at, leased_until, version,
                      refused_by)
         WHERE payment_attempts.attempt_id = new.attempt_id AND payment_attempts.version = new.before",
    )
    .bind(column(known, |attempt| attempt.id.uuid()))
    .bind(known.iter().map(|step| step.from.unwrap_or_default()).collect::<Vec<_>>())
    .bind(column(known, |attempt| attempt.state.code()))
    .bind(column(known, |attempt| attempt.intent.as_deref()))
    .bind(column(known, |attempt| attempt.capture_requested))
    .bind(column(known, |attempt| attempt.giving_up.map(|reason| reason.code())))
    .bind(column(known, |attempt| attempt.in_doubt))
    .bind(column(known, |attempt| i32::try_from(attempt.tries).unwrap_or(i32::MAX)))
    .bind(column(known, |attempt| attempt.due_at))
    .bind(column(known, |attempt| attempt.leased_until))
    .bind(column(known, |attempt| attempt.version))
    .bind(column(known, |attempt| attempt.refused_by.map(|refusal| refusal.code())))
    .execute(tx)
    .await?;
    all_of(known.len(), changed.rows_affected())
}

/// One winner: whose row is not as the decision saw it has lost.
fn all_of(wanted: usize, written: u64) -> Written {
    if written == wanted as u64 { Ok(()) } else { Err(WriteError::Refused(Conflict::Lost)) }
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
        refused_by: row.refused_by.as_deref().map(str::parse).transpose().map_err(|_| broken("refused_by"))?,
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
