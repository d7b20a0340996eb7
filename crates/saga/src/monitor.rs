//! Holds what was really published against what the table of steps allows: the set of an order's records, with their
//! versions, must be one that an exploration has found. A library of decoded records; where they come from is the caller's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use contracts::{Envelope, Event};

use crate::explore::{AFTER_THE_HOLD, Counterexample, Limits, explore};
use crate::state::{Message, Participant, Published};

/// One record of a saga topic.
#[derive(Clone, Debug)]
pub struct Seen {
    pub event: Event,
    pub envelope: Envelope,
    /// Where it stands, for whoever looks for it: topic, partition, offset.
    pub place: String,
}

/// Everything the table allows one order to have published.
pub struct Monitor {
    allowed: BTreeSet<Published>,
    ended: BTreeSet<Published>,
}

/// What became of the orders that were looked at.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub records: usize,
    pub repetitions: usize,
    pub orders: usize,
    pub ended: usize,
    pub open: usize,
    /// Orders whose early records are gone (retention) or not read yet: what is there fits.
    pub partial: usize,
    pub outside: Vec<Outside>,
}

/// An order whose records fit no history that the table allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    pub order: String,
    /// The first record, in the order of their times, that no history allows beside the earlier ones.
    pub record: String,
    pub reason: String,
}

impl Monitor {
    /// Explores one order with everything going wrong that can, with and without a unit in stock.
    ///
    /// # Errors
    /// [`Counterexample`] when the table itself is broken.
    pub fn new() -> Result<Self, Counterexample> {
        let (mut allowed, mut ended) = (BTreeSet::new(), BTreeSet::new());
        for units in [0, 1] {
            let explored = explore::<1>(Limits { units, faults: None, duplicates: 0 })?;
            allowed.extend(explored.published);
            ended.extend(explored.ended);
        }
        // Nothing physical to send: finalised without a shipment.
        for set in [&mut allowed, &mut ended] {
            let without: Vec<Published> = set
                .iter()
                .map(|published| {
                    let mut published = *published;
                    published[Message::ShipmentCreated as usize] = 0;
                    published
                })
                .collect();
            set.extend(without);
        }
        Ok(Self { allowed, ended })
    }

    /// Looks at all records of one region. `settled`: the fleet is quiet and the topics are whole, so that an effect without
    /// its cause is outside too.
    pub fn look(&self, records: &[Seen], settled: bool) -> Findings {
        let mut findings = Findings { records: records.len(), ..Findings::default() };
        let mut orders: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
        for record in records {
            let message = Message::on(record.event.topic());
            if message.is_some_and(|message| !matches!(message, Message::UserRegistered | Message::OrderRefunded)) {
                orders.entry(record.event.key()).or_default().push(record);
            }
        }
        for (order, mut seen) in orders {
            seen.sort_by_key(|record| (record.envelope.occurred_at_ms, record.envelope.version));
            findings.orders += 1;
            match self.judge(&seen, settled, &mut findings.repetitions) {
                Ok(Standing::Ended) => findings.ended += 1,
                Ok(Standing::Open) => findings.open += 1,
                Ok(Standing::Partial) => findings.partial += 1,
                Err((record, reason)) => {
                    findings.outside.push(Outside { order: order.to_owned(), record: tell(record), reason });
                }
            }
        }
        findings
    }

    fn judge<'a>(
        &self,
        seen: &[&'a Seen],
        settled: bool,
        repetitions: &mut usize,
    ) -> Result<Standing, (&'a Seen, String)> {
        let mut published: Published = [0; Message::COUNT];
        let mut first: BTreeMap<usize, &Seen> = BTreeMap::new();
        for record in seen.iter().copied() {
            let Some(message) = Message::on(record.event.topic()) else { continue };
            let index = message as usize;
            if let Some(known) = first.get(&index) {
                // An order may leave in several parcels, each told by itself.
                if message == Message::ShipmentCreated
                    && known.event != record.event
                    && known.envelope.id != record.envelope.id
                {
                    continue;
                }
                if known.envelope.id != record.envelope.id || known.event != record.event {
                    return Err((record, "told before, with another id or other contents".to_owned()));
                }
                *repetitions += 1;
                continue;
            }
            first.insert(index, record);
            published[index] = version(message, record.envelope.version);
            if !self.allowed.iter().any(|allowed| contains(allowed, &published)) {
                return Err((record, format!("no history has it beside {}", names(&published))));
            }
            if let Some(reason) = contradiction(record, &first) {
                return Err((record, reason));
            }
        }
        match (self.ended.contains(&published), self.allowed.contains(&published), seen.last()) {
            (true, ..) => Ok(Standing::Ended),
            (_, true, _) => Ok(Standing::Open),
            (_, false, Some(last)) if settled => {
                Err((last, format!("its cause is missing: there is only {}", names(&published))))
            }
            _ => Ok(Standing::Partial),
        }
    }
}

enum Standing {
    Ended,
    Open,
    Partial,
}

/// As the exploration counts it: of a reservation only whether it is the first version or a later one.
fn version(message: Message, version: i64) -> u8 {
    let version = u8::try_from(version).unwrap_or(u8::MAX);
    if message.topic().writer == Participant::Catalog.service() { version.min(AFTER_THE_HOLD) } else { version }
}

fn contains(whole: &Published, part: &Published) -> bool {
    whole.iter().zip(part).all(|(whole, part)| *part == 0 || whole == part)
}

/// Two records of one order that say different things about it.
fn contradiction(record: &Seen, first: &BTreeMap<usize, &Seen>) -> Option<String> {
    let placed = first.get(&(Message::OrderCreated as usize))?;
    match (&placed.event, &record.event) {
        (Event::OrderCreated(created), Event::OrderCompleted(completed))
            if created.lines != completed.lines
                || created.total != completed.total
                || created.user_id != completed.user_id =>
        {
            Some("completed with other lines, another total or another owner than it was placed with".to_owned())
        }
        _ => None,
    }
}

fn names(published: &Published) -> String {
    let there = Message::ALL.iter().filter(|message| published[**message as usize] > 0);
    let words: Vec<String> =
        there.map(|message| format!("{} v{}", message.code(), published[*message as usize])).collect();
    words.join(", ")
}

fn tell(record: &Seen) -> String {
    format!("{} v{} {} at {}", record.event.kind(), record.envelope.version, record.envelope.id, record.place)
}

impl fmt::Display for Findings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} records ({} repetitions) of {} orders", self.records, self.repetitions, self.orders)?;
        writeln!(out, "{} ended, {} open, {} without their beginning", self.ended, self.open, self.partial)?;
        for outside in &self.outside {
            writeln!(out, "OUTSIDE order {}: {}: {}", outside.order, outside.record, outside.reason)?;
        }
        write!(out, "{} outside", self.outside.len())
    }
}
