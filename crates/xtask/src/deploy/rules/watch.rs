//! Watching: what leaves the region is kept by name and says nothing about anybody, logs pass an allow-list, every alert leads to a page
//! that is there, and to a person. Prometheus finds what it shall read, and reads what its rules ask for.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::super::objects::Object;
use super::reach::{chooses, list, opens};
use super::{Case, Refusal, received};

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

/// Labels by which recorded series may be told apart at headquarters: parts of the platform, never of a person or an order.
const AGGREGATED_BY: [&str; 4] = ["job", "le", "target", "group"];

/// What makes one number of many.
const AGGREGATES: [&str; 6] = ["sum", "max", "min", "avg", "count", "histogram_quantile"];

/// The rules of all groups of an object.
fn rules(object: &Object) -> impl Iterator<Item = &Value> {
    let groups = object.value["spec"]["groups"].as_array().into_iter().flatten();
    groups.flat_map(|group| group["rules"].as_array().into_iter().flatten())
}

/// A recorded series that would be written to headquarters is an aggregate, by labels that are named here.
pub fn recorded(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.of("PrometheusRule") {
        for rule in rules(object) {
            let name = rule["record"].as_str().unwrap_or_default();
            if !name.starts_with("region:") && !name.starts_with("site:") {
                continue;
            }
            let expression = rule["expr"].as_str().unwrap_or_default();
            let word = expression.split([' ', '(']).next().unwrap_or_default();
            let lists = expression.split("by (").skip(1).map(|rest| rest.split(')').next().unwrap_or_default());
            let mut labels = lists.flat_map(|list| list.split(',')).map(str::trim);
            let strange = labels.find(|label| !AGGREGATED_BY.contains(label));
            if !AGGREGATES.contains(&word) || expression.contains("without") || expression.contains("label_replace") {
                refused.push(case.refuse("remote-write", object, format!("{name} is no aggregate")));
            } else if let Some(label) = strange {
                refused.push(case.refuse("remote-write", object, format!("{name} tells figures apart by {label}")));
            }
        }
    }
    refused
}

pub fn remote_write(case: &Case<'_>) -> Vec<Refusal> {
    let url = format!("https://{}/api/v1/write", case.topology().metrics_host());
    let mut refused = Vec::new();
    for object in case.of("Prometheus") {
        if !object.value["spec"]["remoteRead"].is_null() {
            refused.push(case.refuse("remote-write", object, "reads series from somewhere else"));
        }
        let targets = object.value["spec"]["remoteWrite"].as_array().into_iter().flatten();
        for target in targets {
            let (keep, labels) = (&target["writeRelabelConfigs"][0], &target["writeRelabelConfigs"][1]);
            let keeps = keep["action"] == "keep"
                && keep["sourceLabels"][0] == "__name__"
                && keep["regex"] == "(region|site):.*|ALERTS";
            if !keeps {
                let why = format!("sends {} more than recorded aggregates", target["url"]);
                refused.push(case.refuse("remote-write", object, why));
            }
            let labels = labels["regex"].as_str().filter(|_| labels["action"] == "labelkeep").unwrap_or(".*");
            if let Some(label) = labels.split('|').find(|label| !LABELS.contains(label)) {
                refused.push(case.refuse("remote-write", object, format!("sends {} the label {label}", target["url"])));
            }
            if case.place.is_none() || target["url"] != url.as_str() {
                let why = format!("writes to {}, which takes no aggregates", target["url"]);
                refused.push(case.refuse("remote-write", object, why));
            }
        }
    }
    for object in case.of("PrometheusAgent").chain(case.of("ThanosRuler")) {
        refused.push(case.refuse("remote-write", object, "sends series past the rules"));
    }
    if case.of("Prometheus").next().is_none() {
        refused.push(case.lacks("remote-write", "nobody records anything"));
    }
    refused
}

/// Parts of a key that speak of somebody.
const PERSONAL: [&str; 10] =
    ["user", "email", "person", "address", "phone", "session", "order", "subject", "pseudonym", "query"];

/// Every pipeline that ends outside the region passes the redaction, and the redaction allows by name.
pub fn redaction(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.of("OpenTelemetryCollector") {
        let config = &object.value["spec"]["config"];
        let redacts = &config["processors"]["redaction/hq"];
        if redacts["allow_all_keys"] != false || redacts["allowed_keys"].as_array().is_none_or(Vec::is_empty) {
            refused.push(case.refuse("redaction", object, "allows keys that nobody named"));
        }
        let keys = redacts["allowed_keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for key in keys.filter(|key| PERSONAL.iter().any(|part| key.contains(part))) {
            refused.push(case.refuse("redaction", object, format!("lets {key} through, which speaks of somebody")));
        }
        if redacts["blocked_values"].as_array().is_none_or(Vec::is_empty) {
            refused.push(case.refuse("redaction", object, "looks for nothing in what it lets through"));
        }
        // a name is only a name: what leads abroad is told by where it leads to
        let hq = case.topology().headquarters_domain();
        let abroad = |exporter: &str| {
            exporter.ends_with("/hq") || config["exporters"][exporter].to_string().to_lowercase().contains(&hq)
        };
        for (name, pipeline) in config["service"]["pipelines"].as_object().into_iter().flatten() {
            let list = |key: &str| pipeline[key].as_array().cloned().unwrap_or_default();
            let leaves = list("exporters").iter().any(|exporter| exporter.as_str().is_some_and(abroad));
            if leaves && !list("processors").iter().any(|processor| processor == "redaction/hq") {
                refused.push(case.refuse(
                    "redaction",
                    object,
                    format!("the pipeline {name} leaves the region as it is"),
                ));
            }
        }
    }
    if case.place.is_some() && case.of("OpenTelemetryCollector").next().is_none() {
        refused.push(case.lacks("redaction", "nobody takes its traces"));
    }
    refused
}

pub fn alerts(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    let list = fs::read_to_string(case.root.join("docs/runbooks/README.md")).unwrap_or_default();
    let mut count = 0;
    for object in case.of("PrometheusRule") {
        for rule in rules(object).filter(|rule| rule.get("alert").is_some()) {
            count += 1;
            let name = rule["alert"].as_str().unwrap_or_default();
            let page =
                rule["annotations"]["runbook_url"].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or_default();
            if !list.contains(&format!("`{name}`")) {
                refused.push(case.refuse("alerts", object, format!("{name} is not in the list of runbooks")));
            }
            if page.is_empty() || page == "README.md" || !case.root.join("docs/runbooks").join(page).is_file() {
                refused.push(case.refuse("alerts", object, format!("{name} leads to no page of docs/runbooks")));
            }
            if !["page", "ticket"].iter().any(|severity| rule["labels"]["severity"] == *severity)
                || rule["annotations"]["summary"].is_null()
            {
                refused.push(case.refuse("alerts", object, format!("{name} does not say what it wants of whom")));
            }
        }
    }
    if count == 0 && case.place.is_some() {
        refused.push(case.lacks("alerts", "nobody is called when something is wrong"));
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
            let brought = case.of("ExternalSecret").chain(case.of("Certificate")).any(|maker| {
                let spec = &maker.value["spec"];
                maker.namespace() == object.namespace()
                    && (spec["target"]["name"] == name || spec["secretName"] == name)
            });
            if !brought {
                refused.push(case.refuse("delivered", object, format!("nobody brings the Secret {name} of {path}")));
            }
        }
    }
    refused
}

/// Where Prometheus answers questions.
const QUESTIONS: u64 = 9090;

/// What is recorded is seen: the Grafana of the cluster is told of each Prometheus, and a policy lets its pods in. Of other namespaces only
/// what scales may ask as a whole, and operators, who reach what they run.
pub fn shown(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.of("Prometheus") {
        let address = format!("http://prometheus-operated.{}.svc:{QUESTIONS}", object.namespace());
        let told = |map: &Object| {
            map.label("grafana_datasource") == "1" && map.texts().iter().any(|(_, text)| text.contains(&address))
        };
        if !case.of("ConfigMap").any(told) {
            refused.push(case.refuse("shown", object, "no Grafana is told of it"));
        }
        let labels = received::labels(object);
        let rules: Vec<&Value> = case
            .of("NetworkPolicy")
            .filter(|policy| policy.namespace() == object.namespace() && chooses(policy, &labels))
            .flat_map(|policy| list(&policy.value["spec"]["ingress"]))
            .filter(|rule| opens(rule, "from", QUESTIONS, |_| true))
            .collect();
        if rules.iter().any(|rule| rule["from"].is_null()) {
            refused.push(case.refuse("shown", object, "answers whoever asks"));
        }
        let peers: Vec<&Value> = rules.iter().flat_map(|rule| list(&rule["from"])).collect();
        // in a region it runs beside the Alertmanager
        let beside = &object.value["spec"]["alerting"]["alertmanagers"][0]["namespace"];
        let named = |peer: &Value| peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"].clone();
        let shows = |peer: &&Value| {
            let there = named(peer);
            peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "grafana"
                && if beside.is_null() { there.is_string() } else { there == *beside }
        };
        if !peers.iter().any(shows) {
            refused.push(case.refuse("shown", object, "no policy lets Grafana ask it"));
        }
        let whole = |peer: &&&Value| !peer["namespaceSelector"].is_null() && peer["podSelector"].is_null();
        let operators =
            |peer: &Value| peer["namespaceSelector"]["matchLabels"]["shopsphere.example/operators"] == "true";
        for peer in peers.iter().filter(whole).filter(|peer| named(peer) != "keda" && !operators(peer)) {
            refused.push(case.refuse("shown", object, format!("answers whoever runs in {}", named(peer))));
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
        let its_own = case.of("NetworkPolicy").filter(|policy| policy.namespace() == object.namespace());
        let finds = its_own.filter(|policy| chooses(policy, &received::labels(object))).any(|policy| {
            list(&policy.value["spec"]["egress"])
                .any(|rule| opens(rule, "to", 6443, |peer| peer["ipBlock"]["cidr"] == site.network.as_str()))
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
