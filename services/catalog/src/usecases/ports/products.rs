//! What the product use cases ask of the world: a store of revisions, an index to search, a cache, the interests of people,
//! and a feed that tells others of changes. Each has a handful of methods; none says how it is done.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use common::{ErrorKind, Explain, Sku};
use contracts::interest::Subject;

use super::audit::Audit;
use super::pages::Forgets;
use super::pictures::Pictures;
use crate::domain::cursor::CursorSeal;
pub use crate::domain::facets::{Bucket, Facet};
use crate::domain::product::{Author, CategoryPath, Product, Revision};
use crate::domain::ranking::Interests;
use crate::domain::schema::Schema;
pub use crate::domain::search_query::Reading;
use crate::domain::search_query::SearchQuery;
use crate::domain::standing::Standing;
use crate::usecases::families::Families;
use crate::usecases::labels::Labels;
use crate::usecases::promotions::Promotions;
use crate::usecases::stand_in::StandIn;

/// Everything that product use cases work with.
#[derive(Clone)]
pub struct ProductPorts {
    pub store: Arc<dyn ProductStore>,
    pub index: Arc<dyn ProductIndex>,
    /// Answers while the index is away.
    pub stand_in: Arc<StandIn>,
    pub cache: Arc<dyn ProductCache>,
    pub ratings: Arc<dyn Ratings>,
    pub families: Families,
    pub pictures: Arc<dyn Pictures>,
    pub promotions: Arc<Promotions>,
    /// What categories and attributes are called.
    pub labels: Arc<Labels>,
    pub cursors: CursorSeal,
    /// What staff did with them that changes none of them.
    pub audit: Arc<dyn Audit>,
}

/// The write store did not do what was asked; nothing is known about why beyond the text, which is for the log.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the product store cannot be used: {0}")]
pub struct StoreDown(pub String);

/// The index did not answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the search index cannot be used: {0}")]
pub struct IndexDown(pub String);

/// The feed did not take the changes.
#[derive(Clone, Debug, thiserror::Error)]
#[error("product changes cannot be published: {0}")]
pub struct FeedDown(pub String);

macro_rules! dependency_down {
    ($($error:ty),+) => {$(
        impl Explain for $error {
            fn kind(&self) -> ErrorKind {
                ErrorKind::Unavailable
            }

            fn code(&self) -> &'static str {
                "dependency-down"
            }
        }
    )+};
}

dependency_down!(StoreDown, IndexDown, FeedDown);

/// What became of one revision that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    Written,
    /// Somebody else has this number of this product.
    Taken,
}

/// Append-only revisions. Writing a number that exists changes nothing and says so: that is the compare-and-set.
#[async_trait]
pub trait ProductStore: Send + Sync {
    /// The newest revision, which may be a tombstone. One that cannot be read is an error, also for [`Self::newest_many`]: whoever decides
    /// something by a product must not take it for absent.
    async fn newest(&self, sku: &Sku) -> Result<Option<Revision>, StoreDown>;

    /// The newest revisions of those of `skus` (at most 500) that exist, in any order.
    async fn newest_many(&self, skus: &[Sku]) -> Result<Vec<Revision>, StoreDown>;

    /// As [`Self::newest_many`], for work on the whole shop that nobody waits for: it may take its time, and leaves out those that cannot
    /// be read.
    async fn newest_readable(&self, skus: &[Sku]) -> Result<Vec<Revision>, StoreDown>;

    /// Writes each revision whose number is free, unpublished. The outcomes are in the order of `revisions` (at most 500).
    async fn insert(&self, revisions: &[Revision]) -> Result<Vec<Insertion>, StoreDown>;

    /// Up to `limit` revisions that were not published yet, oldest number first for each product; fewer where
    /// they are large. What cannot be read is left out.
    async fn unpublished(&self, limit: usize) -> Result<Vec<Revision>, StoreDown>;

    /// Remembers that these were published. Forgetting it only publishes them again.
    async fn mark_published(&self, revisions: &[Revision]) -> Result<(), StoreDown>;

    /// Revisions of `sku` with a number below `before`, the newest first, at most `limit`.
    async fn history(&self, sku: &Sku, before: Option<i64>, limit: usize) -> Result<Vec<Revision>, StoreDown>;

    /// The SKU of everything that was ever written, each once and in order; some fifty bytes each. Who looks at the whole shop walks along
    /// them with [`Self::newest_readable`]: what a product was before is read by nobody but its history.
    async fn skus(&self) -> Result<Vec<Sku>, StoreDown>;
}

/// Versions of the schemas of families, append-only as well.
#[async_trait]
pub trait SchemaStore: Send + Sync {
    /// All versions that were added, in any order.
    async fn schemas(&self) -> Result<Vec<Schema>, StoreDown>;

    /// Adds a version whose number is free.
    async fn add_schema(&self, schema: &Schema, author: &Author) -> Result<Insertion, StoreDown>;
}

/// What became of one change that was to be told.
#[derive(Clone, Debug)]
pub enum Telling {
    /// Safe with the broker.
    Told,
    /// Larger than any record may be; trying again cannot help.
    TooLarge,
    /// Not taken; to be tried again.
    Failed(FeedDown),
}

/// Tells others what changed.
#[async_trait]
pub trait ProductFeed: Send + Sync {
    /// Sends the changes in order per product and resolves when the broker has answered for each, in the order of `revisions`.
    async fn publish(&self, revisions: &[Revision]) -> Result<Vec<Telling>, FeedDown>;
}

/// A product as the index knows it. Long texts in other languages than the one asked for may be missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    pub product: Product,
    pub revision: i64,
    /// How well it fits; 1 where the question has no words.
    pub relevance: f64,
    /// Field and the passage that fits, HTML-encoded with `<em>` around the words.
    pub highlights: Vec<(String, String)>,
    /// What the relevance of an answer to words was multiplied by.
    pub standing: Standing,
}

/// How many products fit; above some number the index stops counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    pub value: u64,
    pub exact: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub hits: Vec<Hit>,
    pub facets: Vec<Facet>,
    pub total: Total,
    /// The words as somebody may have meant them.
    pub corrected: Option<String>,
    pub reading: Reading,
    /// How many products fit the words, whatever the filters leave of them.
    pub without_filters: u64,
}

/// Which part of the answer to a query.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    pub query: &'a SearchQuery,
    /// Language of the region that words are searched and texts shown in.
    pub language: &'a str,
    pub from: usize,
    pub size: usize,
}

/// What was done with revisions given to the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub written: usize,
    /// The index has a newer revision of the product.
    pub stale: usize,
    /// Refused for good; trying again cannot help.
    pub refused: usize,
}

impl Applied {
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            written: self.written + other.written,
            stale: self.stale + other.stale,
            refused: self.refused + other.refused,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    pub text: String,
    /// `product` or `brand`.
    pub kind: &'static str,
}

/// The search read model. Never authoritative.
#[async_trait]
pub trait ProductIndex: Send + Sync {
    /// Brings the index to these revisions, or leaves what is newer. A tombstone stays as one, so that late news cannot
    /// bring the product back.
    async fn apply(&self, revisions: &[Revision]) -> Result<Applied, IndexDown>;

    async fn search(&self, page: Page<'_>) -> Result<Found, IndexDown>;

    /// Products after `after` in the order of their SKUs.
    async fn list(
        &self,
        category: Option<&CategoryPath>,
        after: Option<&Sku>,
        size: usize,
        language: &str,
    ) -> Result<Vec<Hit>, IndexDown>;

    /// Products that share something with `interests`.
    async fn interesting(
        &self,
        category: Option<&CategoryPath>,
        interests: &Interests,
        size: usize,
        language: &str,
    ) -> Result<Vec<Hit>, IndexDown>;

    /// Category paths with the number of products in and below each, by path.
    async fn categories(&self) -> Result<Vec<(String, u64)>, IndexDown>;

    async fn completions(&self, text: &str, language: &str) -> Result<Vec<Completion>, IndexDown>;
}

/// Documents that must be written anew although their products did not change.
#[async_trait]
pub trait TurningIndex: Send + Sync {
    /// Up to `limit` products whose document is past its time, the most overdue first.
    async fn turned(&self, limit: usize) -> Result<Vec<Sku>, IndexDown>;

    /// Writes these revisions again, as [`ProductIndex::apply`] does, also over the same revision.
    async fn renew(&self, revisions: &[Revision]) -> Result<Applied, IndexDown>;
}

/// A second home for an index while it is built anew.
#[async_trait]
pub trait IndexBuilder: Send + Sync {
    /// Makes the next empty index; nobody reads it yet.
    async fn begin(&self) -> Result<String, IndexDown>;

    async fn fill(&self, index: &str, revisions: &[Revision]) -> Result<Applied, IndexDown>;

    /// As [`Self::fill`], also over the same revision: what a document says beside it may have moved.
    async fn fill_again(&self, index: &str, revisions: &[Revision]) -> Result<Applied, IndexDown>;

    /// How many products `index` has, tombstones among them.
    async fn count(&self, index: &str) -> Result<usize, IndexDown>;

    /// From now on everybody reads and writes `index`. Gives the one they came from, which stays as it is.
    async fn switch_to(&self, index: &str) -> Result<Option<String>, IndexDown>;

    /// Deletes an index that nobody was switched to, or that everybody has left; one that is gone already is no failure.
    async fn discard(&self, index: &str) -> Result<(), IndexDown>;
}

/// How a product in the index differs from the store's newest revision of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    Missing,
    /// An older revision.
    Behind,
    /// A revision that the store does not have.
    Ahead,
    /// The right revision with the wrong words.
    Content,
    /// No product of the store at all.
    Unknown,
}

impl Difference {
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Behind => "behind",
            Self::Ahead => "ahead",
            Self::Content => "content",
            Self::Unknown => "unknown",
        }
    }
}

/// A document of the index as it was at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub sku: Sku,
    /// The revision it is of.
    pub version: i64,
    /// The index's own place of the document's last write. Another one: it was written since.
    pub place: i64,
    /// Under which primary of the index that was.
    pub term: i64,
}

/// The index as somebody sees it who compares it with the store.
#[async_trait]
pub trait IndexAudit: Send + Sync {
    /// The documents of those of `skus` (at most 500) that have one, as they are now.
    async fn seen(&self, skus: &[Sku]) -> Result<Vec<Seen>, IndexDown>;

    /// Those of the `newest` revisions (at most 500) that the index has differently.
    async fn differences(&self, newest: &[Revision]) -> Result<HashMap<Sku, Difference>, IndexDown>;

    /// Writes these revisions again, unless something newer is there.
    async fn restore(&self, revisions: &[Revision]) -> Result<Applied, IndexDown>;

    /// Everything in the index after `after`, tombstones among them, in the order of SKUs, as searches see it.
    async fn seen_after(&self, after: Option<&Sku>, size: usize) -> Result<Vec<Seen>, IndexDown>;

    /// Takes documents out of the index, except those that were written since they were seen; says how many it took.
    async fn remove(&self, seen: &[Seen]) -> Result<usize, IndexDown>;
}

/// Newest revisions, kept for a short while. What is kept may be that much too old; a failure of the cache is never an error.
#[async_trait]
pub trait ProductCache: Send + Sync {
    /// The newest revision from the cache, else from `store`. Many callers at once cause one look-up.
    async fn newest(&self, sku: &Sku, store: &Arc<dyn ProductStore>) -> Result<Option<Arc<Revision>>, StoreDown>;

    async fn forget(&self, skus: &[Sku]);

    /// `listener` is told what is to be forgotten, as long as it lives. A cache that keeps nothing has nobody to tell.
    fn tell(&self, _listener: Weak<dyn Forgets>) {}
}

/// What people care about.
#[async_trait]
pub trait Ratings: Send + Sync {
    /// The interests of a person or browser, within a few milliseconds or not at all.
    async fn interests(&self, subject: Subject) -> Option<Interests>;
}
