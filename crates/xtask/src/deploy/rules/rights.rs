//! Rights in Kafka are the table of topics, both ways: a user may do what its rows say and nothing more, a mirror what copying takes,
//! whoever scales looks and does not read, and a user that nothing here knows is refused. Nobody comes in without a name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::objects::Object;
use super::{Case, Refusal};
use crate::render::services::SERVICES;
use crate::render::topology::{Region, Site};

/// Operation, kind of resource, and name; a star at its end for all that begin so.
type Right = (String, String, String);

#[derive(Default)]
struct Rights(BTreeSet<Right>);

impl Rights {
    fn add(&mut self, operations: &[&str], kind: &str, name: &str) {
        self.0.extend(operations.iter().map(|operation| ((*operation).to_owned(), kind.to_owned(), name.to_owned())));
    }

    /// The groups of all services that read something.
    fn groups(&mut self, case: &Case<'_>, operations: &[&str]) {
        readers(case).iter().for_each(|reader| self.add(operations, "group", &format!("{reader}*")));
    }
}

const LOOK: &[&str] = &["Describe"];
const COPY_FROM: &[&str] = &["Read", "Describe", "DescribeConfigs"];
const COPY_TO: &[&str] = &["Write", "Create", "Describe", "DescribeConfigs", "Alter", "AlterConfigs"];
/// What a mirror remembers for itself.
const BOOKS: &[&str] = &["Read", "Write", "Create", "Describe", "DescribeConfigs"];
const JOIN: &[&str] = &["Read", "Describe"];

/// Services that read any topic, in the order of the table; their groups begin with their names.
pub(super) fn readers(case: &Case<'_>) -> Vec<&'static str> {
    let reads = |service: &&str| case.sources.topics.iter().any(|topic| topic.readers.iter().any(|one| one == service));
    SERVICES.into_iter().filter(reads).collect()
}

/// Every user that a site has, with its rights.
fn wanted(case: &Case<'_>) -> BTreeMap<String, Rights> {
    case.place.map_or_else(|| headquarters(case), |place| serving(case, place))
}

fn serving(case: &Case<'_>, (region, site): (&Region, &Site)) -> BTreeMap<String, Rights> {
    let everything = format!("{}.*", region.code);
    let mut users = BTreeMap::new();
    for service in SERVICES {
        let mut rights = Rights::default();
        for topic in &case.sources.topics {
            let name = topic.name(&region.code);
            if topic.writer == service {
                rights.add(&["Write", "Describe"], "topic", &name);
            }
            if topic.readers.iter().any(|reader| reader == service) {
                rights.add(JOIN, "topic", &name);
                rights.add(JOIN, "group", &format!("{service}*"));
            }
        }
        users.insert(format!("{service}-kafka"), rights);
    }
    let mut lag = Rights::default();
    lag.add(LOOK, "topic", &everything);
    lag.groups(case, LOOK);
    users.insert("kafka-lag".to_owned(), lag);
    let mut peer = Rights::default();
    peer.add(COPY_FROM, "topic", &everything);
    peer.groups(case, LOOK);
    peer.add(LOOK, "cluster", "");
    users.insert("peer-mirror".to_owned(), peer);
    let mut headquarters = Rights::default();
    headquarters.add(COPY_FROM, "topic", &case.topology().aggregates(region));
    users.insert("hq-mirror".to_owned(), headquarters);
    if case.is_standby() {
        let mut mirror = Rights::default();
        mirror.add(COPY_TO, "topic", &everything);
        // offsets of a group are set by who may read the topic
        mirror.add(JOIN, "topic", &everything);
        mirror.groups(case, JOIN);
        books(&mut mirror, &region.peer(site).name, &site.name);
        mirror.add(BOOKS, "topic", &format!("{}.checkpoints.internal", region.peer(site).name));
        mirror.add(LOOK, "cluster", "");
        users.insert("local-mirror".to_owned(), mirror);
    }
    users
}

fn headquarters(case: &Case<'_>) -> BTreeMap<String, Rights> {
    let mut mirror = Rights::default();
    for region in &case.topology().regions {
        mirror.add(COPY_TO, "topic", &case.topology().aggregates(region));
        books(&mut mirror, &region.code, &region.code);
    }
    mirror.add(LOOK, "cluster", "");
    BTreeMap::from([("mirror".to_owned(), mirror)])
}

/// The topics and the group in which a mirror remembers what it has copied.
fn books(rights: &mut Rights, source: &str, mirror: &str) {
    rights.add(BOOKS, "topic", &format!("mm2-offset-syncs.{source}.internal"));
    rights.add(BOOKS, "topic", &format!("mirror-{mirror}-*"));
    rights.add(JOIN, "group", &format!("mirror-{mirror}"));
}

fn given(user: &Object) -> BTreeSet<Right> {
    let acls = user.value["spec"]["authorization"]["acls"].as_array().into_iter().flatten();
    let rows = acls.flat_map(|acl| {
        let resource = &acl["resource"];
        let word = |key: &str| resource[key].as_str().unwrap_or_default().to_owned();
        let name = if word("patternType") == "prefix" { format!("{}*", word("name")) } else { word("name") };
        let kind = word("type");
        let operations = acl["operations"].as_array().into_iter().flatten();
        let operations: Vec<String> = operations.filter_map(Value::as_str).map(str::to_owned).collect();
        operations.into_iter().map(move |operation| (operation, kind.clone(), name.clone()))
    });
    rows.collect()
}

pub fn table(case: &Case<'_>) -> Vec<Refusal> {
    let wanted = wanted(case);
    let mut refused = Vec::new();
    for name in wanted.keys().filter(|name| !case.of("KafkaUser").any(|user| user.name() == name.as_str())) {
        refused.push(case.lacks("rights", format!("there is no user {name}")));
    }
    for user in case.of("KafkaUser") {
        let mut refuse = |why: String| refused.push(case.refuse("rights", user, why));
        let Some(Rights(wanted)) = wanted.get(user.name()) else {
            refuse("is a user that nobody here has a use for".to_owned());
            continue;
        };
        let given = given(user);
        for (operation, kind, name) in given.difference(wanted) {
            refuse(format!("may {operation} {kind} {name}, which the table of topics does not say"));
        }
        for (operation, kind, name) in wanted.difference(&given) {
            refuse(format!("may not {operation} {kind} {name}, which the table of topics says"));
        }
        // a certificate of the operator, or one of the region's own authority, which holds at both sites of a pair
        let by = &user.value["spec"]["authentication"]["type"];
        if by != "tls" && by != "tls-external" {
            refuse("proves itself by nothing".to_owned());
        }
    }
    refused
}

/// Rights mean something where brokers ask for them: everybody proves who they are, and nobody is above the table.
pub fn asked(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.of("Kafka") {
        let spec = &object.value["spec"]["kafka"];
        let mut want = |good: bool, why: String| {
            if !good {
                refused.push(case.refuse("rights", object, why));
            }
        };
        let authorization = &spec["authorization"];
        want(authorization["type"] == "simple", "asks nobody for a right".to_owned());
        want(authorization["superUsers"].is_null(), "has users above the table of topics".to_owned());
        want(spec["config"]["allow.everyone.if.no.acl.found"].is_null(), "opens what no right speaks of".to_owned());
        let listeners = spec["listeners"].as_array().into_iter().flatten();
        for listener in listeners {
            let name = &listener["name"];
            want(
                listener["tls"] == true && listener["authentication"]["type"] == "tls",
                format!("its listener {name} takes anybody"),
            );
            let peers = listener["networkPolicyPeers"].as_array().is_some_and(|peers| !peers.is_empty());
            want(peers, format!("its listener {name} is open to the world"));
        }
    }
    if case.of("Kafka").next().is_none() {
        refused.push(case.lacks("rights", "no broker asks for them"));
    }
    refused
}
