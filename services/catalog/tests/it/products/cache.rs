//! The cache saves the store work and never an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use catalog::domain::product::Revision;
use catalog::outbound::cache::{CacheSettings, RedisCache};
use catalog::usecases::ports::products::{Insertion, ProductCache as _, ProductStore, StoreDown};
use common::{Region, Sku};
use futures::future::join_all;
use redis::AsyncCommands as _;
use testkit::servers;

use super::world::{draft, live, redis_at, unique};

/// Knows one product, counts how often it is asked, and may be down.
#[derive(Default)]
struct Counting {
    product: Option<Revision>,
    asked: AtomicUsize,
    /// Another process, in which the product is changed just after it was read here.
    overtaken_in: Option<RedisCache>,
}

#[async_trait]
impl ProductStore for Counting {
    async fn newest(&self, sku: &Sku) -> Result<Option<Revision>, StoreDown> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Some(other) = &self.overtaken_in {
            other.forget(std::slice::from_ref(sku)).await;
        }
        match &self.product {
            Some(product) => Ok(Some(product.clone())),
            None => Err(StoreDown("down for a test".to_owned())),
        }
    }

    async fn newest_many(&self, _: &[Sku]) -> Result<Vec<Revision>, StoreDown> {
        Ok(Vec::new())
    }

    async fn newest_readable(&self, _: &[Sku]) -> Result<Vec<Revision>, StoreDown> {
        Ok(Vec::new())
    }

    async fn insert(&self, _: &[Revision]) -> Result<Vec<Insertion>, StoreDown> {
        Ok(Vec::new())
    }

    async fn unpublished(&self, _: usize) -> Result<Vec<Revision>, StoreDown> {
        Ok(Vec::new())
    }

    async fn mark_published(&self, _: &[Revision]) -> Result<(), StoreDown> {
        Ok(())
    }

    async fn history(&self, _: &Sku, _: Option<i64>, _: usize) -> Result<Vec<Revision>, StoreDown> {
        Ok(Vec::new())
    }

    async fn skus(&self) -> Result<Vec<Sku>, StoreDown> {
        Err(StoreDown("not needed".to_owned()))
    }
}

fn cache() -> RedisCache {
    let settings = CacheSettings { shared: Duration::from_secs(20), local: Duration::from_secs(20), local_entries: 10 };
    RedisCache::new(redis_at(&servers().redis_url), Region::Eu, settings)
}

#[tokio::test]
async fn a_rush_on_one_product_asks_the_store_once() {
    let name = unique();
    let counting = Arc::new(Counting { product: Some(live(draft(&name), 1)), ..Counting::default() });
    let store: Arc<dyn ProductStore> = counting.clone();
    let (sku, cache) = (Sku::parse(&name).unwrap(), cache());
    let answers = join_all((0..50).map(|_| cache.newest(&sku, &store))).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().is_some_and(|revision| revision.number == 1)));
    assert_eq!(counting.asked.load(Ordering::SeqCst), 1);
    cache.forget(std::slice::from_ref(&sku)).await;
    cache.newest(&sku, &store).await.unwrap();
    assert_eq!(counting.asked.load(Ordering::SeqCst), 2, "what was forgotten is asked for again");
}

#[tokio::test]
async fn another_process_finds_what_one_has_loaded_even_while_the_store_is_down() {
    let name = unique();
    let (sku, written) = (Sku::parse(&name).unwrap(), live(draft(&name), 3));
    let up: Arc<dyn ProductStore> = Arc::new(Counting { product: Some(written.clone()), ..Counting::default() });
    let down: Arc<dyn ProductStore> = Arc::new(Counting::default());
    assert!(cache().newest(&sku, &down).await.is_err());
    testkit::wait::until("the shared copy", Duration::from_secs(5), async || {
        cache().newest(&sku, &up).await.map_err(|error| error.to_string())?;
        match cache().newest(&sku, &down).await {
            Ok(Some(found)) if *found == written => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_loaded_before_a_change_does_not_put_the_old_revision_back() {
    // Redis may be slower than our patience: then the change deletes nothing, and another product is tried.
    testkit::wait::until("a change that everybody sees", Duration::from_secs(10), async || {
        let name = unique();
        let sku = Sku::parse(&name).map_err(|error| error.to_string())?;
        let of = |number: i64, overtaken_in: Option<RedisCache>| -> Arc<dyn ProductStore> {
            Arc::new(Counting { product: Some(live(draft(&name), number)), overtaken_in, ..Counting::default() })
        };
        let late = cache().newest(&sku, &of(1, Some(cache()))).await.map_err(|error| error.to_string())?;
        assert_eq!(late.map(|revision| revision.number), Some(1), "it was read before the change");
        match cache().newest(&sku, &of(2, None)).await {
            Ok(Some(found)) if found.number == 2 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_value_under_our_key_is_as_good_as_none() {
    let name = unique();
    let store: Arc<dyn ProductStore> =
        Arc::new(Counting { product: Some(live(draft(&name), 1)), ..Counting::default() });
    let mut redis = redis_at(&servers().redis_url);
    redis.set_ex::<_, _, ()>(format!("catalog:product:1:eu:{name}"), "{\"sku\":1}", 20).await.unwrap();
    let found = cache().newest(&Sku::parse(&name).unwrap(), &store).await.unwrap();
    assert_eq!(found.map(|revision| revision.number), Some(1));
}
