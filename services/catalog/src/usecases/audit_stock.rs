//! AuditStock: looks whether the counts of the stock follow from its movements, a bounded piece at a time, and notes what does not.
//! Never repairs: a silent repair would hide the bug that made it necessary.

use super::App;
use super::ports::stock::StoreError;
use crate::domain::audit::{Audited, Finding, Mark, Most};
use crate::domain::shelves::Place;
use crate::metrics;

/// One look: a tenth of a second of the database, however long the history of a row is. It reads one snapshot for as long as it takes.
pub const MOST: Most = Most { rows: 200, movements: 200_000 };

/// Looks at what follows `from`, or begins. Says where the next look goes on; `None` at the end: begin again.
///
/// # Errors
/// From the store.
pub async fn audit_stock(app: &App, from: Option<&Mark>) -> Result<Option<Mark>, StoreError> {
    let look = app.stock.audit(from, MOST).await?;
    let findings: Vec<Finding> = look.audited.iter().flat_map(Audited::findings).collect();
    for finding in &findings {
        tracing::error!(
            sku = %finding.place.0,
            fulfilment_centre = %finding.place.1,
            counter = finding.counter,
            expected = finding.expected,
            found = finding.found,
            "a count of the stock does not follow from its movements"
        );
    }
    let places: Vec<Place> = look.audited.into_iter().map(|row| row.place).collect();
    if !findings.is_empty() || !app.stock.open_findings(1).await?.is_empty() {
        let new = app.stock.note_findings(&places, &findings, app.clock.now()).await?;
        metrics::STOCK_FINDINGS.with_label_values::<&str>(&[]).inc_by(new);
    }
    metrics::ROWS_AUDITED.with_label_values::<&str>(&[]).inc_by(places.len() as u64);
    metrics::MOVEMENTS_AUDITED.with_label_values::<&str>(&[]).inc_by(look.read);
    Ok(look.next)
}
