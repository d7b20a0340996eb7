//! The values file of each site: what a data centre is. Decided here: everything in which two sites may differ. The charts derive the
//! rest, so an RDC and its DR differ in these values and in nothing else.

use std::fmt::Write;

use super::Output;
use super::text::{header, list};
use super::topology::{Region, Site, SiteRole, Topology};

/// Namespaces of a serving site: what may talk to what differs between them.
const NAMESPACES: [(&str, &str); 4] = [
    ("apps", "shopsphere"),
    ("data", "shopsphere-data"),
    ("edge", "shopsphere-edge"),
    ("observability", "shopsphere-observability"),
];

pub fn outputs(topology: &Topology) -> Vec<Output> {
    let sites = topology.sites().map(|(region, site)| Output::new(path(&site.name), values(topology, region, site)));
    let headquarters = Output::new(path(&topology.headquarters.name), headquarters(topology));
    sites.chain([headquarters]).collect()
}

fn path(site: &str) -> String {
    format!("deploy/helm/values/site/{site}.yaml")
}

fn values(topology: &Topology, region: &Region, site: &Site) -> String {
    let peer = region.peer(site);
    let peer_domain = topology.site_domain(region, peer);
    let domain = topology.site_domain(region, site);
    let region_domain = topology.region_domain(region);
    let role = if site.role == SiteRole::Primary { "active" } else { "standby" };
    let mut text = header("topology.toml");
    // Writing into a String cannot fail.
    let _ = write!(
        text,
        "# {name}, {city}: {role_words} of {region_name}\nglobal:\n  region: {code}\n  jurisdiction: {jurisdiction}\n  site: {name}\n  \
         # at installation; the live role is that of the region's lease\n  role: {role}\n  epoch: \"1\"\n  currency: {currency}\n  \
         languages: {languages}\n  siteDomain: {domain}\n  publicUrl: {public}\n  identityUrl: https://id.{region_domain}\n  \
         # what takes the lines of the programs\n  logsUrl: {logs}\n  network: {network}\n  edge:\n    address: {address}\n    \
         gateways: {gateways}\n    \
         # whose word about a client's address the gateway believes, besides this network's\n    cdn: {cdn}\n  namespaces:\n",
        name = site.name,
        city = site.city,
        role_words = if site.role == SiteRole::Primary { "the active site" } else { "the standby" },
        region_name = region.name,
        code = region.code,
        jurisdiction = region.jurisdiction,
        currency = region.currency,
        languages = list(&region.languages),
        public = region.base_url,
        logs = topology.logs_url(region, site),
        network = site.network,
        address = site.edge.address,
        gateways = list(&site.edge.gateways),
        cdn = list(&topology.cdn.networks),
    );
    for (purpose, name) in NAMESPACES {
        let _ = writeln!(text, "    {purpose}: {name}");
    }
    let _ = write!(
        text,
        "  # the other site of the pair, in the same jurisdiction\n  peer:\n    site: {peer}\n    network: {peer_network}\n    \
         postgres: postgres.{peer_domain}\n    kafka: kafka.{peer_domain}:9094\n    mongo: mongo.{peer_domain}\n  gateway:\n    \
         url: {gateway}\n    network: {gateway_network}\n    settlementUrl: {gateway}/settlements\n  \
         # keeps copies of public pages, and is told which are out of date\n  cdn:\n    purgeUrl: {purge}\n    \
         network: {cdn_network}\n  # receives aggregates only\n  hq:\n    network: {hq_network}\n    remoteWriteUrl: https://{metrics}/api/v1/write\n    \
         logsHost: logs.{hq}\n    topic: {aggregates}\n",
        peer = peer.name,
        peer_network = peer.network,
        gateway = region.gateway.url,
        gateway_network = region.gateway.network,
        purge = topology.purge_url(region),
        cdn_network = topology.cdn.api.network,
        hq_network = topology.headquarters.network,
        metrics = topology.metrics_host(),
        hq = topology.headquarters_domain(),
        aggregates = topology.aggregates(region),
    );
    text.push_str(&borders(topology, Some((region, site)), &region_domain));
    text
}

/// What the admission policies of a site compare with.
fn borders(topology: &Topology, place: Option<(&Region, &Site)>, own: &str) -> String {
    let region = place.map(|(region, _)| region);
    let (names, networks) = topology.foreign(topology.jurisdiction(region));
    format!(
        "  # what admission refuses, what it lets through all the same, and where policies may open a way to\n  ownNames: {}\n  \
         foreignNames: {}\n  foreignNetworks: {}\n  hostsAbroad: {}\n  openNetworks: {}\n",
        list([own]),
        list(names),
        list(networks),
        list(topology.hosts_abroad(region)),
        list(topology.open_networks(place)),
    )
}

fn headquarters(topology: &Topology) -> String {
    let hq = &topology.headquarters;
    let domain = topology.headquarters_domain();
    let mut text = header("topology.toml");
    let _ = write!(
        text,
        "# {name}, {city}: anonymous aggregates only, never a shopper\nglobal:\n  region: {name}\n  jurisdiction: {jurisdiction}\n  \
         site: {name}\n  role: headquarters\n  siteDomain: {domain}\n  network: {network}\n  namespaces:\n    hq: shopsphere-hq\n",
        name = hq.name,
        city = hq.city,
        jurisdiction = hq.jurisdiction,
        network = hq.network,
    );
    text.push_str(&borders(topology, None, &domain));
    text.push_str("  # from whom aggregates come\n  regions:\n");
    for region in &topology.regions {
        let _ = write!(
            text,
            "    - code: {code}\n      topic: {aggregates}\n      kafka: {broker}:9094\n      networks: {networks}\n",
            code = region.code,
            aggregates = topology.aggregates(region),
            broker = topology.broker(region, region.primary()),
            networks = list(region.sites.iter().map(|site| &site.network)),
        );
    }
    text
}
