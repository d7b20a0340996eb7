//! A change of names as a document. What is read goes through the same checks as what staff sends, but for the languages: a shop may
//! give one up, and its names stay as they were.
//!
//! `_id` is `{log, number}`: the unique key of the collection is what decides who wrote a number first. `place` is the number as
//! text, which a stand-in of MongoDB can look up by an index.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::{Deserialize, Serialize};

use crate::domain::labels::{LabelKey, LabelRevision, Names};

const LOG: &str = "labels";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabelDocument {
    #[serde(rename = "_id")]
    id: Id,
    place: String,
    key: String,
    /// Language to name; empty where it lost its names.
    names: BTreeMap<String, String>,
    changed_at_ms: i64,
    changed_by: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Id {
    log: String,
    number: i64,
}

/// A stored document that is no change of names: somebody wrote past this service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("label change {number} is inconsistent in {field}")]
pub struct Inconsistent {
    number: i64,
    field: &'static str,
}

/// The number as it is looked up.
pub fn place(number: i64) -> String {
    number.to_string()
}

impl From<&LabelRevision> for LabelDocument {
    fn from(revision: &LabelRevision) -> Self {
        Self {
            id: Id { log: LOG.to_owned(), number: revision.number },
            place: place(revision.number),
            key: revision.key.to_string(),
            names: revision.names.all().clone(),
            changed_at_ms: revision.changed_at.timestamp_millis(),
            changed_by: revision.changed_by.to_string(),
        }
    }
}

impl TryFrom<LabelDocument> for LabelRevision {
    type Error = Inconsistent;

    fn try_from(document: LabelDocument) -> Result<Self, Inconsistent> {
        let number = document.id.number;
        let wrong = |field| Inconsistent { number, field };
        Ok(Self {
            number,
            key: LabelKey::parse(&document.key).map_err(|_| wrong("key"))?,
            names: Names::kept(document.names).ok_or_else(|| wrong("names"))?,
            changed_at: DateTime::from_timestamp_millis(document.changed_at_ms)
                .ok_or_else(|| wrong("changed_at_ms"))?,
            changed_by: document.changed_by.parse().map_err(|_| wrong("changed_by"))?,
        })
    }
}
