//! Coupons: uses are taken by a function of the database, in the transaction of the orders that use them, and given back by a
//! trigger when an order ends without a sale. Here they are only asked for and counted. Which word about the limits counts is the
//! database's to know too: the newest that any order brought, also one that was refused.

use std::collections::HashSet;

use common::{OrderId, Region, UserId};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::unread;
use crate::domain::coupon::{CouponCode, CouponCount, CouponUse};
use crate::usecases::error::StoreError;

/// Takes a use for each order that may have one; one round trip for all of them. Gives back which do.
pub async fn take(
    tx: &mut PgConnection,
    region: Region,
    wanted: &[(OrderId, UserId, &CouponUse)],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let most = |most: Option<u32>| most.map(i64::from);
    let taken: Vec<Uuid> = sqlx::query_scalar(
        "SELECT take_coupons($1::uuid[], $2, $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[])",
    )
    .bind(wanted.iter().map(|(order, _, _)| order.uuid()).collect::<Vec<_>>())
    .bind(region.code())
    .bind(wanted.iter().map(|(_, user, _)| user.uuid()).collect::<Vec<_>>())
    .bind(wanted.iter().map(|(_, _, coupon)| coupon.code.as_str()).collect::<Vec<_>>())
    .bind(wanted.iter().map(|(_, _, coupon)| coupon.revision).collect::<Vec<_>>())
    .bind(wanted.iter().map(|(_, _, coupon)| most(coupon.most_uses)).collect::<Vec<_>>())
    .bind(wanted.iter().map(|(_, _, coupon)| most(coupon.most_per_person)).collect::<Vec<_>>())
    .fetch_all(tx)
    .await?;
    Ok(taken.into_iter().collect())
}

/// Keeps what is newer of these words than what the books know of the limits. `true`: there was something.
pub async fn hear(tx: &mut PgConnection, words: &[&CouponUse]) -> Result<bool, sqlx::Error> {
    let most = |most: Option<u32>| most.map(i64::from);
    let news: i64 = sqlx::query_scalar("SELECT hear_coupons($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])")
        .bind(words.iter().map(|word| word.code.as_str()).collect::<Vec<_>>())
        .bind(words.iter().map(|word| word.revision).collect::<Vec<_>>())
        .bind(words.iter().map(|word| most(word.most_uses)).collect::<Vec<_>>())
        .bind(words.iter().map(|word| most(word.most_per_person)).collect::<Vec<_>>())
        .fetch_one(tx)
        .await?;
    Ok(news > 0)
}

/// How often `code` was used, and by `person`.
pub async fn count(pool: &PgPool, code: &CouponCode, person: Option<UserId>) -> Result<CouponCount, StoreError> {
    let (used, mine): (Option<i64>, i64) = sqlx::query_as(
        "SELECT (SELECT used FROM coupon_uses WHERE code = $1),
                (SELECT count(*) FROM coupon_redemptions WHERE code = $1 AND user_id = $2 AND given_back_at IS NULL)",
    )
    .bind(code.as_str())
    .bind(person.map(|person| person.uuid()))
    .fetch_one(pool)
    .await
    .map_err(unread)?;
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    Ok(CouponCount { used: count(used.unwrap_or(0)), by_person: count(mine) })
}
