//! Reading reservations and stock rows. Rows are private; what does not convert is an inconsistency that names its place.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use common::{OrderId, Sku};
use sqlx::PgPool;

use super::failure::{inconsistent, of_read};
use crate::domain::inventory::StockLevel;
use crate::domain::lines::{Line, Lines};
use crate::domain::reservation::Reservation;
use crate::usecases::ports::stock::{Failure, MAX_SKUS, StoreError};

#[derive(sqlx::FromRow)]
struct ReservationRow {
    status: String,
    version: i64,
    created_at: DateTime<Utc>,
    skus: Vec<String>,
    quantities: Vec<i64>,
}

pub(super) async fn reservation(pool: &PgPool, order: OrderId) -> Result<Option<Reservation>, StoreError> {
    let row: Option<ReservationRow> = sqlx::query_as(
        r#"
        SELECT status, version, created_at,
               ARRAY(SELECT sku::text FROM reservation_lines l WHERE l.order_id = r.order_id ORDER BY sku) AS skus,
               ARRAY(SELECT quantity FROM reservation_lines l WHERE l.order_id = r.order_id ORDER BY sku) AS quantities
        FROM reservations r
        WHERE order_id = $1
        "#,
    )
    .bind(order.uuid())
    .fetch_optional(pool)
    .await
    .map_err(of_read)?;
    row.map(|row| row.into_reservation(order)).transpose()
}

impl ReservationRow {
    fn into_reservation(self, order: OrderId) -> Result<Reservation, StoreError> {
        let status = self.status.parse().map_err(|_| inconsistent("reservations", "status", &order))?;
        let lines = self.skus.iter().zip(&self.quantities).map(|(sku, quantity)| {
            let sku = Sku::parse(sku).map_err(|_| inconsistent("reservation_lines", "sku", &order))?;
            let quantity =
                u32::try_from(*quantity).map_err(|_| inconsistent("reservation_lines", "quantity", &order))?;
            Ok(Line { sku, quantity })
        });
        let lines = lines.collect::<Result<Vec<_>, StoreError>>()?;
        let lines = match lines.is_empty() {
            true => Lines::none(),
            false => Lines::new(lines).map_err(|_| inconsistent("reservation_lines", "quantity", &order))?,
        };
        Ok(Reservation { order, status, version: self.version, lines, created_at: self.created_at })
    }
}

#[derive(sqlx::FromRow)]
struct StockRow {
    sku: String,
    kind: String,
    available: i64,
    held: i64,
    sold: i64,
    returned: i64,
    received: i64,
    version: i64,
}

pub(super) async fn levels(pool: &PgPool, skus: &[Sku]) -> Result<HashMap<Sku, StockLevel>, StoreError> {
    if skus.len() > MAX_SKUS {
        return Err(too_many());
    }
    let skus: Vec<&str> = skus.iter().map(Sku::as_str).collect();
    let rows: Vec<StockRow> = sqlx::query_as(
        r#"
        SELECT sku::text, kind, available, held, sold, returned, received, version
        FROM stock
        WHERE sku = ANY ($1)
        "#,
    )
    .bind(skus)
    .fetch_all(pool)
    .await
    .map_err(of_read)?;
    rows.into_iter().map(StockRow::into_level).collect()
}

impl StockRow {
    fn into_level(self) -> Result<(Sku, StockLevel), StoreError> {
        let Self { sku, kind, available, held, sold, returned, received, version } = self;
        let kind = kind.parse().map_err(|_| inconsistent("stock", "kind", &sku))?;
        let sku = Sku::parse(&sku).map_err(|_| inconsistent("stock", "sku", &sku))?;
        Ok((sku, StockLevel { kind, available, held, sold, returned, received, version }))
    }
}

fn too_many() -> StoreError {
    StoreError::Failed(Failure {
        message: "too many products in one question",
        kind: common::ErrorKind::Unprocessable,
        code: "limit-exceeded",
        retry_after: None,
        source: None,
    })
}
