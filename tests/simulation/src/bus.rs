//! The broker: an ordered log per topic and partition, an offset per consumer group, one owner per lane. Delivery is at least
//! once; only what one key has in one topic keeps its order.

use common::MessageId;
use contracts::{Envelope, Event, Topic};

/// order-payment and catalog, as consumer groups and as owners of an outbox.
pub const ORDERS: usize = 0;
pub const STOCK: usize = 1;

/// Partitions per topic: two orders share one or do not.
pub const PARTITIONS: usize = 2;

#[derive(Clone)]
pub struct Record {
    pub event: Event,
    pub envelope: Envelope,
}

pub struct Log {
    pub topic: &'static Topic,
    pub partition: usize,
    pub records: Vec<Record>,
}

/// One group's way through one log.
pub struct Lane {
    pub group: usize,
    pub log: usize,
    pub committed: usize,
    pub owner: Option<usize>,
    /// Grows when the lane changes hands or is rewound: an old owner's position means nothing any more.
    pub generation: u64,
}

/// What the relay of one service knows of each outbox row, beside the row.
#[derive(Default)]
pub struct Marks {
    pub published: Vec<bool>,
    pub claims: Vec<u32>,
    /// Who holds the relay lock.
    pub relay: Option<usize>,
}

pub struct Bus {
    pub logs: Vec<Log>,
    pub lanes: Vec<Lane>,
    pub marks: [Marks; 2],
    /// Lane, message and reason of what could not be applied.
    pub parked: Vec<(usize, MessageId, String)>,
}

impl Bus {
    pub fn new() -> Self {
        let mut logs: Vec<Log> = Vec::new();
        for topic in contracts::topics::TOPICS {
            for partition in 0..PARTITIONS {
                logs.push(Log { topic, partition, records: Vec::new() });
            }
        }
        let mut lanes = Vec::new();
        let groups =
            [(ORDERS, &order_payment::inbound::events::TOPICS[..]), (STOCK, &catalog::inbound::events::TOPICS[..])];
        for (group, topics) in groups {
            for (log, _) in
                logs.iter().enumerate().filter(|(_, log)| topics.iter().any(|topic| topic.kind == log.topic.kind))
            {
                lanes.push(Lane { group, log, committed: 0, owner: None, generation: 0 });
            }
        }
        Self { logs, lanes, marks: Default::default(), parked: Vec::new() }
    }

    /// Appends a record; returns the lanes that have something to read now.
    pub fn append(&mut self, event: Event, envelope: Envelope) -> Vec<usize> {
        let partition =
            usize::from(event.key().bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)))
                % PARTITIONS;
        let kind = event.kind();
        let Some(log) = self.logs.iter().position(|log| log.topic.kind == kind && log.partition == partition) else {
            return Vec::new();
        };
        self.logs[log].records.push(Record { event, envelope });
        (0..self.lanes.len()).filter(|lane| self.lanes[*lane].log == log).collect()
    }

    /// The record a reader of `lane` at `position` finds next.
    pub fn read(&self, lane: usize, position: usize) -> Option<Record> {
        self.logs[self.lanes[lane].log].records.get(position).cloned()
    }

    pub fn is_drained(&self) -> bool {
        self.lanes.iter().all(|lane| lane.committed == self.logs[lane.log].records.len())
    }
}
