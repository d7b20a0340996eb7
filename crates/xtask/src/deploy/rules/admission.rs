//! What the API server of a site refuses by itself: the policies are there, look at every kind that could lead abroad, hold the lists of
//! the topology, are bound to every namespace of ours, and deny. What their expressions do is tried on a real server
//! (`crate::cluster::planted`).

use serde_json::{Value, json};

use super::super::objects::Object;
use super::{Case, Refusal};

/// A policy, and the kinds it must look at.
struct Policy {
    name: &'static str,
    kinds: &'static [&'static str],
}

/// It guards what the others choose by, so it looks at all namespaces.
const OF_NAMESPACES: &str = "shopsphere-namespace-of-another-jurisdiction";
const OF_ENDPOINTS: &str = "shopsphere-endpoint-of-another-jurisdiction";
const OF_NAMES: &str = "shopsphere-name-of-another-region";

const POLICIES: &[Policy] = &[
    Policy { name: OF_NAMESPACES, kinds: &["namespaces"] },
    Policy {
        name: "shopsphere-workload-of-another-jurisdiction",
        kinds: &["pods", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs"],
    },
    Policy { name: OF_ENDPOINTS, kinds: &["endpointslices", "endpoints", "networkpolicies", "services"] },
    Policy {
        name: OF_NAMES,
        kinds: &[
            "configmaps",
            "secrets",
            "services",
            "pods",
            "pods/ephemeralcontainers",
            "deployments",
            "replicasets",
            "statefulsets",
            "daemonsets",
            "jobs",
            "cronjobs",
            "gateways",
            "httproutes",
            "grpcroutes",
            "ingresses",
        ],
    },
    Policy {
        name: "shopsphere-way-out-of-the-jurisdiction",
        kinds: &[
            "kafkamirrormaker2s",
            "kafkausers",
            "kafkaconnects",
            "kafkaconnectors",
            "kafkabridges",
            "prometheuses",
            "prometheusagents",
        ],
    },
];

/// Does a policy look at a kind whenever it is made and whenever it is changed?
fn looks_at(policy: &Object, kind: &str) -> bool {
    let rules = policy.value["spec"]["matchConstraints"]["resourceRules"].as_array().into_iter().flatten();
    let lists = |rule: &Value, key: &str, item: &str| rule[key].as_array().into_iter().flatten().any(|one| one == item);
    rules.into_iter().any(|rule| {
        lists(rule, "resources", kind)
            && lists(rule, "operations", "CREATE")
            && lists(rule, "operations", "UPDATE")
            && rule["resourceNames"].is_null()
    })
}

/// A list as the policies have it.
fn in_words<T: AsRef<str>>(items: &[T]) -> String {
    let quoted: Vec<_> = items.iter().map(|item| format!("'{}'", item.as_ref())).collect();
    format!("[{}]", quoted.join(", "))
}

pub fn admission(case: &Case<'_>) -> Vec<Refusal> {
    let topology = case.topology();
    let (names, networks) = topology.foreign(topology.jurisdiction(case.place.map(|(region, _)| region)));
    let lists = [
        (OF_NAMES, "foreign", in_words(&names)),
        (OF_ENDPOINTS, "foreign", in_words(&networks)),
        (OF_ENDPOINTS, "open", in_words(&topology.open_networks(case.place))),
    ];
    let mut refused = Vec::new();
    for wanted in POLICIES {
        let Policy { name, kinds } = wanted;
        let Some(policy) = case.of("ValidatingAdmissionPolicy").find(|policy| policy.name() == *name) else {
            refused.push(case.lacks("admission", format!("nothing in its cluster enforces {name}")));
            continue;
        };
        let mut want = |good: bool, why: String| {
            if !good {
                refused.push(case.refuse("admission", policy, why));
            }
        };
        let spec = &policy.value["spec"];
        want(spec["failurePolicy"] == "Fail", "lets everything through that it cannot judge".to_owned());
        want(spec["paramKind"].is_null(), "asks an object that may not be there".to_owned());
        want(spec["matchConditions"].is_null() || *name == OF_NAMESPACES, "looks away under a condition".to_owned());
        for exception in ["namespaceSelector", "objectSelector", "excludeResourceRules"] {
            want(spec["matchConstraints"][exception].is_null(), format!("looks away by its {exception}"));
        }
        for kind in *kinds {
            want(looks_at(policy, kind), format!("does not look at {kind}"));
        }
        let validations: Vec<_> = spec["validations"].as_array().into_iter().flatten().collect();
        let idle = validations.iter().any(|one| one["expression"].as_str().is_none_or(|text| text.trim() == "true"));
        want(!idle && !validations.is_empty(), "refuses nothing".to_owned());
        for (_, variable, list) in lists.iter().filter(|(of, _, _)| of == name) {
            let held = spec["variables"].as_array().into_iter().flatten().find(|held| held["name"] == *variable);
            let held = held.map_or(&Value::Null, |held| &held["expression"]);
            want(held == list.as_str(), format!("holds {held} as {variable}, the topology says {list}"));
        }
        want(case.of("ValidatingAdmissionPolicyBinding").any(|binding| binds(binding, name)), unbound(name));
    }
    for namespace in case.of("Namespace") {
        if namespace.label("app.kubernetes.io/part-of") != "shopsphere" {
            refused.push(case.refuse("admission", namespace, "is a namespace that no policy looks at"));
        }
    }
    if case.of("Namespace").next().is_none() {
        refused.push(case.lacks("admission", "has no namespace that a policy could look at"));
    }
    refused
}

fn unbound(name: &str) -> String {
    format!("{name} denies nothing in some namespace of ours")
}

/// A binding that denies in every namespace of ours; that of the namespaces themselves in every namespace there is.
fn binds(binding: &Object, name: &str) -> bool {
    let spec = &binding.value["spec"];
    let ours = json!({"namespaceSelector": {"matchLabels": {"app.kubernetes.io/part-of": "shopsphere"}}});
    let chosen = if name == OF_NAMESPACES { Value::Null } else { ours };
    spec["policyName"] == name
        && spec["validationActions"].as_array().is_some_and(|actions| actions.iter().any(|action| action == "Deny"))
        && spec["paramRef"].is_null()
        && spec["matchResources"] == chosen
}
