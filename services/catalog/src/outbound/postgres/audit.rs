//! One look of the audit: the next rows, and the next movements along the index of their rows and numbers, both bounded and seen at one
//! moment. What the two make together is decided in the domain.

use std::collections::HashMap;

use sqlx::{FromRow, PgConnection, PgPool};

use super::failure::of_read;
use super::load::StockRow;
use super::watch::place;
use crate::domain::audit::{Look, Mark, Most, Part};
use crate::domain::inventory::{MovementKind, StockLevel};
use crate::domain::shelves::Place;
use crate::usecases::ports::stock::StoreError;

/// After every SKU in the order of bytes.
const END: &str = "\u{10FFFF}";

/// Two statements of one transaction that sees one moment.
pub(super) async fn audit(pool: &PgPool, from: Option<&Mark>, most: Most) -> Result<Look, StoreError> {
    let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await.map_err(of_read)?;
    let rows = rows(&mut tx, from, most.rows).await?;
    let last = rows.last().map(|(place, ..)| place).filter(|_| rows.len() >= usize::from(most.rows));
    let parts = parts(&mut tx, from, last, most.movements).await?;
    tx.rollback().await.map_err(of_read)?;
    Ok(Look::of(from, rows, parts, most))
}

#[derive(FromRow)]
struct AuditRow {
    #[sqlx(flatten)]
    row: StockRow,
    waiting: i64,
}

async fn rows(
    tx: &mut PgConnection,
    from: Option<&Mark>,
    limit: u16,
) -> Result<Vec<(Place, StockLevel, i64)>, StoreError> {
    let (sku, centre, _) = begin(from);
    let rows: Vec<AuditRow> = sqlx::query_as(
        r#"
        SELECT sku::text, fulfilment_centre::text, kind, available, held, sold, returned, received, back_ordered, back_order_limit, version,
               COALESCE((SELECT sum(b.waiting) FROM back_orders b
                         WHERE b.sku = stock.sku AND b.fulfilment_centre = stock.fulfilment_centre AND b.waiting > 0), 0)::bigint AS waiting
        FROM stock
        WHERE (sku, fulfilment_centre) >= ($1, $2) AND ($3 OR (sku, fulfilment_centre) <> ($1, $2))
        ORDER BY sku, fulfilment_centre
        LIMIT $4
        "#,
    )
    .bind(sku)
    .bind(centre)
    .bind(matches!(from, Some(Mark::Within(_))))
    .bind(i64::from(limit))
    .fetch_all(tx)
    .await
    .map_err(of_read)?;
    let convert = |AuditRow { row, waiting }| row.into_row().map(|(place, level)| (place, level, waiting));
    rows.into_iter().map(convert).collect()
}

#[derive(FromRow)]
struct PartRow {
    sku: String,
    fulfilment_centre: String,
    movements: i64,
    through: i64,
    received: i64,
    found: i64,
    lost: i64,
    back_ordered: i64,
    held: i64,
    covered: i64,
    released: i64,
    sold: i64,
    returned: i64,
}

/// Up to `last`, or to the end. Both bounds are always there, so that a plan made for any look is a walk along a piece of the index.
async fn parts(
    tx: &mut PgConnection,
    from: Option<&Mark>,
    last: Option<&Place>,
    limit: u32,
) -> Result<Vec<Part>, StoreError> {
    let (sku, centre, number) = begin(from);
    let (last_sku, last_centre) = last.map_or((END, ""), |(sku, centre)| (sku.as_str(), centre.as_str()));
    let rows: Vec<PartRow> = sqlx::query_as(
        r#"
        SELECT sku::text, fulfilment_centre::text, count(*) AS movements, max(movement_id) AS through,
               COALESCE(sum(quantity) FILTER (WHERE kind = 'received'), 0)::bigint AS received,
               COALESCE(sum(quantity) FILTER (WHERE kind = 'found'), 0)::bigint AS found,
               COALESCE(sum(quantity) FILTER (WHERE kind = 'lost'), 0)::bigint AS lost,
               COALESCE(sum(quantity) FILTER (WHERE kind = 'back_ordered'), 0)::bigint AS back_ordered,
               COALESCE(sum(quantity) FILTER (WHERE kind = 'held'), 0)::bigint AS held,
               COALESCE(sum(quantity) FILTER (WHERE kind = 'covered'), 0)::bigint AS covered,
               COALESCE(sum(quantity) FILTER (WHERE kind = 'released'), 0)::bigint AS released,
               COALESCE(sum(quantity) FILTER (WHERE kind = 'sold'), 0)::bigint AS sold,
               COALESCE(sum(quantity) FILTER (WHERE kind = 'returned'), 0)::bigint AS returned
        FROM (SELECT sku, fulfilment_centre, movement_id, kind, quantity
              FROM stock_movements
              WHERE (sku, fulfilment_centre, movement_id) > ($1, $2, $3) AND (sku, fulfilment_centre) <= ($4, $5)
              ORDER BY sku, fulfilment_centre, movement_id
              LIMIT $6) AS piece
        GROUP BY sku, fulfilment_centre
        "#,
    )
    .bind(sku)
    .bind(centre)
    .bind(number)
    .bind(last_sku)
    .bind(last_centre)
    .bind(i64::from(limit))
    .fetch_all(tx)
    .await
    .map_err(of_read)?;
    rows.into_iter().map(PartRow::into_part).collect()
}

/// The last movement that was read; the first place of all is after the empty one.
fn begin(from: Option<&Mark>) -> (&str, &str, i64) {
    let last_read = from.map(Mark::last_read);
    last_read.map_or(("", "", 0), |((sku, centre), number)| (sku.as_str(), centre.as_str(), number))
}

impl PartRow {
    fn into_part(self) -> Result<Part, StoreError> {
        let sums = HashMap::from([
            (MovementKind::Received, self.received),
            (MovementKind::Found, self.found),
            (MovementKind::Lost, self.lost),
            (MovementKind::BackOrdered, self.back_ordered),
            (MovementKind::Held, self.held),
            (MovementKind::Covered, self.covered),
            (MovementKind::Released, self.released),
            (MovementKind::Sold, self.sold),
            (MovementKind::Returned, self.returned),
        ]);
        let place = place("stock_movements", &self.sku, &self.fulfilment_centre)?;
        Ok(Part { place, movements: self.movements.unsigned_abs(), through: self.through, sums })
    }
}
