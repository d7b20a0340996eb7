//! Waiting for a condition instead of for a time. On time-out it tells what it last saw.

use std::fmt::Debug;
use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `look` says `Ok`, at most `limit`; gives what it says.
///
/// # Panics
/// After `limit`, with `what` was awaited and the last `Err`.
pub async fn until<T, Seen: Debug>(what: &str, limit: Duration, look: impl AsyncFn() -> Result<T, Seen>) -> T {
    let started = tokio::time::Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if started.elapsed() > limit => panic!("waited {limit:?} for {what}; last seen: {seen:?}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
