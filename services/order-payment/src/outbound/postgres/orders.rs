//! Orders: read whole, moved by one winner.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use common::{Currency, Money, OrderId, Private, Region, Sku};
use messaging::WriteError;
use serde::Deserialize;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::tax::{LineTaxRow, OrderTaxRow, line_tax, order_tax};
use super::{Written, named, unread};
use crate::domain::{Order, OrderStatus, OrderStep, PaymentToken, PricedLine, Reduction, ShippingAddress};
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

/// Orders with their lines.
pub async fn by_ids(pool: PgPool, ids: Vec<OrderId>) -> Result<HashMap<OrderId, Order>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT order_id, user_id, residency_region, status::text, currency, total_minor, credit_minor, shipping_address, payment_token,
                fingerprint, reason, version, created_at, deadline_at, tax_place, net_minor, tax_minor,
                (SELECT jsonb_agg(to_jsonb(order_lines) - 'order_id' ORDER BY line_no)
                 FROM order_lines WHERE order_lines.order_id = orders.order_id) AS lines
         FROM orders WHERE order_id = ANY ($1)",
    )
    .bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>())
    .fetch_all(&pool)
    .await
    .map_err(unread)?;
    rows.into_iter().map(|row| convert(row).map(|order| (order.id, order))).collect()
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

/// One winner: a row must still be as the decision saw it. The orders that moved, with their history.
pub async fn advance(tx: &mut PgConnection, steps: &[&OrderStep]) -> Result<HashSet<OrderId>, WriteError<Conflict>> {
    let known: Vec<(OrderStatus, &OrderStep)> = steps.iter().filter_map(|step| Some((step.from?, *step))).collect();
    if known.is_empty() {
        return Ok(HashSet::new());
    }
    let moved: Vec<Uuid> = sqlx::query_scalar(
        "UPDATE orders SET status = step.status::order_status, version = step.version, reason = step.reason, deadline_at = step.deadline_at
         FROM UNNEST($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[])
              AS step (order_id, before, version, status, reason, deadline_at)
         WHERE orders.order_id = step.order_id AND orders.status = step.before::order_status AND orders.version = step.version - 1
         RETURNING orders.order_id",
    )
    .bind(known.iter().map(|(_, step)| step.order.id.uuid()).collect::<Vec<_>>())
    .bind(known.iter().map(|(from, _)| from.code()).collect::<Vec<_>>())
    .bind(known.iter().map(|(_, step)| step.order.version).collect::<Vec<_>>())
    .bind(known.iter().map(|(_, step)| step.order.status.code()).collect::<Vec<_>>())
    .bind(known.iter().map(|(_, step)| step.order.reason.map(|reason| reason.code())).collect::<Vec<_>>())
    .bind(known.iter().map(|(_, step)| step.order.deadline_at).collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await?;
    let moved: HashSet<OrderId> = moved.into_iter().map(OrderId::from_uuid).collect();
    let told: Vec<&OrderStep> =
        known.iter().map(|(_, step)| *step).filter(|step| moved.contains(&step.order.id)).collect();
    if !told.is_empty() {
        history(tx, &told).await?;
    }
    Ok(moved)
}

async fn history(tx: &mut PgConnection, steps: &[&OrderStep]) -> Written {
    sqlx::query(
        "INSERT INTO order_history (order_id, version, status, reason, at)
         SELECT order_id, version, status::order_status, reason, at
         FROM UNNEST($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[]) AS step (order_id, version, status, reason, at)",
    )
    .bind(steps.iter().map(|step| step.order.id.uuid()).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.order.version).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.order.status.code()).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.order.reason.map(|reason| reason.code())).collect::<Vec<_>>())
    .bind(steps.iter().map(|step| step.at).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map_err(|error| named(error, &[("order_history_pkey", Conflict::Lost)]))?;
    Ok(())
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
