//! Mistakes in what a site tells others outside of its cluster: which copies at the CDN are out of date, and what its programs say.
//! `borders` shows each to the rules.

use serde_json::json;

use super::borders::Mistake;
use super::planted::{add, change, push, remove, setting};

const PURGE_URL: &str = "SHOPSPHERE__CDN__PURGE_URL";

pub(super) const MISTAKES: &[Mistake] = &[
    Mistake {
        rule: "purged",
        what: "an edge that is told nothing",
        says: "tells \"\", which keeps no copies of ours",
        site: "rdc-a",
        plant: |objects| change(objects, "Deployment", "catalog-work", |value| *setting(value, PURGE_URL) = json!("")),
    },
    Mistake {
        rule: "purged",
        what: "the zone of another region",
        says: "zones/00000000000000000000000000000002/purge_cache\", which keeps no copies of ours",
        site: "dr-a",
        plant: |objects| {
            change(objects, "Deployment", "catalog-work", |value| {
                let url = setting(value, PURGE_URL);
                *url = json!(url.as_str().unwrap().replace("01/purge_cache", "02/purge_cache"));
            });
        },
    },
    Mistake {
        rule: "purged",
        what: "news that no policy lets out",
        says: "no policy lets it tell the CDN",
        site: "rdc-c",
        plant: |objects| remove(objects, "NetworkPolicy", "catalog-purge"),
    },
    Mistake {
        rule: "residency-hosts",
        what: "an edge that nobody here has a contract with",
        says: "api.fastly.com, which is no host of ours",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "Deployment", "catalog-work", |value| {
                *setting(value, PURGE_URL) = json!("https://api.fastly.com/service/1/purge");
            });
        },
    },
    Mistake {
        rule: "residency-networks",
        what: "who knows people at the CDN",
        says: "opens the way to the CDN to who has nothing to tell it",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "NetworkPolicy", "user", |value| {
                let cdn = json!({"to": [{"ipBlock": {"cidr": "104.16.0.0/13"}}], "ports": [{"port": 443}]});
                push(&mut value["spec"]["egress"], cdn);
            });
        },
    },
    Mistake {
        rule: "residency-networks",
        what: "what serves shoppers at the CDN",
        says: "opens the way to the CDN to who has nothing to tell it",
        site: "dr-b",
        plant: |objects| {
            change(objects, "NetworkPolicy", "catalog-purge", |value| {
                value["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] = json!("serve");
            });
        },
    },
    Mistake {
        rule: "shipped",
        what: "programs that nobody hears",
        says: "nobody takes the lines of its programs to a store",
        site: "rdc-a",
        plant: |objects| remove(objects, "DaemonSet", "shipper"),
    },
    Mistake {
        rule: "residency-hosts",
        what: "lines for the store of another region",
        says: "logs.rdc-b.us.shopsphere.example, which lies elsewhere",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "DaemonSet", "shipper", |value| {
                *setting(value, "LOGS_URL") = json!("https://logs.rdc-b.us.shopsphere.example/loki/api/v1/push");
            });
        },
    },
    Mistake {
        rule: "residency-hosts",
        what: "lines for a vendor",
        says: "logs.vendor.example, which is no host of ours",
        site: "dr-c",
        plant: |objects| {
            change(objects, "DaemonSet", "shipper", |value| {
                *setting(value, "LOGS_URL") = json!("https://logs.vendor.example/loki/api/v1/push");
            });
        },
    },
    Mistake {
        rule: "shipped",
        what: "lines for headquarters, which the rule of names lets through",
        says: "writes to \"https://logs.hq.shopsphere.example/loki/api/v1/push\"",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "DaemonSet", "shipper", |value| {
                *setting(value, "LOGS_URL") = json!("https://logs.hq.shopsphere.example/loki/api/v1/push");
            });
        },
    },
    Mistake {
        rule: "shipped",
        what: "a second store for the lines",
        says: "its settings name another store, or none",
        site: "dr-b",
        plant: |objects| {
            change(objects, "ConfigMap", "shipper", |value| {
                let text = value["data"]["config.alloy"].as_str().unwrap();
                let second = "endpoint {\n    url = sys.env(\"SECOND_URL\")\n  }\n\n  endpoint {";
                value["data"]["config.alloy"] = json!(text.replace("endpoint {", second));
            });
        },
    },
    Mistake {
        rule: "shipped",
        what: "a way for the lines to headquarters",
        says: "NetworkPolicy watching: lets the lines out to headquarters",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "NetworkPolicy", "watching", |value| {
                let headquarters = json!({"to": [{"ipBlock": {"cidr": "10.90.0.0/16"}}], "ports": [{"port": 443}]});
                push(&mut value["spec"]["egress"], headquarters);
            });
        },
    },
    Mistake {
        rule: "shipped",
        what: "who reads lines reads secrets too",
        says: "gives it another right than to find pods and read their lines",
        site: "rdc-b",
        plant: |objects| {
            change(objects, "Role", "shipper", |value| {
                let secrets = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]});
                push(&mut value["rules"], secrets);
            });
        },
    },
    Mistake {
        rule: "shipped",
        what: "who reads lines of the whole cluster",
        says: "lets it read beyond the namespaces of ours",
        site: "rdc-c",
        plant: |objects| {
            let everywhere = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "shipper"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
                "subjects": [{"kind": "ServiceAccount", "name": "shipper", "namespace": "shopsphere-observability"}],
            });
            add(objects, "observability", everywhere);
        },
    },
    Mistake {
        rule: "shipped",
        what: "a namespace that was forgotten",
        says: "nobody hears what is said in the namespace shopsphere-edge",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "DaemonSet", "shipper", |value| {
                let names = setting(value, "NAMESPACES");
                *names = json!(names.as_str().unwrap().replace(",shopsphere-edge", ""));
            });
        },
    },
    Mistake {
        rule: "restricted",
        what: "lines read from the disk of the node",
        says: "has a folder of its node",
        site: "rdc-a",
        plant: |objects| {
            change(objects, "DaemonSet", "shipper", |value| {
                let folder = json!({"name": "pods", "hostPath": {"path": "/var/log/pods"}});
                push(&mut value["spec"]["template"]["spec"]["volumes"], folder);
            });
        },
    },
    Mistake {
        rule: "api-server",
        what: "a reader of lines that no policy lets to where they are asked for",
        says: "no policy lets its pods ask the API server",
        site: "dr-a",
        plant: |objects| remove(objects, "NetworkPolicy", "shipper"),
    },
];
