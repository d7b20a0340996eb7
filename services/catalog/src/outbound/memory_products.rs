//! Revisions in memory, for tests of use cases. Passes the same suite as the real store.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use common::Sku;

use crate::domain::product::{Author, Revision};
use crate::domain::schema::Schema;
use crate::usecases::ports::products::{Insertion, ProductStore, SchemaStore, StoreDown};

/// Product and number to the revision and whether it was published.
type Revisions = BTreeMap<(Sku, i64), (Revision, bool)>;

#[derive(Default)]
pub struct MemoryProducts(Mutex<Revisions>, Mutex<Vec<Schema>>);

impl MemoryProducts {
    fn lock(&self) -> MutexGuard<'_, Revisions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ProductStore for MemoryProducts {
    async fn newest(&self, sku: &Sku) -> Result<Option<Revision>, StoreDown> {
        let revisions = self.lock();
        let of_product = revisions.range((sku.clone(), i64::MIN)..=(sku.clone(), i64::MAX));
        Ok(of_product.last().map(|(_, (revision, _))| revision.clone()))
    }

    async fn newest_many(&self, skus: &[Sku]) -> Result<Vec<Revision>, StoreDown> {
        let mut found = Vec::new();
        for sku in skus.iter().collect::<std::collections::BTreeSet<_>>() {
            found.extend(self.newest(sku).await?);
        }
        Ok(found)
    }

    async fn newest_readable(&self, skus: &[Sku]) -> Result<Vec<Revision>, StoreDown> {
        self.newest_many(skus).await
    }

    async fn insert(&self, revisions: &[Revision]) -> Result<Vec<Insertion>, StoreDown> {
        let mut stored = self.lock();
        let insert = |revision: &Revision| match stored.entry((revision.sku().clone(), revision.number)) {
            std::collections::btree_map::Entry::Occupied(_) => Insertion::Taken,
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert((revision.clone(), revision.variant_of().is_some()));
                Insertion::Written
            }
        };
        Ok(revisions.iter().map(insert).collect())
    }

    async fn unpublished(&self, limit: usize) -> Result<Vec<Revision>, StoreDown> {
        let revisions = self.lock();
        let waiting = revisions.values().filter(|(_, published)| !published);
        Ok(waiting.take(limit).map(|(revision, _)| revision.clone()).collect())
    }

    async fn mark_published(&self, revisions: &[Revision]) -> Result<(), StoreDown> {
        let mut stored = self.lock();
        for revision in revisions {
            if let Some((_, published)) = stored.get_mut(&(revision.sku().clone(), revision.number)) {
                *published = true;
            }
        }
        Ok(())
    }

    async fn history(&self, sku: &Sku, before: Option<i64>, limit: usize) -> Result<Vec<Revision>, StoreDown> {
        let stored = self.lock();
        let of_product = stored.range((sku.clone(), i64::MIN)..(sku.clone(), before.unwrap_or(i64::MAX)));
        Ok(of_product.rev().take(limit).map(|(_, (revision, _))| revision.clone()).collect())
    }

    async fn skus(&self) -> Result<Vec<Sku>, StoreDown> {
        let mut skus: Vec<Sku> = self.lock().keys().map(|(sku, _)| sku.clone()).collect();
        skus.dedup();
        Ok(skus)
    }
}

#[async_trait]
impl SchemaStore for MemoryProducts {
    async fn schemas(&self) -> Result<Vec<Schema>, StoreDown> {
        Ok(self.1.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn add_schema(&self, schema: &Schema, _: &Author) -> Result<Insertion, StoreDown> {
        let mut schemas = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &Schema| (known.family, known.version) == (schema.family, schema.version);
        if schemas.iter().any(same) {
            return Ok(Insertion::Taken);
        }
        schemas.push(schema.clone());
        Ok(Insertion::Written)
    }
}
