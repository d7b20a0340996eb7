//! How we speak to an API server: kubectl and helm with a configuration of their own, each call with a limit. Decided here: nothing of the
//! person's own configuration is read or written, and a call that hangs is ended and is an error.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::os;

/// One call of kubectl. A server on two busy cores answers most within a second; waiting for something is done by asking again.
const CALL: Duration = Duration::from_secs(60);
/// How often a condition is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How long a command may go on after it was asked to end.
const GRACE: &str = "--kill-after=5";

/// kubectl and helm of one control plane.
#[derive(Debug, Clone)]
pub struct Kubectl {
    pub kubectl: PathBuf,
    pub helm: PathBuf,
    pub config: PathBuf,
    /// Caches of both, and what is handed to them.
    pub folder: PathBuf,
    /// Words before the program: how a command gets to where the server is; empty when that is here.
    pub way: Vec<String>,
}

impl Kubectl {
    /// Runs kubectl and gives what it says.
    ///
    /// # Errors
    /// What it says on standard error when it fails; a call that takes too long.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.bounded(&self.kubectl, arguments, CALL)
    }

    /// The same for a command that waits by itself.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn run_within(&self, arguments: &[&str], limit: Duration) -> Result<String> {
        self.bounded(&self.kubectl, arguments, limit)
    }

    /// What kubectl says as JSON.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("kubectl {} says no JSON", arguments.join(" ")))
    }

    /// The list of objects that kubectl gives.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn items(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        Ok(self.json(arguments)?["items"].as_array().cloned().unwrap_or_default())
    }

    /// Runs kubectl with objects to read: `name` is that of the file they are handed over in.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub fn fed(&self, arguments: &[&str], name: &str, objects: &[Value]) -> Result<String> {
        let file = self.folder.join(format!("{name}.yaml"));
        // JSON is YAML, and documents of YAML can stand in a row.
        let documents: Vec<_> = objects.iter().map(ToString::to_string).collect();
        std::fs::write(&file, documents.join("\n---\n")).with_context(|| format!("write {}", file.display()))?;
        let result = self.run(&[arguments, &["-f", &file.to_string_lossy()]].concat());
        let _ = std::fs::remove_file(&file);
        result
    }

    /// Runs helm, which waits by itself for at most `limit`.
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn helm(&self, command: &Command, limit: Duration) -> Result<String> {
        // its own limit comes first, and says what was missing
        self.helm_in_parts(command, limit, limit + CALL)
    }

    /// The same for what helm does in several parts (each hook, the wait, a roll-back): for each of them it waits for at most `part`.
    ///
    /// # Errors
    /// As [`Kubectl::helm`].
    pub fn helm_in_parts(&self, command: &Command, part: Duration, limit: Duration) -> Result<String> {
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        let seconds = format!("{}s", part.as_secs());
        let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
        all.extend(["--timeout", &seconds]);
        self.bounded(&self.helm, &all, limit)
    }

    /// The revisions of a release, the oldest first: `revision`, `status`, `description`.
    ///
    /// # Errors
    /// When helm does not know the release.
    pub fn history(&self, release: &str, namespace: &str) -> Result<Vec<Value>> {
        let text = self.bounded(&self.helm, &["history", release, "--namespace", namespace, "-o", "json"], CALL)?;
        serde_json::from_str(&text).with_context(|| format!("helm history of {release} is no list"))
    }

    fn bounded(&self, program: &Path, arguments: &[&str], limit: Duration) -> Result<String> {
        os::check_interrupted()?;
        let words: Vec<&str> = self.way.iter().map(String::as_str).collect();
        let seconds = limit.as_secs().to_string();
        let mut command = Command::new("timeout");
        command.args([GRACE, &seconds]).args(words).arg(program).args(arguments).current_dir(&self.folder);
        command.env("KUBECONFIG", &self.config).env("HOME", &self.folder);
        for kept in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(kept, self.folder.join("helm"));
        }
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let what = || format!("{name} {}", arguments.iter().take(3).copied().collect::<Vec<_>>().join(" "));
        let began = Instant::now();
        os::output(&mut command).map_err(|error| {
            let text = error.to_string();
            let text = text.trim_start_matches("timeout: ");
            if began.elapsed() >= limit {
                return anyhow!("{} was ended after {seconds} s: {text}", what());
            }
            anyhow!("{}: {text}", what())
        })
    }
}

/// Asks again until there is an answer.
///
/// # Errors
/// When there is none in time: with what was seen last. An interrupt.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        os::check_interrupted()?;
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if began.elapsed() > limit => {
                bail!("{what}: not within {} s; seen last: {error:#}", limit.as_secs())
            }
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}
