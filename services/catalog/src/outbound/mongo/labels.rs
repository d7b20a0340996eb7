//! Changes of names in MongoDB: inserts under a unique key, reads by equality of one text. No range and no sort, so that a stand-in
//! answers as quickly. No page waits for any of it, so a reading may take as long as a batch.

use async_trait::async_trait;
use futures::TryStreamExt as _;
use mongodb::Collection;
use mongodb::bson::{RawDocumentBuf, deserialize_from_slice, doc};

use super::{MongoProducts, down, schema, taken};
use crate::domain::labels::LabelRevision;
use crate::outbound::label_document::{Inconsistent, LabelDocument, place};
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

    /// The same changes as they lie there.
    fn documents(&self) -> Collection<RawDocumentBuf> {
        self.changes.clone_with_type()
    }
}

#[async_trait]
impl LabelStore for MongoLabels {
    async fn change(&self, number: i64) -> Result<Option<LabelRevision>, StoreDown> {
        let find = || async { self.documents().find_one(doc! {"place": place(number)}).await };
        let document = self.products.batches.call(find).await.map_err(down)?;
        Ok(document.map(|document| revision(&document, number)))
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
        let find = || async { self.documents().find(doc! {}).batch_size(500).await?.try_collect::<Vec<_>>().await };
        let documents = self.products.batches.call(find).await.map_err(down)?;
        // What has no number is no change: whoever looks for one by its place finds what there is.
        let numbered = documents.iter().filter_map(|document| Some((document, number_of(document)?)));
        let mut changes: Vec<LabelRevision> = numbered.map(|(document, number)| revision(document, number)).collect();
        changes.sort_by_key(|change| change.number);
        Ok(changes)
    }
}

/// The change with this number. One that cannot be read (a newer release wrote it before a roll-back, or somebody by hand) must not take
/// away the names of everything else, so it counts and names nothing.
fn revision(document: &RawDocumentBuf, number: i64) -> LabelRevision {
    // What the decoder has to say quotes the document.
    let read = deserialize_from_slice::<LabelDocument>(document.as_bytes()).map_err(|_| Inconsistent::shape(number));
    match read.and_then(LabelRevision::try_from) {
        Ok(change) if change.number == number => change,
        outcome => {
            let error = outcome.err().unwrap_or_else(|| Inconsistent::shape(number));
            tracing::error!(label.revision = number, %error, "a change of names cannot be read and is passed over");
            LabelRevision::unreadable(number)
        }
    }
}

fn number_of(document: &RawDocumentBuf) -> Option<i64> {
    document.get_document("_id").ok()?.get_i64("number").ok()
}
