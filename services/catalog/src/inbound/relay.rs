//! The loop that tells the feed of written revisions: woken by a timer, it looks at the store and has one path, on good days
//! and after a crash alike.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::metrics::{LEFT_OUT, PUBLISHED};
use crate::usecases::ports::products::{ProductFeed, ProductStore};
use crate::usecases::publish_products::publish_products;

/// Between two looks: a tenth of the time in which a change should be searchable.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest pause while store or broker are away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Publishes until `shutdown`. Several processes may do so at once; then some revisions are told twice.
pub async fn run(store: &dyn ProductStore, feed: &dyn ProductFeed, shutdown: CancellationToken) {
    // Alerts need the series to be there before the first of them.
    LEFT_OUT.with_label_values::<&str>(&[]).inc_by(0);
    let mut pause = PAUSE;
    loop {
        pause = match publish_products(store, feed).await {
            Ok(round) => {
                PUBLISHED.with_label_values::<&str>(&[]).inc_by(round.told as u64);
                LEFT_OUT.with_label_values::<&str>(&[]).inc_by(round.left_out as u64);
                match &round.waits {
                    Some(reason) => later(pause, reason),
                    // A full round means that more are waiting.
                    None if round.is_full() => Duration::ZERO,
                    None => PAUSE,
                }
            }
            Err(error) => later(pause, &error),
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn later(pause: Duration, reason: &dyn std::fmt::Display) -> Duration {
    tracing::warn!(%reason, "product changes wait");
    (pause.max(PAUSE) * 2).min(LONGEST_PAUSE)
}
