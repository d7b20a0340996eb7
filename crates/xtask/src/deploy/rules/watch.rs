//! Watching: what leaves the region is kept by name, logs pass an allow-list, every alert leads to a page that is there.

use super::{Case, Refusal};

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
