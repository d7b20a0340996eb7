//! Reads the promotions when a process starts. Quotes have deadlines, and one that gives up in the middle of the first reading
//! leaves nothing behind for the next: if that reading takes longer than any of them waits, none would ever know the promotions.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::usecases::promotions::Promotions;

/// Before a reading that failed is tried again, at first and at most.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Ends when the promotions are known, or at `shutdown`.
pub async fn learn(promotions: Arc<Promotions>, shutdown: CancellationToken) {
    let mut pause = PAUSE;
    loop {
        let known = tokio::select! {
            known = promotions.current() => known,
            () = shutdown.cancelled() => return,
        };
        let Err(error) = known else { return };
        tracing::warn!(reason = %error, "the promotions are not known yet");
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = shutdown.cancelled() => return,
        }
    }
}
