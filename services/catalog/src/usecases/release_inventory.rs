//! ReleaseInventory: the order is over without a sale, so what it holds is for sale again, once. May run before the order
//! itself is known: it then leaves a tombstone.

use common::{MessageId, OrderId};

use super::App;
use super::ports::stock::{Committed, StoreError};
use super::reserve_inventory::conclude;
use super::stock_error::{MAX_DECISIONS, StockError};
use crate::domain::reservation;
use crate::metrics;

/// # Errors
/// [`StockError::Reservation`] when the units were already sold, else from the store; nothing was changed.
pub async fn release_inventory(app: &App, cause: MessageId, order: OrderId) -> Result<Committed, StockError> {
    for _ in 0..MAX_DECISIONS {
        let current = app.stock.reservation(order).await?;
        let decision = reservation::release(current, order, app.clock.now())?;
        match conclude(app, cause, &decision, "order_compensated").await {
            Err(StoreError::Overtaken) => metrics::DECISIONS_OVERTAKEN.with_label_values(&["release"]).inc(),
            outcome => return Ok(outcome?),
        }
    }
    Err(StockError::Contended)
}
