//! What the loads of the click path tell when they have ended: `demo clicks` and `demo click-feed` write it as one line of JSON, `cargo
//! xtask clicks` judges it. Also decided here: how we tell the load what is done to the region, because answers are counted by that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A line of the load's input: from here on this process is away, or has just come back.
pub const PHASE: &str = "phase ";
/// The phase in which nothing is done to the region.
pub const QUIET: &str = "quiet";

/// Among the reasons of a load that has made all the people it may make: from then on it was none.
pub const OUT_OF_PEOPLE: &str = "the load ran out of people";

/// Everything that one load tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    pub run: String,
    pub people: u64,
    /// Of the load alone.
    pub seconds: f64,
    pub requests: Requests,
    pub clicks: Clicks,
    pub bad: Bad,
    /// Recommendations by what was away when they were asked for.
    pub pages: BTreeMap<String, Pages>,
    pub withdrawals: Withdrawals,
    /// Entries that Redis has thrown out because it was full.
    pub evicted: u64,
    /// Bytes on the intake's disk, and records before the scorer, when the time for them was over.
    pub waiting: u64,
    /// Seconds from the end of the load until every click of the topic was counted, or the time for it was over.
    pub settled_after_s: f64,
    /// A few of what was wrong.
    pub examples: Vec<String>,
}

/// How the requests ended. One that got no answer, or was turned away, was sent again by every other browser, with the same events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Requests {
    /// 202, with the verdict that was due.
    pub accepted: u64,
    /// No answer: it may have arrived.
    pub unknown: u64,
    /// Another answer, and never none: nothing was promised.
    pub refused: u64,
    /// Nobody listened until the end.
    pub unsent: u64,
    /// Tries behind the first.
    pub repeated: u64,
    /// 202 with another verdict about some event than the one that was due.
    pub misjudged: u64,
    /// Why tries failed, and how often.
    pub why: BTreeMap<String, usize>,
}

/// Good events. An event is one `event_id`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Clicks {
    pub accepted: u64,
    pub unknown: u64,
    pub refused: u64,
    /// Accepted, and not in the topic.
    pub lost: u64,
    /// In the topic without having been answered as accepted.
    pub unknown_in_topic: u64,
    pub refused_in_topic: u64,
    /// In the topic and never sent, or under somebody else's name.
    pub foreign: u64,
    /// In the topic.
    pub in_topic: u64,
    /// Copies in the topic beyond the first of each.
    pub copies: u64,
    /// In the topic, and in the profile of their person.
    pub counted: u64,
    /// In a profile, and not in the topic.
    pub invented: u64,
    /// By how many events the weights of profiles are too high: counted more than once.
    pub twice: u64,
    /// By how many they are too low.
    pub short: u64,
}

/// Events that are refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bad {
    /// Refused by an answer.
    pub told: u64,
    /// Of these, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Of these, in the bad stream with that reason.
    pub in_stream: u64,
    /// Of these, not there, whatever was away when they were refused.
    pub lost: u64,
    /// There with another reason than was told, under somebody else's name, or without having been sent.
    pub mistold: u64,
    /// Copies of records there beyond the first of each: what was replayed, and the broker had it.
    pub copies: u64,
    /// How often an event stands in another record than its first: its request was sent again.
    pub again: u64,
    /// Of requests that got no answer, or were turned away.
    pub unanswered: u64,
    /// Of these, there.
    pub unanswered_in_stream: u64,
}

/// Questions for recommendations, as who asks sees them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pages {
    pub asked: u64,
    /// No answer, no success, or no list.
    pub failed: u64,
    pub degraded: u64,
    pub empty: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    pub why: BTreeMap<String, usize>,
}

/// People who withdrew their consent to personalisation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Withdrawals {
    /// Their profile was used in an answer, then they withdrew, and answers were looked at long enough.
    pub tried: u64,
    /// Answers that were looked at after a withdrawal.
    pub looked_at: u64,
    /// Of these, answers that used the profile.
    pub used: u64,
    /// From the answer to the withdrawal until the last one that used it was asked for, the longest.
    pub longest_ms: f64,
    /// Whose profile is still in Redis at the end.
    pub kept: u64,
    /// Could not be tried, and why.
    pub untried: Vec<String>,
}

/// What a feed of very many clicks tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fed {
    pub events: u64,
    pub records: u64,
    pub people: u64,
    pub seconds: f64,
    pub evicted: u64,
    /// In the order in which they were taken.
    pub samples: Vec<Sample>,
}

/// Memory after so many events were counted, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub events: u64,
    /// Resident memory of each process.
    pub rss: BTreeMap<String, u64>,
    /// What Redis says that it uses.
    pub redis: u64,
    /// Of one person, mean of some.
    pub person: u64,
}
