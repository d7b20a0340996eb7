//! The statements behind the operators' desk. No column with a person in it is read: no name, no address, no user, no card.

use chrono::{DateTime, Utc};
use common::{Currency, Money, OrderId};
use messaging::{Action, WriteError};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use uuid::Uuid;

use super::{Written, unread};
use crate::usecases::desk::{
    AttemptCard, AttemptRow, FindingRow, KindCount, LedgerRow, MOST_DAYS, MOST_FINDINGS, SagaCard, SagaFilter,
    SagaLine, SettledRow, WebhookRow,
};
use crate::usecases::error::{Conflict, StoreError};
use crate::usecases::ports::DaySums;
use crate::usecases::views::StatusChange;

#[derive(sqlx::FromRow)]
struct CardRow {
    order_id: Uuid,
    status: String,
    reason: Option<String>,
    currency: String,
    total_minor: i64,
    created_at: DateTime<Utc>,
    moved_at: DateTime<Utc>,
    deadline_at: DateTime<Utc>,
    unpublished: bool,
    number: Option<i32>,
    kind: Option<String>,
    state: Option<String>,
    tries: Option<i32>,
    giving_up: Option<String>,
    due_at: Option<DateTime<Utc>>,
}

/// An order, its last step, and its open attempt or else its newest.
const CARD: &str =
    "SELECT orders.order_id, orders.status::text, orders.reason, orders.currency, orders.total_minor, orders.created_at,
            (SELECT max(at) FROM order_history WHERE order_history.order_id = orders.order_id) AS moved_at, orders.deadline_at,
            EXISTS (SELECT FROM outbox WHERE outbox.key = orders.order_id::text AND published_at IS NULL) AS unpublished,
            attempt.number, attempt.kind::text, attempt.state::text, attempt.tries, attempt.giving_up, attempt.due_at
     FROM orders LEFT JOIN LATERAL (
         SELECT number, kind, state, tries, giving_up, due_at FROM payment_attempts
         WHERE payment_attempts.order_id = orders.order_id
         ORDER BY state IN ('PREPARED', 'SENT', 'AUTHORISED', 'UNKNOWN') DESC, number DESC LIMIT 1) attempt ON TRUE";

/// Sagas that are not at their end: open orders, and orders with an attempt under way (a refund after the end).
const NOT_ENDED: &str = "(orders.status IN ('CREATED', 'PAYMENT_PENDING') OR orders.order_id IN (
         SELECT order_id FROM payment_attempts WHERE state IN ('PREPARED', 'SENT', 'AUTHORISED', 'UNKNOWN')))";

pub async fn cards(pool: &PgPool, filter: &SagaFilter) -> Result<Vec<SagaCard>, StoreError> {
    // Both texts are ours; every value is bound.
    let window = if filter.unmoved_since.is_some() {
        format!(
            "{NOT_ENDED} AND (SELECT max(at) FROM order_history WHERE order_history.order_id = orders.order_id) <= $1
             AND ($4::timestamptz IS NULL OR (orders.created_at, orders.order_id) > ($4, $5))
             ORDER BY orders.created_at, orders.order_id"
        )
    } else {
        "orders.created_at >= $1 AND ($4::timestamptz IS NULL OR (orders.created_at, orders.order_id) < ($4, $5))
         ORDER BY orders.created_at DESC, orders.order_id DESC"
            .to_owned()
    };
    let query = format!(
        "{CARD} WHERE ($2::text IS NULL OR orders.status::text = $2) AND ($3::text IS NULL OR orders.reason = $3)
         AND {window} LIMIT $6"
    );
    let found: Vec<CardRow> = sqlx::query_as(AssertSqlSafe(query))
        .bind(filter.unmoved_since.unwrap_or(filter.placed_since))
        .bind(filter.status.map(|status| status.code()))
        .bind(filter.reason.map(|reason| reason.code()))
        .bind(filter.after.map(|place| place.created_at))
        .bind(filter.after.map(|place| place.id.uuid()))
        .bind(i64::from(filter.limit))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    found.into_iter().map(convert).collect()
}

pub async fn card(tx: &mut PgConnection, order: OrderId) -> Result<Option<SagaCard>, StoreError> {
    let row: Option<CardRow> = sqlx::query_as(AssertSqlSafe(format!("{CARD} WHERE orders.order_id = $1")))
        .bind(order.uuid())
        .fetch_optional(tx)
        .await
        .map_err(unread)?;
    row.map(convert).transpose()
}

fn convert(row: CardRow) -> Result<SagaCard, StoreError> {
    let broken =
        |column: &'static str| StoreError::Inconsistent { table: "orders", column, row: row.order_id.to_string() };
    let attempt = match (&row.kind, &row.state, row.due_at) {
        (Some(kind), Some(state), Some(due_at)) => Some(AttemptCard {
            number: u32::try_from(row.number.unwrap_or_default()).map_err(|_| broken("number"))?,
            kind: kind.parse().map_err(|_| broken("kind"))?,
            state: state.parse().map_err(|_| broken("state"))?,
            tries: u32::try_from(row.tries.unwrap_or_default()).map_err(|_| broken("tries"))?,
            giving_up: row.giving_up.as_deref().map(str::parse).transpose().map_err(|_| broken("giving_up"))?,
            due_at,
        }),
        _ => None,
    };
    Ok(SagaCard {
        order: row.order_id.into(),
        status: row.status.parse().map_err(|_| broken("status"))?,
        reason: row.reason.as_deref().map(str::parse).transpose().map_err(|_| broken("reason"))?,
        total: money(row.total_minor, &row.currency).ok_or_else(|| broken("total_minor"))?,
        placed_at: row.created_at,
        moved_at: row.moved_at,
        deadline_at: row.deadline_at,
        attempt,
        unpublished: row.unpublished,
    })
}

fn money(minor: i64, currency: &str) -> Option<Money> {
    Money::from_minor(minor, currency.parse::<Currency>().ok()?).ok()
}

pub async fn lines(tx: &mut PgConnection, order: OrderId) -> Result<Vec<SagaLine>, StoreError> {
    let rows: Vec<(String, i32, i64)> =
        sqlx::query_as("SELECT sku, quantity, unit_price_minor FROM order_lines WHERE order_id = $1 ORDER BY line_no")
            .bind(order.uuid())
            .fetch_all(tx)
            .await
            .map_err(unread)?;
    let line = |(sku, quantity, unit_price_minor)| SagaLine { sku, quantity, unit_price_minor };
    Ok(rows.into_iter().map(line).collect())
}

pub async fn history(tx: &mut PgConnection, order: OrderId) -> Result<Vec<StatusChange>, StoreError> {
    let rows: Vec<(i64, String, Option<String>, DateTime<Utc>)> = sqlx::query_as(
        "SELECT version, status::text, reason, at FROM order_history WHERE order_id = $1 ORDER BY version",
    )
    .bind(order.uuid())
    .fetch_all(tx)
    .await
    .map_err(unread)?;
    rows.into_iter()
        .map(|(version, status, reason, at)| {
            let broken = |column| StoreError::Inconsistent { table: "order_history", column, row: order.to_string() };
            Ok(StatusChange {
                version,
                status: status.parse().map_err(|_| broken("status"))?,
                reason: reason.as_deref().map(str::parse).transpose().map_err(|_| broken("reason"))?,
                at,
            })
        })
        .collect()
}

#[derive(sqlx::FromRow)]
struct TriedRow {
    attempt_id: Uuid,
    number: i32,
    kind: String,
    state: String,
    amount_minor: i64,
    currency: String,
    intent_id: Option<String>,
    capture_requested: bool,
    giving_up: Option<String>,
    refused_by: Option<String>,
    in_doubt: bool,
    tries: i32,
    due_at: DateTime<Utc>,
    leased_until: Option<DateTime<Utc>>,
    version: i64,
    created_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
}

pub async fn attempts(tx: &mut PgConnection, order: OrderId) -> Result<Vec<AttemptRow>, StoreError> {
    let rows: Vec<TriedRow> = sqlx::query_as(
        "SELECT attempt_id, number, kind::text, state::text, amount_minor, currency, intent_id, capture_requested, giving_up, refused_by,
                in_doubt, tries, due_at, leased_until, version, created_at, changed_at
         FROM payment_attempts WHERE order_id = $1 ORDER BY number",
    )
    .bind(order.uuid())
    .fetch_all(tx)
    .await
    .map_err(unread)?;
    rows.into_iter().map(attempt).collect()
}

fn attempt(row: TriedRow) -> Result<AttemptRow, StoreError> {
    let broken = |column: &'static str| StoreError::Inconsistent {
        table: "payment_attempts",
        column,
        row: row.attempt_id.to_string(),
    };
    Ok(AttemptRow {
        id: row.attempt_id.into(),
        card: AttemptCard {
            number: u32::try_from(row.number).map_err(|_| broken("number"))?,
            kind: row.kind.parse().map_err(|_| broken("kind"))?,
            state: row.state.parse().map_err(|_| broken("state"))?,
            tries: u32::try_from(row.tries).map_err(|_| broken("tries"))?,
            giving_up: row.giving_up.as_deref().map(str::parse).transpose().map_err(|_| broken("giving_up"))?,
            due_at: row.due_at,
        },
        amount: money(row.amount_minor, &row.currency).ok_or_else(|| broken("amount_minor"))?,
        intent: row.intent_id,
        capture_requested: row.capture_requested,
        refused_by: row.refused_by.as_deref().map(str::parse).transpose().map_err(|_| broken("refused_by"))?,
        in_doubt: row.in_doubt,
        leased_until: row.leased_until,
        version: row.version,
        created_at: row.created_at,
        changed_at: row.changed_at,
    })
}

pub async fn ledger(tx: &mut PgConnection, order: OrderId) -> Result<Vec<LedgerRow>, StoreError> {
    type Row = (Option<Uuid>, String, String, i64, String, DateTime<Utc>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT moved.attempt_id, moved.kind::text, account::text, amount_minor, moved.currency::text, recorded_at
         FROM ledger_transactions moved JOIN ledger_entries entry USING (transaction_id)
         WHERE moved.order_id = $1 ORDER BY recorded_at, transaction_id, entry_no",
    )
    .bind(order.uuid())
    .fetch_all(tx)
    .await
    .map_err(unread)?;
    let entry = |(attempt, kind, account, amount_minor, currency, recorded_at): Row| LedgerRow {
        attempt: attempt.map(Into::into),
        kind,
        account,
        amount_minor,
        currency,
        recorded_at,
    };
    Ok(rows.into_iter().map(entry).collect())
}

pub async fn webhooks(tx: &mut PgConnection, order: OrderId, limit: u16) -> Result<Vec<WebhookRow>, StoreError> {
    type Row = (String, String, DateTime<Utc>, i32, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT event_id, event_type, received_at, tries, outcome FROM webhooks WHERE order_id = $1 ORDER BY received_at LIMIT $2",
    )
    .bind(order.uuid())
    .bind(i64::from(limit))
    .fetch_all(tx)
    .await
    .map_err(unread)?;
    let hook = |(event_id, event_type, received_at, tries, outcome): Row| WebhookRow {
        event_id,
        event_type,
        received_at,
        tries,
        outcome,
    };
    Ok(rows.into_iter().map(hook).collect())
}

pub async fn is_shipped(tx: &mut PgConnection, order: OrderId) -> Result<bool, StoreError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM order_shipments WHERE order_id = $1)")
        .bind(order.uuid())
        .fetch_one(tx)
        .await
        .map_err(unread)
}

pub async fn has_open_attempt(tx: &mut PgConnection, order: OrderId) -> Result<bool, WriteError<Conflict>> {
    let open = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM payment_attempts
                        WHERE order_id = $1 AND state NOT IN ('CAPTURED', 'DECLINED', 'VOIDED'))",
    )
    .bind(order.uuid())
    .fetch_one(tx)
    .await?;
    Ok(open)
}

#[derive(sqlx::FromRow)]
struct FoundRow {
    kind: String,
    reference: String,
    order_id: Option<Uuid>,
    detail: String,
    state: String,
    first_seen_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    acknowledged_by: Option<Uuid>,
    acknowledgement: Option<String>,
    resolved_at: Option<DateTime<Utc>>,
    resolution: Option<String>,
}

impl From<FoundRow> for FindingRow {
    fn from(row: FoundRow) -> Self {
        Self {
            kind: row.kind,
            reference: row.reference,
            order: row.order_id.map(Into::into),
            detail: row.detail,
            state: row.state,
            first_seen_at: row.first_seen_at,
            last_seen_at: row.last_seen_at,
            acknowledged_by: row.acknowledged_by.map(Into::into),
            acknowledgement: row.acknowledgement,
            resolved_at: row.resolved_at,
            resolution: row.resolution,
        }
    }
}

pub async fn findings_of(tx: &mut PgConnection, order: OrderId, limit: u16) -> Result<Vec<FindingRow>, StoreError> {
    let rows: Vec<FoundRow> = sqlx::query_as(
        "SELECT kind, reference, order_id, detail, state, first_seen_at, last_seen_at, acknowledged_by, acknowledgement,
                resolved_at, resolution
         FROM reconciliation_findings WHERE order_id = $1 ORDER BY first_seen_at LIMIT $2",
    )
    .bind(order.uuid())
    .bind(i64::from(limit))
    .fetch_all(tx)
    .await
    .map_err(unread)?;
    Ok(rows.into_iter().map(Into::into).collect())
}

pub async fn unresolved(tx: &mut PgConnection) -> Result<Vec<FindingRow>, StoreError> {
    let rows: Vec<FoundRow> = sqlx::query_as(
        "SELECT kind, reference, order_id, detail, state, first_seen_at, last_seen_at, acknowledged_by, acknowledgement,
                resolved_at, resolution
         FROM reconciliation_findings WHERE resolved_at IS NULL ORDER BY first_seen_at, kind, reference LIMIT $1",
    )
    .bind(i64::from(MOST_FINDINGS))
    .fetch_all(tx)
    .await
    .map_err(unread)?;
    Ok(rows.into_iter().map(Into::into).collect())
}

pub async fn counts(tx: &mut PgConnection) -> Result<Vec<KindCount>, StoreError> {
    let rows: Vec<(String, i64, i64, DateTime<Utc>)> = sqlx::query_as(
        "SELECT kind, count(*) FILTER (WHERE state = 'OPEN'), count(*) FILTER (WHERE state = 'ACKNOWLEDGED'), min(first_seen_at)
         FROM reconciliation_findings WHERE resolved_at IS NULL GROUP BY kind ORDER BY min(first_seen_at)",
    )
    .fetch_all(tx)
    .await
    .map_err(unread)?;
    let count = |(kind, open, acknowledged, oldest_at)| KindCount { kind, open, acknowledged, oldest_at };
    Ok(rows.into_iter().map(count).collect())
}

#[derive(sqlx::FromRow)]
struct DayRow {
    day: chrono::NaiveDate,
    currency: String,
    orders_minor: i64,
    captured_minor: i64,
    refunded_minor: i64,
    gateway_minor: i64,
    looked_at: DateTime<Utc>,
}

/// The latest days, the newest first.
pub async fn days(tx: &mut PgConnection) -> Result<Vec<(DaySums, DateTime<Utc>)>, StoreError> {
    let rows: Vec<DayRow> = sqlx::query_as(
        "SELECT day, currency::text, orders_minor, captured_minor, refunded_minor, gateway_minor, looked_at
         FROM reconciliation_days ORDER BY day DESC, currency LIMIT $1",
    )
    .bind(i64::from(MOST_DAYS))
    .fetch_all(tx)
    .await
    .map_err(unread)?;
    rows.into_iter()
        .map(|row| {
            let currency = row.currency.parse().map_err(|_| StoreError::Inconsistent {
                table: "reconciliation_days",
                column: "currency",
                row: row.day.to_string(),
            })?;
            let sums = DaySums {
                day: row.day,
                currency,
                orders_minor: row.orders_minor,
                captured_minor: row.captured_minor,
                refunded_minor: row.refunded_minor,
                gateway_minor: row.gateway_minor,
            };
            Ok((sums, row.looked_at))
        })
        .collect()
}

/// The latest closed day of each gateway.
pub async fn settlements(tx: &mut PgConnection) -> Result<Vec<SettledRow>, StoreError> {
    type Row = (String, chrono::NaiveDate, String, i64, i64, i64, i64, DateTime<Utc>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT gateway, day, currency::text, net_minor, ours_minor, difference_minor, open_count, closed_at
         FROM settlements JOIN settlement_totals USING (gateway, day)
         WHERE (gateway, day) IN (SELECT gateway, max(day) FROM settlements GROUP BY gateway) ORDER BY gateway, currency",
    )
    .fetch_all(tx)
    .await
    .map_err(unread)?;
    let settled = |(gateway, day, currency, net_minor, ours_minor, difference_minor, open, closed_at): Row| {
        SettledRow { gateway, day, currency, net_minor, ours_minor, difference_minor, open, closed_at }
    };
    Ok(rows.into_iter().map(settled).collect())
}

/// The state of a finding, held until the commit so that two owners cannot both be first.
pub async fn lock_finding(
    tx: &mut PgConnection,
    kind: &str,
    reference: &str,
) -> Result<Option<String>, WriteError<Conflict>> {
    let state = sqlx::query_scalar(
        "SELECT state FROM reconciliation_findings WHERE kind = $1 AND reference = $2 FOR NO KEY UPDATE",
    )
    .bind(kind)
    .bind(reference)
    .fetch_optional(tx)
    .await?;
    Ok(state)
}

pub async fn acknowledge(
    tx: &mut PgConnection,
    kind: &str,
    reference: &str,
    action: &Action,
    now: DateTime<Utc>,
) -> Written {
    sqlx::query(
        "UPDATE reconciliation_findings SET acknowledged_at = $3, acknowledged_by = $4, acknowledgement = $5
         WHERE kind = $1 AND reference = $2",
    )
    .bind(kind)
    .bind(reference)
    .bind(now)
    .bind(action.actor.uuid())
    .bind(&action.reason)
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn resolve(
    tx: &mut PgConnection,
    kind: &str,
    reference: &str,
    action: &Action,
    now: DateTime<Utc>,
) -> Written {
    sqlx::query(
        "UPDATE reconciliation_findings SET resolved_at = $3, resolution = $4 WHERE kind = $1 AND reference = $2",
    )
    .bind(kind)
    .bind(reference)
    .bind(now)
    .bind(&action.reason)
    .execute(tx)
    .await?;
    Ok(())
}
