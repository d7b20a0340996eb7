//! Names that must fit together, and texts that must not be there.

use std::collections::BTreeSet;

use super::{Case, Refusal};

pub fn unique(case: &Case<'_>) -> Vec<Refusal> {
    let mut seen = BTreeSet::new();
    let twice = case.objects().iter().filter(|object| {
        let api = object.value["apiVersion"].as_str().unwrap_or_default();
        !seen.insert((
            api.split('/').next().unwrap_or_default().to_owned(),
            object.kind(),
            object.namespace(),
            object.name(),
        ))
    });
    twice.map(|object| case.refuse("unique", object, "stands twice; the second would overwrite the first")).collect()
}

/// A service whose selector chooses nothing answers nobody, and nothing tells.
pub fn selectors(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for service in case.of("Service") {
        let Some(selector) = service.value["spec"]["selector"].as_object() else { continue };
        // pods of operators are made by them
        if !selector.contains_key("app.kubernetes.io/name") {
            continue;
        }
        let behind = case.objects().iter().find(|object| {
            let labels = object.pod().map(|pod| &pod["metadata"]["labels"]);
            object.namespace() == service.namespace()
                && labels.is_some_and(|labels| selector.iter().all(|(key, value)| &labels[key] == value))
        });
        let Some(behind) = behind else {
            refused.push(case.refuse("selectors", service, "chooses no pods of this site"));
            continue;
        };
        for port in service.value["spec"]["ports"].as_array().into_iter().flatten() {
            let open = behind.containers().flat_map(|container| container["ports"].as_array().into_iter().flatten());
            let target = &port["targetPort"];
            if !open.into_iter().any(|open| &open["name"] == target || &open["containerPort"] == target) {
                refused.push(case.refuse("selectors", service, format!("no container opens the port {target}")));
            }
        }
    }
    refused
}

/// Keys whose values are secrets wherever they stand.
const SECRET_WORDS: [&str; 5] = ["password", "secret", "api_key", "lock_key", "token"];

pub fn secrets(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.objects() {
        if object.kind() == "Secret" && !(object.value["data"].is_null() && object.value["stringData"].is_null()) {
            refused.push(case.refuse("secrets", object, "carries its data in clear; order it from the store"));
        }
        for (path, text) in object.texts() {
            if text.contains("PRIVATE KEY-----") || has_password(text) {
                refused.push(case.refuse("secrets", object, format!("{path} has a secret as plain text")));
            }
        }
        let variables = object.containers().flat_map(|container| container["env"].as_array().into_iter().flatten());
        let inline = variables.filter_map(|row| Some((row["name"].as_str()?, row["value"].as_str()?)));
        let mapped = object.value["data"].as_object().filter(|_| object.kind() == "ConfigMap").into_iter().flatten();
        let mapped = mapped.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
        for (name, value) in inline.chain(mapped) {
            let name_tells = SECRET_WORDS.iter().any(|word| name.to_lowercase().ends_with(word));
            if name_tells && !value.is_empty() {
                refused.push(case.refuse("secrets", object, format!("{name} has a secret as plain text")));
            }
        }
    }
    refused
}

/// `scheme://user:password@host`, with something between colon and at-sign that is no placeholder.
fn has_password(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let Some((user, _)) = authority.rsplit_once('@') else { return false };
        user.split_once(':').is_some_and(|(_, password)| !password.is_empty() && !password.contains("{{"))
    })
}
