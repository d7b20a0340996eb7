//! A worker whose partitions are behind in part, and who fills them: for the bench `catch-up`. Decided here: which partitions are behind,
//! how they are held up, and how late a report is.
//!
//!     lagging, for each line:
//!         hold               from now on the lagging partitions stand still
//!         work RECORDS       they go on: `done RECORDS MS LIVE P50_MS P99_MS` when so many of theirs are folded; the last three are the live
//!                            records of that time and how late they were
//!         watch MS           the same numbers of so long a time in which nobody works anything off
//!         settle LIVE BEHIND `done LIVE BEHIND` of all time, when there are so many
//!     source, for each line:
//!         behind RECORDS     so many reports for the lagging partitions, as fast as the broker takes them: `done RECORDS`
//!         live RATE          so many reports a second for the others from now on: `done 0`
//!         stop               no more of them: `done SENT`
//!
//! What holds a partition up is a handler that does not return, as with a store that was away for it. Its queue fills, the partition is
//! paused at the client, and the rest waits at the broker.

use std::io::BufRead as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use common::SharedClock;
use contracts::topics::{CLICKSTREAM_PARKED, CLICKSTREAM_RAW};
use messaging::{BatchConsumer, BatchHandler, Firehose, FirehoseError, Record};
use personalization::inbound::clicks::ClickConsumer;
use personalization::outbound::visit_file::VisitFile;
use personalization::usecases::VisitIndex;
use personalization::wiring;
use prost::Message as _;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{AT_ONCE, Bench, STUCK, person, report_of};

/// People of both kinds of partitions.
const PEOPLE: u64 = 8_000;
/// Between two looks at what is due.
const STEP: Duration = Duration::from_millis(1);

const GROUP: &str = "bench-catch-up";

/// Whether a partition is among those that are behind: as many as one worker of four has.
fn is_lagging(partition: u32) -> bool {
    partition < CLICKSTREAM_RAW.partitions.unsigned_abs() / 4
}

/// Where the broker's client puts a key: zlib's CRC-32 of it, over the partitions.
fn partition(key: &str) -> u32 {
    let sum = !key.bytes().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    });
    sum % CLICKSTREAM_RAW.partitions.unsigned_abs()
}

struct Source {
    firehose: Firehose,
    clock: SharedClock,
    lagging: Vec<String>,
    live: Vec<String>,
    /// Of the next report: no click has the name of another.
    next: AtomicU64,
}

impl Source {
    fn now_ms(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    async fn send(self: Arc<Self>, who: String, received_at_ms: i64) -> Result<(), FirehoseError> {
        let report = report_of(who, self.next.fetch_add(1, Ordering::Relaxed), received_at_ms);
        self.firehose.publish(&CLICKSTREAM_RAW, &report.pseudonym, &report.encode_to_vec()).await
    }

    async fn pile_up(self: &Arc<Self>, records: u64) -> Result<()> {
        let (now_ms, mut under_way) = (self.now_ms(), JoinSet::new());
        for record in 0..records {
            under_way.spawn(Arc::clone(self).send(one_of(&self.lagging, record), now_ms));
            if under_way.len() as u64 >= AT_ONCE {
                under_way.join_next().await.context("something is under way")???;
            }
        }
        while let Some(sent) = under_way.join_next().await {
            sent??;
        }
        Ok(())
    }

    /// `rate` reports a second until `stop`. Each is received when it is due, so that a source that is late makes its reports late.
    async fn flow(self: Arc<Self>, rate: u64, stop: CancellationToken) -> Result<u64> {
        let (began, began_ms) = (Instant::now(), self.now_ms());
        let (mut sent, mut under_way) = (0, JoinSet::new());
        while !stop.is_cancelled() {
            tokio::time::sleep(STEP).await;
            let due = u64::try_from(began.elapsed().as_micros())? * rate / 1_000_000;
            while sent < due {
                let due_ms = began_ms + i64::try_from(sent * 1_000 / rate)?;
                under_way.spawn(Arc::clone(&self).send(one_of(&self.live, sent), due_ms));
                sent += 1;
            }
            while let Some(sent) = under_way.try_join_next() {
                sent??;
            }
            if under_way.len() as u64 > AT_ONCE {
                bail!("the broker does not keep pace with {rate} reports a second");
            }
        }
        while let Some(sent) = under_way.join_next().await {
            sent??;
        }
        Ok(sent)
    }
}

fn one_of(people: &[String], number: u64) -> String {
    let place = number as usize % people.len().max(1);
    people.get(place).cloned().unwrap_or_default()
}

pub async fn source(bench: &Bench) -> Result<()> {
    let (kafka, region) = (&bench.config.kafka, bench.process.site().region);
    messaging::create_topics(kafka, region, &[&CLICKSTREAM_RAW, &CLICKSTREAM_PARKED]).await?;
    let (lagging, live): (Vec<String>, Vec<String>) =
        (0..PEOPLE).map(person).partition(|person| is_lagging(partition(person)));
    let source = Arc::new(Source {
        firehose: Firehose::new(kafka, region)?,
        clock: bench.process.clock(),
        lagging,
        live,
        next: AtomicU64::new(0),
    });
    let mut flowing: Option<(CancellationToken, JoinHandle<Result<u64>>)> = None;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["behind", records] => {
                let records = records.parse()?;
                source.pile_up(records).await?;
                println!("done {records}");
            }
            ["live", rate] => {
                let (stop, rate) = (CancellationToken::new(), rate.parse::<u64>()?.max(1));
                flowing = Some((stop.clone(), tokio::spawn(Arc::clone(&source).flow(rate, stop))));
                println!("done 0");
            }
            ["stop"] => {
                let (stop, running) = flowing.take().context("nothing flows")?;
                stop.cancel();
                println!("done {}", running.await??);
            }
            _ => bail!("a source is asked for `behind RECORDS`, `live RATE` or `stop`"),
        }
    }
    Ok(())
}

/// The one field of a report by which it is late or not; the others are passed over.
#[derive(Clone, PartialEq, prost::Message)]
struct Receipt {
    #[prost(int64, tag = "3")]
    received_at_ms: i64,
}

/// The service's consumer, which can be held up in part.
struct Lagging {
    inner: ClickConsumer,
    clock: SharedClock,
    /// Whether the lagging partitions go on.
    open: watch::Sender<bool>,
    behind: AtomicU64,
    live: AtomicU64,
    /// How late the live records were since somebody last looked, in milliseconds.
    late: Mutex<Vec<u64>>,
}

#[async_trait]
impl BatchHandler for Lagging {
    async fn handle(&self, partition: i32, records: &[Record]) -> Result<()> {
        let is_lagging = is_lagging(partition.unsigned_abs());
        if is_lagging {
            self.open.subscribe().wait_for(|open| *open).await.map(drop)?;
        }
        self.inner.handle(partition, records).await?;
        if is_lagging {
            self.behind.fetch_add(records.len() as u64, Ordering::Relaxed);
            return Ok(());
        }
        let now_ms = self.clock.now().timestamp_millis();
        let late = records.iter().map(|record| -> Result<u64> {
            let receipt = Receipt::decode(record.payload.clone())?;
            Ok(u64::try_from((now_ms - receipt.received_at_ms).max(0))?)
        });
        let late = late.collect::<Result<Vec<_>>>()?;
        self.late.lock().unwrap_or_else(PoisonError::into_inner).extend(late);
        self.live.fetch_add(records.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl Lagging {
    /// Forgets how late live records were, and gives it: how many, the middle, the 99th percentile.
    fn look(&self) -> [u64; 3] {
        let mut late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        late.sort_unstable();
        let of = |percent: usize| late.get((late.len() * percent / 100).min(late.len().saturating_sub(1)));
        [late.len() as u64, of(50).copied().unwrap_or(0), of(99).copied().unwrap_or(0)]
    }

    async fn until(&self, count: &AtomicU64, wanted: u64) -> Result<()> {
        let (mut done, mut since) = (count.load(Ordering::Relaxed), Instant::now());
        while done < wanted {
            tokio::time::sleep(STEP).await;
            let now = count.load(Ordering::Relaxed);
            if now > done {
                (done, since) = (now, Instant::now());
            }
            if since.elapsed() > STUCK {
                bail!("{done} of {wanted} records were folded, and nothing happens");
            }
        }
        Ok(())
    }
}

pub async fn lagging(bench: &Bench) -> Result<()> {
    // Lines and spans as in the service, so that they cost what they cost there.
    let _telemetry = chassis::telemetry::install("personalization", chassis::Role::Work, &bench.config.common)?;
    let store = bench.store()?;
    bench.learn_products(&store).await?;
    let lagging = Arc::new(Lagging {
        inner: bench.clicks(&store, GROUP)?,
        clock: bench.process.clock(),
        open: watch::Sender::new(true),
        behind: AtomicU64::new(0),
        live: AtomicU64::new(0),
        late: Mutex::default(),
    });
    let (kafka, region) = (&bench.config.kafka, bench.process.site().region);
    let consumer = BatchConsumer::new(GROUP, &[&CLICKSTREAM_RAW], region, kafka, lagging.clone())?;
    // Both run until the bench ends this program. A worker leads the index of visits as well.
    let stop = CancellationToken::new();
    let visits = Arc::new(VisitIndex::default());
    tokio::spawn(wiring::keep_visits(visits, Arc::new(store), VisitFile::default(), stop.clone()));
    tokio::spawn(consumer.run(stop));
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["hold"] => {
                lagging.open.send_replace(false);
                println!("done 0");
            }
            ["work", records] => {
                let records: u64 = records.parse()?;
                let wanted = lagging.behind.load(Ordering::Relaxed) + records;
                lagging.look();
                let began = Instant::now();
                lagging.open.send_replace(true);
                lagging.until(&lagging.behind, wanted).await?;
                tell(records, began.elapsed(), lagging.look());
            }
            ["watch", ms] => {
                lagging.look();
                let began = Instant::now();
                tokio::time::sleep(Duration::from_millis(ms.parse()?)).await;
                tell(0, began.elapsed(), lagging.look());
            }
            ["settle", live, behind] => {
                lagging.until(&lagging.live, live.parse()?).await?;
                lagging.until(&lagging.behind, behind.parse()?).await?;
                let (live, behind) = (&lagging.live, &lagging.behind);
                println!("done {} {}", live.load(Ordering::Relaxed), behind.load(Ordering::Relaxed));
            }
            _ => bail!("a worker is asked to `hold`, `work RECORDS`, `watch MS` or `settle LIVE BEHIND`"),
        }
    }
    Ok(())
}

fn tell(behind: u64, took: Duration, [live, p50, p99]: [u64; 3]) {
    println!("done {behind} {} {live} {p50} {p99}", took.as_millis());
}
