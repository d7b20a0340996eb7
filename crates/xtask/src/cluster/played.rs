//! What a cluster needs besides its control plane, played: nodes in three zones, and the storage that claims ask for. Decided here: how
//! many nodes, how large, and what is played at all (`stages.yaml`).

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::kubectl::{Kubectl, until};
use crate::deploy::objects::Rendered;

/// How nodes, pods and balancers are played.
pub const STAGES: &str = include_str!("stages.yaml");
/// Two nodes in each zone, so that a zone stays when one of its nodes is drained.
const ZONES: [&str; 3] = ["az-1", "az-2", "az-3"];
const NODES_PER_ZONE: usize = 2;
/// Where pods get their addresses; no network of a site.
pub const POD_NETWORK: &str = "10.244.0.1/16";
/// Said to be the address of each node.
pub const NODE_ADDRESS: &str = "10.250.0.1";

/// The nodes. Each has room for a sixth of a site with all its headroom.
pub fn nodes() -> Vec<Value> {
    let each =
        |zone: &'static str| (1..=NODES_PER_ZONE).map(move |number| node(&format!("{zone}-node-{number}"), zone));
    ZONES.into_iter().flat_map(each).collect()
}

fn node(name: &str, zone: &str) -> Value {
    let room = json!({"cpu": "32", "memory": "64Gi", "pods": "110", "ephemeral-storage": "200Gi"});
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "topology.kubernetes.io/zone": zone,
                "topology.kubernetes.io/region": "played",
            },
        },
        "status": {"allocatable": room, "capacity": room},
    })
}

/// Fails until every node says that it is ready and takes pods.
///
/// # Errors
/// Naming the first that is not.
pub fn all_ready(kubectl: &Kubectl) -> Result<()> {
    let nodes = kubectl.items(&["get", "nodes"])?;
    ensure!(nodes.len() == ZONES.len() * NODES_PER_ZONE, "{} nodes", nodes.len());
    for node in &nodes {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        ensure!(ready, "{name} is not ready");
        ensure!(node["spec"]["taints"].as_array().is_none_or(Vec::is_empty), "{name} takes no pods yet");
    }
    Ok(())
}

/// Where volumes would lie that nobody writes to.
pub const NOWHERE: &str = "/played";

/// A volume for each claim of a site, as the storage of a real cluster would make one. They lie in one folder of the node.
pub fn volumes(rendered: &Rendered, path: &str) -> Vec<Value> {
    let claims = rendered.objects.iter().filter(|object| object.kind() == "PersistentVolumeClaim");
    claims
        .map(|claim| {
            let spec = &claim.value["spec"];
            json!({
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": format!("{}-{}", rendered.site, claim.name())},
                "spec": {
                    "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                    "accessModes": spec["accessModes"],
                    "storageClassName": spec["storageClassName"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "claimRef": {"namespace": claim.namespace(), "name": claim.name()},
                    "hostPath": {"path": path},
                },
            })
        })
        .collect()
}

/// Takes the volumes of a site away. Their claims must be gone, or this waits for them.
///
/// # Errors
/// When the server refuses.
pub fn remove_volumes(kubectl: &Kubectl, rendered: &Rendered) -> Result<()> {
    for volume in volumes(rendered, NOWHERE) {
        let name = volume["metadata"]["name"].as_str().unwrap_or_default();
        kubectl.run(&["delete", "persistentvolume", name, "--ignore-not-found", "--wait=false"])?;
    }
    Ok(())
}

/// Plays the scaler, whose operator is not there: each Deployment gets the replicas that its ScaledObject begins with. Waits until they are there.
/// Gives the number of Deployments.
///
/// # Errors
/// When the server refuses or pods do not come.
pub fn scale(kubectl: &Kubectl, rendered: &Rendered) -> Result<usize> {
    let wanted = replicas(rendered);
    for (namespace, name, count) in &wanted {
        let count = format!("--replicas={count}");
        kubectl.run(&["-n", namespace, "scale", "deployment", name, &count])?;
    }
    until("the replicas that the scaler wants", super::releases::PODS, || {
        for (namespace, name, count) in &wanted {
            let found = kubectl.json(&["-n", namespace, "get", "deployment", name])?;
            let available = found["status"]["availableReplicas"].as_u64().unwrap_or(0);
            ensure!(available == *count, "{name} has {available} of {count}");
        }
        Ok(())
    })?;
    Ok(wanted.len())
}

/// Namespace, Deployment and replicas that the ScaledObjects of a site begin with.
pub fn replicas(rendered: &Rendered) -> Vec<(String, String, u64)> {
    let scalers = rendered.objects.iter().filter(|object| object.kind() == "ScaledObject");
    scalers
        .filter_map(|scaler| {
            let paused = &scaler.value["metadata"]["annotations"]["autoscaling.keda.sh/paused-replicas"];
            let spec = &scaler.value["spec"];
            let paused = paused.as_str().and_then(|text| text.parse().ok());
            let count = paused.or_else(|| spec["minReplicaCount"].as_u64())?;
            Some((scaler.namespace().to_owned(), spec["scaleTargetRef"]["name"].as_str()?.to_owned(), count))
        })
        .collect()
}
