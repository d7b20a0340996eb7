//! Which region the local stack is: the first one of `topology.toml`, in its primary site, unless `SHOPSPHERE_REGION` names another.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The part of a region's row that provisioning needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalRegion {
    pub code: String,
    /// Name of its primary site.
    pub site: String,
}

/// Reads the region from the topology of a checkout.
///
/// # Errors
/// When the file is missing or does not name the region.
pub fn local(checkout: &Path) -> Result<LocalRegion> {
    let path = checkout.join("topology.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    parse(&text, std::env::var("SHOPSPHERE_REGION").ok().as_deref())
}

fn parse(text: &str, wanted: Option<&str>) -> Result<LocalRegion> {
    let topology: toml::Table = text.parse().context("topology.toml is not TOML")?;
    let regions = topology.get("region").and_then(toml::Value::as_array).context("topology.toml has no [[region]]")?;
    let code = |region: &toml::Value| region.get("code").and_then(toml::Value::as_str).map(str::to_owned);
    let found = regions.iter().find(|region| wanted.is_none() || code(region).as_deref() == wanted);
    let Some(region) = found else {
        bail!("topology.toml has no region {}", wanted.unwrap_or_default());
    };
    let sites = region.get("site").and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let primary = sites.iter().find(|site| site.get("role").and_then(toml::Value::as_str) == Some("primary"));
    let site = primary
        .and_then(|site| site.get("name")?.as_str())
        .context("the region has no primary site in topology.toml")?;
    Ok(LocalRegion { code: code(region).context("a region in topology.toml has no code")?, site: site.to_owned() })
}
