//! `./dev up`: servers and the build of our programs side by side, each step as soon as what it needs is there. Decided here: the
//! order, and that an interrupted start leaves nothing of its own running.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use super::{Purpose, Stack, java, kafka, postgres, process, services};
use crate::progress::Progress;
use crate::provision::{self, debian, gomod, maven, pins};
use crate::{layout, os};

/// What one `up` is asked to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub build: bool,
    pub services: bool,
}

/// A door that others wait at until it opens, or until it is known that it never will.
struct Gate {
    state: Mutex<Option<bool>>,
    changed: Condvar,
}

impl Gate {
    fn new() -> Gate {
        Gate { state: Mutex::new(None), changed: Condvar::new() }
    }

    fn settle(&self, open: bool) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
        self.changed.notify_all();
    }

    /// Waits; says whether the door opened.
    fn passed(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(open) = *state {
                return open;
            }
            if os::interrupted() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, Duration::from_millis(200));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Everything one start shares between its threads.
struct Start<'a> {
    stack: &'a Stack,
    progress: &'a Progress,
    /// Names this invocation started, in order.
    started: Mutex<Vec<String>>,
    errors: Mutex<Vec<anyhow::Error>>,
    database: Gate,
}

/// Starts a stack and waits until all of it is ready.
///
/// # Errors
/// One line per thing that failed. When interrupted, what this call started is stopped first.
///
/// Gives the number of processes that had to be started.
pub fn up(stack: &Stack, progress: &Progress, wanted: Wanted) -> Result<usize> {
    prepare(stack)?;
    // Two starts of the same state folder would race for its ports and records.
    let _lock = provision::lock(&stack.layout.state.join(".lock"))?;
    let start = Start { stack, progress, started: Mutex::default(), errors: Mutex::default(), database: Gate::new() };
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                progress.draw();
                std::thread::sleep(Duration::from_millis(250));
            }
        });
        std::thread::scope(|work| {
            for name in super::SERVERS {
                work.spawn(|| start.attempt(|| start.server(name)));
            }
            if stack.purpose == Purpose::Test {
                work.spawn(|| start.judge());
            }
            if wanted.build {
                work.spawn(|| start.attempt(|| progress.step("cargo build", "built", || build(stack))));
            }
        });
        if wanted.services && start.healthy() {
            start.attempt(|| start.services());
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    start.finish()
}

/// What must be so before anything is started: packages, Java, accounts, disk.
fn prepare(stack: &Stack) -> Result<()> {
    debian::install_missing()?;
    java::require()?;
    // The package brings the account, so it can only be looked up now.
    layout::postgres_account()?;
    let cold = [&pins::ELASTICSEARCH, &pins::KEYCLOAK]
        .iter()
        .any(|pin| !stack.layout.cache.join(format!("{}-{}", pin.tool, pin.version)).is_dir());
    if cold {
        // downloads, tools, the Rust build and a region's data
        provision::require_space(&stack.layout.cache, 6_000)?;
    }
    // a region's data and logs
    provision::require_space(&stack.layout.state, 1_000)
}

/// Builds the programs of a local region.
///
/// # Errors
/// When cargo fails, with the end of its output.
pub fn build(stack: &Stack) -> Result<()> {
    let mut cargo = os::patient("cargo");
    cargo.arg("build").current_dir(&stack.layout.checkout);
    if stack.release {
        cargo.arg("--release");
    }
    for package in services::packages(stack) {
        cargo.args(["-p", &package]);
    }
    os::run("cargo build", &mut cargo, &stack.layout.log("build"))
}

impl Start<'_> {
    fn attempt(&self, work: impl FnOnce() -> Result<()>) {
        if let Err(error) = work() {
            self.errors.lock().unwrap_or_else(PoisonError::into_inner).push(error);
        }
    }

    fn healthy(&self) -> bool {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).is_empty() && !os::interrupted()
    }

    /// Brings one server from nothing to ready.
    fn server(&self, name: &str) -> Result<()> {
        if name == "postgres" {
            let result = self.progress.step(name, "ready", || self.postgres());
            self.database.settle(result.is_ok());
            return result;
        }
        self.provision(name)?;
        if matches!(name, "keycloak" | "ferretdb") && !self.database.passed() {
            // PostgreSQL's own error says why.
            os::check_interrupted()?;
            bail!("{name} was not started, because postgres did not start");
        }
        self.progress.step(name, "ready", || {
            if name == "kafka" {
                kafka::format(self.stack, &maven::kafka(&self.stack.layout)?)?;
            }
            self.launch(&self.stack.server(name)?)
        })
    }

    /// Nothing waits for it, and a machine that cannot have it still has a stack.
    fn judge(&self) {
        if let Err(error) = self.server(super::JUDGE) {
            self.progress.line(&format!("skipped: {}, {error:#}", super::JUDGE));
        }
    }

    /// Fetches or builds the tool, shown as a step of its own only when there is something to do.
    fn provision(&self, name: &str) -> Result<()> {
        let layout = &self.stack.layout;
        let (version, fetch): (&str, fn(&layout::Layout) -> Result<std::path::PathBuf>) = match name {
            "kafka" => (pins::kafka::VERSION, maven::kafka),
            "elasticsearch" => (pins::ELASTICSEARCH.version, maven::elasticsearch),
            "keycloak" => (pins::KEYCLOAK.version, maven::keycloak),
            "ferretdb" => (pins::ferretdb::VERSION, gomod::ferretdb),
            super::JUDGE => (pins::stripe_mock::VERSION, gomod::stripe_mock),
            _ => return Ok(()),
        };
        if layout.cache.join(format!("{name}-{version}")).is_dir() {
            return Ok(());
        }
        self.progress.step(&format!("{name} {version}"), "installed", || fetch(layout).map(|_| ()))
    }

    fn postgres(&self) -> Result<()> {
        postgres::initialise(self.stack)?;
        self.launch(&postgres::spec(self.stack)?)?;
        postgres::provision(self.stack)
    }

    fn launch(&self, spec: &process::Spec) -> Result<()> {
        os::check_interrupted()?;
        if spec.start(&self.stack.layout)? {
            let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            // the edge starts a second time when its keys have come; it is one process
            if !started.contains(&spec.name) {
                started.push(spec.name.clone());
            }
        }
        spec.wait_ready(&self.stack.layout)
    }

    /// Migrates and starts our own programs. Those that answer nobody's calls at start come up together.
    fn services(&self) -> Result<()> {
        let specs = services::specs(self.stack)?;
        for spec in &specs {
            if !spec.program.is_file() {
                bail!("{} is not built; run ./dev up without --no-build", spec.program.display());
            }
        }
        // One after the other: they share PostgreSQL and Kafka, and an error in one is easier to read alone.
        for service in services::SERVICES {
            self.progress
                .step(&format!("{} migrate", service.name), "done", || services::migrate(self.stack, service))?;
        }
        // Without keys it is closed for whoever needs a token; with those that were turned since, it starts again.
        self.progress.step("keys of the edge", "known", || {
            services::edge_keys(self.stack)?;
            self.launch(&self.stack.server("haproxy")?)
        })?;
        std::thread::scope(|scope| {
            for spec in &specs {
                scope.spawn(|| self.attempt(|| self.progress.step(&spec.name, "ready", || self.launch(spec))));
            }
        });
        let demo = services::binary(self.stack, "demo")?;
        if self.healthy() && demo.is_file() && !services::is_seeded(self.stack) {
            self.progress.step("demo seed", "done", || services::seed(self.stack))?;
        }
        Ok(())
    }

    /// Turns what went wrong into one error; after an interrupt, stops what was started here.
    fn finish(self) -> Result<usize> {
        if os::interrupted() {
            let started = self.started.into_inner().unwrap_or_else(PoisonError::into_inner);
            self.progress.line(&format!("interrupted, stopping what was started ({})", started.len()));
            for name in started.iter().rev() {
                self.stack.stop(name);
            }
            bail!("interrupted; nothing that this start began is running");
        }
        let errors = self.errors.into_inner().unwrap_or_else(PoisonError::into_inner);
        if errors.is_empty() {
            return Ok(self.started.into_inner().unwrap_or_else(PoisonError::into_inner).len());
        }
        let lines: Vec<String> = errors.iter().map(|error| format!("{error:#}")).collect();
        Err(anyhow!("{}", lines.join("\n")))
    }
}
