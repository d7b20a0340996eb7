//! Store credit: balances that the books keep themselves, read here.

use common::{Currency, Money, OrderId, UserId};
use sqlx::PgPool;
use uuid::Uuid;

use super::unread;
use crate::usecases::error::StoreError;
use crate::usecases::ports::Credit;

/// People named by one look for differences: one is an incident, and a hundred are the same one.
const MOST_DIFFERENCES: i64 = 100;

pub async fn of_person(pool: &PgPool, user: UserId, currency: Currency) -> Result<Credit, StoreError> {
    let row: Option<(i64, i64)> = sqlx::query_as(
        "SELECT balance_minor, held_minor FROM store_credit_balances WHERE user_id = $1 AND currency = $2",
    )
    .bind(user.uuid())
    .bind(currency.code())
    .fetch_optional(pool)
    .await
    .map_err(unread)?;
    let (free, held) = row.unwrap_or_default();
    let money = |minor: i64, column: &'static str| {
        Money::from_minor(minor, currency).map_err(|_| StoreError::Inconsistent {
            table: "store_credit_balances",
            column,
            row: user.to_string(),
        })
    };
    Ok(Credit { free: money(free, "balance_minor")?, held: money(held, "held_minor")? })
}

/// Orders that need no card and wait for nobody.
pub async fn orders_to_complete(pool: &PgPool, limit: u16) -> Result<Vec<OrderId>, StoreError> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT order_id FROM orders WHERE status = 'PAYMENT_PENDING' AND credit_minor = total_minor ORDER BY created_at LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    Ok(ids.into_iter().map(Into::into).collect())
}

/// People whose balance is not what the entries of the books add up to.
pub async fn differences(pool: &PgPool) -> Result<Vec<UserId>, StoreError> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT DISTINCT user_id
         FROM (SELECT moved.user_id, entry.currency,
                      -sum(entry.amount_minor) FILTER (WHERE entry.account = 'store_credit') AS free,
                      -sum(entry.amount_minor) FILTER (WHERE entry.account = 'store_credit_held') AS held
               FROM ledger_transactions moved JOIN ledger_entries entry USING (transaction_id)
               WHERE moved.user_id IS NOT NULL AND entry.account IN ('store_credit', 'store_credit_held')
               GROUP BY moved.user_id, entry.currency) books
         FULL JOIN store_credit_balances balances USING (user_id, currency)
         WHERE coalesce(books.free, 0) <> coalesce(balances.balance_minor, 0) OR coalesce(books.held, 0) <> coalesce(balances.held_minor, 0)
         LIMIT $1",
    )
    .bind(MOST_DIFFERENCES)
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    Ok(ids.into_iter().map(Into::into).collect())
}
