//! Objects and declarations against the schemas of those who read them: Kubernetes' own strictly, an operator's by the schema of its kind,
//! F5's by AS3's. The schemas of others lie beside the checkout and are read there; where they are not, the check says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::super::objects::{Object, Rendered};
use super::{Outcome, ask, first_line, judged, work_in};
use crate::compose_check;
use crate::layout::Layout;
use crate::os;
use crate::provision::cached;

/// Group, kind and version name the file of a schema; those without a group are Kubernetes' own.
fn schema_of(folder: &Path, object: &Object) -> Option<PathBuf> {
    let (group, version) = object.value["apiVersion"].as_str()?.split_once('/')?;
    let path = folder.join(group).join(format!("{}_{version}.json", object.kind().to_lowercase()));
    path.is_file().then_some(path)
}

/// Kubernetes' own kinds; the validator knows none of the operators'.
pub(crate) fn is_native(object: &Object) -> bool {
    let group = object.value["apiVersion"].as_str().unwrap_or_default().split_once('/').map_or("", |(group, _)| group);
    let of_an_operator = group.contains('.') && !group.ends_with(".k8s.io");
    !of_an_operator && group != "gateway.networking.k8s.io"
}

/// The operators' kinds, each against its schema. Says which kinds have none.
pub fn custom(layout: &Layout, sites: &[Rendered]) -> Outcome {
    let folder = layout.checkout.join("../shared/schemas/crds");
    if !folder.is_dir() {
        return Outcome::Skipped(format!("{} is not there", folder.display()));
    }
    match compose_check::checker(layout) {
        Ok(checker) => judged(work_in(layout, "custom", |work| by_schema(&checker, &folder, work, sites))),
        Err(error) => Outcome::Skipped(first_line(&error)),
    }
}

fn by_schema(checker: &Path, folder: &Path, work: &Path, sites: &[Rendered]) -> Result<String> {
    let mut by_schema: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    let mut without: Vec<&str> = Vec::new();
    for rendered in sites {
        for object in rendered.objects.iter().filter(|object| !is_native(object)) {
            let Some(schema) = schema_of(folder, object) else {
                without.push(object.kind());
                continue;
            };
            // a mistake is told by the name of its file
            let name = format!("{}-{}-{}.json", rendered.site, object.kind().to_lowercase(), object.name());
            fs::write(work.join(&name), object.value.to_string())?;
            by_schema.entry(schema).or_default().push(work.join(name));
        }
    }
    let mut count = 0;
    for (schema, files) in &by_schema {
        let mut command = Command::new(checker);
        command.args(["--regex-variant", "nonunicode", "--schemafile"]).arg(readable(schema, work)?).args(files);
        ask(&mut command).with_context(|| format!("objects against {}", schema.display()))?;
        count += files.len();
    }
    without.sort_unstable();
    without.dedup();
    let not = if without.is_empty() { String::new() } else { format!("; no schema of {}", without.join(", ")) };
    Ok(format!("{count} objects of {} kinds{not}", by_schema.len()))
}

/// A copy for the checker, which reads patterns as browsers do and refuses a schema with one that only Go reads; those are left out. It is
/// a copy of draft 7, which says the same of these schemas and is looked through in half the time.
fn readable(schema: &Path, work: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(schema).with_context(|| format!("read {}", schema.display()))?;
    let mut value: Value = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", schema.display()))?;
    without_patterns_of_go(&mut value);
    value["$schema"] = Value::from("http://json-schema.org/draft-07/schema#");
    let copy = work.join("schema.json");
    fs::write(&copy, value.to_string()).with_context(|| format!("write {}", copy.display()))?;
    Ok(copy)
}

fn without_patterns_of_go(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.retain(|key, value| key != "pattern" || value.as_str().is_none_or(|text| !text.contains("(?i)")));
            map.values_mut().for_each(without_patterns_of_go);
        }
        Value::Array(items) => items.iter_mut().for_each(without_patterns_of_go),
        _ => {}
    }
}

/// F5's declarations in a folder, against the vendor's schema; what it does not see is an ordinary test.
pub fn balancer(layout: &Layout, folder: &Path) -> Outcome {
    let schema = layout.checkout.join("../shared/schemas/f5/as3-schema.json");
    if !schema.is_file() {
        return Outcome::Skipped(format!("{} is not there", schema.display()));
    }
    let checker = match compose_check::checker(layout) {
        Ok(checker) => checker,
        Err(error) => return Outcome::Skipped(first_line(&error)),
    };
    let validate = || -> Result<String> {
        let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
        let files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        // the formats are the vendor's own
        ask(Command::new(checker).args(["--disable-formats", "*", "--schemafile"]).arg(&schema).args(&files))?;
        Ok(format!("{} declarations", files.len()))
    };
    judged(validate())
}

const VALIDATOR: &str = "kubernetes-validate";
const VALIDATOR_VERSION: &str = "1.37.0";
/// The schemas of a dozen versions lie in it.
const VALIDATOR_MEGABYTES: u64 = 400;
const KUBERNETES: &str = "1.36";

/// Kubernetes' own kinds: no unknown key, no wrong type.
pub fn native(layout: &Layout, sites: &[Rendered]) -> Outcome {
    match validator(layout) {
        Ok(python) => judged(work_in(layout, "native", |work| strictly(&python, work, sites))),
        Err(error) => Outcome::Skipped(first_line(&error)),
    }
}

/// The Python that has the validator.
fn validator(layout: &Layout) -> Result<PathBuf> {
    let home = cached(layout, VALIDATOR, VALIDATOR_VERSION, VALIDATOR_MEGABYTES, |work, log| {
        os::run("make a Python environment", Command::new("python3").args(["-m", "venv"]).arg(work.join("venv")), log)?;
        let mut pip = Command::new(work.join("venv/bin/python"));
        pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check"]);
        os::run("install kubernetes-validate", pip.arg(format!("{VALIDATOR}=={VALIDATOR_VERSION}")), log)
    })?;
    Ok(home.join("venv/bin/python"))
}

fn strictly(python: &Path, work: &Path, sites: &[Rendered]) -> Result<String> {
    let mut count = 0;
    let mut files = Vec::new();
    for rendered in sites {
        let native = rendered.objects.iter().filter(|object| is_native(object));
        let documents: Vec<_> = native.map(|object| object.value.to_string()).collect();
        count += documents.len();
        let file = work.join(format!("{}.yaml", rendered.site));
        fs::write(&file, documents.join("\n---\n"))?;
        files.push(file);
    }
    let mut command = Command::new(python);
    command.args(["-m", "kubernetes_validate", "-k", KUBERNETES, "--strict", "--quiet"]);
    ask(command.args(files))?;
    Ok(format!("{count} objects, strictly, against {KUBERNETES}"))
}
