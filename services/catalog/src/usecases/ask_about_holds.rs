//! AskAboutHolds: a hold past its time is worth a question to order-payment, which sees the payments and owns the deadline.
//! Decided here: what each answer means. Never decided here: that anything is released. That is done by the event which says
//! how the order ended, and by nothing else.

use chrono::TimeDelta;
use common::OrderId;

use super::App;
use super::extend_hold::extend_hold;
use super::ports::orders::OrderState;
use super::ports::stock::Why;
use super::stock_error::StockError;
use crate::metrics;

/// Holds of one round; the next round takes the next ones.
pub const MOST_HOLDS: u16 = 100;
/// Nobody asks again about a hold before this: an event on its way takes seconds.
const ASK_AGAIN_AFTER: TimeDelta = TimeDelta::seconds(30);
/// An open order whose deadline has passed is about to be given up, or a payment holds it; ask again after this.
const GRACE: TimeDelta = TimeDelta::seconds(60);

/// Says how many holds it asked about.
///
/// # Errors
/// From the store or when order-payment does not answer; then the holds stay, and are asked about again.
pub async fn ask_about_holds(app: &App) -> Result<usize, StockError> {
    let now = app.clock.now();
    let overdue = app.stock.claim_overdue(now, now - ASK_AGAIN_AFTER, MOST_HOLDS).await?;
    if overdue.is_empty() {
        return Ok(0);
    }
    let states = app.orders.states(&overdue).await?;
    for (order, state) in overdue.iter().zip(states) {
        answer(app, *order, state).await?;
    }
    Ok(overdue.len())
}

async fn answer(app: &App, order: OrderId, state: OrderState) -> Result<(), StockError> {
    let outcome = match state {
        OrderState::Open { deadline } => {
            let until = deadline.max(app.clock.now() + GRACE);
            extend_hold(app, Why::Duty("extend_hold"), order, until).await?;
            "open"
        }
        OrderState::Over => "over",
        // Cannot happen while orders and stock are in one log: an order is committed before its event is told. A person must
        // find out which of the two was lost; giving the units away could sell them twice.
        OrderState::Unknown => {
            tracing::error!(order.id = %order, "a hold belongs to an order that nobody knows");
            "unknown"
        }
    };
    metrics::HOLDS_ASKED.with_label_values(&[outcome]).inc();
    Ok(())
}
