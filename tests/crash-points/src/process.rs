//! A program under watch: when it has died as ordered it is started again at once, without an order. A death that nobody
//! ordered is remembered and makes the run red.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::Notify;

use crate::fate::{End, FOLDER, Fate, Folder, MEMBER, SERVICE};

/// How often a program is looked at.
const GLANCE: Duration = Duration::from_millis(10);
/// How long a paused program is thought dead by the others: longer than a relay's or a consumer's pause after a failure.
const PAUSE: Duration = Duration::from_millis(1_500);
/// Longest that a story holds a paused program: half a minute of glances.
const MOST_GLANCES: u32 = 3_000;
/// Starts of one program in a row that end by themselves: then it is broken and no crash point is to blame.
const MOST_STARTS: u32 = 5;

/// What is started.
#[derive(Clone, Debug)]
pub struct Program {
    /// As in `order-payment-work`.
    pub name: &'static str,
    pub service: &'static str,
    pub role: &'static str,
    pub binary: PathBuf,
    pub config: PathBuf,
    pub folder: Folder,
    /// `consumer` of which a member keeps its place over a restart.
    pub member: String,
    /// Where it says that it is ready.
    pub ready_url: String,
}

/// What became of it so far.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// Points at which it was killed or paused, in order.
    pub met: Vec<String>,
    /// Ends that nobody ordered.
    pub surprises: Vec<String>,
}

type Afterwards = dyn Fn() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

pub struct Supervised {
    pub program: Program,
    life: Arc<Mutex<Life>>,
    pid: Arc<Mutex<Option<i32>>>,
    restarting: Arc<AtomicBool>,
    stop: Arc<Notify>,
    watching: Option<tokio::task::JoinHandle<()>>,
}

impl Supervised {
    /// Starts the program and keeps it running. `afterwards` runs between a death and the next start.
    pub fn start(program: Program, afterwards: Arc<Afterwards>) -> Self {
        let (life, pid) = (Arc::new(Mutex::new(Life::default())), Arc::new(Mutex::new(None)));
        let (restarting, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let watch = Watch {
            program: program.clone(),
            life: life.clone(),
            pid: pid.clone(),
            restarting: restarting.clone(),
            afterwards,
        };
        let stopped = Arc::clone(&stop);
        let watching = tokio::spawn(async move {
            tokio::select! {
                () = watch.live() => {}
                () = stopped.notified() => {}
            }
        });
        Self { program, life, pid, restarting, stop, watching: Some(watching) }
    }

    pub fn life(&self) -> Life {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn decree(&self, fate: &Fate) {
        self.program.folder.decree(fate);
    }

    /// Lets the program stand still, or go on.
    pub fn signal(&self, signal: i32) {
        if let Some(pid) = *self.pid.lock().unwrap_or_else(PoisonError::into_inner) {
            xtask::os::signal(pid, signal);
        }
    }

    /// Kills the program as it is; it is started again.
    pub fn restart(&self) {
        self.restarting.store(true, Ordering::SeqCst);
        self.signal(libc::SIGKILL);
    }

    /// Ends the program for good.
    pub async fn stop(&mut self) {
        self.stop.notify_one();
        if let Some(watching) = self.watching.take() {
            let _ = watching.await;
        }
    }
}

struct Watch {
    program: Program,
    life: Arc<Mutex<Life>>,
    pid: Arc<Mutex<Option<i32>>>,
    restarting: Arc<AtomicBool>,
    afterwards: Arc<Afterwards>,
}

impl Watch {
    /// Until the program is stopped, which drops this future and with it the child.
    async fn live(self) {
        let mut in_a_row = 0;
        while in_a_row < MOST_STARTS {
            let mut child = match self.spawn() {
                Ok(child) => child,
                Err(error) => {
                    in_a_row += 1;
                    self.note(None, Some(format!("{} could not be started: {error}", self.program.name)));
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let status = loop {
                tokio::time::sleep(GLANCE).await;
                match child.try_wait() {
                    Ok(Some(status)) => break status,
                    Ok(None) => {}
                    // It has ended, and somebody else has taken its status: it is started again, and told.
                    Err(error) => {
                        self.note(None, Some(format!("the end of {} was lost: {error}", self.program.name)));
                        break ExitStatus::from_raw(libc::SIGKILL);
                    }
                }
                if self.is_paused() {
                    (self.afterwards)().await;
                    tokio::time::sleep(PAUSE).await;
                    for _ in 0..MOST_GLANCES {
                        if !self.program.folder.hold().is_file() {
                            break;
                        }
                        tokio::time::sleep(GLANCE).await;
                    }
                    self.note(self.program.folder.take_met(), None);
                    xtask::os::signal(self.pid().unwrap_or_default(), libc::SIGCONT);
                }
            };
            match self.program.folder.take_met() {
                Some(met) if status.signal() == Some(libc::SIGKILL) => {
                    in_a_row = 0;
                    self.note(Some(met), None);
                }
                None if self.restarting.swap(false, Ordering::SeqCst) => {}
                met => {
                    in_a_row += 1;
                    self.note(met, Some(format!("{} ended with {status}", self.program.name)));
                }
            }
            (self.afterwards)().await;
        }
        println!("{} is not started again: it ended {MOST_STARTS} times in a row by itself", self.program.name);
    }

    fn pid(&self) -> Option<i32> {
        *self.pid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_paused(&self) -> bool {
        // `T` is stopped by a signal; a stop that the harness itself ordered leaves no note.
        // Whoever asks for more than the state takes the exit status of a child that has just died, and its end is never seen here.
        self.pid().and_then(xtask::os::state) == Some('T') && self.program.folder.path().join("met").is_file()
    }

    fn note(&self, met: Option<String>, surprise: Option<String>) {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        life.met.extend(met);
        life.surprises.extend(surprise);
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(self.program.folder.path().join("log"))?;
        let child = command(&self.program, self.program.role).stdout(log.try_clone()?).stderr(log).spawn()?;
        *self.pid.lock().unwrap_or_else(PoisonError::into_inner) = child.id().and_then(|pid| i32::try_from(pid).ok());
        Ok(child)
    }
}

/// The program in a role.
pub fn command(program: &Program, role: &str) -> Command {
    let mut command = Command::new(&program.binary);
    command
        .arg(role)
        .arg("--config")
        .arg(&program.config)
        .env(FOLDER, program.folder.path())
        .env(MEMBER, &program.member)
        .env(SERVICE, program.service)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Kill or pause, as the run wants it.
pub fn fate(point: &str, passage: u32, end: End) -> Fate {
    Fate { point: point.to_owned(), passage, end }
}
