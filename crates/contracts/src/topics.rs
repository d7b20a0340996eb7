//! The table of topics: what travels, who writes and reads it, how long it stays, how personal it is. Topic creation,
//! access rights, mirrors and documentation all follow this one table.

use std::fmt;
use std::time::Duration;

use ::common::Region;

/// How personal the records of a topic are. Only `Anonymous` topics may ever leave a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataClass {
    /// Concerns one person, by identifier or pseudonym.
    Pii,
    /// Concerns the shop, not a person.
    Internal,
    Anonymous,
}

impl DataClass {
    pub fn code(self) -> &'static str {
        match self {
            Self::Pii => "pii",
            Self::Internal => "internal",
            Self::Anonymous => "anonymous",
        }
    }
}

/// What becomes of old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// They go when the retention is over.
    Delete,
    /// The newest record of each key stays for ever, so whoever reads the topic from its beginning knows the newest state of everything.
    /// The others go some time after the retention is over.
    Compact,
}

impl Cleanup {
    /// As the broker calls it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
        }
    }
}

/// Version of all topics, the last part of their names. Within it a message may only be added to; what every shape of it said is
/// recorded in `tests/recorded` and read again by a test. A change that old readers cannot ignore is a topic of another version.
pub const VERSION: &str = "v1";

/// One topic, the same in each region.
#[derive(Debug)]
pub struct Topic {
    /// `<domain>.<event>`, for example `order.created`.
    pub kind: &'static str,
    /// What the record key is.
    pub key: &'static str,
    pub partitions: i32,
    pub retention: Duration,
    pub cleanup: Cleanup,
    pub class: DataClass,
    pub writer: &'static str,
    pub readers: &'static [&'static str],
}

impl Topic {
    /// `<region>.<domain>.<event>.v1`
    pub fn name(&self, region: Region) -> String {
        format!("{}.{}.{VERSION}", region.code(), self.kind)
    }

    /// The topic of a full name in `region`; `None` for another region or an unknown topic.
    pub fn of(name: &str, region: Region) -> Option<&'static Topic> {
        let kind = name.strip_prefix(region.code())?.strip_prefix('.')?.strip_suffix(VERSION)?.strip_suffix('.')?;
        TOPICS.iter().copied().find(|topic| topic.kind == kind)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.kind)
    }
}

const DAY: u64 = 24 * 60 * 60;
/// Saga events stay as long as a standby may need to read them again after a promotion, with a wide margin.
const SAGA_RETENTION: Duration = Duration::from_secs(7 * DAY);
/// Partitions of saga topics: ten times the local replica count of consumers, so that scaling out never waits for them.
const SAGA_PARTITIONS: i32 = 12;

macro_rules! topics {
    ($($(#[$doc:meta])* $name:ident = $kind:literal { key: $key:literal, partitions: $partitions:expr, retention: $retention:expr, cleanup: $cleanup:ident, class: $class:ident, writer: $writer:literal, readers: $readers:expr })+) => {
        $($(#[$doc])* pub static $name: Topic = Topic { kind: $kind, key: $key, partitions: $partitions, retention: $retention, cleanup: Cleanup::$cleanup, class: DataClass::$class, writer: $writer, readers: &$readers };)+

        /// All topics.
        pub static TOPICS: &[&Topic] = &[$(&$name),+];
    };
}

topics! {
    USER_REGISTERED = "user.registered" { key: "user_id", partitions: SAGA_PARTITIONS, retention: SAGA_RETENTION, cleanup: Delete, class: Pii, writer: "user", readers: ["order-payment"] }
    ORDER_CREATED = "order.created" { key: "order_id", partitions: SAGA_PARTITIONS, retention: SAGA_RETENTION, cleanup: Delete, class: Pii, writer: "order-payment", readers: ["catalog"] }
    ORDER_PAYMENT_PENDING = "order.payment-pending" { key: "order_id", partitions: SAGA_PARTITIONS, retention: SAGA_RETENTION, cleanup: Delete, class: Pii, writer: "order-payment", readers: ["catalog"] }
    ORDER_COMPLETED = "order.completed" { key: "order_id", partitions: SAGA_PARTITIONS, retention: SAGA_RETENTION, cleanup: Delete, class: Pii, writer: "order-payment", readers: ["catalog", "personalization"] }
    ORDER_COMPENSATED = "order.compensated" { key: "order_id", partitions: SAGA_PARTITIONS, retention: SAGA_RETENTION, cleanup: Delete, class: Pii, writer: "order-payment", readers: ["catalog"] }
    ORDER_REFUNDED = "order.refunded" { key: "order_id", partitions: SAGA_PARTITIONS, retention: SAGA_RETENTION, cleanup: Delete, class: Pii, writer: "order-payment", readers: ["catalog"] }
    STOCK_RESERVED = "stock.reserved" { key: "order_id", partitions: SAGA_PARTITIONS, retention: SAGA_RETENTION, cleanup: Delete, class: Internal, writer: "catalog", readers: ["order-payment"] }
    STOCK_REJECTED = "stock.rejected" { key: "order_id", partitions: SAGA_PARTITIONS, retention: SAGA_RETENTION, cleanup: Delete, class: Internal, writer: "catalog", readers: ["order-payment"] }
    STOCK_RELEASED = "stock.released" { key: "order_id", partitions: SAGA_PARTITIONS, retention: SAGA_RETENTION, cleanup: Delete, class: Internal, writer: "catalog", readers: [] }
    STOCK_FINALISED = "stock.finalised" { key: "order_id", partitions: SAGA_PARTITIONS, retention: SAGA_RETENTION, cleanup: Delete, class: Internal, writer: "catalog", readers: [] }
    SHIPMENT_CREATED = "shipment.created" { key: "order_id", partitions: SAGA_PARTITIONS, retention: SAGA_RETENTION, cleanup: Delete, class: Internal, writer: "catalog", readers: ["order-payment"] }
    /// Each record has the whole product, so the newest of each is all that a reader needs who has lost everything.
    PRODUCT_CHANGED = "product.changed" { key: "sku", partitions: SAGA_PARTITIONS, retention: SAGA_RETENTION, cleanup: Compact, class: Internal, writer: "catalog", readers: ["catalog", "personalization"] }
    /// Clicks of one person stay in one partition, so one worker owns each profile.
    CLICKSTREAM_RAW = "clickstream.raw" { key: "pseudonym", partitions: 24, retention: Duration::from_secs(DAY), cleanup: Delete, class: Pii, writer: "user", readers: ["personalization"] }
    /// Events that the intake refused, with the reason: for people who look for what their pages send wrongly.
    CLICKSTREAM_REFUSED = "clickstream.refused" { key: "pseudonym", partitions: SAGA_PARTITIONS, retention: Duration::from_secs(DAY), cleanup: Delete, class: Pii, writer: "user", readers: [] }
    /// Records of `clickstream.raw` that could not be counted, with the reason: a week, so that a person finds them after a weekend.
    CLICKSTREAM_PARKED = "clickstream.parked" { key: "pseudonym", partitions: SAGA_PARTITIONS, retention: SAGA_RETENTION, cleanup: Delete, class: Pii, writer: "personalization", readers: [] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_found_by_its_name_in_its_own_region_only() {
        let [here, there, ..] = Region::ALL else { panic!("two regions at least") };
        for topic in TOPICS {
            assert_eq!(Topic::of(&topic.name(*here), *here).map(|found| found.kind), Some(topic.kind));
            assert!(Topic::of(&topic.name(*here), *there).is_none());
        }
        assert!(Topic::of("nonsense", *here).is_none());
    }
}
