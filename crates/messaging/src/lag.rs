//! What the client of a consumer group hears by the way: how far the group is behind, per partition, as the broker client reckons it
//! from what it fetches, nobody is asked; and that partitions were dealt out anew.
//!
//! Only the owner of a partition tells its lag. One that moves away takes its gauge with it, so a sum over processes counts each
//! partition once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::statistics::{Partition, Statistics};

use crate::kafka::KafkaSettings;
use crate::metrics;

/// Between two reckonings: several between two scrapes.
const EVERY: Duration = Duration::from_secs(5);

/// A consumer that tells how far it is behind.
pub(crate) type Follower = StreamConsumer<Lag>;

/// Hears the statistics of one group's client.
pub(crate) struct Lag {
    pub(crate) group: &'static str,
    deals: AtomicU64,
}

impl Lag {
    /// How often partitions were dealt out. What somebody else did to a partition happened before the number it is ours under.
    pub(crate) fn deals(&self) -> u64 {
        self.deals.load(Ordering::Acquire)
    }
}

/// A consumer of `group`, not yet subscribed.
///
/// # Errors
/// Settings that the broker client refuses.
pub(crate) fn follower(group: &'static str, kafka: &KafkaSettings) -> anyhow::Result<Follower> {
    let mut config = kafka.consumer(group);
    config.set("statistics.interval.ms", EVERY.as_millis().to_string());
    Ok(config.create_with_context(Lag { group, deals: AtomicU64::new(0) })?)
}

impl ClientContext for Lag {
    fn stats(&self, statistics: Statistics) {
        for (topic, known) in &statistics.topics {
            // The client lists -1 as well, for records that have no partition yet.
            for partition in known.partitions.values().filter(|partition| partition.partition >= 0) {
                let number = partition.partition.to_string();
                let labels = [self.group, topic.as_str(), number.as_str()];
                if let Some(records) = behind(partition) {
                    metrics::CONSUMER_LAG.with_label_values(&labels).set(records);
                } else {
                    // An error says that there was no such gauge.
                    let _ = metrics::CONSUMER_LAG.remove_label_values(&labels);
                }
            }
        }
    }
}

impl ConsumerContext for Lag {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.deals.fetch_add(1, Ordering::AcqRel);
    }
}

/// Records between what is done and the end; `None` for a partition that is not ours or whose end is not known yet.
fn behind(partition: &Partition) -> Option<i64> {
    if partition.fetch_state != "active" || partition.hi_offset < 0 {
        return None;
    }
    // What this process has done, else what the group had done before. Nobody reads what the topic has forgotten, and a group that
    // has done nothing begins where the topic does.
    let done = [partition.stored_offset, partition.committed_offset].into_iter().find(|offset| *offset >= 0);
    let from = done.unwrap_or(0).max(partition.lo_offset);
    Some((partition.hi_offset - from).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(state: &str, [low, high, stored, committed]: [i64; 4]) -> Partition {
        Partition {
            fetch_state: state.to_owned(),
            lo_offset: low,
            hi_offset: high,
            stored_offset: stored,
            committed_offset: committed,
            ..Partition::default()
        }
    }

    #[test]
    fn the_lag_is_what_lies_between_the_work_done_and_the_end() {
        const NONE: i64 = -1001;
        for (state, offsets, expected, why) in [
            ("active", [0, 100, 40, 30], Some(60), "done and not yet committed is done"),
            ("active", [0, 100, NONE, 30], Some(70), "done by the owner before"),
            ("active", [20, 100, NONE, NONE], Some(80), "a new group has all of it before it"),
            ("active", [NONE, 100, NONE, NONE], Some(100), "though the beginning is not known yet"),
            ("active", [90, 100, NONE, 30], Some(10), "what the topic has forgotten is not before it"),
            ("active", [0, 100, 100, 100], Some(0), "nothing is left"),
            ("active", [0, 5, 100, 100], Some(0), "the topic began again"),
            ("active", [0, NONE, 40, 30], None, "the end is not known yet"),
            ("stopped", [0, 100, 40, 30], None, "another process has it"),
            ("none", [0, 100, 40, 30], None, "it was never ours"),
        ] {
            assert_eq!(behind(&partition(state, offsets)), expected, "{why}");
        }
    }
}
