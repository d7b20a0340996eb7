//! Changes of names in memory, for tests and for shops without a store. Passes the same suite as the real store.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::domain::labels::LabelRevision;
use crate::usecases::ports::labels::LabelStore;
use crate::usecases::ports::products::{Insertion, StoreDown};

#[derive(Debug, Default)]
pub struct MemoryLabels(Mutex<Vec<LabelRevision>>);

impl MemoryLabels {
    fn changes(&self) -> MutexGuard<'_, Vec<LabelRevision>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LabelStore for MemoryLabels {
    async fn change(&self, number: i64) -> Result<Option<LabelRevision>, StoreDown> {
        Ok(self.changes().iter().find(|change| change.number == number).cloned())
    }

    async fn insert(&self, revision: &LabelRevision) -> Result<Insertion, StoreDown> {
        let mut changes = self.changes();
        if changes.iter().any(|change| change.number == revision.number) {
            return Ok(Insertion::Taken);
        }
        changes.push(revision.clone());
        changes.sort_by_key(|change| change.number);
        Ok(Insertion::Written)
    }

    async fn all(&self) -> Result<Vec<LabelRevision>, StoreDown> {
        Ok(self.changes().clone())
    }
}
