//! `topology.toml` as deployment needs it. Decided here: what a topology must be before anything is rendered from it. A pair in two
//! jurisdictions, two sites in one network, a region without exactly one primary and one standby are refused by name.

use std::fs;
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
    pub countries: Vec<String>,
    pub gateway: PaymentGateway,
    #[serde(rename = "site")]
    pub sites: Vec<Site>,
}

/// The one address outside that a region calls.
#[derive(Debug, Clone, Deserialize)]
pub struct PaymentGateway {
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
        let mut networks: Vec<(&str, &str)> = vec![(&self.headquarters.name, &self.headquarters.network)];
        for region in &self.regions {
            region.check(&self.domain)?;
            for site in &region.sites {
                if let Some((other, _)) = networks.iter().find(|(_, network)| *network == site.network) {
                    bail!("{} and {other} share the network {}", site.name, site.network);
                }
                networks.push((&site.name, &site.network));
            }
        }
        Ok(())
    }

    /// Every site of every region with the region it belongs to, in the order of the file.
    pub fn sites(&self) -> impl Iterator<Item = (&Region, &Site)> {
        self.regions.iter().flat_map(|region| region.sites.iter().map(move |site| (region, site)))
    }

    /// Regions whose jurisdiction is another.
    pub fn foreign_to<'a>(&'a self, region: &'a Region) -> impl Iterator<Item = &'a Region> {
        self.regions.iter().filter(move |other| other.jurisdiction != region.jurisdiction)
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

impl Region {
    fn check(&self, domain: &str) -> Result<()> {
        let Region { code, jurisdiction, .. } = self;
        ensure!(self.base_url == format!("https://api.{code}.{domain}"), "base_url of {code} is not below {domain}");
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
