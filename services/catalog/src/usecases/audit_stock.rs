//! AuditStock: looks whether the counts of the stock follow from its movements, some rows at a time, and notes what does not.
//! Never repairs: a silent repair would hide the bug that made it necessary.

use super::App;
use super::ports::stock::StoreError;
use crate::domain::audit::{Audited, Finding};
use crate::domain::shelves::Place;
use crate::metrics;

/// Rows of one look. Each is as heavy as its movements, and a look reads one snapshot for as long as it takes.
pub const MOST_ROWS: u16 = 200;

/// Looks at the rows after `after`. Says where it stopped; `None` at the end: begin again.
///
/// # Errors
/// From the store.
pub async fn audit_stock(app: &App, after: Option<&Place>) -> Result<Option<Place>, StoreError> {
    let audited = app.stock.audit(after, MOST_ROWS).await?;
    let findings: Vec<Finding> = audited.iter().flat_map(Audited::findings).collect();
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
    let places: Vec<Place> = audited.iter().map(|row| row.place.clone()).collect();
    if !findings.is_empty() || !app.stock.open_findings(1).await?.is_empty() {
        let new = app.stock.note_findings(&places, &findings, app.clock.now()).await?;
        metrics::STOCK_FINDINGS.with_label_values::<&str>(&[]).inc_by(new);
    }
    metrics::ROWS_AUDITED.with_label_values::<&str>(&[]).inc_by(places.len() as u64);
    let rows = audited.iter().filter(|row| row.row.is_some()).count();
    let last =
        if rows < usize::from(MOST_ROWS) { None } else { audited.into_iter().rev().find(|row| row.row.is_some()) };
    Ok(last.map(|row| row.place))
}
