//! Rendered objects as the rules see them: one site, all its layers, every document of every file.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize as _;
use serde_json::Value;

use super::helm;

/// The objects of one site.
#[derive(Debug, Clone)]
pub struct Rendered {
    pub site: String,
    pub objects: Vec<Object>,
}

/// One Kubernetes object.
#[derive(Debug, Clone)]
pub struct Object {
    /// The file it stands in, without its ending.
    pub layer: String,
    pub value: Value,
}

impl Object {
    pub fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    pub fn namespace(&self) -> &str {
        self.value["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    pub fn label(&self, key: &str) -> &str {
        self.value["metadata"]["labels"][key].as_str().unwrap_or_default()
    }

    /// The pod that a workload makes; `None` for everything else.
    pub fn pod(&self) -> Option<&Value> {
        match self.kind() {
            "Deployment" | "StatefulSet" | "DaemonSet" | "Job" => Some(&self.value["spec"]["template"]),
            "CronJob" => Some(&self.value["spec"]["jobTemplate"]["spec"]["template"]),
            _ => None,
        }
    }

    /// Containers of the pod, those of its start included.
    pub fn containers(&self) -> impl Iterator<Item = &Value> {
        let spec = self.pod().map(|pod| &pod["spec"]);
        let of = move |key: &str| spec.and_then(|spec| spec[key].as_array()).into_iter().flatten();
        of("initContainers").chain(of("containers"))
    }

    /// Every text of the object with the path it stands at.
    pub fn texts(&self) -> Vec<(String, &str)> {
        let mut found = Vec::new();
        collect(&self.value, "", &mut found);
        found
    }
}

impl fmt::Display for Object {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.kind(), self.name())
    }
}

fn collect<'v>(value: &'v Value, path: &str, found: &mut Vec<(String, &'v str)>) {
    match value {
        Value::String(text) => found.push((path.to_owned(), text)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| collect(item, &format!("{path}[{at}]"), found));
        }
        Value::Object(map) => map.iter().for_each(|(key, value)| collect(value, &format!("{path}.{key}"), found)),
        _ => {}
    }
}

/// The committed objects of all sites.
///
/// # Errors
/// When a file is missing or is not YAML.
pub fn read(root: &Path) -> Result<Vec<Rendered>> {
    let site = |(site, layers): (String, &'static [super::Layer])| {
        let mut objects = Vec::new();
        for layer in layers {
            let path = root.join(helm::path(&site, layer));
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            objects.extend(parse(layer.name, &text).with_context(|| path.display().to_string())?);
        }
        ensure!(!objects.is_empty(), "{site} has no objects");
        Ok(Rendered { site, objects })
    };
    helm::sites(root)?.into_iter().map(site).collect()
}

/// The documents of a file.
///
/// # Errors
/// When it is not YAML.
pub fn parse(layer: &str, text: &str) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let value = Value::deserialize(document)?;
        if !value.is_null() {
            objects.push(Object { layer: layer.to_owned(), value });
        }
    }
    Ok(objects)
}
