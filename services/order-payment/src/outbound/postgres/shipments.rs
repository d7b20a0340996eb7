//! Shipments, as the catalog tells of them.

use std::sync::Arc;

use futures::future::BoxFuture;
use messaging::{Database, Together, WriteError, Written};
use sqlx::PgConnection;

use crate::usecases::error::Conflict;
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
