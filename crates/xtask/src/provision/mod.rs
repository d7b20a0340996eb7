//! Tools that must be on the machine before servers can start. Decided here: the cache is keyed by tool and version, filled under a
//! file lock by work in a temporary folder and one rename, so a half-filled tool is never seen and two checkouts can run at once.

pub mod debian;
pub mod gomod;
pub mod maven;
pub mod pins;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::layout::Layout;
use crate::os;

/// The folder of a tool in the cache, filled by `fill` when it is not there yet.
///
/// # Errors
/// Those of `fill`; too little disk space; an interrupt.
pub fn cached(
    layout: &Layout,
    tool: &str,
    version: &str,
    megabytes: u64,
    fill: impl FnOnce(&Path, &Path) -> Result<()>,
) -> Result<PathBuf> {
    let home = layout.cache.join(format!("{tool}-{version}"));
    if home.is_dir() {
        return Ok(home);
    }
    fs::create_dir_all(&layout.cache).with_context(|| format!("make {}", layout.cache.display()))?;
    let _lock = lock(&layout.cache.join(format!(".{tool}.lock")))?;
    if home.is_dir() {
        return Ok(home);
    }
    require_space(&layout.cache, megabytes)?;
    let work = layout.cache.join(format!(".{tool}-{version}.partial"));
    // What an interrupted run has left is worthless: only the rename makes a tool.
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    let filled = fill(&work, &layout.log(&format!("setup-{tool}")));
    if let Err(error) = filled {
        let _ = fs::remove_dir_all(&work);
        return Err(error);
    }
    os::output(Command::new("chmod").args(["-R", "a+rX"]).arg(&work))?;
    fs::rename(&work, &home).with_context(|| format!("rename to {}", home.display()))?;
    Ok(home)
}

/// Takes an exclusive lock, waiting for others but not longer than we live.
///
/// # Errors
/// When the file cannot be made, or on an interrupt.
pub fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
    while file.try_lock().is_err() {
        os::check_interrupted()?;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(file)
}

/// Fails when fewer than `megabytes` MiB are free where `path` lies.
///
/// # Errors
/// Exactly then, saying how much is missing.
pub fn require_space(path: &Path, megabytes: u64) -> Result<()> {
    let free = free_megabytes(path)?;
    if free < megabytes {
        bail!(
            "not enough disk: {} has {free} MB free and {megabytes} MB are needed; free some or set XDG_CACHE_HOME",
            path.display()
        );
    }
    Ok(())
}

/// Free space in MiB where `path`, or the nearest folder above it that exists, lies.
///
/// # Errors
/// When `df` does not answer.
pub fn free_megabytes(path: &Path) -> Result<u64> {
    let existing = path.ancestors().find(|folder| folder.exists()).unwrap_or_else(|| Path::new("/"));
    let table = os::output(Command::new("df").args(["-P", "-m"]).arg(existing))?;
    table
        .lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
        .context("df answers in an unknown form")
}

/// The SHA-256 of a file, by the system's own tool: our debug build would take a minute for a large zip.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256(path: &Path) -> Result<String> {
    let line = os::output(Command::new("sha256sum").arg(path))?;
    line.split_whitespace()
        .next()
        .map(|sum| sum.trim_start_matches('\\').to_owned())
        .context("sha256sum answers nothing")
}

/// Fails when a file is not the one we pinned.
///
/// # Errors
/// Exactly then.
pub fn verify(path: &Path, expected: &str) -> Result<()> {
    let found = sha256(path)?;
    if found != expected {
        bail!(
            "{} has SHA-256 {found}, expected {expected}; it was damaged or changed, nothing was installed",
            path.display()
        );
    }
    Ok(())
}
