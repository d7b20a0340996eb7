//! Copies of our answers that others keep.

use async_trait::async_trait;

/// Keys that the edge's interface takes in one request.
pub const AT_ONCE: usize = 30;

/// The others did not take it; the text is for the log.
#[derive(Clone, Debug, thiserror::Error)]
#[error("copies at the edge cannot be purged: {0}")]
pub struct PurgeDown(pub String);

/// Somebody who keeps copies of our answers under the keys we gave with them.
#[async_trait]
pub trait Purger: Send + Sync {
    /// Resolves when every copy under one of `keys` will not be given again. Doing it twice does no harm.
    async fn purge(&self, keys: &[String]) -> Result<(), PurgeDown>;
}
