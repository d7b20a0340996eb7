//! The programs of an earlier commit: which commit, and how its programs come into being. Decided here: they are built by the sources,
//! toolchain and lock file of that commit, in a worktree that is gone afterwards, and kept by commit; of the sources only what tells
//! which settings they know is kept.
//!
//! Not decided here: what runs beside them. Servers, edge, gateway and load are this checkout's (`stack::programs`).

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::os;
use crate::provision;
use crate::stack::Stack;
use crate::stack::programs::Programs;
use crate::stack::services::SERVICES;

/// Where an upgrade begins as long as there is no tag: the last commit before the newest table was changed (`inventory/0113`), when
/// answers of a search had no mark yet and clicks no telling of programs and withdrawals.
pub const WITHOUT_A_TAG: &str = "3b40bf58e029";
/// Two migrations were no pure expansion, and an upgrade with a mixture of releases begins after them (ADR 0057).
const BORDER: [&str; 2] =
    ["migrations/inventory/0110_centres_and_back_orders.sql", "migrations/order_payment/0121_ledger_transactions.sql"];
/// Letters of a commit: as many as reports show.
const SHORT: &str = "--short=12";
/// MiB for the objects of one build with its dependencies.
const SPACE: u64 = 5_000;

/// The commit an upgrade begins at, as reports show it: the wanted one, or the newest tag before this checkout's commit, or
/// [`WITHOUT_A_TAG`].
///
/// # Errors
/// When there is no such commit, when it is not an earlier one of this checkout, or when mixing begins only after it.
pub fn chosen(checkout: &Path, wanted: Option<&str>) -> Result<String> {
    let tag = || git(checkout, &["describe", "--tags", "--abbrev=0", "HEAD^"]).ok();
    let word = wanted.map(str::to_owned).or_else(tag).unwrap_or_else(|| WITHOUT_A_TAG.to_owned());
    let commit = git(checkout, &["rev-parse", "--verify", SHORT, &format!("{word}^{{commit}}")])
        .with_context(|| format!("there is no commit {word} in this repository"))?;
    if commit == git(checkout, &["rev-parse", SHORT, "HEAD"])? {
        bail!("{word} is what is checked out: an upgrade to the same shows nothing");
    }
    git(checkout, &["merge-base", "--is-ancestor", &commit, "HEAD"])
        .with_context(|| format!("{word} is no earlier commit of what is checked out"))?;
    let migrations = git(checkout, &["ls-tree", "-r", "--name-only", "--full-tree", &commit, "--", "migrations"])?;
    if let Some(missing) = behind_the_border(&migrations) {
        bail!("{word} has no {missing} yet: releases can be mixed only after it (docs/adr/0057)");
    }
    Ok(commit)
}

/// The first migration of the border that is not among these files.
fn behind_the_border(files: &str) -> Option<&'static str> {
    BORDER.into_iter().find(|border| !files.lines().any(|file| file == *border))
}

/// Files below `folder` that are not now what they were.
///
/// # Errors
/// When git cannot tell.
pub fn changed(checkout: &Path, commit: &str, folder: &str) -> Result<Vec<String>> {
    let names = git(checkout, &["diff", "--name-only", commit, "HEAD", "--", folder])?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// The programs of a commit; built unless they are kept from an earlier run.
///
/// # Errors
/// When they do not build, or the disk is full.
pub fn programs(stack: &Stack, commit: &str) -> Result<Programs> {
    let profile = if stack.release { "release" } else { "debug" };
    let folder = stack.layout.state.join("before");
    let kept = folder.join(format!("{commit}-{profile}"));
    if !kept.is_dir() {
        fs::create_dir_all(&folder)?;
        provision::require_space(&folder, SPACE)?;
        let source = folder.join("source");
        let checkout = &stack.layout.checkout;
        // What a build that was cut off has left, or nothing.
        let _ = git(checkout, &["worktree", "remove", "--force", &source.to_string_lossy()]);
        remove(&source)?;
        git(checkout, &["worktree", "add", "--force", "--detach", &source.to_string_lossy(), commit])?;
        println!("building the services of {commit}; their programs are kept");
        let built = build(stack, &source, &folder.join("target"), profile).and_then(|()| keep(&folder, profile, &kept));
        git(checkout, &["worktree", "remove", "--force", &source.to_string_lossy()])?;
        built?;
    }
    Ok(Programs { commit: commit.to_owned(), binaries: kept.clone(), services: kept.join("services") })
}

fn build(stack: &Stack, source: &Path, target: &Path, profile: &str) -> Result<()> {
    let mut cargo = os::patient("cargo");
    cargo.args(["build", "--locked"]).current_dir(source).env("CARGO_TARGET_DIR", target);
    if profile == "release" {
        cargo.arg("--release");
    }
    for service in SERVICES {
        cargo.args(["-p", service.name]);
    }
    os::run("cargo build of the earlier services", &mut cargo, &stack.layout.log("build-before"))
}

/// Whole or not at all: a folder with the commit's name has all programs.
fn keep(folder: &Path, profile: &str, kept: &Path) -> Result<()> {
    let fresh = folder.join("fresh");
    remove(&fresh)?;
    for service in SERVICES {
        let defaults = fresh.join("services").join(service.name);
        fs::create_dir_all(&defaults)?;
        let built = folder.join("target").join(profile).join(service.name);
        fs::copy(&built, fresh.join(service.name)).with_context(|| format!("copy {}", built.display()))?;
        let told = folder.join("source/services").join(service.name).join("config.default.toml");
        fs::copy(&told, defaults.join("config.default.toml")).with_context(|| format!("copy {}", told.display()))?;
    }
    fs::rename(&fresh, kept).context("keep the programs")
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn git(checkout: &Path, words: &[&str]) -> Result<String> {
    Ok(os::output(Command::new("git").current_dir(checkout).args(words))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::checkout;

    #[test]
    fn releases_are_mixed_only_behind_the_migrations_that_took_something_away() {
        let all = BORDER.join("\n");
        assert_eq!(behind_the_border(&all), None);
        // Planted: commits that have one of the two, or a file whose name only begins like it.
        assert_eq!(behind_the_border(BORDER[0]), Some(BORDER[1]));
        assert_eq!(behind_the_border(&all.replace(BORDER[0], "migrations/inventory/0109_stock.sql")), Some(BORDER[0]));
        assert_eq!(behind_the_border(&all.replace(BORDER[1], &format!("{}.md", BORDER[1]))), Some(BORDER[1]));
        assert_eq!(behind_the_border(""), Some(BORDER[0]));
        for border in BORDER {
            assert!(checkout().join(border).is_file(), "{border} is not there any more");
        }
    }
}
