//! What must be true of recordings: each is read with its meaning and loses nothing, and nothing of the table is without one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::history::History;
use super::shelf::Recording;
use super::told::Told;

/// What today's decoders make of a recording that was sent once.
///
/// # Errors
/// In which way they understand it otherwise, with the name of the recording.
pub fn judge(recording: &Recording) -> Result<(), String> {
    let name = recording.name();
    let told = Told::read(&recording.kind, &recording.payload).map_err(|error| format!("{name}: {error}"))?;
    let means = told.means();
    if means != recording.means {
        return Err(format!("{name} meant {}, and is read as {means}", recording.means));
    }
    if told.key().is_some_and(|key| key != recording.key) {
        return Err(format!("{name}: its key is not the one in its body"));
    }
    if told.encode() != recording.payload {
        return Err(format!("{name} says more than is read of it"));
    }
    Ok(())
}

/// What is not recorded, or recorded and unknown, by name.
pub fn missing(version: &str, kinds: &[&str], histories: &[History], recordings: &[Recording]) -> Vec<String> {
    let mut faults = Vec::new();
    let told_of: BTreeSet<&str> = histories.iter().map(|history| history.kind).collect();
    for kind in kinds.iter().filter(|kind| !told_of.contains(*kind)) {
        faults.push(format!("{version}/{kind}: the history of its shapes is missing"));
    }
    for recording in recordings {
        let known = histories.iter().find(|history| history.kind == recording.kind);
        if known.is_none_or(|history| !(1..=history.newest()).contains(&recording.shape)) {
            faults.push(format!("{}: nobody has written this shape", recording.name()));
        }
    }
    for history in histories {
        if !kinds.contains(&history.kind) {
            faults.push(format!("{version}/{}: no topic carries it", history.kind));
        }
        let ours: Vec<&Recording> = recordings.iter().filter(|recording| recording.kind == history.kind).collect();
        faults
            .extend(missing_of(history, &ours).into_iter().map(|fault| format!("{version}/{}: {fault}", history.kind)));
    }
    faults
}

fn missing_of(history: &History, recordings: &[&Recording]) -> Vec<String> {
    let mut faults = Vec::new();
    let (mut known, mut said) = (BTreeSet::new(), BTreeSet::new());
    for shape in 1..=history.newest() {
        let mut places = BTreeMap::new();
        for recording in recordings.iter().filter(|recording| recording.shape == shape) {
            mark(&recording.means, "", &mut places);
        }
        if places.is_empty() {
            faults.push(format!("shape {shape} has no recording"));
            continue;
        }
        let now: BTreeSet<String> = places.iter().filter(|(_, set)| **set).map(|(place, _)| place.clone()).collect();
        known.extend(places.into_keys());
        let new: BTreeSet<String> = now.difference(&said).cloned().collect();
        let tops: Vec<&str> = new.iter().map(String::as_str).filter(|place| !new.contains(parent(place))).collect();
        let added = usize::try_from(shape).ok().and_then(|shape| history.added.get(shape.checked_sub(2)?));
        if let Some(added) = added
            && tops.as_slice() != *added
        {
            faults.push(format!("shape {shape} says {tops:?} anew, and its history {added:?}"));
        }
        said.extend(now);
    }
    faults.extend(known.difference(&said).map(|place| format!("no recording says {place}")));
    faults
}

/// Every place within a meaning, and whether anything but the default was ever said there.
fn mark(value: &Value, place: &str, places: &mut BTreeMap<String, bool>) {
    let said = match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => {
            for item in items {
                mark(item, &format!("{place}[]"), places);
            }
            !items.is_empty()
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let dot = if place.is_empty() { "" } else { "." };
                mark(field, &format!("{place}{dot}{name}"), places);
            }
            true
        }
    };
    *places.entry(place.to_owned()).or_default() |= said;
}

/// The place that holds another one.
fn parent(place: &str) -> &str {
    place.strip_suffix("[]").or_else(|| Some(place.rsplit_once('.')?.0)).unwrap_or_default()
}
