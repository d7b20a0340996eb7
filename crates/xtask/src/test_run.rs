//! `./dev test`: everything that must hold, on a stack of its own, from nothing to one last line with the counts. Decided here: the
//! order (servers start while Rust compiles), what counts as a test, and that whatever happens the stack is stopped.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cluster;
use crate::compose_check::{self, Outcome};
use crate::deploy::checks::{self, Building, Made};
use crate::layout::{self, Layout};
use crate::ports::{Port, Ports, TABLE};
use crate::progress::{self, Progress};
use crate::provision::debian;
use crate::stack::up::{Wanted, up};
use crate::stack::{Purpose, Stack, TEST_OFFSET, down, wipe};
use crate::{net, os};

/// No single command of a test run takes longer on two cores; a hang ends here and is a failure.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// Offsets tried when ports are busy, and how far apart they are.
const OFFSETS: u16 = 6;
const OFFSET_STEP: u16 = 100;

/// The counts so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
}

impl Tally {
    /// Counts a line of libtest such as `test result: ok. 3 passed; 0 failed; …`; other lines change nothing.
    pub fn read(&mut self, line: &str) {
        let Some(rest) = line.trim_start().strip_prefix("test result: ") else { return };
        let count = |word: &str| {
            let part = rest.split(['.', ';']).find(|part| part.trim().ends_with(word));
            part.and_then(|part| part.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        self.passed += count(" passed");
        self.failed += count(" failed");
    }

    /// Takes out of the passed ones the tests that left something out; `lines` are those of [`progress::SKIPPED_FILE`]. One that left out a
    /// part counts as none: nobody sees what the rest was worth. One of those that failed is not among the passed and is not taken off.
    pub fn leave_out(&mut self, lines: &str, failed: &BTreeSet<String>) {
        let tests = lines.lines().filter_map(|line| line.split(": ").next());
        let has_failed = |test: &str| test.rsplit(' ').next().is_some_and(|name| failed.contains(name));
        let tests: BTreeSet<&str> = tests.filter(|test| !has_failed(test)).collect();
        self.passed = self.passed.saturating_sub(tests.len() as u64);
    }

    fn check(&mut self, passed: bool) {
        if passed { self.passed += 1 } else { self.failed += 1 }
    }
}

/// Runs everything. Says whether all of it passed.
///
/// # Errors
/// When the run cannot even begin. After that, what goes wrong is counted.
pub fn test(state: &Path, cluster: bool) -> Result<bool> {
    let began = Instant::now();
    let layout = Layout::open(&layout::checkout(), state)?;
    let lock = std::fs::File::create(layout.state.join(".test-lock"))?;
    if lock.try_lock().is_err() {
        bail!("another ./dev test is running with {}; wait for it", layout.state.display());
    }
    // What an earlier run was not able to stop.
    down(&layout);
    wipe(&layout)?;
    let ports = free_ports()?;
    let stack = Stack::open(layout, ports, Purpose::Test, false)?;
    let mut run = Run { stack: &stack, progress: Progress::new(), tally: Tally::default(), phases: Vec::new() };
    run.all();
    run.charts(if cluster { Building::Allowed } else { Building::Forbidden });
    let stopping = Instant::now();
    stack.down();
    run.phases.push(("stop".to_owned(), stopping.elapsed(), true));
    if cluster {
        // after the region: the two need the same processors
        run.cluster();
    }
    println!("\nphase                                time  result");
    for (name, took, passed) in &run.phases {
        println!("{name:<32} {:>7.1} s  {}", took.as_secs_f64(), if *passed { "ok" } else { "FAILED" });
    }
    println!("{:<32} {:>7.1} s", "all", began.elapsed().as_secs_f64());
    if os::interrupted() {
        println!("interrupted: what is missing counts as failed");
        run.tally.failed += 1;
    }
    println!("{} passed, {} failed", run.tally.passed, run.tally.failed);
    std::io::stdout().flush()?;
    Ok(run.tally.failed == 0 && run.tally.passed > 0)
}

/// The first offset of the test range whose ports are all free.
fn free_ports() -> Result<Ports> {
    for step in 0..OFFSETS {
        let ports = Ports::at(TEST_OFFSET + step * OFFSET_STEP)?;
        let busy = TABLE
            .iter()
            .map(|(port, _, _)| *port)
            .filter(|port| *port != Port::EdgeTracer)
            .find(|port| !net::tcp_free(ports.of(*port)));
        match busy {
            None => return Ok(ports),
            Some(port) => println!("port {} is busy; trying another offset than {}", ports.of(port), ports.offset()),
        }
    }
    bail!(
        "no free ports for a test stack between offsets {TEST_OFFSET} and {}",
        TEST_OFFSET + (OFFSETS - 1) * OFFSET_STEP
    )
}

/// The test that failed by a line of libtest such as `test order::is_paid ... FAILED`.
pub fn failed_test(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

struct Run<'a> {
    stack: &'a Stack,
    progress: Progress,
    tally: Tally,
    phases: Vec<(String, Duration, bool)>,
}

impl Run<'_> {
    fn all(&mut self) {
        self.cargo("format", &["fmt", "--all", "--check"]);
        let (built, servers) = std::thread::scope(|scope| {
            let (stack, progress) = (self.stack, &self.progress);
            // Servers start in the shadow of the compiler.
            let servers = scope.spawn(|| {
                let began = Instant::now();
                let servers = (up(stack, progress, Wanted { build: false, services: false }), began.elapsed());
                // After the servers, which may install something too.
                (servers, if browser().is_some() { Ok(()) } else { debian::install(&["chromium"]) })
            });
            let mut front = Run { stack, progress: Progress::new(), tally: Tally::default(), phases: Vec::new() };
            front.cargo("lint", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]);
            let built = front.cargo("build", &["build", "--workspace", "--all-targets", "--quiet"]);
            ((built, front.tally, front.phases), servers.join())
        });
        let (built, tally, phases) = built;
        self.tally.passed += tally.passed;
        self.tally.failed += tally.failed;
        self.phases.extend(phases);
        let servers = match servers {
            Ok(((servers, took), browser)) => {
                self.record("browser", Duration::ZERO, browser);
                self.record("servers", took, servers.map(|_| ()))
            }
            Err(_) => self.record("servers", Duration::ZERO, Err(anyhow::anyhow!("starting the servers panicked"))),
        };
        if built && servers {
            self.tests("tests", &["test", "--workspace", "--exclude", "fleet", "--no-fail-fast"]);
            if self.services() {
                self.stories();
            }
        }
        self.compose();
    }

    fn record(&mut self, name: &str, took: Duration, result: Result<()>) -> bool {
        let passed = result.is_ok();
        if let Err(error) = result {
            println!("{name} failed: {error:#}");
        }
        self.tally.check(passed);
        self.phases.push((name.to_owned(), took, passed));
        passed
    }

    /// A cargo command that counts as one check.
    fn cargo(&mut self, name: &str, arguments: &[&str]) -> bool {
        println!("\n== {name}: cargo {}", arguments.join(" "));
        let began = Instant::now();
        // Compilers give way to the servers that start beside them; tests do not, some of them measure time.
        let compiles = matches!(arguments.first(), Some(&("clippy" | "build")));
        let mut cargo = if compiles { os::patient("cargo") } else { Command::new("cargo") };
        cargo.args(arguments);
        let result = self.run(cargo, |_| {});
        self.record(name, began.elapsed(), result)
    }

    /// A cargo command whose tests are counted. One that fails without a failed test (it did not compile, it was killed) counts as one.
    fn tests(&mut self, name: &str, arguments: &[&str]) {
        println!("\n== {name}: cargo {}", arguments.join(" "));
        // Compilers give way to the servers that start beside them; tests do not, some of them measure time.
        let compiles = matches!(arguments.first(), Some(&("clippy" | "build")));
        let mut cargo = if compiles { os::patient("cargo") } else { Command::new("cargo") };
        cargo.args(arguments);
        self.count(name, cargo);
    }

    /// The stories of the fleet, one at a time. Their program is the one that was built with everything else: asking cargo
    /// for this package alone would mean other features of shared dependencies, and building those again.
    fn stories(&mut self) {
        println!("\n== stories: the fleet's test program");
        let folder = self.stack.layout.checkout.join("tests/fleet");
        match built_test(&self.stack.layout.checkout, "fleet") {
            Ok(program) => {
                let mut stories = Command::new(program);
                stories.arg("--test-threads=1").current_dir(&folder).env("CARGO_MANIFEST_DIR", &folder);
                self.count("stories", stories);
            }
            Err(error) => _ = self.record("stories", Duration::ZERO, Err(error)),
        }
    }

    /// Runs a command whose output counts tests.
    fn count(&mut self, name: &str, mut command: Command) {
        let began = Instant::now();
        let mut tally = Tally::default();
        let skipped = self.stack.layout.state.join("skipped");
        let _ = std::fs::remove_file(&skipped);
        command.env(progress::SKIPPED_FILE, &skipped);
        let mut failed = BTreeSet::new();
        let result = self.run(command, |line| {
            tally.read(line);
            failed.extend(failed_test(line).map(str::to_owned));
        });
        tally.leave_out(&std::fs::read_to_string(&skipped).unwrap_or_default(), &failed);
        if let Err(error) = &result {
            println!("{name} failed: {error:#}");
            tally.failed = tally.failed.max(1);
        }
        self.tally.passed += tally.passed;
        self.tally.failed += tally.failed;
        self.phases.push((
            format!("{name} ({} passed, {} failed)", tally.passed, tally.failed),
            began.elapsed(),
            result.is_ok(),
        ));
    }

    /// Our programs on the test stack, with a filled shop: what the stories need.
    fn services(&mut self) -> bool {
        println!("\n== services: migrate, start, seed");
        let began = Instant::now();
        let result = up(self.stack, &self.progress, Wanted { build: false, services: true }).map(|_| ());
        self.record("services", began.elapsed(), result)
    }

    fn compose(&mut self) {
        println!("\n== docker-compose.yml");
        let began = Instant::now();
        match compose_check::check(&self.stack.layout) {
            Outcome::Passed => _ = self.record("docker-compose.yml", began.elapsed(), Ok(())),
            Outcome::Failed(why) => _ = self.record("docker-compose.yml", began.elapsed(), Err(anyhow::anyhow!(why))),
            Outcome::Skipped(why) => println!("skipped: {why}"),
        }
    }

    fn charts(&mut self, building: Building) {
        println!("\n== what is deployed: charts, rendered objects, edge, rules");
        self.made(checks::checks(self.stack, building));
    }

    /// Every site on a real control plane.
    fn cluster(&mut self) {
        println!("\n== what is deployed, on a Kubernetes control plane");
        match cluster::layout(&self.stack.layout) {
            Ok(layout) => self.made(cluster::check::check(&layout, self.stack.ports, Building::Allowed)),
            Err(error) => _ = self.record("control plane", Duration::ZERO, Err(error)),
        }
    }

    fn made(&mut self, made: Vec<Made>) {
        for (name, took, outcome) in made {
            match outcome {
                checks::Outcome::Passed(said) => {
                    println!("{name}: {said}");
                    self.record(name, took, Ok(()));
                }
                checks::Outcome::Failed(why) => _ = self.record(name, took, Err(anyhow::anyhow!(why))),
                checks::Outcome::Skipped(why) => println!("{name}: skipped: {why}"),
            }
        }
    }

    /// Runs a command with the environment of the test stack (in the checkout unless it says otherwise), shows its output and
    /// hands each line of it on.
    fn run(&self, mut command: Command, mut see: impl FnMut(&str)) -> Result<()> {
        os::check_interrupted()?;
        let name = command.get_program().to_string_lossy().into_owned();
        if command.get_current_dir().is_none() {
            command.current_dir(&self.stack.layout.checkout);
        }
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        command
            .env("SHOPSPHERE_PORT_OFFSET", self.stack.ports.offset().to_string())
            .env("SHOPSPHERE_STATE_DIR", &self.stack.layout.state);
        let mut child = command.spawn().with_context(|| format!("run {name}"))?;
        let group = -i32::try_from(child.id())?;
        let output = child.stdout.take().context("the output of the command")?;
        let (send, lines) = std::sync::mpsc::channel();
        // Ends with the output; a test's grandchild that keeps the pipe open must not keep us.
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(std::io::Result::ok).try_for_each(|line| send.send(line))
        });
        let began = Instant::now();
        loop {
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    println!("{line}");
                    see(&line);
                    continue;
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(20)),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            }
            if let Some(status) = child.try_wait()? {
                for line in lines.try_iter() {
                    println!("{line}");
                    see(&line);
                }
                if !status.success() {
                    bail!("{name} ended with {status}");
                }
                return Ok(());
            }
            if os::interrupted() || began.elapsed() > LIMIT {
                os::signal(group, libc::SIGKILL);
                child.wait()?;
                let minutes = LIMIT.as_secs() / 60;
                bail!(
                    "{}",
                    if os::interrupted() {
                        "interrupted".to_owned()
                    } else {
                        format!("stopped after {minutes} minutes")
                    }
                );
            }
        }
    }
}

/// The browser of this machine that stories are told in.
pub fn browser() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(os::which)
}

/// The integration test program of a package as the build of the whole workspace made it.
pub(crate) fn built_test(checkout: &Path, package: &str) -> Result<PathBuf> {
    let listing = Command::new("cargo")
        .args(["test", "--workspace", "--no-run", "--quiet", "--message-format=json"])
        .current_dir(checkout)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("ask cargo for the test programs")?;
    String::from_utf8_lossy(&listing.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["kind"][0] == "test" && message["target"]["name"] == "it")
        .filter(|message| {
            message["manifest_path"].as_str().is_some_and(|path| path.ends_with(&format!("{package}/Cargo.toml")))
        })
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo built no integration test of {package}"))
}
