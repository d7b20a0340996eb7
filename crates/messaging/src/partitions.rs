//! Records of a consumer group, a worker per partition: work of different partitions overlaps, within a partition records
//! are handled in order, and the offset moves only past what is done.
//!
//! When a partition falls behind, by number or by bytes, it is paused at the broker client; the others go on. A partition that
//! moves to another process may have records handled twice, once here and once there: inbox rows and profile offsets absorb
//! that. One whose worker asks for earlier records is moved back (`rewind`), and what waits of it is thrown away.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use prometheus::IntGauge;
use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{CommitMode, Consumer as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::crash::{self, Boundary, Crashed};
use crate::kafka::Record;
use crate::lag::Follower;
use crate::metrics;
use crate::rewind::{self, Past, Rewind, Step};

/// Records of one partition waiting in memory before it is paused, and the level at which it goes on.
const PAUSE_AT: usize = 2_048;
const RESUME_AT: usize = 512;
/// The same in bytes: a record may have a megabyte, and whoever catches up has many partitions full of what waits. A batch is
/// never more than what waits, so this bounds it as well.
const PAUSE_AT_BYTES: usize = 4 << 20;
const RESUME_AT_BYTES: usize = 1 << 20;
/// How often offsets of finished work are committed: what a crash makes us handle again.
const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// Time for workers to finish what they hold when the process stops.
const DRAIN: Duration = Duration::from_secs(10);

/// What a worker does with records of its partition.
#[async_trait]
pub(crate) trait Work: Send + Sync {
    /// A partition may have been somebody else's until now. Called before its first record, and before the next one after
    /// partitions were dealt out anew.
    async fn begin(&self, _shutdown: &CancellationToken) -> Result<(), Stop> {
        Ok(())
    }

    /// Handles a prefix of `records` (at least one, never empty) and says how many are done.
    async fn handle(&self, records: &[Record], shutdown: &CancellationToken) -> Result<usize, Stop>;

    /// The same when `handle` wanted earlier records and there are none. Never wants any itself.
    async fn handle_as_first(&self, records: &[Record], shutdown: &CancellationToken) -> Result<usize, Stop> {
        self.handle(records, shutdown).await
    }

    /// Most records handed over at once.
    fn batch(&self) -> usize;
}

/// Why a worker ends.
#[derive(Debug)]
pub(crate) enum Stop {
    ShuttingDown,
    Crashed(Crashed),
    /// Earlier records are to come first. Nothing is done.
    Behind(Rewind),
}

/// A worker that ends so that its partition is moved back. Its queue comes along: until the move is made, what is still put into it is
/// kept from being taken for the beginning of the new run.
struct Back {
    place: Place,
    to: i64,
    past: Past,
    _queue: mpsc::UnboundedReceiver<Record>,
}

impl From<Crashed> for Stop {
    fn from(crashed: Crashed) -> Self {
        Self::Crashed(crashed)
    }
}

type Place = (String, i32);

struct Worker {
    queue: mpsc::UnboundedSender<Record>,
    waiting: Arc<Waiting>,
    paused: Option<Paused>,
}

/// A partition that is paused; the gauge of its group tells it for as long as it is.
struct Paused(IntGauge);

impl Paused {
    fn new(group: &str) -> Self {
        let gauge = metrics::CONSUMER_PAUSED.with_label_values(&[group]);
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What a worker has not done yet.
#[derive(Debug, Default)]
struct Waiting {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

impl Waiting {
    fn add(&self, record: &Record) {
        self.records.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(size(record), Ordering::Relaxed);
    }

    fn take(&self, done: &[Record]) {
        self.records.fetch_sub(done.len(), Ordering::Relaxed);
        self.bytes.fetch_sub(done.iter().map(size).sum(), Ordering::Relaxed);
    }

    fn is_too_much(&self) -> bool {
        self.records.load(Ordering::Relaxed) >= PAUSE_AT || self.bytes.load(Ordering::Relaxed) >= PAUSE_AT_BYTES
    }

    fn is_little(&self) -> bool {
        self.records.load(Ordering::Relaxed) <= RESUME_AT && self.bytes.load(Ordering::Relaxed) <= RESUME_AT_BYTES
    }
}

fn size(record: &Record) -> usize {
    record.key.len() + record.payload.len()
}

/// Runs until `shutdown` or a crash point.
pub(crate) async fn run(consumer: Follower, work: Arc<dyn Work>, shutdown: CancellationToken) -> Result<(), Crashed> {
    let consumer = Arc::new(consumer);
    let mut workers: HashMap<Place, Worker> = HashMap::new();
    let mut tasks: JoinSet<Result<Option<Back>, Stop>> = JoinSet::new();
    // Is there an offset that was stored and not yet committed?
    let stored = Arc::new(AtomicBool::new(false));
    let mut tick = tokio::time::interval(COMMIT_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let outcome = loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break Ok(()),
            Some(ended) = tasks.join_next() => match ended {
                Ok(Err(Stop::Crashed(crashed))) => break Err(crashed),
                Ok(Ok(Some(back))) => {
                    let past = go_back(&consumer, &mut workers, &back).await;
                    let worker = start(&mut tasks, &consumer, &work, &stored, &shutdown, past);
                    workers.insert(back.place, worker);
                }
                Ok(_) => {}
                // A panicking handler has lost its record's order; the group starts that partition again from its offset.
                Err(panicked) => {
                    tracing::error!(error = %panicked, "a consumer worker panicked");
                    break Ok(());
                }
            },
            _ = tick.tick() => {
                if let Err(crashed) = commit_offsets(&consumer, &stored, CommitMode::Async) {
                    break Err(crashed);
                }
                resume(&consumer, &mut workers);
            }
            received = consumer.recv() => match received {
                Ok(message) => {
                    let record = Record::from_message(&message.detach());
                    let place = (record.topic.clone(), record.partition);
                    let worker = workers.entry(place.clone()).or_insert_with(|| start(&mut tasks, &consumer, &work, &stored, &shutdown, Past::default()));
                    worker.waiting.add(&record);
                    if worker.queue.send(record).is_err() {
                        workers.remove(&place);
                    } else if worker.waiting.is_too_much() && worker.paused.is_none() {
                        let paused = consumer.pause(&list(&place));
                        worker.paused = paused.is_ok().then(|| Paused::new(consumer.context().group));
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "consumer cannot reach the broker");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            },
        }
    };
    drop(workers);
    if outcome.is_ok() {
        // Workers see the shutdown after the record they are at.
        let _ = tokio::time::timeout(DRAIN, async { while tasks.join_next().await.is_some() {} }).await;
        commit_offsets(&consumer, &stored, CommitMode::Sync)?;
    }
    outcome
}

/// Moves a partition whose worker has ended. Records that wait of it are forgotten; they come again.
async fn go_back(consumer: &Arc<Follower>, workers: &mut HashMap<Place, Worker>, back: &Back) -> Past {
    let worker = workers.remove(&back.place);
    if worker.is_some_and(|worker| worker.paused.is_some()) {
        // Whoever works on it next would not know that it is paused. An error says that it is somebody else's.
        let _ = consumer.resume(&list(&back.place));
    }
    let (topic, partition) = &back.place;
    rewind::seek(consumer, topic, *partition, back.to, back.past).await
}

fn start(
    tasks: &mut JoinSet<Result<Option<Back>, Stop>>,
    consumer: &Arc<Follower>,
    work: &Arc<dyn Work>,
    stored: &Arc<AtomicBool>,
    shutdown: &CancellationToken,
    past: Past,
) -> Worker {
    let (queue, records) = mpsc::unbounded_channel();
    let waiting = Arc::new(Waiting::default());
    tasks.spawn(crash::carried(work_off(
        records,
        Arc::clone(&waiting),
        Arc::clone(consumer),
        Arc::clone(work),
        Arc::clone(stored),
        shutdown.clone(),
        past,
    )));
    Worker { queue, waiting, paused: None }
}

/// Works until nobody sends any more, or until the partition has to be moved back.
async fn work_off(
    mut queue: mpsc::UnboundedReceiver<Record>,
    waiting: Arc<Waiting>,
    consumer: Arc<Follower>,
    work: Arc<dyn Work>,
    stored: Arc<AtomicBool>,
    shutdown: CancellationToken,
    mut past: Past,
) -> Result<Option<Back>, Stop> {
    let mut held: Vec<Record> = Vec::new();
    let mut begun = None;
    loop {
        if held.is_empty() {
            let received = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(None),
                received = queue.recv_many(&mut held, work.batch()) => received,
            };
            if received == 0 {
                return Ok(None);
            }
        }
        let deals = consumer.context().deals();
        if begun != Some(deals) {
            work.begin(&shutdown).await?;
            begun = Some(deals);
        }
        let batch = in_order(&held);
        let done = match work.handle(batch, &shutdown).await {
            Err(Stop::Behind(wish)) => match rewind::decide(&consumer, &batch[0], wish, &mut past, &shutdown).await? {
                Step::Back(to) => {
                    let place = (batch[0].topic.clone(), batch[0].partition);
                    return Ok(Some(Back { place, to, past, _queue: queue }));
                }
                Step::First => work.handle_as_first(batch, &shutdown).await?,
            },
            outcome => outcome?,
        };
        let done = done.clamp(1, batch.len());
        past.done();
        let last = &batch[done - 1];
        // Fails when the partition has moved away meanwhile; then its new owner decides.
        let _ = consumer.store_offset(&last.topic, last.partition, last.offset);
        stored.store(true, Ordering::Release);
        waiting.take(&batch[..done]);
        held.drain(..done);
        crash::point("consumer.after_offset")?;
    }
}

/// The first of `records` as far as their offsets rise. A move that the client did not confirm in time may happen later, in the middle of
/// what waits; what stands behind it is a batch of its own, else earlier records would hide behind later ones.
fn in_order(records: &[Record]) -> &[Record] {
    let turn = records.windows(2).position(|pair| pair[1].offset <= pair[0].offset);
    turn.map_or(records, |last| &records[..=last])
}

fn resume(consumer: &Follower, workers: &mut HashMap<Place, Worker>) {
    for (place, worker) in workers.iter_mut().filter(|(_, worker)| worker.paused.is_some()) {
        if worker.waiting.is_little() && consumer.resume(&list(place)).is_ok() {
            worker.paused = None;
        }
    }
}

/// Tells the group how far its work is done. An idle group has nothing to tell.
fn commit_offsets(consumer: &Follower, stored: &AtomicBool, mode: CommitMode) -> Result<(), Crashed> {
    if !stored.swap(false, Ordering::AcqRel) {
        return Ok(());
    }
    if let Err(error) = crash::around_now(Boundary::Offsets, || consumer.commit_consumer_state(mode))? {
        // What a rebalance has committed already, or what the next owner decides.
        tracing::debug!(error = %error, "offsets not committed");
    }
    Ok(())
}

fn list((topic, partition): &Place) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(1);
    // Adding a partition to a list that we made cannot fail for a valid offset.
    let _ = list.add_partition_offset(topic, *partition, Offset::Invalid);
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(number: usize, bytes: usize) -> Vec<Record> {
        let record = Record {
            topic: String::new(),
            partition: 0,
            offset: 0,
            key: "k".into(),
            payload: vec![0; bytes - 1].into(),
            headers: Vec::new(),
        };
        vec![record; number]
    }

    #[test]
    fn records_that_were_read_again_in_the_middle_of_a_batch_are_another_batch() {
        let at = |offsets: &[i64]| -> Vec<Record> {
            let one = records(1, 10).remove(0);
            offsets.iter().map(|offset| Record { offset: *offset, ..one.clone() }).collect()
        };
        for (offsets, first, why) in [
            (&[7][..], 1, "one"),
            (&[7, 8, 12, 13][..], 4, "the topic has holes"),
            (&[18, 19, 5, 6, 7][..], 2, "it was moved back"),
            (&[18, 5, 6, 3, 4][..], 1, "twice"),
            (&[18, 19, 19, 20][..], 2, "to the record before"),
        ] {
            assert_eq!(in_order(&at(offsets)).len(), first, "{why}");
        }
    }

    #[test]
    fn a_partition_waits_when_too_many_records_do_or_too_many_bytes_and_goes_on_when_few_of_both_are_left() {
        for (number, bytes, why) in [(PAUSE_AT, 100, "many small ones"), (5, 1 << 20, "a few large ones")] {
            let (waiting, all) = (Waiting::default(), records(number, bytes));
            all.iter().for_each(|record| waiting.add(record));
            assert!(waiting.is_too_much() && !waiting.is_little(), "{why}");
            let (last, done) = all.split_last().expect("records");
            waiting.take(&done[..done.len() / 2]);
            assert!(!waiting.is_too_much() && !waiting.is_little(), "half of them, {why}");
            waiting.take(&done[done.len() / 2..]);
            assert!(waiting.is_little(), "{why}");
            waiting.take(std::slice::from_ref(last));
            assert_eq!(
                (waiting.records.into_inner(), waiting.bytes.into_inner()),
                (0, 0),
                "nothing is forgotten, {why}"
            );
        }
    }
}
