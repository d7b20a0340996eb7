//! Requests and answers of the parked-messages routes, as JSON.

use chrono::{DateTime, Utc};
use messaging::parked::{Opened, Parked};
use messaging::{Redriven, Which};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::shown::shown;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    pub topic: Option<String>,
    pub key: Option<String>,
    /// `waiting` (usual), `redriven` or `all`.
    pub state: Option<String>,
    pub limit: Option<u16>,
    /// The number after which the page begins.
    pub cursor: Option<i64>,
}

#[derive(Debug, Serialize)]
pub struct ListView {
    pub items: Vec<ParkedView>,
    pub page: PageView,
}

#[derive(Debug, Serialize)]
pub struct PageView {
    pub next_cursor: Option<i64>,
}

#[derive(Debug, Serialize)]
pub struct ParkedView {
    parked_id: i64,
    consumer: String,
    topic: String,
    partition: i32,
    offset: i64,
    /// Covered where the key is a person.
    key: String,
    reason: String,
    parked_at: DateTime<Utc>,
    redriven_at: Option<DateTime<Utc>>,
    /// Redriving its queue begins with this one.
    first_of_its_queue: bool,
}

impl From<Parked> for ParkedView {
    fn from(parked: Parked) -> Self {
        Self {
            key: shown_key(&parked.topic, parked.key),
            parked_id: parked.parked_id,
            consumer: parked.consumer,
            topic: parked.topic,
            partition: parked.partition,
            offset: parked.offset,
            reason: parked.reason,
            parked_at: parked.parked_at,
            redriven_at: parked.redriven_at,
            first_of_its_queue: parked.is_first,
        }
    }
}

/// A topic of events about people has people for keys. A topic that is unknown is treated as one of those.
fn shown_key(topic: &str, key: String) -> String {
    let harmless = contracts::topics::TOPICS
        .iter()
        .any(|known| !matches!(known.key, "user_id" | "pseudonym") && topic.ends_with(&format!(".{}.v1", known.kind)));
    if harmless { key } else { "***".to_owned() }
}

#[derive(Debug, Serialize)]
pub struct OpenedView {
    #[serde(flatten)]
    parked: ParkedView,
    payload_bytes: usize,
    headers: Vec<(String, String)>,
    /// `null` when the payload cannot be read as an event of its topic.
    event: Option<Value>,
}

impl From<Opened> for OpenedView {
    fn from(opened: Opened) -> Self {
        let Opened { parked, headers, payload_bytes, event } = opened;
        Self { parked: parked.into(), payload_bytes, headers: known(headers), event: event.as_ref().map(shown) }
    }
}

/// Only headers of ours: a foreign producer may have put anything into others.
fn known(headers: Vec<(String, String)>) -> Vec<(String, String)> {
    use contracts::envelope::headers::{
        DATA_CLASS, EPOCH, ID, SOURCE, SOURCE_LSN, SPEC_VERSION, TIME_MS, TRACEPARENT, TYPE, VERSION,
    };
    let ours = [ID, SPEC_VERSION, TYPE, SOURCE, TIME_MS, VERSION, EPOCH, SOURCE_LSN, DATA_CLASS, TRACEPARENT];
    headers.into_iter().filter(|(name, _)| ours.contains(&name.as_str())).collect()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedriveBody {
    pub id: Option<i64>,
    pub key: Option<String>,
    pub topic: Option<String>,
    #[serde(default)]
    pub all: bool,
    pub reason: String,
}

impl RedriveBody {
    /// Exactly one of the four.
    pub fn which(&self) -> Option<Which> {
        match (self.id, &self.key, &self.topic, self.all) {
            (Some(id), None, None, false) => Some(Which::One(id)),
            (None, Some(key), None, false) => Some(Which::Key(key.clone())),
            (None, None, Some(topic), false) => Some(Which::Topic(topic.clone())),
            (None, None, None, true) => Some(Which::All),
            _ => None,
        }
    }
}

#[derive(Debug, Serialize)]
pub struct RedrivenView {
    pub applied: u64,
    /// What was asked for and still waits; not 0 with nothing in `stopped`: ask again, the bound of one request was met.
    pub waiting: u64,
    pub stopped: Vec<StopView>,
}

#[derive(Debug, Serialize)]
pub struct StopView {
    pub parked_id: i64,
    pub reason: String,
}

impl From<Redriven> for RedrivenView {
    fn from(outcome: Redriven) -> Self {
        let stop = |stop: messaging::parking::Stop| StopView { parked_id: stop.parked_id, reason: stop.reason };
        Self {
            applied: outcome.applied,
            waiting: outcome.waiting,
            stopped: outcome.stopped.into_iter().map(stop).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_names_exactly_one_thing() {
        let body = |text: &str| serde_json::from_str::<RedriveBody>(text).ok().and_then(|body| body.which());
        assert_eq!(body(r#"{"id": 7, "reason": "x"}"#), Some(Which::One(7)));
        assert_eq!(body(r#"{"key": "o1", "reason": "x"}"#), Some(Which::Key("o1".to_owned())));
        assert_eq!(body(r#"{"all": true, "reason": "x"}"#), Some(Which::All));
        for text in
            [r#"{"reason": "x"}"#, r#"{"id": 7, "all": true, "reason": "x"}"#, r#"{"all": false, "reason": "x"}"#]
        {
            assert_eq!(body(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_that_is_a_person_is_covered() {
        assert_eq!(shown_key("xx.user.registered.v1", "somebody".to_owned()), "***");
        assert_eq!(shown_key("what.is.this", "somebody".to_owned()), "***");
        assert_eq!(shown_key("xx.stock.reserved.v1", "o1".to_owned()), "o1");
    }
}
