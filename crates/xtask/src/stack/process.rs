//! One supervised process: how it is started, known again later, and ended. Decided here: a process is ours only when pid AND start
//! time match our record, so that a reused pid is never hit. Not decided here: which processes there are (`servers`, `services`).

use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::layout::{Account, Layout};
use crate::{net, os};

/// A log larger than this is moved aside when its process starts, so that weeks of work do not fill the disk.
const MAX_LOG_BYTES: u64 = 32 * 1024 * 1024;
/// How often a condition is looked at while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How we learn that a process is ready for work.
#[derive(Debug, Clone)]
pub enum Health {
    /// 200 on every one of these.
    Http(Vec<(u16, String)>),
    Redis(u16),
    Kafka(u16),
    Mongo(u16),
    /// PostgreSQL answers `SELECT 1` to this role, password and database.
    Postgres {
        port: u16,
        role: String,
        database: String,
    },
    Tcp(u16),
    /// The UDP port is bound.
    Udp(u16),
}

/// Everything needed to run one process.
#[derive(Debug, Clone)]
pub struct Spec {
    pub name: String,
    /// `server`, or the role of a service: `serve`, `work`, `tool`.
    pub role: &'static str,
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub folder: PathBuf,
    /// The account to run as; `None` is ourselves.
    pub account: Option<Account>,
    /// TCP ports it will listen on; they must be free before it starts.
    pub ports: Vec<u16>,
    pub health: Health,
    /// The signal that asks for a graceful end.
    pub stop: i32,
    /// How long a graceful end may take before it is forced.
    pub stop_within: Duration,
    /// How long it may take to become healthy on two busy cores.
    pub ready_within: Duration,
    /// A program of ours: when the file is newer than the process, the process is restarted.
    pub ours: bool,
    /// Whatever else must be unchanged for a running process to be left alone, such as the text of its configuration.
    pub depends_on: String,
}

/// What we write down about a process that we have started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    pub role: String,
    pub pid: i32,
    /// Clock ticks between boot and its start, as the kernel tells them.
    pub started: u64,
    /// Wall clock of the start, unix milliseconds.
    pub started_at: u64,
    pub command: Vec<String>,
    /// Changes when program, arguments, environment or configuration change.
    pub fingerprint: u64,
    pub stop: i32,
    pub stop_within_ms: u64,
    /// How many processes this stack had started before: `down` goes backwards.
    pub order: u64,
}

impl Record {
    /// Is the recorded process still the one that runs under its pid?
    pub fn alive(&self) -> bool {
        os::process(self.pid).is_some_and(|facts| facts.started == self.started)
    }

    /// Since when it runs.
    pub fn uptime(&self) -> Duration {
        Duration::from_millis(now_ms().saturating_sub(self.started_at))
    }
}

/// Wall clock in unix milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn record_path(layout: &Layout, name: &str) -> PathBuf {
    layout.state.join("run").join(format!("{name}.json"))
}

/// All records of a stack, in the order of starting. Records that cannot be read (a half-finished run) are removed.
pub fn records(layout: &Layout) -> Vec<Record> {
    let Ok(entries) = fs::read_dir(layout.state.join("run")) else { return Vec::new() };
    let mut found: Vec<Record> = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json"))
        .filter_map(|entry| {
            let record = fs::read(entry.path()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if record.is_none() {
                let _ = fs::remove_file(entry.path());
            }
            record
        })
        .collect();
    found.sort_by_key(|record: &Record| record.order);
    found
}

/// The record of one process when it is alive.
pub fn running(layout: &Layout, name: &str) -> Option<Record> {
    read_record(layout, name).filter(Record::alive)
}

fn read_record(layout: &Layout, name: &str) -> Option<Record> {
    serde_json::from_slice(&fs::read(record_path(layout, name)).ok()?).ok()
}

impl Spec {
    /// A number that changes when the process would be started differently.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.program, &self.args, &self.env, &self.depends_on).hash(&mut hasher);
        hasher.finish()
    }

    /// May a running process stay as it is?
    fn is_current(&self, record: &Record) -> bool {
        record.fingerprint == self.fingerprint() && !(self.ours && modified_ms(&self.program) > record.started_at)
    }

    /// Starts the process unless it runs already. Says whether it did start.
    ///
    /// # Errors
    /// A busy port (naming who holds it), a program that is missing.
    pub fn start(&self, layout: &Layout) -> Result<bool> {
        if let Some(record) = running(layout, &self.name) {
            if self.is_current(&record) {
                return Ok(false);
            }
            stop(layout, &record);
        } else if let Some(stale) = read_record(layout, &self.name) {
            end_orphans(&stale);
        }
        self.require_free_ports()?;
        let log = layout.log(&self.name);
        if fs::metadata(&log).is_ok_and(|facts| facts.len() > MAX_LOG_BYTES) {
            let _ = fs::rename(&log, log.with_extension("log.1"));
        }
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("open {}", log.display()))?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0);
        command.env_clear().envs(inherited_environment()).envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        let child = command
            .spawn()
            .map_err(|error| anyhow!("{}: cannot start {}: {error}", self.name, self.program.display()))?;
        self.write_record(layout, i32::try_from(child.id())?)?;
        Ok(true)
    }

    fn write_record(&self, layout: &Layout, pid: i32) -> Result<()> {
        let started = os::process(pid).map_or(0, |facts| facts.started);
        let command =
            std::iter::once(self.program.to_string_lossy().into_owned()).chain(self.args.iter().cloned()).collect();
        let record = Record {
            name: self.name.clone(),
            role: self.role.to_owned(),
            pid,
            started,
            started_at: now_ms(),
            command,
            fingerprint: self.fingerprint(),
            stop: self.stop,
            stop_within_ms: u64::try_from(self.stop_within.as_millis())?,
            order: now_ms(),
        };
        let path = record_path(layout, &self.name);
        let fresh = path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec_pretty(&record)?)?;
        fs::rename(&fresh, &path).with_context(|| format!("write {}", path.display()))
    }

    fn require_free_ports(&self) -> Result<()> {
        for port in &self.ports {
            if net::tcp_free(*port) {
                continue;
            }
            let holder = match os::listener(*port) {
                Some((pid, command)) => format!("held by {command} (pid {pid}); end it"),
                None => "held by a process we may not look at; end it".to_owned(),
            };
            bail!("{}: port {port} is {holder}, or use other ports: ./dev up --offset 1000", self.name);
        }
        Ok(())
    }

    /// Asks once whether the process is ready.
    ///
    /// # Errors
    /// Why it is not.
    pub fn probe(&self) -> Result<()> {
        match &self.health {
            Health::Http(pages) => pages.iter().try_for_each(|(port, path)| net::http_ok(*port, path)),
            Health::Redis(port) => net::redis_ping(*port),
            Health::Kafka(port) => net::kafka_versions(*port),
            Health::Mongo(port) => net::mongo_ping(*port),
            Health::Postgres { port, role, database } => {
                super::postgres::psql(*port, role, database, "SELECT 1").map(|_| ())
            }
            Health::Tcp(port) => {
                if net::tcp_open(*port) {
                    Ok(())
                } else {
                    Err(anyhow!("port {port} does not accept"))
                }
            }
            Health::Udp(port) => {
                if os::udp_bound(*port) {
                    Ok(())
                } else {
                    Err(anyhow!("udp port {port} is not bound"))
                }
            }
        }
    }

    /// Waits until the process is ready.
    ///
    /// # Errors
    /// When it ends or does not become ready in time: with the last thing we saw and the end of its log.
    pub fn wait_ready(&self, layout: &Layout) -> Result<()> {
        let began = Instant::now();
        loop {
            os::check_interrupted()?;
            let seen = match self.probe() {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let log = layout.log(&self.name);
            if running(layout, &self.name).is_none() {
                bail!("{} ended while starting; the end of {}:\n{}", self.name, log.display(), os::tail(&log, 0, 12));
            }
            if began.elapsed() > self.ready_within {
                let limit = self.ready_within.as_secs();
                bail!("{} is not ready after {limit} s ({seen:#}); see {}", self.name, log.display());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// What every process may see of our environment: how to find programs, and settings meant for our services.
fn inherited_environment() -> Vec<(String, String)> {
    std::env::vars()
        .filter(|(key, _)| key == "PATH" || key == "TZ" || key.starts_with("SHOPSPHERE__"))
        .chain([("LANG".to_owned(), "C.UTF-8".to_owned())])
        .collect()
}

fn modified_ms(path: &Path) -> u64 {
    let modified = fs::metadata(path).and_then(|facts| facts.modified()).ok();
    modified
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// Ends a recorded process: asks, waits, then forces it and all it has started. Nothing happens when the record is stale.
pub fn stop(layout: &Layout, record: &Record) {
    if record.alive() {
        os::signal(record.pid, record.stop);
        let began = Instant::now();
        while record.alive() && began.elapsed() < Duration::from_millis(record.stop_within_ms) {
            std::thread::sleep(LOOK_EVERY);
        }
        kill(record);
    }
    end_orphans(record);
    let _ = fs::remove_file(record_path(layout, &record.name));
}

/// Ends what a process has left behind: the search server, for one, runs below a launcher that may be gone before it. The kernel
/// gives out no pid that is still the name of a group, so a group with the recorded pid and no leader is the one we started.
fn end_orphans(record: &Record) {
    if os::process(record.pid).is_some() {
        return;
    }
    let began = Instant::now();
    let patience = Duration::from_millis(record.stop_within_ms);
    let mut asked = false;
    while !os::group_members(record.pid).is_empty() {
        if !asked {
            os::signal(-record.pid, libc::SIGTERM);
            asked = true;
        }
        if began.elapsed() > patience {
            os::signal(-record.pid, libc::SIGKILL);
            // A second look a moment later would find the group gone; a process that cannot be killed would keep us here for ever.
            std::thread::sleep(LOOK_EVERY);
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Ends a recorded process and its children at once, as a power cut would. Its record stays, as it would after a crash.
pub fn kill(record: &Record) {
    if !record.alive() {
        return;
    }
    os::signal(-record.pid, libc::SIGKILL);
    let began = Instant::now();
    // The kernel ends a killed process within moments; waiting makes its ports free for the next one.
    while record.alive() && began.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
}
