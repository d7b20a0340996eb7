//! OrderStates: how orders stand, for the catalog, which holds stock for them and asks about holds that are past their time.
//! The deadline is ours; what follows from an answer is not decided here.

use chrono::{DateTime, Utc};
use common::OrderId;

use super::App;
use super::error::StoreError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Unknown,
    /// Goes on at least until its deadline; longer while a payment is under way.
    Open(DateTime<Utc>),
    /// COMPLETED or COMPENSATED: the event that says so was committed with it.
    Over,
}

/// Orders of one question.
pub const MOST_ORDERS: usize = 100;

/// In the order of `orders`, of which there are at most [`MOST_ORDERS`].
///
/// # Errors
/// The store did not answer.
pub async fn order_states(app: &App, orders: &[OrderId]) -> Result<Vec<Standing>, StoreError> {
    let mut standings = Vec::with_capacity(orders.len());
    for order in orders {
        standings.push(match app.store.order(*order).await? {
            None => Standing::Unknown,
            Some(order) if order.status.is_final() => Standing::Over,
            Some(order) => Standing::Open(order.deadline_at),
        });
    }
    Ok(standings)
}
