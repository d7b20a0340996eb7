//! ReturnInventory: the money of a paid order came back, whole or for some lines, so its units that have not left the house are for sale
//! again and what it allowed to use ends.

use common::{MessageId, OrderId};

use super::App;
use super::decide_again::decide_again;
use super::ports::stock::{Committed, Why};
use super::stock_error::StockError;
use crate::domain::lines::Lines;
use crate::domain::reservation;

pub struct ReturnInventory {
    pub order: OrderId,
    /// `None`: everything that was not given back before.
    pub lines: Option<Lines>,
}

/// # Errors
/// Not sold yet (try again: the completion travels on another topic), more than was sold; else from the store. Nothing was
/// changed.
pub async fn return_inventory(app: &App, cause: MessageId, command: ReturnInventory) -> Result<Committed, StockError> {
    decide_again(app, Why::Message(cause), command.order, ("return", "order_refunded"), |current| {
        reservation::take_back(current, command.lines.as_ref(), app.clock.now())
    })
    .await
}
