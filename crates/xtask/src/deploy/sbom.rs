//! The bill of materials of a program: every crate that is compiled into it, as CycloneDX, from `cargo metadata` and the lock file. Decided
//! here: build tools, crates for tests and crates for other systems are no part of what is shipped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::os;

/// What images are built for.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// The document for one program of the workspace.
///
/// # Errors
/// When cargo cannot say what belongs to it, or there is no such program.
pub fn of(root: &Path, program: &str) -> Result<Value> {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", PLATFORM]);
    let text = os::output(cargo.current_dir(root))?;
    parse(&serde_json::from_str(&text).context("cargo metadata answers in an unknown form")?, program)
}

/// The same from what `cargo metadata` has said.
///
/// # Errors
/// When there is no such program.
pub fn parse(metadata: &Value, program: &str) -> Result<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages: BTreeMap<String, Value> = list(&metadata["packages"])
        .into_iter()
        .filter_map(|package| Some((package["id"].as_str()?.to_owned(), package)))
        .collect();
    let nodes: BTreeMap<String, Value> = list(&metadata["resolve"]["nodes"])
        .into_iter()
        .filter_map(|node| Some((node["id"].as_str()?.to_owned(), node)))
        .collect();
    let start = packages.iter().find(|(_, package)| package["name"] == program && package["source"].is_null());
    let (start, own) = start.with_context(|| format!("there is no program {program}"))?;
    let mut seen = BTreeSet::new();
    let mut waiting = vec![start.clone()];
    while let Some(id) = waiting.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        for dependency in list(&nodes.get(&id).unwrap_or(&Value::Null)["deps"]) {
            let shipped = list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            if let (true, Some(id)) = (shipped, dependency["pkg"].as_str()) {
                waiting.push(id.to_owned());
            }
        }
    }
    let components: Vec<Value> =
        seen.iter().filter(|id| *id != start).filter_map(|id| packages.get(id)).map(component).collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": program, "version": own["version"]}},
        "components": components,
    }))
}

fn component(package: &Value) -> Value {
    let (name, version) =
        (package["name"].as_str().unwrap_or_default(), package["version"].as_str().unwrap_or_default());
    json!({
        "type": "library",
        "name": name,
        "version": version,
        "purl": format!("pkg:cargo/{name}@{version}"),
        "licenses": package["license"].as_str().map(|license| vec![json!({"expression": license.replace('/', " OR ")})]).unwrap_or_default(),
    })
}
