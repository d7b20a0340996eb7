//! What a service can be told: the settings of its binary as a flat list with their defaults, for its chart. Decided here: the same
//! layering as `chassis::config` has (its defaults, those sections only that every process has or the service names, the service's
//! defaults over them), so the list is exactly what the binary reads; a test lays the two lists side by side.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Output;
use super::text::header;

/// Services that are deployed, in the order in which they are migrated.
pub const SERVICES: [&str; 4] = ["user", "catalog", "order-payment", "personalization"];

/// Sections that every process has.
const ALWAYS: [&str; 4] = ["site", "process", "admin", "telemetry"];
const CHASSIS: &str = "crates/chassis/src/config/default.toml";

/// A service and its settings by dotted key.
pub struct Service {
    pub name: &'static str,
    pub settings: BTreeMap<String, toml::Value>,
}

/// Reads the defaults of all services of a checkout.
///
/// # Errors
/// When a file is missing or is not TOML.
pub fn read(root: &Path) -> Result<Vec<Service>> {
    let chassis = table(&root.join(CHASSIS))?;
    let service = |name: &'static str| {
        let own = table(&root.join(format!("services/{name}/config.default.toml")))?;
        let mut settings = BTreeMap::new();
        for (section, value) in &chassis {
            if ALWAYS.contains(&section.as_str()) || own.contains_key(section) {
                flatten(section, value, &mut settings);
            }
        }
        for (section, value) in &own {
            flatten(section, value, &mut settings);
        }
        Ok(Service { name, settings })
    };
    SERVICES.into_iter().map(service).collect()
}

fn table(path: &Path) -> Result<toml::Table> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    text.parse().with_context(|| format!("{} is not TOML", path.display()))
}

/// An empty table is an open map: what stands in it is the operator's, so it is no key of ours.
fn flatten(prefix: &str, value: &toml::Value, settings: &mut BTreeMap<String, toml::Value>) {
    match value {
        toml::Value::Table(table) => {
            table.iter().for_each(|(key, value)| flatten(&format!("{prefix}.{key}"), value, settings));
        }
        other => _ = settings.insert(prefix.to_owned(), other.clone()),
    }
}

/// `http.port` is `SHOPSPHERE__HTTP__PORT`.
pub fn variable(key: &str) -> String {
    format!("SHOPSPHERE__{}", key.to_uppercase().replace('.', "__"))
}

pub fn outputs(services: &[Service]) -> Vec<Output> {
    services
        .iter()
        .map(|service| {
            let mut text = header(&format!("services/{}/config.default.toml", service.name));
            text.push_str("# Every setting of the binary and what it is when nobody says otherwise.\n");
            for (key, value) in &service.settings {
                text.push_str(&format!("{key}: {}\n", Value::String(plain(value))));
            }
            Output::new(format!("deploy/helm/services/{}/files/settings.yaml", service.name), text)
        })
        .collect()
}

/// As an environment variable says it.
fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The schema of `settings` in a chart's values: the same sections and keys, each with the type that the binary wants.
pub fn schema(service: &Service) -> Value {
    let mut root = json!({"type": "object", "additionalProperties": false, "properties": {}});
    for (key, value) in &service.settings {
        let kind = match value {
            toml::Value::Integer(_) => json!({"type": "integer"}),
            toml::Value::Float(_) => json!({"type": "number"}),
            toml::Value::Boolean(_) => json!({"type": "boolean"}),
            _ => json!({"type": "string"}),
        };
        let mut at = &mut root;
        let words: Vec<_> = key.split('.').collect();
        for word in &words[..words.len() - 1] {
            at = &mut at["properties"][*word];
            if at.is_null() {
                *at = json!({"type": "object", "additionalProperties": false, "properties": {}});
            }
        }
        at["properties"][words[words.len() - 1]] = kind;
    }
    root
}
