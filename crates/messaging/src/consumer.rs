//! Consumes events one by one: decoded, checked, handed to a [`Handler`], retried or parked.
//!
//! Decided here: what is refused before a handler sees it (undecodable bytes, a foreign region, a future epoch), how long
//! a retry goes on, that a parked key keeps its order, and that records of one key never overlap. Not decided here: that an
//! event has its effect once; that is the inbox row in the handler's own commit.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use common::Explain;
use contracts::{Envelope, Event, Topic};
use rand::Rng as _;
use rdkafka::consumer::Consumer as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::crash::{self, Boundary};
use crate::database::Database;
use crate::kafka::{KafkaSettings, Record};
use crate::lag::{self, Follower};
use crate::metrics;
use crate::parking;
use crate::partitions::{self, Stop, Work};

/// Back-off of a retry: doubles from the first to the last value, with full jitter so that workers do not march in step.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// After this long a message that still asks for a retry is parked, so that its partition goes on. Longer than a database
/// failover; shorter than what a shopper waits for an order.
const RETRY_BUDGET: Duration = Duration::from_secs(60);
/// Records looked at between two looks at the queue; also the most of one partition that are handled side by side.
const BATCH: usize = 64;

/// An event with the facts that travelled beside it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub event: Event,
    pub envelope: Envelope,
}

/// What a handler says about one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It had its effect, now or before.
    Done,
    /// Trying again can help without anybody changing anything.
    Retry,
    /// It will never work as it is; a person must look.
    Park(String),
}

impl Verdict {
    /// `Ok` is done; an error is retried when its kind says that this can help, and parked otherwise.
    pub fn of<T, E: Explain>(result: Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(error) if error.kind().retryable() => {
                tracing::debug!(error = %error, "delivery will be retried");
                Self::Retry
            }
            Err(error) => Self::Park(format!("{}: {error}", error.code())),
        }
    }
}

/// The use cases that a consumer group feeds. May be called twice for one delivery.
#[async_trait]
pub trait Handler: Send + Sync {
    async fn handle(&self, delivery: &Delivery) -> Verdict;
}

/// A consumer group with its handler.
pub struct Consumer {
    consumer: Follower,
    events: Events,
}

struct Events {
    group: &'static str,
    database: Database,
    prefix: String,
    handler: Arc<dyn Handler>,
    /// Topics whose records may be handled side by side when their keys differ.
    overlapping: Vec<&'static str>,
    /// Topics and keys with parked messages, as far as this process knows; the table decides.
    parked: Mutex<HashSet<parking::Queue>>,
    /// For so long a message may ask for a retry.
    patience: Duration,
}

impl Consumer {
    /// # Errors
    /// Settings that the broker client refuses.
    pub fn new(
        group: &'static str,
        topics: &[&Topic],
        database: Database,
        kafka: &KafkaSettings,
        handler: Arc<dyn Handler>,
    ) -> anyhow::Result<Self> {
        let consumer = lag::follower(group, kafka)?;
        let names: Vec<String> = topics.iter().map(|topic| kafka.topic_name(topic, database.region())).collect();
        consumer.subscribe(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        let (prefix, overlapping, parked) = (kafka.topic_prefix.clone(), Vec::new(), Mutex::default());
        let events = Events { group, database, prefix, handler, overlapping, parked, patience: RETRY_BUDGET };
        Ok(Self { consumer, events })
    }

    /// Hands over up to 64 records of one partition of `topic` side by side, never two of one key, for a handler that folds what
    /// it has at hand into one commit. The offset moves when all of them are done, so a stop hands all of them over again.
    #[must_use]
    pub fn overlapping(mut self, topic: &'static Topic) -> Self {
        self.events.overlapping.push(topic.kind);
        self
    }

    /// Parks a message that has asked for a retry for longer than this, instead of after a minute. For tests, which would have to wait.
    #[must_use]
    pub fn patient_for(mut self, patience: Duration) -> Self {
        self.events.patience = patience;
        self
    }

    /// Consumes until `shutdown`.
    ///
    /// # Errors
    /// Only a crash point ends it early.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), crash::Crashed> {
        partitions::run(self.consumer, Arc::new(self.events), shutdown).await
    }
}

#[async_trait]
impl Work for Events {
    /// Whoever had the partition before may have parked messages, and what follows them stays behind them.
    async fn begin(&self, shutdown: &CancellationToken) -> Result<(), Stop> {
        loop {
            match parking::waiting_queues(&self.database, self.group).await {
                Ok(queues) => {
                    self.parked().extend(queues);
                    return Ok(());
                }
                Err(error) => tracing::warn!(error = %error, "parked messages could not be read"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return Err(Stop::ShuttingDown),
                () = tokio::time::sleep(LAST_PAUSE) => {}
            }
        }
    }

    async fn handle(&self, records: &[Record], shutdown: &CancellationToken) -> Result<usize, Stop> {
        let round = &records[..self.side_by_side(records)];
        let settled = futures::future::join_all(round.iter().map(|record| self.settle(record, shutdown))).await;
        settled.into_iter().collect::<Result<(), Stop>>()?;
        Ok(round.len())
    }

    fn batch(&self) -> usize {
        BATCH
    }
}

impl Events {
    /// How many of `records`, all of one partition, may be handled at once: as far as their keys differ.
    fn side_by_side(&self, records: &[Record]) -> usize {
        let Some(first) = records.first() else { return 0 };
        let name = first.topic.strip_prefix(&self.prefix).unwrap_or(&first.topic);
        let topic = Topic::of(name, self.database.region());
        if topic.is_none_or(|topic| !self.overlapping.contains(&topic.kind)) {
            return 1;
        }
        let mut keys = HashSet::new();
        records.iter().take_while(|record| keys.insert(&record.key[..])).count()
    }

    /// Brings one record to an end: handled, or parked.
    async fn settle(&self, record: &Record, shutdown: &CancellationToken) -> Result<(), Stop> {
        crash::point("consumer.before_handle")?;
        let mut started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let verdict = self.attempt(record).await;
            crash::point("consumer.after_handle")?;
            match verdict {
                Ok(Verdict::Done) => {
                    metrics::CONSUMED.with_label_values(&[self.group, "done"]).inc();
                    return Ok(());
                }
                Ok(Verdict::Park(reason)) if self.park(record, &reason).await? => return Ok(()),
                Ok(Verdict::Retry)
                    if started.elapsed() > self.patience && self.park(record, "retried for too long").await? =>
                {
                    return Ok(());
                }
                _ => {}
            }
            // While the database is away neither handling nor parking works; the record stays where it is, and nothing of it is spent on it.
            if !self.database.answers().await {
                started = Instant::now();
            }
            metrics::CONSUMED.with_label_values(&[self.group, "retry"]).inc();
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
            tokio::select! {
                () = shutdown.cancelled() => return Err(Stop::ShuttingDown),
                () = tokio::time::sleep(jittered) => pause = (pause * 2).min(LAST_PAUSE),
            }
        }
    }

    async fn attempt(&self, record: &Record) -> Result<Verdict, sqlx::Error> {
        let queue = (record.topic.clone(), record.key.to_vec());
        if self.parked().contains(&queue) {
            if parking::has_waiting(&self.database, self.group, &queue).await? {
                return Ok(Verdict::Park("behind an earlier parked message of its key".to_owned()));
            }
            self.parked().remove(&queue);
        }
        let delivery = match decode(record, &self.prefix, &self.database) {
            Ok(delivery) => delivery,
            Err(reason) => return Ok(Verdict::Park(reason)),
        };
        let span = tracing::info_span!(
            "event.handle",
            otel.kind = "consumer",
            messaging.system = "kafka",
            messaging.destination.name = %record.topic,
            messaging.consumer.group.name = self.group,
            event.id = %delivery.envelope.id,
        );
        if let Some(traceparent) = &delivery.envelope.traceparent {
            contracts::trace::set_parent(&span, traceparent);
        }
        Ok(crash::about(delivery.event.kind(), self.handler.handle(&delivery)).instrument(span).await)
    }

    async fn park(&self, record: &Record, reason: &str) -> Result<bool, crash::Crashed> {
        let parked = parking::park(&self.database, self.group, record, reason);
        Ok(match crash::around(Boundary::Park, parked).await? {
            Ok(()) => {
                tracing::error!(group = self.group, topic = %record.topic, partition = record.partition, offset = record.offset, reason, "message parked");
                metrics::CONSUMED.with_label_values(&[self.group, "parked"]).inc();
                self.parked().insert((record.topic.clone(), record.key.to_vec()));
                true
            }
            Err(error) => {
                tracing::warn!(error = %error, "message could not be parked");
                false
            }
        })
    }

    fn parked(&self) -> std::sync::MutexGuard<'_, HashSet<parking::Queue>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record as a delivery, or the reason why it is none.
pub(crate) fn decode(record: &Record, prefix: &str, database: &Database) -> Result<Delivery, String> {
    let name = record.topic.strip_prefix(prefix).unwrap_or(&record.topic);
    let topic = Topic::of(name, database.region()).ok_or_else(|| format!("topic {name} is not of this region"))?;
    let envelope = Envelope::from_headers(|header| record.header(header)).map_err(|error| error.to_string())?;
    if envelope.region != database.region() {
        return Err(format!("written in region {}", envelope.region));
    }
    if envelope.epoch > database.epoch().get() {
        return Err(format!("written under epoch {}, which is after ours", envelope.epoch));
    }
    let event = Event::decode(topic, &record.payload).map_err(|error| error.to_string())?;
    // An empty key would put every such event under one aggregate.
    if event.key().is_empty() || event.key().as_bytes() != &record.key[..] {
        return Err("its key is not the one in its body".to_owned());
    }
    Ok(Delivery { event, envelope })
}
