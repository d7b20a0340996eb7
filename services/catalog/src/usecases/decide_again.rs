//! One step of a reservation that is known: load, decide, commit, and decide again when another decision came first.

use common::OrderId;

use super::App;
use super::ports::stock::{Committed, StoreError, Why};
use super::reserve_inventory::noted;
use super::stock_error::{MAX_DECISIONS, StockError};
use crate::domain::reservation::{Decision, Reservation, ReservationError};
use crate::metrics;

/// `verb` and `reason` name the step in metrics and logs.
///
/// # Errors
/// What `decide` refuses, else from the store or after too many lost races; nothing was changed.
pub(super) async fn decide_again(
    app: &App,
    why: Why,
    order: OrderId,
    (verb, reason): (&'static str, &'static str),
    decide: impl Fn(Option<Reservation>) -> Result<Decision, ReservationError>,
) -> Result<Committed, StockError> {
    for _ in 0..MAX_DECISIONS {
        let decision = decide(app.stock.reservation(order).await?)?;
        // A duty that has nothing to do has nothing to remember either.
        if let (Why::Duty(_), Decision::Nothing) = (why, &decision) {
            return Ok(Committed::Repeated);
        }
        match noted(app.stock.commit(why, &decision).await, &decision, reason) {
            Err(StoreError::Overtaken) => metrics::DECISIONS_OVERTAKEN.with_label_values(&[verb]).inc(),
            outcome => return Ok(outcome?),
        }
    }
    Err(StockError::Contended)
}
