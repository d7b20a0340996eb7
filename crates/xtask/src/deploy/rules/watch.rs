//! Watching: what leaves the region is kept by name, logs pass an allow-list, every alert leads to a page that is there, and to a person.
//! Prometheus finds what it shall read, and reads what its rules ask for.

use std::collections::BTreeSet;

use super::super::objects::Object;
use super::{Case, Refusal};

/// Labels that may leave a region: where, which part of the shop, which alert. None has a value per pod or per person.
const LABELS: [&str; 13] = [
    "__name__",
    "region",
    "site",
    "cluster",
    "job",
    "group",
    "target",
    "counter",
    "alertname",
    "alertstate",
    "severity",
    "prometheus",
    "prometheus_replica",
];

pub fn remote_write(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.of("Prometheus") {
        for target in object.value["spec"]["remoteWrite"].as_array().into_iter().flatten() {
            let first = &target["writeRelabelConfigs"][0];
            let keeps = first["action"] == "keep"
                && first["sourceLabels"][0] == "__name__"
                && first["regex"] == "(region|site):.*|ALERTS";
            if !keeps {
                refused.push(case.refuse(
                    "remote-write",
                    object,
                    format!("sends {} more than recorded aggregates", target["url"]),
                ));
            }
            let second = &target["writeRelabelConfigs"][1];
            let labels = second["regex"].as_str().filter(|_| second["action"] == "labelkeep").unwrap_or(".*");
            if let Some(label) = labels.split('|').find(|label| !LABELS.contains(label)) {
                refused.push(case.refuse("remote-write", object, format!("sends {} the label {label}", target["url"])));
            }
        }
    }
    refused
}

/// Every pipeline that ends outside the region passes the redaction, and the redaction allows by name.
pub fn redaction(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.of("OpenTelemetryCollector") {
        let config = &object.value["spec"]["config"];
        let redacts = &config["processors"]["redaction/hq"];
        if redacts["allow_all_keys"] != false || redacts["allowed_keys"].as_array().is_none_or(Vec::is_empty) {
            refused.push(case.refuse("redaction", object, "allows keys that nobody named"));
        }
        for (name, pipeline) in config["service"]["pipelines"].as_object().into_iter().flatten() {
            let list = |key: &str| pipeline[key].as_array().cloned().unwrap_or_default();
            let leaves =
                list("exporters").iter().any(|exporter| exporter.as_str().is_some_and(|name| name.ends_with("/hq")));
            if leaves && !list("processors").iter().any(|processor| processor == "redaction/hq") {
                refused.push(case.refuse(
                    "redaction",
                    object,
                    format!("the pipeline {name} leaves the region as it is"),
                ));
            }
        }
    }
    refused
}

pub fn alerts(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.of("PrometheusRule") {
        let groups = object.value["spec"]["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        for rule in rules.filter(|rule| rule.get("alert").is_some()) {
            let name = rule["alert"].as_str().unwrap_or_default();
            let page =
                rule["annotations"]["runbook_url"].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or_default();
            if page.is_empty() || !case.root.join("docs/runbooks").join(page).is_file() {
                refused.push(case.refuse("alerts", object, format!("{name} leads to no page of docs/runbooks")));
            }
            if !["page", "ticket"].iter().any(|severity| rule["labels"]["severity"] == *severity)
                || rule["annotations"]["summary"].is_null()
            {
                refused.push(case.refuse("alerts", object, format!("{name} does not say what it wants of whom")));
            }
        }
    }
    refused
}

/// An alert reaches somebody: Prometheus knows an Alertmanager, whose routes have somebody for each severity, and every Secret that either
/// names is brought.
pub fn delivered(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    if case.place.is_none() {
        return refused;
    }
    for object in case.of("Prometheus") {
        if object.value["spec"]["alerting"]["alertmanagers"].as_array().is_none_or(Vec::is_empty) {
            refused.push(case.refuse("delivered", object, "tells nobody of its alerts"));
        }
        let routes = case.of("AlertmanagerConfig").find(|routes| routes.namespace() == object.namespace());
        let pages = routes.is_some_and(|routes| {
            let below = routes.value["spec"]["route"]["routes"].as_array().into_iter().flatten();
            let mut of_pages = below.filter(|route| route["matchers"][0]["value"] == "page");
            of_pages.any(|route| route["receiver"] != routes.value["spec"]["route"]["receiver"])
        });
        if !pages {
            refused.push(case.refuse("delivered", object, "has alerts of the severity page that wake nobody"));
        }
    }
    for object in case.of("Prometheus").chain(case.of("AlertmanagerConfig")) {
        let named = object.texts().into_iter().filter(|(path, _)| {
            [".secret.name", ".keySecret.name", ".urlSecret.name"].iter().any(|end| path.ends_with(end))
        });
        for (path, name) in named {
            let brought = case.of("ExternalSecret").any(|secret| {
                secret.namespace() == object.namespace() && secret.value["spec"]["target"]["name"] == name
            });
            if !brought {
                refused.push(case.refuse("delivered", object, format!("nobody brings the Secret {name} of {path}")));
            }
        }
    }
    refused
}

/// Where traces are sent to: a Service of this chart, because the operator's own has another name than its object.
const COLLECTOR: &str = "http://collector.";

/// Traces arrive: whoever is told of a collector is told of a Service that is there.
pub fn traced(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.objects() {
        for (path, address) in object.texts().into_iter().filter(|(_, text)| text.starts_with(COLLECTOR)) {
            let host = address.trim_start_matches("http://").split(':').next().unwrap_or_default();
            let there = |service: &Object| host == format!("{}.{}.svc", service.name(), service.namespace());
            if !case.of("Service").any(there) {
                refused.push(case.refuse("traced", object, format!("{path} is {host}, which nothing answers to")));
            }
        }
    }
    refused
}

/// Prometheus reaches the API server, which tells it whom to read; and what its alerts ask of the cluster's own objects is read of somebody.
pub fn found(case: &Case<'_>) -> Vec<Refusal> {
    let Some((_, site)) = case.place else { return Vec::new() };
    let mut refused = Vec::new();
    for object in case.of("Prometheus") {
        let finds = case.of("NetworkPolicy").filter(|policy| policy.namespace() == object.namespace()).any(|policy| {
            let egress = policy.value["spec"]["egress"].as_array().into_iter().flatten();
            egress.into_iter().any(|row| {
                let ports: Vec<_> = row["ports"].as_array().into_iter().flatten().collect();
                row["to"][0]["ipBlock"]["cidr"] == site.network.as_str()
                    && ports.iter().any(|port| port["port"] == 6443)
            })
        });
        if !finds {
            refused.push(case.refuse("found", object, "does not reach the API server, so it reads nobody"));
        }
    }
    let read: BTreeSet<&str> = case
        .of("ServiceMonitor")
        .filter(|monitor| {
            monitor.value["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] == "kube-state-metrics"
        })
        .flat_map(|monitor| monitor.value["spec"]["endpoints"].as_array().into_iter().flatten())
        .filter_map(|endpoint| endpoint["metricRelabelings"][0]["regex"].as_str())
        .flat_map(|names| names.split('|'))
        .collect();
    for object in case.of("PrometheusRule") {
        for (_, text) in object.texts().into_iter().filter(|(path, _)| path.ends_with(".expr")) {
            let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
            for name in words.filter(|word| word.starts_with("kube_") && !read.contains(word)) {
                refused.push(case.refuse("found", object, format!("asks for {name}, which nobody reads")));
            }
        }
    }
    refused
}
