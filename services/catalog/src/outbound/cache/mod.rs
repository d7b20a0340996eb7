//! Newest revisions in Redis, and the most wanted ones for a moment in this process.
//!
//! How old can a revision be? At most the sum of both times to live, and usually a second: whoever changes or indexes a product
//! deletes it from Redis, and then tells those in this process who made something of it. A reader that loaded just before the
//! change may put the old one back; the time to live ends that, and pages know the least number they may be made of.
//! The order never reads from here. When Redis is away or slow, the store is asked.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use chassis::resilience::{Guard, GuardSettings};
use common::{Region, Sku};
use moka::future::Cache;
use redis::AsyncCommands as _;
use redis::aio::ConnectionManager;

use super::document::RevisionDocument;
use crate::domain::product::Revision;
use crate::usecases::ports::pages::Forgets;
use crate::usecases::ports::products::{ProductCache, ProductStore, StoreDown};

/// Longest a page waits for the cache: the store answers in a few milliseconds too.
const PATIENCE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug)]
pub struct CacheSettings {
    /// Time to live in Redis.
    pub shared: Duration,
    /// Time to live in this process.
    pub local: Duration,
    /// Products kept in this process: a few kilobytes each.
    pub local_entries: u64,
}

pub struct RedisCache {
    redis: ConnectionManager,
    guard: Guard,
    region: Region,
    shared: Duration,
    local: Cache<Sku, Arc<Revision>>,
    /// Those in this process who keep what was made of revisions: one for each router.
    listeners: RwLock<Vec<Weak<dyn Forgets>>>,
}

/// Why a look-up gave nothing to keep.
#[derive(Debug, thiserror::Error)]
enum Miss {
    #[error("there is no such product")]
    Absent,
    #[error(transparent)]
    Down(#[from] StoreDown),
}

impl RedisCache {
    pub fn new(redis: ConnectionManager, region: Region, settings: CacheSettings) -> Self {
        Self {
            redis,
            guard: Guard::new(
                "redis-cache",
                GuardSettings { deadline: PATIENCE, max_tries: 1, ..GuardSettings::default() },
            ),
            region,
            shared: settings.shared,
            local: Cache::builder().max_capacity(settings.local_entries).time_to_live(settings.local).build(),
            listeners: RwLock::default(),
        }
    }

    /// The region is in the key: what is cached for one never answers in another. The number is the layout's version.
    fn key(&self, sku: &Sku) -> String {
        format!("catalog:product:1:{}:{sku}", self.region)
    }

    async fn load(&self, sku: &Sku, store: &Arc<dyn ProductStore>) -> Result<Arc<Revision>, Miss> {
        if let Some(revision) = self.shared_copy(sku).await {
            return Ok(Arc::new(revision));
        }
        let revision = store.newest(sku).await?.ok_or(Miss::Absent)?;
        self.share(&revision).await;
        Ok(Arc::new(revision))
    }

    async fn shared_copy(&self, sku: &Sku) -> Option<Revision> {
        let key = self.key(sku);
        let bytes: Option<Vec<u8>> = self.guard.call(|| async { self.redis.clone().get(&key).await }).await.ok()?;
        let document: RevisionDocument = serde_json::from_slice(&bytes?).ok()?;
        // A wrong value under our key is as good as none.
        Revision::try_from(document).ok().filter(|revision| revision.sku() == sku)
    }

    async fn share(&self, revision: &Revision) {
        let Ok(bytes) = serde_json::to_vec(&RevisionDocument::from(revision)) else { return };
        let (key, seconds) = (self.key(revision.sku()), self.shared.as_secs().max(1));
        // Failing costs the next reader a question to the store, nothing more.
        let _: Result<(), _> =
            self.guard.call(|| async { self.redis.clone().set_ex(&key, bytes.as_slice(), seconds).await }).await;
    }
}

#[async_trait]
impl ProductCache for RedisCache {
    #[tracing::instrument(name = "cache.product", skip_all)]
    async fn newest(&self, sku: &Sku, store: &Arc<dyn ProductStore>) -> Result<Option<Arc<Revision>>, StoreDown> {
        match self.local.try_get_with_by_ref(sku, self.load(sku, store)).await {
            Ok(revision) => Ok(Some(revision)),
            Err(miss) => match &*miss {
                Miss::Absent => Ok(None),
                Miss::Down(error) => Err(error.clone()),
            },
        }
    }

    async fn forget(&self, skus: &[Sku]) {
        if skus.is_empty() {
            return;
        }
        for sku in skus {
            self.local.invalidate(sku).await;
        }
        let mut pipeline = redis::pipe();
        for sku in skus {
            pipeline.del(self.key(sku)).ignore();
        }
        let _: Result<(), _> =
            self.guard.call(|| async { pipeline.query_async::<()>(&mut self.redis.clone()).await }).await;
        // Last: whoever makes it anew must not find the old one in Redis.
        let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().filter_map(Weak::upgrade).for_each(|listener| listener.forget(skus));
    }

    fn tell(&self, listener: Weak<dyn Forgets>) {
        let mut listeners = self.listeners.write().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(listener);
    }
}
