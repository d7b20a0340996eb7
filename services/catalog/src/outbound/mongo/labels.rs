//! Changes of names in MongoDB: inserts under a unique key, reads by equality of one text. No range and no sort, so that a stand-in
//! answers as quickly. No page waits for any of it, so a reading may take as long as a batch.

use async_trait::async_trait;
use futures::TryStreamExt as _;
use mongodb::Collection;
use mongodb::bson::doc;

use super::{MongoProducts, down, schema, taken};
use crate::domain::labels::LabelRevision;
use crate::outbound::label_document::{LabelDocument, place};
use crate::usecases::ports::labels::LabelStore;
use crate::usecases::ports::products::{Insertion, StoreDown};

/// The collection of changes of names.
#[derive(Clone)]
pub struct MongoLabels {
    changes: Collection<LabelDocument>,
    /// Whose connections and breakers these are too.
    products: MongoProducts,
}

impl MongoLabels {
    /// In the same database.
    pub fn beside(products: &MongoProducts) -> Self {
        let database = products.revisions.client().database(&products.revisions.namespace().db);
        Self { changes: database.collection(schema::LABELS), products: products.clone() }
    }
}

#[async_trait]
impl LabelStore for MongoLabels {
    async fn change(&self, number: i64) -> Result<Option<LabelRevision>, StoreDown> {
        let find = || async { self.changes.find_one(doc! {"place": place(number)}).await };
        self.products.batches.call(find).await.map_err(down)?.map(revision).transpose()
    }

    async fn insert(&self, change: &LabelRevision) -> Result<Insertion, StoreDown> {
        let document = LabelDocument::from(change);
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

    async fn all(&self) -> Result<Vec<LabelRevision>, StoreDown> {
        let find = || async { self.changes.find(doc! {}).batch_size(500).await?.try_collect::<Vec<_>>().await };
        let documents = self.products.batches.call(find).await.map_err(down)?;
        let mut changes = documents.into_iter().map(revision).collect::<Result<Vec<_>, _>>()?;
        changes.sort_by_key(|change| change.number);
        Ok(changes)
    }
}

fn revision(document: LabelDocument) -> Result<LabelRevision, StoreDown> {
    LabelRevision::try_from(document).map_err(|error| StoreDown(error.to_string()))
}
