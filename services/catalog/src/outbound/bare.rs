//! A shop without search, cache, ratings, or anybody to ask about an order: what stock, simulations and benchmarks need of the
//! rest. Everything that can be absent is absent in the way its port allows. Not decided here: what the shop does about it.

use std::sync::Arc;

use async_trait::async_trait;
use common::{OrderId, Sku};
use contracts::interest::Subject;

use super::audit::Notes;
use super::memory_labels::MemoryLabels;
use super::memory_products::MemoryProducts;
use super::memory_promotions::MemoryPromotions;
use super::pictures::PictureFolder;
use crate::domain::cursor::CursorSeal;
use crate::domain::product::{CategoryPath, Revision};
use crate::domain::ranking::Interests;
use crate::usecases::families::Families;
use crate::usecases::labels::Labels;
use crate::usecases::ports::orders::{OrderState, Orders, OrdersDown};
use crate::usecases::ports::products::{
    Applied, Completion, Found, Hit, IndexDown, Page, ProductCache, ProductIndex, ProductPorts, ProductStore, Ratings,
    StoreDown,
};
use crate::usecases::promotions::Promotions;
use crate::usecases::stand_in::StandIn;

/// Whoever is not there.
pub struct Absent;

/// The products of `store`, and nothing around them.
pub fn products(store: Arc<MemoryProducts>) -> ProductPorts {
    ProductPorts {
        families: Families::new(store.clone()),
        store,
        index: Arc::new(Absent),
        stand_in: Arc::new(StandIn::nobody()),
        cache: Arc::new(Absent),
        ratings: Arc::new(Absent),
        pictures: Arc::new(PictureFolder::new("no-pictures".into())),
        promotions: Arc::new(Promotions::new(Arc::new(MemoryPromotions::default()))),
        labels: Arc::new(Labels::new(Arc::new(MemoryLabels::default()))),
        cursors: CursorSeal::new(b"a seal that nobody keeps"),
        audit: Arc::new(Notes::default()),
    }
}

fn absent<T>() -> Result<T, IndexDown> {
    Err(IndexDown("there is no index in this shop".to_owned()))
}

#[async_trait]
impl ProductIndex for Absent {
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
impl ProductCache for Absent {
    async fn newest(&self, sku: &Sku, store: &Arc<dyn ProductStore>) -> Result<Option<Arc<Revision>>, StoreDown> {
        Ok(store.newest(sku).await?.map(Arc::new))
    }

    async fn forget(&self, _: &[Sku]) {}
}

#[async_trait]
impl Ratings for Absent {
    async fn interests(&self, _: Subject) -> Option<Interests> {
        None
    }
}

#[async_trait]
impl Orders for Absent {
    async fn states(&self, _: &[OrderId]) -> Result<Vec<OrderState>, OrdersDown> {
        Err(OrdersDown("nobody is asked in this shop".to_owned()))
    }
}
