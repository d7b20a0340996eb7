//! Orders with their attempts and their ledger, page by page within one snapshot: what is committed while the pages are read
//! is in none of them, so a payment that settles meanwhile is never seen by half.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::{Currency, Money};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::unread;
use crate::domain::accounts::{Account, Moved, Tried};
use crate::usecases::error::StoreError;

/// Orders per statement: as many as a slice of the comparison has. Orders are found by the range of their time, which is sorted anew for each
/// page, so small pages of a wide range cost its square.
const PAGE: i64 = 20_000;

#[derive(sqlx::FromRow)]
struct Row {
    order_id: Uuid,
    status: String,
    currency: String,
    total_minor: i64,
    created_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct TriedRow {
    order_id: Uuid,
    attempt_id: Uuid,
    kind: String,
    state: String,
    currency: String,
    amount_minor: i64,
    changed_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct MovedRow {
    order_id: Uuid,
    attempt_id: Option<Uuid>,
    kind: String,
    currency: String,
    debit_minor: i64,
    receivable_minor: i64,
    sales_minor: i64,
}

/// A place between two pages.
#[derive(Clone, Copy, Debug)]
struct Place(DateTime<Utc>, Uuid);

/// How many orders were placed in each minute that has any: one walk over the window.
pub async fn per_minute(
    pool: &PgPool,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<(DateTime<Utc>, u64)>, StoreError> {
    let rows: Vec<(DateTime<Utc>, i64)> = sqlx::query_as(
        "SELECT date_trunc('minute', created_at, 'UTC'), count(*) FROM orders
         WHERE created_at >= $1 AND created_at <= $2 GROUP BY 1 ORDER BY 1",
    )
    .bind(from)
    .bind(to)
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    Ok(rows.into_iter().map(|(minute, count)| (minute, count.unsigned_abs())).collect())
}

/// `None`: there are more than `limit`.
pub async fn between(
    pool: &PgPool,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    limit: u32,
) -> Result<Option<Vec<Account>>, StoreError> {
    let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(unread)?;
    let mut accounts = Vec::new();
    let mut after = Place(from, Uuid::nil());
    loop {
        let page = page(&mut tx, after, to).await?;
        let full = page.len() == usize::try_from(PAGE).unwrap_or(usize::MAX);
        if let Some(last) = page.last() {
            after = Place(last.placed_at, last.order.uuid());
        }
        accounts.extend(page);
        if accounts.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Ok(None);
        }
        if !full {
            tx.commit().await.map_err(unread)?;
            return Ok(Some(accounts));
        }
    }
}

async fn page(tx: &mut PgConnection, after: Place, to: DateTime<Utc>) -> Result<Vec<Account>, StoreError> {
    let orders: Vec<Row> = sqlx::query_as(
        "SELECT order_id, status::text, currency, total_minor, created_at,
                (SELECT max(at) FROM order_history WHERE order_history.order_id = orders.order_id) AS changed_at
         FROM orders WHERE created_at >= $1 AND created_at <= $3 AND (created_at, order_id) > ($1, $2)
         ORDER BY created_at, order_id LIMIT $4",
    )
    .bind(after.0)
    .bind(after.1)
    .bind(to)
    .bind(PAGE)
    .fetch_all(&mut *tx)
    .await
    .map_err(unread)?;
    let ids: Vec<Uuid> = orders.iter().map(|order| order.order_id).collect();
    let tried: Vec<TriedRow> = sqlx::query_as(
        "SELECT order_id, attempt_id, kind::text, state::text, currency, amount_minor, changed_at
         FROM payment_attempts WHERE order_id = ANY($1)",
    )
    .bind(&ids)
    .fetch_all(&mut *tx)
    .await
    .map_err(unread)?;
    let moved: Vec<MovedRow> = sqlx::query_as(
        "SELECT moved.order_id, moved.attempt_id, moved.kind::text, moved.currency,
                coalesce(sum(amount_minor) FILTER (WHERE amount_minor > 0), 0)::bigint AS debit_minor,
                coalesce(sum(amount_minor) FILTER (WHERE account = 'gateway_receivable'), 0)::bigint AS receivable_minor,
                coalesce(-sum(amount_minor) FILTER (WHERE account = 'sales'), 0)::bigint AS sales_minor
         FROM ledger_transactions moved LEFT JOIN ledger_entries entry USING (transaction_id)
         WHERE moved.order_id = ANY($1) GROUP BY moved.transaction_id",
    )
    .bind(&ids)
    .fetch_all(tx)
    .await
    .map_err(unread)?;
    let mut of_order: BTreeMap<Uuid, (Vec<TriedRow>, Vec<MovedRow>)> = BTreeMap::new();
    for row in tried {
        of_order.entry(row.order_id).or_default().0.push(row);
    }
    for row in moved {
        of_order.entry(row.order_id).or_default().1.push(row);
    }
    orders
        .into_iter()
        .map(|order| {
            let (tried, moved) = of_order.remove(&order.order_id).unwrap_or_default();
            account(order, tried, moved)
        })
        .collect()
}

fn account(order: Row, tried: Vec<TriedRow>, moved: Vec<MovedRow>) -> Result<Account, StoreError> {
    let row = order.order_id.to_string();
    let broken =
        |table: &'static str, column: &'static str| StoreError::Inconsistent { table, column, row: row.clone() };
    let currency = |table: &'static str, text: &str| text.parse::<Currency>().map_err(|_| broken(table, "currency"));
    let changed_at = tried.iter().map(|row| row.changed_at).fold(order.changed_at, DateTime::max);
    let attempts = tried
        .into_iter()
        .map(|row| {
            let table = "payment_attempts";
            Ok(Tried {
                id: row.attempt_id.into(),
                kind: row.kind.parse().map_err(|_| broken(table, "kind"))?,
                state: row.state.parse().map_err(|_| broken(table, "state"))?,
                amount: Money::from_minor(row.amount_minor, currency(table, &row.currency)?)
                    .map_err(|_| broken(table, "amount_minor"))?,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    let moved = moved
        .into_iter()
        .map(|row| {
            let table = "ledger_transactions";
            Ok(Moved {
                attempt: row.attempt_id.map(Into::into),
                kind: row.kind.parse().map_err(|_| broken(table, "kind"))?,
                currency: currency(table, &row.currency)?,
                debit_minor: row.debit_minor,
                receivable_minor: row.receivable_minor,
                sales_minor: row.sales_minor,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(Account {
        order: order.order_id.into(),
        status: order.status.parse().map_err(|_| broken("orders", "status"))?,
        total: Money::from_minor(order.total_minor, currency("orders", &order.currency)?)
            .map_err(|_| broken("orders", "total_minor"))?,
        placed_at: order.created_at,
        changed_at,
        attempts,
        moved,
    })
}
