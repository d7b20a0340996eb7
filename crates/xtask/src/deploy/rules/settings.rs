//! Environment variables, both ways: a workload of ours sets every variable that its binary reads, and none that it does not read; all
//! stand in its own pod, so that they come and go with its program; and what it takes from a Secret is ordered from the region's store.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::objects::Object;
use super::reach::list;
use super::{Case, Refusal};
use crate::render::services::{Service, variable};

const PREFIX: &str = "SHOPSPHERE__";

/// Workloads of ours: the object, its container, the service whose binary runs in it.
fn programs<'c>(case: &'c Case<'_>) -> impl Iterator<Item = (&'c Object, &'c Value, &'c Service)> {
    case.objects().iter().flat_map(move |object| {
        object.containers().filter_map(move |container| {
            let name = object.label("app.kubernetes.io/name");
            let ours = container["image"]
                .as_str()
                .is_some_and(|image| image.contains(&format!("/{name}:")) || image.contains(&format!("/{name}@")));
            let service = case.sources.services.iter().find(|service| ours && service.name == name)?;
            Some((object, container, service))
        })
    })
}

/// Names of the variables that a container gets.
fn given(container: &Value) -> BTreeSet<String> {
    let names = list(&container["env"]).filter_map(|row| row["name"].as_str());
    names.filter(|name| name.starts_with(PREFIX)).map(str::to_owned).collect()
}

/// What a container is told by a variable.
pub(super) fn value<'v>(container: &'v Value, variable: &str) -> Option<&'v str> {
    list(&container["env"]).find(|row| row["name"] == variable)?["value"].as_str()
}

pub fn known(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for (object, container, service) in programs(case) {
        let read: BTreeSet<String> = service.settings.keys().map(|key| variable(key)).collect();
        for name in given(container).difference(&read) {
            refused.push(case.refuse(
                "settings-known",
                object,
                format!("sets {name}, which {} refuses to start with", service.name),
            ));
        }
    }
    refused
}

pub fn complete(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for (object, container, service) in programs(case) {
        let set = given(container);
        for key in service.settings.keys().filter(|key| !set.contains(&variable(key))) {
            refused.push(case.refuse(
                "settings-complete",
                object,
                format!("leaves {} to what is right on a laptop", variable(key)),
            ));
        }
    }
    // a program that is called otherwise would not be looked at
    if case.place.is_some() {
        let idle = |name: &str| !programs(case).any(|(_, _, service)| service.name == name);
        for service in case.sources.services.iter().filter(|service| idle(service.name)) {
            refused.push(case.lacks("settings-complete", format!("nothing runs the program {}", service.name)));
        }
    }
    refused
}

/// A ConfigMap is replaced before the first pod of a release is there, under its old name: a container of the release before, started anew
/// in these minutes, would be given settings that its program has never heard of, and refuse to start.
pub fn own(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.objects() {
        for container in object.containers() {
            let whole = list(&container["envFrom"]).map(|source| &source["configMapRef"]["name"]);
            let single = list(&container["env"]).map(|row| &row["valueFrom"]["configMapKeyRef"]["name"]);
            for name in whole.chain(single).filter_map(Value::as_str) {
                let why = format!("reads {name}, which the next release changes under pods of this one");
                refused.push(case.refuse("settings-own", object, why));
            }
        }
    }
    refused
}

/// A variable from a Secret comes from a key that somebody orders: a pod with another one never starts.
pub fn ordered(case: &Case<'_>) -> Vec<Refusal> {
    let orders = |namespace: &str, secret: &Value, key: &str| {
        case.of("ExternalSecret").any(|order| {
            let target = &order.value["spec"]["target"];
            order.namespace() == namespace && &target["name"] == secret && !target["template"]["data"][key].is_null()
        })
    };
    let mut refused = Vec::new();
    for object in case.objects() {
        for row in object.containers().flat_map(|container| container["env"].as_array().into_iter().flatten()) {
            let from = &row["valueFrom"]["secretKeyRef"];
            let Some(key) = from["key"].as_str() else { continue };
            if !orders(object.namespace(), &from["name"], key) {
                let why = format!("takes {key} from {}, which nobody orders", from["name"]);
                refused.push(case.refuse("settings-complete", object, why));
            }
        }
    }
    refused
}
