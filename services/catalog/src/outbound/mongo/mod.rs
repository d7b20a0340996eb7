//! Product revisions in MongoDB. Only what is right on MongoDB, on a stand-in of it and after any failover is used: inserts
//! under a unique key, reads by equality, and one flag that a single writer sets. No counters, no conditional updates, no
//! aggregation, no transactions.
//!
//! Durability is asked for in every write and checked before the service starts: a majority has it on disk. Shapes of
//! queries suit FerretDB too, which can look up by equality of plain values only: nothing asks by `_id` (a document),
//! by `$in`, or by range.

mod ferretdb;
mod labels;
mod promotions;
mod reading;
mod schema;
mod schemas;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use chassis::lifecycle;
use chassis::problem::chain;
use chassis::resilience::{CallError, Guard, GuardSettings};
use common::Sku;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{
    Acknowledgment, ClientOptions, Hint, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection};
use tokio::sync::Semaphore;

use super::document::RevisionDocument;
use crate::domain::product::Revision;
use crate::usecases::ports::products::{Insertion, ProductStore, StoreDown};

pub use labels::MongoLabels;
pub use promotions::MongoPromotions;
use reading::Unreadable;
pub use schema::migrate;

/// Longest a quote or a list waits for all its products: fifty lines are seven rounds of `AT_ONCE`. Who asks for a quote waits a
/// second longer (`outbound/prices.rs` of order-payment), so that the reason arrives there.
pub const MANY_READS_DEADLINE: Duration = Duration::from_secs(3);
/// More products than a basket holds.
const MANY: usize = 100;
/// Longest a batch of writes, or the reading of one, takes.
const BATCH_DEADLINE: Duration = Duration::from_secs(20);
/// Products read within one [`BATCH_DEADLINE`] by whoever reads the whole shop: FerretDB sorts all revisions of each.
const FEW: usize = 50;
/// Bytes of unpublished revisions at which no more are read: the rest is read when these are told.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// Names of revisions that come at once, some fifty bytes each.
const NAMES: u32 = 10_000;
/// Questions asked at once on behalf of one caller: keeps the rest of the pool for others.
const AT_ONCE: usize = 8;
/// Reads under way at once; more wait here, for as long as their deadline lets them. Never in the driver's own queue, and never
/// given up while the driver has them: for each event of its pool it serves one waiting call, also one that was given up long
/// ago. After a crowd has given up, every later call would wait behind the dead until its own deadline, on an idle store.
const READS: usize = 16;
/// Looks for the next promotion under way at once, beside the [`READS`]: every quote waits for one, so none stands behind the
/// products of all baskets. A process has one at a time, and a second one when a change is being made.
const LOOKS: usize = 2;
/// Connections to the store. Pages read through the cache, so few are needed: all reads and looks, and the writer's [`AT_ONCE`].
const MAX_CONNECTIONS: u32 = 26;
const DUPLICATE_KEY: i32 = 11000;

/// The collection of revisions.
#[derive(Clone)]
pub struct MongoProducts {
    revisions: Collection<RevisionDocument>,
    reads: Guard,
    many_reads: Guard,
    batches: Guard,
    turns: Arc<Semaphore>,
    unreadable: Unreadable,
}

impl MongoProducts {
    /// Connects when first used. A page waits for its product for as long as `read_deadline`.
    ///
    /// # Errors
    /// The URL is not one, or it asks for less durability than a majority with journal, or for reads from anybody but the primary.
    pub async fn connect(url: &str, database: &str, read_deadline: Duration) -> anyhow::Result<Self> {
        let client = client(url).await?;
        Ok(Self {
            revisions: client.database(database).collection(schema::COLLECTION),
            reads: Guard::new("mongo", GuardSettings { deadline: read_deadline, ..GuardSettings::default() }),
            many_reads: Guard::new(
                "mongo-many",
                GuardSettings { deadline: MANY_READS_DEADLINE, ..GuardSettings::default() },
            ),
            batches: Guard::new(
                "mongo-batch",
                GuardSettings { deadline: BATCH_DEADLINE, max_tries: 1, ..GuardSettings::default() },
            ),
            turns: Arc::new(Semaphore::new(READS)),
            unreadable: Unreadable::new(),
        })
    }

    /// # Errors
    /// The store does not answer.
    pub async fn ping(&self) -> Result<(), StoreDown> {
        let ping = self.revisions.client().database("admin").run_command(doc! {"ping": 1}).await;
        ping.map(|_| ()).map_err(|error| StoreDown(chain(&error)))
    }

    /// Makes a call of the driver as soon as one of `turns` is free. The call goes on to its end when nobody waits for it any more.
    async fn unbroken<T>(
        turns: &Arc<Semaphore>,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
    {
        let turn = turns.clone().acquire_owned().await.map_err(Error::custom)?;
        let call = async move {
            let _turn = turn;
            tokio::time::timeout(BATCH_DEADLINE, call).await.unwrap_or_else(|late| Err(Error::custom(late)))
        };
        lifecycle::to_its_end(call).await.unwrap_or_else(|| Err(Error::custom("the process is stopping")))
    }

    /// The documents as they are: whether one can be read is no matter of whether the store answers, and of no guard.
    fn raw(&self) -> Collection<RawDocumentBuf> {
        self.revisions.clone_with_type()
    }

    async fn find_newest(&self, sku: &Sku) -> Result<Option<RawDocumentBuf>, Error> {
        let (documents, wanted) = (self.raw(), doc! {"sku": sku.as_str()});
        Self::unbroken(&self.turns, async move { documents.find_one(wanted).sort(doc! {"revision": -1}).await }).await
    }

    /// The newest documents of those of `skus` that have one.
    async fn find_all(&self, skus: Vec<Sku>) -> Result<Vec<RawDocumentBuf>, Error> {
        let finds = skus.into_iter().map(|sku| async move { self.find_newest(&sku).await });
        let found = stream::iter(finds).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
        Ok(found.into_iter().flatten().collect())
    }
}

/// A client that reads and writes through a majority.
async fn client(url: &str) -> anyhow::Result<Client> {
    let mut options = ClientOptions::parse(url).await.context("mongo.url")?;
    anyhow::ensure!(
        is_strong_enough(&options),
        "mongo.url weakens durability: w, journal, readConcernLevel and readPreference must be majority, true, majority, primary \
         or absent"
    );
    options.write_concern =
        Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(BATCH_DEADLINE).build());
    options.read_concern = Some(ReadConcern::majority());
    // A secondary may be behind: a quote would have a price that was changed already.
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.app_name = Some("shopsphere-catalog".to_owned());
    options.max_pool_size = Some(MAX_CONNECTIONS);
    // All at once, so that nobody waits in the driver's queue while the pool grows.
    options.max_connecting = Some(MAX_CONNECTIONS);
    options.connect_timeout = Some(Duration::from_secs(2));
    // Without a primary a read would wait half a minute; the page must know sooner.
    options.server_selection_timeout = Some(Duration::from_secs(2));
    Client::with_options(options).context("mongo.url")
}

/// What the URL itself asks for must not be less than what we set, else somebody believes in a setting that is not in force.
fn is_strong_enough(options: &ClientOptions) -> bool {
    let writes = options.write_concern.as_ref().is_none_or(|concern| {
        concern.w.as_ref().is_none_or(|w| *w == Acknowledgment::Majority) && concern.journal.unwrap_or(true)
    });
    let reads = options.read_concern.as_ref().is_none_or(|concern| *concern == ReadConcern::majority());
    let newest = options
        .selection_criteria
        .as_ref()
        .is_none_or(|criteria| matches!(criteria, SelectionCriteria::ReadPreference(ReadPreference::Primary)));
    writes && reads && newest && options.retry_writes.unwrap_or(true)
}

#[async_trait]
impl ProductStore for MongoProducts {
    async fn newest(&self, sku: &Sku) -> Result<Option<Revision>, StoreDown> {
        self.reads.call(|| self.find_newest(sku)).await.map_err(down)?.as_ref().map(revision).transpose()
    }

    /// One guarded call for all of them. A guard around each would starve itself: on probation it lets one call through
    /// and refuses its neighbours, whose failure would take the probe away before it has an outcome.
    async fn newest_many(&self, skus: &[Sku]) -> Result<Vec<Revision>, StoreDown> {
        let distinct: Vec<Sku> = skus.iter().cloned().collect::<HashSet<_>>().into_iter().collect();
        // An import asks for five times what a basket may hold; nobody is looking at a page meanwhile.
        let guard = if distinct.len() > MANY { &self.batches } else { &self.many_reads };
        let documents = guard.call(|| self.find_all(distinct.clone())).await.map_err(down)?;
        documents.iter().map(revision).collect()
    }

    async fn newest_readable(&self, skus: &[Sku]) -> Result<Vec<Revision>, StoreDown> {
        let mut newest = Vec::with_capacity(skus.len());
        for few in skus.chunks(FEW) {
            let documents = self.batches.call(|| self.find_all(few.to_vec())).await.map_err(down)?;
            newest.extend(documents.iter().filter_map(|document| self.unreadable.leave_out(document)));
        }
        Ok(newest)
    }

    async fn insert(&self, revisions: &[Revision]) -> Result<Vec<Insertion>, StoreDown> {
        let documents: Vec<RevisionDocument> = revisions.iter().map(RevisionDocument::from).collect();
        // Never repeated by itself: a repeated insert would meet its own first try and report it as somebody else's.
        let insert = || async {
            match self.revisions.insert_many(&documents).ordered(false).await {
                Ok(_) => Ok(HashSet::new()),
                Err(error) => taken(error),
            }
        };
        let taken = self.batches.once_if(insert, |_| true).await.map_err(down)?;
        let outcome = |place| if taken.contains(&place) { Insertion::Taken } else { Insertion::Written };
        Ok((0..revisions.len()).map(outcome).collect())
    }

    async fn unpublished(&self, limit: usize) -> Result<Vec<Revision>, StoreDown> {
        // What cannot be read waits for ever, and must not take the places of the others.
        let most = i64::try_from(limit.saturating_add(self.unreadable.count())).unwrap_or(i64::MAX);
        let find = || async {
            let mut waiting = self.raw().find(doc! {"published": false}).limit(most).await?;
            let (mut revisions, mut bytes) = (Vec::new(), 0);
            while revisions.len() < limit
                && bytes < MOST_BYTES
                && let Some(document) = waiting.try_next().await?
            {
                if let Some(revision) = self.unreadable.leave_out(&document) {
                    bytes += document.as_bytes().len();
                    revisions.push(revision);
                }
            }
            Ok::<_, Error>(revisions)
        };
        let mut revisions: Vec<Revision> = self.batches.call(find).await.map_err(down)?;
        revisions.sort_by(|one, other| (one.sku(), one.number).cmp(&(other.sku(), other.number)));
        Ok(revisions)
    }

    async fn mark_published(&self, revisions: &[Revision]) -> Result<(), StoreDown> {
        let mark = |revision: &Revision| {
            let filter = doc! {"sku": revision.sku().as_str(), "revision": revision.number};
            async move { self.revisions.update_one(filter, doc! {"$set": {"published": true}}).await.map(|_| ()) }
        };
        let mark_all =
            || async { stream::iter(revisions).map(mark).buffer_unordered(AT_ONCE).try_collect::<()>().await };
        self.batches.call(mark_all).await.map_err(down)
    }

    async fn history(&self, sku: &Sku, before: Option<i64>, limit: usize) -> Result<Vec<Revision>, StoreDown> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let find = || async {
            // The equality of the SKU finds the documents; the range only chooses among them.
            let filter = match before {
                None => doc! {"sku": sku.as_str()},
                Some(before) => doc! {"sku": sku.as_str(), "revision": {"$lt": before}},
            };
            let cursor = self.raw().find(filter).sort(doc! {"revision": -1}).limit(limit).await?;
            cursor.try_collect::<Vec<_>>().await
        };
        let documents = self.batches.call(find).await.map_err(down)?;
        documents.iter().map(revision).collect()
    }

    /// All that is asked for is in the index, so no document is read. FerretDB passes over hints and reads them all.
    async fn skus(&self) -> Result<Vec<Sku>, StoreDown> {
        let documents = self.raw();
        let open = || async {
            let named = documents.find(doc! {}).projection(doc! {"_id": 0, "sku": 1, "revision": 1});
            named.hint(Hint::Name(schema::NEWEST_OF_PRODUCT.to_owned())).batch_size(NAMES).await
        };
        let mut names = self.batches.call(open).await.map_err(down)?;
        let mut skus = BTreeSet::new();
        loop {
            let next = tokio::time::timeout(BATCH_DEADLINE, names.try_next()).await;
            let next = next.map_err(|_| StoreDown("the names of the products do not come".to_owned()))?;
            match next.map_err(|error| StoreDown(chain(&error)))? {
                Some(document) => skus.extend(self.unreadable.sku_of(&document)),
                None => return Ok(skus.into_iter().collect()),
            }
        }
    }
}

/// Places of an unordered batch whose key exists; any other failure is one.
fn taken(error: Error) -> Result<HashSet<usize>, Error> {
    if let ErrorKind::InsertMany(failure) = &*error.kind {
        let places = failure.write_errors.as_deref().unwrap_or_default();
        let only_duplicates = !places.is_empty() && places.iter().all(|place| place.code == DUPLICATE_KEY);
        if only_duplicates && failure.write_concern_error.is_none() {
            return Ok(places.iter().map(|place| place.index).collect());
        }
    }
    Err(error)
}

fn revision(document: &RawDocumentBuf) -> Result<Revision, StoreDown> {
    reading::revision(document).map_err(|error| StoreDown(error.to_string()))
}

fn down(error: CallError<Error>) -> StoreDown {
    StoreDown(chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_that_weakens_durability_is_refused() {
        for weak in [
            "w=1",
            "w=0",
            "journal=false",
            "readConcernLevel=local",
            "retryWrites=false",
            "readPreference=secondary",
            "readPreference=secondaryPreferred",
            "readPreference=primaryPreferred",
            "readPreference=nearest",
        ] {
            let url = format!("mongodb://127.0.0.1:1/?directConnection=true&{weak}");
            assert!(MongoProducts::connect(&url, "catalog", BATCH_DEADLINE).await.is_err(), "{weak}");
        }
        for strong in ["appName=x", "w=majority", "journal=true", "readConcernLevel=majority", "readPreference=primary"]
        {
            let url = format!("mongodb://127.0.0.1:1/?directConnection=true&{strong}");
            assert!(MongoProducts::connect(&url, "catalog", BATCH_DEADLINE).await.is_ok(), "{strong}");
        }
    }

    #[tokio::test]
    async fn the_client_asks_for_a_majority_on_disk() {
        let client = client("mongodb://127.0.0.1:1/?directConnection=true").await.unwrap();
        let collection = client.database("catalog").collection::<RevisionDocument>(schema::COLLECTION);
        let concern = collection.write_concern().cloned().unwrap();
        assert_eq!((concern.w, concern.journal), (Some(Acknowledgment::Majority), Some(true)));
        assert_eq!(collection.read_concern().cloned(), Some(ReadConcern::majority()));
        let from = collection.selection_criteria().cloned();
        assert!(matches!(from, Some(SelectionCriteria::ReadPreference(ReadPreference::Primary))), "{from:?}");
    }
}
