//! Mistakes that the API server itself must refuse, whoever deploys: planted into our own objects and shown to a server that has our
//! admission policies and the operators' kinds. Decided here: which ones, and the words by which each is refused; another refusal than
//! the one that was meant counts as none. And what looks alike and must be let through, or a policy that refuses everything would pass.
//! Nothing is created, the server only says what it would do.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::releases::Place;
use crate::deploy::objects::Object;
use crate::render::topology::{self, Region, Topology};

const JURISDICTION: &str = "shopsphere.example/jurisdiction";

/// Where a mistake would lead to.
struct Abroad {
    jurisdiction: String,
    host: String,
    /// An address and a block in the network of the other region.
    address: String,
    block: String,
}

/// A mistake: what it is, how the refusal says so, and one of our objects with it.
struct Mistake {
    what: &'static str,
    says: &'static str,
    kind: &'static str,
    name: &'static str,
    plant: fn(&mut Value, &Abroad),
}

fn container(value: &mut Value) -> &mut Value {
    &mut value["spec"]["template"]["spec"]["containers"][0]
}

fn push(list: &mut Value, item: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    }
}

/// At a site of a region.
const IN_A_REGION: &[Mistake] = &[
    Mistake {
        what: "a probe with a wrong name",
        says: "unknown field \"spec.template.spec.containers[0].readyProbe\"",
        kind: "Deployment",
        name: "user-serve",
        plant: |value, _| {
            let probe = container(value)["readinessProbe"].take();
            container(value)["readyProbe"] = probe;
        },
    },
    Mistake {
        what: "a number that is text",
        says: "spec.minReadySeconds",
        kind: "Deployment",
        name: "catalog-serve",
        plant: |value, _| value["spec"]["minReadySeconds"] = json!("three"),
    },
    Mistake {
        what: "a probe of two kinds at once",
        says: "may not specify more than 1 handler type",
        kind: "Deployment",
        name: "catalog-work",
        plant: |value, _| container(value)["livenessProbe"]["tcpSocket"] = json!({"port": 8113}),
    },
    Mistake {
        what: "pods that their Deployment does not select",
        says: "`selector` does not match template `labels`",
        kind: "Deployment",
        name: "order-payment-serve",
        plant: |value, _| value["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] = json!("orders"),
    },
    Mistake {
        what: "a budget that says two things",
        says: "minAvailable and maxUnavailable cannot be both set",
        kind: "PodDisruptionBudget",
        name: "user-serve",
        plant: |value, _| value["spec"]["minAvailable"] = json!(1),
    },
    Mistake {
        what: "a field that an operator does not know",
        says: "unknown field \"spec.minReplicas\"",
        kind: "ScaledObject",
        name: "user-serve",
        plant: |value, _| value["spec"]["minReplicas"] = json!(2),
    },
    Mistake {
        what: "text where an operator wants a number",
        says: "spec.maxReplicaCount",
        kind: "ScaledObject",
        name: "catalog-serve",
        plant: |value, _| value["spec"]["maxReplicaCount"] = json!("many"),
    },
    Mistake {
        what: "a topic without partitions",
        says: "spec.partitions",
        kind: "KafkaTopic",
        name: "",
        plant: |value, _| value["spec"]["partitions"] = json!(0),
    },
    Mistake {
        what: "a pod that may become root",
        says: "violates PodSecurity \"restricted",
        kind: "Deployment",
        name: "user-serve",
        plant: |value, _| {
            let mut template = value["spec"]["template"].take();
            template["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
            let metadata = json!({"name": "root", "namespace": value["metadata"]["namespace"], "labels": template["metadata"]["labels"]});
            *value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
        },
    },
    Mistake {
        what: "a workload of another jurisdiction",
        says: "this workload says jurisdiction",
        kind: "Deployment",
        name: "user-serve",
        plant: |value, abroad| value["metadata"]["labels"][JURISDICTION] = json!(abroad.jurisdiction),
    },
    Mistake {
        what: "pods of another jurisdiction",
        says: "its pods would say jurisdiction",
        kind: "Deployment",
        name: "user-work",
        plant: |value, abroad| {
            value["spec"]["template"]["metadata"]["labels"][JURISDICTION] = json!(abroad.jurisdiction)
        },
    },
    Mistake {
        what: "a workload that says no jurisdiction",
        says: "this workload says jurisdiction",
        kind: "Deployment",
        name: "catalog-serve",
        plant: |value, _| {
            if let Some(labels) = value["metadata"]["labels"].as_object_mut() {
                labels.remove(JURISDICTION);
            }
        },
    },
    Mistake {
        what: "an endpoint abroad",
        says: "an endpoint lies in the network of another jurisdiction",
        kind: "Service",
        name: "user",
        plant: |value, abroad| {
            *value = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": "abroad", "namespace": value["metadata"]["namespace"]},
                "endpoints": [{"addresses": [abroad.address]}], "ports": [{"name": "http", "port": 8101}],
            });
        },
    },
    Mistake {
        what: "a way into another jurisdiction",
        says: "a network policy opens the way into another jurisdiction",
        kind: "NetworkPolicy",
        name: "order-payment",
        plant: |value, abroad| {
            push(&mut value["spec"]["egress"], json!({"to": [{"ipBlock": {"cidr": abroad.block}}]}));
        },
    },
    Mistake {
        what: "a way to everywhere",
        says: "a network policy opens the way into another jurisdiction",
        kind: "NetworkPolicy",
        name: "user",
        plant: |value, _| {
            push(&mut value["spec"]["egress"], json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}));
        },
    },
    Mistake {
        what: "a service that is a name abroad",
        says: "a service points to a name outside this region",
        kind: "Service",
        name: "user",
        plant: |value, abroad| value["spec"] = json!({"type": "ExternalName", "externalName": abroad.host}),
    },
    Mistake {
        what: "a setting that names a host abroad",
        says: "a setting names a host of another region",
        kind: "ConfigMap",
        name: "gateway-settings",
        plant: |value, abroad| value["data"]["KONG_PROXY"] = json!(format!("http://{}:8132", abroad.host)),
    },
    Mistake {
        what: "a variable that names a host abroad",
        says: "a setting names a host of another region",
        kind: "Deployment",
        name: "order-payment-work",
        plant: |value, abroad| {
            let variable =
                json!({"name": "SHOPSPHERE__GATEWAY__BASE_URL", "value": format!("https://{}", abroad.host)});
            push(&mut container(value)["env"], variable);
        },
    },
    Mistake {
        what: "a host abroad in what runs before",
        says: "a setting names a host of another region",
        kind: "Deployment",
        name: "user-serve",
        plant: |value, abroad| {
            let first = json!({"name": "first", "image": "registry.k8s.io/pause:3.10", "args": [abroad.host]});
            value["spec"]["template"]["spec"]["initContainers"] = json!([first]);
        },
    },
    Mistake {
        what: "a secret with a host abroad in it",
        says: "a secret names a host of another region",
        kind: "Service",
        name: "user",
        plant: |value, abroad| {
            *value = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": value["metadata"]["namespace"]},
                "stringData": {"URL": format!("postgres://shop:secret@{}/inventory", abroad.host)},
            });
        },
    },
    Mistake {
        what: "a route that answers for another region",
        says: "a setting names a host of another region",
        kind: "HTTPRoute",
        name: "",
        plant: |value, abroad| value["spec"]["hostnames"] = json!([abroad.host]),
    },
    Mistake {
        what: "a policy that lets somebody from abroad in",
        says: "a network policy opens the way into another jurisdiction",
        kind: "NetworkPolicy",
        name: "user",
        plant: |value, abroad| {
            push(&mut value["spec"]["ingress"], json!({"from": [{"ipBlock": {"cidr": abroad.block}}]}));
        },
    },
    Mistake {
        what: "a way to everywhere by the other protocol",
        says: "a network policy opens the way into another jurisdiction",
        kind: "NetworkPolicy",
        name: "catalog",
        plant: |value, _| push(&mut value["spec"]["egress"], json!({"to": [{"ipBlock": {"cidr": "::/0"}}]})),
    },
    Mistake {
        what: "a rule that names nobody and means everybody",
        says: "a network policy opens the way to everywhere",
        kind: "NetworkPolicy",
        name: "catalog",
        plant: |value, _| push(&mut value["spec"]["egress"], json!({})),
    },
    Mistake {
        what: "an endpoint that is a name abroad",
        says: "an endpoint lies in the network of another jurisdiction",
        kind: "Service",
        name: "user",
        plant: |value, abroad| {
            *value = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "FQDN",
                "metadata": {"namespace": value["metadata"]["namespace"]}, "endpoints": [{"addresses": [abroad.host]}],
            });
        },
    },
    Mistake {
        what: "a service that takes addresses for itself",
        says: "a service takes addresses that no cluster gave it",
        kind: "Service",
        name: "catalog",
        plant: |value, abroad| value["spec"]["externalIPs"] = json!([abroad.address]),
    },
    Mistake {
        what: "a service that lets somebody from abroad in",
        says: "a service lets another jurisdiction in",
        kind: "Service",
        name: "catalog",
        plant: |value, abroad| {
            value["spec"]["type"] = json!("LoadBalancer");
            value["spec"]["loadBalancerSourceRanges"] = json!([abroad.block]);
        },
    },
    Mistake {
        what: "headquarters that may read more than the aggregates",
        says: "a user of headquarters may do more than read the aggregates",
        kind: "KafkaUser",
        name: "hq-mirror",
        plant: |value, _| {
            let resource = json!({"type": "topic", "name": "orders", "patternType": "prefix"});
            push(&mut value["spec"]["authorization"]["acls"], json!({"resource": resource, "operations": ["Read"]}));
        },
    },
    Mistake {
        what: "raw series for headquarters",
        says: "more than recorded aggregates would be written to headquarters",
        kind: "Prometheus",
        name: "region",
        plant: |value, _| value["spec"]["remoteWrite"][0]["writeRelabelConfigs"] = json!([]),
    },
    ANOTHER_JURISDICTION,
    Mistake {
        what: "a namespace that takes any pod",
        says: "a namespace of ours takes other pods than those it is for",
        kind: "Namespace",
        name: "shopsphere",
        plant: |value, _| {
            value["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("privileged");
        },
    },
];

const ANOTHER_JURISDICTION: Mistake = Mistake {
    what: "a namespace of another jurisdiction",
    says: "this namespace says another jurisdiction than its cluster",
    kind: "Namespace",
    name: "",
    plant: |value, abroad| value["metadata"]["labels"][JURISDICTION] = json!(abroad.jurisdiction),
};

/// At headquarters, for which every region is abroad.
const AT_HEADQUARTERS: &[Mistake] = &[
    ANOTHER_JURISDICTION,
    Mistake {
        what: "a mirror that takes everything of a region",
        says: "a mirror takes more than the aggregates",
        kind: "KafkaMirrorMaker2",
        name: "",
        plant: |value, _| value["spec"]["mirrors"][0]["topicsPattern"] = json!(".*"),
    },
    Mistake {
        what: "a mirror that reads from somewhere else",
        says: "a mirror reads from a site that is none of its sources",
        kind: "KafkaMirrorMaker2",
        name: "",
        plant: |value, abroad| {
            value["spec"]["mirrors"][0]["source"]["bootstrapServers"] = json!(format!("{}:9094", abroad.host));
        },
    },
    Mistake {
        what: "a setting that names a host of a region",
        says: "a setting names a host of another region",
        kind: "ConfigMap",
        name: "dashboard-global-health",
        plant: |value, abroad| value["data"]["source"] = json!(abroad.host),
    },
    Mistake {
        what: "a balancer that answers the world",
        says: "a service lets another jurisdiction in",
        kind: "Service",
        name: "metrics",
        plant: |value, _| value["spec"]["loadBalancerSourceRanges"] = json!(["0.0.0.0/0"]),
    },
    Mistake {
        what: "a balancer that does not say whom it answers",
        says: "a service lets everybody in",
        kind: "Service",
        name: "metrics",
        plant: |value, _| value["spec"]["loadBalancerSourceRanges"] = json!([]),
    },
    Mistake {
        what: "an endpoint in a region",
        says: "an endpoint lies in the network of another jurisdiction",
        kind: "NetworkPolicy",
        name: "headquarters",
        plant: |value, abroad| {
            *value = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"namespace": value["metadata"]["namespace"]}, "endpoints": [{"addresses": [abroad.address]}],
            });
        },
    },
    Mistake {
        what: "a way to everywhere",
        says: "a network policy opens the way into another jurisdiction",
        kind: "NetworkPolicy",
        name: "headquarters",
        plant: |value, _| push(&mut value["spec"]["egress"], json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]})),
    },
];

/// What looks alike and is right: a slice that a cluster writes when nobody is behind a service, and the hosts abroad that a site may
/// speak to.
fn right(namespace: &str, hosts: &[String]) -> [(&'static str, Value); 2] {
    let metadata = json!({"name": "right-planted", "namespace": namespace});
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "metadata": metadata,
        "endpoints": null,
    });
    let settings =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"hosts": hosts.join(" ")}});
    [("a slice without endpoints", slice), ("settings that name whom it may speak to", settings)]
}

/// Shows every mistake to the server. The namespaces and policies of the site must be there.
///
/// # Errors
/// Naming the mistakes that were accepted, or refused for another reason.
pub fn refused(place: &Place<'_>) -> Result<String> {
    let topology = topology::read(place.root)?;
    let region = topology.sites().find(|(_, site)| site.name == place.site()).map(|(region, _)| region);
    let (mistakes, abroad) = mistakes(&topology, region)?;
    let mut wrong = Vec::new();
    for mistake in mistakes {
        if let Err(error) = shown(place, mistake, &abroad) {
            wrong.push(format!("{}: {error:#}", mistake.what));
        }
    }
    let namespace = place.rendered.objects.iter().find(|object| object.kind() == "Namespace");
    let namespace = namespace.with_context(|| format!("{} has no namespace", place.site()))?.name();
    for (what, object) in right(namespace, &topology.hosts_abroad(region)) {
        if let Err(error) = place.kubectl.fed(CREATE, "right", &[object]) {
            wrong.push(format!("{what}, which is right: {error:#}"));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(format!("{} mistakes", mistakes.len()))
}

const CREATE: &[&str] = &["create", "--dry-run=server", "--validate=strict"];

/// The mistakes of a site, and where they would lead to. Without a region it is headquarters.
fn mistakes(topology: &Topology, region: Option<&Region>) -> Result<(&'static [Mistake], Abroad)> {
    let (mistakes, other) = match region {
        Some(region) => (IN_A_REGION, topology.foreign_to(region).next()),
        None => (AT_HEADQUARTERS, topology.regions.first()),
    };
    let other = other.context("there is one jurisdiction only")?;
    Ok((mistakes, abroad(other, &topology.region_domain(other))?))
}

fn abroad(other: &Region, domain: &str) -> Result<Abroad> {
    let site = other.primary();
    // 10.21.0.0/16: the first two numbers are those of the site
    let start: Vec<_> = site.network.split('.').take(2).collect();
    let start = start.join(".");
    let block = format!("{start}.4.0/24");
    Ok(Abroad {
        jurisdiction: other.jurisdiction.clone(),
        host: format!("postgres.{}.{domain}", site.name),
        address: format!("{start}.4.7"),
        block,
    })
}

fn shown(place: &Place<'_>, mistake: &Mistake, abroad: &Abroad) -> Result<()> {
    let object = planted(&place.rendered.objects, mistake, abroad)?;
    let answer = place.kubectl.fed(CREATE, "planted", &[object]);
    judged(answer, mistake.says)
}

fn planted(objects: &[Object], mistake: &Mistake, abroad: &Abroad) -> Result<Value> {
    let found =
        |object: &&Object| object.kind() == mistake.kind && (mistake.name.is_empty() || object.name() == mistake.name);
    let object = objects.iter().find(found);
    let object = object.with_context(|| format!("there is no {} {}", mistake.kind, mistake.name))?;
    let mut value = object.value.clone();
    // an object of that name may be there already, and that would be a refusal too
    let name = format!("{}-planted", object.name());
    (mistake.plant)(&mut value, abroad);
    value["metadata"]["name"] = json!(name);
    Ok(value)
}

/// Only the refusal that was meant is one.
fn judged(answer: Result<String>, says: &str) -> Result<()> {
    match answer {
        Ok(_) => bail!("was accepted"),
        Err(error) => {
            let said = format!("{error:#}");
            if said.contains(says) { Ok(()) } else { bail!("was refused by other words than {says:?}: {said}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::deploy::objects;
    use crate::layout::checkout;

    #[test]
    fn a_mistake_that_is_accepted_or_refused_for_another_reason_is_no_refusal() {
        assert!(judged(Err(anyhow!("denied request: an endpoint lies abroad")), "an endpoint lies abroad").is_ok());
        let error = judged(Ok("created".to_owned()), "an endpoint").expect_err("accepted").to_string();
        assert_eq!(error, "was accepted");
        let error = judged(Err(anyhow!("connection refused")), "an endpoint").expect_err("another reason").to_string();
        assert!(error.contains("connection refused"), "{error}");
    }

    #[test]
    fn every_mistake_finds_its_object_and_changes_it_at_every_site() {
        let topology = topology::read(&checkout()).unwrap();
        let sites = objects::read(&checkout()).unwrap();
        for rendered in &sites {
            let region = topology.sites().find(|(_, site)| site.name == rendered.site).map(|(region, _)| region);
            let (mistakes, abroad) = mistakes(&topology, region).unwrap();
            for mistake in mistakes {
                let object = planted(&rendered.objects, mistake, &abroad).unwrap_or_else(|error| panic!("{error:#}"));
                let mut named = object.clone();
                named["metadata"]["name"] = json!(mistake.name);
                let same = rendered.objects.iter().any(|object| object.value == named);
                assert!(!same, "{} changes nothing at {}", mistake.what, rendered.site);
            }
        }
    }

    /// The policies' own words, so that a changed text is found before a cluster is started.
    #[test]
    fn what_our_policies_say_is_what_is_waited_for() {
        let policies =
            std::fs::read_to_string(checkout().join("deploy/helm/shopsphere-cluster/templates/admission.yaml"))
                .unwrap();
        let ours = [
            "this workload says",
            "its pods would say",
            "an endpoint lies",
            "this namespace says",
            "a namespace",
            "a network policy",
            "a service",
            "a setting",
            "a secret",
            "a mirror",
            "a user of headquarters",
            "more than recorded",
        ];
        let all = IN_A_REGION.iter().chain(AT_HEADQUARTERS);
        let words = all.map(|mistake| mistake.says).filter(|says| ours.iter().any(|start| says.starts_with(start)));
        for says in words {
            assert!(policies.contains(says), "{says:?} is in no policy");
        }
    }
}
