//! Scaling: bounds that make sense, a fallback, a look at every topic that is read, connections for all who may come, and five times the
//! load met within a minute, by the simulation.

use serde_json::Value;

use super::super::objects::Object;
use super::super::scale::start_times::StartTimes;
use super::super::scale::verdict::{ALONE_S, FIVE};
use super::super::simulation::{Size, Workload, alone};
use super::reach::list;
use super::rights::readers;
use super::{Case, Refusal, settings};

/// How many connections to its database a process may hold.
const DATABASE_POOL: &str = "SHOPSPHERE__DATABASE__MAX_CONNECTIONS";

pub fn bounds(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.of("ScaledObject") {
        let spec = &object.value["spec"];
        let (least, most) = (number(&spec["minReplicaCount"]), number(&spec["maxReplicaCount"]));
        let mut want = |good: bool, why: String| {
            if !good {
                refused.push(case.refuse("scaling-bounds", object, why));
            }
        };
        want(most > 0 && least <= most, format!("between {least} and {most} replicas"));
        let fallback = number(&spec["fallback"]["replicas"]);
        want(fallback >= least && fallback > 0, "has no fallback for when its metric cannot be read".to_owned());
        let target = &spec["scaleTargetRef"]["name"];
        want(
            case.of("Deployment").any(|one| &one.value["metadata"]["name"] == target),
            format!("{target} is no Deployment"),
        );
        for trigger in spec["triggers"].as_array().into_iter().flatten() {
            let texts = trigger["metadata"].as_object().into_iter().flatten();
            texts.filter(|(_, value)| !value.is_string()).for_each(|(key, _)| {
                want(false, format!("{key} of a trigger must be a text"));
            });
            if trigger["type"] == "apache-kafka" {
                let name = trigger["metadata"]["topic"].as_str().unwrap_or_default();
                let partitions = case.place.and_then(|(region, _)| {
                    case.sources
                        .topics
                        .iter()
                        .find(|topic| topic.name(&region.code) == name)
                        .map(|topic| u64::from(topic.partitions))
                });
                match partitions {
                    None => want(false, format!("there is no topic {name}")),
                    Some(partitions) if number(&spec["minReplicaCount"]) > partitions => {
                        want(false, format!("{name} has {partitions} partitions"));
                    }
                    Some(_) => {}
                }
            }
        }
        let widest = spec["triggers"].as_array().into_iter().flatten().filter_map(|trigger| {
            let name = trigger["metadata"]["topic"].as_str()?;
            let (region, _) = case.place?;
            case.sources
                .topics
                .iter()
                .find(|topic| topic.name(&region.code) == name)
                .map(|topic| u64::from(topic.partitions))
        });
        if let Some(partitions) = widest.max() {
            want(most <= partitions, format!("up to {most} replicas, but only {partitions} can ever have work"));
        }
    }
    refused
}

/// Who reads topics grows with each that the table lets it read: one that no trigger looks at falls behind while nothing grows. A group has
/// the name of its service in front, as its rights have.
pub fn lag(case: &Case<'_>) -> Vec<Refusal> {
    let Some((region, _)) = case.place else { return Vec::new() };
    let mut refused = Vec::new();
    for reader in readers(case) {
        let works = |object: &&Object| {
            object.label("app.kubernetes.io/name") == reader && object.label("app.kubernetes.io/component") == "work"
        };
        let Some(object) = case.of("ScaledObject").find(works) else {
            refused.push(case.lacks("scaling-lag", format!("{reader} reads topics and grows with none")));
            continue;
        };
        let looks = |topic: &str| {
            list(&object.value["spec"]["triggers"]).any(|trigger| {
                let group = trigger["metadata"]["consumerGroup"].as_str().unwrap_or_default();
                trigger["metadata"]["topic"] == topic && group.starts_with(reader)
            })
        };
        let read = case.sources.topics.iter().filter(|topic| topic.readers.iter().any(|one| one == reader));
        for topic in read.map(|topic| topic.name(&region.code)).filter(|topic| !looks(topic)) {
            refused.push(case.refuse("scaling-lag", object, format!("reads {topic} and does not grow with it")));
        }
    }
    refused
}

/// Connections of a database for migrations, operators, Patroni, superusers and people.
const RESERVE: u64 = 25;
/// What a connection takes of the server's memory before it has touched a shared buffer, in MiB.
const BACKEND: u64 = 10;

/// Everybody who may run at once gets a connection, and the server has the memory for that many (docs/adr/0045).
pub fn connections(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for server in case.of("postgresql") {
        let mut want = |good: bool, why: String| {
            if !good {
                refused.push(case.refuse("scaling-connections", server, why));
            }
        };
        let spec = &server.value["spec"];
        let parameters = &spec["postgresql"]["parameters"];
        let has = count(&parameters["max_connections"], "");
        let held = held(case);
        want(held <= has, format!("may be asked for {held} connections, and has {has}"));
        let memory = count(&spec["resources"]["limits"]["memory"], "Gi") * 1024;
        let shared = count(&parameters["shared_buffers"], "GB") * 1024;
        // eight bytes for each page of 4 KiB that a connection has touched: a 512th
        let used = shared + has * (BACKEND + shared / 512);
        want(shared > 0 && used <= memory, format!("may use {used} MiB with {has} connections, of {memory}"));
    }
    if case.place.is_some() && case.of("postgresql").next().is_none() {
        refused.push(case.lacks("scaling-connections", "nobody gives connections"));
    }
    refused
}

/// The most connections that a site may hold.
fn held(case: &Case<'_>) -> u64 {
    let workload = |object: &Object| {
        let spec = &object.value["spec"];
        let pools =
            object.containers().filter_map(|container| settings::value(container, DATABASE_POOL)?.parse::<u64>().ok());
        let pool: u64 = pools.sum();
        let target = &object.value["metadata"]["name"];
        let scaled = case.of("ScaledObject").find(|one| one.value["spec"]["scaleTargetRef"]["name"] == *target);
        let most = scaled.map_or(&spec["replicas"], |scaled| &scaled.value["spec"]["maxReplicaCount"]);
        // the relay of a process that works holds its lock on a connection beside the pool
        let beside = u64::from(pool > 0 && object.label("app.kubernetes.io/component") == "work");
        (number(most) + number(&spec["strategy"]["rollingUpdate"]["maxSurge"])) * (pool + beside)
    };
    let issuer = |object: &Object| {
        let spec = &object.value["spec"];
        number(&spec["instances"]) * number(&spec["db"]["poolMaxSize"])
    };
    RESERVE + case.of("Deployment").map(workload).sum::<u64>() + case.of("Keycloak").map(issuer).sum::<u64>()
}

/// A number that is written as text, with its unit; nought when it is none.
fn count(value: &Value, unit: &str) -> u64 {
    value.as_str().and_then(|text| text.strip_suffix(unit)?.parse().ok()).unwrap_or(0)
}

/// Five times the load with the room that the site keeps, as though nothing else grew.
pub fn speed(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    let times = StartTimes::read(case.root);
    for object in case.of("ScaledObject").filter(|_| !case.is_standby()) {
        let mut triggers = object.value["spec"]["triggers"].as_array().into_iter().flatten();
        if !triggers.any(|trigger| trigger["type"] == "prometheus") {
            continue;
        }
        let workload = match &times {
            Ok(times) => Workload::read(object, case.objects(), times).map_err(|error| format!("{error:#}")),
            Err(error) => Err(format!("{error:#}")),
        };
        let why = match workload.map(|workload| alone(&workload, Size::room(case.objects()), FIVE).ready_after_s) {
            Ok(Some(seconds)) if seconds <= ALONE_S => continue,
            Ok(Some(seconds)) => format!("five times the load is met after {seconds} s"),
            Ok(None) => "five times the load is never met".to_owned(),
            Err(why) => why,
        };
        refused.push(case.refuse("scaling-speed", object, why));
    }
    refused
}

/// What consumes does not run at a standby: the mirror moves only the offsets of groups that nobody is in.
pub fn standby(case: &Case<'_>) -> Vec<Refusal> {
    if !case.is_standby() {
        return Vec::new();
    }
    let mut refused = Vec::new();
    for object in case.of("ScaledObject").filter(|object| object.label("app.kubernetes.io/component") == "work") {
        if object.value["metadata"]["annotations"]["autoscaling.keda.sh/paused-replicas"] != "0" {
            refused.push(case.refuse("scaling-standby", object, "consumes while the site stands by"));
        }
    }
    // until the scaler has looked for the first time, the Deployment says how many there are
    let works = |object: &&Object| object.label("app.kubernetes.io/component") == "work";
    for object in case.of("Deployment").filter(works).filter(|object| object.value["spec"]["replicas"] != 0) {
        refused.push(case.refuse("scaling-standby", object, "consumes before its scaler is there"));
    }
    for object in case.of("Job").filter(|object| object.label("app.kubernetes.io/component") == "migrate") {
        refused.push(case.refuse("scaling-standby", object, "migrates tables that arrive by replication"));
    }
    refused
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
