//! What is open, for metrics: how much of each kind, and how old the oldest is.
//!
//! Decided here: when a paid order whose goods do not move is counted. Not decided here: when somebody is called (the alerts), and why the
//! goods do not move (docs/runbooks/goods-not-sent.md). A promise of goods that have not come in yet is counted like the rest: nobody tells
//! this service of it, and its buyer has paid and has nothing.

use chrono::Duration;
use common::Explain as _;

use super::ports::{Backlog, OpenCount};
use super::{App, Failure};

/// The catalog makes a parcel when it hears of the payment, seconds later, also of what is made to order. What is lost or parked on the way has
/// alarms of its own, which people answer within a working day; two days leave them that day and the night around it, and are what a
/// shopper waits before they ask.
const SENT_WITHIN: Duration = Duration::hours(48);
/// Whoever is on duty has seen it for four weeks by then. Orders whose money went back before a parcel left stay among those that are looked
/// through, so the look must end somewhere; where they are many, [`LOOKED_THROUGH`] ends it before.
const LOOKED_BACK: Duration = Duration::days(30);
/// Orders counted: more is the same alarm, and one query stays small.
const MOST_COUNTED: u16 = 1_000;
/// Orders without a parcel that are looked through for each that may be counted. Of a month's orders few are paid back before anything
/// leaves; with more than seven of eight it is not the parcels that are late.
pub const LOOKED_THROUGH: u16 = 8;

/// Everything that is open, and paid orders that are not sent. When these cannot be read, which is said here, the rest is shown without
/// them.
///
/// # Errors
/// [`Failure`] when nothing can be read.
pub async fn see_backlog(app: &App) -> Result<Backlog, Failure> {
    let mut backlog = app.store.backlog().await?;
    match unsent(app).await {
        Ok(parcels) => backlog.open.extend(parcels),
        Err(failure) => {
            tracing::warn!(code = failure.code(), error = %failure, "paid orders that are not sent could not be counted");
        }
    }
    Ok(backlog)
}

async fn unsent(app: &App) -> Result<Option<OpenCount>, Failure> {
    let now = app.clock.now();
    let unsent = app.store.unsent(now - LOOKED_BACK, now - SENT_WITHIN, MOST_COUNTED).await?;
    let Some((_, oldest)) = unsent.first() else { return Ok(None) };
    Ok(Some(OpenCount {
        what: "parcel",
        state: "NOT_SENT".to_owned(),
        count: i64::try_from(unsent.len()).unwrap_or(i64::MAX),
        oldest_s: (now - *oldest).num_seconds(),
    }))
}
