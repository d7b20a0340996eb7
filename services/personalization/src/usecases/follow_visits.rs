//! Keeps the index of visits in the memory of the process: read from a snapshot at the start, then led on step by step from the
//! stream that the learners write, and written down again now and then.
//!
//! Every process holds the whole index, so an answer needs no other process. What is lost when a snapshot and the stream are gone
//! is what visits taught; it grows again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use recommender::{Index, Limits};

use super::error::StoreUnavailable;
use super::ports::VisitStream;
use crate::metrics;

/// How long the index is behind the stream at most while the store answers.
pub const FOLLOW: Duration = Duration::from_millis(500);

/// How often the index is written down, at least. A start after a crash reads at most so much of the stream.
pub const WRITE_DOWN: Duration = Duration::from_secs(60);

/// Entries read at once; each holds at most 256 steps, so a lock is held for some milliseconds at most.
const ENTRIES: usize = 64;

/// The index and where in the stream it stands.
#[derive(Debug)]
pub struct VisitIndex {
    inner: RwLock<Inner>,
    limits: Limits,
    /// Whether it has stood at the end of the stream since the process began.
    led: AtomicBool,
    /// Entries of the stream that it took in.
    entries: AtomicUsize,
}

#[derive(Debug)]
struct Inner {
    index: Index,
    position: String,
}

impl Default for VisitIndex {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

/// Before the first entry of any stream.
const BEGINNING: &str = "0-0";

impl VisitIndex {
    pub fn new(limits: Limits) -> Self {
        let inner = RwLock::new(Inner { index: Index::new(limits), position: BEGINNING.to_owned() });
        Self { inner, limits, led: AtomicBool::new(false), entries: AtomicUsize::new(0) }
    }

    /// Reads what is asked of the index. The lock is held for the fraction of a millisecond that an answer takes to compute.
    pub fn read<T>(&self, with: impl FnOnce(&Index) -> T) -> T {
        // A writer that died left an index that is whole up to its last step.
        with(&self.inner.read().unwrap_or_else(PoisonError::into_inner).index)
    }

    /// Whether it has been led to the end of the stream once. Before that it knows what was on disk, or nothing, and lists made from it
    /// are not worth keeping.
    pub fn is_led(&self) -> bool {
        self.led.load(Ordering::Relaxed)
    }

    /// Entries of the stream that it took in since the process began.
    pub fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    pub fn position(&self) -> String {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).position.clone()
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.index.to_bytes(&inner.position)
    }

    /// Takes a snapshot in place of what is there, if it is whole and stands further on. Tells whether it did.
    pub fn adopt(&self, bytes: &[u8]) -> bool {
        Index::from_bytes(bytes, self.limits).is_ok_and(|(index, position)| self.take(index, position))
    }

    /// The same aside from whoever answers: a snapshot is learned step by step, which takes seconds when it is large.
    pub async fn adopt_aside(&self, bytes: Vec<u8>) -> bool {
        let limits = self.limits;
        let read = tokio::task::spawn_blocking(move || Index::from_bytes(&bytes, limits)).await;
        let Ok(Ok((index, position))) = read else { return false };
        self.take(index, position)
    }

    fn take(&self, index: Index, position: String) -> bool {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if place(&position) <= place(&inner.position) {
            return false;
        }
        *inner = Inner { index, position };
        true
    }
}

/// A position as numbers, so that it can be compared: milliseconds and a count.
fn place(position: &str) -> (u64, u64) {
    let (ms, count) = position.split_once('-').unwrap_or((position, "0"));
    (ms.parse().unwrap_or_default(), count.parse().unwrap_or_default())
}

/// Leads the index on to the end of the stream; returns how many steps were new.
///
/// # Errors
/// [`StoreUnavailable`]: the index stays where it is.
pub async fn follow(index: &VisitIndex, stream: &dyn VisitStream) -> Result<usize, StoreUnavailable> {
    let mut learned = 0;
    let began = index.position();
    if let Some(oldest) = stream.oldest().await?.filter(|oldest| place(oldest) > place(&began)) {
        // The stream has forgotten what comes next for us; somebody else may have written down an index that knows it.
        if let Some(bytes) = stream.snapshot().await? {
            index.adopt_aside(bytes).await;
        }
        // Who begins with nothing misses nothing that anybody knows of.
        let position = index.position();
        if position != BEGINNING && place(&oldest) > place(&position) {
            metrics::VISIT_GAPS.with_label_values::<&str>(&[]).inc();
            tracing::warn!(position, oldest, "steps of visits are missing: the stream begins behind the index");
        }
    }
    loop {
        let entries = stream.after(&index.position(), ENTRIES).await?;
        let is_last = entries.len() < ENTRIES;
        index.entries.fetch_add(entries.len(), Ordering::Relaxed);
        let mut inner = index.inner.write().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            learned += entry.steps.len();
            for step in entry.steps {
                inner.index.learn(step.key, step.at_ms, step.sku.as_str(), step.bought);
            }
            inner.position = entry.position;
        }
        if is_last {
            index.led.store(true, Ordering::Relaxed);
            return Ok(learned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ports::{VisitEntry, WriteDown};
    use super::*;

    #[test]
    fn positions_are_numbers_and_not_texts() {
        assert!(place("10-0") > place("9-5") && place("9-10") > place("9-9") && place("nonsense") == (0, 0));
    }

    #[test]
    fn a_snapshot_is_adopted_when_it_is_whole_and_further_on() {
        let mut further = Index::new(Limits::default());
        further.learn(1, 0, "A", false);
        let index = VisitIndex::default();
        assert!(index.adopt(&further.to_bytes("10-0")));
        assert_eq!((index.position().as_str(), index.read(Index::len)), ("10-0", 1));
        assert!(!index.adopt(&further.to_bytes("9-7")) && !index.adopt(b"nonsense"));
        assert_eq!(index.position(), "10-0");
    }

    #[test]
    fn who_answers_has_its_turn_while_a_snapshot_is_taken_in() {
        let mut further = Index::new(Limits::default());
        further.learn(1, 0, "A", false);
        let index = VisitIndex::default();
        let take = async { assert!(index.adopt_aside(further.to_bytes("10-0")).await) };
        assert!(testkit::aside::is_done_aside(take), "nobody was answered");
        assert_eq!(index.position(), "10-0");
    }

    /// A stream that has forgotten its first entries and has nothing after the written-down index.
    struct Forgetful(Vec<u8>);

    #[async_trait::async_trait]
    impl VisitStream for Forgetful {
        async fn after(&self, _: &str, _: usize) -> Result<Vec<VisitEntry>, StoreUnavailable> {
            Ok(Vec::new())
        }

        async fn oldest(&self) -> Result<Option<String>, StoreUnavailable> {
            Ok(Some("5-0".to_owned()))
        }

        async fn snapshot(&self) -> Result<Option<Vec<u8>>, StoreUnavailable> {
            Ok(Some(self.0.clone()))
        }

        async fn may_write(&self, _: WriteDown) -> Result<bool, StoreUnavailable> {
            Ok(false)
        }

        async fn write_snapshot(&self, _: &[u8]) -> Result<(), StoreUnavailable> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn who_is_further_behind_than_the_stream_reaches_takes_what_another_wrote_down() {
        let mut other = Index::new(Limits::default());
        other.learn(1, 0, "A", false);
        let index = VisitIndex::default();
        follow(&index, &Forgetful(other.to_bytes("6-0"))).await.expect("the stream answers");
        assert_eq!((index.position().as_str(), index.read(Index::len)), ("6-0", 1));
    }

    #[tokio::test]
    async fn steps_that_nobody_knows_any_more_are_told() {
        let gaps = || metrics::VISIT_GAPS.with_label_values::<&str>(&[]).get();
        let follow_from = async |written: &str| {
            let (index, mut other, before) = (VisitIndex::default(), Index::new(Limits::default()), gaps());
            other.learn(1, 0, "A", false);
            follow(&index, &Forgetful(other.to_bytes(written))).await.expect("the stream answers");
            gaps() - before
        };
        assert_eq!(follow_from("5-0").await, 0, "the stream begins with what the index knows");
        assert_eq!(follow_from("4-9").await, 1, "it begins behind it");
        let stream = Forgetful(b"nonsense".to_vec());
        let before = gaps();
        follow(&VisitIndex::default(), &stream).await.expect("the stream answers");
        assert_eq!(gaps(), before, "who begins with nothing misses nothing");
    }
}
