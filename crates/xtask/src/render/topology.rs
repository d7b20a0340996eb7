//! `topology.toml` as deployment needs it. Decided here: what a topology must be before anything is rendered from it. A pair in two
//! jurisdictions, two sites in one network, a name, an address or a zone of the CDN that stands twice, a region without exactly one primary and one
//! standby, and headquarters in a jurisdiction of customers are refused by name.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
pub struct Topology {
    /// Below which all our names lie.
    pub domain: String,
    /// Serves visitors of countries that no region serves.
    pub default_region: String,
    pub cdn: Cdn,
    #[serde(rename = "region")]
    pub regions: Vec<Region>,
    pub headquarters: Headquarters,
}

/// Who hands requests of shoppers to the load balancers.
#[derive(Debug, Clone, Deserialize)]
pub struct Cdn {
    /// Where it is told which copies are out of date.
    pub api: Outside,
    pub networks: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Region {
    pub code: String,
    pub name: String,
    pub jurisdiction: String,
    pub currency: String,
    pub languages: Vec<String>,
    pub base_url: String,
    /// What the CDN calls the zone of that host.
    pub cdn_zone: String,
    pub countries: Vec<String>,
    /// Takes payments.
    pub gateway: Outside,
    #[serde(rename = "site")]
    pub sites: Vec<Site>,
}

/// An address outside that a region calls.
#[derive(Debug, Clone, Deserialize)]
pub struct Outside {
    pub url: String,
    pub network: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Site {
    pub name: String,
    pub city: String,
    pub country: String,
    pub latitude: f64,
    pub longitude: f64,
    pub role: SiteRole,
    pub jurisdiction: String,
    pub network: String,
    pub edge: Edge,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Edge {
    /// What the world resolves the site's name to: the load balancer.
    pub address: String,
    /// The nodes of the API gateway behind it.
    pub gateways: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SiteRole {
    Primary,
    Standby,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Headquarters {
    pub name: String,
    pub city: String,
    pub jurisdiction: String,
    pub network: String,
    pub aggregates: String,
}

/// Reads and checks the topology of a checkout.
///
/// # Errors
/// When it is missing, malformed or refused.
pub fn read(root: &Path) -> Result<Topology> {
    let path = root.join("topology.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    parse(&text)
}

/// Reads and checks a topology.
///
/// # Errors
/// When it is malformed, or breaks a rule; the message names the sites.
pub fn parse(text: &str) -> Result<Topology> {
    let topology: Topology = toml::from_str(text).context("topology.toml")?;
    topology.check().context("topology.toml is refused")?;
    Ok(topology)
}

impl Topology {
    fn check(&self) -> Result<()> {
        ensure!(
            self.regions.iter().any(|region| region.code == self.default_region),
            "default_region {} is no region",
            self.default_region
        );
        // believing everybody means that whoever asks chooses by which address they are counted
        let wide = self.cdn.networks.iter().find(|network| {
            let length = network.split_once('/').and_then(|(_, length)| length.parse::<u8>().ok());
            length.is_none_or(|length| length < 8)
        });
        if let Some(network) = wide {
            bail!("cdn: {network} is no network of a CDN");
        }
        let hq = &self.headquarters;
        let mut networks: Vec<(&str, &str)> = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for (at, region) in self.regions.iter().enumerate() {
            region.check(&self.domain)?;
            // a zone has one set of rules about what may be kept
            if let Some(other) = self.regions[..at].iter().find(|other| other.cdn_zone == region.cdn_zone) {
                bail!("{} and {} share the zone {} of the CDN", region.code, other.code, region.cdn_zone);
            }
            ensure!(
                region.jurisdiction != hq.jurisdiction,
                "{} lies in the jurisdiction {} of {}, where nothing personal belongs",
                hq.name,
                hq.jurisdiction,
                region.code
            );
            names.push(&region.code);
            names.extend(region.sites.iter().map(|site| site.name.as_str()));
            networks.extend(region.sites.iter().map(|site| (site.name.as_str(), site.network.as_str())));
            networks.push((&region.gateway.url, &region.gateway.network));
        }
        names.push(&hq.name);
        networks.push((&hq.name, &hq.network));
        networks.push((&self.cdn.api.url, &self.cdn.api.network));
        for (at, name) in names.iter().enumerate() {
            ensure!(!names[..at].contains(name), "{name} stands twice");
        }
        for (at, (name, network)) in networks.iter().enumerate() {
            ensure!(Block::parse(network).is_some(), "{network} of {name} is no network");
            if let Some((other, _)) = networks[..at].iter().find(|(_, earlier)| overlap(earlier, network)) {
                bail!("{name} and {other} share the network {network}");
            }
        }
        let mut addresses: Vec<&str> = self.sites().map(|(_, site)| site.edge.address.as_str()).collect();
        addresses.sort_unstable();
        if let Some(twice) = addresses.windows(2).find(|two| two[0] == two[1]) {
            bail!("two sites have the address {}", twice[0]);
        }
        for (_, site) in self.sites() {
            if let Some(foreign) = site.edge.gateways.iter().find(|gateway| !within(gateway, &site.network)) {
                bail!("{foreign} is a gateway of {} and lies outside of {}", site.name, site.network);
            }
        }
        Ok(())
    }

    /// Every site of every region with the region it belongs to, in the order of the file.
    pub fn sites(&self) -> impl Iterator<Item = (&Region, &Site)> {
        self.regions.iter().flat_map(|region| region.sites.iter().map(move |site| (region, site)))
    }

    /// The jurisdiction of a site; `None` is headquarters.
    pub fn jurisdiction<'a>(&'a self, region: Option<&'a Region>) -> &'a str {
        region.map_or(self.headquarters.jurisdiction.as_str(), |region| region.jurisdiction.as_str())
    }

    /// Regions whose jurisdiction is another.
    pub fn foreign_to<'a>(&'a self, region: &'a Region) -> impl Iterator<Item = &'a Region> {
        self.regions.iter().filter(move |other| other.jurisdiction != region.jurisdiction)
    }

    /// What belongs to other jurisdictions than `jurisdiction`: ends of names, and networks. Payment gateways and headquarters count.
    pub fn foreign(&self, jurisdiction: &str) -> (Vec<String>, Vec<&str>) {
        let hq = &self.headquarters;
        let (mut names, mut networks): (Vec<String>, Vec<&str>) = Default::default();
        for region in self.regions.iter().filter(|region| region.jurisdiction != jurisdiction) {
            names.push(format!(".{}", self.region_domain(region)));
            names.push(region.gateway.host().to_owned());
            networks.extend(region.sites.iter().map(|site| site.network.as_str()));
            networks.push(&region.gateway.network);
        }
        if hq.jurisdiction != jurisdiction {
            names.push(format!(".{}", self.headquarters_domain()));
            networks.push(&hq.network);
        }
        (names, networks)
    }

    /// Whom the regions write aggregates to.
    pub fn metrics_host(&self) -> String {
        format!("metrics.{}", self.headquarters_domain())
    }

    /// What takes the lines of a site's programs, and lies in that site.
    pub fn logs_url(&self, region: &Region, site: &Site) -> String {
        format!("https://logs.{}/loki/api/v1/push", self.site_domain(region, site))
    }

    /// Where a region says which copies of its pages are out of date.
    pub fn purge_url(&self, region: &Region) -> String {
        format!("{}/client/v4/zones/{}/purge_cache", self.cdn.api.url, region.cdn_zone)
    }

    /// The hosts of another jurisdiction that a site speaks to all the same: what takes aggregates and redacted logs at headquarters, and
    /// from there the brokers that the aggregates come from.
    pub fn hosts_abroad(&self, region: Option<&Region>) -> Vec<String> {
        match region {
            Some(_) => vec![self.metrics_host(), format!("logs.{}", self.headquarters_domain())],
            None => self.regions.iter().map(|region| self.broker(region, region.primary())).collect(),
        }
    }

    /// What a site's brokers are called from outside.
    pub fn broker(&self, region: &Region, site: &Site) -> String {
        format!("kafka.{}", self.site_domain(region, site))
    }

    /// The one topic of a region that headquarters may take.
    pub fn aggregates(&self, region: &Region) -> String {
        format!("{}.{}.v1", region.code, self.headquarters.aggregates)
    }

    /// The networks that a policy of a site may open a way to or from.
    pub fn open_networks<'a>(&'a self, place: Option<(&'a Region, &'a Site)>) -> Vec<&'a str> {
        let hq = self.headquarters.network.as_str();
        match place {
            Some((region, site)) => {
                let (peer, outside) = (region.peer(site), [&region.gateway.network, &self.cdn.api.network]);
                [&site.network, &peer.network].into_iter().chain(outside).map(String::as_str).chain([hq]).collect()
            }
            None => self.sites().map(|(_, site)| site.network.as_str()).chain([hq]).collect(),
        }
    }

    pub fn region_domain(&self, region: &Region) -> String {
        format!("{}.{}", region.code, self.domain)
    }

    pub fn site_domain(&self, region: &Region, site: &Site) -> String {
        format!("{}.{}", site.name, self.region_domain(region))
    }

    pub fn headquarters_domain(&self) -> String {
        format!("{}.{}", self.headquarters.name, self.domain)
    }
}

impl Outside {
    pub fn host(&self) -> &str {
        self.url.trim_start_matches("https://")
    }
}

/// A block of IPv4 addresses.
struct Block {
    address: u32,
    length: u32,
}

impl Block {
    /// An address alone is a block of one; `None` when it is not IPv4.
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').unwrap_or((text, "32"));
        let length = length.parse().ok().filter(|length| *length <= 32)?;
        Some(Self { address: u32::from(address.parse::<Ipv4Addr>().ok()?), length })
    }
}

/// Do two blocks have an address in common? Not when one of them is no block of IPv4.
pub fn overlap(one: &str, other: &str) -> bool {
    let (Some(one), Some(other)) = (Block::parse(one), Block::parse(other)) else { return false };
    let length = one.length.min(other.length);
    length == 0 || one.address >> (32 - length) == other.address >> (32 - length)
}

/// Does all of `inner` lie in `outer`? Not when one of them is no block of IPv4.
pub fn within(inner: &str, outer: &str) -> bool {
    let length = |text: &str| Block::parse(text).map_or(0, |block| block.length);
    overlap(inner, outer) && length(outer) <= length(inner)
}

impl Region {
    fn check(&self, domain: &str) -> Result<()> {
        let Region { code, jurisdiction, .. } = self;
        ensure!(self.base_url == format!("https://api.{code}.{domain}"), "base_url of {code} is not below {domain}");
        let zone = &self.cdn_zone;
        let is_zone = zone.len() == 32 && zone.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        ensure!(is_zone, "{zone} of {code} is no zone of the CDN");
        for role in [SiteRole::Primary, SiteRole::Standby] {
            let count = self.sites.iter().filter(|site| site.role == role).count();
            ensure!(count == 1, "region {code} has {count} sites with the role {role:?}, it needs one");
        }
        for site in &self.sites {
            ensure!(
                &site.jurisdiction == jurisdiction,
                "the pair of {code} lies in two jurisdictions: {} in {}, the region in {jurisdiction}",
                site.name,
                site.jurisdiction
            );
            ensure!(!site.edge.gateways.is_empty(), "{} has no gateways", site.name);
        }
        Ok(())
    }

    pub fn primary(&self) -> &Site {
        self.by(SiteRole::Primary)
    }

    pub fn standby(&self) -> &Site {
        self.by(SiteRole::Standby)
    }

    /// The other site of the pair.
    pub fn peer(&self, site: &Site) -> &Site {
        if site.role == SiteRole::Primary { self.standby() } else { self.primary() }
    }

    fn by(&self, role: SiteRole) -> &Site {
        // `check` has counted them
        self.sites.iter().find(|site| site.role == role).unwrap_or(&self.sites[0])
    }

    pub fn host(&self) -> &str {
        self.base_url.trim_start_matches("https://")
    }
}
