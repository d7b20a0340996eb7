//! Baskets: read whole, written whole, one winner per version.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{Money, Region, Sku};
use messaging::{Cause, Database, WriteError};
use serde::Deserialize;
use serde_json::json;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Shared, Written, named, unread};
use crate::domain::cart::{Cart, CartLine, CartOwner, Carted};
use crate::domain::{BasketLine, CouponCode};
use crate::usecases::error::{CommitError, Conflict, StoreError};
use crate::usecases::ports::Carts;

#[derive(Clone, Debug)]
pub struct PostgresCarts {
    database: Database,
}

impl PostgresCarts {
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    async fn duty<F>(&self, name: &'static str, write: F) -> Result<(), CommitError>
    where
        F: for<'t> Fn(&'t mut PgConnection) -> futures::future::BoxFuture<'t, Written> + Send + Sync + 'static,
    {
        let change = messaging::Change { cause: Cause::Duty(name), events: Vec::new(), answer: None };
        self.database.commit(change, write).await.map(drop)
    }
}

#[async_trait]
impl Carts for PostgresCarts {
    async fn find(&self, owner: CartOwner, now: DateTime<Utc>) -> Result<Option<Cart>, StoreError> {
        by_owner(self.database.pool(), self.database.region(), owner, now).await
    }

    async fn write(&self, from: i64, cart: &Cart, now: DateTime<Utc>) -> Result<(), CommitError> {
        let (cart, region) = (Arc::new(cart.clone()), self.database.region());
        self.duty("write-cart", move |tx| {
            let cart = Arc::clone(&cart);
            Box::pin(async move { write(tx, from, &cart, region, now).await })
        })
        .await
    }

    async fn merge(&self, from: i64, cart: &Cart, taken: &Cart, now: DateTime<Utc>) -> Result<(), CommitError> {
        let (carts, region) = (Arc::new((cart.clone(), taken.clone())), self.database.region());
        self.duty("merge-carts", move |tx| {
            let carts = Arc::clone(&carts);
            Box::pin(async move {
                write(tx, from, &carts.0, region, now).await?;
                remove(tx, &carts.1).await
            })
        })
        .await
    }

    async fn sweep(&self, now: DateTime<Utc>, limit: u16) -> Result<u64, CommitError> {
        let swept = Shared::default();
        let result = swept.clone();
        self.duty("sweep-carts", move |tx| {
            let swept = swept.clone();
            Box::pin(async move {
                swept.set(sweep(tx, now, limit).await?);
                Ok(())
            })
        })
        .await?;
        Ok(result.take())
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    version: i64,
    tax_place: Option<String>,
    coupon: Option<String>,
    expires_at: Option<DateTime<Utc>>,
    lines: Json<Vec<LineRow>>,
}

#[derive(Deserialize)]
struct LineRow {
    sku: String,
    quantity: u32,
    options: BTreeMap<String, String>,
    unit_price_minor: i64,
    price_revision: i64,
}

async fn by_owner(
    pool: &PgPool,
    region: Region,
    owner: CartOwner,
    now: DateTime<Utc>,
) -> Result<Option<Cart>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT version, tax_place, coupon, expires_at,
                coalesce((SELECT jsonb_agg(to_jsonb(line) ORDER BY line_no) FROM cart_lines line
                          WHERE line.owner_kind = carts.owner_kind AND line.owner_id = carts.owner_id), '[]') AS lines
         FROM carts WHERE owner_kind = $1 AND owner_id = $2 AND (expires_at IS NULL OR expires_at > $3)",
    )
    .bind(owner.kind())
    .bind(uuid(owner))
    .bind(now)
    .fetch_optional(pool)
    .await
    .map_err(unread)?;
    row.map(|row| convert(owner, region, row)).transpose()
}

fn convert(owner: CartOwner, region: Region, row: Row) -> Result<Cart, StoreError> {
    let broken = |column| StoreError::Inconsistent { table: "carts", column, row: uuid(owner).to_string() };
    let line = |row: LineRow| {
        let unit_price = Money::from_minor(row.unit_price_minor, region.currency()).ok()?;
        let options = row.options.into_iter().collect();
        Some(CartLine {
            line: BasketLine { sku: Sku::parse(&row.sku).ok()?, quantity: row.quantity, options },
            carted: Carted { unit_price, revision: row.price_revision },
        })
    };
    let place = match row.tax_place {
        None => None,
        Some(code) => Some(region.tax_place_named(&code).ok_or_else(|| broken("tax_place"))?),
    };
    let lines = row.lines.0.into_iter().map(line).collect::<Option<_>>().ok_or_else(|| broken("lines"))?;
    let coupon = match row.coupon {
        None => None,
        Some(code) => Some(CouponCode::parse(&code).ok_or_else(|| broken("coupon"))?),
    };
    Ok(Cart { owner, version: row.version, place, lines, coupon, expires_at: row.expires_at })
}

fn uuid(owner: CartOwner) -> Uuid {
    match owner {
        CartOwner::User(user) => user.uuid(),
        CartOwner::Visitor(visitor) => visitor.uuid(),
    }
}

/// One winner: the row must still have the version that the decision saw, or there must be none.
async fn write(tx: &mut PgConnection, from: i64, cart: &Cart, region: Region, now: DateTime<Utc>) -> Written {
    if from == Cart::UNWRITTEN {
        insert(tx, cart, region, now).await?
    } else {
        update(tx, from, cart, now).await?
    }
    lines(tx, cart, region).await
}

async fn insert(tx: &mut PgConnection, cart: &Cart, region: Region, now: DateTime<Utc>) -> Written {
    // One that is over and not swept yet reads as none; so it must not stand in the way.
    sqlx::query("DELETE FROM carts WHERE owner_kind = $1 AND owner_id = $2 AND expires_at <= $3")
        .bind(cart.owner.kind())
        .bind(uuid(cart.owner))
        .bind(now)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO carts (owner_kind, owner_id, residency_region, version, tax_place, changed_at, expires_at, coupon)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(cart.owner.kind())
    .bind(uuid(cart.owner))
    .bind(region.code())
    .bind(cart.version)
    .bind(cart.place.map(common::TaxPlace::code))
    .bind(now)
    .bind(cart.expires_at)
    .bind(cart.coupon.as_ref().map(CouponCode::as_str))
    .execute(tx)
    .await
    .map_err(|error| named(error, &[("carts_pkey", Conflict::Lost)]))?;
    Ok(())
}

async fn update(tx: &mut PgConnection, from: i64, cart: &Cart, now: DateTime<Utc>) -> Written {
    let moved = sqlx::query(
        "UPDATE carts SET version = $4, tax_place = $5, changed_at = $6, expires_at = $7, coupon = $8
         WHERE owner_kind = $1 AND owner_id = $2 AND version = $3",
    )
    .bind(cart.owner.kind())
    .bind(uuid(cart.owner))
    .bind(from)
    .bind(cart.version)
    .bind(cart.place.map(common::TaxPlace::code))
    .bind(now)
    .bind(cart.expires_at)
    .bind(cart.coupon.as_ref().map(CouponCode::as_str))
    .execute(tx)
    .await?;
    if moved.rows_affected() == 1 { Ok(()) } else { Err(WriteError::Refused(Conflict::Lost)) }
}

async fn lines(tx: &mut PgConnection, cart: &Cart, region: Region) -> Written {
    sqlx::query("DELETE FROM cart_lines WHERE owner_kind = $1 AND owner_id = $2")
        .bind(cart.owner.kind())
        .bind(uuid(cart.owner))
        .execute(&mut *tx)
        .await?;
    let of = |line: &CartLine| {
        let options: serde_json::Map<_, _> =
            line.line.options.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        json!({
            "sku": line.line.sku.as_str(), "quantity": line.line.quantity, "options": options,
            "unit_price_minor": line.carted.unit_price.minor(), "price_revision": line.carted.revision,
        })
    };
    let lines: Vec<_> = cart.lines.iter().map(of).collect();
    sqlx::query(
        "INSERT INTO cart_lines (owner_kind, owner_id, residency_region, line_no, sku, quantity, options, unit_price_minor, price_revision)
         SELECT $1, $2, $3, number - 1, line->>'sku', (line->>'quantity')::int, line->'options',
                (line->>'unit_price_minor')::bigint, (line->>'price_revision')::bigint
         FROM jsonb_array_elements($4) WITH ORDINALITY AS element (line, number)",
    )
    .bind(cart.owner.kind())
    .bind(uuid(cart.owner))
    .bind(region.code())
    .bind(Json(lines))
    .execute(tx)
    .await?;
    Ok(())
}

async fn remove(tx: &mut PgConnection, cart: &Cart) -> Written {
    let removed = sqlx::query("DELETE FROM carts WHERE owner_kind = $1 AND owner_id = $2 AND version = $3")
        .bind(cart.owner.kind())
        .bind(uuid(cart.owner))
        .bind(cart.version)
        .execute(tx)
        .await?;
    if removed.rows_affected() == 1 { Ok(()) } else { Err(WriteError::Refused(Conflict::Lost)) }
}

async fn sweep(tx: &mut PgConnection, now: DateTime<Utc>, limit: u16) -> Result<u64, WriteError<Conflict>> {
    let swept = sqlx::query(
        "DELETE FROM carts WHERE (owner_kind, owner_id) IN (
             SELECT owner_kind, owner_id FROM carts WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(now)
    .bind(i64::from(limit))
    .execute(tx)
    .await?;
    Ok(swept.rows_affected())
}
