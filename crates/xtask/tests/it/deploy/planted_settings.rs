//! Mistakes in what a workload of ours is told; `planted` shows each to the rules.

use serde_json::{Value, json};

use super::planted::{Mistake, change, container, push, setting};

/// A folder for accepted clicks, and what lies there.
fn spill_to(value: &mut Value, volume: Option<Value>) {
    *setting(value, "SHOPSPHERE__CLICKS__SPILL_FOLDER") = json!("/var/lib/shopsphere/clicks");
    if let Some(volume) = volume {
        *container(value, "volumeMounts") = json!([{"name": volume["name"], "mountPath": "/var/lib/shopsphere"}]);
        value["spec"]["template"]["spec"]["volumes"] = json!([volume]);
    }
}

pub(super) const MISTAKES: &[Mistake] = &[
    Mistake {
        rule: "settings-known",
        what: "a variable that the binary does not read",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "user-serve", |value| {
                push(container(value, "env"), json!({"name": "SHOPSPHERE__HTTP__PROT", "value": "8101"}))
            });
        },
    },
    Mistake {
        rule: "settings-complete",
        what: "a variable that is left out",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "user-serve", |value| {
                let rows = container(value, "env").as_array_mut().unwrap();
                rows.retain(|row| row["name"] != "SHOPSPHERE__SITE__REGION")
            });
        },
    },
    Mistake {
        rule: "settings-own",
        what: "settings that change under the pods of the release before",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "Deployment", "catalog-serve", |value| {
                *container(value, "envFrom") = json!([{"configMapRef": {"name": "catalog-settings"}}]);
            });
        },
    },
    Mistake {
        rule: "settings-own",
        what: "one setting that changes under the pods of the release before",
        site: "dr-a",
        plant: |objects| {
            change(objects, "Deployment", "user-work", |value| {
                let from = json!({"configMapKeyRef": {"name": "site", "key": "epoch"}});
                push(container(value, "env"), json!({"name": "SHOPSPHERE__SITE__EPOCH", "valueFrom": from}));
            });
        },
    },
    Mistake {
        rule: "spilled",
        what: "accepted clicks within the container",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "user-serve", |value| spill_to(value, None));
        },
    },
    Mistake {
        rule: "spilled",
        what: "accepted clicks on a disk that is emptied with the pod",
        site: "dr-b",
        plant: |objects| {
            change(objects, "Deployment", "user-serve", |value| {
                spill_to(value, Some(json!({"name": "clicks", "emptyDir": {}})))
            });
        },
    },
    Mistake {
        rule: "spilled",
        what: "accepted clicks on a claim that is deleted with the pod",
        site: "rdc-c",
        plant: |objects| {
            change(objects, "Deployment", "user-serve", |value| {
                spill_to(value, Some(json!({"name": "clicks", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}})))
            });
        },
    },
];
