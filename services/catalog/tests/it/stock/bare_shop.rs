//! A shop without search, cache or ratings: what stories about stock need of the product half.

use std::sync::Arc;

use async_trait::async_trait;
use catalog::domain::cursor::CursorSeal;
use catalog::domain::product::{CategoryPath, Revision};
use catalog::domain::ranking::Interests;
use catalog::outbound::memory_products::MemoryProducts;
use catalog::outbound::memory_promotions::MemoryPromotions;
use catalog::outbound::pictures::PictureFolder;
use catalog::usecases::families::Families;
use catalog::usecases::ports::products::{
    Applied, Completion, Found, Hit, IndexDown, Page, ProductCache, ProductIndex, ProductPorts, ProductStore, Ratings,
    StoreDown,
};
use catalog::usecases::promotions::Promotions;
use common::Sku;
use contracts::interest::Subject;

struct Nothing;

pub fn ports(store: Arc<MemoryProducts>) -> ProductPorts {
    let cursors = CursorSeal::new(b"a secret of the tests");
    let promotions = Arc::new(Promotions::new(Arc::new(MemoryPromotions::default())));
    ProductPorts {
        families: Families::new(store.clone()),
        store,
        index: Arc::new(Nothing),
        cache: Arc::new(Nothing),
        ratings: Arc::new(Nothing),
        pictures: Arc::new(PictureFolder::new("no-pictures".into())),
        promotions,
        cursors,
    }
}

fn absent<T>() -> Result<T, IndexDown> {
    Err(IndexDown("there is no index in this shop".to_owned()))
}

#[async_trait]
impl ProductIndex for Nothing {
    async fn apply(&self, _: &[Revision]) -> Result<Applied, IndexDown> {
        absent()
    }

    async fn search(&self, _: Page<'_>) -> Result<Found, IndexDown> {
        absent()
    }

    async fn list(&self, _: Option<&CategoryPath>, _: Option<&Sku>, _: usize, _: &str) -> Result<Vec<Hit>, IndexDown> {
        absent()
    }

    async fn interesting(
        &self,
        _: Option<&CategoryPath>,
        _: &Interests,
        _: usize,
        _: &str,
    ) -> Result<Vec<Hit>, IndexDown> {
        absent()
    }

    async fn categories(&self) -> Result<Vec<(String, u64)>, IndexDown> {
        absent()
    }

    async fn completions(&self, _: &str, _: &str) -> Result<Vec<Completion>, IndexDown> {
        absent()
    }
}

#[async_trait]
impl ProductCache for Nothing {
    async fn newest(&self, sku: &Sku, store: &Arc<dyn ProductStore>) -> Result<Option<Arc<Revision>>, StoreDown> {
        Ok(store.newest(sku).await?.map(Arc::new))
    }

    async fn forget(&self, _: &[Sku]) {}
}

#[async_trait]
impl Ratings for Nothing {
    async fn interests(&self, _: Subject) -> Option<Interests> {
        None
    }
}
