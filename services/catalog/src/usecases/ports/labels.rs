//! What the names of categories and attributes ask of the world: a store of numbered changes that are only ever added to.

use async_trait::async_trait;

use super::products::{Insertion, StoreDown};
use crate::domain::labels::LabelRevision;

/// Writing a number that exists changes nothing and says so: that is the compare-and-set.
#[async_trait]
pub trait LabelStore: Send + Sync {
    async fn change(&self, number: i64) -> Result<Option<LabelRevision>, StoreDown>;

    async fn insert(&self, revision: &LabelRevision) -> Result<Insertion, StoreDown>;

    /// All changes, the first one first.
    async fn all(&self) -> Result<Vec<LabelRevision>, StoreDown>;
}
