//! What every workload of ours has. The headroom pods are the exception that each rule names: they are there to be evicted.

use serde_json::Value;

use super::super::objects::Object;
use super::reach::list;
use super::{Case, Refusal};

/// Deployments whose pods serve or work; headroom does neither.
fn deployments<'c>(case: &'c Case<'_>) -> impl Iterator<Item = &'c Object> {
    case.of("Deployment").filter(|object| object.label("app.kubernetes.io/component") != "headroom")
}

pub fn replicas(case: &Case<'_>) -> Vec<Refusal> {
    let scaled = |object: &Object| {
        case.of("ScaledObject")
            .find(|scaled| scaled.value["spec"]["scaleTargetRef"]["name"] == object.value["metadata"]["name"])
            .map(|scaled| scaled.value["spec"]["minReplicaCount"].as_u64().unwrap_or(0))
    };
    let few = deployments(case).filter_map(|object| {
        let replicas = scaled(object).or(object.value["spec"]["replicas"].as_u64()).unwrap_or(1);
        let enough = replicas >= 2 || (case.is_standby() && replicas == 0);
        (!enough).then(|| case.refuse("replicas", object, format!("{replicas} replicas; one that falls would be all")))
    });
    few.collect()
}

/// The paths that `chassis::admin` answers, by probe.
const PROBES: [(&str, &str); 3] =
    [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")];

pub fn probes(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in deployments(case) {
        for container in object.value["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten() {
            let ours = case.sources.services.iter().any(|service| container["name"] == service.name);
            for (probe, path) in PROBES {
                let get = &container[probe]["httpGet"];
                if container[probe].is_null() {
                    refused.push(case.refuse("probes", object, format!("has no {probe}")));
                } else if ours && get["path"] != path {
                    refused.push(case.refuse(
                        "probes",
                        object,
                        format!("{probe} asks {}, the binary answers {path}", get["path"]),
                    ));
                } else if ours && !port_exists(container, &get["port"]) {
                    refused.push(case.refuse(
                        "probes",
                        object,
                        format!("{probe} asks a port that is not open: {}", get["port"]),
                    ));
                }
            }
            let odd = container.as_object().into_iter().flatten().map(|(key, _)| key);
            let odd = odd.filter(|key| key.ends_with("Probe") && !PROBES.iter().any(|(probe, _)| probe == key));
            refused.extend(odd.map(|key| case.refuse("probes", object, format!("{key} is no probe"))));
        }
    }
    refused
}

fn port_exists(container: &Value, port: &Value) -> bool {
    let ports = container["ports"].as_array().into_iter().flatten();
    ports.into_iter().any(|open| &open["name"] == port || &open["containerPort"] == port)
}

pub fn restricted(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.objects() {
        let Some(pod) = object.pod() else { continue };
        let spec = &pod["spec"];
        let mut want = |good: bool, why: &str| {
            if !good {
                refused.push(case.refuse("restricted", object, why));
            }
        };
        want(spec["automountServiceAccountToken"] == false, "mounts a token of the API server that nobody needs");
        want(spec["securityContext"]["runAsNonRoot"] == true, "may run as root");
        want(spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", "has no seccomp profile");
        for key in ["hostNetwork", "hostPID", "hostIPC"] {
            want(spec[key] != true, "shares a namespace with its node");
        }
        want(list(&spec["volumes"]).all(|volume| volume["hostPath"].is_null()), "has a folder of its node");
        for container in object.containers() {
            let security = &container["securityContext"];
            want(security["allowPrivilegeEscalation"] == false, "may gain privileges");
            want(security["readOnlyRootFilesystem"] == true, "may write to its root file system");
            want(security["capabilities"]["drop"][0] == "ALL", "keeps capabilities");
            want(security["privileged"] != true, "is privileged");
        }
    }
    refused
}

pub fn resources(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.objects() {
        for container in object.containers() {
            for (kind, name) in [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")] {
                if container["resources"][kind][name].is_null() {
                    refused.push(case.refuse(
                        "resources",
                        object,
                        format!("{} has no {kind} of {name}", container["name"]),
                    ));
                }
            }
        }
    }
    refused
}

pub fn images(case: &Case<'_>) -> Vec<Refusal> {
    let loose = |text: &str| {
        let name = text.rsplit('/').next().unwrap_or_default();
        let tag = name.split_once('@').or_else(|| name.split_once(':')).map(|(_, tag)| tag);
        tag.is_none_or(|tag| tag.is_empty() || tag.starts_with("latest"))
    };
    let mut refused = Vec::new();
    for object in case.objects() {
        let images = object.texts().into_iter().filter(|(path, _)| path.ends_with(".image"));
        for (_, image) in images.filter(|(_, image)| loose(image)) {
            refused.push(case.refuse("images", object, format!("{image} may be another image tomorrow")));
        }
    }
    refused
}

/// Does a selector of labels choose the pods of a workload?
fn selects(selector: &Value, object: &Object) -> bool {
    let labels = object.pod().map(|pod| &pod["metadata"]["labels"]);
    let wanted = selector["matchLabels"].as_object();
    wanted.is_some_and(|wanted| {
        !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.is_some_and(|labels| &labels[key] == value))
    })
}

pub fn disruption(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in deployments(case) {
        let budget = case.of("PodDisruptionBudget").find(|budget| {
            budget.namespace() == object.namespace() && selects(&budget.value["spec"]["selector"], object)
        });
        match budget {
            None => {
                refused.push(case.refuse("disruption", object, "has no disruption budget: a drain may take all pods"))
            }
            Some(budget) if budget.value["spec"]["maxUnavailable"] == 0 => {
                refused.push(case.refuse("disruption", budget, "no node could ever be drained"));
            }
            Some(_) => {}
        }
    }
    refused
}

pub fn spread(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in deployments(case) {
        let constraints = || list(&object.value["spec"]["template"]["spec"]["topologySpreadConstraints"]);
        let apart = constraints().any(|constraint| {
            constraint["topologyKey"] == "topology.kubernetes.io/zone"
                && constraint["whenUnsatisfiable"] == "DoNotSchedule"
                && selects(&constraint["labelSelector"], object)
        });
        if !apart {
            refused.push(case.refuse("spread", object, "may stand in one zone altogether"));
        }
        // nodes of a zone that is lost stay as objects, tainted, and would count as a zone without a pod
        if constraints().any(|constraint| constraint["nodeTaintsPolicy"] != "Honor") {
            refused.push(case.refuse("spread", object, "waits for a zone that is lost"));
        }
    }
    refused
}

pub fn rollout(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in deployments(case) {
        let spec = &object.value["spec"];
        if spec["strategy"]["rollingUpdate"]["maxUnavailable"] != 0 {
            refused.push(case.refuse("rollout", object, "a new release takes pods away before it brings some"));
        }
        let grace = spec["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
        let ours =
            object.containers().any(|container| case.sources.services.iter().any(|one| container["name"] == one.name));
        // 3 s of preStop, 10 s of grace, 25 s of drain
        if ours && grace < 38 {
            refused.push(case.refuse("rollout", object, format!("is killed after {grace} s, while it still drains")));
        }
        let sleeps = object
            .containers()
            .all(|container| container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64() > Some(0));
        if ours && !sleeps {
            refused.push(case.refuse("rollout", object, "stops before its endpoints are withdrawn"));
        }
    }
    refused
}

pub fn priority(case: &Case<'_>) -> Vec<Refusal> {
    let known = |name: &str| case.of("PriorityClass").any(|class| class.name() == name);
    let workloads = case.objects().iter().filter_map(|object| Some((object, object.pod()?)));
    workloads
        .filter_map(|(object, pod)| {
            let name = pod["spec"]["priorityClassName"].as_str().unwrap_or_default();
            (!known(name)).then(|| case.refuse("priority", object, format!("there is no priority class {name:?}")))
        })
        .collect()
}

/// Our services only: operators bring their own monitors.
fn ours<'c>(case: &'c Case<'_>) -> impl Iterator<Item = &'c Object> {
    deployments(case).filter(|object| {
        case.sources.services.iter().any(|service| object.label("app.kubernetes.io/name") == service.name)
    })
}

pub fn monitored(case: &Case<'_>) -> Vec<Refusal> {
    let monitors: Vec<_> = case.of("ServiceMonitor").collect();
    let watched = |object: &Object| {
        monitors.iter().any(|monitor| {
            monitor.namespace() == object.namespace()
                && monitor.value["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
                    == object.label("app.kubernetes.io/name")
                && monitor.value["spec"]["endpoints"][0]["path"] == "/metrics"
                && monitor.value["spec"]["endpoints"][0]["port"] == "admin"
        })
    };
    let blind = ours(case).filter(|object| !watched(object));
    blind.map(|object| case.refuse("monitored", object, "nobody reads its metrics")).collect()
}

pub fn network_policy(case: &Case<'_>) -> Vec<Refusal> {
    let open = ours(case).filter(|object| {
        !case.of("NetworkPolicy").any(|policy| {
            policy.namespace() == object.namespace()
                && selects(&policy.value["spec"]["podSelector"], object)
                && !policy.value["spec"]["ingress"].is_null()
        })
    });
    open.map(|object| case.refuse("network-policy", object, "no policy says who may talk to it")).collect()
}

pub fn default_deny(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for namespace in case.of("Namespace") {
        let denied = case.of("NetworkPolicy").any(|policy| {
            let spec = &policy.value["spec"];
            policy.namespace() == namespace.name()
                && spec["podSelector"].as_object().is_some_and(serde_json::Map::is_empty)
                && spec["policyTypes"].as_array().is_some_and(|types| types.len() == 2)
                && spec["ingress"].is_null()
                && spec["egress"].is_null()
        });
        if !denied {
            refused.push(case.refuse("default-deny", namespace, "everything may talk to everything in it"));
        }
        // the operator of PostgreSQL makes pods that keep capabilities and say nothing of seccomp (docs/adr/0071)
        let stores = namespace.label("shopsphere.example/purpose") == "data";
        let level = if stores { "baseline" } else { "restricted" };
        if namespace.label("pod-security.kubernetes.io/enforce") != level {
            refused.push(case.refuse("default-deny", namespace, format!("does not enforce {level} pods")));
        }
    }
    refused
}
