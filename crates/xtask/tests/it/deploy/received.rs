//! Mistakes with which the aggregates of a region reach nobody at headquarters, or somebody else reaches headquarters by their way;
//! `borders` shows each to the rules.

use serde_json::{Value, json};

use super::borders::Mistake;
use super::planted::{change, push, remove};

/// The settings of what stands in front of headquarters' Prometheus, changed in one place.
fn settings(value: &mut Value, from: &str, to: &str) {
    let text = value["data"]["envoy.yaml"].as_str().unwrap();
    assert!(text.contains(from), "{from:?} is not in {text}");
    value["data"]["envoy.yaml"] = json!(text.replace(from, to));
}

pub(super) const MISTAKES: &[Mistake] = &[
    Mistake {
        rule: "received",
        what: "a name that leads nowhere",
        says: "nobody is called metrics.hq.shopsphere.example",
        site: "hq",
        plant: |objects| remove(objects, "Service", "metrics"),
    },
    Mistake {
        rule: "received",
        what: "a name that leads to the store of logs",
        says: "metrics.hq.shopsphere.example does not lead to it",
        site: "hq",
        plant: |objects| {
            change(objects, "Service", "metrics", |value| {
                value["spec"]["selector"] = json!({"elasticsearch.k8s.elastic.co/cluster-name": "logs"});
            });
        },
    },
    Mistake {
        rule: "received",
        what: "a balancer that leads past who asks for certificates",
        says: "is called at a port that regions do not know",
        site: "hq",
        plant: |objects| {
            change(objects, "Service", "metrics", |value| value["spec"]["ports"][0]["targetPort"] = json!(9090));
        },
    },
    Mistake {
        rule: "received",
        what: "a balancer that answers whoever asks",
        says: "its balancer does not answer the sites of the regions and nobody else",
        site: "hq",
        plant: |objects| {
            change(objects, "Service", "metrics", |value| {
                value["spec"].as_object_mut().unwrap().remove("loadBalancerSourceRanges");
            });
        },
    },
    Mistake {
        rule: "received",
        what: "a balancer that has forgotten a standby",
        says: "its balancer does not answer the sites of the regions and nobody else",
        site: "hq",
        plant: |objects| {
            change(objects, "Service", "metrics", |value| {
                value["spec"]["loadBalancerSourceRanges"].as_array_mut().unwrap().pop();
            });
        },
    },
    Mistake {
        rule: "residency-networks",
        what: "a balancer that answers a network of nobody we know",
        says: "opens the way to or from 192.0.2.0/24",
        site: "hq",
        plant: |objects| {
            change(objects, "Service", "metrics", |value| {
                push(&mut value["spec"]["loadBalancerSourceRanges"], json!("192.0.2.0/24"));
            });
        },
    },
    Mistake {
        rule: "sources",
        what: "a balancer behind which every region looks like a node",
        says: "its policies see a node, not who comes",
        site: "hq",
        plant: |objects| {
            change(objects, "Service", "metrics", |value| value["spec"]["externalTrafficPolicy"] = json!("Cluster"));
        },
    },
    Mistake {
        rule: "received",
        what: "a region that no policy lets in",
        says: "no policy lets 10.32.0.0/16 in",
        site: "hq",
        plant: |objects| {
            change(objects, "NetworkPolicy", "metrics", |value| {
                value["spec"]["ingress"][0]["from"].as_array_mut().unwrap().pop();
            });
        },
    },
    Mistake {
        rule: "residency-networks",
        what: "a region at the questions of headquarters' Prometheus",
        says: "a way of its own between a region and headquarters: ingress [8443, 9090]",
        site: "hq",
        plant: |objects| {
            change(objects, "NetworkPolicy", "metrics", |value| {
                push(&mut value["spec"]["ingress"][0]["ports"], json!({"protocol": "TCP", "port": 9090}));
            });
        },
    },
    Mistake {
        rule: "received",
        what: "a Prometheus that takes no series",
        says: "takes no series in",
        site: "hq",
        plant: |objects| {
            change(objects, "Prometheus", "global", |value| value["spec"]["enableRemoteWriteReceiver"] = json!(false));
        },
    },
    Mistake {
        rule: "received",
        what: "two processes behind one balancer",
        says: "has a part of the series in each of its processes",
        site: "hq",
        plant: |objects| change(objects, "Prometheus", "global", |value| value["spec"]["replicas"] = json!(2)),
    },
    Mistake {
        rule: "received",
        what: "a door that asks for no certificate",
        says: "somebody without a certificate is heard",
        site: "hq",
        plant: |objects| {
            change(objects, "ConfigMap", "receiver", |value| {
                settings(value, "require_client_certificate: true", "require_client_certificate: false");
            });
        },
    },
    Mistake {
        rule: "received",
        what: "a door that takes whatever certificate there is",
        says: "somebody without a certificate is heard",
        site: "hq",
        plant: |objects| {
            change(objects, "ConfigMap", "receiver", |value| {
                settings(value, "validation_context_sds_secret_config", "validation_context");
            });
        },
    },
    Mistake {
        rule: "received",
        what: "a region that may ask what another has written",
        says: "answers more than writes",
        site: "hq",
        plant: |objects| {
            change(objects, "ConfigMap", "receiver", |value| settings(value, "path: /api/v1/write", "prefix: /api/v1"));
        },
    },
    Mistake {
        rule: "received",
        what: "a certificate of another name",
        says: "shows no certificate of its name",
        site: "hq",
        plant: |objects| {
            change(objects, "Certificate", "metrics", |value| {
                value["spec"]["dnsNames"] = json!(["logs.hq.shopsphere.example"]);
            });
        },
    },
    Mistake {
        rule: "received",
        what: "headquarters that do not know the authority of a region",
        says: "does not believe the authorities of the regions and nobody else",
        site: "hq",
        plant: |objects| {
            change(objects, "ExternalSecret", "metrics-regions", |value| {
                value["spec"]["data"].as_array_mut().unwrap().pop();
            });
        },
    },
    Mistake {
        rule: "received",
        what: "headquarters that believe a stranger too",
        says: "does not believe the authorities of the regions and nobody else",
        site: "hq",
        plant: |objects| {
            change(objects, "ExternalSecret", "metrics-regions", |value| {
                let stranger =
                    json!({"secretKey": "stranger", "remoteRef": {"key": "shopsphere/hq/stranger/metrics-ca"}});
                push(&mut value["spec"]["data"], stranger);
            });
        },
    },
    Mistake {
        rule: "secrets-made",
        what: "headquarters without an authority of their own",
        says: "nobody has made the Secret metrics-issuer",
        site: "hq",
        plant: |objects| remove(objects, "ExternalSecret", "metrics-issuer"),
    },
    Mistake {
        rule: "received",
        what: "a region that shows what somebody else has signed",
        says: "shows no certificate of the authority that headquarters believes",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Certificate", "hq-metrics", |value| {
                value["spec"]["issuerRef"] = json!({"kind": "ClusterIssuer", "name": "regional"});
            });
        },
    },
    Mistake {
        rule: "received",
        what: "a region that writes to whoever has a certificate",
        says: "believes somebody else than headquarters",
        site: "dr-b",
        plant: |objects| {
            change(objects, "Prometheus", "region", |value| {
                value["spec"]["remoteWrite"][0]["tlsConfig"].as_object_mut().unwrap().remove("ca");
            });
        },
    },
    Mistake {
        rule: "received",
        what: "a region that does not look who answers",
        says: "believes somebody else than headquarters",
        site: "rdc-c",
        plant: |objects| {
            change(objects, "Prometheus", "region", |value| {
                value["spec"]["remoteWrite"][0]["tlsConfig"]["insecureSkipVerify"] = json!(true);
            });
        },
    },
    Mistake {
        rule: "received",
        what: "a region whose aggregates no policy lets out",
        says: "no policy lets it out to headquarters",
        site: "dr-a",
        plant: |objects| remove(objects, "NetworkPolicy", "aggregates"),
    },
    Mistake {
        rule: "received",
        what: "a region that keeps its aggregates",
        says: "writes its aggregates to nobody",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "Prometheus", "region", |value| {
                value["spec"].as_object_mut().unwrap().remove("remoteWrite");
            });
        },
    },
];
