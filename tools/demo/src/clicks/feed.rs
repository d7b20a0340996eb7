//! Very many clicks for the scorer, as records of the intake's format put into the topic directly, while memory is looked at. Decided here:
//! the feed never runs far ahead of the scorer, so that what is measured is a scorer at work and not a topic that fills up.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use contracts::topics::CLICKSTREAM_RAW;
use contracts::user::v1::{Click, ClickType, ClicksReported};
use futures::StreamExt as _;
use messaging::Firehose;
use prost::Message as _;
use redis::aio::MultiplexedConnection;
use xtask::drill::clicks::STATE;
use xtask::drill::clicks::told::{Fed, Sample};
use xtask::drill::told::{BEGINS, ENDS};
use xtask::layout::{self, Layout};
use xtask::ports::Port;
use xtask::{os, stack};

use super::counted::{fact, metric};
use super::people::People;
use super::stream::settings;
use super::{get, open, products};
use crate::catalog_drill::say;
use crate::generate::spread;
use crate::stack::Stack;

pub struct FeedOptions {
    pub seed: u64,
    pub events: u64,
    pub people: u64,
    pub sample_every: u64,
}

/// Events of one record: as many as a page that was offline for a while reports at once.
const EVENTS: u64 = 100;
/// Records of one step, and of these under way at once.
const RECORDS: u64 = 500;
const AT_ONCE: usize = 64;
/// Records that may wait for the scorer.
const AHEAD: u64 = 5_000;
/// Longest time without any progress of the scorer, and between two looks at it.
const PROGRESS_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// People whose keys are measured for a sample.
const MEASURED: u64 = 40;
/// What is looked at: everything on the path but the intake, which this feed does without.
const PROCESSES: [&str; 4] = ["personalization-work", "personalization-serve", "redis", "kafka"];

/// # Errors
/// The region is not there, or its scorer does not go on.
pub async fn feed(stack: &Stack, options: &FeedOptions) -> anyhow::Result<bool> {
    let run = super::name_of_run();
    let skus = products(stack).await?;
    let feed = Feed {
        people: People::new(&run, stack.region.code()),
        firehose: Firehose::new(&settings(stack.address(Port::Kafka)), stack.region)?,
        metrics: format!("{}/metrics", stack.url(Port::PersonalizationWorkAdmin)),
        layout: Layout::open(&layout::checkout(), Path::new(STATE))?,
        skus,
        seed: options.seed,
        clickers: options.people.max(1),
        run,
    };
    let mut redis = open(stack).await?;
    say(BEGINS)?;
    let fed = feed.all(options, &mut redis).await;
    say(ENDS)?;
    let fed = fed?;
    say(&serde_json::to_string(&fed)?)?;
    Ok(true)
}

struct Feed {
    people: People,
    firehose: Firehose,
    /// Address of the scorer's metrics.
    metrics: String,
    layout: Layout,
    skus: Vec<String>,
    seed: u64,
    clickers: u64,
    run: String,
}

impl Feed {
    async fn all(&self, options: &FeedOptions, redis: &mut MultiplexedConnection) -> anyhow::Result<Fed> {
        let (began, before) = (Instant::now(), self.counted().await?);
        let records = options.events.div_ceil(EVENTS);
        let (mut sent, mut next_sample, mut samples) = (0, options.sample_every.max(1), Vec::new());
        while sent < records {
            let until = (sent + RECORDS).min(records);
            self.send(sent..until).await?;
            sent = until;
            let counted = self.wait_for(before + sent.saturating_sub(AHEAD)).await? - before;
            if counted * EVENTS >= next_sample {
                samples.push(self.sample(counted * EVENTS, redis).await?);
                next_sample = counted * EVENTS + options.sample_every.max(1);
            }
        }
        let counted = self.wait_for(before + sent).await? - before;
        samples.push(self.sample(counted * EVENTS, redis).await?);
        let stats: String = redis::cmd("INFO").arg("stats").query_async(redis).await?;
        Ok(Fed {
            events: counted * EVENTS,
            records: counted,
            people: self.clickers,
            seconds: began.elapsed().as_secs_f64(),
            evicted: fact(&stats, "evicted_keys"),
            samples,
        })
    }

    async fn send(&self, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
        let mut sending = futures::stream::iter(numbers.map(|number| self.publish(number))).buffer_unordered(AT_ONCE);
        while let Some(sent) = sending.next().await {
            sent?;
        }
        Ok(())
    }

    async fn publish(&self, number: u64) -> anyhow::Result<()> {
        let person = spread(&format!("{}-{number}", self.seed)) as u64 % self.clickers;
        let pseudonym = self.people.pseudonym(person);
        let payload = self.record(number, &pseudonym).encode_to_vec();
        let until = Instant::now() + PROGRESS_WITHIN;
        loop {
            match self.firehose.publish(&CLICKSTREAM_RAW, &pseudonym, &payload).await {
                Ok(()) => return Ok(()),
                // Sent again, it may be there twice: then it counts once, and as one that was repeated.
                Err(_) if Instant::now() < until => tokio::time::sleep(LOOK_EVERY).await,
                Err(error) => return Err(error).context("feed the topic of clicks"),
            }
        }
    }

    /// What a person reports at once: mostly views, all over the shop.
    fn record(&self, number: u64, pseudonym: &str) -> ClicksReported {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let click = |event: u64| {
            // A linear congruential step (Knuth, MMIX) is cheaper than hashing a text, and this is done fifty million times.
            let dice = (number * EVENTS + event).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(self.seed) >> 33;
            let place = usize::try_from(dice).unwrap_or(0) % self.skus.len();
            let kind = if dice.is_multiple_of(16) { ClickType::Add } else { ClickType::View };
            Click {
                event_id: format!("f{}-{number}-{event}", self.run),
                r#type: kind as i32,
                sku: self.skus[place].clone(),
                at_ms: now_ms,
                ..Click::default()
            }
        };
        ClicksReported {
            pseudonym: pseudonym.to_owned(),
            personalisation_consent: true,
            received_at_ms: now_ms,
            clicks: (0..EVENTS).map(click).collect(),
            bot: false,
        }
    }

    /// Records that the scorer has counted since it began.
    async fn counted(&self) -> anyhow::Result<u64> {
        let text = get(&self.metrics).await?;
        Ok(metric(&text, "shopsphere_click_reports_total", "outcome=\"folded\"") as u64)
    }

    /// Waits until the scorer has counted so many; gives how many it has.
    async fn wait_for(&self, records: u64) -> anyhow::Result<u64> {
        let (mut seen, mut since) = (self.counted().await?, Instant::now());
        while seen < records {
            if since.elapsed() >= PROGRESS_WITHIN {
                bail!("the scorer stands at {seen} records and does not go on");
            }
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.counted().await?;
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
        }
        Ok(seen)
    }

    async fn sample(&self, events: u64, redis: &mut MultiplexedConnection) -> anyhow::Result<Sample> {
        let memory: String = redis::cmd("INFO").arg("memory").query_async(redis).await?;
        let rss: BTreeMap<String, u64> = PROCESSES
            .into_iter()
            .map(|name| {
                let record = stack::process::running(&self.layout, name);
                (name.to_owned(), record.map_or(0, |record| os::group_rss(record.pid)))
            })
            .collect();
        Ok(Sample { events, rss, redis: fact(&memory, "used_memory"), person: self.person(redis).await? })
    }

    /// Bytes that Redis needs for one person, with their keys: the mean of some, always the same.
    async fn person(&self, redis: &mut MultiplexedConnection) -> anyhow::Result<u64> {
        let (mut bytes, mut people) = (0_u64, 0_u64);
        for person in 0..MEASURED.min(self.clickers) {
            let name = self.people.pseudonym(person);
            let keys = ["interest", "recent", "seen", "lists"].map(|what| contracts::interest::key(what, &name));
            let mut theirs = 0;
            for key in keys {
                let used: Option<u64> =
                    redis::cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0).query_async(redis).await?;
                theirs += used.unwrap_or(0);
            }
            bytes += theirs;
            people += u64::from(theirs > 0);
        }
        Ok(u64::checked_div(bytes, people).unwrap_or(0))
    }
}
