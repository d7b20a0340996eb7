//! Reading reservations and stock rows. Rows are private; what does not convert is an inconsistency that names its place.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use common::{OrderId, Sku};
use serde::Deserialize;
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use super::failure::{inconsistent, of_read};
use crate::domain::centre::Centre;
use crate::domain::inventory::StockLevel;
use crate::domain::lines::{Line, Lines};
use crate::domain::reservation::Reservation;
use crate::domain::shelves::{Piece, Place};
use crate::domain::shipment::Options;
use crate::usecases::ports::stock::{Failure, MAX_SKUS, Rows, StoreError};

#[derive(sqlx::FromRow)]
struct ReservationRow {
    order_id: Uuid,
    status: String,
    version: i64,
    created_at: DateTime<Utc>,
    held_until: DateTime<Utc>,
    lines: Option<Json<Vec<LineRow>>>,
    pieces: Option<Json<Vec<PieceRow>>>,
}

#[derive(Deserialize)]
struct LineRow {
    sku: String,
    quantity: i64,
    options: Options,
}

#[derive(Deserialize)]
struct PieceRow {
    sku: String,
    fulfilment_centre: String,
    quantity: i64,
    waiting: i64,
    returned: i64,
    left: bool,
}

/// Each in one question, so that all of it is of one moment. Movements are asked for by the order alone: with the SKU beside it, a plan from
/// before there were many read all movements of that SKU. Kinds are asked for row by row (`OFFSET 0`): there are as many as products.
pub(super) async fn reservations(
    pool: PgPool,
    orders: Vec<OrderId>,
) -> Result<HashMap<OrderId, Reservation>, StoreError> {
    let rows: Vec<ReservationRow> = sqlx::query_as(
        r#"
        SELECT reservations.order_id, status, version, created_at, held_until,
               (SELECT jsonb_agg(jsonb_build_object('sku', sku, 'quantity', quantity, 'options', options) ORDER BY sku)
                FROM reservation_lines WHERE order_id = reservations.order_id) AS lines,
               (SELECT jsonb_agg(jsonb_build_object(
                           'sku', taken.sku, 'fulfilment_centre', taken.fulfilment_centre, 'quantity', taken.quantity,
                           'waiting', COALESCE(waiting, 0),
                           'returned', COALESCE(returned.quantity, 0),
                           'left', COALESCE(parcel.state = 'READY' AND supply.kind <> 'unlimited', FALSE))
                       ORDER BY taken.sku, taken.fulfilment_centre)
                FROM allocations taken LEFT JOIN back_orders USING (order_id, sku, fulfilment_centre)
                LEFT JOIN (SELECT sku, fulfilment_centre, sum(quantity)::bigint AS quantity FROM stock_movements
                           WHERE order_id = reservations.order_id AND kind = 'returned' GROUP BY sku, fulfilment_centre) returned
                       USING (sku, fulfilment_centre)
                LEFT JOIN LATERAL (SELECT state FROM shipments WHERE shipments.order_id = taken.order_id
                                   AND shipments.fulfilment_centre = taken.fulfilment_centre OFFSET 0) parcel ON TRUE
                LEFT JOIN LATERAL (SELECT kind FROM supplies WHERE supplies.sku = taken.sku OFFSET 0) supply ON TRUE
                WHERE taken.order_id = reservations.order_id) AS pieces
        FROM reservations WHERE order_id = ANY ($1)
        "#,
    )
    .bind(orders.iter().map(|order| order.uuid()).collect::<Vec<_>>())
    .fetch_all(&pool)
    .await
    .map_err(of_read)?;
    rows.into_iter().map(|row| row.into_reservation().map(|reservation| (reservation.order, reservation))).collect()
}

impl ReservationRow {
    fn into_reservation(self) -> Result<Reservation, StoreError> {
        let order = OrderId::from_uuid(self.order_id);
        let status = self.status.parse().map_err(|_| inconsistent("reservations", "status", &order))?;
        let (lines, options) = lines(self.lines.map(|Json(rows)| rows).unwrap_or_default(), order)?;
        let pieces = self.pieces.map(|Json(rows)| rows).unwrap_or_default();
        let pieces = pieces.into_iter().map(|row| row.into_piece(order)).collect::<Result<_, _>>()?;
        let Self { version, created_at, held_until, .. } = self;
        Ok(Reservation { order, status, version, lines, options, pieces, created_at, held_until })
    }
}

fn lines(rows: Vec<LineRow>, order: OrderId) -> Result<(Lines, BTreeMap<Sku, Options>), StoreError> {
    let (mut lines, mut chosen) = (Vec::with_capacity(rows.len()), BTreeMap::new());
    for LineRow { sku, quantity, options } in rows {
        let sku = Sku::parse(&sku).map_err(|_| inconsistent("reservation_lines", "sku", &order))?;
        let quantity = units(quantity).ok_or_else(|| inconsistent("reservation_lines", "quantity", &order))?;
        if !options.is_empty() {
            chosen.insert(sku.clone(), options);
        }
        lines.push(Line { sku, quantity });
    }
    let lines = match lines.is_empty() {
        true => Lines::none(),
        false => Lines::new(lines).map_err(|_| inconsistent("reservation_lines", "quantity", &order))?,
    };
    Ok((lines, chosen))
}

impl PieceRow {
    fn into_piece(self, order: OrderId) -> Result<Piece, StoreError> {
        let wrong = |column| inconsistent("allocations", column, &order);
        Ok(Piece {
            sku: Sku::parse(&self.sku).map_err(|_| wrong("sku"))?,
            centre: Centre::parse(&self.fulfilment_centre).map_err(|_| wrong("fulfilment_centre"))?,
            quantity: units(self.quantity).ok_or_else(|| wrong("quantity"))?,
            waiting: units(self.waiting).ok_or_else(|| wrong("waiting"))?,
            returned: units(self.returned).ok_or_else(|| wrong("returned"))?,
            left: self.left,
        })
    }
}

fn units(number: i64) -> Option<u32> {
    u32::try_from(number).ok()
}

#[derive(sqlx::FromRow)]
pub(super) struct StockRow {
    sku: String,
    fulfilment_centre: String,
    kind: String,
    available: i64,
    held: i64,
    sold: i64,
    returned: i64,
    received: i64,
    back_ordered: i64,
    back_order_limit: i64,
    version: i64,
}

pub(super) async fn rows(pool: &PgPool, skus: &[Sku]) -> Result<HashMap<Sku, Rows>, StoreError> {
    if skus.len() > MAX_SKUS {
        return Err(too_many());
    }
    let skus: Vec<&str> = skus.iter().map(Sku::as_str).collect();
    let found: Vec<StockRow> = sqlx::query_as(
        r#"
        SELECT sku::text, fulfilment_centre::text, kind, available, held, sold, returned, received, back_ordered, back_order_limit, version
        FROM stock
        WHERE sku = ANY ($1)
        "#,
    )
    .bind(skus)
    .fetch_all(pool)
    .await
    .map_err(of_read)?;
    let mut rows: HashMap<Sku, Rows> = HashMap::new();
    for row in found {
        let ((sku, centre), level) = row.into_row()?;
        rows.entry(sku).or_default().insert(centre, level);
    }
    Ok(rows)
}

impl StockRow {
    pub(super) fn into_row(self) -> Result<(Place, StockLevel), StoreError> {
        let Self { sku, fulfilment_centre, kind, available, held, sold, returned, received, version, .. } = self;
        let (back_ordered, back_order_limit) = (self.back_ordered, self.back_order_limit);
        let kind = kind.parse().map_err(|_| inconsistent("stock", "kind", &sku))?;
        let centre = Centre::parse(&fulfilment_centre).map_err(|_| inconsistent("stock", "fulfilment_centre", &sku))?;
        let sku = Sku::parse(&sku).map_err(|_| inconsistent("stock", "sku", &sku))?;
        let level =
            StockLevel { kind, available, held, sold, returned, received, back_ordered, back_order_limit, version };
        Ok(((sku, centre), level))
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
