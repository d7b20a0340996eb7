//! CorrectStock: a count of the shelves is booked, with its reason. Safe to repeat: a reference counts once.

use common::UserId;

use super::App;
use super::ports::stock::{Committed, StoreError};
use crate::domain::correction::Correction;
use crate::metrics::UNITS_CORRECTED;

/// # Errors
/// As `StockStore::correct`; nothing was changed.
pub async fn correct_stock(app: &App, correction: &Correction, by: UserId) -> Result<Committed, StoreError> {
    let committed = app.stock.correct(correction, by, app.clock.now()).await?;
    if committed == Committed::Applied {
        let (found, lost) = correction.units();
        UNITS_CORRECTED.with_label_values(&["found"]).inc_by(found);
        UNITS_CORRECTED.with_label_values(&["lost"]).inc_by(lost);
    }
    Ok(committed)
}
