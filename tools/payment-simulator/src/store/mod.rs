//! The one file that holds everything. A state-changing answer is on disk before it is sent.
//!
//! Decided here: one writer. Jobs queue up, the writer takes what is waiting (at most [`BATCH`]), runs the jobs one after
//! the other in one transaction, commits it with one flush, and only then lets the callers know. So decisions never race,
//! and fifty callers share the price of one flush. Not decided here: what a job decides.

mod rows;
mod session;

use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadTransaction, ReadableDatabase, WriteTransaction};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

pub use rows::{Delivery, Record, StoredAnswer};
pub use session::{DueKey, Reading, Session};

/// Jobs that share one commit. More would only make the first of them wait longer.
const BATCH: usize = 128;
/// Jobs that may wait; beyond it callers wait for room, which slows the clients down instead of growing the memory.
const WAITING: usize = 1024;
/// Pages kept in memory. The file of a whole demo is smaller; the default of the library (1 GiB) is not ours to take.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("state file cannot be opened")]
    Open(#[source] redb::DatabaseError),
    #[error("state file cannot be read or written")]
    Engine(#[source] Box<redb::Error>),
    #[error("row {key} of table {table} does not convert: {problem}")]
    Inconsistent { table: &'static str, key: String, problem: String },
    #[error("the writer has stopped")]
    Stopped,
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Engine(Box::new(error.into()))
    }
}

/// Runs in the writer; what it returns is called after the commit.
type Job = Box<dyn FnOnce(&Session<'_>) -> Result<Announce, StoreError> + Send>;
type Announce = Box<dyn FnOnce() + Send>;

/// A handle on the state file. The file is closed when the last handle is gone.
#[derive(Clone)]
pub struct Store {
    database: Arc<Database>,
    jobs: mpsc::Sender<Job>,
}

impl Store {
    /// Opens or creates the file and starts its writer among the tasks of `tracker`.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the file is held by another process, cannot be created or is damaged.
    pub fn open(path: &Path, tracker: &TaskTracker) -> Result<Self, StoreError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(StoreError::Open)?;
        let setup = database.begin_write()?;
        Session::new(&setup).create_tables()?;
        setup.commit()?;
        let database = Arc::new(database);
        let (jobs, queue) = mpsc::channel(WAITING);
        let writer = Arc::clone(&database);
        tracker.spawn_blocking(move || write_all(&writer, queue));
        Ok(Self { database, jobs })
    }

    /// Runs `job` in the writer and returns its result once it is on disk. A job that fails takes the jobs of its
    /// batch with it: a broken state file is no moment for half measures.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] when the commit failed or the writer is gone; nothing of the job is stored then.
    pub async fn write<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Session<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            let result = job(session)?;
            // A caller that has gone away does not change what has been done.
            Ok(Box::new(move || drop(answer.send(result))))
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Stopped)?;
        answered.await.map_err(|_| StoreError::Stopped)
    }

    /// Runs `view` on the last committed state, on a thread where waiting for the disk disturbs nobody.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or a row does not convert.
    pub async fn read<T, F>(&self, view: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Reading) -> Result<T, StoreError> + Send + 'static,
    {
        let snapshot: ReadTransaction = self.database.begin_read()?;
        let view = move || view(&Reading::new(snapshot));
        tokio::task::spawn_blocking(view).await.map_err(|_| StoreError::Stopped)?
    }
}

fn write_all(database: &Database, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            let Ok(next) = queue.try_recv() else { break };
            batch.push(next);
        }
        if let Err(error) = write_batch(database, batch) {
            tracing::error!(error = &error as &dyn std::error::Error, "state could not be written");
        }
    }
}

fn write_batch(database: &Database, batch: Vec<Job>) -> Result<(), StoreError> {
    let transaction: WriteTransaction = database.begin_write()?;
    let session = Session::new(&transaction);
    let announcements = batch.into_iter().map(|job| job(&session)).collect::<Result<Vec<_>, _>>()?;
    transaction.commit()?;
    for announce in announcements {
        announce();
    }
    Ok(())
}
