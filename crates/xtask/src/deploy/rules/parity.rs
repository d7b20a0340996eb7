//! A standby is its primary in waiting: the two sites of a pair have the same objects, and these differ in the paths named here only.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::objects::Rendered;
use super::Refusal;
use crate::render::topology::Site;

/// Objects that one of the two has alone, by kind and how their names end, with the reason.
const ALONE: &[(&str, &str)] = &[
    // tables arrive by replication
    ("Job", "-migrate"),
    ("NetworkPolicy", "-migrate"),
    // the standby pulls
    ("KafkaMirrorMaker2", ""),
    // a realm arrives with the database it lies in
    ("KeycloakRealmImport", ""),
];

/// Paths that may differ: kind, and a part of the path. Names and networks of the two sites are taken for the same before.
const DIFFER: &[(&str, &str)] = &[
    // who waits for whom
    ("ConfigMap", ".data.SHOPSPHERE__GATE__SLOT"),
    ("ConfigMap", ".data.SHOPSPHERE__SITE__STANDS_BY"),
    ("Deployment", ".annotations.shopsphere.example/settings"),
    // how many wait
    ("Deployment", ".spec.replicas"),
    ("ScaledObject", ".spec.minReplicaCount"),
    ("ScaledObject", ".annotations.autoscaling.keda.sh/paused-replicas"),
    ("Keycloak", ".spec.instances"),
    ("postgresql", ".spec.numberOfInstances"),
    // who follows whom
    ("postgresql", ".spec.standby"),
    ("postgresql", ".spec.databases"),
    ("postgresql", ".spec.users"),
    ("postgresql", ".spec.env"),
    ("postgresql", ".spec.patroni.slots"),
    ("postgresql", ".spec.patroni.synchronous_mode"),
    ("PerconaServerMongoDB", ".spec.unmanaged"),
    ("PerconaServerMongoDB", ".spec.unsafeFlags"),
    ("PerconaServerMongoDB", ".spec.updateStrategy"),
    ("PerconaServerMongoDB", ".spec.users"),
    ("PerconaServerMongoDB", ".spec.replsets[0].size"),
    ("PerconaServerMongoDB", ".spec.replsets[0].externalNodes"),
    // no issuer answers at a standby
    ("CronJob", ".spec.suspend"),
    // who answers
    ("HTTPRoute", ".annotations.konghq.com/plugins"),
];

type Side<'a> = (&'a Site, &'a Rendered);

pub fn pair((primary_site, primary): Side<'_>, (standby_site, standby): Side<'_>) -> Vec<Refusal> {
    let ours = flat(primary, &Names::of(primary_site, standby_site));
    let theirs = flat(standby, &Names::of(standby_site, primary_site));
    let keys: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let mut refused = Vec::new();
    for key in keys {
        let mut refuse = |why: String| {
            refused.push(Refusal {
                rule: "parity",
                site: standby.site.clone(),
                object: format!("{} {}", key.0, key.1),
                why,
            });
        };
        match (ours.get(key), theirs.get(key)) {
            (Some(ours), Some(theirs)) => {
                let paths: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
                for path in paths.into_iter().filter(|path| ours.get(*path) != theirs.get(*path)) {
                    if !DIFFER.iter().any(|(kind, end)| (kind.is_empty() || *kind == key.0) && path.contains(end)) {
                        refuse(format!("differs from {} at {path}", primary.site));
                    }
                }
            }
            _ if ALONE.iter().any(|(kind, end)| *kind == key.0 && key.1.ends_with(end)) => {}
            (one, _) => refuse(format!("is only at {}", if one.is_some() { &primary.site } else { &standby.site })),
        }
    }
    refused
}

/// What a site calls itself and its peer, and what both are called here.
struct Names(Vec<(String, &'static str)>);

impl Names {
    fn of(here: &Site, peer: &Site) -> Self {
        let mut names = Vec::new();
        for (site, name, network) in [(here, "<site>", "<network>"), (peer, "<peer>", "<peer network>")] {
            names.push((site.network.clone(), network));
            names.push((site.edge.address.clone(), "<address>"));
            names.push((site.name.clone(), name));
            names.push((site.name.replace('-', "_"), name));
        }
        Self(names)
    }

    fn neutral(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }
}

type Objects = BTreeMap<(String, String), BTreeMap<String, String>>;

/// Kind and name of each object; path and text of everything in it.
fn flat(rendered: &Rendered, names: &Names) -> Objects {
    let mut all = Objects::new();
    for object in &rendered.objects {
        let mut rows = BTreeMap::new();
        walk(&object.value, String::new(), names, &mut rows);
        let name = names.neutral(&format!("{}/{}", object.namespace(), object.name()));
        all.insert((object.kind().to_owned(), name), rows);
    }
    all
}

fn walk(value: &Value, path: String, names: &Names, rows: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().for_each(|(key, value)| walk(value, format!("{path}.{}", names.neutral(key)), names, rows));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(at, value)| walk(value, format!("{path}[{at}]"), names, rows));
        }
        other => _ = rows.insert(path, names.neutral(&other.to_string())),
    }
}
