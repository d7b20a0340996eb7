//! How products stand, as the index asks for it and as others know it.

use std::collections::HashMap;

use async_trait::async_trait;
use common::Sku;

use super::products::IndexDown;
use crate::domain::product::Revision;
use crate::domain::standing::Standing;

/// Who knows how products stand now.
#[async_trait]
pub trait Standings: Send + Sync {
    /// Of each live product among `revisions`, whatever is known. Never an error: a change of a product waits for nobody.
    async fn of(&self, revisions: &[Revision]) -> HashMap<Sku, Standing>;
}

/// How the documents of the index say that products stand.
#[async_trait]
pub trait StandingIndex: Send + Sync {
    /// Of those of `skus` (at most 500) that have a document of a live product.
    async fn standings(&self, skus: &[Sku]) -> Result<HashMap<Sku, Standing>, IndexDown>;

    /// Products whose document says that they are popular, at most `limit`.
    async fn popular(&self, limit: usize) -> Result<Vec<Sku>, IndexDown>;
}

/// Who knows what people want.
#[async_trait]
pub trait Trends: Send + Sync {
    /// What is trending in the region, the most wanted first; `None`: nobody knows now.
    async fn trending(&self) -> Option<Vec<Sku>>;
}
