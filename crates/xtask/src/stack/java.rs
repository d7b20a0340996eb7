//! The Java that runs the JVM servers.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::os;
use crate::provision::pins;

/// The `java` program: of `JAVA_HOME`, else of `PATH`, resolved through links so that its home can be told.
///
/// # Errors
/// When there is none or it is too old, saying what to install.
pub fn program() -> Result<PathBuf> {
    let of_home =
        std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java")).filter(|path| path.is_file());
    let found = of_home.or_else(|| os::which("java"));
    let found = found.context(
        "no Java found: install a JDK or JRE 17 or newer (Debian: openjdk-17-jre-headless) or set JAVA_HOME",
    )?;
    found.canonicalize().with_context(|| format!("follow {}", found.display()))
}

/// The home of that Java.
///
/// # Errors
/// As `program`.
pub fn home() -> Result<PathBuf> {
    let program = program()?;
    program.ancestors().nth(2).map(PathBuf::from).context("java lies in no home folder")
}

/// Fails when Java is missing or too old.
///
/// # Errors
/// Exactly then.
pub fn require() -> Result<u32> {
    let program = program()?;
    let said = Command::new(&program).arg("-version").output().with_context(|| format!("run {}", program.display()))?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let version = said.split('"').nth(1).and_then(|version| version.split('.').next()?.parse().ok());
    match version {
        Some(version) if version >= pins::JAVA => Ok(version),
        _ => bail!(
            "{} is too old or unknown ({}); Java {} or newer is needed",
            program.display(),
            said.lines().next().unwrap_or(""),
            pins::JAVA
        ),
    }
}
