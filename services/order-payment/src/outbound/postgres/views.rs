//! Reads for people. The owner stands in every WHERE.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{Currency, Money, OrderId, Private, Region, UserId};
use serde::Deserialize;
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use super::orders::{AddressRow, LineRow, address, lines};
use super::tax::{OrderTaxRow, order_tax};
use super::unread;
use crate::domain::Refund;
use crate::usecases::error::StoreError;
use crate::usecases::ports::{Shipment, Views};
use crate::usecases::views::{OrderCard, OrderView, Page, Position, StatusChange};

#[derive(Clone, Debug)]
pub struct PostgresViews {
    pool: PgPool,
}

impl PostgresViews {
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

#[derive(sqlx::FromRow)]
struct ViewRow {
    status: String,
    currency: String,
    total_minor: i64,
    credit_minor: i64,
    shipping_address: Json<AddressRow>,
    created_at: DateTime<Utc>,
    residency_region: String,
    #[sqlx(flatten)]
    tax: OrderTaxRow,
    lines: Json<Vec<LineRow>>,
    history: Json<Vec<HistoryRow>>,
    payment_state: Option<String>,
    attempts: i64,
    shipment_id: Option<Uuid>,
    fulfilment_centre: Option<String>,
    shipped_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize, sqlx::FromRow)]
struct HistoryRow {
    version: i64,
    status: String,
    reason: Option<String>,
    at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct CardRow {
    order_id: Uuid,
    status: String,
    currency: String,
    total_minor: i64,
    line_count: i64,
    created_at: DateTime<Utc>,
}

#[async_trait]
impl Views for PostgresViews {
    async fn order(&self, owner: UserId, id: OrderId) -> Result<Option<OrderView>, StoreError> {
        let row: Option<ViewRow> = sqlx::query_as(
            "SELECT orders.status::text, orders.currency, orders.total_minor, orders.credit_minor, orders.shipping_address, orders.created_at,
                    orders.residency_region, tax_place, net_minor, tax_minor,
                    (SELECT jsonb_agg(to_jsonb(order_lines) - 'order_id' ORDER BY line_no)
                     FROM order_lines WHERE order_lines.order_id = orders.order_id) AS lines,
                    (SELECT jsonb_agg(jsonb_build_object('version', version, 'status', status, 'reason', reason, 'at', at) ORDER BY version)
                     FROM order_history WHERE order_history.order_id = orders.order_id) AS history,
                    (SELECT state::text FROM payment_attempts
                     WHERE payment_attempts.order_id = orders.order_id AND kind = 'CHARGE' ORDER BY number DESC LIMIT 1) AS payment_state,
                    (SELECT count(*) FROM payment_attempts
                     WHERE payment_attempts.order_id = orders.order_id AND kind = 'CHARGE') AS attempts,
                    shipment_id, fulfilment_centre, order_shipments.created_at AS shipped_at
             FROM orders LEFT JOIN order_shipments USING (order_id)
             WHERE orders.order_id = $1 AND orders.user_id = $2",
        )
        .bind(id.uuid())
        .bind(owner.uuid())
        .fetch_optional(&self.pool)
        .await
        .map_err(unread)?;
        let Some(row) = row else { return Ok(None) };
        let refunds = super::refunds::of_order(&self.pool, id).await?;
        view(id, row, refunds).map(Some)
    }

    async fn orders(&self, owner: UserId, before: Option<Position>, limit: u16) -> Result<Page<OrderCard>, StoreError> {
        // One more than asked for tells whether there is a next page.
        let rows: Vec<CardRow> = sqlx::query_as(
            "SELECT order_id, status::text, currency, total_minor, created_at,
                    (SELECT count(*) FROM order_lines WHERE order_lines.order_id = orders.order_id) AS line_count
             FROM orders
             WHERE user_id = $1 AND ($2::timestamptz IS NULL OR (created_at, order_id) < ($2, $3))
             ORDER BY created_at DESC, order_id DESC LIMIT $4",
        )
        .bind(owner.uuid())
        .bind(before.map(|position| position.created_at))
        .bind(before.map(|position| position.id.uuid()))
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.pool)
        .await
        .map_err(unread)?;
        let more = rows.len() > usize::from(limit);
        let items = rows.into_iter().take(usize::from(limit)).map(card).collect::<Result<Vec<_>, _>>()?;
        let next = items.last().filter(|_| more).map(|last| Position { created_at: last.created_at, id: last.id });
        Ok(Page { items, next })
    }

    async fn changes_after(
        &self,
        owner: UserId,
        id: OrderId,
        version: i64,
    ) -> Result<Option<Vec<StatusChange>>, StoreError> {
        let found: Option<(Json<Vec<HistoryRow>>,)> = sqlx::query_as(
            "SELECT coalesce((SELECT jsonb_agg(jsonb_build_object('version', history.version, 'status', history.status,
                                                                  'reason', history.reason, 'at', history.at) ORDER BY history.version)
                              FROM order_history history WHERE history.order_id = orders.order_id AND history.version > $3), '[]')
             FROM orders WHERE order_id = $1 AND user_id = $2",
        )
        .bind(id.uuid())
        .bind(owner.uuid())
        .bind(version)
        .fetch_optional(&self.pool)
        .await
        .map_err(unread)?;
        found.map(|(rows,)| rows.0.into_iter().map(|row| change(id, row)).collect()).transpose()
    }
}

fn view(id: OrderId, row: ViewRow, refunds: Vec<Refund>) -> Result<OrderView, StoreError> {
    let broken = |column: &'static str| StoreError::Inconsistent { table: "orders", column, row: id.to_string() };
    let currency: Currency = row.currency.parse().map_err(|_| broken("currency"))?;
    let region: Region = row.residency_region.parse().map_err(|_| broken("residency_region"))?;
    let total = Money::from_minor(row.total_minor, currency).map_err(|_| broken("total_minor"))?;
    let shipment = match (row.shipment_id, row.fulfilment_centre, row.shipped_at) {
        (Some(shipment), Some(fulfilment_centre), Some(created_at)) => {
            Some(Shipment { order: id, id: shipment.into(), fulfilment_centre, created_at })
        }
        _ => None,
    };
    Ok(OrderView {
        id,
        status: row.status.parse().map_err(|_| broken("status"))?,
        total,
        tax: order_tax(row.tax, region, total).ok_or_else(|| broken("tax_place"))?,
        lines: lines(row.lines.0, currency).ok_or_else(|| broken("lines"))?,
        address: Private::new(address(row.shipping_address.0)),
        created_at: row.created_at,
        payment: row.payment_state.map(|state| state.parse()).transpose().map_err(|_| broken("payment_state"))?,
        attempts: u32::try_from(row.attempts).map_err(|_| broken("attempts"))?,
        credit: Money::from_minor(row.credit_minor, currency).map_err(|_| broken("credit_minor"))?,
        refunds,
        shipment,
        history: row.history.0.into_iter().map(|row| change(id, row)).collect::<Result<_, _>>()?,
    })
}

fn card(row: CardRow) -> Result<OrderCard, StoreError> {
    let broken =
        |column: &'static str| StoreError::Inconsistent { table: "orders", column, row: row.order_id.to_string() };
    let currency: Currency = row.currency.parse().map_err(|_| broken("currency"))?;
    Ok(OrderCard {
        id: row.order_id.into(),
        status: row.status.parse().map_err(|_| broken("status"))?,
        total: Money::from_minor(row.total_minor, currency).map_err(|_| broken("total_minor"))?,
        line_count: u32::try_from(row.line_count).map_err(|_| broken("lines"))?,
        created_at: row.created_at,
    })
}

fn change(id: OrderId, row: HistoryRow) -> Result<StatusChange, StoreError> {
    let broken = |column: &'static str| StoreError::Inconsistent {
        table: "order_history",
        column,
        row: format!("{id}/{}", row.version),
    };
    Ok(StatusChange {
        version: row.version,
        status: row.status.parse().map_err(|_| broken("status"))?,
        reason: row.reason.as_deref().map(str::parse).transpose().map_err(|_| broken("reason"))?,
        at: row.at,
    })
}
