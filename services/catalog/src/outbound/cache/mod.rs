//! Newest revisions in Redis, and the most wanted ones for a moment in this process.
//!
//! How old can a revision be? At most the sum of both times to live, and usually a second: whoever changes or indexes a product
//! deletes it from Redis, and then tells those in this process who made something of it. A reader that loaded just before the
//! change does not put the old one back: whoever asks the store takes a lease in Redis first, which a change deletes too, and
//! without its lease nobody shares. Of several who ask at once the last one shares. While another release runs that knows no
//! leases, the time to live ends what it puts back, and pages know the least number they may be made of.
//! The order never reads from here. When Redis is away or slow, the store is asked.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use chassis::redis_client::RedisClient;
use chassis::resilience::{Guard, GuardSettings};
use common::{Region, Sku, ids};
use moka::future::Cache;
use redis::AsyncCommands as _;

use super::document::RevisionDocument;
use crate::domain::product::Revision;
use crate::usecases::ports::pages::Forgets;
use crate::usecases::ports::products::{ProductCache, ProductStore, StoreDown};

/// Longest a page waits for the cache: the store answers in a few milliseconds too.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long a lease lives, in seconds: longer than the store may take for one product.
const LEASE_S: u64 = 5;
/// Shares what was read under a lease, if nobody deleted or took it meanwhile.
const SHARE: &str = "
    if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
    redis.call('DEL', KEYS[2])
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
    return 1";

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
    redis: RedisClient,
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
    pub fn new(redis: RedisClient, region: Region, settings: CacheSettings) -> Self {
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
        let lease = self.lease(sku).await;
        let revision = store.newest(sku).await?.ok_or(Miss::Absent)?;
        if let Some(lease) = lease {
            self.share(&revision, &lease).await;
        }
        Ok(Arc::new(revision))
    }

    /// Beside the revision, in the same slot of a cluster.
    fn lease_key(&self, sku: &Sku) -> String {
        format!("{{{}}}:lease", self.key(sku))
    }

    /// Taken before the store is asked. `None`: Redis is away or slow, and what is read is not shared.
    async fn lease(&self, sku: &Sku) -> Option<String> {
        let (key, lease) = (self.lease_key(sku), ids::random().simple().to_string());
        let take = || async { self.redis.clone().set_ex::<_, _, ()>(&key, lease.as_str(), LEASE_S).await };
        self.guard.call(take).await.ok()?;
        Some(lease)
    }

    async fn shared_copy(&self, sku: &Sku) -> Option<Revision> {
        let key = self.key(sku);
        let bytes: Option<Vec<u8>> = self.guard.call(|| async { self.redis.clone().get(&key).await }).await.ok()?;
        let document: RevisionDocument = serde_json::from_slice(&bytes?).ok()?;
        // A wrong value under our key is as good as none.
        Revision::try_from(document).ok().filter(|revision| revision.sku() == sku)
    }

    async fn share(&self, revision: &Revision, lease: &str) {
        let Ok(bytes) = serde_json::to_vec(&RevisionDocument::from(revision)) else { return };
        let (key, lease_key) = (self.key(revision.sku()), self.lease_key(revision.sku()));
        let mut share = redis::cmd("EVAL");
        share.arg(SHARE).arg(2).arg(key).arg(lease_key).arg(lease).arg(bytes).arg(self.shared.as_secs().max(1));
        // Failing costs the next reader a question to the store, nothing more.
        let _: Result<(), _> =
            self.guard.call(|| async { share.query_async::<()>(&mut self.redis.clone()).await }).await;
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
            pipeline.del(self.lease_key(sku)).ignore();
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
