//! Shipments, as the catalog tells of them.

use sqlx::PgConnection;

use super::Written;
use crate::usecases::ports::Shipment;

/// A shipment told twice is one shipment.
pub async fn insert(tx: &mut PgConnection, shipment: &Shipment) -> Written {
    sqlx::query(
        "INSERT INTO order_shipments (order_id, shipment_id, fulfilment_centre, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (order_id) DO NOTHING",
    )
    .bind(shipment.order.uuid())
    .bind(shipment.id.uuid())
    .bind(&shipment.fulfilment_centre)
    .bind(shipment.created_at)
    .execute(tx)
    .await?;
    Ok(())
}
