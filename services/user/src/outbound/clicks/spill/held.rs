//! What the folder of a spill holds. Decided here: its bound and the part of it that refused events may take, and that files which tell
//! of nothing else wait in a queue of their own, because their topic may be one that cannot be written while all others can.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use super::super::line::Line;
use super::ENDING;
use crate::metrics;

/// Refused events take at most a quarter of the bound: whoever sends nothing else leaves three quarters to good clicks. Of people's own
/// events far fewer are refused.
const REFUSED_SHARE: u64 = 4;

/// Good clicks leave them this part of it: when the broker is back, or only the topic of good clicks is, the folder may still be full of
/// those, and what tells of refused events beside a click that is durable must find a place. A hundred times what they usually need.
const REFUSED_RESERVE: u64 = 16;

/// Bytes, and those of them that tell of refused events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub all: u64,
    pub refused: u64,
}

impl Size {
    pub fn of(lines: &[Line<'_>]) -> Self {
        let refused = |line: &Line<'_>| if line.is_refused() { line.size() } else { 0 };
        lines.iter().map(|line| Self { all: line.size(), refused: refused(line) }).fold(Self::default(), Self::plus)
    }

    pub fn plus(self, other: Self) -> Self {
        Self { all: self.all.saturating_add(other.all), refused: self.refused.saturating_add(other.refused) }
    }

    /// Whether nothing but refused events is told of.
    pub fn is_refused(self) -> bool {
        self.refused == self.all
    }

    fn good(self) -> u64 {
        self.all.saturating_sub(self.refused)
    }

    fn minus(self, other: Self) -> Self {
        Self { all: self.all.saturating_sub(other.all), refused: self.refused.saturating_sub(other.refused) }
    }
}

/// A file that is no longer written to.
#[derive(Clone, Debug)]
pub struct Closed {
    pub path: PathBuf,
    pub size: Size,
    pub since: SystemTime,
}

/// Files to be replayed, in their order.
#[derive(Default)]
pub struct Queue {
    files: Mutex<VecDeque<Closed>>,
    pub wake: Notify,
    /// Nobody takes its oldest file, which is tried again.
    is_stuck: AtomicBool,
}

impl Queue {
    pub fn files(&self) -> MutexGuard<'_, VecDeque<Closed>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn oldest(&self) -> Option<Closed> {
        self.files().front().cloned()
    }

    pub fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    pub fn stuck(&self, is_stuck: bool) {
        self.is_stuck.store(is_stuck, Ordering::Relaxed);
    }
}

/// What writer, replay and appenders share.
pub struct Shared {
    pub folder: PathBuf,
    most: u64,
    /// On disk and on the way there.
    held: Mutex<Size>,
    /// Files with clicks, and those with refused events alone.
    pub clicks: Queue,
    pub refused: Queue,
    /// When the file that is written to was begun.
    open_since: Mutex<Option<SystemTime>>,
    /// Number of the next file.
    next: AtomicU64,
}

impl Shared {
    /// `kept`: bytes in the folder that are in none of the files.
    pub fn new(folder: PathBuf, most: u64, files: VecDeque<Closed>, kept: u64, next: u64) -> Self {
        let (clicks, refused, open_since) = (Queue::default(), Queue::default(), Mutex::new(None));
        let held = files.iter().fold(Size { all: kept, refused: 0 }, |sum, file| sum.plus(file.size));
        let (held, next) = (Mutex::new(held), AtomicU64::new(next));
        let shared = Self { folder, most, held, clicks, refused, open_since, next };
        files.into_iter().for_each(|file| shared.push(file));
        shared.exchange(Size::default(), Size::default());
        shared.tell_oldest();
        shared
    }

    /// Takes room for so much, if there is.
    pub fn reserve(&self, size: Size) -> bool {
        let mut held = self.held();
        let sum = held.plus(size);
        let refused_fit = size.refused == 0 || sum.refused <= self.most / REFUSED_SHARE;
        let good_fit = size.is_refused() || sum.good() <= self.most - self.most / REFUSED_RESERVE;
        let fits = sum.all <= self.most && refused_fit && good_fit;
        if fits {
            *held = sum;
            tell(sum);
        }
        fits
    }

    /// So much is gone, and so much has come in its place.
    pub fn exchange(&self, gone: Size, come: Size) {
        let mut held = self.held();
        *held = held.minus(gone).plus(come);
        tell(*held);
    }

    pub fn bytes(&self) -> u64 {
        self.held().all
    }

    /// A file is to be replayed.
    pub fn push(&self, file: Closed) {
        let queue = self.queue(file.size);
        queue.files().push_back(file);
        queue.wake.notify_one();
        self.tell_oldest();
    }

    /// Where a file with so much waits.
    pub fn queue(&self, size: Size) -> &Queue {
        if size.is_refused() { &self.refused } else { &self.clicks }
    }

    /// The oldest file of one of the queues was replayed.
    pub fn pop(&self, queue: &Queue) {
        queue.files().pop_front();
        self.tell_oldest();
    }

    /// A file was begun, or the one that was written to is closed or gone.
    pub fn open(&self, since: Option<SystemTime>) {
        *self.open_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
        self.tell_oldest();
    }

    pub fn oldest(&self) -> Option<SystemTime> {
        let open = *self.open_since.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = |queue: &Queue| queue.files().iter().map(|file| file.since).min();
        [oldest(&self.clicks), oldest(&self.refused), open].into_iter().flatten().min()
    }

    /// Of a file that nobody has begun yet.
    pub fn next_path(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{number:016x}.{ENDING}"))
    }

    fn held(&self) -> MutexGuard<'_, Size> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_oldest(&self) {
        let since = self.oldest().and_then(|since| since.duration_since(UNIX_EPOCH).ok());
        metrics::SPILL_OLDEST.set(since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)));
    }
}

fn tell(held: Size) {
    metrics::SPILL_BYTES.set(i64::try_from(held.all).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_events_take_their_share_of_the_room_and_no_more_and_good_ones_take_all_that_is_left() {
        let shared = Shared::new(PathBuf::new(), 1_000, VecDeque::new(), 100, 0);
        let (good, refused) = (|all| Size { all, refused: 0 }, |all| Size { all, refused: all });
        assert!(shared.reserve(refused(200)) && shared.reserve(Size { all: 150, refused: 50 }));
        assert!(!shared.reserve(refused(1)) && !shared.reserve(Size { all: 2, refused: 1 }), "their share is full");
        assert!(shared.reserve(good(550)) && !shared.reserve(good(1)), "to the last byte");
        shared.exchange(refused(100), Size::default());
        assert!(!shared.reserve(refused(101)) && shared.reserve(refused(100)), "what was replayed is free again");
    }

    #[test]
    fn a_folder_full_of_good_clicks_has_a_place_for_refused_events() {
        let shared = Shared::new(PathBuf::new(), 1_600, VecDeque::new(), 0, 0);
        let (good, refused) = (|all| Size { all, refused: 0 }, |all| Size { all, refused: all });
        assert!(shared.reserve(good(1_500)) && !shared.reserve(good(1)), "fifteen sixteenths");
        assert!(
            !shared.reserve(Size { all: 20, refused: 10 }),
            "a request is turned away whole, and nothing of it is lost"
        );
        assert!(shared.reserve(refused(100)) && !shared.reserve(refused(1)), "and not more than there is");
    }

    #[test]
    fn a_share_that_is_more_than_full_since_the_bound_was_lowered_costs_no_good_click() {
        let left = Closed { path: PathBuf::from("0"), size: Size { all: 400, refused: 400 }, since: UNIX_EPOCH };
        let shared = Shared::new(PathBuf::new(), 1_000, VecDeque::from([left]), 0, 1);
        assert!(!shared.reserve(Size { all: 1, refused: 1 }) && shared.reserve(Size { all: 600, refused: 0 }));
    }

    #[test]
    fn a_file_waits_beside_its_kind_and_the_oldest_of_both_is_told() {
        let file = |name: &str, refused, seconds| Closed {
            path: PathBuf::from(name),
            size: Size { all: 10, refused },
            since: UNIX_EPOCH + std::time::Duration::from_secs(seconds),
        };
        let files = [file("mixed", 4, 30), file("refused", 10, 20), file("good", 0, 40)];
        let shared = Shared::new(PathBuf::new(), 1_000, VecDeque::from(files), 0, 3);
        let names = |queue: &Queue| queue.files().iter().map(|file| file.path.clone()).collect::<Vec<_>>();
        assert_eq!(names(&shared.clicks), [PathBuf::from("mixed"), PathBuf::from("good")]);
        assert_eq!(names(&shared.refused), [PathBuf::from("refused")]);
        assert_eq!((shared.bytes(), shared.oldest()), (30, Some(UNIX_EPOCH + std::time::Duration::from_secs(20))));
        shared.pop(&shared.refused);
        assert_eq!(shared.oldest(), Some(UNIX_EPOCH + std::time::Duration::from_secs(30)));
        assert_eq!(shared.next_path(), PathBuf::from("0000000000000003.clicks"));
    }
}
