//! The loop that looks for documents of the index whose time has come.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::usecases::ports::products::{ProductStore, TurningIndex};
use crate::usecases::renew_turned::{ROUND, renew_turned};

/// Between two looks: filters and sorting may be this much behind a price, the shown price never is.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest pause while store or index are away.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Renews until `shutdown`. Several processes may do so at once; then some documents are written twice.
pub async fn run(store: &dyn ProductStore, index: &dyn TurningIndex, shutdown: CancellationToken) {
    let mut pause = PAUSE;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = match renew_turned(store, index).await {
            // What was written is found again until the index has refreshed, so even a full round waits a little.
            Ok(found) if found == ROUND => PAUSE / 2,
            Ok(_) => PAUSE,
            Err(error) => {
                tracing::warn!(reason = %error, "prices of the index wait to be renewed");
                (pause * 2).min(LONGEST_PAUSE)
            }
        };
    }
}
