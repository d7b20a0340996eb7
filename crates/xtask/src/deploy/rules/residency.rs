//! Residency: what a site's objects name belongs to its region, to the short list of headquarters, or to nobody in particular.

use super::{Case, Refusal};
use crate::render::topology::Topology;

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

pub fn hosts(case: &Case<'_>) -> Vec<Refusal> {
    let topology = case.topology();
    let hq = topology.headquarters_domain();
    let below = |name: &str, parent: &str| name == parent || name.ends_with(&format!(".{parent}"));
    let allowed = |name: &str| {
        shared(topology, name)
            || match case.place {
                Some((region, _)) => {
                    below(name, &topology.region_domain(region))
                        || [format!("metrics.{hq}"), format!("logs.{hq}")].contains(&name.to_owned())
                }
                None => {
                    below(name, &hq)
                        || topology
                            .sites()
                            .any(|(region, site)| name == format!("kafka.{}", topology.site_domain(region, site)))
                }
            }
    };
    let mut refused = Vec::new();
    for object in case.objects() {
        // the lists of what admission refuses name what is foreign on purpose
        if object.kind() == "ValidatingAdmissionPolicy" {
            continue;
        }
        for (path, text) in object.texts() {
            let foreign = our_names(text, &topology.domain).find(|name| !allowed(name));
            if let Some(name) = foreign {
                refused.push(case.refuse(
                    "residency-hosts",
                    object,
                    format!("{path} names {name}, which lies elsewhere"),
                ));
            }
            if let Some((region, _)) = case.place {
                let theirs = topology.regions.iter().filter(|other| other.code != region.code);
                let gateway = theirs
                    .map(|other| other.gateway.url.trim_start_matches("https://"))
                    .find(|host| text.contains(host));
                if let Some(host) = gateway {
                    refused.push(case.refuse(
                        "residency-hosts",
                        object,
                        format!("{path} names {host}, the gateway of another region"),
                    ));
                }
            }
        }
    }
    refused
}

/// A block of addresses as number and length; `None` when it is not IPv4.
fn block(text: &str) -> Option<(u32, u32)> {
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    Some((u32::from(address.parse::<std::net::Ipv4Addr>().ok()?), length.parse().ok()?))
}

fn overlap(one: &str, other: &str) -> bool {
    let (Some((a, a_len)), Some((b, b_len))) = (block(one), block(other)) else { return false };
    let length = a_len.min(b_len);
    length == 0 || (a >> (32 - length)) == (b >> (32 - length))
}

/// Policies may open the way to the peer, the gateway and headquarters; to nobody else outside.
pub fn networks(case: &Case<'_>) -> Vec<Refusal> {
    let topology = case.topology();
    let mut allowed = vec![topology.headquarters.network.as_str()];
    match case.place {
        Some((region, site)) => {
            allowed.extend([
                site.network.as_str(),
                region.peer(site).network.as_str(),
                region.gateway.network.as_str(),
            ]);
        }
        None => allowed.extend(topology.sites().map(|(_, site)| site.network.as_str())),
    }
    let inside = |cidr: &str| {
        let wide = |text: &str| block(text).map_or(0, |(_, length)| length);
        allowed.iter().any(|network| overlap(network, cidr) && wide(network) <= wide(cidr))
    };
    let mut refused = Vec::new();
    for object in case.objects() {
        let opens = |path: &str| path.ends_with(".ipBlock.cidr") || path.contains("oadBalancerSourceRanges[");
        let blocks = object.texts().into_iter().filter(|(path, _)| opens(path));
        for (_, cidr) in blocks.filter(|(_, cidr)| !inside(cidr)) {
            refused.push(case.refuse("residency-networks", object, format!("opens the way to or from {cidr}")));
        }
    }
    for object in case.of("EndpointSlice").chain(case.of("Endpoints")) {
        let foreign = topology
            .sites()
            .filter(|(region, _)| case.place.is_some_and(|(ours, _)| ours.jurisdiction != region.jurisdiction));
        let foreign: Vec<_> = foreign.map(|(_, site)| site.network.as_str()).collect();
        let hit = object.texts().into_iter().find(|(_, text)| foreign.iter().any(|network| overlap(network, text)));
        if let Some((_, address)) = hit {
            refused.push(case.refuse("residency-networks", object, format!("{address} lies in another jurisdiction")));
        }
    }
    refused
}

const LABEL: &str = "shopsphere.example/jurisdiction";

/// Namespaces and pods say where they belong, and say it right: admission compares the two.
pub fn labels(case: &Case<'_>) -> Vec<Refusal> {
    let ours = match case.place {
        Some((region, _)) => &region.jurisdiction,
        None => &case.topology().headquarters.jurisdiction,
    };
    let mut refused = Vec::new();
    for object in case.objects() {
        let pod = object.pod().map(|pod| pod["metadata"]["labels"][LABEL].as_str().unwrap_or_default());
        let said = [(object.kind() == "Namespace" || pod.is_some()).then(|| object.label(LABEL)), pod];
        for label in said.into_iter().flatten().filter(|label| label != ours) {
            refused.push(case.refuse("residency-labels", object, format!("says jurisdiction {label:?} in {ours}")));
        }
    }
    refused
}

/// The admission policies are there, bound, and deny.
pub fn admission(case: &Case<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    let Some(namespace) = case.of("Namespace").next() else { return refused };
    for wanted in ["workload", "endpoint"] {
        let name = format!("shopsphere-{wanted}-of-another-jurisdiction");
        let policy = case.of("ValidatingAdmissionPolicy").find(|policy| policy.name() == name);
        let bound = case.of("ValidatingAdmissionPolicyBinding").any(|binding| {
            binding.value["spec"]["policyName"] == name.as_str()
                && binding.value["spec"]["validationActions"][0] == "Deny"
        });
        if !policy.is_some_and(|policy| policy.value["spec"]["failurePolicy"] == "Fail") || !bound {
            refused.push(case.refuse("admission", namespace, format!("nothing in its cluster enforces {name}")));
        }
    }
    refused
}
