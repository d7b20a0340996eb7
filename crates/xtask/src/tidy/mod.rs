//! The rules of the architecture, checked by reading manifests and sources: which crate may know which, which room of a service may
//! know which, who may touch environment, tasks, clock and ids, what stands inside a crash boundary, what a migration may take away, and how a file looks. Runs as an ordinary test.

mod boundaries;
mod files;
mod layers;
mod manifests;
mod owners;
mod schema;
mod shape;
pub mod tokens;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Relative to the repository.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// Short and stable, for example `layers`.
    pub rule: &'static str,
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: [{}] {}", self.file.display(), self.line, self.rule, self.message)
    }
}

/// Every violation in a repository, ordered by file and line.
///
/// # Errors
/// When the repository cannot be read, or there is nothing to check in it.
pub fn check(root: &Path) -> Result<Vec<Violation>> {
    let packages = manifests::packages(root)?;
    let sources = files::sources(root, &packages)?;
    if packages.is_empty() || sources.is_empty() {
        bail!("there is nothing to check below {}", root.display());
    }
    let regions = files::region_codes(root)?;
    let mut found = manifests::check(root, &packages)?;
    for source in &sources {
        found.extend(shape::check(source));
        found.extend(layers::check(source));
        found.extend(owners::check(source, &regions));
    }
    if let Some(names) = boundaries::names(root)? {
        found.extend(boundaries::check(&sources, &names));
    }
    found.extend(schema::check(root)?);
    found.sort();
    Ok(found)
}
