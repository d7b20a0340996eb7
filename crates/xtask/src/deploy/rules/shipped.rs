//! What our programs say on standard output, on its way: from each node to the store of this site and to nobody else, by somebody who may
//! read lines and nothing more. A line may name an order, so headquarters are not reached from there at all.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::objects::Object;
use super::reach::{chooses, list};
use super::{Case, Refusal, settings};
use crate::render::topology::overlap;

const RULE: &str = "shipped";
const SHIPPER: &str = "shipper";

pub fn shipped(case: &Case<'_>) -> Vec<Refusal> {
    let Some((region, site)) = case.place else { return Vec::new() };
    let Some(shipper) = case.of("DaemonSet").find(|object| object.name() == SHIPPER) else {
        return vec![case.lacks(RULE, "nobody takes the lines of its programs to a store")];
    };
    let mut refused = Vec::new();
    let mut want = |good: bool, object: &Object, why: String| {
        if !good {
            refused.push(case.refuse(RULE, object, why));
        }
    };
    let told = |variable: &str| shipper.containers().find_map(|container| settings::value(container, variable));
    let store = told("LOGS_URL").unwrap_or_default();
    let own = case.topology().logs_url(region, site);
    want(store == own, shipper, format!("writes to {store:?}, and the store of this site is {own}"));
    let config = case.of("ConfigMap").find(|map| map.name() == SHIPPER && map.namespace() == shipper.namespace());
    let config = config.and_then(|map| map.value["data"]["config.alloy"].as_str()).unwrap_or_default();
    let writes = config.matches("endpoint {").count() == 1 && config.contains("sys.env(\"LOGS_URL\")");
    want(writes && !config.contains("://"), shipper, "its settings name another store, or none".to_owned());

    let read: BTreeSet<&str> = told("NAMESPACES").unwrap_or_default().split(',').collect();
    for namespace in case.of("Namespace").map(Object::name) {
        let bound = case.of("RoleBinding").any(|binding| binding.namespace() == namespace && binds(binding, shipper));
        want(
            bound && read.contains(namespace),
            shipper,
            format!("nobody hears what is said in the namespace {namespace}"),
        );
    }
    for binding in case.of("ClusterRoleBinding").filter(|binding| binds(binding, shipper)) {
        want(false, binding, "lets it read beyond the namespaces of ours".to_owned());
    }
    for binding in case.of("RoleBinding").filter(|binding| binds(binding, shipper)) {
        let role = case.of("Role").find(|role| {
            role.namespace() == binding.namespace() && binding.value["roleRef"]["name"].as_str() == Some(role.name())
        });
        let rules = role.map(|role| &role.value["rules"]).filter(|_| binding.value["roleRef"]["kind"] == "Role");
        want(
            rules == Some(&rights()),
            binding,
            "gives it another right than to find pods and read their lines".to_owned(),
        );
    }

    let hq = &case.topology().headquarters.network;
    let labels = &shipper.value["spec"]["template"]["metadata"]["labels"];
    let here = case.of("NetworkPolicy").filter(|policy| policy.namespace() == shipper.namespace());
    for policy in here.filter(|policy| chooses(policy, labels)) {
        let peers = list(&policy.value["spec"]["egress"]).flat_map(|rule| list(&rule["to"]));
        let mut blocks = peers.filter_map(|peer| peer["ipBlock"]["cidr"].as_str());
        want(!blocks.any(|cidr| overlap(cidr, hq)), policy, "lets the lines out to headquarters".to_owned());
    }
    refused
}

/// Does a binding give something to the account of the shipper?
fn binds(binding: &Object, shipper: &Object) -> bool {
    list(&binding.value["subjects"])
        .any(|subject| subject["name"] == SHIPPER && subject["namespace"].as_str() == Some(shipper.namespace()))
}

/// All that reading lines takes.
fn rights() -> Value {
    json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ])
}
