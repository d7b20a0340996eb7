//! Differences between the gateway's books and ours, and what is open altogether.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::{Written, unread};
use crate::usecases::error::StoreError;
use crate::usecases::ports::{Backlog, Finding, FindingKind, OpenCount};

/// Opens a difference, or sees a known one again.
pub async fn note(tx: &mut PgConnection, finding: &Finding, now: DateTime<Utc>) -> Written {
    sqlx::query(
        "INSERT INTO reconciliation_findings (kind, reference, order_id, detail, first_seen_at, last_seen_at)
         VALUES ($1, $2, $3, $4, $5, $5)
         ON CONFLICT (kind, reference) DO UPDATE SET detail = excluded.detail, last_seen_at = excluded.last_seen_at, resolved_at = NULL",
    )
    .bind(finding.kind.code())
    .bind(&finding.reference)
    .bind(finding.order.map(|order| order.uuid()))
    .bind(&finding.detail)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// What the look at `now` did not find again is resolved. What no look can find stays for a person.
pub async fn resolve_older(tx: &mut PgConnection, now: DateTime<Utc>) -> Written {
    let staying: Vec<&str> =
        FindingKind::ALL.into_iter().filter(|kind| !kind.is_seen_by_looking()).map(FindingKind::code).collect();
    sqlx::query("UPDATE reconciliation_findings SET resolved_at = $1 WHERE resolved_at IS NULL AND last_seen_at < $1 AND kind <> ALL($2)")
        .bind(now)
        .bind(staying)
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
