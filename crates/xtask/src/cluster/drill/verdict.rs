//! Whether a step of the drill was done and the region is whole after it. Decided here: a pod that was killed did not stay away, and a bad
//! release has left nothing: the same Deployments with their settings, the same pods, and helm's own record of a roll-back. Only objects are judged here, as
//! the API server and helm tell them; requests and events are judged by `drill::rolling::verdict`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Row, Step};

/// What stands there in an object; empty when nothing does.
pub fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The name of the Deployment that a pod of ours belongs to, by the labels of the charts.
pub fn owner(pod: &Value) -> String {
    let label = |key: &str| text(pod, &format!("/metadata/labels/app.kubernetes.io~1{key}"));
    format!("{}-{}", label("name"), label("component"))
}

/// A Deployment has as many pods as it wants, all of them of now and ready, and no others.
///
/// # Errors
/// Saying what is missing.
pub fn whole(deployment: &Value, pods: &[Value]) -> Result<()> {
    let name = text(deployment, "/metadata/name");
    let (wants, status) = (deployment["spec"]["replicas"].as_u64().unwrap_or(0), &deployment["status"]);
    ensure!(wants > 0, "{name} wants no pod");
    ensure!(status["observedGeneration"] == deployment["metadata"]["generation"], "{name} was not looked at");
    for key in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
        let has = status[key].as_u64().unwrap_or(0);
        ensure!(has == wants, "{name}: {key} is {has} of {wants}");
    }
    let own: Vec<&Value> = pods.iter().filter(|pod| owner(pod) == name).collect();
    ensure!(own.len() as u64 == wants, "{name} has {} pods, not {wants}", own.len());
    for pod in own {
        ensure!(condition(pod, "Ready"), "{} is not ready", text(pod, "/metadata/name"));
    }
    Ok(())
}

fn condition(object: &Value, kind: &str) -> bool {
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == kind && one["status"] == "True")
}

/// None of these pods is there any more.
///
/// # Errors
/// Naming the first that is.
pub fn gone(old: &[Value], pods: &[Value]) -> Result<()> {
    let still = pods.iter().find(|pod| old.iter().any(|old| old["metadata"]["uid"] == pod["metadata"]["uid"]));
    ensure!(still.is_none(), "{} is still there", still.map_or("", |pod| text(pod, "/metadata/name")));
    Ok(())
}

/// What containerd calls the container of a pod.
///
/// # Errors
/// When it has none.
pub fn container(pod: &Value) -> Result<&str> {
    let id = text(pod, "/status/containerStatuses/0/containerID").strip_prefix("containerd://");
    id.with_context(|| format!("{} has no container", text(pod, "/metadata/name")))
}

/// The process that was killed is no pod's any more.
///
/// # Errors
/// When one still names it.
pub fn runs_no_more(killed: &str, pods: &[Value]) -> Result<()> {
    let still = pods.iter().find(|pod| container(pod).is_ok_and(|id| id == killed));
    ensure!(still.is_none(), "{} has the process still", still.map_or("", |pod| text(pod, "/metadata/name")));
    Ok(())
}

/// Names of the nodes that are ready and take pods, in order.
pub fn taking_pods(nodes: &[Value]) -> Vec<&str> {
    let takes = |node: &&Value| node["spec"]["unschedulable"] != true && condition(node, "Ready");
    let mut names: Vec<&str> = nodes.iter().filter(takes).map(|node| text(node, "/metadata/name")).collect();
    names.sort_unstable();
    names
}

/// Every step was done.
pub fn steps(plan: &[Step], rows: &[Row]) -> Vec<String> {
    let said = |step: &Step| match rows.iter().find(|row| row.step == *step).map(|row| &row.outcome) {
        None => Some(format!("{step}: not tried")),
        Some(Err(why)) => Some(format!("{step}: {why}")),
        Some(Ok(_)) => None,
    };
    plan.iter().filter_map(said).collect()
}

/// What runs at one moment.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    /// Of each Deployment, what its pods are made of, settings included, and how many they are.
    made_of: BTreeMap<String, (Value, Value)>,
    /// How often each Deployment was changed.
    changes: BTreeMap<String, u64>,
    pods: BTreeSet<String>,
    history: Vec<Value>,
}

impl Moment {
    pub fn of(deployments: &[Value], pods: &[Value], history: Vec<Value>) -> Moment {
        let name = |object: &Value| text(object, "/metadata/name").to_owned();
        let made_of = |one: &Value| (one["spec"]["template"].clone(), one["spec"]["replicas"].clone());
        let changes = |one: &Value| one["metadata"]["generation"].as_u64().unwrap_or(0);
        Moment {
            made_of: deployments.iter().map(|one| (name(one), made_of(one))).collect(),
            changes: deployments.iter().map(|one| (name(one), changes(one))).collect(),
            pods: pods.iter().map(name).collect(),
            history,
        }
    }

    /// The newest of the release.
    pub fn revision(&self) -> u64 {
        self.history.last().and_then(|last| last["revision"].as_u64()).unwrap_or(0)
    }
}

/// Everything that keeps a bad release of `service` from having been tried and taken back; `refused` is what helm has said.
pub fn taken_back(service: &str, refused: Option<&str>, before: &Moment, after: &Moment) -> Vec<String> {
    let mut broken = Vec::new();
    if refused.is_none() {
        broken.push("helm has taken a release whose pods end at once".to_owned());
    }
    broken.extend(not_rolled_back(before.revision(), &after.history).map(|why| {
        let said = refused.map(|said| format!(" (helm: {said})")).unwrap_or_default();
        format!("{why}{said}")
    }));
    for (name, made_of) in &before.made_of {
        match after.made_of.get(name) {
            None => broken.push(format!("{name} is not there any more")),
            Some(now) if now != made_of => broken.push(format!("{name} is not what it was before")),
            Some(_) => {}
        }
        // It has come and gone, or pods have never met it.
        let tried = after.changes.get(name) > before.changes.get(name);
        if owned_by(name, service) && !tried {
            broken.push(format!("{name} never got the bad release, so nothing was taken back"));
        }
    }
    let new = after.made_of.keys().filter(|name| !before.made_of.contains_key(*name));
    broken.extend(new.map(|name| format!("{name} was not there before")));
    broken.extend(before.pods.difference(&after.pods).map(|pod| format!("{pod} had to go for a bad release")));
    broken.extend(after.pods.difference(&before.pods).map(|pod| format!("{pod} is left of a bad release")));
    broken
}

fn owned_by(deployment: &str, service: &str) -> bool {
    deployment.strip_prefix(service).is_some_and(|role| role == "-serve" || role == "-work")
}

/// Why helm's own record does not end with a failed revision and the roll-back to `good`.
fn not_rolled_back(good: u64, history: &[Value]) -> Option<String> {
    let [.., failed, last] = history else { return Some("helm knows no two revisions".to_owned()) };
    let (status, said) = (text(last, "/status"), text(last, "/description"));
    if status != "deployed" || said != format!("Rollback to {good}") {
        return Some(format!("the newest revision is {status:?}: {said:?}, not a roll-back to {good}"));
    }
    let (status, said) = (text(failed, "/status"), text(failed, "/description"));
    // A migration that fails ends a release before any pod has seen it.
    if status != "failed" || failed["revision"].as_u64() != Some(good + 1) || said.contains("hooks failed") {
        return Some(format!(
            "the revision before the roll-back is {status:?}: {said:?}, not one whose pods did not come"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(name: &str) -> Value {
        let container = json!({"image": "r/order-payment:1", "env": [{"name": "A", "value": "1"}]});
        json!({
            "metadata": {"name": name, "generation": 3},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [container]}}},
            "status": {
                "observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
            },
        })
    }

    fn pod(service: &str, role: &str, number: u32) -> Value {
        let name = format!("{service}-{role}-{number}");
        let labels = json!({"app.kubernetes.io/name": service, "app.kubernetes.io/component": role});
        json!({
            "metadata": {"name": name, "uid": format!("uid-{name}"), "labels": labels},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"containerID": format!("containerd://c-{name}")}],
            },
        })
    }

    fn pods() -> Vec<Value> {
        vec![pod("order-payment", "serve", 1), pod("order-payment", "serve", 2), pod("user", "work", 1)]
    }

    #[test]
    fn a_deployment_with_a_pod_that_is_away_or_not_ready_or_too_many_is_not_whole() {
        assert!(whole(&deployment("order-payment-serve"), &pods()).is_ok());
        let refused = |change: fn(&mut Value, &mut Vec<Value>), words: &str| {
            let (mut deployment, mut pods) = (deployment("order-payment-serve"), pods());
            change(&mut deployment, &mut pods);
            assert_eq!(whole(&deployment, &pods).expect_err(words).to_string(), words);
        };
        let not_ready =
            |_: &mut Value, pods: &mut Vec<Value>| pods[1]["status"]["conditions"][0]["status"] = json!("False");
        refused(not_ready, "order-payment-serve-2 is not ready");
        refused(|_, pods| drop(pods.remove(0)), "order-payment-serve has 1 pods, not 2");
        refused(|_, pods| pods.push(pod("order-payment", "serve", 3)), "order-payment-serve has 3 pods, not 2");
        let away = |one: &mut Value, _: &mut Vec<Value>| one["status"]["availableReplicas"] = json!(1);
        refused(away, "order-payment-serve: availableReplicas is 1 of 2");
        refused(|one, _| one["status"]["replicas"] = json!(3), "order-payment-serve: replicas is 3 of 2");
        refused(|one, _| one["metadata"]["generation"] = json!(4), "order-payment-serve was not looked at");
        refused(|one, _| one["spec"]["replicas"] = json!(0), "order-payment-serve wants no pod");
    }

    #[test]
    fn a_pod_or_a_process_that_was_to_go_and_is_still_there_is_seen() {
        let now = pods();
        assert!(gone(&[pod("user", "work", 2)], &now).is_ok());
        assert_eq!(gone(&now[2..], &now).expect_err("it is there").to_string(), "user-work-1 is still there");
        assert_eq!(container(&now[2]).expect("it has one"), "c-user-work-1");
        assert!(container(&json!({"metadata": {"name": "a"}})).is_err());
        assert!(runs_no_more("c-user-work-2", &now).is_ok());
        let error = runs_no_more("c-user-work-1", &now).expect_err("it runs").to_string();
        assert_eq!(error, "user-work-1 has the process still");
    }

    #[test]
    fn pods_of_a_drained_node_have_somewhere_to_go_only_where_another_takes_pods() {
        let node = |name: &str, ready: &str, closed: bool| {
            let conditions = json!([{"type": "Ready", "status": ready}]);
            json!({"metadata": {"name": name}, "spec": {"unschedulable": closed}, "status": {"conditions": conditions}})
        };
        let nodes = [node("node-2", "True", false), node("node-1", "True", false)];
        assert_eq!(taking_pods(&nodes), ["node-1", "node-2"]);
        let nodes = [node("node-1", "True", false), node("node-2", "Unknown", false), node("node-3", "True", true)];
        assert_eq!(taking_pods(&nodes), ["node-1"]);
    }

    #[test]
    fn a_step_that_failed_or_was_not_tried_breaks_the_promise() {
        let killed = || Step::Killed("user-work".to_owned());
        let plan = [killed(), Step::Drained, Step::BadRelease];
        let row = |step: Step, outcome: Result<&str, &str>| Row {
            step,
            seconds: 1.0,
            outcome: outcome.map(str::to_owned).map_err(str::to_owned),
        };
        let all = [row(killed(), Ok("")), row(Step::Drained, Ok("")), row(Step::BadRelease, Ok(""))];
        assert_eq!(steps(&plan, &all), [""; 0]);
        let bad = [row(killed(), Ok("")), row(Step::Drained, Err("2 pods stay"))];
        assert_eq!(steps(&plan, &bad), ["node drained: 2 pods stay", "bad release: not tried"]);
    }

    fn revision(number: u64, status: &str, description: &str) -> Value {
        json!({"revision": number, "status": status, "description": description})
    }

    fn before() -> Moment {
        let history = vec![revision(6, "superseded", "Upgrade complete"), revision(7, "deployed", "Upgrade complete")];
        Moment::of(&[deployment("order-payment-serve"), deployment("user-work")], &pods(), history)
    }

    fn after() -> Moment {
        let mut after = before();
        after.history.pop();
        after.history.push(revision(7, "superseded", "Upgrade complete"));
        after.history.push(revision(8, "failed", "Upgrade \"shopsphere\" failed: context deadline exceeded"));
        after.history.push(revision(9, "deployed", "Rollback to 7"));
        after.changes.insert("order-payment-serve".to_owned(), 5);
        after
    }

    #[test]
    fn a_bad_release_that_was_not_taken_back_or_has_left_something_is_seen() {
        let said = Some("rolled back due to atomic being set");
        assert_eq!(taken_back("order-payment", said, &before(), &after()), [""; 0]);
        let with = |change: fn(&mut Moment)| {
            let mut after = after();
            change(&mut after);
            taken_back("order-payment", Some("x"), &before(), &after)
        };
        for (found, words) in [
            (
                with(|after| drop(after.history.pop())),
                "the newest revision is \"failed\": \"Upgrade \\\"shopsphere\\\" failed: context deadline exceeded\", not a \
                 roll-back to 7 (helm: x)",
            ),
            (
                with(|after| after.history[3] = revision(9, "failed", "Rollback to 7")),
                "the newest revision is \"failed\": \"Rollback to 7\", not a roll-back to 7 (helm: x)",
            ),
            (
                with(|after| after.history[3] = revision(9, "deployed", "Rollback to 6")),
                "the newest revision is \"deployed\": \"Rollback to 6\", not a roll-back to 7 (helm: x)",
            ),
            (
                with(|after| after.history[2] = revision(8, "failed", "pre-upgrade hooks failed: job failed")),
                "the revision before the roll-back is \"failed\": \"pre-upgrade hooks failed: job failed\", not one whose \
                 pods did not come (helm: x)",
            ),
            (with(|after| after.history.clear()), "helm knows no two revisions (helm: x)"),
            (with(|after| another_image(after, "user-work")), "user-work is not what it was before"),
            (with(|after| drop(after.made_of.remove("user-work"))), "user-work is not there any more"),
            (with(|after| drop(after.made_of.insert("b".to_owned(), (json!({}), json!(1))))), "b was not there before"),
            (
                with(|after| after.changes.retain(|name, _| name != "order-payment-serve")),
                "order-payment-serve never got the bad release, so nothing was taken back",
            ),
            (with(|after| another_setting(after, "user-work")), "user-work is not what it was before"),
            (with(|after| drop(after.pods.pop_first())), "order-payment-serve-1 had to go for a bad release"),
            (with(|after| after.pods.extend(["new".to_owned()])), "new is left of a bad release"),
        ] {
            assert_eq!(found, [words]);
        }
        let taken = taken_back("order-payment", None, &before(), &after());
        assert_eq!(taken, ["helm has taken a release whose pods end at once"]);
    }

    fn another_image(after: &mut Moment, name: &str) {
        let made_of = after.made_of.get_mut(name).expect("it is there");
        made_of.0["spec"]["containers"][0]["image"] = json!("r/order-payment:2");
    }

    fn another_setting(after: &mut Moment, name: &str) {
        let made_of = after.made_of.get_mut(name).expect("it is there");
        made_of.0["spec"]["containers"][0]["env"][0]["value"] = json!("2");
    }
}
