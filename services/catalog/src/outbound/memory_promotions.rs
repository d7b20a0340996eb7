//! Promotion changes in memory, for tests of use cases. Passes the same suite as the real store.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::domain::promotion::PromotionRevision;
use crate::usecases::ports::products::{Insertion, StoreDown};
use crate::usecases::ports::promotions::PromotionStore;

#[derive(Debug, Default)]
pub struct MemoryPromotions(Mutex<Vec<PromotionRevision>>);

impl MemoryPromotions {
    fn changes(&self) -> MutexGuard<'_, Vec<PromotionRevision>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PromotionStore for MemoryPromotions {
    async fn change(&self, number: i64) -> Result<Option<PromotionRevision>, StoreDown> {
        Ok(self.changes().iter().find(|change| change.number == number).cloned())
    }

    async fn insert(&self, revision: &PromotionRevision) -> Result<Insertion, StoreDown> {
        let mut changes = self.changes();
        if changes.iter().any(|change| change.number == revision.number) {
            return Ok(Insertion::Taken);
        }
        changes.push(revision.clone());
        changes.sort_by_key(|change| change.number);
        Ok(Insertion::Written)
    }

    async fn all(&self) -> Result<Vec<PromotionRevision>, StoreDown> {
        Ok(self.changes().clone())
    }
}
