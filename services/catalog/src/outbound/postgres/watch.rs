//! What the watchers of the work role look for and leave behind: holds past their time, parcels whose goods are there, and what the audit
//! found.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use common::{OrderId, Sku};
use messaging::{Cause, Change, Database, WriteError};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use super::failure::{Refusal, inconsistent, of_commit, of_read};
use crate::domain::audit::Finding;
use crate::domain::centre::Centre;
use crate::domain::shelves::Place;
use crate::usecases::ports::stock::{OpenFindings, StoreError};

/// Skips rows that another sweeper, or a step of that order, has at the moment. The mark is committed before anybody asks
/// about the order: no row stays locked while another service is waited for.
pub(super) async fn claim_overdue(
    database: &Database,
    now: DateTime<Utc>,
    asked_before: DateTime<Utc>,
    limit: u16,
) -> Result<Vec<OrderId>, StoreError> {
    let change = Change { cause: Cause::Duty("claim_overdue"), events: Vec::new(), answer: None };
    let claimed: Arc<Mutex<Vec<Uuid>>> = Arc::default();
    let taken = Arc::clone(&claimed);
    let outcome = database
        .commit(change, move |tx| {
            let taken = Arc::clone(&taken);
            Box::pin(async move {
                let orders: Vec<Uuid> = sqlx::query_scalar(
                    r#"
                    UPDATE reservations SET asked_at = $1
                    WHERE order_id = ANY (ARRAY(
                        SELECT order_id FROM reservations
                        WHERE status = 'HELD' AND held_until < $1 AND (asked_at IS NULL OR asked_at < $2)
                        ORDER BY held_until LIMIT $3
                        FOR NO KEY UPDATE SKIP LOCKED))
                    RETURNING order_id
                    "#,
                )
                .bind(now)
                .bind(asked_before)
                .bind(i64::from(limit))
                .fetch_all(tx)
                .await?;
                *taken.lock().unwrap_or_else(PoisonError::into_inner) = orders;
                Ok::<(), WriteError<Refusal>>(())
            })
        })
        .await;
    outcome.map_err(of_commit)?;
    let orders = claimed.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(orders.iter().copied().map(OrderId::from_uuid).collect())
}

pub(super) async fn sendable(pool: &PgPool, limit: u16) -> Result<Vec<(OrderId, Vec<Centre>)>, StoreError> {
    let rows: Vec<(Uuid, Vec<String>)> = sqlx::query_as(
        r#"
        SELECT order_id, array_agg(fulfilment_centre ORDER BY fulfilment_centre)
        FROM shipments s
        WHERE state = 'WAITING' AND NOT EXISTS (
            SELECT FROM back_orders b
            WHERE b.order_id = s.order_id AND b.fulfilment_centre = s.fulfilment_centre AND b.waiting > 0)
        GROUP BY order_id
        LIMIT $1
        "#,
    )
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(of_read)?;
    let order = |(order, centres): (Uuid, Vec<String>)| {
        let wrong = |_| inconsistent("shipments", "fulfilment_centre", &order);
        let centres = centres.iter().map(|centre| Centre::parse(centre).map_err(wrong));
        Ok((OrderId::from_uuid(order), centres.collect::<Result<_, StoreError>>()?))
    };
    rows.into_iter().map(order).collect()
}

pub(super) fn place(table: &str, sku: &str, centre: &str) -> Result<Place, StoreError> {
    let parsed = Sku::parse(sku).map_err(|_| inconsistent(table, "sku", &sku))?;
    Ok((parsed, Centre::parse(centre).map_err(|_| inconsistent(table, "fulfilment_centre", &sku))?))
}

pub(super) async fn note_findings(
    database: &Database,
    audited: &[Place],
    findings: &[Finding],
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let change = Change { cause: Cause::Duty("note_stock_findings"), events: Vec::new(), answer: None };
    let (audited, findings): (Arc<[Place]>, Arc<[Finding]>) = (audited.into(), findings.into());
    let opened: Arc<Mutex<u64>> = Arc::default();
    let counted = Arc::clone(&opened);
    let outcome = database
        .commit(change, move |tx| {
            let (audited, findings, counted) = (audited.clone(), findings.clone(), Arc::clone(&counted));
            Box::pin(async move {
                let columns = || findings.iter().map(|finding| (finding.place.0.as_str(), finding.place.1.as_str(), finding.counter));
                let (skus, centres): (Vec<&str>, Vec<&str>) = columns().map(|(sku, centre, _)| (sku, centre)).unzip();
                let counters: Vec<&str> = columns().map(|(_, _, counter)| counter).collect();
                sqlx::query(
                    r#"
                    UPDATE stock_findings f SET resolved_at = $1
                    FROM UNNEST($2::text[], $3::text[]) AS audited (sku, fulfilment_centre)
                    WHERE f.sku = audited.sku AND f.fulfilment_centre = audited.fulfilment_centre AND f.resolved_at IS NULL
                      AND (f.sku, f.fulfilment_centre, f.counter) NOT IN (SELECT * FROM UNNEST($4::text[], $5::text[], $6::text[]))
                    "#,
                )
                .bind(now)
                .bind(audited.iter().map(|(sku, _)| sku.as_str()).collect::<Vec<_>>())
                .bind(audited.iter().map(|(_, centre)| centre.as_str()).collect::<Vec<_>>())
                .bind(&skus)
                .bind(&centres)
                .bind(&counters)
                .execute(&mut *tx)
                .await?;
                let fresh: Vec<bool> = sqlx::query_scalar(
                    r#"
                    INSERT INTO stock_findings (sku, fulfilment_centre, counter, expected, found, found_at)
                    SELECT sku, fulfilment_centre, counter, expected, found, $1
                    FROM UNNEST($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[]) AS new (sku, fulfilment_centre, counter, expected, found)
                    ON CONFLICT (sku, fulfilment_centre, counter) WHERE resolved_at IS NULL
                    DO UPDATE SET expected = EXCLUDED.expected, found = EXCLUDED.found
                    RETURNING found_at = $1
                    "#,
                )
                .bind(now)
                .bind(&skus)
                .bind(&centres)
                .bind(&counters)
                .bind(findings.iter().map(|finding| finding.expected).collect::<Vec<_>>())
                .bind(findings.iter().map(|finding| finding.found).collect::<Vec<_>>())
                .fetch_all(tx)
                .await?;
                *counted.lock().unwrap_or_else(PoisonError::into_inner) = fresh.iter().filter(|fresh| **fresh).count() as u64;
                Ok::<(), WriteError<Refusal>>(())
            })
        })
        .await;
    outcome.map_err(of_commit)?;
    Ok(*opened.lock().unwrap_or_else(PoisonError::into_inner))
}

#[derive(FromRow)]
struct FindingRow {
    sku: String,
    fulfilment_centre: String,
    counter: String,
    expected: i64,
    found: i64,
}

pub(super) async fn open_findings(pool: &PgPool, limit: u16) -> Result<Vec<Finding>, StoreError> {
    let rows: Vec<FindingRow> = sqlx::query_as(
        r#"
        SELECT sku::text, fulfilment_centre::text, counter, expected, found
        FROM stock_findings WHERE resolved_at IS NULL
        ORDER BY found_at, finding_id LIMIT $1
        "#,
    )
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(of_read)?;
    let finding = |row: FindingRow| {
        let place = place("stock_findings", &row.sku, &row.fulfilment_centre)?;
        let counter =
            Finding::counter_of(&row.counter).ok_or_else(|| inconsistent("stock_findings", "counter", &row.sku))?;
        Ok(Finding { place, counter, expected: row.expected, found: row.found })
    };
    rows.into_iter().map(finding).collect()
}

pub(super) async fn findings_by_counter(pool: &PgPool) -> Result<Vec<OpenFindings>, StoreError> {
    let rows: Vec<(String, i64, DateTime<Utc>)> = sqlx::query_as(
        r#"
        SELECT counter, count(*), min(found_at) FROM stock_findings WHERE resolved_at IS NULL
        GROUP BY counter ORDER BY counter COLLATE "C"
        "#,
    )
    .fetch_all(pool)
    .await
    .map_err(of_read)?;
    let open = |(counter, count, since): (String, i64, DateTime<Utc>)| {
        let known = Finding::counter_of(&counter).ok_or_else(|| inconsistent("stock_findings", "counter", &counter))?;
        Ok(OpenFindings { counter: known, count: count.unsigned_abs(), since })
    };
    rows.into_iter().map(open).collect()
}
