//! Mistakes that the API server itself must refuse, whoever deploys: planted into our own objects and shown to a server that has our
//! admission policies and the operators' kinds. Decided here: which ones, and the words by which each is refused; another refusal than
//! the one that was meant counts as none. Nothing is created, the server only says what it would do.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::releases::Place;
use crate::deploy::objects::Object;
use crate::render::topology::{self, Region};

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

const MISTAKES: &[Mistake] = &[
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
        name: "catalog-settings",
        plant: |value, abroad| {
            value["data"]["SHOPSPHERE__PERSONALIZATION__GRPC_URL"] = json!(format!("http://{}:8132", abroad.host));
        },
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
];

/// Shows every mistake to the server. The namespaces and policies of the site must be there.
///
/// # Errors
/// Naming the mistakes that were accepted, or refused for another reason.
pub fn refused(place: &Place<'_>) -> Result<String> {
    let topology = topology::read(place.root)?;
    let region = topology.sites().find(|(_, site)| site.name == place.site()).map(|(region, _)| region);
    let region = region.with_context(|| format!("{} is no site of a region", place.site()))?;
    let other = topology.foreign_to(region).next().context("there is one jurisdiction only")?;
    let abroad = abroad(other, &topology.region_domain(other))?;
    let mut wrong = Vec::new();
    for mistake in MISTAKES {
        if let Err(error) = shown(place, mistake, &abroad) {
            wrong.push(format!("{}: {error:#}", mistake.what));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(format!("{} mistakes", MISTAKES.len()))
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
    let answer = place.kubectl.fed(&["create", "--dry-run=server", "--validate=strict"], "planted", &[object]);
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
    fn every_mistake_finds_its_object_and_changes_it_at_every_site_of_a_region() {
        let topology = topology::read(&checkout()).unwrap();
        let sites = objects::read(&checkout()).unwrap();
        for rendered in sites.iter().filter(|rendered| rendered.site != topology.headquarters.name) {
            let (region, _) = topology.sites().find(|(_, site)| site.name == rendered.site).unwrap();
            let other = topology.foreign_to(region).next().unwrap();
            let abroad = abroad(other, &topology.region_domain(other)).unwrap();
            for mistake in MISTAKES {
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
            "a network policy",
            "a service points",
            "a setting",
        ];
        let words =
            MISTAKES.iter().map(|mistake| mistake.says).filter(|says| ours.iter().any(|start| says.starts_with(start)));
        for says in words {
            assert!(policies.contains(says), "{says:?} is in no policy");
        }
    }
}
