//! A standby is its primary in waiting: the two sites of a pair have the same objects, and these differ in the paths named here only.
//! What may differ is named exactly, and where only one difference makes sense, it is that one. A row that nothing needs is refused too:
//! it would only let something through that nobody has thought of.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::objects::Rendered;
use super::Refusal;
use crate::render::topology::Site;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Primary,
    Standby,
}

/// Objects that one of the two has alone: which one, kind, and how their names end, with the reason.
const ALONE: &[(Role, &str, &str)] = &[
    // tables arrive by replication
    (Role::Primary, "Job", "-migrate"),
    (Role::Primary, "NetworkPolicy", "-migrate"),
    // a realm arrives with the database it lies in
    (Role::Primary, "KeycloakRealmImport", ""),
    // the standby pulls, and has users for it
    (Role::Standby, "KafkaMirrorMaker2", "/from-<peer>"),
    (Role::Standby, "NetworkPolicy", "/mirror-api-server"),
    (Role::Standby, "KafkaUser", "/local-mirror"),
    (Role::Standby, "Certificate", "/local-mirror"),
    (Role::Standby, "Certificate", "/peer-mirror"),
];

/// What a standby may have where its primary has something else.
enum Differs {
    Freely,
    /// JSON of both, the primary's first; an empty text where it has nothing.
    To(&'static str, &'static str),
    /// The primary's with this behind it.
    By(&'static str),
}

/// Paths that may differ, with all that is below them. Names and networks of the two sites are taken for the same before.
const DIFFER: &[(&str, &str, Differs)] = &[
    // who waits for whom
    ("Deployment", ".spec.template.spec.containers[0].env[SHOPSPHERE__GATE__SLOT].value", Differs::Freely),
    (
        "Deployment",
        ".spec.template.spec.containers[0].env[SHOPSPHERE__SITE__STANDS_BY].value",
        Differs::To("\"false\"", "\"true\""),
    ),
    // how many wait
    ("Deployment", ".spec.replicas", Differs::Freely),
    ("ScaledObject", ".spec.minReplicaCount", Differs::Freely),
    ("ScaledObject", ".metadata.annotations.autoscaling.keda.sh/paused-replicas", Differs::To("", "\"0\"")),
    ("Keycloak", ".spec.instances", Differs::Freely),
    ("postgresql", ".spec.numberOfInstances", Differs::Freely),
    // who follows whom
    ("postgresql", ".spec.standby", Differs::Freely),
    ("postgresql", ".spec.databases", Differs::Freely),
    ("postgresql", ".spec.users", Differs::Freely),
    ("postgresql", ".spec.env", Differs::Freely),
    ("postgresql", ".spec.patroni.slots", Differs::Freely),
    ("postgresql", ".spec.patroni.synchronous_mode", Differs::To("true", "false")),
    ("postgresql", ".spec.patroni.synchronous_mode_strict", Differs::To("true", "false")),
    ("PerconaServerMongoDB", ".spec.unmanaged", Differs::To("false", "true")),
    ("PerconaServerMongoDB", ".spec.unsafeFlags", Differs::Freely),
    ("PerconaServerMongoDB", ".spec.updateStrategy", Differs::To("\"SmartUpdate\"", "\"RollingUpdate\"")),
    ("PerconaServerMongoDB", ".spec.users", Differs::Freely),
    ("PerconaServerMongoDB", ".spec.replsets[0].size", Differs::Freely),
    ("PerconaServerMongoDB", ".spec.replsets[0].externalNodes", Differs::Freely),
    // no issuer answers at a standby
    ("CronJob", ".spec.suspend", Differs::To("false", "true")),
    // who answers
    ("HTTPRoute", ".metadata.annotations.konghq.com/plugins", Differs::By(",standing-by")),
];

impl Differs {
    fn allows(&self, primary: &str, standby: &str) -> bool {
        match self {
            Self::Freely => true,
            Self::To(one, other) => (*one, *other) == (primary, standby),
            // both are JSON, in quotation marks
            Self::By(end) => standby.trim_matches('"').strip_suffix(*end) == Some(primary.trim_matches('"')),
        }
    }
}

/// A path, or something below it.
fn below(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

type Side<'a> = (&'a Site, &'a Rendered);

pub fn pair((primary_site, primary): Side<'_>, (standby_site, standby): Side<'_>) -> Vec<Refusal> {
    let ours = flat(primary, &Names::of(primary_site, standby_site));
    let theirs = flat(standby, &Names::of(standby_site, primary_site));
    let keys: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let mut refused = Vec::new();
    let mut refuse = |object: String, why: String| {
        refused.push(Refusal { rule: "parity", site: standby.site.clone(), object, why });
    };
    let (mut alone, mut differ) = (BTreeSet::new(), BTreeSet::new());
    for key in keys {
        let (kind, name) = key;
        let object = format!("{kind} {name}");
        match (ours.get(key), theirs.get(key)) {
            (Some(ours), Some(theirs)) => {
                let paths: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
                for path in paths {
                    let value = |rows: &BTreeMap<String, String>| rows.get(path).cloned().unwrap_or_default();
                    let (one, other) = (value(ours), value(theirs));
                    if one == other {
                        continue;
                    }
                    let row = DIFFER
                        .iter()
                        .position(|(of, at, how)| of == kind && below(path, at) && how.allows(&one, &other));
                    match row {
                        Some(row) => _ = differ.insert(row),
                        None => {
                            refuse(object.clone(), format!("differs from {} at {path}: {one}, {other}", primary.site));
                        }
                    }
                }
            }
            (one, _) => {
                let (role, site) = match one {
                    Some(_) => (Role::Primary, &primary.site),
                    None => (Role::Standby, &standby.site),
                };
                let row = ALONE.iter().position(|(who, of, end)| *who == role && of == kind && name.ends_with(*end));
                match row {
                    Some(row) => _ = alone.insert(row),
                    None => refuse(object, format!("is only at {site}")),
                }
            }
        }
    }
    for (_, kind, end) in ALONE.iter().enumerate().filter(|(at, _)| !alone.contains(at)).map(|(_, row)| row) {
        refuse(format!("{kind} {end}"), "is allowed to be at one site alone, and is not".to_owned());
    }
    for (kind, path, _) in DIFFER.iter().enumerate().filter(|(at, _)| !differ.contains(at)).map(|(_, row)| row) {
        refuse(format!("{kind} {path}"), "is allowed to differ, and does not".to_owned());
    }
    refused
}

/// What a site calls itself and its peer, and what both are called here.
struct Names(Vec<(String, &'static str)>);

impl Names {
    fn of(here: &Site, peer: &Site) -> Self {
        let mut names = Vec::new();
        for (site, name, network, address) in
            [(here, "<site>", "<network>", "<address>"), (peer, "<peer>", "<peer network>", "<peer address>")]
        {
            names.push((site.network.clone(), network));
            names.push((site.edge.address.clone(), address));
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
            // a variable is the same wherever it stands
            let named = path.ends_with(".env");
            for (at, value) in items.iter().enumerate() {
                let name = value["name"].as_str().filter(|_| named);
                let at = name.map_or_else(|| at.to_string(), str::to_owned);
                walk(value, format!("{path}[{at}]"), names, rows);
            }
        }
        other => _ = rows.insert(path, names.neutral(&other.to_string())),
    }
}
