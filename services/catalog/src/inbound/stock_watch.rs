//! The watchers of the stock, one loop each: overdue holds, parcels whose goods arrived, counts against movements, what is open of
//! what these found. Each is woken
//! by time and by nothing else, takes no input, looks at the state, and so has one path that is always exercised.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Explain;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::usecases::App;
use crate::usecases::ask_about_holds::{MOST_HOLDS, ask_about_holds};
use crate::usecases::audit_stock::audit_stock;
use crate::usecases::send_awaited::{MOST_ORDERS, send_awaited};

/// A hold whose time is over is asked about within this.
const HOLDS_EVERY: Duration = Duration::from_secs(5);
/// Goods that came in leave within this. The look costs an index that is empty unless somebody waits.
const PARCELS_EVERY: Duration = Duration::from_secs(2);
/// Between two looks of the audit: slow enough to be unnoticed beside the sale, fast enough for a hundred thousand rows, or a hundred million
/// movements, an hour.
const AUDIT_EVERY: Duration = Duration::from_secs(5);
/// Metrics are scraped about as often; the look costs an index that is empty unless something is wrong.
const SHOWN_EVERY: Duration = Duration::from_secs(10);

pub async fn holds(app: Arc<App>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        match ask_about_holds(&app).await {
            // There may be more.
            Ok(asked) if asked == usize::from(MOST_HOLDS) => continue,
            Ok(_) => {}
            Err(error) => complain("holds", &error),
        }
        pause(HOLDS_EVERY, &shutdown).await;
    }
}

pub async fn parcels(app: Arc<App>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        match send_awaited(&app).await {
            Ok(sent) if sent == usize::from(MOST_ORDERS) => continue,
            Ok(_) => {}
            Err(error) => complain("parcels", &error),
        }
        pause(PARCELS_EVERY, &shutdown).await;
    }
}

/// From the first row to the last, and again. A process that starts begins with the first row.
pub async fn audit(app: Arc<App>, shutdown: CancellationToken) {
    let (mut from, mut began) = (None, Instant::now());
    // Since then every row was looked at; before the first walk is done, it is this one's beginning.
    let mut all_since = began;
    while !shutdown.is_cancelled() {
        match audit_stock(&app, from.as_ref()).await {
            Ok(next) => {
                if next.is_none() {
                    (all_since, began) = (began, Instant::now());
                }
                from = next;
            }
            Err(error) => complain("audit", &error),
        }
        metrics::show_audited_within(all_since.elapsed());
        pause(AUDIT_EVERY, &shutdown).await;
    }
}

/// Shows what the audit found and nobody has put right, and for how long: also what was found before this process began.
pub async fn findings(app: Arc<App>, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        match app.stock.findings_by_counter().await {
            Ok(open) => metrics::show_findings(&open, app.clock.now()),
            Err(error) => complain("findings", &error),
        }
        pause(SHOWN_EVERY, &shutdown).await;
    }
}

fn complain(duty: &'static str, error: &(impl Explain + std::fmt::Display)) {
    tracing::warn!(duty, code = error.code(), error = %error, "a duty could not be done; it is tried again");
}

async fn pause(length: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        () = shutdown.cancelled() => {}
    }
}
