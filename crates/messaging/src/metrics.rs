//! Every metric of this crate. Labels have few values; ids are never labels.

use std::sync::LazyLock;

use prometheus::{
    Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, register_histogram, register_int_counter,
    register_int_counter_vec, register_int_gauge, register_int_gauge_vec,
};

/// Registration fails only when two metrics share a name, which the first start shows.
macro_rules! metric {
    ($name:ident: $kind:ty = $register:expr) => {
        pub static $name: LazyLock<$kind> =
            LazyLock::new(|| $register.expect("metric names are unique within the process"));
    };
}

metric!(COMMITS: IntCounterVec = register_int_counter_vec!("shopsphere_commits_total", "changes by outcome", &["outcome"]));
metric!(COMMIT_RETRIES: IntCounter = register_int_counter!("shopsphere_commit_retries_total", "changes run again because the database asked for it"));
metric!(COMMIT_BATCH: Histogram = register_histogram!(
    "shopsphere_commit_batch_changes",
    "changes that shared one commit",
    vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 500.0]
));
metric!(OUTBOX_PUBLISHED: IntCounter = register_int_counter!("shopsphere_outbox_published_total", "events published from the outbox"));
metric!(OUTBOX_OLDEST_AGE: Histogram = register_histogram!(
    "shopsphere_outbox_publish_lag_seconds",
    "time from the commit of an event to its publication",
    vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0]
));
metric!(OUTBOX_WAITING: IntGaugeVec = register_int_gauge_vec!("shopsphere_outbox_relay_state", "1 for the state the relay is in", &["state"]));
metric!(OUTBOX_UNKNOWN: IntGauge = register_int_gauge!("shopsphere_outbox_unknown_topic_rows", "events that wait for a relay that knows their topic"));
metric!(CONSUMED: IntCounterVec = register_int_counter_vec!("shopsphere_messages_consumed_total", "records by consumer group and verdict", &["group", "verdict"]));
metric!(FIREHOSE: IntCounterVec = register_int_counter_vec!("shopsphere_firehose_records_total", "records by outcome of the call that brought them", &["outcome"]));
metric!(CONSUMER_LAG: IntGaugeVec = register_int_gauge_vec!(
    "shopsphere_consumer_lag_records",
    "records of a partition that its owner has not done yet",
    &["group", "topic", "partition"]
));
metric!(CONSUMER_PAUSED: IntGaugeVec = register_int_gauge_vec!(
    "shopsphere_consumer_paused",
    "partitions that are paused because too much of them waits here",
    &["group"]
));
metric!(REWINDS: IntCounterVec = register_int_counter_vec!(
    "shopsphere_consumer_rewinds_total",
    "partitions that were moved back because their handler had not counted what stands before, by what said how far: mark or time",
    &["group", "how"]
));
metric!(OUT_OF_REACH: IntCounterVec = register_int_counter_vec!(
    "shopsphere_consumer_records_out_of_reach_total",
    "records that were to be read again and are not in the topic any more",
    &["group"]
));
