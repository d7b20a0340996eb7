//! The life of a process: which tasks it has, when it may take work, and how it stops. Only this module spawns tasks.
//!
//! The agreement between tasks: a task spawned with [`Process::spawn`] is one the process cannot live without; it runs until
//! [`Process::shutdown`] is cancelled and then finishes what it has begun. If it ends earlier, with or without an error or a
//! panic, the process stops and exits with a failure, because half a process is worse than none.
//!
//! Stopping: at the first signal readiness turns false; the process goes on serving for the grace time, so that balancers
//! notice; then `shutdown` is cancelled and tasks have the drain time to finish. A second signal, or the end of the drain
//! time, stops whatever remains and names it.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use common::SharedClock;
use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Instrument as _;

use crate::Role;
use crate::config::{Admin, Common, Lifecycle, Site};
use crate::readiness::Checks;

/// A handle on the running process. Cheap to clone.
#[derive(Clone)]
pub struct Process {
    inner: Arc<Inner>,
}

struct Inner {
    service: &'static str,
    role: Role,
    site: Site,
    timing: Lifecycle,
    admin: Admin,
    clock: SharedClock,
    arguments: Vec<String>,
    tasks: TaskTracker,
    /// Names of critical tasks that run; told when draining takes too long.
    running: Mutex<Vec<&'static str>>,
    /// The first reason to fail; later ones are consequences.
    failure: Mutex<Option<String>>,
    ready: Checks,
    writable: Checks,
    /// Set once the role is wired up.
    started: AtomicBool,
    /// Somebody asked the process to stop: readiness is false from here on.
    stopping: CancellationToken,
    /// The grace time is over: finish and end.
    shutdown: CancellationToken,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    Done,
    /// The reason, for the log.
    Failed(String),
}

/// What a critical task may return.
pub trait TaskResult: Send + 'static {
    fn failure(self) -> Option<String>;
}

impl TaskResult for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Into<anyhow::Error> + Send + 'static> TaskResult for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| format!("{:#}", error.into()))
    }
}

impl Process {
    /// `chassis::main` makes one per process; tests make their own and give it to [`Process::run`] or just use it.
    pub fn new(service: &'static str, role: Role, common: &Common, clock: SharedClock, arguments: Vec<String>) -> Self {
        let inner = Inner {
            service,
            role,
            site: common.site.clone(),
            timing: common.process.clone(),
            admin: common.admin.clone(),
            clock,
            arguments,
            tasks: TaskTracker::new(),
            running: Mutex::default(),
            failure: Mutex::default(),
            ready: Checks::default(),
            writable: Checks::default(),
            started: AtomicBool::new(false),
            stopping: CancellationToken::new(),
            shutdown: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    pub fn service(&self) -> &'static str {
        self.inner.service
    }

    pub fn role(&self) -> Role {
        self.inner.role
    }

    pub fn site(&self) -> &Site {
        &self.inner.site
    }

    pub fn clock(&self) -> SharedClock {
        self.inner.clock.clone()
    }

    /// Words after the role on the command line.
    pub fn arguments(&self) -> &[String] {
        &self.inner.arguments
    }

    pub(crate) fn admin(&self) -> &Admin {
        &self.inner.admin
    }

    /// Checks that decide whether requests should be sent here.
    pub fn readiness(&self) -> &Checks {
        &self.inner.ready
    }

    /// Checks that decide, with readiness, whether this site is the active one.
    pub fn writable(&self) -> &Checks {
        &self.inner.writable
    }

    /// Where a check belongs whose answer comes only where the region is led: among those of readiness, but at a standby among those
    /// of the active site. Else no process of a standby would ever be ready, and a promotion would begin with a cold start.
    pub fn led(&self) -> &Checks {
        if self.inner.site.stands_by { &self.inner.writable } else { &self.inner.ready }
    }

    /// Wired up and not asked to stop.
    pub fn is_accepting(&self) -> bool {
        self.inner.started.load(Ordering::Acquire) && !self.inner.stopping.is_cancelled()
    }

    /// Cancelled when tasks must finish and end. Long answers (SSE) end on it too.
    pub fn shutdown(&self) -> CancellationToken {
        self.inner.shutdown.clone()
    }

    /// Spawns a task the process cannot live without; see the module's agreement.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future + Send + 'static,
        F::Output: TaskResult,
    {
        self.inner.lock_running().push(name);
        let process = self.clone();
        self.inner.tasks.spawn(async move {
            let outcome = AssertUnwindSafe(task).catch_unwind().await;
            process.inner.forget(name);
            process.judge(name, outcome.map(TaskResult::failure));
        });
    }

    /// Spawns work whose end is normal, for example one connection. It is waited for while draining; a panic in it is logged
    /// and ends only itself.
    pub fn spawn_work<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.inner.tasks.spawn(quietly(task));
    }

    /// As [`spawn_work`](Self::spawn_work), on another runtime than the caller's.
    pub(crate) fn spawn_work_on<F>(&self, runtime: &Handle, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.inner.tasks.spawn_on(quietly(task), runtime);
    }

    /// Returns when tasks were told to finish and all of them have: what carries them may go then.
    pub(crate) async fn drained(&self) {
        self.inner.shutdown.cancelled().await;
        self.inner.tasks.wait().await;
    }

    /// Asks the process to stop, as the first signal does.
    pub fn stop(&self) {
        self.inner.stopping.cancel();
    }

    /// Asks the process to stop with a failure.
    pub fn fail(&self, reason: impl Into<String>) {
        self.inner.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason.into());
        self.inner.stopping.cancel();
    }

    /// Lives: runs `start`, then for a long-running role waits for a reason to stop, and stops in order.
    pub async fn run(&self, start: impl Future<Output = anyhow::Result<()>>) -> Ending {
        let hurry = CancellationToken::new();
        let listener = tokio::spawn(listen_for_signals(self.clone(), hurry.clone()));
        tokio::select! {
            result = AssertUnwindSafe(start).catch_unwind() => match result {
                Ok(Ok(())) => self.inner.started.store(true, Ordering::Release),
                Ok(Err(error)) => self.fail(format!("{error:#}")),
                Err(panic) => self.fail(format!("panic while starting: {}", panic_text(&*panic))),
            },
            () = self.inner.stopping.cancelled() => {}
        }
        if self.inner.role.is_long_running() {
            if self.is_accepting() {
                tracing::info!(role = self.inner.role.name(), region = %self.inner.site.region, "process started");
            }
            self.inner.stopping.cancelled().await;
        } else {
            self.stop();
        }
        let stopped = tokio::select! {
            stopped = self.wind_down() => stopped,
            () = hurry.cancelled() => Err(format!("second signal while still busy: {:?}", self.inner.lock_running())),
        };
        listener.abort();
        match (self.inner.failure.lock().unwrap_or_else(PoisonError::into_inner).take(), stopped) {
            (Some(reason), _) => Ending::Failed(reason),
            (None, Err(reason)) => Ending::Failed(reason),
            (None, Ok(())) => Ending::Done,
        }
    }

    /// Grace, then shutdown, then drain. A failed process skips the grace: it has nothing good to serve.
    async fn wind_down(&self) -> Result<(), String> {
        let failed = self.inner.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if self.inner.role.is_long_running() && !failed {
            tracing::info!(grace_ms = self.inner.timing.grace_ms, "process stopping");
            tokio::time::sleep(self.inner.timing.grace()).await;
        }
        self.inner.shutdown.cancel();
        self.inner.tasks.close();
        match tokio::time::timeout(self.inner.timing.drain(), self.inner.tasks.wait()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(format!("still busy after the drain time: {:?}", self.inner.lock_running())),
        }
    }

    fn judge(&self, name: &'static str, outcome: Result<Option<String>, Box<dyn Any + Send>>) {
        let asked = self.inner.shutdown.is_cancelled();
        match outcome {
            Ok(None) if asked => {}
            Ok(None) => self.task_failed(name, "ended"),
            Ok(Some(error)) => self.task_failed(name, &error),
            Err(panic) => self.task_failed(name, &format!("panic: {}", panic_text(&*panic))),
        }
    }

    fn task_failed(&self, name: &'static str, reason: &str) {
        tracing::error!(task = name, reason, "task failed");
        self.fail(format!("task {name}: {reason}"));
    }
}

impl Inner {
    fn lock_running(&self) -> std::sync::MutexGuard<'_, Vec<&'static str>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, name: &'static str) {
        let mut running = self.lock_running();
        if let Some(position) = running.iter().position(|other| *other == name) {
            running.swap_remove(position);
        }
    }
}

/// A panic in `task` is logged and ends only itself.
async fn quietly(task: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
        tracing::error!(reason = panic_text(&*panic), "background work panicked");
    }
}

/// Carries `work` on another runtime, for as long as somebody waits for what it comes to.
pub(crate) fn elsewhere<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(runtime.spawn(work))
}

/// Gives what `work` comes to. Whoever stops waiting does not stop it: for libraries that lose something when a call of theirs is
/// dropped half way. The work must bound its own time. `None`: it panicked, or the process is stopping.
pub async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    tokio::spawn(work.in_current_span()).await.ok()
}

/// Runs work that blocks its thread (a flush, a password hash) where that holds up nobody. `None` when it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// SIGTERM and SIGINT mean the same: the first asks to stop, the second to stop at once.
async fn listen_for_signals(process: Process, hurry: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received");
        return;
    };
    for order in [&process.inner.stopping, &hurry] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        order.cancel();
    }
}

/// The text of a panic, if it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}
