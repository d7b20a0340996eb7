//! Mistakes at the gateway and in what watches a site; `planted` shows each to the rules.

use serde_json::json;

use super::planted::{Mistake, change, push, remove};

pub(super) const MISTAKES: &[Mistake] = &[
    Mistake {
        rule: "images-built",
        what: "a program that nobody builds",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "CronJob", "jwks-sync", |value| {
                value["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"] =
                    json!("registry.shopsphere.example/core/jwks-rotate:0.1.0");
            });
        },
    },
    Mistake {
        rule: "remote-write",
        what: "raw series for headquarters",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Prometheus", "region", |value| {
                value["spec"]["remoteWrite"][0]["writeRelabelConfigs"] = json!([])
            });
        },
    },
    Mistake {
        rule: "remote-write",
        what: "a label about people for headquarters",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "Prometheus", "region", |value| {
                value["spec"]["remoteWrite"][0]["writeRelabelConfigs"][1] =
                    json!({"action": "labelkeep", "regex": "__name__|site|subject"});
            });
        },
    },
    Mistake {
        rule: "delivered",
        what: "alerts that nobody is told of",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "Prometheus", "region", |value| {
                value["spec"].as_object_mut().unwrap().remove("alerting");
            });
        },
    },
    Mistake {
        rule: "delivered",
        what: "a page that is read in the morning",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "AlertmanagerConfig", "shopsphere", |value| {
                value["spec"]["route"]["routes"] = json!([]);
            });
        },
    },
    Mistake {
        rule: "delivered",
        what: "a certificate for headquarters that nobody brings",
        site: "dr-c",
        plant: |objects| remove(objects, "Certificate", "hq-metrics"),
    },
    Mistake {
        rule: "shown",
        what: "a Grafana that no policy lets ask",
        site: "dr-a",
        plant: |objects| remove(objects, "NetworkPolicy", "questions"),
    },
    Mistake {
        rule: "shown",
        what: "a Grafana that is not told whom to ask",
        site: "rdc-b",
        plant: |objects| remove(objects, "ConfigMap", "datasource-region"),
    },
    Mistake {
        rule: "shown",
        what: "a Grafana that runs elsewhere than it is let in from",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "NetworkPolicy", "questions", |value| {
                let space = &mut value["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"];
                *space = json!({"kubernetes.io/metadata.name": "grafana"});
            });
        },
    },
    Mistake {
        rule: "shown",
        what: "headquarters' series for everybody beside Grafana",
        site: "hq",
        plant: |objects| {
            change(objects, "NetworkPolicy", "metrics", |value| {
                value["spec"]["ingress"][1]["from"][0].as_object_mut().unwrap().remove("podSelector");
            });
        },
    },
    Mistake {
        rule: "found",
        what: "a Prometheus that finds nobody to read",
        site: "rdc-a",
        plant: |objects| remove(objects, "NetworkPolicy", "discovery"),
    },
    Mistake {
        rule: "found",
        what: "an alert on a series that nobody reads",
        site: "rdc-c",
        plant: |objects| remove(objects, "ServiceMonitor", "cluster-state"),
    },
    Mistake {
        rule: "traced",
        what: "traces for nobody",
        site: "dr-b",
        plant: |objects| remove(objects, "Service", "collector"),
    },
    Mistake {
        rule: "redaction",
        what: "logs that leave as they are",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "OpenTelemetryCollector", "collector", |value| {
                value["spec"]["config"]["service"]["pipelines"]["logs/hq"]["processors"] = json!(["batch"]);
            });
        },
    },
    Mistake {
        rule: "alerts",
        what: "an alert without a page",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "PrometheusRule", "saga", |value| {
                value["spec"]["groups"][0]["rules"][0]["annotations"]["runbook_url"] =
                    json!("https://docs.shopsphere.example/runbooks/nothing.md");
            });
        },
    },
    Mistake {
        rule: "edge-routes",
        what: "a path that asks for no token",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "HTTPRoute", "order-payment-checkout", |value| {
                value["metadata"]["annotations"]["konghq.com/plugins"] = json!("limit-checkout,body-64");
            });
        },
    },
    Mistake {
        rule: "edge-routes",
        what: "a standby that answers",
        site: "dr-a",
        plant: |objects| {
            change(objects, "HTTPRoute", "catalog-browse-shared", |value| {
                value["metadata"]["annotations"]["konghq.com/plugins"] = json!("limit-browse,body-64");
            });
        },
    },
    Mistake {
        rule: "edge-gateway",
        what: "a gateway that counts everybody as the CDN",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "ConfigMap", "gateway-settings", |value| {
                value["data"]["KONG_TRUSTED_IPS"] = json!("10.11.0.0/16");
            });
        },
    },
    Mistake {
        rule: "edge-gateway",
        what: "a gateway that no controller reaches",
        site: "dr-a",
        plant: |objects| {
            change(objects, "NetworkPolicy", "gateway", |value| {
                value["spec"]["ingress"].as_array_mut().unwrap().retain(|row| row["ports"][0]["port"] != 8444);
            });
        },
    },
    Mistake {
        rule: "edge-gateway",
        what: "a gateway that a service may tell what to do",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "NetworkPolicy", "gateway", |value| {
                let service = json!({"matchLabels": {"kubernetes.io/metadata.name": "shopsphere"}});
                let ports = json!([{"protocol": "TCP", "port": 8444}]);
                push(&mut value["spec"]["ingress"], json!({"from": [{"namespaceSelector": service}], "ports": ports}));
            });
        },
    },
    Mistake {
        rule: "edge-gateway",
        what: "a route whose clients say who they are",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "KongPlugin", "subject", |value| {
                value["config"]["access"].as_array_mut().unwrap().remove(0);
            });
        },
    },
    Mistake {
        rule: "edge-gateway",
        what: "a path of nobody that Kong answers in its own words",
        site: "rdc-c",
        plant: |objects| remove(objects, "HTTPRoute", "nothing-here"),
    },
    Mistake {
        rule: "edge-gateway",
        what: "events of an order that end after a minute of silence",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "Service", "order-payment", |value| {
                value["metadata"]["annotations"].as_object_mut().unwrap().remove("konghq.com/read-timeout");
            });
        },
    },
    Mistake {
        rule: "edge-gateway",
        what: "a gateway that nobody watches",
        site: "rdc-a",
        plant: |objects| remove(objects, "PodMonitor", "gateway"),
    },
    Mistake {
        rule: "edge-keys",
        what: "a gateway that nobody brings keys",
        site: "rdc-a",
        plant: |objects| remove(objects, "CronJob", "jwks-sync"),
    },
    Mistake {
        rule: "edge-keys",
        what: "a key that goes before its last token",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "KongPlugin", "token", |value| value["config"]["maximum_expiration"] = json!(3600));
        },
    },
    Mistake {
        rule: "edge-keys",
        what: "a job that may read every Secret beside it",
        site: "rdc-c",
        plant: |objects| {
            change(objects, "Role", "jwks-sync", |value| {
                value["rules"][0].as_object_mut().unwrap().remove("resourceNames");
            });
        },
    },
];
