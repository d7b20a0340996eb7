//! `deploy/edge/routes.toml`: who answers which path. Decided here: what a table of routes must be. A path stands once; what may be
//! cached is asked without a required token; a limit that counts people has a token to know them by.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::Output;
use super::services::SERVICES;
use super::text::{header, list};

pub const SOURCE: &str = "deploy/edge/routes.toml";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routes {
    pub limits: BTreeMap<String, Limit>,
    #[serde(rename = "route")]
    pub routes: Vec<Route>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub per_minute: u32,
    pub by: CountedBy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CountedBy {
    Ip,
    Subject,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub service: String,
    pub token: Token,
    pub limit: String,
    /// KiB.
    pub body: u32,
    #[serde(default)]
    pub cache: bool,
    pub paths: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Token {
    Required,
    Optional,
    None,
}

impl Token {
    fn word(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::None => "none",
        }
    }
}

impl Route {
    /// `catalog-browse`: a service has one route per limit.
    pub fn name(&self) -> String {
        format!("{}-{}{}", self.service, self.limit, if self.cache { "-shared" } else { "" })
    }
}

/// Reads and checks the table of a checkout.
///
/// # Errors
/// When it is missing, malformed or refused.
pub fn read(root: &Path) -> Result<Routes> {
    let path = root.join(SOURCE);
    parse(&fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?)
}

/// Reads and checks a table.
///
/// # Errors
/// When it breaks a rule, naming the path.
pub fn parse(text: &str) -> Result<Routes> {
    let routes: Routes = toml::from_str(text).context(SOURCE)?;
    // what no row names is counted too
    ensure!(routes.limits.contains_key("browse"), "{SOURCE}: there is no limit browse");
    let mut paths = Vec::new();
    let mut names = Vec::new();
    for route in &routes.routes {
        ensure!(SERVICES.contains(&route.service.as_str()), "{SOURCE}: there is no service {}", route.service);
        let limit =
            routes.limits.get(&route.limit).with_context(|| format!("{SOURCE}: there is no limit {}", route.limit))?;
        let name = route.name();
        ensure!(!names.contains(&name), "{SOURCE}: two routes of {} have the limit {}", route.service, route.limit);
        names.push(name);
        for path in &route.paths {
            ensure!(path.starts_with("/v1/") && !path.ends_with('/'), "{SOURCE}: {path} is no path of the API");
            ensure!(!paths.contains(path), "{SOURCE}: {path} stands twice");
            ensure!(
                !route.cache || route.token != Token::Required,
                "{SOURCE}: {path} needs a token and cannot be cached"
            );
            ensure!(
                limit.by == CountedBy::Ip || route.token == Token::Required,
                "{SOURCE}: {path} counts people without knowing them"
            );
            paths.push(path.clone());
        }
    }
    Ok(routes)
}

/// The same table for the edge chart.
pub fn outputs(routes: &Routes) -> [Output; 1] {
    let mut text = header(SOURCE);
    text.push_str("limits:\n");
    for (name, limit) in &routes.limits {
        let by = if limit.by == CountedBy::Ip { "ip" } else { "subject" };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  {name}: {{ perMinute: {}, by: {by} }}", limit.per_minute);
    }
    text.push_str("routes:\n");
    for route in &routes.routes {
        let _ = writeln!(
            text,
            "  - {{ name: {}, service: {}, token: {}, limit: {}, bodyKiB: {}, cache: {}, paths: {} }}",
            route.name(),
            route.service,
            route.token.word(),
            route.limit,
            route.body,
            route.cache,
            list(&route.paths)
        );
    }
    [Output::new("deploy/helm/shopsphere-edge/files/routes.yaml", text)]
}
