//! Where pods stand, and what a node that is emptied does to them. Decided here: zones are held strictly, as the charts ask; while a node
//! is drained the API server's own account of each budget is asked again and again, and may never say that too few are there.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use super::kubectl::{Kubectl, until};
use super::releases::{PODS, Place};

/// A drain evicts pods one by one, and waits for their successors.
const DRAIN: Duration = Duration::from_secs(240);
/// How often budgets are looked at meanwhile, besides the time that a call takes.
const LOOK_EVERY: Duration = Duration::from_millis(50);

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The pods of a site's namespaces that are not on their way out. Those of a DaemonSet belong to their node: they neither spread nor leave it.
fn pods(place: &Place<'_>) -> Result<Vec<Value>> {
    let all = place.kubectl.items(&["get", "pods", "-A", "-l", "app.kubernetes.io/part-of=shopsphere"])?;
    Ok(all.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null() && !is_of_its_node(pod)).collect())
}

fn is_of_its_node(pod: &Value) -> bool {
    text(pod, "/metadata/ownerReferences/0/kind") == "DaemonSet"
}

/// The zone of each node.
fn zones(kubectl: &Kubectl) -> Result<BTreeMap<String, String>> {
    let nodes = kubectl.items(&["get", "nodes"])?;
    let zone = |node: &Value| text(node, "/metadata/labels/topology.kubernetes.io~1zone").to_owned();
    Ok(nodes.iter().map(|node| (text(node, "/metadata/name").to_owned(), zone(node))).collect())
}

/// All pods of the site stand where they were meant to.
///
/// # Errors
/// Naming the workload that stands unevenly.
pub fn spread(place: &Place<'_>) -> Result<String> {
    let zones = zones(place.kubectl)?;
    until("pods in their places", PODS, || evenly(&pods(place)?, &zones))
}

/// Workloads that ask to be spread differ by at most one pod between any two zones.
fn evenly(pods: &[Value], zones: &BTreeMap<String, String>) -> Result<String> {
    let empty: BTreeMap<&str, usize> = zones.values().map(|zone| (zone.as_str(), 0)).collect();
    let mut workloads: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut nodes: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in pods {
        let (name, node) = (text(pod, "/metadata/name"), text(pod, "/spec/nodeName"));
        let zone = zones.get(node).with_context(|| format!("{name} has no node"))?;
        *nodes.entry(node).or_default() += 1;
        if pod["spec"]["topologySpreadConstraints"].as_array().is_none_or(Vec::is_empty) {
            continue;
        }
        let label = |key: &str| text(pod, &format!("/metadata/labels/{}", key.replace('/', "~1"))).to_owned();
        let labels = ["app.kubernetes.io/name", "app.kubernetes.io/component", "pod-template-hash"].map(label);
        *workloads.entry(labels.join(" ")).or_insert_with(|| empty.clone()).entry(zone.as_str()).or_default() += 1;
    }
    for (workload, zones) in &workloads {
        let (least, most) = (zones.values().min().unwrap_or(&0), zones.values().max().unwrap_or(&0));
        ensure!(most - least <= 1, "{workload} stands unevenly: {zones:?}");
    }
    Ok(format!("{} workloads and {} pods on {} nodes", workloads.len(), pods.len(), nodes.len()))
}

/// Empties the node with most of our pods, while every budget is watched, and lets it take pods again.
///
/// # Errors
/// When the drain does not end, a budget is broken, a pod of ours stays there or does not come back elsewhere.
pub fn drain(place: &Place<'_>) -> Result<String> {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    pods(place)?.iter().for_each(|pod| *count.entry(text(pod, "/spec/nodeName").to_owned()).or_default() += 1);
    let (node, had) = count.into_iter().max_by_key(|(_, pods)| *pods).context("no node has pods")?;
    let drained = emptied(place, &node);
    let back = place.kubectl.run(&["uncordon", &node]);
    let looks = drained?;
    back?;
    Ok(format!("{had} pods left {node}, budgets kept in {looks} looks"))
}

fn emptied(place: &Place<'_>, node: &str) -> Result<usize> {
    let kubectl = place.kubectl;
    let arguments = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=220s"];
    let (drained, looks, broken) = std::thread::scope(|scope| {
        let drain = scope.spawn(|| kubectl.run_within(&arguments, DRAIN));
        let (mut looks, mut broken) = (0_usize, None);
        while !drain.is_finished() {
            // a look that fails is no look; the drain has a limit of its own
            if let Ok(budgets) = kubectl.items(&["get", "poddisruptionbudgets", "-A"]) {
                looks += 1;
                broken = broken.or(kept(&budgets).err());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        (drain.join().unwrap_or_else(|_| Err(anyhow!("the drain panicked"))), looks, broken)
    });
    drained?;
    if let Some(broken) = broken {
        return Err(broken);
    }
    ensure!(looks > 0, "nobody looked while {node} was drained");
    until("pods of the drained node elsewhere", PODS, || {
        let stays: Vec<_> = pods(place)?.into_iter().filter(|pod| text(pod, "/spec/nodeName") == node).collect();
        ensure!(stays.is_empty(), "{} stays on {node}", stays.first().map_or("", |pod| text(pod, "/metadata/name")));
        place.runs(Some(super::releases::NEXT)).map(|_| ())
    })?;
    Ok(looks)
}

/// No budget counts fewer healthy pods than it wants.
fn kept(budgets: &[Value]) -> Result<()> {
    for budget in budgets {
        let number = |key: &str| budget["status"][key].as_u64().unwrap_or(0);
        let (healthy, wanted) = (number("currentHealthy"), number("desiredHealthy"));
        ensure!(healthy >= wanted, "budget {}: {healthy} healthy, {wanted} wanted", text(budget, "/metadata/name"));
    }
    Ok(())
}

/// A budget that lets nobody go is obeyed: one of ours is closed, a pod of it is asked to go, and stays. The budget is opened again.
///
/// # Errors
/// When the pod was let go.
pub fn closed_budget(place: &Place<'_>) -> Result<()> {
    let budgets = place.kubectl.items(&["get", "poddisruptionbudgets", "-A"])?;
    let several = |budget: &&Value| budget["status"]["expectedPods"].as_u64().is_some_and(|pods| pods > 1);
    let budget = budgets.iter().find(several).context("no budget has two pods")?;
    let (namespace, name) = (text(budget, "/metadata/namespace"), text(budget, "/metadata/name"));
    let patch = |most: u64| {
        let spec = json!({"spec": {"maxUnavailable": most}}).to_string();
        place.kubectl.run(&["-n", namespace, "patch", "poddisruptionbudget", name, "--type=merge", "-p", &spec])
    };
    patch(0)?;
    let refused = evict(place, budget);
    patch(1)?;
    refused
}

fn evict(place: &Place<'_>, budget: &Value) -> Result<()> {
    let (namespace, name) = (text(budget, "/metadata/namespace"), text(budget, "/metadata/name"));
    until("the closed budget", PODS, || {
        let now = place.kubectl.json(&["-n", namespace, "get", "poddisruptionbudget", name])?;
        ensure!(now["status"]["observedGeneration"] == now["metadata"]["generation"], "it was not looked at");
        ensure!(now["status"]["disruptionsAllowed"] == 0, "it still lets pods go");
        Ok(())
    })?;
    let labels = budget["spec"]["selector"]["matchLabels"].as_object().context("a budget selects by labels")?;
    let chosen = pods(place)?.into_iter().find(|pod| {
        labels.iter().all(|(key, value)| pod["metadata"]["labels"].get(key) == Some(value))
            && pod["status"]["phase"] == "Running"
    });
    let chosen = chosen.with_context(|| format!("budget {name} has no pod"))?;
    let pod = text(&chosen, "/metadata/name");
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace},
    });
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
    match place.kubectl.fed(&["create", "--raw", &path], "eviction", &[eviction]) {
        Ok(_) => bail!("{pod} was let go by a budget that lets nobody go"),
        Err(error) if format!("{error:#}").contains("disruption budget") => Ok(()),
        Err(error) => Err(error.context("an eviction was refused, but not by the budget")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: &str, spread: bool) -> Value {
        let constraints = if spread { json!([{"maxSkew": 1}]) } else { json!([]) };
        json!({
            "metadata": {"name": name, "labels": {
                "app.kubernetes.io/name": "user", "app.kubernetes.io/component": "serve", "pod-template-hash": "a"}},
            "spec": {"nodeName": node, "topologySpreadConstraints": constraints},
        })
    }

    fn three_zones() -> BTreeMap<String, String> {
        [("n1", "z1"), ("n2", "z2"), ("n3", "z3")].map(|(node, zone)| (node.to_owned(), zone.to_owned())).into()
    }

    #[test]
    fn two_pods_in_one_zone_while_another_is_empty_are_seen() {
        let even = [pod("a", "n1", true), pod("b", "n2", true), pod("c", "n3", true), pod("d", "n1", true)];
        assert!(evenly(&even, &three_zones()).is_ok());
        let uneven = [pod("a", "n1", true), pod("b", "n1", true)];
        let error = evenly(&uneven, &three_zones()).expect_err("two in one zone").to_string();
        assert!(error.contains("user serve a stands unevenly"), "{error}");
        assert!(
            evenly(
                &uneven.map(|mut pod| {
                    pod["spec"]["topologySpreadConstraints"] = json!([]);
                    pod
                }),
                &three_zones()
            )
            .is_ok()
        );
        let error = evenly(&[pod("a", "", true)], &three_zones()).expect_err("no node").to_string();
        assert_eq!(error, "a has no node");
    }

    #[test]
    fn a_pod_that_belongs_to_its_node_is_not_asked_to_leave_it() {
        let mut pod = pod("shipper-a", "n1", false);
        assert!(!is_of_its_node(&pod));
        for (kind, stays) in [("ReplicaSet", false), ("DaemonSet", true)] {
            pod["metadata"]["ownerReferences"] = json!([{"kind": kind, "name": "shipper"}]);
            assert_eq!(is_of_its_node(&pod), stays, "{kind}");
        }
    }

    #[test]
    fn a_budget_with_too_few_healthy_pods_is_seen() {
        let budget = |healthy: u64| json!({"metadata": {"name": "user-serve"}, "status": {"currentHealthy": healthy, "desiredHealthy": 2}});
        assert!(kept(&[budget(2), budget(3)]).is_ok());
        let error = kept(&[budget(2), budget(1)]).expect_err("one of two").to_string();
        assert_eq!(error, "budget user-serve: 1 healthy, 2 wanted");
    }
}
