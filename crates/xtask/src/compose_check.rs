//! Is `docker-compose.yml` right? Asked of `docker compose config` where there is one, else of the schema inside
//! check-jsonschema, which lives in a Python environment of its own in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::layout::Layout;
use crate::os;
use crate::provision::cached;

const CHECKER: &str = "check-jsonschema";
const CHECKER_VERSION: &str = "0.39.0";
const MEGABYTES: u64 = 150;

/// How the check went.
pub enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Checks the compose file of a checkout.
pub fn check(layout: &Layout) -> Outcome {
    check_file(layout, &layout.checkout.join("docker-compose.yml"))
}

/// Checks a compose file.
pub fn check_file(layout: &Layout, file: &Path) -> Outcome {
    if !file.is_file() {
        return Outcome::Skipped("there is no docker-compose.yml".to_owned());
    }
    let mut command = if os::output(Command::new("docker").args(["compose", "version"])).is_ok() {
        let mut docker = Command::new("docker");
        docker.args(["compose", "-f"]).arg(file).args(["--profile", "*", "config", "-q"]);
        docker
    } else {
        match checker(layout) {
            Ok(program) => {
                let mut checker = Command::new(program);
                checker.args(["--builtin-schema", "vendor.compose-spec"]).arg(file);
                checker
            }
            Err(error) if os::interrupted() => return Outcome::Failed(error.to_string()),
            Err(error) => {
                return Outcome::Skipped(format!(
                    "no tool to check it with: {}",
                    error.to_string().lines().next().unwrap_or("")
                ));
            }
        }
    };
    match os::run("check docker-compose.yml", command.current_dir(&layout.checkout), &layout.log("compose-check")) {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// The schema checker, made once.
///
/// # Errors
/// No Python, no network, no space.
pub(crate) fn checker(layout: &Layout) -> Result<PathBuf> {
    let home = cached(layout, CHECKER, CHECKER_VERSION, MEGABYTES, |work, log| {
        os::run("make a Python environment", Command::new("python3").args(["-m", "venv"]).arg(work.join("venv")), log)?;
        let mut pip = Command::new(work.join("venv/bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            &format!("{CHECKER}=={CHECKER_VERSION}"),
        ]);
        os::run("install check-jsonschema", &mut pip, log)?;
        // Scripts of an environment name the folder they were made in; this one starts the module wherever it is moved.
        let script =
            "#!/bin/sh\nexec \"$(dirname \"$(readlink -f \"$0\")\")/venv/bin/python\" -m check_jsonschema \"$@\"\n";
        std::fs::write(work.join(CHECKER), script)?;
        crate::layout::own(&work.join(CHECKER), None, 0o755)
    })?;
    Ok(home.join(CHECKER))
}
