//! ReleaseInventory: the order is over without a sale, so what it holds is for sale again, once. May run before the order
//! itself is known: it then leaves a tombstone.

use common::{MessageId, OrderId};

use super::App;
use super::decide_again::decide_again;
use super::ports::stock::{Committed, Why};
use super::stock_error::StockError;
use crate::domain::reservation;

/// # Errors
/// [`StockError::Reservation`] when the units were already sold, else from the store; nothing was changed.
pub async fn release_inventory(app: &App, cause: MessageId, order: OrderId) -> Result<Committed, StockError> {
    decide_again(app, Why::Message(cause), order, ("release", "order_compensated"), |current| {
        reservation::release(current, order, app.clock.now())
    })
    .await
}
