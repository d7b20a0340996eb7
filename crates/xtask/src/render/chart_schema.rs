//! `values.schema.json` of every chart, from its commented `values.yaml`. Decided here: a key that the chart's own values do not have is
//! refused, a value has the type of its default, and an empty map or list takes anything of its kind. `global` is what the values
//! files of sites and environments say, and is the same for all charts.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::Output;
use super::services::{self, Service};
use super::text::json as pretty;

const CHARTS: &str = "deploy/helm";
/// Layers whose `global` is laid over each other; together they have every key. The files of sites come from `super::site_values`.
const GLOBALS: [&str; 3] = ["values/common.yaml", "values/env/prod.yaml", "values/env/local.yaml"];

pub fn outputs(root: &Path, services: &[Service]) -> Result<Vec<Output>> {
    let global = global(root)?;
    let mut outputs = Vec::new();
    for folder in charts(root)? {
        let values = yaml(&root.join(&folder).join("values.yaml"))?;
        let mut schema = of(&values);
        schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
        schema["properties"]["global"] = global.clone();
        // helm adds a key for each chart that a chart depends on
        schema["properties"]["shopsphere-lib"] = json!({"type": "object"});
        let name = folder.rsplit('/').next().unwrap_or_default();
        if let Some(service) = services.iter().find(|service| service.name == name) {
            schema["properties"]["settings"] = services::schema(service);
            schema["properties"]["image"] = image();
        }
        outputs.push(Output::new(format!("{folder}/values.schema.json"), pretty(&schema)));
    }
    Ok(outputs)
}

/// Folders with a `values.yaml`, in order; links to other charts are not entered.
fn charts(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for parent in [CHARTS.to_owned(), format!("{CHARTS}/services")] {
        let folder = root.join(&parent);
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let entry = entry?;
            if entry.path().join("values.yaml").is_file() && entry.path().join("Chart.yaml").is_file() {
                found.push(format!("{parent}/{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn yaml(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_yaml_ng::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))
}

fn global(root: &Path) -> Result<Value> {
    let mut all = json!({});
    for layer in GLOBALS {
        merge(&mut all, yaml(&root.join(CHARTS).join(layer))?["global"].take());
    }
    let topology = super::topology::read(root)?;
    for output in super::site_values::outputs(&topology) {
        let mut values: Value = serde_yaml_ng::from_str(&output.text).context("a values file of a site")?;
        merge(&mut all, values["global"].take());
    }
    let mut schema = of(&all);
    schema["properties"]["image"] = image();
    // a site has the namespaces that it has
    schema["properties"]["namespaces"] = json!({"type": "object", "additionalProperties": {"type": "string"}});
    schema["properties"]["role"] = json!({"enum": ["active", "standby", "headquarters"]});
    Ok(schema)
}

fn image() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "registry": text, "repository": text, "tag": {"type": "string", "not": {"const": "latest"}},
            "digest": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
        },
    })
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn of(value: &Value) -> Value {
    match value {
        Value::Object(map) if map.is_empty() => json!({"type": "object"}),
        Value::Object(map) => {
            let properties: Map<_, _> = map.iter().map(|(key, value)| (key.clone(), of(value))).collect();
            json!({"type": "object", "additionalProperties": false, "properties": properties})
        }
        Value::Array(items) => match items.first() {
            Some(Value::String(_)) => json!({"type": "array", "items": {"type": "string"}}),
            _ => json!({"type": "array"}),
        },
        Value::Bool(_) => json!({"type": "boolean"}),
        Value::Number(number) if number.is_i64() => json!({"type": "integer"}),
        Value::Number(_) => json!({"type": "number"}),
        Value::String(_) => json!({"type": "string"}),
        Value::Null => json!({}),
    }
}
