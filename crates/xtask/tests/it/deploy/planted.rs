//! Every kind of mistake, planted into the committed objects in memory: the rule of that name refuses it. And the other way round: what
//! was not planted is not refused, or the first test of `renders` would fail.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use xtask::deploy::objects::{Object, Rendered};
use xtask::deploy::rules::{self, Refusal};
use xtask::layout::checkout;
use xtask::render::Sources;

use super::{SITES, coming_up, planted_edge, planted_settings};

/// A mistake: the rule that must see it, and what is done to the objects of one site.
pub(super) struct Mistake {
    pub(super) rule: &'static str,
    pub(super) what: &'static str,
    pub(super) site: &'static str,
    pub(super) plant: fn(&mut Vec<Object>),
}

pub(super) fn change(objects: &mut [Object], kind: &str, name: &str, change: impl Fn(&mut Value)) {
    let object = objects.iter_mut().find(|object| object.kind() == kind && object.name() == name);
    change(&mut object.unwrap_or_else(|| panic!("{kind} {name} is not there")).value);
}

/// One item more in a list of an object.
pub(super) fn push(list: &mut Value, item: Value) {
    list.as_array_mut().unwrap().push(item);
}

/// One object more in a layer of the site.
pub(super) fn add(objects: &mut Vec<Object>, layer: &str, value: Value) {
    objects.push(Object { layer: layer.to_owned(), value });
}

pub(super) fn container<'v>(value: &'v mut Value, key: &str) -> &'v mut Value {
    &mut value["spec"]["template"]["spec"]["containers"][0][key]
}

/// What a setting of a workload of ours says.
pub(super) fn setting<'v>(value: &'v mut Value, name: &str) -> &'v mut Value {
    let rows = container(value, "env").as_array_mut().unwrap();
    let row = rows.iter_mut().find(|row| row["name"] == name);
    &mut row.unwrap_or_else(|| panic!("{name} is not set"))["value"]
}

pub(super) fn remove(objects: &mut Vec<Object>, kind: &str, name: &str) {
    let before = objects.len();
    objects.retain(|object| !(object.kind() == kind && object.name() == name));
    assert!(objects.len() < before, "{kind} {name} is not there");
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        rule: "probes",
        what: "a probe with a wrong name",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "user-serve", |value| {
                let probe = container(value, "readinessProbe").take();
                *container(value, "readyProbe") = probe;
            });
        },
    },
    Mistake {
        rule: "probes",
        what: "a path that the binary does not answer",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "catalog-serve", |value| {
                container(value, "livenessProbe")["httpGet"]["path"] = json!("/healthz")
            });
        },
    },
    Mistake {
        rule: "residency-hosts",
        what: "an address of another region",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "catalog-serve", |value| {
                *setting(value, "SHOPSPHERE__PERSONALIZATION__GRPC_URL") =
                    json!("http://personalization.rdc-b.us.shopsphere.example:8132");
            });
        },
    },
    Mistake {
        rule: "residency-hosts",
        what: "the payment gateway of another region",
        site: "dr-c",
        plant: |objects| {
            change(objects, "Deployment", "order-payment-work", |value| {
                *setting(value, "SHOPSPHERE__GATEWAY__BASE_URL") = json!("https://payments.us.gateway.example");
            });
        },
    },
    Mistake {
        rule: "residency-networks",
        what: "a way into another jurisdiction",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "NetworkPolicy", "order-payment", |value| {
                push(&mut value["spec"]["egress"], json!({"to": [{"ipBlock": {"cidr": "10.21.4.0/24"}}]}));
            });
        },
    },
    Mistake {
        rule: "residency-networks",
        what: "a way to everywhere",
        site: "dr-b",
        plant: |objects| {
            change(objects, "NetworkPolicy", "user", |value| {
                push(&mut value["spec"]["egress"], json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}));
            });
        },
    },
    Mistake {
        rule: "only-ours",
        what: "a collector that takes what anybody sends",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "OpenTelemetryCollector", "collector", |value| {
                _ = value["spec"].as_object_mut().unwrap().remove("networkPolicy")
            });
        },
    },
    Mistake {
        rule: "only-ours",
        what: "an issuer that anybody in the cluster reaches",
        site: "dr-b",
        plant: |objects| {
            change(objects, "Keycloak", "keycloak", |value| value["spec"]["networkPolicy"]["enabled"] = json!(true));
        },
    },
    Mistake {
        rule: "residency-labels",
        what: "pods that say another jurisdiction",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "Deployment", "user-work", |value| {
                value["spec"]["template"]["metadata"]["labels"]["shopsphere.example/jurisdiction"] = json!("EU");
            });
        },
    },
    Mistake {
        rule: "admission",
        what: "an admission policy that only warns",
        site: "rdc-a",
        plant: |objects| {
            change(
                objects,
                "ValidatingAdmissionPolicyBinding",
                "shopsphere-endpoint-of-another-jurisdiction",
                |value| {
                    value["spec"]["validationActions"] = json!(["Warn"]);
                },
            );
        },
    },
    Mistake {
        rule: "disruption",
        what: "no disruption budget",
        site: "rdc-c",
        plant: |objects| {
            remove(objects, "PodDisruptionBudget", "order-payment-work");
        },
    },
    Mistake {
        rule: "images",
        what: "an image that moves",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "user-serve", |value| {
                *container(value, "image") = json!("registry.shopsphere.example/core/user:latest")
            });
        },
    },
    Mistake {
        rule: "secrets",
        what: "a password in a setting",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "user-serve", |value| {
                *setting(value, "SHOPSPHERE__REDIS__URL") = json!("redis://shop:hunter2@redis:6379")
            });
        },
    },
    Mistake {
        rule: "secrets",
        what: "a Secret with its data in git",
        site: "rdc-a",
        plant: |objects| {
            let about = json!({"name": "gift", "namespace": "shopsphere"});
            let gift =
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": about, "stringData": {"key": "hunter2"}});
            add(objects, "shopsphere", gift);
        },
    },
    Mistake {
        rule: "restricted",
        what: "a container that may write to its root",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "catalog-work", |value| {
                container(value, "securityContext")["readOnlyRootFilesystem"] = json!(false)
            });
        },
    },
    Mistake {
        rule: "resources",
        what: "no limit of memory",
        site: "dr-a",
        plant: |objects| {
            change(objects, "Deployment", "catalog-work", |value| {
                *container(value, "resources") = json!({"requests": {"cpu": "1", "memory": "1Mi"}})
            });
        },
    },
    Mistake {
        rule: "spread",
        what: "all pods in one zone",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "user-serve", |value| {
                value["spec"]["template"]["spec"]["topologySpreadConstraints"] = json!([])
            });
        },
    },
    Mistake {
        rule: "spread",
        what: "pods that wait for a zone which is lost",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "Deployment", "catalog-serve", |value| {
                let constraint = &mut value["spec"]["template"]["spec"]["topologySpreadConstraints"][0];
                _ = constraint.as_object_mut().unwrap().remove("nodeTaintsPolicy")
            });
        },
    },
    Mistake {
        rule: "rollout",
        what: "a release that takes pods away first",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "order-payment-serve", |value| {
                value["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!(1)
            });
        },
    },
    Mistake {
        rule: "rollout",
        what: "pods that are killed while they drain",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "order-payment-serve", |value| {
                value["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(30);
            });
        },
    },
    Mistake {
        rule: "priority",
        what: "a priority class that is not there",
        site: "rdc-a",
        plant: |objects| {
            remove(objects, "PriorityClass", "shopsphere-checkout");
        },
    },
    Mistake {
        rule: "monitored",
        what: "metrics that nobody reads",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "ServiceMonitor", "user", |value| value["spec"]["endpoints"][0]["path"] = json!("/metric"));
        },
    },
    Mistake {
        rule: "network-policy",
        what: "a service without a policy",
        site: "rdc-a",
        plant: |objects| {
            remove(objects, "NetworkPolicy", "personalization");
        },
    },
    Mistake {
        rule: "default-deny",
        what: "a namespace that allows what is not denied",
        site: "rdc-a",
        plant: |objects| {
            remove(objects, "NetworkPolicy", "default-deny");
        },
    },
    Mistake {
        rule: "replicas",
        what: "a single replica",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "ScaledObject", "user-serve", |value| value["spec"]["minReplicaCount"] = json!(1));
        },
    },
    Mistake {
        rule: "scaling-bounds",
        what: "no fallback",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "ScaledObject", "user-serve", |value| {
                _ = value["spec"].as_object_mut().unwrap().remove("fallback")
            });
        },
    },
    Mistake {
        rule: "scaling-bounds",
        what: "more consumers than partitions",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "ScaledObject", "order-payment-work", |value| value["spec"]["maxReplicaCount"] = json!(40));
        },
    },
    Mistake {
        rule: "scaling-lag",
        what: "a topic that falls behind while nothing grows",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "ScaledObject", "catalog-work", |value| {
                let triggers = value["spec"]["triggers"].as_array_mut().unwrap();
                triggers.retain(|trigger| trigger["metadata"]["topic"] != "eu.order.refunded.v1")
            });
        },
    },
    Mistake {
        rule: "scaling-lag",
        what: "a look at the lag of somebody else",
        site: "rdc-c",
        plant: |objects| {
            change(objects, "ScaledObject", "order-payment-work", |value| {
                value["spec"]["triggers"][0]["metadata"]["consumerGroup"] = json!("catalog");
            });
        },
    },
    Mistake {
        rule: "scaling-lag",
        what: "a reader of topics that never grows",
        site: "dr-b",
        plant: |objects| remove(objects, "ScaledObject", "personalization-work"),
    },
    Mistake {
        rule: "scaling-connections",
        what: "more processes than the database has connections for",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "ScaledObject", "catalog-serve", |value| value["spec"]["maxReplicaCount"] = json!(50));
        },
    },
    Mistake {
        rule: "scaling-connections",
        what: "a pool of a laptop in dozens of processes",
        site: "dr-c",
        plant: |objects| {
            change(objects, "Deployment", "order-payment-serve", |value| {
                *setting(value, "SHOPSPHERE__DATABASE__MAX_CONNECTIONS") = json!("16");
            });
        },
    },
    Mistake {
        rule: "scaling-connections",
        what: "connections that the server has no memory for",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "postgresql", "shopsphere-rdc-b", |value| {
                value["spec"]["postgresql"]["parameters"]["max_connections"] = json!("1600");
            });
        },
    },
    Mistake {
        rule: "scaling-speed",
        what: "growth that is too slow",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "ScaledObject", "catalog-serve", |value| {
                value["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleUp"]["stabilizationWindowSeconds"] =
                    json!(120);
            });
        },
    },
    Mistake {
        rule: "scaling-speed",
        what: "no room for the first pods of a rush",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "balloon", |value| value["spec"]["replicas"] = json!(0));
        },
    },
    Mistake {
        rule: "scaling-speed",
        what: "room that the catalog's pods do not fit into",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "Deployment", "balloon", |value| {
                container(value, "resources")["requests"]["memory"] = json!("128Mi");
            });
        },
    },
    Mistake {
        rule: "scaling-standby",
        what: "a standby that consumes",
        site: "dr-a",
        plant: |objects| {
            change(objects, "ScaledObject", "catalog-work", |value| {
                _ = value["metadata"].as_object_mut().unwrap().remove("annotations")
            });
        },
    },
    Mistake {
        rule: "selectors",
        what: "a service that leads nowhere",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Service", "catalog", |value| {
                value["spec"]["selector"]["app.kubernetes.io/component"] = json!("server")
            });
        },
    },
    Mistake {
        rule: "unique",
        what: "an object that stands twice",
        site: "rdc-a",
        plant: |objects| {
            let again = objects.iter().find(|object| object.kind() == "Service").unwrap().clone();
            objects.push(again);
        },
    },
    Mistake {
        rule: "parity",
        what: "a standby with another search deadline",
        site: "dr-a",
        plant: |objects| {
            change(objects, "Deployment", "catalog-serve", |value| {
                *setting(value, "SHOPSPHERE__ELASTICSEARCH__SEARCH_DEADLINE_MS") = json!("900")
            });
        },
    },
    Mistake {
        rule: "mirror",
        what: "a topic about people in the mirror of headquarters",
        site: "hq",
        plant: |objects| {
            change(objects, "KafkaMirrorMaker2", "from-eu", |value| {
                value["spec"]["mirrors"][0]["topicsPattern"] =
                    json!("eu\\.hq\\.aggregates\\.v1|eu\\.user\\.registered\\.v1");
            });
        },
    },
    Mistake {
        rule: "mirror",
        what: "a mirror that leaves topics behind",
        site: "dr-b",
        plant: |objects| {
            change(objects, "KafkaMirrorMaker2", "from-rdc-b", |value| {
                value["spec"]["mirrors"][0]["topicsPattern"] = json!("us\\.order\\..*")
            });
        },
    },
    Mistake {
        rule: "rights",
        what: "a service that may read what is not its own",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "KafkaUser", "personalization-kafka", |value| {
                let resource = json!({"type": "topic", "name": "eu.user.registered.v1", "patternType": "literal"});
                let right = json!({"resource": resource, "operations": ["Read"]});
                push(&mut value["spec"]["authorization"]["acls"], right);
            });
        },
    },
    Mistake {
        rule: "topics",
        what: "a topic that forgets too soon",
        site: "rdc-c",
        plant: |objects| {
            change(objects, "KafkaTopic", "apac.order.created.v1", |value| {
                value["spec"]["config"]["retention.ms"] = json!("3600000")
            });
        },
    },
    Mistake {
        rule: "topics",
        what: "a topic of states that forgets those that are old",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "KafkaTopic", "eu.product.changed.v1", |value| {
                value["spec"]["config"]["cleanup.policy"] = json!("delete")
            });
        },
    },
    Mistake {
        rule: "store-roles",
        what: "commits that one machine has",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "postgresql", "shopsphere-rdc-a", |value| {
                value["spec"]["patroni"]["synchronous_mode_strict"] = json!(false)
            });
        },
    },
    Mistake {
        rule: "store-roles",
        what: "a standby that follows another region",
        site: "dr-a",
        plant: |objects| {
            change(objects, "postgresql", "shopsphere-dr-a", |value| {
                value["spec"]["standby"]["standby_host"] = json!("postgres.rdc-b.us.shopsphere.example");
            });
        },
    },
    Mistake {
        rule: "parity",
        what: "an object that only the primary has",
        site: "dr-a",
        plant: |objects| {
            remove(objects, "ServiceMonitor", "user");
        },
    },
];

/// Those of this file and of those beside it.
fn all() -> impl Iterator<Item = &'static Mistake> {
    let beside = [coming_up::MISTAKES, planted_edge::MISTAKES, planted_settings::MISTAKES];
    MISTAKES.iter().chain(beside.into_iter().flatten())
}

/// What is refused when something is planted at a site.
pub(super) fn judged(sources: &Sources, at: &str, plant: fn(&mut Vec<Object>)) -> Vec<Refusal> {
    // a pair is judged together, and its sites have the same letter
    let pair = |rendered: &&Rendered| rendered.site.chars().next_back() == at.chars().next_back();
    let mut sites: Vec<Rendered> = SITES.iter().filter(pair).cloned().collect();
    let site = sites.iter_mut().find(|rendered| rendered.site == at).unwrap();
    plant(&mut site.objects);
    rules::judge(&sites, sources, &checkout())
}

#[test]
fn each_planted_mistake_is_refused_by_the_rule_of_its_name() {
    let sources = Sources::read(&checkout()).unwrap();
    let mut unseen = Vec::new();
    for mistake in all() {
        let refused = judged(&sources, mistake.site, mistake.plant);
        if !refused.iter().any(|refusal| refusal.rule == mistake.rule && refusal.site == mistake.site) {
            unseen.push(format!("{} ({}): {refused:?}", mistake.what, mistake.rule));
        }
    }
    assert!(unseen.is_empty(), "not refused:\n{}", unseen.join("\n"));
}

#[test]
fn twenty_kinds_of_mistakes_are_known() {
    let kinds: BTreeSet<_> = all().map(|mistake| mistake.rule).collect();
    assert!(kinds.len() >= 20, "{} kinds: {kinds:?}", kinds.len());
}
