//! Orders: read whole, moved by one winner.

use chrono::{DateTime, Utc};
use common::{Currency, Money, OrderId, Private, Region, Sku};
use messaging::WriteError;
use serde::Deserialize;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::tax::{LineTaxRow, OrderTaxRow, line_tax, order_tax};
use super::{Written, unread};
use crate::domain::{Order, OrderStatus, PaymentToken, PricedLine, Reduction, ShippingAddress};
use crate::usecases::error::{Conflict, StoreError};

#[derive(sqlx::FromRow)]
struct Row {
    order_id: Uuid,
    user_id: Uuid,
    residency_region: String,
    status: String,
    currency: String,
    total_minor: i64,
    credit_minor: i64,
    shipping_address: Json<AddressRow>,
    payment_token: String,
    fingerprint: Vec<u8>,
    reason: Option<String>,
    version: i64,
    created_at: DateTime<Utc>,
    deadline_at: DateTime<Utc>,
    #[sqlx(flatten)]
    tax: OrderTaxRow,
    lines: Json<Vec<LineRow>>,
}

#[derive(Deserialize)]
pub struct AddressRow {
    name: String,
    line1: String,
    line2: Option<String>,
    city: String,
    postal_code: String,
    country: String,
}

#[derive(Deserialize)]
pub struct LineRow {
    sku: String,
    name: String,
    quantity: u32,
    unit_price_minor: i64,
    options: std::collections::BTreeMap<String, String>,
    price_revision: Option<i64>,
    reductions: Vec<ReductionRow>,
    #[serde(flatten)]
    tax: LineTaxRow,
}

#[derive(Deserialize)]
struct ReductionRow {
    promotion: String,
    revision: i64,
    minor: i64,
}

/// An order with its lines.
pub async fn by_id(pool: &PgPool, id: OrderId) -> Result<Option<Order>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT order_id, user_id, residency_region, status::text, currency, total_minor, credit_minor, shipping_address, payment_token,
                fingerprint, reason, version, created_at, deadline_at, tax_place, net_minor, tax_minor,
                (SELECT jsonb_agg(to_jsonb(order_lines) - 'order_id' ORDER BY line_no)
                 FROM order_lines WHERE order_lines.order_id = orders.order_id) AS lines
         FROM orders WHERE order_id = $1",
    )
    .bind(id.uuid())
    .fetch_optional(pool)
    .await
    .map_err(unread)?;
    row.map(convert).transpose()
}

/// The most overdue open orders whose payment is not being given up already.
pub async fn overdue(pool: &PgPool, now: DateTime<Utc>, limit: u16) -> Result<Vec<OrderId>, StoreError> {
    let ids: Vec<(Uuid,)> = sqlx::query_as(
        "SELECT order_id FROM orders
         WHERE status IN ('CREATED', 'PAYMENT_PENDING') AND deadline_at <= $1
           AND NOT EXISTS (SELECT FROM payment_attempts WHERE payment_attempts.order_id = orders.order_id AND giving_up IS NOT NULL)
         ORDER BY deadline_at LIMIT $2",
    )
    .bind(now)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await
    .map_err(unread)?;
    Ok(ids.into_iter().map(|(id,)| id.into()).collect())
}

/// One winner: the row must still be as the decision saw it.
pub async fn advance(tx: &mut PgConnection, from: OrderStatus, order: &Order) -> Written {
    let moved = sqlx::query(
        "UPDATE orders SET status = $4::text::order_status, version = $3, reason = $5, deadline_at = $6
         WHERE order_id = $1 AND status = $2::text::order_status AND version = $3 - 1",
    )
    .bind(order.id.uuid())
    .bind(from.code())
    .bind(order.version)
    .bind(order.status.code())
    .bind(order.reason.map(|reason| reason.code()))
    .bind(order.deadline_at)
    .execute(tx)
    .await?;
    if moved.rows_affected() == 1 { Ok(()) } else { Err(WriteError::Refused(Conflict::Lost)) }
}

fn convert(row: Row) -> Result<Order, StoreError> {
    let id = OrderId::from_uuid(row.order_id);
    let broken = |column: &'static str| StoreError::Inconsistent { table: "orders", column, row: id.to_string() };
    let currency: Currency = row.currency.parse().map_err(|_| broken("currency"))?;
    let region: Region = row.residency_region.parse().map_err(|_| broken("residency_region"))?;
    let total = Money::from_minor(row.total_minor, currency).map_err(|_| broken("total_minor"))?;
    Ok(Order {
        id,
        user: row.user_id.into(),
        region,
        lines: lines(row.lines.0, currency).ok_or_else(|| broken("lines"))?,
        total,
        credit: Money::from_minor(row.credit_minor, currency).map_err(|_| broken("credit_minor"))?,
        tax: order_tax(row.tax, region, total).ok_or_else(|| broken("tax_place"))?,
        address: Private::new(address(row.shipping_address.0)),
        token: Private::new(PaymentToken::parse(&row.payment_token).ok_or_else(|| broken("payment_token"))?),
        fingerprint: row.fingerprint.try_into().map_err(|_| broken("fingerprint"))?,
        status: row.status.parse().map_err(|_| broken("status"))?,
        reason: row.reason.map(|reason| reason.parse()).transpose().map_err(|_| broken("reason"))?,
        version: row.version,
        created_at: row.created_at,
        deadline_at: row.deadline_at,
    })
}

pub fn address(row: AddressRow) -> ShippingAddress {
    let AddressRow { name, line1, line2, city, postal_code, country } = row;
    ShippingAddress { name, line1, line2, city, postal_code, country }
}

pub fn lines(rows: Vec<LineRow>, currency: Currency) -> Option<Vec<PricedLine>> {
    let line = |row: LineRow| {
        Some(PricedLine {
            sku: Sku::parse(&row.sku).ok()?,
            name: row.name,
            quantity: row.quantity,
            unit_price: Money::from_minor(row.unit_price_minor, currency).ok()?,
            options: row.options.into_iter().collect(),
            revision: row.price_revision,
            reductions: row.reductions.into_iter().map(|row| reduction(row, currency)).collect::<Option<_>>()?,
            tax: line_tax(row.tax, currency)?,
        })
    };
    rows.into_iter().map(line).collect()
}

fn reduction(ReductionRow { promotion, revision, minor }: ReductionRow, currency: Currency) -> Option<Reduction> {
    Some(Reduction { promotion, revision, amount: Money::from_minor(minor, currency).ok()? })
}
