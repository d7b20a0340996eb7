//! Stores: rights of Kafka are the topic table and nothing more, mirrors take what they may, a standby is one.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::objects::Object;
use super::{Case, Refusal};
use crate::render::services::SERVICES;

/// What a user may do: operation, kind of resource, name.
fn rights(user: &Object) -> BTreeSet<(String, String, String)> {
    let acls = user.value["spec"]["authorization"]["acls"].as_array().into_iter().flatten();
    acls.flat_map(|acl| {
        let resource = &acl["resource"];
        let word = |key: &str| resource[key].as_str().unwrap_or_default().to_owned();
        let name = if word("patternType") == "prefix" { format!("{}*", word("name")) } else { word("name") };
        let operations = acl["operations"].as_array().into_iter().flatten();
        let kind = word("type");
        operations
            .filter_map(|operation| operation.as_str().map(str::to_owned))
            .map(move |operation| (operation, kind.clone(), name.clone()))
            .collect::<Vec<_>>()
    })
    .collect()
}

pub fn table(case: &Case<'_>) -> Vec<Refusal> {
    let Some((region, _)) = case.place else { return Vec::new() };
    let mut refused = Vec::new();
    for service in SERVICES {
        let Some(user) = case.of("KafkaUser").find(|user| user.name() == format!("{service}-kafka")) else {
            refused
                .extend(case.of("Kafka").map(|kafka| case.refuse("rights", kafka, format!("{service} has no user"))));
            continue;
        };
        let mut wanted = BTreeSet::new();
        let mut want = |operation: &str, kind: &str, name: String| {
            _ = wanted.insert((operation.to_owned(), kind.to_owned(), name))
        };
        for topic in &case.sources.topics {
            if topic.writer == service {
                want("Write", "topic", topic.name(&region.code));
                want("Describe", "topic", topic.name(&region.code));
            }
            if topic.readers.iter().any(|reader| reader == service) {
                want("Read", "topic", topic.name(&region.code));
                want("Describe", "topic", topic.name(&region.code));
                want("Read", "group", format!("{service}*"));
                want("Describe", "group", format!("{service}*"));
            }
        }
        let given = rights(user);
        for (operation, kind, name) in given.difference(&wanted) {
            refused.push(case.refuse(
                "rights",
                user,
                format!("may {operation} {kind} {name}, which the table of topics does not say"),
            ));
        }
        for (operation, kind, name) in wanted.difference(&given) {
            refused.push(case.refuse(
                "rights",
                user,
                format!("may not {operation} {kind} {name}, which the table of topics says"),
            ));
        }
        if user.value["spec"]["authentication"]["type"] != "tls" {
            refused.push(case.refuse("rights", user, "proves itself by nothing"));
        }
    }
    refused
}

/// Topics of the cluster are those of the table, with its partitions, retention and cleanup, and the one of aggregates.
pub fn topics(case: &Case<'_>) -> Vec<Refusal> {
    let Some((region, _)) = case.place else { return Vec::new() };
    let mut refused = Vec::new();
    for topic in &case.sources.topics {
        let name = topic.name(&region.code);
        match case.of("KafkaTopic").find(|object| object.name() == name) {
            None => refused
                .extend(case.of("Kafka").map(|kafka| case.refuse("topics", kafka, format!("{name} is not made")))),
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

pub fn mirror(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.of("KafkaMirrorMaker2") {
        for mirror in mirrors(object) {
            let pattern = mirror["topicsPattern"].as_str().unwrap_or(".*");
            let config = &mirror["sourceConnector"]["config"];
            if config["offset-syncs.topic.location"] != "target" {
                refused.push(case.refuse("mirror", object, "writes to the side that it only should read"));
            }
            if config["replication.policy.class"] != "org.apache.kafka.connect.mirror.IdentityReplicationPolicy" {
                refused.push(case.refuse("mirror", object, "gives topics other names than consumers know"));
            }
            for region in &case.topology().regions {
                for topic in &case.sources.topics {
                    let taken = matches(pattern, &topic.name(&region.code));
                    let ours = case.place.is_some_and(|(ours, _)| ours.code == region.code);
                    if taken && !ours && topic.class != "anonymous" {
                        let name = topic.name(&region.code);
                        refused.push(case.refuse(
                            "mirror",
                            object,
                            format!("takes {name}, which is {} and may not leave", topic.class),
                        ));
                    }
                    if !taken && ours {
                        refused.push(case.refuse(
                            "mirror",
                            object,
                            format!("leaves {} behind", topic.name(&region.code)),
                        ));
                    }
                }
            }
            let unbounded = case.place.is_none() && pattern.contains('*');
            if unbounded {
                refused.push(case.refuse(
                    "mirror",
                    object,
                    format!("{pattern} admits topics that nobody has thought of"),
                ));
            }
        }
    }
    refused
}

/// Topics and users are objects that somebody makes something of: each belongs to a cluster whose operator looks where it lies, and that has
/// a broker for every copy.
pub fn operators(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    let cluster = |object: &Object| {
        let name = object.label("strimzi.io/cluster").to_owned();
        case.of("Kafka").find(move |kafka| kafka.name() == name)
    };
    for object in case.of("KafkaTopic").chain(case.of("KafkaUser")) {
        let operator = if object.kind() == "KafkaTopic" { "topicOperator" } else { "userOperator" };
        let looks = cluster(object).is_some_and(|kafka| {
            let operator = &kafka.value["spec"]["entityOperator"][operator];
            let place = operator["watchedNamespace"].as_str().unwrap_or(kafka.namespace());
            !operator.is_null() && place == object.namespace()
        });
        if !looks {
            refused.push(case.refuse("kafka-objects", object, "no operator looks for it there"));
        }
    }
    for kafka in case.of("Kafka") {
        let pools = case.of("KafkaNodePool").filter(|pool| pool.label("strimzi.io/cluster") == kafka.name());
        let is_broker = |pool: &&Object| {
            pool.value["spec"]["roles"].as_array().is_some_and(|roles| roles.contains(&"broker".into()))
        };
        let brokers: u64 = pools.filter(is_broker).filter_map(|pool| pool.value["spec"]["replicas"].as_u64()).sum();
        for topic in case.of("KafkaTopic").filter(|topic| topic.value["spec"]["replicas"].as_u64() > Some(brokers)) {
            refused.push(case.refuse("kafka-objects", topic, format!("wants more copies than the {brokers} brokers")));
        }
        if kafka.value["spec"]["kafka"]["config"]["auto.create.topics.enable"] != false {
            refused.push(case.refuse("kafka-objects", kafka, "makes topics that nobody has thought of"));
        }
    }
    refused
}

/// Users of PostgreSQL have the password of the region's store: the operator looks for it in a Secret of a certain name and makes one up
/// otherwise, which the other site of the pair, a copy of the first, does not know.
pub fn passwords(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.of("postgresql") {
        let users = object.value["spec"]["users"].as_object().into_iter().flatten().map(|(user, _)| user.as_str());
        for user in users.chain(["postgres", "standby"]) {
            let name = format!("{}.{}.credentials.postgresql.acid.zalan.do", user.replace('_', "-"), object.name());
            let made = |one: &Object| one.name() == name && one.namespace() == object.namespace();
            if !case.of("ExternalSecret").any(made) {
                refused.push(case.refuse(
                    "store-passwords",
                    object,
                    format!("the password of {user} is made up: {name} is missing"),
                ));
            }
        }
    }
    // and whoever is told to log in to MongoDB as somebody is one of its users; a copy has those of its primary
    for object in case.of("PerconaServerMongoDB").filter(|_| !case.is_standby()) {
        let users = object.value["spec"]["users"].as_array();
        let is_user = |name: &str| users.is_some_and(|users| users.iter().any(|user| user["name"] == name));
        for secret in case.of("ExternalSecret") {
            let texts = secret.texts();
            let named = texts.iter().filter_map(|(_, text)| text.strip_prefix("mongodb://")?.split(':').next());
            for name in named.filter(|name| !is_user(name)) {
                refused.push(case.refuse(
                    "store-passwords",
                    object,
                    format!("has no user {name}, as whom {secret} logs in"),
                ));
            }
        }
    }
    refused
}

/// The replication slot that a site of that name reads from at its peer; the charts' `shopsphere.slot`.
fn slot(site: &str) -> String {
    format!("shopsphere_{}", site.replace('-', "_"))
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
            let env = spec["env"].as_array().into_iter().flatten();
            let reads = env
                .filter(|row| row["name"] == "STANDBY_PRIMARY_SLOT_NAME")
                .any(|row| row["value"] == slot(&site.name));
            want(reads, "reads from no slot: what it has not got yet may be thrown away, and payments wait for ever");
            want(spec["patroni"]["slots"].is_null(), "keeps its log for a reader that does not come");
        } else {
            want(spec["standby"].is_null(), "follows somebody, and nobody leads");
            let theirs = slot(&region.peer(site).name);
            want(spec["patroni"]["slots"][&theirs]["type"] == "physical", "has no slot for its standby");
            let settings = case.of("ConfigMap").find(|map| map.name() == "order-payment-settings");
            let gate = settings.map(|map| &map.value["data"]["SHOPSPHERE__GATE__SLOT"]);
            want(gate.is_some_and(|gate| *gate == theirs), "payments do not wait for its standby");
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
    for object in case.of("Keycloak") {
        if case.is_standby() != (object.value["spec"]["instances"] == 0) {
            refused.push(case.refuse(
                "store-roles",
                object,
                "starts where the database takes no writes, or does not where it does",
            ));
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
