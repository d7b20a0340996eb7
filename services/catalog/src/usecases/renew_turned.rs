//! What the index says of a product may change without a revision: a price or the time of its sale begins or ends. Lists show
//! the right price by themselves, since the document has the timeline; what is filtered and sorted by was computed when the
//! document was written, so it is written anew when its time has come.

use super::ports::products::{IndexDown, ProductStore, StoreDown, TurningIndex};

/// Documents of one round: a sale that begins for a whole shop at midnight is through in a few dozen rounds.
pub const ROUND: usize = 500;

#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    #[error(transparent)]
    Store(#[from] StoreDown),
    #[error(transparent)]
    Index(#[from] IndexDown),
}

/// One round. Returns how many documents were found; [`ROUND`] means that there are probably more.
pub async fn renew_turned(store: &dyn ProductStore, index: &dyn TurningIndex) -> Result<usize, RenewError> {
    let skus = index.turned(ROUND).await?;
    if skus.is_empty() {
        return Ok(0);
    }
    index.renew(&store.newest_readable(&skus).await?).await?;
    Ok(skus.len())
}
