//! How rendered files look: a first line that says where the text came from, and JSON whose keys are in order whatever else is
//! compiled in.

use serde_json::{Map, Value};

/// The first line of every rendered file that can have comments.
pub fn header(source: &str) -> String {
    format!("# Written by `cargo xtask render` from {source}; changes are lost at the next run.\n")
}

/// JSON for people, keys in order. Another crate of the build may make maps keep the order of insertion.
pub fn json(value: &Value) -> String {
    let text = serde_json::to_string_pretty(&sorted(value)).unwrap_or_default();
    format!("{text}\n")
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut rows: Vec<_> = map.iter().collect();
            rows.sort_by(|one, other| one.0.cmp(other.0));
            Value::Object(rows.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// `["a", "b"]`, which YAML, TOML and Terraform read alike.
pub fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let quoted: Vec<_> = items.into_iter().map(|item| format!("\"{}\"", item.as_ref())).collect();
    format!("[{}]", quoted.join(", "))
}
