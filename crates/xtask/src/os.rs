//! What we ask of the operating system: signals, facts about processes, helper commands that end with us. The only place of the
//! crate with `unsafe`: calls into libc that have no safe form in the standard library.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// From now on SIGINT, SIGTERM and SIGHUP only set the flag that `interrupted` reads, so that the work in hand can clean up.
#[allow(unsafe_code)]
pub fn watch_signals() {
    // SAFETY: the handler stores one atomic, which is allowed in a signal handler.
    unsafe {
        let handler = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
        libc::signal(libc::SIGINT, handler);
        libc::signal(libc::SIGTERM, handler);
        libc::signal(libc::SIGHUP, handler);
    }
}

/// From now on those signals end this program at once, as they do where nobody watches: for a process that has nothing to clean up.
#[allow(unsafe_code)]
pub fn end_on_signals() {
    // SAFETY: the default action is no code of ours.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_DFL);
        libc::signal(libc::SIGTERM, libc::SIG_DFL);
        libc::signal(libc::SIGHUP, libc::SIG_DFL);
    }
}

/// Was this program asked to stop?
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Fails with one line when this program was asked to stop.
///
/// # Errors
/// Exactly then.
pub fn check_interrupted() -> Result<()> {
    if interrupted() { bail!("interrupted") } else { Ok(()) }
}

/// Sends a signal to a process, or to a process group when `pid` is negative. A process that is gone is no error.
#[allow(unsafe_code)]
pub fn signal(pid: i32, signal: i32) {
    // 0, 1 and -1 would mean ourselves, init, or everybody: no record of ours may lead there.
    if pid.abs() > 1 {
        // SAFETY: kill takes two integers and touches no memory of ours.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Takes the exit status of a child of ours that has ended, so that it does not stay a zombie. Others are not touched.
#[allow(unsafe_code)]
pub fn reap(pid: i32) {
    let mut status = 0;
    // SAFETY: status outlives the call; WNOHANG returns at once, also for a process that is not our child.
    unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
}

/// Do we run as root?
pub fn is_root() -> bool {
    fs::metadata("/proc/self").map(|facts| facts.uid() == 0).unwrap_or(false)
}

/// What `/proc/<pid>/stat` says: enough to know a process again after pids were reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessFacts {
    /// One letter, `Z` for a zombie.
    pub state: char,
    pub group: i32,
    /// Threads that have not ended, the first one included.
    pub threads: u32,
    /// Clock ticks between boot and the start of the process.
    pub started: u64,
}

/// The facts of a live process; `None` when there is none. A zombie counts as none, but not while other threads of it are still
/// ending: until the last one is gone its ports and files are held.
pub fn process(pid: i32) -> Option<ProcessFacts> {
    reap(pid);
    facts(pid).filter(|facts| facts.state != 'Z' || facts.threads > 1)
}

/// The letter that `/proc` gives the state of a process, `Z` for a zombie. Takes no exit status, as [`process`] does: for a child whose end
/// somebody else waits for.
pub fn state(pid: i32) -> Option<char> {
    facts(pid).map(|facts| facts.state)
}

fn facts(pid: i32) -> Option<ProcessFacts> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command in parentheses may hold anything, so fields are counted from the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(ProcessFacts {
        state: fields.first()?.chars().next()?,
        group: fields.get(2)?.parse().ok()?,
        threads: fields.get(17)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// The live members of a process group.
pub fn group_members(group: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| facts(*pid).is_some_and(|facts| facts.group == group && facts.state != 'Z'))
        .collect()
}

/// Resident memory of a process group in bytes: a server and the children it has started.
pub fn group_rss(group: i32) -> u64 {
    group_members(group).into_iter().map(rss).sum()
}

fn rss(pid: i32) -> u64 {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return 0 };
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Who listens on a local TCP port: pid and command, as far as we may look. `None` when it cannot be told.
pub fn listener(port: u16) -> Option<(i32, String)> {
    let needle = format!(":{port:04X}");
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        fs::read_to_string(table).ok()?.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 0A is LISTEN.
            (fields.get(1)?.ends_with(&needle) && fields.get(3) == Some(&"0A"))
                .then(|| fields.get(9).map(|f| (*f).to_owned()))?
        })
    })?;
    let socket = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        let holds =
            descriptors.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == socket.as_str()));
        if holds {
            let command = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some((pid, command.trim().to_owned()));
        }
    }
    None
}

/// Is a UDP socket bound to this local port?
pub fn udp_bound(port: u16) -> bool {
    let needle = format!(":{port:04X}");
    ["/proc/net/udp", "/proc/net/udp6"].iter().any(|table| {
        fs::read_to_string(table).is_ok_and(|text| {
            text.lines().skip(1).any(|line| line.split_whitespace().nth(1).is_some_and(|a| a.ends_with(&needle)))
        })
    })
}

/// A command that leaves the processors to others when they need them: compilers run beside servers that are starting and have a
/// limit for it.
pub fn patient(program: &str) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "10", program]);
    command
}

/// Runs a helper command to its end, output into `log`. It gets a process group of its own, so that an interrupt ends it and all
/// it started.
///
/// # Errors
/// When it cannot start, fails (with the end of its output), or we are interrupted.
pub fn run(what: &str, command: &mut Command, log: &Path) -> Result<()> {
    let file =
        OpenOptions::new().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))?;
    let from = file.metadata().map_or(0, |facts| facts.len());
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
    let mut child =
        command.spawn().map_err(|error| anyhow!("{what}: cannot run {:?}: {error}", command.get_program()))?;
    let group = -i32::try_from(child.id()).unwrap_or(0);
    loop {
        if let Some(status) = child.try_wait()? {
            if status.success() {
                return Ok(());
            }
            bail!("{what} failed ({status}); {} says:\n{}", log.display(), tail(log, from, 15));
        }
        if interrupted() {
            signal(group, libc::SIGTERM);
            std::thread::sleep(Duration::from_millis(300));
            signal(group, libc::SIGKILL);
            child.wait()?;
            bail!("interrupted");
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Runs a short command and gives its standard output.
///
/// # Errors
/// When it cannot start or fails, with what it wrote to standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last `lines` lines of a file, not looking before `from` and at no more than its last 64 KiB.
pub fn tail(path: &Path, from: u64, lines: usize) -> String {
    let Ok(mut file) = File::open(path) else { return String::new() };
    let end = file.metadata().map_or(0, |facts| facts.len());
    let start = from.max(end.saturating_sub(64 * 1024));
    let mut bytes = Vec::new();
    if file.seek(SeekFrom::Start(start)).is_err() || file.read_to_end(&mut bytes).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The path of a program in `PATH`, also looking where Debian keeps the programs of administrators.
pub fn which(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(std::path::PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}
