//! ReceiveStock: goods came in, or a SKU is declared as made to order or unlimited. Safe to repeat: a reference counts once.

use common::UserId;

use super::App;
use super::ports::stock::{Committed, StoreError};
use crate::domain::receipt::Receipt;
use crate::metrics;

/// # Errors
/// [`StoreError::ReferenceReused`], [`StoreError::KindDiffers`], [`StoreError::Full`], or the store failed; nothing was changed.
pub async fn receive_stock(app: &App, receipt: &Receipt, by: UserId) -> Result<Committed, StoreError> {
    let committed = app.stock.receive(receipt, by, app.clock.now()).await?;
    if committed == Committed::Applied {
        metrics::UNITS_RECEIVED.with_label_values::<&str>(&[]).inc_by(receipt.units());
    }
    Ok(committed)
}
