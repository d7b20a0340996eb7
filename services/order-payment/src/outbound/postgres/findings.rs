//! Differences between the gateway's books and ours, and what is open altogether.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::{Written, unread};
use crate::usecases::error::StoreError;
use crate::usecases::ports::{Backlog, DaySums, Finding, FindingKind, OpenCount};

/// Opens a difference, or sees a known one again. One that was resolved and is found again opens anew: its age counts from
/// now and nobody has it.
pub async fn note(tx: &mut PgConnection, finding: &Finding, now: DateTime<Utc>) -> Written {
    sqlx::query(
        "INSERT INTO reconciliation_findings AS known (kind, reference, order_id, detail, happened_at, first_seen_at, last_seen_at)
         VALUES ($1, $2, $3, $4, $6, $5, $5)
         ON CONFLICT (kind, reference) DO UPDATE SET
             detail = excluded.detail, last_seen_at = excluded.last_seen_at, happened_at = excluded.happened_at,
             first_seen_at = CASE WHEN known.resolved_at IS NULL THEN known.first_seen_at ELSE excluded.first_seen_at END,
             acknowledged_at = CASE WHEN known.resolved_at IS NULL THEN known.acknowledged_at END,
             acknowledged_by = CASE WHEN known.resolved_at IS NULL THEN known.acknowledged_by END,
             acknowledgement = CASE WHEN known.resolved_at IS NULL THEN known.acknowledgement END,
             resolved_at = NULL, resolution = NULL",
    )
    .bind(finding.kind.code())
    .bind(&finding.reference)
    .bind(finding.order.map(|order| order.uuid()))
    .bind(&finding.detail)
    .bind(now)
    .bind(finding.happened_at)
    .execute(tx)
    .await?;
    Ok(())
}

/// What the look at `now` looked for and did not find again is resolved, if it happened at or after `since`: what is older
/// was not looked at.
pub async fn resolve_older(tx: &mut PgConnection, since: DateTime<Utc>, now: DateTime<Utc>) -> Written {
    let looked_for: Vec<&str> =
        FindingKind::ALL.into_iter().filter(|kind| kind.is_seen_by_looking()).map(FindingKind::code).collect();
    sqlx::query(
        "UPDATE reconciliation_findings SET resolved_at = $1, resolution = 'no longer found'
         WHERE resolved_at IS NULL AND last_seen_at < $1 AND kind = ANY($2) AND coalesce(happened_at, first_seen_at) >= $3",
    )
    .bind(now)
    .bind(looked_for)
    .bind(since)
    .execute(tx)
    .await?;
    Ok(())
}

/// Keeps the sums of a whole day; a later look corrects an earlier one.
pub async fn keep_day(tx: &mut PgConnection, sums: &DaySums, now: DateTime<Utc>) -> Written {
    sqlx::query(
        "INSERT INTO reconciliation_days (day, currency, orders_minor, captured_minor, refunded_minor, gateway_minor, looked_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (day, currency) DO UPDATE SET
             orders_minor = excluded.orders_minor, captured_minor = excluded.captured_minor,
             refunded_minor = excluded.refunded_minor, gateway_minor = excluded.gateway_minor, looked_at = excluded.looked_at",
    )
    .bind(sums.day)
    .bind(sums.currency.code())
    .bind(sums.orders_minor)
    .bind(sums.captured_minor)
    .bind(sums.refunded_minor)
    .bind(sums.gateway_minor)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    what: String,
    state: String,
    count: i64,
    oldest_s: i64,
}

/// Counts and ages of everything that is open.
pub async fn backlog(pool: &PgPool) -> Result<Backlog, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT 'order' AS what, status::text AS state, count(*) AS count, extract(epoch FROM now() - min(created_at))::bigint AS oldest_s
         FROM orders WHERE status IN ('CREATED', 'PAYMENT_PENDING') GROUP BY status
         UNION ALL
         SELECT 'attempt', state::text, count(*), extract(epoch FROM now() - min(created_at))::bigint
         FROM payment_attempts WHERE state IN ('PREPARED', 'SENT', 'AUTHORISED', 'UNKNOWN') GROUP BY state
         UNION ALL
         SELECT 'finding', kind, count(*), extract(epoch FROM now() - min(first_seen_at))::bigint
         FROM reconciliation_findings WHERE resolved_at IS NULL GROUP BY kind
         UNION ALL
         SELECT 'orphan', state::text, count(*), extract(epoch FROM now() - min(found_at))::bigint
         FROM orphan_charges WHERE state IN ('PREPARED', 'SENT', 'UNKNOWN') GROUP BY state
         UNION ALL
         SELECT 'refund', state::text, count(*), extract(epoch FROM now() - min(asked_at))::bigint
         FROM refunds WHERE state = 'OPEN' GROUP BY state
         UNION ALL
         SELECT 'webhook', 'waiting', count(*), extract(epoch FROM now() - min(received_at))::bigint
         FROM webhooks WHERE processed_at IS NULL HAVING count(*) > 0",
    )
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    Ok(Backlog { open: rows.into_iter().map(convert).collect() })
}

fn convert(row: Row) -> OpenCount {
    let what = ["order", "attempt", "finding", "orphan", "refund", "webhook"]
        .into_iter()
        .find(|what| *what == row.what)
        .unwrap_or("order");
    OpenCount { what, state: row.state, count: row.count, oldest_s: row.oldest_s.max(0) }
}
