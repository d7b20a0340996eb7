//! ExtendHold: order-payment, which owns the deadline, says that the order is still open. Nothing moves; the hold is worth a
//! question later.

use chrono::{DateTime, Utc};
use common::OrderId;

use super::App;
use super::decide_again::decide_again;
use super::ports::stock::{Committed, Why};
use super::stock_error::StockError;
use crate::domain::reservation;

/// # Errors
/// An order that was never heard of, else from the store; nothing was changed.
pub async fn extend_hold(app: &App, why: Why, order: OrderId, until: DateTime<Utc>) -> Result<Committed, StockError> {
    let reason = match why {
        Why::Message(_) => "payment_pending",
        Why::Duty(_) => "order_open",
    };
    decide_again(app, why, order, ("extend", reason), |current| reservation::extend(current, until, app.clock.now()))
        .await
}
