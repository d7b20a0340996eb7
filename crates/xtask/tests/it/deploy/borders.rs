//! Ways across a border, planted one by one into the committed objects: out of a jurisdiction, to headquarters with more than aggregates,
//! around the policies of the API server, apart from the other site of a pair. Each is refused by the rule that is named, in the words
//! that are named: a refusal for another reason would be none.

use std::path::Path;

use serde_json::{Value, json};
use xtask::deploy::objects::{self, Object};
use xtask::layout::checkout;
use xtask::render::topology::{overlap, within};
use xtask::render::{self, Sources};

use super::planted::{add, change, container, judged, push, remove, setting};
use super::{SITES, outward, received};

pub(super) struct Mistake {
    pub(super) rule: &'static str,
    pub(super) what: &'static str,
    /// How the refusal says it.
    pub(super) says: &'static str,
    pub(super) site: &'static str,
    pub(super) plant: fn(&mut Vec<Object>),
}

fn acls(value: &mut Value) -> &mut Value {
    &mut value["spec"]["authorization"]["acls"]
}

fn mirror(value: &mut Value) -> &mut Value {
    &mut value["spec"]["mirrors"][0]
}

/// The expression of a variable of an admission policy.
fn variable<'v>(value: &'v mut Value, name: &str) -> &'v mut Value {
    let variables = value["spec"]["variables"].as_array_mut().unwrap();
    &mut variables.iter_mut().find(|variable| variable["name"] == name).unwrap()["expression"]
}

const NAMES: &str = "shopsphere-name-of-another-region";
const ENDPOINTS: &str = "shopsphere-endpoint-of-another-jurisdiction";
const WORKLOADS: &str = "shopsphere-workload-of-another-jurisdiction";
const BINDING: &str = "ValidatingAdmissionPolicyBinding";
const POLICY: &str = "ValidatingAdmissionPolicy";

const MISTAKES: &[Mistake] = &[
    Mistake {
        rule: "rights",
        what: "headquarters may read who has registered",
        says: "may Read topic eu.user.registered.v1",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "KafkaUser", "hq-mirror", |value| {
                let resource = json!({"type": "topic", "name": "eu.user.registered.v1", "patternType": "literal"});
                push(acls(value), json!({"resource": resource, "operations": ["Read"]}));
            });
        },
    },
    Mistake {
        rule: "rights",
        what: "the peer's mirror may write",
        says: "may Write topic us.*",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "KafkaUser", "peer-mirror", |value| {
                push(&mut acls(value)[0]["operations"], json!("Write"))
            });
        },
    },
    Mistake {
        rule: "rights",
        what: "a user that no row of the table knows",
        says: "a user that nobody here has a use for",
        site: "rdc-c",
        plant: |objects| {
            let mut user = objects.iter().find(|object| object.kind() == "KafkaUser").unwrap().clone();
            user.value["metadata"]["name"] = json!("helpful");
            objects.push(user);
        },
    },
    Mistake {
        rule: "rights",
        what: "a service that may not read what it subscribes to",
        says: "may not Read topic eu.shipment.created.v1",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "KafkaUser", "order-payment-kafka", |value| {
                acls(value).as_array_mut().unwrap().retain(|acl| acl["resource"]["name"] != "eu.shipment.created.v1");
            });
        },
    },
    Mistake {
        rule: "rights",
        what: "headquarters' own mirror may write what it likes",
        says: "may Write topic *",
        site: "hq",
        plant: |objects| {
            change(objects, "KafkaUser", "mirror", |value| {
                let resource = json!({"type": "topic", "name": "*", "patternType": "literal"});
                push(acls(value), json!({"resource": resource, "operations": ["Write"]}));
            });
        },
    },
    Mistake {
        rule: "rights",
        what: "brokers that ask for no right",
        says: "asks nobody for a right",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Kafka", "kafka", |value| value["spec"]["kafka"]["authorization"] = Value::Null);
        },
    },
    Mistake {
        rule: "rights",
        what: "a listener that the world reaches",
        says: "is open to the world",
        site: "dr-a",
        plant: |objects| {
            change(objects, "Kafka", "kafka", |value| {
                value["spec"]["kafka"]["listeners"][1]["networkPolicyPeers"] = json!([]);
            });
        },
    },
    Mistake {
        rule: "topics",
        what: "a topic that the table does not know",
        says: "nobody said how personal it is",
        site: "rdc-a",
        plant: |objects| {
            let mut topic = objects.iter().find(|object| object.kind() == "KafkaTopic").unwrap().clone();
            topic.value["metadata"]["name"] = json!("eu.people.everything.v1");
            objects.push(topic);
        },
    },
    Mistake {
        rule: "mirror",
        what: "a mirror from another region",
        says: "reads from kafka.rdc-b.us.shopsphere.example:9094",
        site: "dr-a",
        plant: |objects| {
            change(objects, "KafkaMirrorMaker2", "from-rdc-a", |value| {
                mirror(value)["source"]["bootstrapServers"] = json!("kafka.rdc-b.us.shopsphere.example:9094");
            });
        },
    },
    Mistake {
        rule: "mirror",
        what: "a mirror that pushes its region's events elsewhere",
        says: "which is not beside it",
        site: "dr-a",
        plant: |objects| {
            change(objects, "KafkaMirrorMaker2", "from-rdc-a", |value| {
                value["spec"]["target"]["bootstrapServers"] = json!("kafka.hq.shopsphere.example:9094");
            });
        },
    },
    Mistake {
        rule: "mirror",
        what: "aggregates by a pattern that will match more one day",
        says: "admits topics that nobody has thought of",
        site: "hq",
        plant: |objects| {
            change(objects, "KafkaMirrorMaker2", "from-us", |value| {
                mirror(value)["topicsPattern"] = json!("us\\.hq\\..*\\.v1")
            });
        },
    },
    Mistake {
        rule: "mirror",
        what: "groups of readers whose offsets stay behind",
        says: "readers are (catalog|order-payment|personalization).*",
        site: "dr-c",
        plant: |objects| {
            change(objects, "KafkaMirrorMaker2", "from-rdc-c", |value| {
                mirror(value)["groupsPattern"] = json!("(catalog).*")
            });
        },
    },
    Mistake {
        rule: "mirror",
        what: "headquarters without the figures of a region",
        says: "nothing is copied from kafka.rdc-c.apac.shopsphere.example:9094",
        site: "hq",
        plant: |objects| remove(objects, "KafkaMirrorMaker2", "from-apac"),
    },
    Mistake {
        rule: "residency-hosts",
        what: "a host of another region in capitals",
        says: "which lies elsewhere",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "catalog-work", |value| {
                *setting(value, "SHOPSPHERE__REDIS__URL") = json!("redis://redis.RDC-B.US.ShopSphere.Example:6379");
            });
        },
    },
    Mistake {
        rule: "residency-hosts",
        what: "an address instead of a name",
        says: "10.21.4.7, which lies in another jurisdiction",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "catalog-serve", |value| {
                *container(value, "args") = json!(["--redis=10.21.4.7:6379"]);
            });
        },
    },
    Mistake {
        rule: "residency-hosts",
        what: "a host of nobody we know",
        says: "collector.example.net, which is no host of ours",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "Prometheus", "region", |value| {
                push(&mut value["spec"]["remoteWrite"], json!({"url": "https://collector.example.net/write"}));
            });
        },
    },
    Mistake {
        rule: "residency-hosts",
        what: "a standby that follows a host of nobody we know",
        says: "postgres.example.net, which is no host of ours",
        site: "dr-b",
        plant: |objects| {
            change(objects, "postgresql", "shopsphere-dr-b", |value| {
                value["spec"]["standby"]["standby_host"] = json!("postgres.example.net");
            });
        },
    },
    Mistake {
        rule: "residency-hosts",
        what: "headquarters at a region's database",
        says: "names postgres.rdc-a.eu.shopsphere.example",
        site: "hq",
        plant: |objects| {
            change(objects, "ConfigMap", "dashboard-global-health", |value| {
                value["data"]["source"] = json!("postgres.rdc-a.eu.shopsphere.example");
            });
        },
    },
    Mistake {
        rule: "residency-networks",
        what: "a rule that names nobody and means everybody",
        says: "opens the way to everywhere",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "NetworkPolicy", "user", |value| push(&mut value["spec"]["egress"], json!({})));
        },
    },
    Mistake {
        rule: "residency-networks",
        what: "a service that talks to headquarters",
        says: "a way of its own between a region and headquarters",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "NetworkPolicy", "user", |value| {
                let headquarters = json!({"to": [{"ipBlock": {"cidr": "10.90.0.0/16"}}], "ports": [{"port": 443}]});
                push(&mut value["spec"]["egress"], headquarters);
            });
        },
    },
    Mistake {
        rule: "residency-networks",
        what: "headquarters at the databases of a region",
        says: "a way of its own between a region and headquarters: egress [5432]",
        site: "hq",
        plant: |objects| {
            change(objects, "NetworkPolicy", "headquarters", |value| {
                let database = json!({"to": [{"ipBlock": {"cidr": "10.11.0.0/16"}}], "ports": [{"port": 5432}]});
                push(&mut value["spec"]["egress"], database);
            });
        },
    },
    Mistake {
        rule: "residency-networks",
        what: "clicks at the payment gateway",
        says: "to who takes no payments",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "NetworkPolicy", "user", |value| {
                push(&mut value["spec"]["egress"], json!({"to": [{"ipBlock": {"cidr": "198.51.100.0/28"}}]}));
            });
        },
    },
    Mistake {
        rule: "residency-networks",
        what: "an endpoint of headquarters inside a region",
        says: "10.21.4.7 lies in another jurisdiction",
        site: "hq",
        plant: |objects| {
            let near = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": "near", "namespace": "shopsphere-hq"}, "endpoints": [{"addresses": ["10.21.4.7"]}],
            });
            add(objects, "hq", near);
        },
    },
    Mistake {
        rule: "residency-networks",
        what: "a service with addresses from nowhere",
        says: "addresses that no cluster gave it",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Service", "user", |value| value["spec"]["externalIPs"] = json!(["192.0.2.7"]));
        },
    },
    Mistake {
        rule: "admission",
        what: "a site without the policy of names",
        says: "nothing in its cluster enforces shopsphere-name-of-another-region",
        site: "dr-a",
        plant: |objects| remove(objects, POLICY, NAMES),
    },
    Mistake {
        rule: "admission",
        what: "headquarters that refuse every setting, for each has the empty name in it",
        says: "holds \"['']\" as foreign",
        site: "hq",
        plant: |objects| change(objects, POLICY, NAMES, |value| *variable(value, "foreign") = json!("['']")),
    },
    Mistake {
        rule: "admission",
        what: "a list that has forgotten a site",
        says: "as foreign, the topology says ['10.11.0.0/16', '10.12.0.0/16'",
        site: "rdc-b",
        plant: |objects| {
            change(objects, POLICY, ENDPOINTS, |value| *variable(value, "foreign") = json!("['10.11.0.0/16']"));
        },
    },
    Mistake {
        rule: "admission",
        what: "a policy that does not look at secrets",
        says: "does not look at secrets",
        site: "rdc-a",
        plant: |objects| {
            change(objects, POLICY, NAMES, |value| {
                let kinds = value["spec"]["matchConstraints"]["resourceRules"][0]["resources"].as_array_mut().unwrap();
                kinds.retain(|kind| kind != "secrets");
            });
        },
    },
    Mistake {
        rule: "admission",
        what: "a policy that refuses nothing",
        says: "refuses nothing",
        site: "rdc-a",
        plant: |objects| {
            change(objects, POLICY, WORKLOADS, |value| value["spec"]["validations"] = json!([{"expression": "true"}]));
        },
    },
    Mistake {
        rule: "admission",
        what: "a policy that looks away under a condition",
        says: "looks away under a condition",
        site: "rdc-a",
        plant: |objects| {
            change(objects, POLICY, WORKLOADS, |value| {
                value["spec"]["matchConditions"] = json!([{"name": "never", "expression": "false"}]);
            });
        },
    },
    Mistake {
        rule: "admission",
        what: "a binding for the namespaces of somebody else",
        says: "shopsphere-endpoint-of-another-jurisdiction denies nothing in some namespace of ours",
        site: "hq",
        plant: |objects| {
            change(objects, BINDING, ENDPOINTS, |value| {
                value["spec"]["matchResources"]["namespaceSelector"]["matchLabels"] = json!({"team": "shop"});
            });
        },
    },
    Mistake {
        rule: "admission",
        what: "a namespace outside of all policies",
        says: "a namespace that no policy looks at",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Namespace", "shopsphere", |value| {
                value["metadata"]["labels"].as_object_mut().unwrap().remove("app.kubernetes.io/part-of");
            });
        },
    },
    Mistake {
        rule: "remote-write",
        what: "a figure per customer",
        says: "site:http_requests:rate1m tells figures apart by user_id",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "PrometheusRule", "aggregates", |value| {
                value["spec"]["groups"][0]["rules"][0]["expr"] = json!("sum by (job, user_id) (rate(seen_total[1m]))");
            });
        },
    },
    Mistake {
        rule: "remote-write",
        what: "a raw series under the name of an aggregate",
        says: "site:http_requests:rate1m is no aggregate",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "PrometheusRule", "aggregates", |value| {
                value["spec"]["groups"][0]["rules"][0]["expr"] = json!("rate(seen_total[1m])");
            });
        },
    },
    Mistake {
        rule: "remote-write",
        what: "headquarters that pass series on",
        says: "which takes no aggregates",
        site: "hq",
        plant: |objects| {
            change(objects, "Prometheus", "global", |value| {
                value["spec"]["remoteWrite"] = json!([{"url": "https://metrics.hq.shopsphere.example/api/v1/write"}]);
            });
        },
    },
    Mistake {
        rule: "redaction",
        what: "logs for headquarters by an exporter of another name",
        says: "the pipeline logs leaves the region as it is",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "OpenTelemetryCollector", "collector", |value| {
                let config = &mut value["spec"]["config"];
                config["exporters"]["otlphttp/archive"] = json!({"endpoint": "https://logs.hq.shopsphere.example"});
                config["service"]["pipelines"]["logs"]["exporters"] = json!(["otlphttp/archive"]);
            });
        },
    },
    Mistake {
        rule: "redaction",
        what: "a key that speaks of somebody",
        says: "lets user.id through",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "OpenTelemetryCollector", "collector", |value| {
                push(&mut value["spec"]["config"]["processors"]["redaction/hq"]["allowed_keys"], json!("user.id"));
            });
        },
    },
    Mistake {
        rule: "alerts",
        what: "an alert that nobody finds by its name",
        says: "NobodyKnowsMe is not in the list of runbooks",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "PrometheusRule", "saga", |value| {
                value["spec"]["groups"][0]["rules"][0]["alert"] = json!("NobodyKnowsMe");
            });
        },
    },
    Mistake {
        rule: "settings-complete",
        what: "a secret that nobody orders",
        says: "which nobody orders",
        site: "rdc-a",
        plant: |objects| remove(objects, "ExternalSecret", "user-secrets"),
    },
    Mistake {
        rule: "settings-complete",
        what: "a program under another name, at which no rule would look",
        says: "nothing runs the program personalization",
        site: "rdc-a",
        plant: |objects| {
            objects
                .retain(|object| object.pod().is_none() || object.label("app.kubernetes.io/name") != "personalization");
        },
    },
    Mistake {
        rule: "secrets",
        what: "a password in an argument",
        says: "args[0] has a secret as plain text",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Deployment", "catalog-serve", |value| {
                *container(value, "args") = json!(["--store=redis://shop:hunter2@redis:6379"]);
            });
        },
    },
    Mistake {
        rule: "parity",
        what: "a standby whose routes have lost their limit",
        says: "konghq.com/plugins",
        site: "dr-a",
        plant: |objects| {
            change(objects, "HTTPRoute", "catalog-browse-shared", |value| {
                value["metadata"]["annotations"]["konghq.com/plugins"] = json!("body-64,standing-by");
            });
        },
    },
    Mistake {
        rule: "parity",
        what: "a standby that would migrate tables",
        says: "Job shopsphere/extra-migrate: is only at dr-a",
        site: "dr-a",
        plant: |objects| {
            let mut job = objects.iter().find(|object| object.name() == "user-serve").unwrap().clone();
            job.value["kind"] = json!("Job");
            job.value["metadata"]["name"] = json!("extra-migrate");
            objects.push(job);
        },
    },
    Mistake {
        rule: "parity",
        what: "a difference that is allowed and that nobody needs",
        says: "is allowed to differ, and does not",
        site: "dr-a",
        plant: |objects| change(objects, "Keycloak", "keycloak", |value| value["spec"]["instances"] = json!(2)),
    },
];

#[test]
fn each_way_across_a_border_is_refused_in_the_words_that_are_meant() {
    let sources = Sources::read(&checkout()).unwrap();
    let mut wrong = Vec::new();
    for mistake in MISTAKES.iter().chain(received::MISTAKES).chain(outward::MISTAKES) {
        let refused = judged(&sources, mistake.site, mistake.plant);
        let meant = refused.iter().any(|refusal| {
            refusal.rule == mistake.rule && refusal.site == mistake.site && refusal.to_string().contains(mistake.says)
        });
        if !meant {
            let lines: Vec<_> = refused.iter().map(ToString::to_string).collect();
            wrong.push(format!("{} ({}: {}):\n  {}", mistake.what, mistake.rule, mistake.says, lines.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "not refused as it is meant:\n{}", wrong.join("\n"));
}

#[test]
fn whatever_belongs_to_another_jurisdiction_is_foreign_and_nothing_else_is() {
    let topology = Sources::read(&checkout()).unwrap().topology;
    for (ours, site) in topology.sites() {
        let (names, networks) = topology.foreign(&ours.jurisdiction);
        for (region, other) in topology.sites() {
            let host = format!("postgres.{}", topology.site_domain(region, other));
            let abroad = region.jurisdiction != ours.jurisdiction;
            assert_eq!(names.iter().any(|name| host.contains(name.as_str())), abroad, "{host} at {}", site.name);
            assert_eq!(networks.iter().any(|network| overlap(network, &other.network)), abroad, "{}", other.name);
            assert_eq!(names.iter().any(|name| region.gateway.url.contains(name.as_str())), abroad, "{}", region.code);
        }
        let headquarters = &topology.headquarters;
        assert!(networks.contains(&headquarters.network.as_str()), "headquarters are abroad for {}", site.name);
        let open = topology.open_networks(Some((ours, site)));
        let shut = networks.iter().filter(|network| **network != headquarters.network);
        assert!(shut.clone().all(|network| !open.iter().any(|open| overlap(open, network))), "{open:?} {networks:?}");
        assert!(shut.count() > 0);
    }
    let (_, networks) = topology.foreign(&topology.headquarters.jurisdiction);
    assert!(topology.sites().all(|(_, site)| networks.contains(&site.network.as_str())), "{networks:?}");
    assert!(within("10.11.4.0/24", "10.11.0.0/16") && !within("10.11.0.0/16", "10.11.4.0/24"));
    assert!(!within("0.0.0.0/0", "10.11.0.0/16") && !within("::/0", "10.11.0.0/16"));
}

#[test]
fn what_argo_cd_brings_to_a_site_is_that_sites_and_goes_nowhere_else() {
    let outputs = render::outputs(&checkout()).unwrap();
    let mut seen = 0;
    for rendered in SITES.iter() {
        let (site, project) = (&rendered.site, format!("shopsphere-{}", rendered.site));
        let path = Path::new("deploy/k8s/argocd").join(format!("{site}.yaml"));
        let file = outputs.iter().find(|output| output.path == path).unwrap();
        for object in objects::parse("argocd", &file.text).unwrap() {
            let spec = &object.value["spec"];
            if object.kind() == "AppProject" {
                let clusters = spec["destinations"].as_array().unwrap();
                assert!(
                    !clusters.is_empty() && clusters.iter().all(|one| one["name"] == site.as_str()),
                    "{clusters:?}"
                );
                assert_eq!(object.name(), project);
                continue;
            }
            assert_eq!((&spec["destination"]["name"], &spec["project"]), (&json!(site), &json!(project)));
            let values = spec["source"]["helm"]["valueFiles"].as_array().unwrap();
            assert_eq!(values.last().unwrap(), &json!(format!("../values/site/{site}.yaml")));
            seen += 1;
        }
    }
    assert_eq!(seen, 6 * 5 + 2, "five layers at six sites, two at headquarters");
}
