//! Carries written revisions to the feed. The revision itself is the outbox entry: found while unpublished, told, then marked.
//! A crash between telling and marking tells again, which every reader of the feed must bear anyway.

use super::ports::products::{FeedDown, ProductFeed, ProductStore, StoreDown};

/// Revisions of one round: some hundred kilobytes, told in a fraction of a second.
pub const ROUND: usize = 500;

#[derive(Debug, thiserror::Error)]
pub enum PublishProductsError {
    #[error(transparent)]
    Store(#[from] StoreDown),
    #[error(transparent)]
    Feed(#[from] FeedDown),
}

/// One round. Returns how many revisions were told; [`ROUND`] means that there are probably more.
pub async fn publish_products(store: &dyn ProductStore, feed: &dyn ProductFeed) -> Result<usize, PublishProductsError> {
    let revisions = store.unpublished(ROUND).await?;
    if revisions.is_empty() {
        return Ok(0);
    }
    feed.publish(&revisions).await?;
    store.mark_published(&revisions).await?;
    Ok(revisions.len())
}
