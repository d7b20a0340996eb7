//! Products in memory, for tests of use cases. The store passes the same suite as the real one; the other ports do the
//! least that is right: an index in which nothing is found, a cache that keeps nothing, nobody with interests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use common::Sku;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use uuid::Uuid;

use crate::domain::cursor::CursorSeal;
use crate::domain::product::{CategoryPath, Revision};
use crate::domain::ranking::Interests;
use crate::usecases::ports::products::{
    Applied, Completion, Found, Hit, IndexDown, Insertion, Page, ProductCache, ProductIndex, ProductPorts,
    ProductStore, Ratings, StoreDown, Total,
};

/// All ports in memory, empty.
pub fn ports() -> ProductPorts {
    ProductPorts {
        store: Arc::new(MemoryProducts::default()),
        index: Arc::new(EmptyIndex),
        cache: Arc::new(NoCache),
        ratings: Arc::new(NoRatings),
        cursors: CursorSeal::new(b"cursors of a test"),
    }
}

/// Product and number to the revision and whether it was published.
type Revisions = BTreeMap<(Sku, i64), (Revision, bool)>;

#[derive(Default)]
pub struct MemoryProducts(Mutex<Revisions>);

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

    async fn insert(&self, revisions: &[Revision]) -> Result<Vec<Insertion>, StoreDown> {
        let mut stored = self.lock();
        let insert = |revision: &Revision| match stored.entry((revision.sku().clone(), revision.number)) {
            std::collections::btree_map::Entry::Occupied(_) => Insertion::Taken,
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert((revision.clone(), false));
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

    async fn all(&self) -> Result<BoxStream<'static, Result<Revision, StoreDown>>, StoreDown> {
        let revisions: Vec<_> = self.lock().values().map(|(revision, _)| Ok(revision.clone())).collect();
        Ok(stream::iter(revisions).boxed())
    }
}

pub struct EmptyIndex;

#[async_trait]
impl ProductIndex for EmptyIndex {
    async fn apply(&self, revisions: &[Revision]) -> Result<Applied, IndexDown> {
        Ok(Applied { written: revisions.len(), ..Applied::default() })
    }

    async fn search(&self, _page: Page<'_>) -> Result<Found, IndexDown> {
        Ok(Found { hits: Vec::new(), facets: Vec::new(), total: Total { value: 0, exact: true }, corrected: None })
    }

    async fn list(
        &self,
        _category: Option<&CategoryPath>,
        _after: Option<&Sku>,
        _size: usize,
        _language: &str,
    ) -> Result<Vec<Hit>, IndexDown> {
        Ok(Vec::new())
    }

    async fn interesting(
        &self,
        _category: Option<&CategoryPath>,
        _interests: &Interests,
        _size: usize,
        _language: &str,
    ) -> Result<Vec<Hit>, IndexDown> {
        Ok(Vec::new())
    }

    async fn categories(&self) -> Result<Vec<(String, u64)>, IndexDown> {
        Ok(Vec::new())
    }

    async fn completions(&self, _text: &str, _language: &str) -> Result<Vec<Completion>, IndexDown> {
        Ok(Vec::new())
    }
}

pub struct NoCache;

#[async_trait]
impl ProductCache for NoCache {
    async fn newest(&self, sku: &Sku, store: &Arc<dyn ProductStore>) -> Result<Option<Arc<Revision>>, StoreDown> {
        Ok(store.newest(sku).await?.map(Arc::new))
    }

    async fn forget(&self, _skus: &[Sku]) {}
}

pub struct NoRatings;

#[async_trait]
impl Ratings for NoRatings {
    async fn interests(&self, _subject: Uuid) -> Option<Interests> {
        None
    }
}
