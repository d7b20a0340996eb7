//! Promotion changes in MongoDB: inserts under a unique key, reads by equality of one text. No range and no sort, so that a
//! stand-in answers as quickly.

use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use mongodb::Collection;
use mongodb::bson::doc;
use tokio::sync::Semaphore;

use super::{LOOKS, MongoProducts, down, schema, taken};
use crate::domain::promotion::PromotionRevision;
use crate::outbound::promotion_document::{PromotionDocument, place};
use crate::usecases::ports::products::{Insertion, StoreDown};
use crate::usecases::ports::promotions::PromotionStore;

/// The collection of promotion changes.
#[derive(Clone)]
pub struct MongoPromotions {
    changes: Collection<PromotionDocument>,
    /// Whose connections and breakers these are too.
    products: MongoProducts,
    turns: Arc<Semaphore>,
}

impl MongoPromotions {
    /// In the same database.
    pub fn beside(products: &MongoProducts) -> Self {
        let database = products.revisions.client().database(&products.revisions.namespace().db);
        Self {
            changes: database.collection(schema::PROMOTIONS),
            products: products.clone(),
            turns: Arc::new(Semaphore::new(LOOKS)),
        }
    }
}

#[async_trait]
impl PromotionStore for MongoPromotions {
    async fn change(&self, number: i64) -> Result<Option<PromotionRevision>, StoreDown> {
        let find = || {
            let (changes, wanted) = (self.changes.clone(), doc! {"place": place(number)});
            MongoProducts::unbroken(&self.turns, async move { changes.find_one(wanted).await })
        };
        self.products.reads.call(find).await.map_err(down)?.map(revision).transpose()
    }

    async fn insert(&self, change: &PromotionRevision) -> Result<Insertion, StoreDown> {
        let document = PromotionDocument::from(change);
        // Never repeated by itself: a repeated insert would meet its own first try and report it as somebody else's.
        let insert = || async {
            match self.changes.insert_many([&document]).ordered(false).await {
                Ok(_) => Ok(false),
                Err(error) => taken(error).map(|places| !places.is_empty()),
            }
        };
        let taken = self.products.batches.once_if(insert, |_| true).await.map_err(down)?;
        Ok(if taken { Insertion::Taken } else { Insertion::Written })
    }

    async fn all(&self) -> Result<Vec<PromotionRevision>, StoreDown> {
        let find = || async { self.changes.find(doc! {}).batch_size(500).await?.try_collect::<Vec<_>>().await };
        let documents = self.products.batches.call(find).await.map_err(down)?;
        let mut changes = documents.into_iter().map(revision).collect::<Result<Vec<_>, _>>()?;
        changes.sort_by_key(|change| change.number);
        Ok(changes)
    }
}

fn revision(document: PromotionDocument) -> Result<PromotionRevision, StoreDown> {
    PromotionRevision::try_from(document).map_err(|error| StoreDown(error.to_string()))
}
