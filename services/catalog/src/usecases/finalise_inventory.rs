//! FinaliseInventory: the order is paid, so what it holds has left the stock for good; serial numbers are handed out and the
//! shipment begins. After the money, so it cannot fail for a reason of business.

use common::{MessageId, OrderId};

use super::App;
use super::ports::stock::{Committed, StoreError};
use super::reserve_inventory::conclude;
use super::stock_error::{MAX_DECISIONS, StockError};
use crate::domain::lines::Lines;
use crate::domain::reservation::{self, Dispatch};
use crate::metrics;

pub struct FinaliseInventory {
    pub order: OrderId,
    /// What was paid for, as the completed order tells it.
    pub lines: Lines,
}

/// # Errors
/// Not seen yet (try again: the order travels on another topic), a reservation that holds nothing, other lines than those
/// reserved; else from the store. Nothing was changed.
pub async fn finalise_inventory(
    app: &App,
    cause: MessageId,
    command: FinaliseInventory,
) -> Result<Committed, StockError> {
    // A kind never changes, so it may be read outside the commit.
    let levels = app.stock.levels(&command.lines.skus()).await?;
    let kinds: Vec<_> = levels.values().map(|level| level.kind).collect();
    let dispatch = Dispatch { kinds: &kinds, fulfilment_centre: &app.site };
    for _ in 0..MAX_DECISIONS {
        let current = app.stock.reservation(command.order).await?;
        let decision = reservation::finalise(current, &command.lines, &dispatch, app.clock.now())?;
        match conclude(app, cause, &decision, "order_completed").await {
            Err(StoreError::Overtaken) => metrics::DECISIONS_OVERTAKEN.with_label_values(&["finalise"]).inc(),
            outcome => return Ok(outcome?),
        }
    }
    Err(StockError::Contended)
}
