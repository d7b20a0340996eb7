//! Is `docker-compose.yml` right? Its form is asked of `docker compose config` where there is one, else of the schema inside
//! check-jsonschema, which lives in a Python environment of its own in the cache. What it tells our programs is held against what they read,
//! and databases keep their files where they are found again and their log only as long as there is room.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::layout::Layout;
use crate::os;
use crate::provision::cached;
use crate::render::services::{self, Service, variable};

const CHECKER: &str = "check-jsonschema";
const CHECKER_VERSION: &str = "0.39.0";
const MEGABYTES: u64 = 150;

/// How the check went.
pub enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Checks the compose file of a checkout.
pub fn check(layout: &Layout) -> Outcome {
    check_file(layout, &layout.checkout.join("docker-compose.yml"))
}

/// Checks a compose file.
pub fn check_file(layout: &Layout, file: &Path) -> Outcome {
    if !file.is_file() {
        return Outcome::Skipped("there is no docker-compose.yml".to_owned());
    }
    match told(layout, file) {
        Ok(wrong) if wrong.is_empty() => {}
        Ok(wrong) => return Outcome::Failed(wrong.join("\n")),
        Err(error) => return Outcome::Failed(format!("{error:#}")),
    }
    let mut command = if os::output(Command::new("docker").args(["compose", "version"])).is_ok() {
        let mut docker = Command::new("docker");
        docker.args(["compose", "-f"]).arg(file).args(["--profile", "*", "config", "-q"]);
        docker
    } else {
        match checker(layout) {
            Ok(program) => {
                let mut checker = Command::new(program);
                checker.args(["--builtin-schema", "vendor.compose-spec"]).arg(file);
                checker
            }
            Err(error) if os::interrupted() => return Outcome::Failed(error.to_string()),
            Err(error) => {
                return Outcome::Skipped(format!(
                    "no tool to check it with: {}",
                    error.to_string().lines().next().unwrap_or("")
                ));
            }
        }
    };
    match os::run("check docker-compose.yml", command.current_dir(&layout.checkout), &layout.log("compose-check")) {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

fn told(layout: &Layout, file: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let compose: Value = serde_yaml_ng::from_str(&text).with_context(|| format!("{} is not YAML", file.display()))?;
    let mut wrong = settings(&compose, &services::read(&layout.checkout)?);
    let versions = layout.checkout.join(".env");
    let versions = fs::read_to_string(&versions).with_context(|| format!("read {}", versions.display()))?;
    let version = versions.lines().find_map(|line| line.strip_prefix("POSTGRES_VERSION=")).unwrap_or_default();
    wrong.extend(databases(&compose, version));
    Ok(wrong)
}

/// What is wrong with PostgreSQL of a version: a volume that is not where its image keeps files, so that they lie in one without a name and go
/// with the container; a slot for which the log is kept until the disk is full.
pub fn databases(compose: &Value, version: &str) -> Vec<String> {
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    // what the image declares as its volume
    let folder = if major < 18 { "/var/lib/postgresql/data" } else { "/var/lib/postgresql" };
    let mut wrong = Vec::new();
    let mut bounded = false;
    for (name, container) in compose["services"].as_object().into_iter().flatten() {
        let texts = |key: &str| container[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        bounded |= texts("command").any(|word| word.starts_with("max_slot_wal_keep_size="));
        for target in texts("volumes").filter_map(|volume| volume.split(':').nth(1)) {
            if target.starts_with("/var/lib/postgresql") && target != folder {
                wrong.push(format!("{name} keeps its files in {folder}, and {target} is another volume"));
            }
        }
    }
    let mut scripts =
        compose["configs"].as_object().into_iter().flatten().filter_map(|(_, one)| one["content"].as_str());
    if !bounded && scripts.any(|script| script.contains("--create-slot")) {
        wrong.push(
            "a slot that nobody reads keeps the log until the disk is full: no max_slot_wal_keep_size".to_owned(),
        );
    }
    wrong
}

/// What is wrong with what the containers of our services are told: a variable that the program refuses to start with, or an address left
/// at its default, which means the container itself.
pub fn settings(compose: &Value, services: &[Service]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, container) in compose["services"].as_object().into_iter().flatten() {
        let image = inherited(container, "image").and_then(Value::as_str).unwrap_or_default();
        let program = image.strip_prefix("shopsphere/").and_then(|rest| rest.split(':').next());
        let Some(service) = services.iter().find(|service| program == Some(service.name)) else { continue };
        let mut set = BTreeMap::new();
        if let Some(environment) = inherited(container, "environment") {
            variables(environment, &mut set);
        }
        let known = |variable_name: &str| service.settings.keys().any(|key| variable(key) == variable_name);
        for unknown in set.keys().filter(|key| key.starts_with("SHOPSPHERE__") && !known(key)) {
            wrong.push(format!("{name} is told {unknown}, which {} refuses to start with", service.name));
        }
        let migrates = container["command"][0] == "migrate";
        for (key, default) in &service.settings {
            let default = default.as_str().unwrap_or_default();
            // the owner is needed by who migrates
            let here = default.contains("127.0.0.1") && (migrates || key != "database.owner_url");
            if here && !set.contains_key(variable(key).as_str()) {
                wrong.push(format!("{name} is not told {}, and {default} is the container itself", variable(key)));
            }
        }
    }
    wrong
}

/// A key of a mapping, its own or that of one it is merged with.
fn inherited<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    if let Some(found) = value.get(key) {
        return Some(found);
    }
    match value.get("<<")? {
        Value::Array(parents) => parents.iter().find_map(|parent| inherited(parent, key)),
        parent => inherited(parent, key),
    }
}

/// Everything that an environment says; what stands nearer wins.
fn variables<'v>(value: &'v Value, found: &mut BTreeMap<&'v str, &'v Value>) {
    for (key, value) in value.as_object().into_iter().flatten().filter(|(key, _)| *key != "<<") {
        found.entry(key.as_str()).or_insert(value);
    }
    match value.get("<<") {
        Some(Value::Array(parents)) => parents.iter().for_each(|parent| variables(parent, found)),
        Some(parent) => variables(parent, found),
        None => {}
    }
}

/// The schema checker, made once.
///
/// # Errors
/// No Python, no network, no space.
pub(crate) fn checker(layout: &Layout) -> Result<PathBuf> {
    let home = cached(layout, CHECKER, CHECKER_VERSION, MEGABYTES, |work, log| {
        os::run("make a Python environment", Command::new("python3").args(["-m", "venv"]).arg(work.join("venv")), log)?;
        let mut pip = Command::new(work.join("venv/bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            &format!("{CHECKER}=={CHECKER_VERSION}"),
        ]);
        os::run("install check-jsonschema", &mut pip, log)?;
        // Scripts of an environment name the folder they were made in; this one starts the module wherever it is moved.
        let script =
            "#!/bin/sh\nexec \"$(dirname \"$(readlink -f \"$0\")\")/venv/bin/python\" -m check_jsonschema \"$@\"\n";
        std::fs::write(work.join(CHECKER), script)?;
        crate::layout::own(&work.join(CHECKER), None, 0o755)
    })?;
    Ok(home.join(CHECKER))
}
