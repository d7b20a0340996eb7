//! Residency: what a site's objects name belongs to its region, to the short list of headquarters, or to nobody in particular; and the
//! ways out of a site are those that are counted here.

use std::net::Ipv4Addr;

use serde_json::Value;

use super::super::objects::Object;
use super::{Case, Refusal};
use crate::render::topology::{Topology, overlap, within};

/// Every name below our domain that a text contains.
fn our_names<'t>(text: &'t str, domain: &'t str) -> impl Iterator<Item = &'t str> {
    let suffix_end = move |at: usize| at + domain.len();
    text.match_indices(domain).filter_map(move |(at, _)| {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let after = text.as_bytes().get(suffix_end(at)).copied();
        // a path such as `shopsphere.example/region` is a label, and `…example-x` another domain
        if after.is_some_and(|byte| byte == b'-' || byte.is_ascii_alphanumeric()) {
            return None;
        }
        let start = text[..at].bytes().rposition(|byte| !is_name(byte)).map_or(0, |position| position + 1);
        Some(text[start..suffix_end(at)].trim_matches('.'))
    })
}

/// Hosts of the world outside that any site may name, with the reason.
fn shared(topology: &Topology, name: &str) -> bool {
    // labels and error types carry the bare domain; images and pages come from one place, which sees no data
    name == topology.domain || ["registry", "docs"].iter().any(|host| name == format!("{host}.{}", topology.domain))
}

/// Keys whose values are hosts though no scheme says so.
const HOST_KEYS: [&str; 6] = ["bootstrapServers", "standby_host", "host", "hostname", "externalName", "endpoint"];

/// The hosts that a text calls: behind `://`, and the whole text where the key says that it is one.
fn called<'t>(path: &str, text: &'t str) -> Vec<&'t str> {
    let key = path.rsplit('.').next().unwrap_or_default();
    let whole = (HOST_KEYS.contains(&key) && !text.contains("://")).then_some(text);
    let hosts = text.split("://").skip(1).chain(whole).map(|rest| {
        let authority = rest.split(['/', '?', '#', '"', '\'', '\\']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        host.split([':', ',', ';', ' ', ')', '\n']).next().unwrap_or_default()
    });
    hosts.collect()
}

/// May a site call a host that does not lie below our domain? Names inside the cluster, its own addresses, its gateway, and who keeps copies
/// of its public pages.
fn known(case: &Case<'_>, host: &str) -> bool {
    let inside = !host.contains('.') || host.ends_with(".svc") || host.ends_with(".svc.cluster.local");
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    if inside || !is_name || host.ends_with(&case.topology().domain) {
        return true;
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return address.is_unspecified() || address.is_loopback();
    }
    case.place.is_some_and(|(region, _)| host == region.gateway.host() || host == case.topology().cdn.api.host())
}

pub fn hosts(case: &Case<'_>) -> Vec<Refusal> {
    let topology = case.topology();
    let region = case.place.map(|(region, _)| region);
    let own = region.map_or_else(|| topology.headquarters_domain(), |region| topology.region_domain(region));
    let abroad = topology.hosts_abroad(region);
    let (_, foreign) = topology.foreign(topology.jurisdiction(region));
    let allowed = |name: &str| {
        let own = name == own || name.strip_suffix(own.as_str()).is_some_and(|front| front.ends_with('.'));
        own || shared(topology, name) || abroad.iter().any(|host| host == name)
    };
    let mut refused = Vec::new();
    for object in case.objects() {
        // the lists of what admission refuses name what is foreign on purpose
        if object.kind() == "ValidatingAdmissionPolicy" {
            continue;
        }
        for (path, text) in object.texts() {
            // names do not tell small letters from large ones
            let small = text.to_lowercase();
            let mut refuse = |what: &str, why: &str| {
                refused.push(case.refuse("residency-hosts", object, format!("{path} names {what}, {why}")));
            };
            if let Some(name) = our_names(&small, &topology.domain).find(|name| !allowed(name)) {
                refuse(name, "which lies elsewhere");
            }
            let gateways = topology.regions.iter().filter(|other| region.is_none_or(|ours| ours.code != other.code));
            if let Some(host) = gateways.map(|other| other.gateway.host()).find(|host| small.contains(host)) {
                refuse(host, "the gateway of another region");
            } else if let Some(host) = called(&path, &small).into_iter().find(|host| !known(case, host)) {
                refuse(host, "which is no host of ours");
            }
            // which networks a policy may name is judged below
            let numbers = small.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
            let lies_abroad = |address: &&str| foreign.iter().any(|network| overlap(network, address));
            if !opens(&path)
                && let Some(address) = numbers.filter(|number| number.parse::<Ipv4Addr>().is_ok()).find(lies_abroad)
            {
                refuse(address, "which lies in another jurisdiction");
            }
        }
    }
    refused
}

/// Does a path lead to a network that somebody is let in from or out to?
fn opens(path: &str) -> bool {
    path.ends_with(".ipBlock.cidr") || path.contains("oadBalancerSourceRanges[")
}

/// The ways between a region and headquarters: in which namespace, in which direction, through which port.
const WAYS: [(&str, &str, u64); 4] = [
    // headquarters pull the aggregates
    ("data", "ingress", 9094),
    ("hq", "egress", 9094),
    // a region writes recorded series, and redacted logs when somebody takes them; that it is not who reads the lines is `shipped`
    ("observability", "egress", 443),
    // what takes the series asks for certificates at a port of its own
    ("hq", "ingress", 8443),
];

/// Policies may open the way to the peer, the gateway, the CDN and headquarters, each to who needs it; to nobody else outside.
pub fn networks(case: &Case<'_>) -> Vec<Refusal> {
    let topology = case.topology();
    let open = topology.open_networks(case.place);
    let region = case.place.map(|(region, _)| region);
    let mut refused = Vec::new();
    for object in case.objects() {
        let blocks = object.texts().into_iter().filter(|(path, _)| opens(path));
        for (_, cidr) in blocks.filter(|(_, cidr)| !open.iter().any(|network| within(cidr, network))) {
            refused.push(case.refuse("residency-networks", object, format!("opens the way to or from {cidr}")));
        }
    }
    for object in case.of("NetworkPolicy") {
        for why in ["ingress", "egress"].into_iter().flat_map(|direction| strays(case, object, direction)) {
            refused.push(case.refuse("residency-networks", object, why));
        }
    }
    let (_, foreign) = topology.foreign(topology.jurisdiction(region));
    for object in case.of("EndpointSlice").chain(case.of("Endpoints")) {
        let hit = object.texts().into_iter().find(|(_, text)| foreign.iter().any(|network| overlap(network, text)));
        if let Some((_, address)) = hit {
            refused.push(case.refuse("residency-networks", object, format!("{address} lies in another jurisdiction")));
        }
    }
    for object in case.of("Service").filter(|object| !object.value["spec"]["externalIPs"].is_null()) {
        refused.push(case.refuse("residency-networks", object, "takes addresses that no cluster gave it"));
    }
    refused
}

/// What is wrong with the rules of one direction of a policy.
fn strays(case: &Case<'_>, policy: &Object, direction: &str) -> Vec<String> {
    let topology = case.topology();
    let purpose = case.of("Namespace").find(|namespace| namespace.name() == policy.namespace());
    let purpose = purpose.map_or("", |namespace| namespace.label("shopsphere.example/purpose"));
    let spec = &policy.value["spec"];
    let mut wrong = Vec::new();
    for rule in spec[direction].as_array().into_iter().flatten() {
        let peers: Vec<&Value> = ["to", "from"].iter().filter_map(|side| rule[side].as_array()).flatten().collect();
        if direction == "egress" && peers.is_empty() {
            wrong.push("opens the way to everywhere".to_owned());
        }
        let ports: Vec<u64> =
            rule["ports"].as_array().into_iter().flatten().filter_map(|port| port["port"].as_u64()).collect();
        for cidr in peers.into_iter().filter_map(|peer| peer["ipBlock"]["cidr"].as_str()) {
            let leaves = match case.place {
                Some(_) => overlap(cidr, &topology.headquarters.network),
                None => !overlap(cidr, &topology.headquarters.network),
            };
            let counted = WAYS.iter().any(|(space, way, port)| {
                *space == purpose && *way == direction && !ports.is_empty() && ports.iter().all(|one| one == port)
            });
            if leaves && !counted {
                wrong.push(format!("opens a way of its own between a region and headquarters: {direction} {ports:?}"));
            }
            let pays = case.place.is_some_and(|(region, _)| overlap(cidr, &region.gateway.network));
            if pays && spec["podSelector"]["matchLabels"]["app.kubernetes.io/name"] != "order-payment" {
                wrong.push("opens the way to the payment gateway to who takes no payments".to_owned());
            }
            let tells = case.place.is_some() && overlap(cidr, &topology.cdn.api.network);
            let of = &spec["podSelector"]["matchLabels"];
            let knows = of["app.kubernetes.io/name"] == "catalog" && of["app.kubernetes.io/component"] == "work";
            if tells && !(knows && ports == [443_u64]) {
                wrong.push("opens the way to the CDN to who has nothing to tell it".to_owned());
            }
        }
    }
    wrong
}

const LABEL: &str = "shopsphere.example/jurisdiction";

/// Namespaces and pods say where they belong, and say it right: admission compares the two.
pub fn labels(case: &Case<'_>) -> Vec<Refusal> {
    let ours = case.topology().jurisdiction(case.place.map(|(region, _)| region));
    let mut refused = Vec::new();
    for object in case.objects() {
        let pod = object.pod().map(|pod| pod["metadata"]["labels"][LABEL].as_str().unwrap_or_default());
        let said = [(object.kind() == "Namespace" || pod.is_some()).then(|| object.label(LABEL)), pod];
        for label in said.into_iter().flatten().filter(|label| *label != ours) {
            refused.push(case.refuse("residency-labels", object, format!("says jurisdiction {label:?} in {ours}")));
        }
    }
    refused
}
