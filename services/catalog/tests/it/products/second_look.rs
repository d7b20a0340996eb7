//! The audit of the index while the shop goes on: what changes between its two readings is no drift, and stays.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use catalog::domain::product::Revision;
use catalog::inbound::index_watch::look;
use catalog::outbound::memory_products::MemoryProducts;
use catalog::usecases::audit_index::Drift;
use catalog::usecases::ports::products::{
    Applied, Difference, IndexAudit, IndexDown, Insertion, ProductStore, Seen, StoreDown,
};
use common::{SharedClock, Sku, SystemClock};

use super::world::{draft, live};

/// Version and place of the document of each product. What it says is not looked at here, only whether its level is the right one.
#[derive(Default)]
struct Index {
    documents: Mutex<BTreeMap<Sku, (i64, i64)>>,
    /// Comparisons that still find a level wrong.
    wrong_levels: Mutex<usize>,
}

impl Index {
    fn write(&self, revision: &Revision) {
        let mut documents = self.documents.lock().unwrap();
        let document = documents.entry(revision.sku().clone()).or_insert((0, 0));
        *document = (document.0.max(revision.number), document.1 + 1);
    }

    fn version(&self, sku: &Sku) -> Option<i64> {
        self.documents.lock().unwrap().get(sku).map(|(version, _)| *version)
    }
}

fn as_seen((sku, (version, place)): (&Sku, &(i64, i64))) -> Seen {
    Seen { sku: sku.clone(), version: *version, place: *place, term: 1 }
}

#[async_trait]
impl IndexAudit for Index {
    async fn seen(&self, skus: &[Sku]) -> Result<Vec<Seen>, IndexDown> {
        let documents = self.documents.lock().unwrap();
        Ok(documents.iter().filter(|(sku, _)| skus.contains(sku)).map(as_seen).collect())
    }

    async fn differences(&self, newest: &[Revision]) -> Result<HashMap<Sku, Difference>, IndexDown> {
        let mut wrong = self.wrong_levels.lock().unwrap();
        let is_wrong = *wrong > 0;
        *wrong = wrong.saturating_sub(1);
        let difference = |revision: &Revision| match self.version(revision.sku()) {
            None => Some(Difference::Missing),
            Some(version) if version < revision.number => Some(Difference::Behind),
            Some(version) if version > revision.number => Some(Difference::Ahead),
            Some(_) => is_wrong.then_some(Difference::Content),
        };
        Ok(newest.iter().filter_map(|own| Some((own.sku().clone(), difference(own)?))).collect())
    }

    async fn restore(&self, revisions: &[Revision]) -> Result<Applied, IndexDown> {
        revisions.iter().for_each(|revision| self.write(revision));
        Ok(Applied { written: revisions.len(), ..Applied::default() })
    }

    async fn seen_after(&self, after: Option<&Sku>, size: usize) -> Result<Vec<Seen>, IndexDown> {
        let documents = self.documents.lock().unwrap();
        let behind = documents.iter().filter(|(sku, _)| after.is_none_or(|after| *sku > after));
        Ok(behind.take(size).map(as_seen).collect())
    }

    async fn remove(&self, seen: &[Seen]) -> Result<usize, IndexDown> {
        let mut documents = self.documents.lock().unwrap();
        let before = documents.len();
        documents.retain(|sku, (_, place)| !seen.iter().any(|seen| seen.sku == *sku && seen.place == *place));
        Ok(before - documents.len())
    }
}

/// A store in which the product is changed right after each reading of it, and the change is in the index at once.
struct Busy {
    store: MemoryProducts,
    index: Arc<Index>,
    goes_on: bool,
}

impl Busy {
    async fn with(goes_on: bool) -> (Self, Sku) {
        let busy = Self { store: MemoryProducts::default(), index: Arc::default(), goes_on };
        let first = live(draft("A"), 1);
        busy.change(&first).await.unwrap();
        (busy, first.sku().clone())
    }

    async fn change(&self, revision: &Revision) -> Result<(), StoreDown> {
        self.store.insert(std::slice::from_ref(revision)).await?;
        self.index.write(revision);
        Ok(())
    }

    async fn audit(&self) -> Drift {
        let clock: SharedClock = Arc::new(SystemClock);
        look(self, &*self.index, &clock, Duration::ZERO).await.unwrap()
    }
}

#[async_trait]
impl ProductStore for Busy {
    async fn newest(&self, sku: &Sku) -> Result<Option<Revision>, StoreDown> {
        self.store.newest(sku).await
    }

    async fn newest_many(&self, skus: &[Sku]) -> Result<Vec<Revision>, StoreDown> {
        self.store.newest_many(skus).await
    }

    async fn newest_readable(&self, skus: &[Sku]) -> Result<Vec<Revision>, StoreDown> {
        let read = self.store.newest_readable(skus).await?;
        for revision in read.iter().filter(|_| self.goes_on) {
            self.change(&Revision { number: revision.number + 1, ..revision.clone() }).await?;
        }
        Ok(read)
    }

    async fn insert(&self, revisions: &[Revision]) -> Result<Vec<Insertion>, StoreDown> {
        self.store.insert(revisions).await
    }

    async fn unpublished(&self, limit: usize) -> Result<Vec<Revision>, StoreDown> {
        self.store.unpublished(limit).await
    }

    async fn mark_published(&self, revisions: &[Revision]) -> Result<(), StoreDown> {
        self.store.mark_published(revisions).await
    }

    async fn history(&self, sku: &Sku, before: Option<i64>, limit: usize) -> Result<Vec<Revision>, StoreDown> {
        self.store.history(sku, before, limit).await
    }

    async fn skus(&self) -> Result<Vec<Sku>, StoreDown> {
        self.store.skus().await
    }
}

#[tokio::test]
async fn a_change_that_comes_between_the_readings_is_no_drift_and_is_not_taken_away() {
    let (busy, sku) = Busy::with(true).await;
    let drift = busy.audit().await;
    assert_eq!((drift.total(), drift.repaired, drift.under_way), (0, 0, 1), "{drift:?}");
    let newest = busy.store.newest(&sku).await.unwrap().unwrap().number;
    assert!(newest > 2, "it changed at each reading");
    assert_eq!(busy.index.version(&sku), Some(newest), "the product is still found");
}

#[tokio::test]
async fn what_is_ahead_at_both_looks_is_taken_away() {
    let (busy, sku) = Busy::with(false).await;
    busy.index.write(&live(draft("A"), 7));
    let drift = busy.audit().await;
    assert_eq!((drift.found, drift.repaired), (BTreeMap::from([("ahead", 1)]), 1));
    assert_eq!(busy.index.version(&sku), None);
    let drift = busy.audit().await;
    assert_eq!((drift.found, drift.repaired), (BTreeMap::from([("missing", 1)]), 1));
    assert_eq!(busy.index.version(&sku), Some(1));
}

#[tokio::test]
async fn a_level_that_moved_a_moment_ago_is_no_drift_and_one_that_stays_wrong_is() {
    let (busy, _) = Busy::with(false).await;
    *busy.index.wrong_levels.lock().unwrap() = 1;
    assert_eq!(busy.audit().await.total(), 0, "at the second look it is right");
    *busy.index.wrong_levels.lock().unwrap() = 2;
    let drift = busy.audit().await;
    assert_eq!((drift.found, drift.repaired), (BTreeMap::from([("content", 1)]), 1));
}

#[tokio::test]
async fn a_product_of_many_revisions_is_compared_once() {
    let (busy, _) = Busy::with(false).await;
    for number in 2..=1_200 {
        busy.change(&live(draft("A"), number)).await.unwrap();
    }
    let drift = busy.audit().await;
    assert_eq!((drift.compared, drift.total()), (1, 0), "it has one name");
}
