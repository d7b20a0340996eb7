//! Tells the feed of every product once more, for readers that have lost what they had learned from it, and for a topic that does not have
//! them all. Tombstones are told as well. What is not told yet is told by `publish_products` in its time.
//!
//! The topic keeps the record of a product that was written last, so an older revision must not come to stand behind a newer one: what
//! was changed while it was told is told again.

use std::collections::HashMap;

use common::Sku;

use super::ports::products::{ProductFeed, ProductStore, Telling};
use super::publish_products::{PublishProductsError, ROUND, Round};

/// Looks at whether products were changed while they were told. A product that is changed faster than it can be told is told by its next
/// change as well.
const LOOKS: usize = 5;

/// Safe to repeat: every reader knows a revision that it has seen.
///
/// # Errors
/// Store or feed did not answer, or the feed did not take one: to be begun again.
pub async fn tell_products(store: &dyn ProductStore, feed: &dyn ProductFeed) -> Result<Round, PublishProductsError> {
    let mut round = Round::default();
    for portion in store.skus().await?.chunks(ROUND) {
        tell(store, feed, portion, &mut round).await?;
    }
    Ok(round)
}

/// The newest revision of each of `skus`, at most [`ROUND`], and those that are newer by then.
async fn tell(
    store: &dyn ProductStore,
    feed: &dyn ProductFeed,
    skus: &[Sku],
    round: &mut Round,
) -> Result<(), PublishProductsError> {
    let mut told: HashMap<Sku, i64> = HashMap::new();
    for _ in 0..LOOKS {
        let mut newest = store.newest_readable(skus).await?;
        // A variant is told with its product.
        newest.retain(|revision| revision.variant_of().is_none() && told.get(revision.sku()) != Some(&revision.number));
        if newest.is_empty() {
            return Ok(());
        }
        let tellings = feed.publish(&newest).await?;
        for (revision, telling) in newest.into_iter().zip(tellings) {
            match telling {
                Telling::Told => round.told += 1,
                Telling::TooLarge => round.left_out += 1,
                Telling::Failed(error) => return Err(error.into()),
            }
            told.insert(revision.sku().clone(), revision.number);
        }
    }
    Ok(())
}
