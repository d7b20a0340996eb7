//! What is in the topic of clicks and in the bad stream, read from their beginnings. Decided here: of copies of one event the first in the
//! stream is the one that the scorer counts, because all clicks of one person are in one partition. A copy of a record of the bad stream is
//! known by its name, and is none of an event that was sent again.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use async_trait::async_trait;
use common::Region;
use contracts::topics::{CLICKSTREAM_RAW, CLICKSTREAM_REFUSED};
use contracts::user::v1::{ClicksRefused, ClicksReported};
use messaging::{BatchConsumer, BatchHandler, KafkaSettings, KafkaTls, Record};
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::people::{self, CLICKS, People, REQUESTS};

/// Nothing new for this long: there is nothing more. Joining the group has to fit in the first time.
const SILENCE: Duration = Duration::from_secs(15);
/// Longest wait for the end of both topics.
const READ_WITHIN: Duration = Duration::from_secs(900);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// One person's clicks of the topic.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// When the first copy of each event happened, milliseconds since 1970; 0: it is not there.
    at_ms: Vec<i64>,
    pub copies: u64,
}

impl Seen {
    /// When this event happened, if it is there.
    pub fn at_ms(&self, place: usize) -> Option<i64> {
        self.at_ms.get(place).copied().filter(|at| *at != 0)
    }

    #[cfg(test)]
    pub fn at_ms_for_tests(&mut self, place: usize, at_ms: i64) {
        self.at_ms[place] = at_ms;
    }

    /// One more copy, in the order of the stream.
    pub fn note(&mut self, place: usize, at_ms: i64) {
        self.at_ms.resize(CLICKS, 0);
        match self.at_ms.get_mut(place) {
            Some(first) if *first == 0 => *first = at_ms,
            _ => self.copies += 1,
        }
    }
}

/// Everything of our run in both topics.
#[derive(Debug, Default)]
pub struct Found {
    pub clicks: HashMap<u64, Seen>,
    /// Clicks of the run under a name that is not their person's.
    pub foreign: u64,
    /// Refused events, by person and request: is the reason the one that was due?
    pub bad: HashMap<(u64, usize), bool>,
    /// Names of the records that told of them.
    records: HashSet<String>,
    /// Copies of those records beyond the first of each.
    pub bad_copies: u64,
    /// How often one of the events stands in another record than its first.
    pub bad_again: u64,
    /// Where each partition was read to, so that a record which is delivered again is not taken for a copy.
    read: HashMap<(String, i32), i64>,
}

impl Found {
    fn is_new(&mut self, record: &Record) -> bool {
        let read = self.read.entry((record.topic.clone(), record.partition)).or_insert(-1);
        let new = record.offset > *read;
        *read = record.offset.max(*read);
        new
    }

    fn reported(&mut self, people: &People, payload: &[u8]) {
        let Ok(report) = ClicksReported::decode(payload) else { return };
        let mut known: Option<(u64, bool)> = None;
        for click in report.clicks {
            let Some((person, place)) = people.read(&click.event_id) else { continue };
            let (_, theirs) = known
                .filter(|(before, _)| *before == person)
                .unwrap_or_else(|| (person, people.pseudonym(person) == report.pseudonym));
            known = Some((person, theirs));
            if theirs {
                self.clicks.entry(person).or_default().note(place, click.at_ms);
            } else {
                self.foreign += 1;
            }
        }
    }

    fn refused(&mut self, names: &HashMap<String, u64>, payload: &[u8]) {
        let Ok(told) = ClicksRefused::decode(payload) else { return };
        let Some(person) = names.get(&told.pseudonym) else { return };
        if !self.records.insert(told.record_id) {
            self.bad_copies += 1;
            return;
        }
        for refused in told.refused {
            let request = usize::try_from(refused.index).unwrap_or(REQUESTS);
            let due = request < REQUESTS && people::bad(*person, request).is_some_and(|bad| bad.code == refused.reason);
            match self.bad.entry((*person, request)) {
                Entry::Vacant(first) => {
                    first.insert(due);
                }
                Entry::Occupied(mut before) => {
                    // One that was sent twice is right only if both are.
                    *before.get_mut() &= due;
                    self.bad_again += 1;
                }
            }
        }
    }
}

/// A reader that goes on until it is dropped.
pub struct Stream {
    handler: Arc<Reader>,
    stop: CancellationToken,
}

struct Reader {
    people: People,
    /// Pseudonyms of those who clicked.
    names: HashMap<String, u64>,
    found: Mutex<Found>,
    records: AtomicU64,
}

#[async_trait]
impl BatchHandler for Reader {
    async fn handle(&self, _: i32, records: &[Record]) -> anyhow::Result<()> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            if !found.is_new(record) {
                continue;
            }
            if record.topic.contains(CLICKSTREAM_REFUSED.kind) {
                found.refused(&self.names, &record.payload);
            } else {
                found.reported(&self.people, &record.payload);
            }
        }
        drop(found);
        self.records.fetch_add(records.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl Stream {
    /// Begins to read.
    ///
    /// # Errors
    /// Settings that the broker client refuses.
    pub fn open(
        people: &People,
        clickers: impl Iterator<Item = u64>,
        region: Region,
        kafka: &KafkaSettings,
    ) -> anyhow::Result<Self> {
        let names = clickers.map(|person| (people.pseudonym(person), person)).collect();
        let (found, records) = (Mutex::default(), AtomicU64::new(0));
        let handler = Arc::new(Reader { people: people.clone(), names, found, records });
        // Each read begins at the beginning: a group of its own. It is one for each process, which ends with it.
        let group: &'static str = format!("demo-clicks-{}", common::ids::random()).leak();
        let topics = [&CLICKSTREAM_RAW, &CLICKSTREAM_REFUSED];
        let consumer = BatchConsumer::new(group, &topics, region, kafka, handler.clone())?;
        let stop = CancellationToken::new();
        tokio::spawn(consumer.run(stop.clone()));
        Ok(Self { handler, stop })
    }

    /// Waits until there is nothing more.
    ///
    /// # Errors
    /// There is no end.
    pub async fn to_the_end(&self) -> anyhow::Result<()> {
        let records = || self.handler.records.load(Ordering::Relaxed);
        let until = Instant::now() + READ_WITHIN;
        let (mut seen, mut since) = (records(), Instant::now());
        while since.elapsed() < SILENCE {
            if Instant::now() >= until {
                bail!("the topics of clicks were not read to their end in {} s", READ_WITHIN.as_secs());
            }
            tokio::time::sleep(LOOK_EVERY).await;
            if records() > seen {
                (seen, since) = (records(), Instant::now());
            }
        }
        if seen == 0 {
            bail!("nothing could be read from the topics of clicks");
        }
        Ok(())
    }

    /// Looks at what was found so far.
    pub fn look<T>(&self, with: impl FnOnce(&Found) -> T) -> T {
        with(&self.handler.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The broker of a local region.
pub fn settings(brokers: String) -> KafkaSettings {
    KafkaSettings { brokers, topic_prefix: String::new(), replication: 1, tls: KafkaTls::default() }
}

#[cfg(test)]
mod tests {
    use contracts::user::v1::{Click, RefusedClick};

    use super::*;

    fn report(pseudonym: String, events: &[String], at_ms: i64) -> Vec<u8> {
        let clicks = events.iter().map(|id| Click { event_id: id.clone(), at_ms, ..Click::default() });
        ClicksReported { pseudonym, clicks: clicks.collect(), ..ClicksReported::default() }.encode_to_vec()
    }

    #[test]
    fn the_first_copy_tells_when_it_was_and_others_clicks_are_not_ours() {
        let people = People::new("0123456789ab", "eu");
        let mut found = Found::default();
        let events = [people.event(4, 0), "rolling-1".to_owned(), people.event(4, 7)];
        found.reported(&people, &report(people.pseudonym(4), &events, 1_000));
        found.reported(&people, &report(people.pseudonym(4), &events[2..], 2_000));
        // Planted: the same person's click under another name.
        found.reported(&people, &report(people.pseudonym(5), &events[..1], 3_000));
        found.reported(&people, b"\xff\xff");
        let seen = &found.clicks[&4];
        assert_eq!((seen.at_ms(0), seen.at_ms(7), seen.at_ms(1)), (Some(1_000), Some(1_000), None));
        assert_eq!((seen.copies, found.foreign, found.clicks.len()), (1, 1, 1));
    }

    #[test]
    fn a_refused_event_is_known_by_its_person_and_its_place() {
        let names = HashMap::from([("her".to_owned(), 2)]);
        let code = people::bad(2, 3).expect("a bad event").code;
        let told = |record: &str, pseudonym: &str, index, reason: &str| {
            let refused = vec![RefusedClick { index, reason: reason.to_owned(), sample: String::new() }];
            let (pseudonym, record_id) = (pseudonym.to_owned(), record.to_owned());
            ClicksRefused { pseudonym, received_at_ms: 1, refused, record_id }.encode_to_vec()
        };
        let mut found = Found::default();
        found.refused(&names, &told("r1", "her", 3, code));
        found.refused(&names, &told("r2", "him", 3, code));
        // Planted: another reason, and a place at which nothing bad was sent.
        found.refused(&names, &told("r3", "her", 0, "other"));
        found.refused(&names, &told("r4", "her", 4, code));
        let all = HashMap::from([((2, 3), true), ((2, 0), false), ((2, 4), false)]);
        assert_eq!((&found.bad, found.bad_copies, found.bad_again), (&all, 0, 0));
        // A copy of a record, and the same event of a request that was sent again.
        found.refused(&names, &told("r1", "her", 3, code));
        found.refused(&names, &told("r5", "her", 3, code));
        assert_eq!((&found.bad, found.bad_copies, found.bad_again), (&all, 1, 1));
        found.refused(&names, &told("r6", "her", 3, "other"));
        assert!(!found.bad[&(2, 3)], "right only if each of them is");
    }
}
