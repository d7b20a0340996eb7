//! What is read: the Rust files of every package, with what the rules need to know about where each one stands.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::manifests::Package;
use super::tokens::{Named, Token, paths, tokens, without_unit_tests};

/// Which kind of package a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Crate,
    Service,
    Tool,
    /// `tests/*`: stories across services.
    Stories,
}

/// One Rust file.
pub struct Source {
    /// Relative to the repository.
    pub file: PathBuf,
    pub place: Place,
    pub package: String,
    /// Module path below `src` without the file's own extension, such as `domain/order`; empty for what is not in `src`.
    pub module: Vec<String>,
    /// In `tests`, `benches` or `examples` of its package.
    pub is_test: bool,
    pub text: String,
    /// Without comments and unit tests.
    pub tokens: Vec<Token>,
    pub paths: Vec<Named>,
}

/// All Rust files of all packages.
///
/// # Errors
/// When a file cannot be read.
pub fn sources(root: &Path, packages: &[Package]) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    for package in packages {
        let mut files = Vec::new();
        collect(&package.folder, &mut files)?;
        for path in files {
            found.push(read(root, package, &path)?);
        }
    }
    Ok(found)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            // Cases of compile-fail tests are wrong on purpose.
            if !path.ends_with("target") && !path.ends_with("compile_fail") && !path.ends_with("ui") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn read(root: &Path, package: &Package, path: &Path) -> Result<Source> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let inside = path.strip_prefix(&package.folder).unwrap_or(path);
    let first =
        inside.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    let all = tokens(&text);
    let code = without_unit_tests(&all).to_vec();
    Ok(Source {
        file: path.strip_prefix(root).unwrap_or(path).to_owned(),
        place: package.place,
        package: package.name.clone(),
        module: if first == "src" { module_path(inside) } else { Vec::new() },
        is_test: matches!(first.as_str(), "tests" | "benches" | "examples")
            || inside.file_stem().is_some_and(|stem| stem == "tests"),
        text,
        paths: paths(&code),
        tokens: code,
    })
}

/// `src/domain/order.rs` is `[domain, order]`, `src/domain/mod.rs` is `[domain]`, `src/lib.rs` is `[]`.
fn module_path(inside: &Path) -> Vec<String> {
    let mut parts: Vec<String> = inside
        .with_extension("")
        .components()
        .skip(1)
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if parts.last().is_some_and(|last| last == "mod") || parts == ["lib"] || parts == ["main"] {
        parts.pop();
    }
    parts
}

/// The region codes of `topology.toml`; nobody else may spell them.
///
/// # Errors
/// When the file cannot be read.
pub fn region_codes(root: &Path) -> Result<Vec<String>> {
    let path = root.join("topology.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let topology: toml::Table = text.parse().context("topology.toml is not TOML")?;
    let regions = topology.get("region").and_then(toml::Value::as_array).context("topology.toml has no [[region]]")?;
    Ok(regions.iter().filter_map(|region| region.get("code")?.as_str().map(str::to_owned)).collect())
}
