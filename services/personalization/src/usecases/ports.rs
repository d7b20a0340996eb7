//! What we ask of the world. One store behind several traits: what the learner writes, what everybody knows about products, what a
//! page reads, lists that were shown, the stream of visits, people in experiments, and whether somebody still agrees.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use common::{Sku, UserId};

use super::error::StoreUnavailable;
use super::kept_lists::{Asked, Kept};
use crate::domain::experiment::enrolment::Enrolments;
use crate::domain::experiment::tally::{ByArm, Delta};
use crate::domain::recommend::Popular;
use crate::domain::{Batch, Feature, Outcome, PairKind, Person, Pseudonym, Stored, VisitStep};

/// What the learner reads and writes: one round trip to read a batch's people and products and one to write what it comes to; two on a cluster.
#[async_trait]
pub trait InterestStore: Send + Sync {
    /// Everything a batch of `partition` needs.
    async fn stored(&self, partition: i32, batch: &Batch) -> Result<Stored, StoreUnavailable>;

    /// Writes the outcome of a batch of `partition`: all of it at once, or first what the shop learns and then people, in as many parts as
    /// the store has. Each of these places is written whole or not at all, and only while the partition is counted there up to where it was
    /// when the outcome was decided ([`Outcome::before`]). After an error, and where people were overtaken, some places may be written and
    /// others not: then the batch is to be folded again, which does what is missing. `now_ms`: the newest receipt of the batch, which
    /// weighs popularity.
    async fn save(&self, partition: i32, outcome: &Outcome, now_ms: i64) -> Result<Saved, StoreUnavailable>;
}

/// What became of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Saved {
    Written,
    /// Somebody else has counted meanwhile, or what was counted is lost: nothing is written over that.
    Overtaken,
}

/// A product as of one revision.
#[derive(Clone, Debug, PartialEq)]
pub struct ProductRevision {
    pub sku: Sku,
    pub revision: i64,
    pub changed_at_ms: i64,
    /// `None`: the product is gone.
    pub feature: Option<Feature>,
}

#[async_trait]
pub trait FeatureStore: Send + Sync {
    /// Known features of these products; unknown products are absent. Reads through a short-lived cache of the process.
    async fn features(&self, skus: &[Sku]) -> Result<HashMap<Sku, Feature>, StoreUnavailable>;

    /// Stores revisions that are newer than the stored ones; returns how many were.
    async fn learn(&self, products: &[ProductRevision]) -> Result<usize, StoreUnavailable>;

    /// Whether the store has all products, as far as anybody knows. A store that has lost everything has not, and neither has a new one.
    async fn are_learned(&self) -> Result<bool, StoreUnavailable>;

    /// All products were learned, from the first to the last. It holds for a day, or until the store loses everything.
    async fn all_learned(&self) -> Result<(), StoreUnavailable>;
}

/// A list of products, strongest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shelf {
    /// Trending in the whole shop.
    Everything,
    /// Trending in one category.
    Category(String),
    /// Newest products of the shop (weight: time of change).
    Newest,
    /// Newest products of one category.
    NewestOf(String),
    /// Seen or bought together with a product.
    Together(PairKind, Sku),
}

/// What a page reads.
#[async_trait]
pub trait Shelves: Send + Sync {
    /// What is remembered about a person; empty for strangers.
    async fn person(&self, pseudonym: &Pseudonym) -> Result<Person, StoreUnavailable>;

    /// The same of who asks, and the list that is kept for this question, which may be of another mark or over. One round trip.
    async fn asked(&self, asked: &Asked) -> Result<(Person, Option<Kept>), StoreUnavailable>;

    /// The first `limit` products of each shelf, in the order asked. `now_ms` chooses the era of popularity.
    async fn lists(&self, shelves: &[Shelf], limit: usize, now_ms: i64) -> Result<Vec<Vec<Popular>>, StoreUnavailable>;

    /// The most active categories of the shop, at most `limit`.
    async fn active_categories(&self, limit: usize, now_ms: i64) -> Result<Vec<String>, StoreUnavailable>;
}

/// Bytes of all lists of one person, with what each costs beside. The longest list there is fits in, and two dozen of
/// the usual length. Beyond that they begin anew: only who asks without end and never clicks comes so far.
pub const MOST_LIST_BYTES: usize = 16 * 1024;

/// Lists that people were shown, for all processes.
#[async_trait]
pub trait Lists: Send + Sync {
    /// Keeps each list until its session is over, and tells of which it is now the list of its question. It is not where
    /// - nothing is known of the person, or they said no to what was known of them when it was made: nothing is brought back;
    /// - a list of the same mark is there whose session goes on: the first stays;
    /// - there are lists of a later mark. Those of an earlier one go.
    async fn keep(&self, lists: &[(Asked, Kept)]) -> Result<Vec<bool>, StoreUnavailable>;
}

/// Some steps and where in the stream they end.
#[derive(Clone, Debug, PartialEq)]
pub struct VisitEntry {
    pub position: String,
    pub steps: Vec<VisitStep>,
}

/// Entries that the stream keeps at least. Of at most 12 kB each they are at most 48 MB.
pub const VISIT_ENTRIES: usize = 4_000;

/// Why the index is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteDown {
    /// It was long ago.
    Time,
    /// So much was read since that the stream is about to forget what stands behind the last one.
    Traffic,
}

/// The stream of steps that learners write together with what they count, and the index that was written down last.
#[async_trait]
pub trait VisitStream: Send + Sync {
    /// The next entries after `position`, at most `limit`.
    async fn after(&self, position: &str, limit: usize) -> Result<Vec<VisitEntry>, StoreUnavailable>;

    /// Where the stream begins; `None` while it is empty.
    async fn oldest(&self) -> Result<Option<String>, StoreUnavailable>;

    async fn snapshot(&self) -> Result<Option<Vec<u8>>, StoreUnavailable>;

    /// Whether it is our turn to write the index down; for the next while nobody else's for this reason.
    async fn may_write(&self, why: WriteDown) -> Result<bool, StoreUnavailable>;

    async fn write_snapshot(&self, bytes: &[u8]) -> Result<(), StoreUnavailable>;
}

/// What a person's record becomes, and by how much the sums change with it.
#[derive(Clone, Debug, PartialEq)]
pub struct EnrolmentChange {
    pub who: Pseudonym,
    pub before: Enrolments,
    pub after: Enrolments,
    pub deltas: Vec<Delta>,
}

/// People in experiments, and the sums per arm.
#[async_trait]
pub trait Tallies: Send + Sync {
    /// The record of each person, in the order asked; empty for who is in none.
    async fn enrolments(&self, people: &[&Pseudonym]) -> Result<Vec<Enrolments>, StoreUnavailable>;

    /// Writes each change whole, record and sums, or not at all when the record is not what it was; tells which were written.
    async fn change(&self, changes: &[EnrolmentChange]) -> Result<Vec<bool>, StoreUnavailable>;

    /// The sums of one series.
    async fn sums(&self, series: &str) -> Result<ByArm, StoreUnavailable>;
}

/// What people agree to at this moment, as their sessions say.
#[async_trait]
pub trait Consents: Send + Sync {
    /// Those of `users` of whom a living session says no. Who has none said nothing new.
    async fn withdrawn(&self, users: &[UserId]) -> Result<HashSet<UserId>, StoreUnavailable>;
}

/// One type that is all of these, as the real store and the one in memory are.
pub trait Store: InterestStore + FeatureStore + Shelves + Lists + VisitStream + Tallies + Consents + 'static {}
impl<T: InterestStore + FeatureStore + Shelves + Lists + VisitStream + Tallies + Consents + 'static> Store for T {}

/// The three views of one store.
pub fn views<S: Store>(store: Arc<S>) -> (Arc<dyn InterestStore>, Arc<dyn FeatureStore>, Arc<dyn Shelves>) {
    (store.clone(), store.clone(), store)
}
