//! What a region writes to is received: at headquarters somebody answers to the name and the port that the regions are told, shows a
//! certificate of that name, hears the networks of the regions' sites and nobody else, asks for a certificate of a region's authority, and
//! takes series and answers no question. In a region Prometheus has such a certificate and believes headquarters' authority only. Decided
//! here: one process stores, because a balancer hands each write to one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::objects::Object;
use super::reach::{chooses, list, opens};
use super::{Case, Refusal};

const RULE: &str = "received";

/// The port of the pod that asks for certificates; regions know 443.
const DOOR: u64 = 8443;

/// The one path that a region may call.
const WRITE: &str = "/api/v1/write";

/// What the operator calls the pods of a Prometheus.
pub(super) fn labels(prometheus: &Object) -> Value {
    json!({"app.kubernetes.io/name": "prometheus", "operator.prometheus.io/name": prometheus.name()})
}

/// Objects of a kind in the namespace of another.
fn beside<'c>(case: &'c Case<'_>, kind: &'c str, one: &'c Object) -> impl Iterator<Item = &'c Object> {
    case.of(kind).filter(move |object| object.namespace() == one.namespace())
}

pub fn received(case: &Case<'_>) -> Vec<Refusal> {
    let host = case.topology().metrics_host();
    let mut refused = Vec::new();
    for store in case.of("Prometheus") {
        let wrong = match case.place {
            Some((region, _)) => writer(case, &region.code, store),
            None => receiver(case, &host, store),
        };
        refused.extend(wrong.into_iter().map(|why| case.refuse(RULE, store, why)));
    }
    // that somebody records at all is the rule `remote-write`
    refused
}

/// What is wrong with the side that writes.
fn writer(case: &Case<'_>, region: &str, store: &Object) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut want = |good: bool, why: &str| {
        if !good {
            wrong.push(why.to_owned());
        }
    };
    let hq = &case.topology().headquarters.network;
    let out = beside(case, "NetworkPolicy", store).filter(|policy| chooses(policy, &labels(store))).any(|policy| {
        list(&policy.value["spec"]["egress"])
            .any(|rule| opens(rule, "to", 443, |peer| peer["ipBlock"]["cidr"] == hq.as_str()))
    });
    want(out, "no policy lets it out to headquarters");
    want(list(&store.value["spec"]["remoteWrite"]).next().is_some(), "writes its aggregates to nobody");
    for target in list(&store.value["spec"]["remoteWrite"]) {
        let tls = &target["tlsConfig"];
        let authority = &tls["ca"]["secret"]["name"];
        let known = beside(case, "ExternalSecret", store).any(|secret| {
            let from = format!("shopsphere/{region}/hq-authority/ca.crt");
            secret.value["spec"]["target"]["name"] == *authority
                && list(&secret.value["spec"]["data"]).any(|row| row["remoteRef"]["key"] == from.as_str())
        });
        want(known && tls["insecureSkipVerify"] != true, "believes somebody else than headquarters");
        let shown = &tls["cert"]["secret"]["name"];
        let made = beside(case, "Certificate", store).find(|made| made.value["spec"]["secretName"] == *shown);
        let signs = made.is_some_and(|made| {
            let spec = &made.value["spec"];
            let by = &spec["issuerRef"];
            let issuer = beside(case, "Issuer", store).find(|issuer| by["name"] == issuer.name());
            by["kind"] == "Issuer"
                && issuer.is_some_and(|issuer| issuer.value["spec"]["ca"]["secretName"] == "metrics-issuer")
                && list(&spec["usages"]).any(|usage| usage == "client auth")
        });
        want(
            signs && tls["keySecret"]["name"] == *shown,
            "shows no certificate of the authority that headquarters believes",
        );
    }
    wrong
}

/// What is wrong with the side that receives.
fn receiver(case: &Case<'_>, host: &str, store: &Object) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut want = |good: bool, why: &str| {
        if !good {
            wrong.push(why.to_owned());
        }
    };
    let spec = &store.value["spec"];
    want(spec["enableRemoteWriteReceiver"] == true, "takes no series in");
    want(spec["replicas"] == 1, "has a part of the series in each of its processes");
    let sites: BTreeSet<&str> = case.topology().sites().map(|(_, site)| site.network.as_str()).collect();
    let named = |service: &&Object| {
        service.value["metadata"]["annotations"]["external-dns.alpha.kubernetes.io/hostname"] == host
    };
    match beside(case, "Service", store).find(named) {
        None => want(false, &format!("nobody is called {host}")),
        Some(service) => {
            let spec = &service.value["spec"];
            let chosen = spec["selector"].as_object();
            let leads = chosen.is_some_and(|chosen| chosen.iter().all(|(key, value)| labels(store)[key] == *value));
            want(leads && spec["type"] == "LoadBalancer", &format!("{host} does not lead to it"));
            let ports: Vec<_> = list(&spec["ports"]).map(|port| (&port["port"], &port["targetPort"])).collect();
            want(ports == [(&json!(443), &json!(DOOR))], "is called at a port that regions do not know");
            let heard: BTreeSet<&str> = list(&spec["loadBalancerSourceRanges"]).filter_map(Value::as_str).collect();
            want(heard == sites, "its balancer does not answer the sites of the regions and nobody else");
        }
    }
    let policies: Vec<_> =
        beside(case, "NetworkPolicy", store).filter(|policy| chooses(policy, &labels(store))).collect();
    let rules = || policies.iter().flat_map(|policy| list(&policy.value["spec"]["ingress"]));
    for network in &sites {
        let lets = rules().any(|rule| opens(rule, "from", DOOR, |peer| peer["ipBlock"]["cidr"] == *network));
        want(lets, &format!("no policy lets {network} in"));
    }
    let shown = beside(case, "Certificate", store).find(|made| {
        list(&made.value["spec"]["dnsNames"]).any(|name| name == host)
            && list(&made.value["spec"]["usages"]).any(|usage| usage == "server auth")
    });
    let shown = shown.map_or(&Value::Null, |made| &made.value["spec"]["secretName"]);
    let believed = authorities(case, store).map_or(&Value::Null, |secret| &secret.value["spec"]["target"]["name"]);
    let door = Door::of(case, store);
    want(door.asks_everybody(), "somebody without a certificate is heard");
    want(!shown.is_null() && door.file("server.yaml", "certificate_chain", shown), "shows no certificate of its name");
    want(
        !believed.is_null() && door.file("regions.yaml", "trusted_ca", believed),
        "does not believe the authorities of the regions and nobody else",
    );
    want(door.takes_writes_only(), "answers more than writes");
    wrong
}

/// The Secret in which the authorities of all regions lie, and no other.
fn authorities<'c>(case: &'c Case<'_>, store: &'c Object) -> Option<&'c Object> {
    let regions = &case.topology().regions;
    let wanted: BTreeSet<String> =
        regions.iter().map(|region| format!("shopsphere/hq/{}/metrics-ca", region.code)).collect();
    beside(case, "ExternalSecret", store).find(|secret| {
        let spec = &secret.value["spec"];
        let from: BTreeSet<String> =
            list(&spec["data"]).filter_map(|row| row["remoteRef"]["key"].as_str().map(str::to_owned)).collect();
        let text = spec["target"]["template"]["data"]["ca.crt"].as_str().unwrap_or_default();
        from == wanted && regions.iter().all(|region| text.contains(&format!("{{{{ .{} }}}}", region.code)))
    })
}

/// What stands in front of the store and asks for certificates: its container, its settings, what is mounted where.
struct Door<'c> {
    store: &'c Object,
    container: &'c Value,
    settings: Option<&'c Object>,
}

impl<'c> Door<'c> {
    fn of(case: &'c Case<'_>, store: &'c Object) -> Self {
        let has = |container: &&Value| list(&container["ports"]).any(|port| port["containerPort"] == DOOR);
        let container = list(&store.value["spec"]["containers"]).find(has).unwrap_or(&Value::Null);
        let named = |map: &&Object| {
            list(&store.value["spec"]["volumes"]).any(|volume| volume["configMap"]["name"] == map.name())
        };
        Self { store, container, settings: beside(case, "ConfigMap", store).find(named) }
    }

    fn read(&self, file: &str) -> Value {
        let text = self.settings.and_then(|map| map.value["data"][file].as_str()).unwrap_or_default();
        serde_yaml_ng::from_str(text).unwrap_or_default()
    }

    fn chains(&self) -> Vec<Value> {
        let settings = self.read("envoy.yaml");
        let listeners = list(&settings["static_resources"]["listeners"]);
        listeners.flat_map(|listener| list(&listener["filter_chains"])).cloned().collect()
    }

    fn asks_everybody(&self) -> bool {
        let asks = |chain: &Value| {
            let tls = &chain["transport_socket"]["typed_config"];
            let authorities = &tls["common_tls_context"]["validation_context_sds_secret_config"];
            tls["require_client_certificate"] == true && !authorities["sds_config"].is_null()
        };
        let settings = self.read("envoy.yaml");
        let at_the_door = list(&settings["static_resources"]["listeners"])
            .all(|listener| listener["address"]["socket_address"]["port_value"] == DOOR);
        let chains = self.chains();
        at_the_door && !chains.is_empty() && chains.iter().all(asks)
    }

    /// Does a file of the settings take `what` from the Secret, which is mounted there?
    fn file(&self, file: &str, what: &str, secret: &Value) -> bool {
        let settings = self.read(file);
        let resource = &settings["resources"][0];
        let from = ["tls_certificate", "validation_context"].map(|kind| resource[kind][what]["filename"].as_str());
        let Some(from) = from.into_iter().flatten().next() else { return false };
        let volume =
            list(&self.store.value["spec"]["volumes"]).find(|volume| volume["secret"]["secretName"] == *secret);
        let volume = volume.map_or(&Value::Null, |volume| &volume["name"]);
        list(&self.container["volumeMounts"])
            .filter(|mount| mount["name"] == *volume)
            .filter_map(|mount| mount["mountPath"].as_str())
            .any(|path| from.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
    }

    fn takes_writes_only(&self) -> bool {
        let chains = self.chains();
        let hosts = chains
            .iter()
            .flat_map(|chain| list(&chain["filters"]))
            .flat_map(|filter| list(&filter["typed_config"]["route_config"]["virtual_hosts"]));
        let routes: Vec<_> = hosts.flat_map(|host| list(&host["routes"])).collect();
        !routes.is_empty() && routes.iter().all(|route| route["match"]["path"] == WRITE)
    }
}
