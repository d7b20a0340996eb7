//! Debian packages. Decided here: which ones, and that their packaged services are never used: on machines where packages start
//! services by themselves we use our own ports and folders beside them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::cached;
use crate::layout::Layout;
use crate::os;

/// What is needed, and the program or file that shows it is there. A machine may have the program from elsewhere; that is as good.
pub const PACKAGES: &[(&str, &str)] = &[
    ("postgresql-15", "/usr/lib/postgresql/15/bin/postgres"),
    ("redis-server", "redis-server"),
    ("haproxy", "haproxy"),
    ("mold", "mold"),
    ("pkg-config", "pkg-config"),
    ("libssl-dev", "/usr/include/openssl/ssl.h"),
    ("gcc", "gcc"),
    ("g++", "g++"),
    ("make", "make"),
    ("kcat", "kcat"),
    ("unzip", "unzip"),
    ("maven", "mvn"),
    ("openjdk-17-jre-headless", "java"),
    ("curl", "curl"),
];

/// The packages whose program or file is not on this machine.
pub fn missing() -> Vec<&'static str> {
    PACKAGES
        .iter()
        .filter(|(_, shown_by)| {
            if shown_by.starts_with('/') {
                !std::path::Path::new(shown_by).exists()
            } else {
                os::which(shown_by).is_none()
            }
        })
        .map(|(package, _)| *package)
        .collect()
}

/// Installs what is missing.
///
/// # Errors
/// When this is no Debian-like machine, we may not install, or the installation fails.
pub fn install_missing() -> Result<()> {
    let packages = missing();
    if packages.is_empty() { Ok(()) } else { install(&packages) }
}

/// Installs what only one command needs, when it is asked for.
///
/// # Errors
/// As [`install_missing`].
pub fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if os::which("apt-get").is_none() {
        bail!("missing: {list}; this machine has no apt-get, install them in your system's way and run again");
    }
    let sudo = !os::is_root();
    if sudo && os::which("sudo").is_none() {
        bail!("missing: {list}; run as root: apt-get install -y --no-install-recommends {list}");
    }
    eprintln!("installing Debian packages: {list}");
    apt(sudo, &["update", "-qq"])?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(packages);
    apt(sudo, &install)
}

/// The version in the name of an unpacked package: what the distribution has. A checker's findings may change with it, so it is asked once.
const UNPACKED: &str = "debian";
/// The largest package that is unpacked has two programs of 50 MB.
const UNPACKED_MEGABYTES: u64 = 200;

/// The files of a package that is only looked into: it is not installed, so nothing of it starts. Needs no rights, where apt has its lists.
///
/// # Errors
/// When this is no Debian-like machine, or the package cannot be had.
pub fn unpacked(layout: &Layout, package: &str) -> Result<PathBuf> {
    cached(layout, package, UNPACKED, UNPACKED_MEGABYTES, |work, log| {
        if os::which("apt-get").is_none() {
            bail!("{package} is missing, and this machine has no apt-get");
        }
        // apt reads it as an account of its own when it may
        let download = |what: &str| {
            let mut get = Command::new("apt-get");
            get.args(["-qq", "-o", "APT::Sandbox::User=root", "download", package]).current_dir(work);
            os::run(what, &mut get, log)
        };
        if let Err(error) = download(&format!("download {package}")) {
            // nobody is asked for a password in the middle of tests
            if !os::is_root() {
                return Err(error.context("apt-get update may be missing"));
            }
            apt(false, &["update", "-qq"])?;
            download(&format!("download {package}"))?;
        }
        let archive = fs::read_dir(work)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|end| end == "deb"));
        let archive = archive.with_context(|| format!("apt-get downloaded no {package}"))?;
        os::run(&format!("unpack {package}"), Command::new("dpkg-deb").arg("-x").arg(&archive).arg(work), log)?;
        fs::remove_file(&archive).with_context(|| format!("remove {}", archive.display()))
    })
}

/// In the foreground group, because sudo may have to ask for a password at the terminal.
fn apt(sudo: bool, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(if sudo { "sudo" } else { "apt-get" });
    if sudo {
        command.arg("DEBIAN_FRONTEND=noninteractive").arg("apt-get");
    }
    command
        .args(["-o", "Dpkg::Use-Pty=0"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null());
    let status = command.status().context("run apt-get")?;
    if !status.success() {
        bail!("apt-get {} failed; see its messages above, then run again", arguments.first().unwrap_or(&""));
    }
    os::check_interrupted()
}
