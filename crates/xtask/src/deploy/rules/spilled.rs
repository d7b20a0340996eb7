//! Clicks that were accepted while the broker was away wait in a folder (docs/adr/0049). It lies on a disk of this pod's own that the next
//! pod of its name finds again: a claim of a StatefulSet's template. What goes with a pod is refused (its own file system, `emptyDir`,
//! `ephemeral`, whose claim is deleted with it), and so is one claim for all pods: the folder belongs to one process.

use std::path::Path;

use serde_json::Value;

use super::super::objects::Object;
use super::reach::list;
use super::{Case, Refusal, settings};

const FOLDER: &str = "SHOPSPHERE__CLICKS__SPILL_FOLDER";

pub fn spilled(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.objects() {
        for container in object.containers() {
            let folder = settings::value(container, FOLDER).unwrap_or_default();
            if !folder.is_empty() && !is_found_again(object, container, folder) {
                let why =
                    format!("keeps accepted clicks in {folder}, which is no disk of its own that outlives the pod");
                refused.push(case.refuse("spilled", object, why));
            }
        }
    }
    refused
}

/// Does the next pod of this name find the folder as the last one left it?
fn is_found_again(object: &Object, container: &Value, folder: &str) -> bool {
    let spec = &object.value["spec"];
    let above = |mount: &&Value| mount["mountPath"].as_str().is_some_and(|path| Path::new(folder).starts_with(path));
    // Of mounts within each other the innermost holds the folder.
    let mounts = list(&container["volumeMounts"]).filter(above);
    let Some(mount) = mounts.max_by_key(|mount| mount["mountPath"].as_str().map(str::len)) else { return false };
    let is_claimed = list(&spec["volumeClaimTemplates"]).any(|claim| claim["metadata"]["name"] == mount["name"]);
    let mut ends = spec["persistentVolumeClaimRetentionPolicy"].as_object().into_iter().flatten();
    let stays = ends.all(|(_, what)| what == "Retain");
    object.kind() == "StatefulSet" && is_claimed && stays && mount["readOnly"] != true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CLICKS: &str = "/var/clicks";

    fn mount(name: &str, path: &str) -> Value {
        json!({"name": name, "mountPath": path})
    }

    #[test]
    fn only_a_claim_of_its_template_is_found_again_by_the_next_pod() {
        let claimed = json!({"volumeClaimTemplates": [{"metadata": {"name": "disk"}}]});
        let mut deleted = claimed.clone();
        deleted["persistentVolumeClaimRetentionPolicy"] = json!({"whenDeleted": "Retain", "whenScaled": "Delete"});
        let mut kept = claimed.clone();
        kept["persistentVolumeClaimRetentionPolicy"] = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
        let of = |volume: Value| json!({"template": {"spec": {"volumes": [volume]}}});
        let scratch = of(json!({"name": "disk", "emptyDir": {}}));
        let of_the_pod = of(json!({"name": "disk", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}));
        let shared = of(json!({"name": "disk", "persistentVolumeClaim": {"claimName": "clicks"}}));
        let at = |path: &str| vec![mount("disk", path)];
        let table = [
            ("its own claim", "StatefulSet", &claimed, at(CLICKS), true),
            ("its own claim, said to stay", "StatefulSet", &kept, at(CLICKS), true),
            ("a folder on its own claim", "StatefulSet", &claimed, at("/var"), true),
            ("the claim is elsewhere", "StatefulSet", &claimed, at("/var/click"), false),
            (
                "something else lies over it",
                "StatefulSet",
                &claimed,
                vec![mount("disk", "/var"), mount("tmp", CLICKS)],
                false,
            ),
            ("nothing is mounted", "StatefulSet", &claimed, Vec::new(), false),
            ("a claim that goes when fewer pods are wanted", "StatefulSet", &deleted, at(CLICKS), false),
            ("a scratch disk", "Deployment", &scratch, at(CLICKS), false),
            ("a claim that goes with the pod", "Deployment", &of_the_pod, at(CLICKS), false),
            ("one claim for all pods", "Deployment", &shared, at(CLICKS), false),
        ];
        for (what, kind, spec, mounts, found_again) in table {
            let object = Object { layer: "shopsphere".to_owned(), value: json!({"kind": kind, "spec": spec}) };
            let container = json!({"volumeMounts": mounts});
            assert_eq!(is_found_again(&object, &container, CLICKS), found_again, "{what}");
        }
        let read_only = json!({"volumeMounts": [{"name": "disk", "mountPath": CLICKS, "readOnly": true}]});
        let object = Object { layer: "shopsphere".to_owned(), value: json!({"kind": "StatefulSet", "spec": claimed}) };
        assert!(!is_found_again(&object, &read_only, CLICKS), "nothing can be kept there");
    }
}
