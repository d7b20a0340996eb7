//! Everything below `deploy/` that names a place, a topic or a setting, written from the one source of each: `topology.toml`, the
//! topic table, the services' own defaults, `deploy/edge/routes.toml`. Decided here: which files there are, that their texts are a
//! function of the sources alone, and that `--check` names each one that is stale. One file per kind of output.
//!
//! Not decided here: what the rendered objects must be; `crate::deploy` judges them.

mod akamai;
mod argocd;
mod chart_schema;
mod cloudflare;
mod f5;
mod haproxy;
mod kafka;
pub mod kong;
mod realm;
pub mod routes;
pub mod services;
mod site_values;
mod text;
pub mod topics;
pub mod topology;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A file that is written from the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Relative to the repository.
    pub path: PathBuf,
    pub text: String,
}

impl Output {
    fn new(path: impl Into<PathBuf>, text: String) -> Self {
        Self { path: path.into(), text }
    }
}

/// What the sources say.
pub struct Sources {
    pub topology: topology::Topology,
    pub topics: Vec<topics::Topic>,
    pub services: Vec<services::Service>,
    pub routes: routes::Routes,
}

impl Sources {
    /// Reads all sources of a checkout.
    ///
    /// # Errors
    /// When one is missing, malformed or refused.
    pub fn read(root: &Path) -> Result<Self> {
        Ok(Self {
            topology: topology::read(root)?,
            topics: topics::read(root)?,
            services: services::read(root)?,
            routes: routes::read(root)?,
        })
    }
}

/// All files, in a fixed order.
///
/// # Errors
/// When a source or a template cannot be read.
pub fn outputs(root: &Path) -> Result<Vec<Output>> {
    let sources = Sources::read(root)?;
    let mut outputs = site_values::outputs(&sources.topology);
    outputs.extend(services::outputs(&sources.services));
    outputs.extend(kafka::outputs(&sources));
    outputs.push(realm::output(root)?);
    outputs.extend(routes::outputs(&sources.routes));
    outputs.extend(kong::outputs(&sources));
    outputs.push(haproxy::output(root, &sources.routes)?);
    outputs.extend(f5::outputs(&sources.topology));
    outputs.extend(akamai::outputs(&sources.topology));
    outputs.extend(cloudflare::outputs(&sources));
    outputs.extend(argocd::outputs(&sources.topology));
    outputs.extend(chart_schema::outputs(root, &sources.services)?);
    Ok(outputs)
}

/// Writes what differs and says how many files that were.
///
/// # Errors
/// When a source cannot be read or a file cannot be written.
pub fn write(root: &Path) -> Result<usize> {
    let stale = stale(root)?;
    for output in &stale {
        let path = root.join(&output.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        fs::write(&path, &output.text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(stale.len())
}

/// Fails when a committed file is not what the sources say.
///
/// # Errors
/// Naming each such file and the command that renews it.
pub fn check(root: &Path) -> Result<()> {
    let stale = stale(root)?;
    if !stale.is_empty() {
        let names: Vec<_> = stale.iter().map(|output| output.path.display().to_string()).collect();
        bail!("stale, run `cargo xtask render`: {}", names.join(", "));
    }
    Ok(())
}

/// The files that are not there, or say something else.
///
/// # Errors
/// When a source cannot be read.
pub fn stale(root: &Path) -> Result<Vec<Output>> {
    let outputs = outputs(root)?;
    let differs = |output: &Output| fs::read_to_string(root.join(&output.path)).ok().as_ref() != Some(&output.text);
    Ok(outputs.into_iter().filter(differs).collect())
}
