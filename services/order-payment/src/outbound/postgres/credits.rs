//! Store credit: balances that the books keep themselves, read here.

use common::{Currency, Money, OrderId, UserId};
use sqlx::PgPool;
use uuid::Uuid;

use super::unread;
use crate::usecases::error::StoreError;
use crate::usecases::ports::{Credit, CreditLook, FindingKind};

/// People who are told to differ at a time: one is an incident, and a hundred are the same one.
const MOST_DIFFERENCES: usize = 100;

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

/// The next people with all of their movements, and those who stand among the findings. Entries are asked for transaction by transaction
/// (`OFFSET 0`): a plan from before there were many would read all of them.
pub async fn differences(pool: &PgPool, after: Option<UserId>, limit: u16) -> Result<CreditLook, StoreError> {
    let people = people(pool, after, limit).await?;
    let known = known_to_differ(pool).await?;
    let looked_at: Vec<Uuid> = known.iter().chain(&people).copied().collect();
    let rows: Vec<(Uuid, i64, bool)> = sqlx::query_as(
        "SELECT user_id, coalesce(sum(books.entries), 0)::bigint,
                bool_or(coalesce(books.free, 0) <> coalesce(balances.balance_minor, 0)
                        OR coalesce(books.held, 0) <> coalesce(balances.held_minor, 0))
         FROM (SELECT moved.user_id, entry.currency, count(*) AS entries,
                      -sum(entry.amount_minor) FILTER (WHERE entry.account = 'store_credit') AS free,
                      -sum(entry.amount_minor) FILTER (WHERE entry.account = 'store_credit_held') AS held
               FROM ledger_transactions moved
               CROSS JOIN LATERAL (SELECT account, amount_minor, currency FROM ledger_entries
                                   WHERE ledger_entries.transaction_id = moved.transaction_id OFFSET 0) entry
               WHERE moved.user_id = ANY($1) AND moved.user_id IS NOT NULL AND entry.account IN ('store_credit', 'store_credit_held')
               GROUP BY moved.user_id, entry.currency) books
         FULL JOIN (SELECT user_id, currency, balance_minor, held_minor FROM store_credit_balances WHERE user_id = ANY($1)) balances
             USING (user_id, currency)
         GROUP BY user_id ORDER BY user_id",
    )
    .bind(&looked_at)
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    let read: u64 = rows.iter().map(|(_, entries, _)| entries.unsigned_abs()).sum();
    let mut differ: Vec<Uuid> = rows.into_iter().filter(|(.., differs)| *differs).map(|(user, ..)| user).collect();
    differ.sort_by_key(|user| !known.contains(user));
    differ.truncate(MOST_DIFFERENCES);
    let next = if differ.iter().all(|user| known.contains(user)) {
        people.last().copied().filter(|_| people.len() == usize::from(limit)).map(Into::into)
    } else {
        after
    };
    Ok(CreditLook { differ: differ.into_iter().map(Into::into).collect(), read, next })
}

/// Everybody who has ordered or was given credit is known by a row.
async fn people(pool: &PgPool, after: Option<UserId>, limit: u16) -> Result<Vec<Uuid>, StoreError> {
    sqlx::query_scalar("SELECT user_id FROM order_users WHERE user_id > $1 ORDER BY user_id LIMIT $2")
        .bind(after.map_or(Uuid::nil(), UserId::uuid))
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await
        .map_err(unread)
}

async fn known_to_differ(pool: &PgPool) -> Result<Vec<Uuid>, StoreError> {
    sqlx::query_scalar(
        "SELECT reference::uuid FROM reconciliation_findings WHERE kind = $1 AND resolved_at IS NULL ORDER BY first_seen_at LIMIT $2",
    )
    .bind(FindingKind::CreditDiffers.code())
    .bind(i64::try_from(MOST_DIFFERENCES).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await
    .map_err(unread)
}
