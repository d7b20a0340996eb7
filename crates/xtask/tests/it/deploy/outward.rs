//! Mistakes in what a site tells others outside of its cluster: which copies at the CDN are out of date. `borders` shows each to the rules.

use serde_json::json;

use super::borders::Mistake;
use super::planted::{change, push, remove, setting};

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
];
