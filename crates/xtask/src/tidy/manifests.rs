//! Which package may depend on which. `common` knows nobody; `messaging` and `chassis` do not know each other; a service never
//! depends on a service. Dependencies of tests may also name the workbench and what a test talks to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Violation;
use super::files::Place;

/// A package of the workspace.
pub struct Package {
    pub name: String,
    pub place: Place,
    pub folder: PathBuf,
    text: String,
    manifest: toml::Table,
}

/// The folders that hold packages.
const PLACES: &[(&str, Place)] =
    &[("crates", Place::Crate), ("services", Place::Service), ("tools", Place::Tool), ("tests", Place::Stories)];

/// Reads every package's manifest.
///
/// # Errors
/// When one cannot be read.
pub fn packages(root: &Path) -> Result<Vec<Package>> {
    let mut found = Vec::new();
    for (folder, place) in PLACES {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for entry in entries {
            let folder = entry?.path();
            let Ok(text) = fs::read_to_string(folder.join("Cargo.toml")) else { continue };
            let manifest: toml::Table =
                text.parse().with_context(|| format!("{}/Cargo.toml is not TOML", folder.display()))?;
            let name = manifest
                .get("package")
                .and_then(|package| package.get("name")?.as_str())
                .context("a package has no name")?;
            found.push(Package { name: name.to_owned(), place: *place, folder, text, manifest });
        }
    }
    found.sort_by(|left, right| left.folder.cmp(&right.folder));
    Ok(found)
}

/// May `from` depend on our own package `to`?
fn allowed(from: &Package, to: &Package, only_for_tests: bool) -> bool {
    let library = |names: &[&str]| to.place == Place::Crate && names.contains(&to.name.as_str());
    let in_code = match (from.place, from.name.as_str()) {
        (Place::Crate, "common" | "xtask" | "recommender") => false,
        (Place::Crate, "contracts") => library(&["common"]),
        (Place::Crate, "messaging" | "chassis") => library(&["common", "contracts"]),
        // The saga's table knows what is said, never who says it: no service asks it, tests and tools do.
        (Place::Crate, "saga") => library(&["common", "contracts"]),
        (Place::Crate, "testkit") => library(&["common", "contracts", "messaging", "chassis", "xtask"]),
        // Tools find a local region by its table of ports.
        (Place::Tool, _) => library(&["common", "contracts", "messaging", "chassis", "saga", "recommender", "xtask"]),
        (Place::Crate, _) => library(&["common", "contracts", "messaging", "chassis"]),
        (Place::Service, _) => library(&["common", "contracts", "messaging", "chassis", "operations", "recommender"]),
        // Stories run all services in one process.
        (Place::Stories, _) => true,
    };
    let in_tests = library(&["common", "contracts", "saga", "testkit", "xtask"])
        || (to.place == Place::Tool && from.place == Place::Service);
    in_code || (only_for_tests && in_tests)
}

/// Every dependency that is not allowed.
///
/// # Errors
/// None today; the signature is that of the other checks of whole repositories.
pub fn check(root: &Path, packages: &[Package]) -> Result<Vec<Violation>> {
    let mut found = Vec::new();
    for from in packages {
        for (name, only_for_tests) in dependencies(&from.manifest) {
            let Some(to) = packages.iter().find(|package| package.name == name) else { continue };
            if !allowed(from, to, only_for_tests) {
                found.push(Violation {
                    file: from.folder.strip_prefix(root).unwrap_or(&from.folder).join("Cargo.toml"),
                    line: line_of(&from.text, &name, only_for_tests),
                    rule: "dependencies",
                    message: format!("{} may not depend on {name}", from.name),
                });
            }
        }
    }
    Ok(found)
}

/// Names of all dependencies (the package's, when renamed), and whether only tests have them.
fn dependencies(manifest: &toml::Table) -> Vec<(String, bool)> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = std::iter::once(manifest)
        .chain(targets.into_iter().flat_map(|targets| targets.values().filter_map(toml::Value::as_table)));
    let mut found = Vec::new();
    for table in tables {
        for (section, only_for_tests) in
            [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
        {
            let Some(list) = table.get(section).and_then(toml::Value::as_table) else { continue };
            for (name, value) in list {
                let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(name);
                found.push((package.to_owned(), only_for_tests));
            }
        }
    }
    found
}

fn line_of(text: &str, name: &str, only_for_tests: bool) -> usize {
    let section =
        text.lines().position(|line| line.contains("dev-dependencies")).filter(|_| only_for_tests).unwrap_or(0);
    let names_it = |line: &str| {
        let line = line.trim_start().trim_start_matches('"');
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=', '"']))
            || line.contains(&format!("package = \"{name}\""))
    };
    text.lines().enumerate().skip(section).find(|(_, line)| names_it(line)).map_or(1, |(at, _)| at + 1)
}
