//! What moved in the stock, read from the movements by their number. A limit of back-orders moves nothing, and yet decides whether what is
//! sold out can be had; it is read from what staff did lately, and told with each look of that time.

use async_trait::async_trait;
use common::Sku;

use super::PgStock;
use super::failure::{inconsistent, of_read};
use crate::usecases::ports::pages::{OVERLAP, StockChanges, StockWatch};
use crate::usecases::ports::stock::StoreError;

/// Movements read at once; more come with the next question.
const MOST: i64 = 5_000;
/// A look that reads nothing but what was read before would stand still.
const _: () = assert!(MOST >= 2 * OVERLAP);
/// Acts of staff that are looked through for limits, of the last minute: more than people do between two looks, which are half a second
/// apart, or half a minute while the index is away. A limit that falls out of them is found by the half-hourly audit of the index.
const LATELY: i64 = 200;

#[async_trait]
impl StockWatch for PgStock {
    async fn mark(&self) -> Result<i64, StoreError> {
        let newest = sqlx::query_scalar("SELECT COALESCE(max(movement_id), 0) FROM stock_movements");
        newest.fetch_one(self.database.pool()).await.map_err(of_read)
    }

    async fn moved_since(&self, mark: i64) -> Result<StockChanges, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            r#"
            SELECT sku, max(movement_id) AS newest
            FROM (
                (SELECT sku, movement_id FROM stock_movements WHERE movement_id > $1 ORDER BY movement_id LIMIT $2)
                UNION ALL
                SELECT subject COLLATE "C", $1::BIGINT
                FROM (SELECT action, subject, at FROM operator_actions ORDER BY action_id DESC LIMIT $3) AS lately
                WHERE action = 'stock.limit_back_orders' AND at > now() - INTERVAL '60 seconds'
            ) AS moved
            GROUP BY sku
            "#,
        )
        .bind(mark)
        .bind(MOST)
        .bind(LATELY)
        .fetch_all(self.database.pool())
        .await
        .map_err(of_read)?;
        let mut changes = StockChanges { mark, skus: Vec::with_capacity(rows.len()) };
        for (sku, newest) in rows {
            changes.mark = changes.mark.max(newest);
            changes.skus.push(Sku::parse(&sku).map_err(|_| inconsistent("stock_movements", "sku", &sku))?);
        }
        Ok(changes)
    }
}
