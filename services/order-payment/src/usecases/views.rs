//! What people read about orders. Reads skip the domain; the owner is part of every question, so that an order of somebody
//! else looks like none.

use chrono::{DateTime, Utc};
use common::{Money, OrderId, Private, UserId};

use super::ports::Shipment;
use super::{App, Failure, Shopper};
use crate::domain::{AttemptState, OrderStatus, OrderTax, PricedLine, Reason, Refund, ShippingAddress};

/// The longest list in one answer.
pub const MOST_ITEMS: u16 = 100;

/// One order in full.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderView {
    pub id: OrderId,
    pub status: OrderStatus,
    pub total: Money,
    pub tax: Option<OrderTax>,
    pub lines: Vec<PricedLine>,
    pub address: Private<ShippingAddress>,
    pub created_at: DateTime<Utc>,
    /// State of the newest charge, and how many attempts there were.
    pub payment: Option<AttemptState>,
    pub attempts: u32,
    /// The part of the total that store credit pays.
    pub credit: Money,
    pub refunds: Vec<Refund>,
    pub shipment: Option<Shipment>,
    pub history: Vec<StatusChange>,
}

/// One order in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderCard {
    pub id: OrderId,
    pub status: OrderStatus,
    pub total: Money,
    pub line_count: u32,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusChange {
    pub version: i64,
    pub status: OrderStatus,
    pub reason: Option<Reason>,
    pub at: DateTime<Utc>,
}

/// A place in a person's list of orders, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub created_at: DateTime<Utc>,
    pub id: OrderId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<Position>,
}

/// One order of the caller's.
///
/// # Errors
/// [`Failure::NotFound`] for an order that is absent or another's.
pub async fn order(app: &App, shopper: Shopper, id: OrderId) -> Result<OrderView, Failure> {
    app.views.order(owner(app, shopper)?, id).await?.ok_or(Failure::NotFound)
}

/// The caller's orders, newest first. `limit` is 1 to [`MOST_ITEMS`].
///
/// # Errors
/// [`Failure`] when they cannot be read.
pub async fn orders(
    app: &App,
    shopper: Shopper,
    before: Option<Position>,
    limit: u16,
) -> Result<Page<OrderCard>, Failure> {
    if !(1..=MOST_ITEMS).contains(&limit) {
        return Err(Failure::CursorInvalid);
    }
    Ok(app.views.orders(owner(app, shopper)?, before, limit).await?)
}

/// Status changes of one order of the caller's after `version`.
///
/// # Errors
/// [`Failure::NotFound`] for an order that is absent or another's.
pub async fn changes_after(
    app: &App,
    shopper: Shopper,
    id: OrderId,
    version: i64,
) -> Result<Vec<StatusChange>, Failure> {
    app.views.changes_after(owner(app, shopper)?, id, version).await?.ok_or(Failure::NotFound)
}

fn owner(app: &App, shopper: Shopper) -> Result<UserId, Failure> {
    if shopper.region == app.region { Ok(shopper.user) } else { Err(Failure::Misdirected(shopper.region)) }
}
