//! A bounded queue on this machine's disk for what the broker did not confirm, good clicks and what tells of refused ones. Decided here:
//! an append is answered when its bytes are on the disk (many appends share one `fdatasync`), there is never more than the bound, and a
//! file goes when all of it is confirmed, or stands in another file.
//!
//! A file is written, then closed, then replayed; files follow one another in their order, and what the process before left behind
//! comes first. A process that dies in a replay begins with the same file again: its lines come twice, and readers count each event
//! once. What people do meanwhile goes straight to the broker and may be ahead of what they did before; every event carries its time.

mod held;
mod replay;

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use common::{Clock as _, SystemClock};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::held::{Closed, Shared, Size};
pub use self::replay::Replay;
use super::line::{Line, lines};

/// A file is closed when it has this many bytes: what a replay holds in memory, and what comes twice after a crash in it.
const FILE: u64 = 4 << 20;
/// Or when nothing came for this long: the broker is back, or nobody clicks. Not while nobody takes the file before it: a click now and
/// then in a long outage would make as many files.
const IDLE: Duration = Duration::from_millis(200);
/// Or when it is this old, with the same exception: refused events that come without a pause, to a topic that cannot be written, would
/// keep good clicks of the same file from the broker.
const LONGEST: Duration = Duration::from_secs(2);
/// Requests that wait for the disk, and how many of them share one write, if they are no more than a file. More wait for nothing: they
/// are refused.
const WAITING: usize = 4_096;
const TOGETHER: usize = 512;
/// How long the process before may take to leave the folder.
const HANDOVER: Duration = Duration::from_secs(2);
/// How long the end of a file that could not be read is kept for people: as long as the topic keeps clicks.
const REST_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// What people did is read by nobody else on the machine.
const FOR_US: u32 = 0o600;
const FOLDER_FOR_US: u32 = 0o700;

/// Why nothing was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The bound is reached, or the part of it that refused events may take, or the disk is slower than what comes.
    NoRoom,
    /// The disk refused.
    Disk,
}

/// The way into the spill.
#[derive(Clone)]
pub struct Spill {
    queue: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

struct Request {
    bytes: Vec<u8>,
    size: Size,
    done: oneshot::Sender<bool>,
}

impl Spill {
    /// The three parts of a spill in `folder` with at most `most` bytes: the way in, who writes, and who replays. Blocks for as long as
    /// another process may take to end, and for as long as it takes to read what is there.
    ///
    /// # Errors
    /// A folder that cannot be used, or that another process uses.
    pub fn open(folder: &Path, most: u64) -> anyhow::Result<(Self, Writer, Replay)> {
        make(folder).with_context(|| format!("make {}", folder.display()))?;
        let lock = lock(folder)?;
        let (closed, next) = found(folder)?;
        let (files, rests) = (closed.len(), rests(folder)?);
        let shared = Arc::new(Shared::new(folder.to_owned(), most, closed, rests, next));
        if shared.bytes() > 0 {
            tracing::warn!(files, bytes = shared.bytes(), "clicks of the process before wait on disk");
        }
        let (queue, requests) = mpsc::channel(WAITING);
        let writer = Writer { requests, shared: shared.clone(), open: None, _lock: lock };
        Ok((Self { queue, shared: shared.clone() }, writer, Replay::new(shared)))
    }

    /// Returns when the lines are on the disk.
    ///
    /// # Errors
    /// See [`Full`]; nothing is promised then.
    pub async fn append(&self, lines: &[Line<'_>]) -> Result<(), Full> {
        let size = Size::of(lines);
        if !self.shared.reserve(size) {
            return Err(Full::NoRoom);
        }
        let mut bytes = Vec::new();
        lines.iter().for_each(|line| line.write(&mut bytes));
        let (done, written) = oneshot::channel();
        if self.queue.try_send(Request { bytes, size, done }).is_err() {
            self.shared.exchange(size, Size::default());
            return Err(Full::NoRoom);
        }
        // Whoever gives up here leaves the bytes to the writer: they are kept, only nobody hears of it.
        match written.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Full::Disk),
        }
    }

    /// Bytes that wait for the broker.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes()
    }

    /// Since when the oldest of them wait; those of the file that is still written to as well. `None`: none wait.
    pub fn oldest(&self) -> Option<SystemTime> {
        self.shared.oldest()
    }
}

/// Puts what comes on the disk.
pub struct Writer {
    requests: mpsc::Receiver<Request>,
    shared: Arc<Shared>,
    open: Option<Open>,
    /// Held for as long as anything is written.
    _lock: File,
}

struct Open {
    file: tokio::fs::File,
    path: PathBuf,
    size: Size,
    since: SystemTime,
    begun: Instant,
}

impl Writer {
    /// Writes until `shutdown`; what was handed over before is still answered.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let request = tokio::select! {
                request = self.requests.recv() => request,
                () = tokio::time::sleep(IDLE), if self.open.is_some() => {
                    if self.open.as_ref().is_some_and(|open| !self.shared.queue(open.size).is_stuck()) {
                        self.close();
                    }
                    continue;
                }
                () = shutdown.cancelled(), if !self.requests.is_closed() => {
                    self.requests.close();
                    continue;
                }
            };
            let Some(first) = request else { break };
            let together = self.collect(first);
            self.write(together).await;
        }
        self.close();
    }

    /// What shares a write with `first`.
    fn collect(&mut self, first: Request) -> Vec<Request> {
        let mut bytes = first.bytes.len() as u64;
        let mut together = vec![first];
        while together.len() < TOGETHER
            && bytes < FILE
            && let Ok(another) = self.requests.try_recv()
        {
            bytes += another.bytes.len() as u64;
            together.push(another);
        }
        together
    }

    async fn write(&mut self, together: Vec<Request>) {
        let bytes = together.iter().map(|request| request.bytes.as_slice()).collect::<Vec<_>>().concat();
        let size = together.iter().map(|request| request.size).fold(Size::default(), Size::plus);
        let outcome = self.put(&bytes, size).await;
        if let Err(error) = &outcome {
            tracing::error!(error = error as &dyn std::error::Error, "the disk did not take spilled clicks");
            self.take_back().await;
            self.shared.exchange(size, Size::default());
        }
        for request in together {
            let _ = request.done.send(outcome.is_ok());
        }
        // Appends that never pause must not keep what is before them from its replay.
        let is_due = |open: &Open| {
            open.size.all >= FILE || (open.begun.elapsed() >= LONGEST && !self.shared.queue(open.size).is_stuck())
        };
        if self.open.as_ref().is_some_and(is_due) {
            self.close();
        }
    }

    async fn put(&mut self, bytes: &[u8], size: Size) -> io::Result<()> {
        let open = match self.open.take() {
            Some(open) => self.open.insert(open),
            None => {
                let path = self.shared.next_path();
                let file = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(FOR_US).open(&path).await?;
                if let Err(error) = sync_folder(&self.shared.folder).await {
                    let _ = tokio::fs::remove_file(&path).await;
                    return Err(error);
                }
                let since = SystemTime::from(SystemClock.now());
                self.shared.open(Some(since));
                self.open.insert(Open { file, path, size: Size::default(), since, begun: Instant::now() })
            }
        };
        open.file.write_all(bytes).await?;
        open.file.flush().await?;
        open.file.sync_data().await?;
        open.size = open.size.plus(size);
        Ok(())
    }

    /// What stands behind the bytes that were promised was promised to nobody: it goes, and the next append begins another file. The
    /// disk may refuse this as well; a replay reads no further than what was promised.
    async fn take_back(&mut self) {
        let Some(open) = self.open.take() else { return };
        let _ = open.file.set_len(open.size.all).await;
        if open.size.all == 0 {
            let _ = tokio::fs::remove_file(&open.path).await;
            self.shared.open(None);
        } else {
            self.open = Some(open);
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            let Open { path, size, since, .. } = open;
            self.shared.push(Closed { path, size, since });
            self.shared.open(None);
        }
    }
}

const ENDING: &str = "clicks";
/// The end of a file that could not be read, kept for people.
const REST: &str = "rest";

/// The folder, with its name durable where it is new.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(FOLDER_FOR_US).create(folder)?;
    match folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

/// A process that is being replaced may still write what it was handed.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let lock = File::create(folder.join("lock")).context("make the lock of the spill")?;
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if begun.elapsed() < HANDOVER => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => {
                return Err(error).with_context(|| format!("{} belongs to another process", folder.display()));
            }
        }
    }
}

/// A name is durable when its folder is.
async fn sync_folder(folder: &Path) -> io::Result<()> {
    tokio::fs::File::open(folder).await?.sync_all().await
}

/// Files that a process left behind, and the number after theirs.
fn found(folder: &Path) -> anyhow::Result<(VecDeque<Closed>, u64)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|name| u64::from_str_radix(name.to_str()?, 16).ok());
        if let Some(number) =
            number.filter(|_| path.extension().is_some_and(|ending| ending == ENDING || ending == REST))
        {
            let about = std::fs::metadata(&path)?;
            // Not every disk knows when a file was begun, and one that was brought from elsewhere began there.
            let written = about.modified()?;
            let since = about.created().map_or(written, |begun| begun.min(written));
            files.push((number, Closed { size: Size { all: about.len(), refused: 0 }, path, since }));
        }
    }
    files.sort_by_key(|(number, _)| *number);
    let next = files.last().map_or(0, |(number, _)| number + 1);
    let mut waiting: VecDeque<Closed> = files
        .into_iter()
        .map(|(_, file)| file)
        .filter(|file| file.path.extension().is_some_and(|e| e == ENDING))
        .collect();
    for file in &mut waiting {
        // One that cannot be read now is told by its replay.
        file.size.refused = std::fs::read(&file.path).map_or(0, |bytes| Size::of(&lines(&bytes).0).refused);
    }
    Ok((waiting, next))
}

/// Bytes of what is kept for people; they count, so that the bound holds for them as well. What was kept long enough goes.
fn rests(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().extension().is_none_or(|ending| ending != REST) {
            continue;
        }
        let about = entry.metadata()?;
        let is_old = about.modified()?.elapsed().is_ok_and(|age| age > REST_LIFETIME);
        if is_old && std::fs::remove_file(entry.path()).is_ok() {
            tracing::warn!(bytes = about.len(), "the unreadable end of a spilled file was kept long enough");
        } else {
            bytes += about.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A writer in a folder of the test's own, which is removed in the end.
    struct Place {
        folder: PathBuf,
        spill: Spill,
        writer: Writer,
    }

    impl Place {
        fn new() -> Self {
            let folder = std::env::temp_dir().join(format!("spill-{}", common::ids::random().simple()));
            let (spill, writer, _) = Spill::open(&folder, 64 << 20).expect("a spill");
            Self { folder, spill, writer }
        }

        /// Lets the writer go on with a file that holds `promised` bytes and, behind them, a part of a line.
        async fn open(&mut self, promised: &[u8], writable: bool) -> PathBuf {
            let path = self.writer.shared.next_path();
            std::fs::write(&path, [promised, b"torn"].concat()).expect("a file");
            let file = tokio::fs::OpenOptions::new().read(true).write(writable).open(&path).await.expect("the file");
            let (size, since) = (good(promised.len()), SystemTime::now());
            self.writer.open = Some(Open { file, path: path.clone(), size, since, begun: Instant::now() });
            path
        }

        fn waiting(&self) -> Vec<u64> {
            self.writer.shared.clicks.files().iter().map(|file| file.size.all).collect()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    fn good(bytes: usize) -> Size {
        Size { all: bytes as u64, refused: 0 }
    }

    fn request(bytes: usize) -> (Request, oneshot::Receiver<bool>) {
        let (done, written) = oneshot::channel();
        (Request { bytes: vec![0; bytes], size: good(bytes), done }, written)
    }

    #[tokio::test]
    async fn what_the_disk_did_not_take_leaves_no_file_and_no_line_behind() {
        let mut place = Place::new();
        // A file that cannot be written stands for a disk that is full.
        for _ in 0..3 {
            let path = place.open(b"", false).await;
            assert!(place.writer.shared.reserve(good(10)));
            let (request, written) = request(10);
            place.writer.write(vec![request]).await;
            assert_eq!((written.await, path.exists(), place.spill.bytes()), (Ok(false), false, 0));
        }
        assert!(place.waiting().is_empty(), "nothing to be replayed");
        let path = place.open(b"promised", true).await;
        place.writer.take_back().await;
        assert_eq!(std::fs::read(&path).expect("the file"), b"promised");
        assert_eq!(place.waiting(), [8]);
    }

    #[tokio::test]
    async fn a_write_is_about_as_large_as_a_file_and_nobody_else_reads_it() {
        let mut place = Place::new();
        let large = usize::try_from(FILE).expect("a small number") / 2;
        let (requests, _waiting): (Vec<_>, Vec<_>) = (0..3).map(|_| request(large)).unzip();
        for request in requests {
            assert!(place.spill.queue.try_send(request).is_ok());
        }
        let first = place.writer.requests.try_recv().expect("a request");
        let together = place.writer.collect(first);
        assert_eq!(together.len(), 2, "the third waits for the next write");
        place.writer.write(together).await;
        let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode(&place.folder), FOLDER_FOR_US);
        let files = place.writer.shared.clicks.files().clone();
        assert_eq!(files.iter().map(|file| mode(&file.path)).collect::<Vec<_>>(), [FOR_US]);
    }

    #[tokio::test]
    async fn clicks_have_an_age_from_the_moment_they_wait_also_while_their_file_is_open() {
        let mut place = Place::new();
        assert_eq!(place.spill.oldest(), None);
        let before = SystemTime::now();
        let (first, _waiting) = request(10);
        place.writer.write(vec![first]).await;
        assert!(place.writer.open.is_some(), "the file is still written to");
        let since = place.spill.oldest().expect("clicks wait");
        assert!(since >= before, "it is no older than its first click");
        let (second, _waiting) = request(10);
        place.writer.write(vec![second]).await;
        assert_eq!(place.spill.oldest(), Some(since), "what comes later makes it no younger");
        place.writer.close();
        assert_eq!(place.spill.oldest(), Some(since), "nor does its end");
        // A file that could not be written and is gone leaves no age behind.
        place.writer.shared.clicks.files().clear();
        let path = place.open(b"", false).await;
        place.writer.shared.open(Some(since));
        place.writer.take_back().await;
        assert_eq!((path.exists(), place.spill.oldest()), (false, None));
    }

    #[tokio::test]
    async fn appends_that_never_pause_keep_nothing_from_its_replay_unless_nobody_takes_what_is_before_it() {
        let mut place = Place::new();
        let (first, _waiting) = request(10);
        place.writer.write(vec![first]).await;
        let open = place.writer.open.as_mut().expect("a young file is written to");
        open.begun = open.begun.checked_sub(LONGEST).expect("a machine that runs for seconds");
        for (is_stuck, closed) in [(true, vec![]), (false, vec![30])] {
            place.writer.shared.clicks.stuck(is_stuck);
            let (another, _waiting) = request(10);
            place.writer.write(vec![another]).await;
            assert_eq!(place.waiting(), closed, "stuck: {is_stuck}");
        }
    }

    #[test]
    fn what_a_process_left_behind_has_the_age_of_its_file() {
        let folder = std::env::temp_dir().join(format!("spill-{}", common::ids::random().simple()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let hours_ago = SystemTime::now() - Duration::from_secs(3 * 60 * 60);
        for (name, since) in [("0000000000000000.clicks", SystemTime::now()), ("0000000000000001.clicks", hours_ago)] {
            let file = File::create(folder.join(name)).expect("a file");
            file.set_len(9).expect("nine bytes");
            file.set_modified(since).expect("another time");
        }
        let (spill, _writer, _replay) = Spill::open(&folder, 64 << 20).expect("a spill");
        let age = spill.oldest().expect("clicks wait").elapsed().expect("in the past");
        assert!(age >= Duration::from_secs(3 * 60 * 60 - 1), "{age:?}");
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn what_was_kept_for_people_goes_after_a_day() {
        let place = Place::new();
        let folder = place.folder.clone();
        for (name, hours) in [("0000000000000000.rest", 25), ("0000000000000001.rest", 23)] {
            let file = File::create(folder.join(name)).expect("a file");
            file.set_len(9).expect("nine bytes");
            let kept_since = std::time::SystemTime::now() - Duration::from_secs(hours * 60 * 60);
            file.set_modified(kept_since).expect("another time");
        }
        assert_eq!(rests(&folder).expect("the folder"), 9);
        assert!(!folder.join("0000000000000000.rest").exists() && folder.join("0000000000000001.rest").exists());
    }

    #[test]
    fn a_process_that_leaves_the_folder_within_a_moment_is_waited_for() {
        let folder = std::env::temp_dir().join(format!("spill-{}", common::ids::random().simple()));
        let (_, writer, _) = Spill::open(&folder, 64 << 20).expect("a spill");
        let leaving = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(writer);
        });
        assert!(Spill::open(&folder, 64 << 20).is_ok(), "the folder is free by now");
        leaving.join().expect("the process before");
        let _ = std::fs::remove_dir_all(folder);
    }
}
