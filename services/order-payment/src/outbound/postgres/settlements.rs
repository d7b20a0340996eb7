//! Settled days: their files row by row, totals, and what of our ledger no file names.

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use common::{AttemptId, OrderId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{PostgresStore, Written, attempts, findings, orphans, unread};
use crate::domain::settlement::SettlementKind;
use crate::domain::{LedgerKind, Orphan, Transaction};
use crate::usecases::error::{CommitError, StoreError};
use crate::usecases::ports::Finding;
use crate::usecases::settle_day::{Booked, BookedOrphan, ClosedDay, JudgedRow, Settled, Settlements, Unsettled};

#[derive(sqlx::FromRow)]
struct Row {
    day: NaiveDate,
    closed_at: DateTime<Utc>,
    checksum: String,
    open_count: i64,
}

#[derive(sqlx::FromRow)]
struct UnsettledRow {
    attempt_id: Uuid,
    order_id: Uuid,
    amount_minor: i64,
    currency: String,
}

#[async_trait]
impl Settlements for PostgresStore {
    async fn settled_before(&self, gateway: &str, day: NaiveDate) -> Result<Option<Settled>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT day, closed_at, checksum, open_count FROM settlements WHERE gateway = $1 AND day < $2 ORDER BY day DESC LIMIT 1",
        )
        .bind(gateway)
        .bind(day)
        .fetch_optional(self.database.pool())
        .await
        .map_err(unread)?;
        Ok(row.map(convert))
    }

    async fn settled(&self, gateway: &str, day: NaiveDate) -> Result<Option<Settled>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT day, closed_at, checksum, open_count FROM settlements WHERE gateway = $1 AND day = $2",
        )
        .bind(gateway)
        .bind(day)
        .fetch_optional(self.database.pool())
        .await
        .map_err(unread)?;
        Ok(row.map(convert))
    }

    async fn booked(&self, wanted: &[(OrderId, u32)]) -> Result<Vec<Booked>, StoreError> {
        let attempts = attempts::by_numbers(self.database.pool(), wanted).await?;
        let ids: Vec<Uuid> = attempts.iter().map(|attempt| attempt.id.uuid()).collect();
        let sums: Vec<(Uuid, i64)> = sqlx::query_as(
            "SELECT moved.attempt_id, sum(entry.amount_minor)::bigint
             FROM ledger_transactions moved JOIN ledger_entries entry USING (transaction_id)
             WHERE moved.attempt_id = ANY($1) AND entry.account = 'gateway_receivable' GROUP BY moved.attempt_id",
        )
        .bind(ids)
        .fetch_all(self.database.pool())
        .await
        .map_err(unread)?;
        let booked = |id: Uuid| sums.iter().find(|(of, _)| *of == id).map(|(_, sum)| *sum);
        Ok(attempts.into_iter().map(|attempt| Booked { booked_minor: booked(attempt.id.uuid()), attempt }).collect())
    }

    async fn orphans_booked(&self, gateway: &str, payments: &[String]) -> Result<Vec<BookedOrphan>, StoreError> {
        let orphans = orphans::with_intents(self.database.pool(), gateway, payments).await?;
        let id = |kind: LedgerKind, intent: &str| Transaction::orphan_id(kind, intent).uuid();
        let of_both =
            |orphan: &Orphan| [LedgerKind::Orphan, LedgerKind::OrphanRefund].map(|kind| id(kind, &orphan.intent));
        let wanted: Vec<Uuid> = orphans.iter().flat_map(of_both).collect();
        let there: Vec<Uuid> = sqlx::query_scalar(
            "SELECT transaction_id FROM ledger_transactions booked WHERE transaction_id = ANY($1)
               AND NOT EXISTS (SELECT FROM ledger_transactions back WHERE back.reverses = booked.transaction_id)",
        )
        .bind(wanted)
        .fetch_all(self.database.pool())
        .await
        .map_err(unread)?;
        let booked = |orphan: Orphan| BookedOrphan {
            taken: there.contains(&id(LedgerKind::Orphan, &orphan.intent)),
            returned: there.contains(&id(LedgerKind::OrphanRefund, &orphan.intent)),
            orphan,
        };
        Ok(orphans.into_iter().map(booked).collect())
    }

    async fn matched_first(&self, gateway: &str, attempts: &[AttemptId]) -> Result<Vec<(AttemptId, i64)>, StoreError> {
        let rows: Vec<(Uuid, i64)> = sqlx::query_as(
            "SELECT attempt_id, min(sequence) FROM settlement_rows
             WHERE attempt_id = ANY($2) AND gateway = $1 AND outcome IN ('MATCHED', 'RESOLVED') GROUP BY attempt_id",
        )
        .bind(gateway)
        .bind(attempts.iter().map(|attempt| attempt.uuid()).collect::<Vec<Uuid>>())
        .fetch_all(self.database.pool())
        .await
        .map_err(unread)?;
        Ok(rows.into_iter().map(|(attempt, sequence)| (attempt.into(), sequence)).collect())
    }

    async fn orphan_matched_first(
        &self,
        gateway: &str,
        payment: &str,
        kind: SettlementKind,
    ) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar(
            "SELECT min(sequence) FROM settlement_rows
             WHERE gateway = $1 AND payment_id = $2 AND attempt_id IS NULL AND kind = $3 AND outcome IN ('MATCHED', 'RESOLVED')",
        )
        .bind(gateway)
        .bind(payment)
        .bind(kind.code())
        .fetch_one(self.database.pool())
        .await
        .map_err(unread)
    }

    async fn keep_rows(&self, gateway: &str, day: NaiveDate, rows: &[JudgedRow]) -> Result<(), CommitError> {
        let (gateway, rows) = (gateway.to_owned(), rows.to_vec());
        let kept = std::sync::Arc::new((gateway, rows));
        self.duty("keep-settlement", move |tx| {
            let kept = std::sync::Arc::clone(&kept);
            Box::pin(async move { keep(tx, &kept.0, day, &kept.1).await })
        })
        .await
    }

    async fn unsettled(
        &self,
        gateway: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Unsettled>, StoreError> {
        let rows: Vec<UnsettledRow> = sqlx::query_as(
            "SELECT moved.attempt_id, moved.order_id, sum(entry.amount_minor)::bigint AS amount_minor, moved.currency::text AS currency
             FROM ledger_transactions moved
             JOIN payment_attempts attempt ON attempt.attempt_id = moved.attempt_id
             JOIN ledger_entries entry ON entry.transaction_id = moved.transaction_id AND entry.account = 'gateway_receivable'
             WHERE attempt.gateway = $1 AND moved.recorded_at >= $2 AND moved.recorded_at < $3
               AND NOT EXISTS (SELECT FROM settlement_rows settled WHERE settled.attempt_id = moved.attempt_id)
             GROUP BY moved.attempt_id, moved.order_id, moved.currency ORDER BY moved.attempt_id LIMIT $4",
        )
        .bind(gateway)
        .bind(from)
        .bind(to)
        .bind(i64::from(limit))
        .fetch_all(self.database.pool())
        .await
        .map_err(unread)?;
        let convert = |row: UnsettledRow| Unsettled {
            attempt: row.attempt_id.into(),
            order: row.order_id.into(),
            amount_minor: row.amount_minor,
            currency: row.currency,
        };
        Ok(rows.into_iter().map(convert).collect())
    }

    async fn close_day(&self, day: &ClosedDay, found: &[Finding], now: DateTime<Utc>) -> Result<(), CommitError> {
        let closing = std::sync::Arc::new((day.clone(), found.to_vec()));
        self.duty("close-day", move |tx| {
            let closing = std::sync::Arc::clone(&closing);
            Box::pin(async move { close(tx, &closing.0, &closing.1, now).await })
        })
        .await
    }
}

fn convert(row: Row) -> Settled {
    Settled {
        day: row.day,
        closed_at: row.closed_at,
        checksum: row.checksum,
        open: u64::try_from(row.open_count).unwrap_or_default(),
    }
}

async fn keep(tx: &mut PgConnection, gateway: &str, day: NaiveDate, rows: &[JudgedRow]) -> Written {
    let of = |read: fn(&JudgedRow) -> String| rows.iter().map(read).collect::<Vec<String>>();
    sqlx::query(
        "INSERT INTO settlement_rows (gateway, day, sequence, kind, reference, attempt_no, payment_id, amount_minor, currency, moved_at, attempt_id, outcome)
         SELECT $1, $2, * FROM UNNEST($3::bigint[], $4::text[], $5::text[], $6::int[], $7::text[], $8::bigint[], $9::text[], $10::timestamptz[], $11::uuid[], $12::text[])
         ON CONFLICT (gateway, sequence) DO UPDATE SET attempt_id = excluded.attempt_id, outcome = excluded.outcome",
    )
    .bind(gateway)
    .bind(day)
    .bind(rows.iter().map(|judged| judged.row.sequence).collect::<Vec<i64>>())
    .bind(of(|judged| judged.row.kind.code().to_owned()))
    .bind(of(|judged| judged.row.reference.clone()))
    .bind(rows.iter().map(|judged| judged.row.attempt.and_then(|number| i32::try_from(number).ok())).collect::<Vec<Option<i32>>>())
    .bind(of(|judged| judged.row.payment.clone()))
    .bind(rows.iter().map(|judged| judged.row.amount_minor).collect::<Vec<i64>>())
    .bind(of(|judged| judged.row.currency.clone()))
    .bind(rows.iter().map(|judged| judged.row.moved_at).collect::<Vec<DateTime<Utc>>>())
    .bind(rows.iter().map(|judged| judged.attempt.map(|attempt| attempt.uuid())).collect::<Vec<Option<Uuid>>>())
    .bind(of(|judged| judged.outcome.code().to_owned()))
    .execute(tx)
    .await?;
    Ok(())
}

async fn close(tx: &mut PgConnection, day: &ClosedDay, found: &[Finding], now: DateTime<Utc>) -> Written {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO settlements (gateway, day, closed_at, checksum, row_count, open_count, imported_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (gateway, day) DO UPDATE SET open_count = excluded.open_count, imported_at = excluded.imported_at",
    )
    .bind(&day.gateway)
    .bind(day.day)
    .bind(day.closed_at)
    .bind(&day.checksum)
    .bind(count(day.rows))
    .bind(count(day.open))
    .bind(now)
    .execute(&mut *tx)
    .await?;
    for (currency, total) in &day.totals {
        sqlx::query(
            "INSERT INTO settlement_totals (gateway, day, currency, captured_minor, refunded_minor, net_minor, ours_minor, difference_minor)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (gateway, day, currency) DO UPDATE SET ours_minor = excluded.ours_minor, difference_minor = excluded.difference_minor",
        )
        .bind(&day.gateway)
        .bind(day.day)
        .bind(currency)
        .bind(total.theirs.captured)
        .bind(total.theirs.refunded)
        .bind(total.theirs.net())
        .bind(total.ours)
        .bind(total.difference())
        .execute(&mut *tx)
        .await?;
    }
    for finding in found {
        findings::note(tx, finding, now).await?;
    }
    // What this look at the day no longer found is in order.
    sqlx::query(
        "UPDATE reconciliation_findings SET resolved_at = $1, resolution = 'no longer found'
         WHERE kind = 'SETTLEMENT_DIFFERS' AND resolved_at IS NULL AND last_seen_at < $1 AND starts_with(reference, $2)",
    )
    .bind(now)
    .bind(format!("{}/{}/", day.gateway, day.day))
    .execute(tx)
    .await?;
    Ok(())
}
