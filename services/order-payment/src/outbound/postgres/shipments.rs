//! Shipments, as the catalog tells of them, and orders that have none yet.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::OrderId;
use futures::future::BoxFuture;
use messaging::{Database, Together, WriteError, Written};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::unread;
use crate::usecases::backlog::LOOKED_THROUGH;
use crate::usecases::error::{Conflict, StoreError};
use crate::usecases::ports::Shipment;

/// Commits under way at a time, and shipments of one: what a round of the consumer has at hand.
const LEADERS: usize = 1;
const MOST_TOGETHER: usize = 64;

/// Where shipments meet: the catalog tells of many at once.
pub(super) fn together(database: Database) -> Together<Shipment, Conflict> {
    Together::new(database, LEADERS, MOST_TOGETHER, write)
}

fn write<'t>(
    tx: &'t mut PgConnection,
    shipments: Arc<[Shipment]>,
    fresh: Arc<[usize]>,
) -> BoxFuture<'t, Result<Written<Conflict>, WriteError<Conflict>>> {
    Box::pin(async move {
        insert(tx, &fresh.iter().map(|member| &shipments[*member]).collect::<Vec<_>>()).await?;
        Ok(Written::default())
    })
}

/// A shipment told twice is one shipment.
async fn insert(tx: &mut PgConnection, told: &[&Shipment]) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO order_shipments (order_id, shipment_id, fulfilment_centre, created_at)
         SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[])
         ON CONFLICT (order_id) DO NOTHING",
    )
    .bind(told.iter().map(|shipment| shipment.order.uuid()).collect::<Vec<_>>())
    .bind(told.iter().map(|shipment| shipment.id.uuid()).collect::<Vec<_>>())
    .bind(told.iter().map(|shipment| shipment.fulfilment_centre.as_str()).collect::<Vec<_>>())
    .bind(told.iter().map(|shipment| shipment.created_at).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}

/// Completed in the window, with goods that are owed (`domain::refund::owes_goods` says the same) and without a parcel; the oldest first,
/// and looked for among the oldest. Each row asks its own few rows by their keys. Joins would be planned while the tables are empty, and
/// read all of them later.
pub async fn unsent(
    pool: &PgPool,
    (after, until): (DateTime<Utc>, DateTime<Utc>),
    limit: u16,
) -> Result<Vec<(OrderId, DateTime<Utc>)>, StoreError> {
    let rows: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(
        "SELECT order_id, completed_at
         FROM (SELECT order_id, completed_at FROM orders_to_ship WHERE completed_at > $1 AND completed_at <= $2
               ORDER BY completed_at LIMIT $4) AS owed
         WHERE (SELECT count(*) FROM order_shipments AS sent WHERE sent.order_id = owed.order_id) = 0
           AND (SELECT coalesce(sum(amount_minor), 0) FROM refunds AS back WHERE back.order_id = owed.order_id AND back.state <> 'REFUSED')
               < (SELECT total_minor FROM orders WHERE orders.order_id = owed.order_id)
           AND (SELECT bool_or(bought.quantity > (
                    SELECT coalesce(sum(given.quantity), 0) FROM refund_lines AS given
                    WHERE given.sku = bought.sku AND given.refund_id = ANY (ARRAY(
                        SELECT back.refund_id FROM refunds AS back WHERE back.order_id = owed.order_id AND back.state <> 'REFUSED'))))
                FROM order_lines AS bought
                WHERE bought.order_id = owed.order_id AND bought.tax_class IS DISTINCT FROM 'digital')
         ORDER BY completed_at, order_id LIMIT $3",
    )
    .bind(after)
    .bind(until)
    .bind(i64::from(limit))
    .bind(i64::from(limit) * i64::from(LOOKED_THROUGH))
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    Ok(rows.into_iter().map(|(order, completed_at)| (order.into(), completed_at)).collect())
}
