//! What a pod needs is within its reach: a way to every address inside the site that it is told, somebody of that name behind it, a way to
//! the API server where it asks that, the address of who comes from another site, and somebody who makes every Secret it is given.
//! Decided here: headquarters are judged like a site; what a hook needs is there before its own release is, and of the pods that operators
//! make only their labels are known. A service's port is the port of its pods; ours are, and so are the stores'.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::objects::Object;
use super::{Case, Refusal};

const NAME: &str = "app.kubernetes.io/name";

/// An address inside the site.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Address {
    service: String,
    namespace: String,
    port: u64,
}

/// Every `service.namespace.svc:port` of a text.
fn addresses(text: &str) -> Vec<Address> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
    let one = |(at, mark): (usize, &str)| {
        let host = text[..at].rsplit(|letter: char| !is_name(letter)).next()?;
        let (service, namespace) = host.rsplit_once('.')?;
        let port: String = text[at + mark.len()..].chars().take_while(char::is_ascii_digit).collect();
        Some(Address { service: service.to_owned(), namespace: namespace.to_owned(), port: port.parse().ok()? })
    };
    text.match_indices(".svc:").filter_map(one).collect()
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What the containers of a workload are told: on their command lines, in their variables, in the Secrets these come from.
fn told(case: &Case<'_>, object: &Object) -> BTreeSet<Address> {
    let mut texts: Vec<&str> = Vec::new();
    for container in object.containers() {
        texts.extend(list(&container["args"]).chain(list(&container["command"])).filter_map(Value::as_str));
        for row in list(&container["env"]) {
            texts.extend(row["value"].as_str());
            let from = &row["valueFrom"]["secretKeyRef"];
            let key = from["key"].as_str().unwrap_or_default();
            let made = case
                .of("ExternalSecret")
                .find(|one| one.namespace() == object.namespace() && from["name"].as_str() == Some(one.name()));
            texts.extend(made.and_then(|made| made.value["spec"]["target"]["template"]["data"][key].as_str()));
        }
    }
    texts.into_iter().flat_map(addresses).collect()
}

/// Made and waited for before anything else of its release.
fn is_hook(object: &Object) -> bool {
    !object.value["metadata"]["annotations"]["helm.sh/hook"].is_null()
}

/// Whether `one` is there when `object` starts.
fn in_time(one: &Object, object: &Object) -> bool {
    !is_hook(object) || is_hook(one) || one.layer != object.layer
}

/// Does a policy choose pods with these labels?
pub(super) fn chooses(policy: &Object, labels: &Value) -> bool {
    let selector = &policy.value["spec"]["podSelector"];
    let wanted = selector["matchLabels"].as_object();
    selector["matchExpressions"].is_null()
        && wanted.is_none_or(|wanted| wanted.iter().all(|(key, value)| &labels[key] == value))
}

/// Does a rule of a policy (`to` or `from` somebody) open a port for a peer?
pub(super) fn opens(rule: &Value, side: &str, port: u64, is_peer: impl Fn(&Value) -> bool) -> bool {
    rule["ports"].as_array().is_none_or(|ports| ports.iter().any(|open| open["port"] == port))
        && rule[side].as_array().is_none_or(|peers| peers.iter().any(&is_peer))
}

/// Is a peer of a policy in `own` the namespace `wanted`, and if it names one of our services, `service`?
fn is_in(peer: &Value, own: &str, wanted: &str, service: &str) -> bool {
    let namespace = match peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"].as_str() {
        Some(name) => name == wanted,
        None => peer["namespaceSelector"].is_null() && peer["ipBlock"].is_null() && own == wanted,
    };
    namespace && peer["podSelector"]["matchLabels"][NAME].as_str().is_none_or(|name| name == service)
}

/// Is there a service of that name, made by us or by the operator of an object?
fn is_served(case: &Case<'_>, Address { service, namespace, .. }: &Address) -> bool {
    let serves = |object: &Object| {
        let ends = |end: &str| service.strip_suffix(end) == Some(object.name());
        match object.kind() {
            "Service" | "postgresql" | "Redis" => service == object.name(),
            "Kafka" => ends("-kafka-bootstrap"),
            "Elasticsearch" => ends("-es-http"),
            "Keycloak" => ends("-service"),
            "OpenTelemetryCollector" => ends("-collector"),
            "PerconaServerMongoDB" => list(&object.value["spec"]["replsets"])
                .any(|set| set["name"].as_str().is_some_and(|set| ends(&format!("-{set}")))),
            _ => false,
        }
    };
    case.objects().iter().any(|object| object.namespace() == namespace && serves(object))
}

pub fn ways(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.objects() {
        let Some(pod) = object.pod() else { continue };
        let (here, labels) = (object.namespace(), &pod["metadata"]["labels"]);
        let own_name = labels[NAME].as_str().unwrap_or_default();
        for address in told(case, object) {
            if !is_served(case, &address) {
                let why = format!("is told to ask {}.{}, and nobody is called so", address.service, address.namespace);
                refused.push(case.refuse("ways", object, why));
            }
            let Address { service, namespace, port } = address;
            let out = case.of("NetworkPolicy").any(|policy| {
                policy.namespace() == here
                    && chooses(policy, labels)
                    && in_time(policy, object)
                    && list(&policy.value["spec"]["egress"])
                        .any(|rule| opens(rule, "to", port, |peer| is_in(peer, here, &namespace, &service)))
            });
            let of_ours = case.sources.services.iter().any(|one| one.name == service);
            let target = json!({NAME: service});
            let into = case.of("NetworkPolicy").any(|policy| {
                policy.namespace() == namespace
                    && (!of_ours || chooses(policy, &target))
                    && list(&policy.value["spec"]["ingress"])
                        .any(|rule| opens(rule, "from", port, |peer| is_in(peer, &namespace, here, own_name)))
            });
            for (open, who) in [(out, "lets it out to"), (into, "lets it in at")] {
                if !open {
                    let why = format!("no policy {who} {service}.{namespace}:{port}, which it is told to ask");
                    refused.push(case.refuse("ways", object, why));
                }
            }
        }
    }
    refused
}

/// Operators that make a policy of their own, in addition to ours, with which everybody may come in at the ports of their pods.
const OPENERS: [&str; 2] = ["Keycloak", "OpenTelemetryCollector"];

/// Who may come in is said by us alone: policies add up.
pub fn only_ours(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    for object in case.objects().iter().filter(|object| OPENERS.contains(&object.kind())) {
        if object.value["spec"]["networkPolicy"]["enabled"] != false {
            refused.push(case.refuse("only-ours", object, "is opened to everybody by its operator"));
        }
    }
    refused
}

/// The port behind the API server's own service.
const API_SERVER: u64 = 6443;

/// Who asks the API server can: Patroni, whose lease lies there; brokers and Kafka's operators of topics and users; mirrors, whose
/// certificates Strimzi (0.47 and newer) has them read there; ours that have a token.
pub fn api_server(case: &Case<'_>) -> Vec<Refusal> {
    let network = case.place.map_or(&case.topology().headquarters.network, |(_, site)| &site.network);
    let asks = |object: &Object| match object.kind() {
        "postgresql" => Some(json!({"application": "spilo"})),
        "Kafka" => Some(json!({"strimzi.io/cluster": object.name()})),
        "KafkaMirrorMaker2" => {
            Some(json!({"strimzi.io/cluster": object.name(), "strimzi.io/kind": "KafkaMirrorMaker2"}))
        }
        _ => {
            let pod = object.pod()?;
            let sources = list(&pod["spec"]["volumes"]).flat_map(|volume| list(&volume["projected"]["sources"]));
            let has_token = sources.into_iter().any(|source| !source["serviceAccountToken"].is_null());
            has_token.then(|| pod["metadata"]["labels"].clone())
        }
    };
    let mut refused = Vec::new();
    for object in case.objects() {
        let Some(labels) = asks(object) else { continue };
        let open = case.of("NetworkPolicy").any(|policy| {
            policy.namespace() == object.namespace()
                && chooses(policy, &labels)
                && list(&policy.value["spec"]["egress"])
                    .any(|rule| opens(rule, "to", API_SERVER, |peer| peer["ipBlock"]["cidr"] == network.as_str()))
        });
        if !open {
            refused.push(case.refuse("api-server", object, "no policy lets its pods ask the API server"));
        }
    }
    refused
}

/// What comes through a balancer is let in by the address it comes from: that has to arrive.
pub fn sources(case: &Case<'_>) -> Vec<Refusal> {
    let hides = |object: &&Object| {
        let spec = &object.value["spec"];
        let local = |value: &Value| value["externalTrafficPolicy"] == "Local";
        match object.kind() {
            "Service" => spec["type"] == "LoadBalancer" && !local(spec),
            "Kafka" => list(&spec["kafka"]["listeners"])
                .any(|listener| listener["type"] == "loadbalancer" && !local(&listener["configuration"])),
            "PerconaServerMongoDB" => {
                list(&spec["replsets"]).any(|set| set["expose"]["type"] == "LoadBalancer" && !local(&set["expose"]))
            }
            _ => false,
        }
    };
    let why = "its policies see a node, not who comes";
    case.objects().iter().filter(hides).map(|object| case.refuse("sources", object, why)).collect()
}

/// Secrets that a value refers to, each with the keys that it wants.
fn wanted(value: &Value, found: &mut Vec<(String, Vec<String>)>) {
    list(value).for_each(|item| wanted(item, found));
    let Some(map) = value.as_object() else { return };
    let text = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
    if let Some(name) = text("secretName") {
        found.push((name, ["certificate", "key"].into_iter().filter_map(text).collect()));
    }
    if text("kind").as_deref() == Some("Secret") {
        found.extend(text("name").map(|name| (name, Vec::new())));
    }
    for (key, inner) in map {
        let refers =
            ["secretKeyRef", "secretRef", "SecretRef", "Secret", "secret"].iter().any(|end| key.ends_with(end));
        let one = |value: &Value| {
            let keys: Vec<String> = value["key"].as_str().map(str::to_owned).into_iter().collect();
            value["name"].as_str().map(|name| (name.to_owned(), keys))
        };
        match key.as_str() {
            "secretTargetRef" => found.extend(list(inner).filter_map(one)),
            "secrets" => {
                let names = inner.as_object().into_iter().flatten().filter_map(|(_, name)| name.as_str());
                found.extend(names.map(|name| (name.to_owned(), Vec::new())));
            }
            _ if refers => found.extend(one(inner)),
            _ => {}
        }
        wanted(inner, found);
    }
}

/// The Secret that comes of an object: its name and its keys.
fn makes(object: &Object) -> Option<(String, BTreeSet<String>)> {
    let spec = &object.value["spec"];
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
    match object.kind() {
        "ExternalSecret" => {
            let data = spec["target"]["template"]["data"].as_object();
            let named = data.into_iter().flatten().map(|(key, _)| key.clone());
            let plain = list(&spec["data"]).filter_map(|row| row["secretKey"].as_str().map(str::to_owned));
            let keys = if data.is_some() { named.collect() } else { plain.collect() };
            Some((spec["target"]["name"].as_str().unwrap_or(object.name()).to_owned(), keys))
        }
        "Certificate" => Some((spec["secretName"].as_str()?.to_owned(), keys(&["ca.crt", "tls.crt", "tls.key"]))),
        "KafkaUser" if spec["authentication"]["type"] == "tls" => {
            Some((object.name().to_owned(), keys(&["ca.crt", "user.crt", "user.key"])))
        }
        "Kafka" if spec["clusterCa"]["generateCertificateAuthority"] != false => {
            Some((format!("{}-cluster-ca-cert", object.name()), keys(&["ca.crt"])))
        }
        _ => None,
    }
}

pub fn secrets(case: &Case<'_>) -> Vec<Refusal> {
    let made: Vec<_> = case.objects().iter().filter_map(|object| Some((object, makes(object)?))).collect();
    let mut refused = Vec::new();
    for object in case.objects().iter().filter(|object| makes(object).is_none()) {
        let mut found = Vec::new();
        wanted(&object.value["spec"], &mut found);
        for (name, keys) in found {
            let maker = made.iter().find(|(maker, (made, _))| {
                maker.namespace() == object.namespace() && *made == name && in_time(maker, object)
            });
            let why = match maker {
                None => format!("nobody has made the Secret {name} when it is needed"),
                Some((_, (_, has))) => match keys.into_iter().find(|key| !has.contains(key)) {
                    Some(key) => format!("the Secret {name} has no {key}"),
                    None => continue,
                },
            };
            refused.push(case.refuse("secrets-made", object, why));
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_wherever_they_stand_in_a_text() {
        let address = |service: &str, port| Address { service: service.to_owned(), namespace: "data".to_owned(), port };
        for (text, expected) in [
            ("http://catalog.data.svc:8112", vec![address("catalog", 8112)]),
            ("postgres://a:{{ .p }}@pg-1.data.svc:5432/db?sslmode=require", vec![address("pg-1", 5432)]),
            ("--keys=http://k.data.svc:8080/certs", vec![address("k", 8080)]),
            ("a.data.svc:1,b.data.svc:2", vec![address("a", 1), address("b", 2)]),
            ("https://payments.eu.gateway.example", vec![]),
            ("x.data.svc", vec![]),
        ] {
            assert_eq!(addresses(text), expected, "{text}");
        }
    }

    #[test]
    fn references_are_found_at_every_depth_with_their_keys() {
        let value = json!({
            "env": [{"valueFrom": {"secretKeyRef": {"name": "a", "key": "k"}}}],
            "volumes": [{"secret": {"secretName": "b"}}],
            "tls": {"certificateAndKey": {"secretName": "c", "certificate": "crt", "key": "key"}},
            "secretTargetRef": [{"parameter": "ca", "name": "d", "key": "ca.crt"}],
            "secrets": {"users": "e"},
            "certificateRefs": [{"kind": "Secret", "name": "f"}],
        });
        let mut found = Vec::new();
        wanted(&value, &mut found);
        found.sort();
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        let expected = [
            ("a", keys(&["k"])),
            ("b", vec![]),
            ("c", keys(&["crt", "key"])),
            ("d", keys(&["ca.crt"])),
            ("e", vec![]),
            ("f", vec![]),
        ];
        assert_eq!(found, expected.map(|(name, keys)| (name.to_owned(), keys)));
    }
}
