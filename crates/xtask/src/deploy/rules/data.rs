//! Stores: topics are those of the table and no others, mirrors read where they may and take what they may, a standby is one.

use serde_json::Value;

use super::super::objects::Object;
use super::rights::readers;
use super::{Case, Refusal};
use crate::render::topology::{Region, Site};

/// Topics of the cluster are those of the table, with its partitions, retention and cleanup, and the one of aggregates.
pub fn topics(case: &Case<'_>) -> Vec<Refusal> {
    let Some((region, _)) = case.place else { return Vec::new() };
    let mut refused = Vec::new();
    for topic in &case.sources.topics {
        let name = topic.name(&region.code);
        match case.of("KafkaTopic").find(|object| object.name() == name) {
            None => refused.push(case.lacks("topics", format!("{name} is not made"))),
            Some(object) => {
                let spec = &object.value["spec"];
                let retention = topic.retention_ms.to_string();
                let fits = spec["partitions"] == topic.partitions
                    && spec["config"]["retention.ms"] == retention
                    && spec["config"]["cleanup.policy"] == topic.cleanup
                    && object.label("shopsphere.example/dataclass") == topic.class;
                if !fits || spec["replicas"].as_u64() < Some(3) || spec["config"]["min.insync.replicas"] != "2" {
                    refused.push(case.refuse(
                        "topics",
                        object,
                        "is not what the table of topics says, in three copies",
                    ));
                }
            }
        }
    }
    let aggregates = case.topology().aggregates(region);
    for object in case.of("KafkaTopic") {
        let known = case.sources.topics.iter().any(|topic| topic.name(&region.code) == object.name());
        if object.name() == aggregates {
            if object.label("shopsphere.example/dataclass") != "anonymous" {
                refused.push(case.refuse("topics", object, "is for headquarters and does not say it is anonymous"));
            }
        } else if !known {
            refused.push(case.refuse("topics", object, "is not in the table, so nobody said how personal it is"));
        }
    }
    if !case.of("KafkaTopic").any(|object| object.name() == aggregates) {
        refused.push(case.lacks("topics", format!("{aggregates} is not made")));
    }
    refused
}

/// What a pattern of MirrorMaker matches. Patterns of ours are literal but for `.*` and escaped points; anything else is refused.
fn matches(pattern: &str, name: &str) -> bool {
    pattern.split([',', '|']).any(|one| {
        let literal = one.replace("\\.", "\u{1}");
        match literal.split_once(".*") {
            Some((front, back)) => {
                let (front, back) = (front.replace('\u{1}', "."), back.replace('\u{1}', "."));
                name.len() >= front.len() + back.len() && name.starts_with(&front) && name.ends_with(&back)
            }
            None => literal.replace('\u{1}', ".") == name,
        }
    })
}

fn mirrors(object: &Object) -> impl Iterator<Item = &Value> {
    object.value["spec"]["mirrors"].as_array().into_iter().flatten()
}

/// From which brokers a site may copy: a standby from its peer, headquarters from the primary of each region.
fn sources(case: &Case<'_>) -> Vec<(String, String)> {
    let topology = case.topology();
    let of = |region: &Region, site: &Site| format!("{}:9094", topology.broker(region, site));
    match case.place {
        Some((region, site)) => vec![(of(region, region.peer(site)), format!(r"{}\..*\.v1", region.code))],
        None => {
            let escaped = |region: &Region| topology.aggregates(region).replace('.', r"\.");
            topology.regions.iter().map(|region| (of(region, region.primary()), escaped(region))).collect()
        }
    }
}

/// Mirrors copy within a region from the peer, and to headquarters the one topic of each region. Wherever they read, they write nothing.
pub fn mirror(case: &Case<'_>) -> Vec<Refusal> {
    let allowed = sources(case);
    let mut read = Vec::new();
    let mut refused = Vec::new();
    for object in case.of("KafkaMirrorMaker2") {
        let mut want = |good: bool, why: String| {
            if !good {
                refused.push(case.refuse("mirror", object, why));
            }
        };
        let own = format!("kafka-kafka-bootstrap.{}.svc:9093", object.namespace());
        let target = &object.value["spec"]["target"]["bootstrapServers"];
        want(target == own.as_str(), format!("writes to {target}, which is not beside it"));
        for mirror in mirrors(object) {
            let pattern = mirror["topicsPattern"].as_str().unwrap_or(".*");
            let from = mirror["source"]["bootstrapServers"].as_str().unwrap_or_default();
            let expected = allowed.iter().find(|(broker, _)| broker == from).map(|(_, pattern)| pattern.as_str());
            read.push(from);
            want(expected.is_some(), format!("reads from {from}, from where nothing may be copied to here"));
            for (connector, needed) in [("sourceConnector", true), ("checkpointConnector", case.place.is_some())] {
                let config = &mirror[connector]["config"];
                let there = !mirror[connector].is_null();
                want(there == needed, format!("has no {connector} where it needs one, or one too many"));
                if !needed {
                    continue;
                }
                want(
                    config["offset-syncs.topic.location"] == "target",
                    format!("writes by its {connector} to the side that it only should read"),
                );
                want(
                    config["replication.policy.class"] == "org.apache.kafka.connect.mirror.IdentityReplicationPolicy",
                    format!("gives topics other names by its {connector} than consumers know"),
                );
            }
            let acls = &mirror["sourceConnector"]["config"]["sync.topic.acls.enabled"];
            want(acls == "false", "brings rights along that nobody here has given".to_owned());
            if case.place.is_some() {
                let groups = format!("({}).*", readers(case).join("|"));
                want(
                    mirror["groupsPattern"] == groups.as_str(),
                    format!("takes the offsets of {}, readers are {groups}", mirror["groupsPattern"]),
                );
                let offsets = &mirror["checkpointConnector"]["config"]["sync.group.offsets.enabled"];
                want(offsets == "true", "leaves behind how far consumers have read".to_owned());
            }
            for region in &case.topology().regions {
                let ours = case.place.is_some_and(|(ours, _)| ours.code == region.code);
                for topic in &case.sources.topics {
                    let name = topic.name(&region.code);
                    let taken = matches(pattern, &name);
                    want(
                        !taken || ours || topic.class == "anonymous",
                        format!("takes {name}, which is {} and may not leave", topic.class),
                    );
                    want(taken || !ours, format!("leaves {name} behind"));
                }
            }
            want(
                expected.is_none_or(|expected| expected == pattern),
                format!("{pattern} admits topics that nobody has thought of, or misses some"),
            );
        }
    }
    // headquarters without a region's figures, and a standby without its region's events
    if case.place.is_none() || case.is_standby() {
        let silent = allowed.iter().filter(|(broker, _)| !read.contains(&broker.as_str()));
        refused.extend(silent.map(|(broker, _)| case.lacks("mirror", format!("nothing is copied from {broker}"))));
    }
    refused
}

/// A standby site's stores stand by, a primary's do not, and no acknowledged commit lies in one copy only.
pub fn roles(case: &Case<'_>) -> Vec<Refusal> {
    let Some((region, site)) = case.place else { return Vec::new() };
    let mut refused = Vec::new();
    for object in case.of("postgresql") {
        let spec = &object.value["spec"];
        let mut want = |good: bool, why: &str| {
            if !good {
                refused.push(case.refuse("store-roles", object, why));
            }
        };
        if case.is_standby() {
            let peer = format!("postgres.{}", case.topology().site_domain(region, region.peer(site)));
            want(spec["standby"]["standby_host"] == peer.as_str(), "does not follow the other site of its pair");
        } else {
            want(spec["standby"].is_null(), "follows somebody, and nobody leads");
            want(
                spec["patroni"]["synchronous_mode"] == true && spec["patroni"]["synchronous_mode_strict"] == true,
                "acknowledges commits that one machine has",
            );
            want(spec["numberOfInstances"].as_u64() >= Some(3), "has no two standbys inside the site");
        }
        let patroni = |key: &str| spec["patroni"][key].as_u64().unwrap_or(0);
        want(
            patroni("loop_wait") + 2 * patroni("retry_timeout") <= patroni("ttl"),
            "may lose its lease while it still tries",
        );
    }
    for object in case.of("PerconaServerMongoDB") {
        let spec = &object.value["spec"];
        if spec["unmanaged"] != case.is_standby() {
            refused.push(case.refuse(
                "store-roles",
                object,
                "is managed where it should stand by, or the other way round",
            ));
        }
        let elects = |node: &Value| node["votes"] != 0 || node["priority"] != 0;
        if spec["replsets"][0]["externalNodes"].as_array().into_iter().flatten().any(elects) {
            refused.push(case.refuse("store-roles", object, "the other site could become primary by an election"));
        }
    }
    let mirrored = case.of("KafkaMirrorMaker2").next().is_some();
    if mirrored != case.is_standby()
        && let Some(kafka) = case.of("Kafka").next()
    {
        refused.push(case.refuse("store-roles", kafka, "a standby mirrors, and a primary does not"));
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_read_as_the_mirror_reads_them() {
        let cases = [
            (r"eu\..*\.v1", "eu.order.created.v1", true),
            (r"eu\..*\.v1", "us.order.created.v1", false),
            (r"eu\.hq\.aggregates\.v1", "eu.hq.aggregates.v1", true),
            (r"eu\.hq\.aggregates\.v1", "eu.user.registered.v1", false),
            (r"eu\.hq\.aggregates\.v1|eu\.user\.registered\.v1", "eu.user.registered.v1", true),
            (r".*", "eu.user.registered.v1", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
