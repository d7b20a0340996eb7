//! What Prometheus will be asked and told, read by promtool: rules with their templates and their tests, the queries of dashboards and scalers (as rules,
//! which have the same parser), and the configuration that follows from Prometheus, its monitors and its remote write. Decided here:
//! where promtool comes from. Debian's package is unpacked and not installed, so that no server of that name begins to run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::super::objects::{Object, Rendered};
use super::ask;
use crate::layout::Layout;
use crate::os;
use crate::provision::debian;

/// What each alert fires on; a test sees to it that none is left out.
pub const ALERTS: &str = "deploy/helm/shopsphere-observability/tests/alerts.yaml";

/// The promtool program: the machine's own, else that of Debian's package.
///
/// # Errors
/// When there is none and the package cannot be had.
pub fn program(layout: &Layout) -> Result<PathBuf> {
    match os::which("promtool") {
        Some(found) => Ok(found),
        None => Ok(debian::unpacked(layout, "prometheus")?.join("usr/bin/promtool")),
    }
}

/// Everything of all sites, and the configuration of docker-compose.yml.
///
/// # Errors
/// With promtool's words; the file that they name has the name of the object.
pub fn check(program: &Path, work: &Path, root: &Path, sites: &[Rendered]) -> Result<String> {
    let (mut rules, mut queries, mut configurations) = (0, 0, 0);
    let tell = |file: &str, value: &Value, words: &[&str]| -> Result<()> {
        let path = work.join(file);
        // what is JSON is YAML too
        fs::write(&path, value.to_string()).with_context(|| format!("write {}", path.display()))?;
        ask(Command::new(program).args(words).arg(&path)).with_context(|| format!("{file} is refused"))?;
        Ok(())
    };
    for rendered in sites {
        let of = |kind: &'static str| rendered.objects.iter().filter(move |object| object.kind() == kind);
        for object in of("PrometheusRule") {
            let groups = &object.value["spec"]["groups"];
            rules += groups
                .as_array()
                .into_iter()
                .flatten()
                .map(|group| group["rules"].as_array().map_or(0, Vec::len))
                .sum::<usize>();
            let file = format!("{}-rules-{}.yaml", rendered.site, object.name());
            tell(&file, &json!({"groups": groups}), &["check", "rules", "--lint-fatal"])?;
        }
        for object in &rendered.objects {
            let asked = asked(object)?;
            if !asked.is_empty() {
                queries += asked.len();
                let file = format!("{}-{}-{}.yaml", rendered.site, object.kind().to_lowercase(), object.name());
                tell(&file, &as_rules(&asked), &["check", "rules"])?;
            }
        }
        for object in of("Prometheus") {
            configurations += 1;
            let file = format!("{}-prometheus-{}.yaml", rendered.site, object.name());
            tell(&file, &configuration(object, of("ServiceMonitor")), &["check", "config", "--syntax-only"])?;
        }
    }
    let compose = fs::read_to_string(root.join("docker-compose.yml")).context("read docker-compose.yml")?;
    let compose: Value = serde_yaml_ng::from_str(&compose).context("docker-compose.yml is not YAML")?;
    let text =
        compose["configs"]["prometheus"]["content"].as_str().context("docker-compose.yml has no config prometheus")?;
    let own: Value =
        serde_yaml_ng::from_str(text).context("the config prometheus of docker-compose.yml is not YAML")?;
    tell("docker-compose-prometheus.yaml", &own, &["check", "config", "--syntax-only"])?;
    let tried = root.join(ALERTS);
    ask(Command::new(program).args(["test", "rules"]).arg(&tried)).with_context(|| ALERTS.to_owned())?;
    Ok(format!("{rules} rules, {queries} queries, {} configurations", configurations + 1))
}

/// The queries of an object: panels of a dashboard, triggers of a scaler.
fn asked(object: &Object) -> Result<Vec<String>> {
    let mut queries = Vec::new();
    for (path, text) in object.texts() {
        if object.kind() == "ScaledObject" && path.ends_with(".metadata.query") {
            queries.push(text.to_owned());
        }
        if object.kind() == "ConfigMap" && path.contains(".data.") && path.ends_with(".json") {
            let dashboard: Value = serde_json::from_str(text).with_context(|| format!("{object}: {path}"))?;
            let panels = dashboard["panels"].as_array().into_iter().flatten();
            let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
            queries.extend(targets.filter_map(|target| target["expr"].as_str()).map(of_grafana));
        }
    }
    Ok(queries)
}

/// Grafana fills in an interval where it stands for one; its other names stand inside of quoted values.
fn of_grafana(query: &str) -> String {
    query.replace("$__rate_interval", "1m").replace("$__interval", "1m").replace("$__range", "1h")
}

fn as_rules(queries: &[String]) -> Value {
    let rules: Vec<_> =
        queries.iter().enumerate().map(|(at, query)| json!({"record": format!("asked:{at}"), "expr": query})).collect();
    json!({"groups": [{"name": "asked", "rules": rules}]})
}

/// The parts of a configuration that we decide, as the operator would write them. Files of secrets are the operator's.
fn configuration<'o>(prometheus: &Object, monitors: impl Iterator<Item = &'o Object>) -> Value {
    let spec = &prometheus.value["spec"];
    let mut global = Map::new();
    for (ours, theirs) in [
        ("scrapeInterval", "scrape_interval"),
        ("evaluationInterval", "evaluation_interval"),
        ("externalLabels", "external_labels"),
    ] {
        if !spec[ours].is_null() {
            global.insert(theirs.to_owned(), spec[ours].clone());
        }
    }
    let remote = spec["remoteWrite"].as_array().into_iter().flatten().map(|row| {
        json!({"name": row["name"], "url": row["url"], "write_relabel_configs": snake(&row["writeRelabelConfigs"])})
    });
    let scrapes = monitors.flat_map(|monitor| {
        let endpoints = monitor.value["spec"]["endpoints"].as_array().into_iter().flatten().enumerate();
        endpoints.map(move |(at, endpoint)| {
            json!({
                "job_name": format!("{}/{at}", monitor.name()),
                "metrics_path": endpoint["path"], "scrape_interval": endpoint["interval"], "scrape_timeout": endpoint["scrapeTimeout"],
                "relabel_configs": snake(&endpoint["relabelings"]), "metric_relabel_configs": snake(&endpoint["metricRelabelings"]),
            })
        })
    });
    json!({"global": global, "remote_write": remote.collect::<Vec<_>>(), "scrape_configs": scrapes.collect::<Vec<_>>()})
}

/// `sourceLabels` is `source_labels` where Prometheus itself reads it.
fn snake(value: &Value) -> Value {
    let word = |key: &str| {
        key.chars().fold(String::new(), |mut word, letter| {
            if letter.is_ascii_uppercase() {
                word.push('_');
            }
            word.push(letter.to_ascii_lowercase());
            word
        })
    };
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (word(key), snake(value))).collect::<Map<_, _>>().into(),
        Value::Array(items) => items.iter().map(snake).collect(),
        other => other.clone(),
    }
}
