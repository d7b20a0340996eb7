//! Carries written revisions to the feed. The revision itself is the outbox entry: found while unpublished, told, then marked.
//! A crash between telling and marking tells again, which every reader of the feed must bear anyway.
//!
//! A revision that no record can carry is marked as well and counted as left out: waiting, it would be sent again in every round
//! for ever, and enough of its kind would hold up everybody. Its readers do not hear of it; the audit of the index brings it into
//! search, and pages show it when their time is up. `ProductDraft::check` refuses such a product before it is written.

use super::ports::products::{FeedDown, ProductFeed, ProductStore, StoreDown, Telling};
use crate::domain::product::Revision;

/// Revisions of one round: some hundred kilobytes, told in a fraction of a second; the store gives fewer of large ones.
pub const ROUND: usize = 500;

#[derive(Debug, thiserror::Error)]
pub enum PublishProductsError {
    #[error(transparent)]
    Store(#[from] StoreDown),
    #[error(transparent)]
    Feed(#[from] FeedDown),
}

/// What became of one round.
#[derive(Debug, Default)]
pub struct Round {
    pub told: usize,
    /// Too large to be told, ever.
    pub left_out: usize,
    /// Why some wait for the next round.
    pub waits: Option<FeedDown>,
}

impl Round {
    /// Whether there are probably more.
    pub fn is_full(&self) -> bool {
        self.told + self.left_out == ROUND
    }
}

/// One round: what the feed took counts as told, whatever became of the others.
///
/// # Errors
/// The store or the feed did not answer at all; what was told in this round is told again.
pub async fn publish_products(store: &dyn ProductStore, feed: &dyn ProductFeed) -> Result<Round, PublishProductsError> {
    let revisions = store.unpublished(ROUND).await?;
    let mut round = Round::default();
    if revisions.is_empty() {
        return Ok(round);
    }
    let tellings = feed.publish(&revisions).await?;
    let mut done: Vec<Revision> = Vec::with_capacity(revisions.len());
    for (revision, telling) in revisions.into_iter().zip(tellings) {
        match telling {
            Telling::Told => round.told += 1,
            Telling::TooLarge => {
                tracing::error!(
                    product.sku = %revision.sku(),
                    product.revision = revision.number,
                    "a product change is too large to be told"
                );
                round.left_out += 1;
            }
            Telling::Failed(error) => {
                round.waits = Some(error);
                continue;
            }
        }
        done.push(revision);
    }
    if !done.is_empty() {
        store.mark_published(&done).await?;
    }
    Ok(round)
}
