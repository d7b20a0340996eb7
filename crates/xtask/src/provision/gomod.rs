//! What is built from Go modules: helm, kube-score, hclfmt, stripe-mock, and FerretDB, the MongoDB-wire server. `go install` refuses the last (it wants generated version files beside
//! its sources), so the module is copied, the two files are written, and the command is built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cached;
use super::pins::ferretdb::{GO, MEGABYTES, MODULE, VERSION};
use super::pins::{hclfmt, helm, kube_score, stripe_mock};
use crate::layout::Layout;
use crate::os;

/// The FerretDB program.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn ferretdb(layout: &Layout) -> Result<PathBuf> {
    let home = cached(layout, "ferretdb", VERSION, MEGABYTES, |work, log| {
        require_go()?;
        let answer = os::output(
            Command::new("go").args(["mod", "download", "-json", &format!("{MODULE}@{VERSION}")]).current_dir(work),
        )?;
        let answer: serde_json::Value =
            serde_json::from_str(&answer).context("go mod download answers in an unknown form")?;
        let module = answer["Dir"].as_str().context("go mod download names no folder")?;
        let sources = work.join("sources");
        os::output(Command::new("cp").args(["-R", module]).arg(&sources))?;
        os::output(Command::new("chmod").args(["-R", "u+w"]).arg(&sources))?;
        write_version(&sources)?;
        let mut build = Command::new("go");
        build
            .current_dir(&sources)
            .env("CGO_ENABLED", "0")
            .args(["build", "-trimpath", "-o"])
            .arg(work.join("ferretdb"))
            .arg("./cmd/ferretdb");
        os::run("build ferretdb", &mut build, log)?;
        fs::remove_dir_all(&sources).context("remove the sources of ferretdb")
    })?;
    Ok(home.join("ferretdb"))
}

/// The stripe-mock program. An ordinary `go install` builds it.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn stripe_mock(layout: &Layout) -> Result<PathBuf> {
    installed(layout, "stripe-mock", stripe_mock::MODULE, stripe_mock::VERSION, stripe_mock::MEGABYTES)
}

/// The helm program; four minutes on two cores, once.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn helm(layout: &Layout) -> Result<PathBuf> {
    installed(layout, "helm", helm::MODULE, helm::VERSION, helm::MEGABYTES)
}

/// The kube-score program; a minute on two cores, once.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn kube_score(layout: &Layout) -> Result<PathBuf> {
    installed(layout, "kube-score", kube_score::MODULE, kube_score::VERSION, kube_score::MEGABYTES)
}

/// The hclfmt program; half a minute, once.
///
/// # Errors
/// No Go, no network, a failed build, no space.
pub fn hclfmt(layout: &Layout) -> Result<PathBuf> {
    installed(layout, "hclfmt", hclfmt::MODULE, hclfmt::VERSION, hclfmt::MEGABYTES)
}

/// What an ordinary `go install` builds: a program called like the tool.
fn installed(layout: &Layout, tool: &str, module: &str, version: &str, megabytes: u64) -> Result<PathBuf> {
    let home = cached(layout, tool, version, megabytes, |work, log| {
        require_go()?;
        let mut install = Command::new("go");
        let what = format!("{module}@{version}");
        install.current_dir(work).env("CGO_ENABLED", "0").env("GOBIN", work).args(["install", "-trimpath", &what]);
        os::run(&format!("build {tool}"), &mut install, log)
    })?;
    Ok(home.join(tool))
}

/// Is it built already?
pub fn is_cached(layout: &Layout) -> bool {
    layout.cache.join(format!("ferretdb-{VERSION}")).is_dir()
}

/// Gives the version of Go.
///
/// # Errors
/// When there is none or it is too old, saying what to do.
pub fn require_go() -> Result<String> {
    let (major, minor) = GO;
    let Ok(said) = os::output(Command::new("go").args(["env", "GOVERSION"])) else {
        bail!(
            "Go is missing: install Go {major}.{minor} or newer (https://go.dev/dl); it builds the MongoDB-wire server once"
        );
    };
    let version = said.trim().trim_start_matches("go").to_owned();
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (major, minor) {
        bail!("Go {version} is too old: install Go {major}.{minor} or newer (https://go.dev/dl)");
    }
    Ok(format!("Go {version}"))
}

fn write_version(sources: &Path) -> Result<()> {
    let folder = sources.join("build/version");
    fs::write(folder.join("version.txt"), format!("{VERSION}\n"))?;
    fs::write(folder.join("package.txt"), "shopsphere\n").context("write the version of ferretdb")
}
