//! Stores: topics are those of the table and no others, mirrors read where they may and take what they may, a standby is one.

use serde_json::Value;

use super::super::objects::Object;
use super::reach::list;
use super::rights::readers;
use super::{Case, Refusal, settings};
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

/// What makes Secrets for the stores carries the marks of what is applied before them, and they do not: kubectl takes it by its label, Argo CD
/// by its wave. An operator that looks too early makes up another.
pub fn first(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.objects().iter().filter(|object| object.layer == "data") {
        let label = object.label("shopsphere.example/step");
        let wave = object.value["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"].as_str().unwrap_or_default();
        let makes = ["ExternalSecret", "Certificate", "Issuer"].contains(&object.kind());
        if makes && (label, wave) != ("access", "-1") {
            refused.push(case.refuse("secrets-first", object, "may come after an operator has made up another"));
        } else if !makes && (label, wave) != ("", "") {
            refused.push(case.refuse("secrets-first", object, "may come before the Secrets that are read for it"));
        }
    }
    refused
}

/// What members of MongoDB show is made here, of the region's authority: the operator makes nothing where it finds the Secrets that it is
/// told of, and what it would make up the other site of the pair does not believe. Members of one organisation are one set.
pub fn certificates(case: &Case<'_>) -> Vec<Refusal> {
    let Some((region, site)) = case.place else { return Vec::new() };
    let authority = format!("shopsphere/{}/mongo/ca", region.code);
    let mut refused = Vec::new();
    for object in case.of("PerconaServerMongoDB") {
        let spec = &object.value["spec"];
        let beside = |one: &&Object| one.namespace() == object.namespace();
        let mut want = |good: bool, why: String| {
            if !good {
                refused.push(case.refuse("store-certificates", object, why));
            }
        };
        want(
            spec["tls"]["issuerConf"].is_null(),
            "names an Issuer to its operator, which would write it anew".to_owned(),
        );
        let mut organisations = Vec::new();
        for key in ["ssl", "sslInternal"] {
            let secret = &spec["secrets"][key];
            let shown = case.of("Certificate").filter(beside).find(|made| made.value["spec"]["secretName"] == *secret);
            let Some(shown) = shown else {
                want(false, format!("leaves it to its operator to make up {key}"));
                continue;
            };
            let of_the_operator = ["ssl", "ssl-internal"].map(|end| format!("{}-{end}", object.name()));
            want(
                !of_the_operator.iter().any(|name| name == shown.name()),
                format!("has {key} by a name of its operator's"),
            );
            let made = &shown.value["spec"];
            let by = &made["issuerRef"];
            let issuer = case.of("Issuer").filter(beside).find(|issuer| by["name"] == issuer.name());
            let signed = issuer.is_some_and(|issuer| {
                let from = &issuer.value["spec"]["ca"]["secretName"];
                case.of("ExternalSecret").filter(beside).any(|secret| {
                    let rows = &secret.value["spec"]["data"];
                    secret.value["spec"]["target"]["name"] == *from
                        && list(rows).any(|row| row["remoteRef"]["key"] == authority.as_str())
                })
            });
            want(
                by["kind"] == "Issuer" && signed,
                format!("shows by {key} what the other site of its pair does not believe"),
            );
            let asks_and_is_asked =
                ["server auth", "client auth"].iter().all(|usage| list(&made["usages"]).any(|one| one == usage));
            want(asks_and_is_asked, format!("may not ask or not be asked with {key}"));
            organisations.push(&made["subject"]["organizations"]);
            let mut names =
                vec!["localhost".to_owned(), format!("mongo.{}", case.topology().site_domain(region, site))];
            for set in list(&spec["replsets"]).filter_map(|set| set["name"].as_str()) {
                let service = format!("{}-{set}", object.name());
                let space = object.namespace();
                for ending in
                    [String::new(), format!(".{space}"), format!(".{space}.svc"), format!(".{space}.svc.cluster.local")]
                {
                    names.extend([format!("{service}{ending}"), format!("*.{service}{ending}")]);
                }
            }
            for name in names.iter().filter(|name| !list(&made["dnsNames"]).any(|one| one == name.as_str())) {
                want(false, format!("is not called {name} by {key}"));
            }
        }
        let one_set = organisations.iter().all(|one| !one.is_null() && *one == organisations[0]);
        want(one_set, "is let in by no member: they are of different organisations, or of none".to_owned());
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
            let pays = |one: &&Object| one.label("app.kubernetes.io/name") == "order-payment";
            let mut pay = case.of("Deployment").filter(pays).flat_map(Object::containers).peekable();
            let waits = |container| settings::value(container, "SHOPSPHERE__GATE__SLOT") == Some(theirs.as_str());
            want(pay.peek().is_some() && pay.all(waits), "payments do not wait for its standby");
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

/// A store of one pod follows to another node: what lies on the disk of its own is away for as long as that is.
pub fn follows(case: &Case<'_>) -> Vec<Refusal> {
    let class = |object: &Object| {
        let claim = &object.value["spec"]["storage"]["volumeClaimTemplate"]["spec"];
        claim["storageClassName"].as_str().map(str::to_owned)
    };
    let bound = case.of("Redis").filter_map(|object| Some((object, class(object)?)));
    let bound = bound.filter(|(_, class)| class.starts_with("local-"));
    bound
        .map(|(object, class)| case.refuse("store-follows", object, format!("one pod, bound to its node by {class}")))
        .collect()
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
