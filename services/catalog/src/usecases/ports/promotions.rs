//! What promotions ask of the world: a store of numbered changes that are only ever added to.

use async_trait::async_trait;

use super::products::{Insertion, StoreDown};
use crate::domain::promotion::PromotionRevision;

/// Writing a number that exists changes nothing and says so: that is the compare-and-set.
#[async_trait]
pub trait PromotionStore: Send + Sync {
    async fn change(&self, number: i64) -> Result<Option<PromotionRevision>, StoreDown>;

    async fn insert(&self, revision: &PromotionRevision) -> Result<Insertion, StoreDown>;

    /// All changes, the first one first.
    async fn all(&self) -> Result<Vec<PromotionRevision>, StoreDown>;
}
