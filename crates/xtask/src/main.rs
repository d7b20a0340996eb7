//! The command line behind `./dev`. Decided here: words and flags. The work is done by the library.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use xtask::deploy::checks::{self, Building};
use xtask::layout::{self, Layout};
use xtask::ports::Ports;
use xtask::progress::Progress;
use xtask::stack::up::{Wanted, up};
use xtask::stack::{self, Purpose, Stack, process, services};
use xtask::status::{self, LastUp};
use xtask::{bench, campaign, cluster, crash_points, deploy, doctor, drill, os, planted, provision, test_run, tidy};

#[derive(Parser)]
#[command(name = "dev", about = "A whole region of ShopSphere on this machine.", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

/// Which stack is meant.
#[derive(Args, Clone)]
struct Which {
    /// Move all ports by N; such a stack has a state folder of its own
    #[arg(long, default_value_t = 0, value_name = "N")]
    offset: u16,
    /// State folder instead of .dev (or .dev/offset-N)
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Task {
    /// Start the whole region and wait until it is ready; what runs already is left alone
    Up {
        #[command(flatten)]
        which: Which,
        /// Build and run our programs optimised
        #[arg(long)]
        release: bool,
        /// Do not build; use the programs that are there
        #[arg(long)]
        no_build: bool,
    },
    /// Stop what was started; data stays
    Down {
        #[command(flatten)]
        which: Which,
        /// Remove the data too
        #[arg(long)]
        wipe: bool,
    },
    /// Which processes run, how they are, what memory they take
    Status(Which),
    /// The log of a process or of both roles of a service
    Logs {
        name: String,
        #[command(flatten)]
        which: Which,
        /// Go on as it grows
        #[arg(short, long)]
        follow: bool,
    },
    /// People sign up, look and buy; ends with stock, ledger and gateway compared. With --cluster: in the region of `cluster up`
    #[command(disable_help_flag = true)]
    Demo {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Load a catalog: `import icecat`
    #[command(disable_help_flag = true)]
    Import {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Fill the region with the demo catalog, stock and people (`up` does it once)
    Seed(Which),
    /// All checks and tests; the last line is `N passed, N failed`
    Test {
        /// State folder instead of .dev/test
        #[arg(long, value_name = "DIR", default_value = ".dev/test")]
        state: PathBuf,
        /// Build the tools that come from Go modules, so that no check of what is deployed is skipped for want of one
        #[arg(long)]
        cluster: bool,
    },
    /// What is missing on this machine and how to get it
    Doctor(Which),
    /// Servers only: what the tests of a single crate need
    Servers {
        #[command(subcommand)]
        action: Servers,
    },
    /// Check the rules of the architecture
    Tidy,
    /// Very many orders on a region of its own while processes die; writes docs/campaigns
    Campaign {
        #[arg(long, default_value_t = 2_000)]
        orders: usize,
        /// Same seed, same orders and same order of kills
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Orders under way at once
        #[arg(long, default_value_t = 64)]
        concurrency: usize,
        /// Seconds between two kills of a process of ours (0: none)
        #[arg(long, default_value_t = 20)]
        kill_every: u64,
        /// Seconds between two restarts of the broker (0: none)
        #[arg(long, default_value_t = 120)]
        broker_every: u64,
        /// Optimised programs
        #[arg(long)]
        release: bool,
        /// Do not build; use the programs that are there
        #[arg(long)]
        no_build: bool,
    },
    /// The catalog under load on a region of its own: re-index, rolling restart, each store killed in turn, very many changes between
    /// kills; writes docs/drills and fails when a promise is broken
    Drill {
        /// Same seed, same questions and changes
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds of each phase that kills nothing
        #[arg(long, default_value_t = 40)]
        seconds: u64,
        /// Seconds that a killed store is away, besides its start
        #[arg(long, default_value_t = 20)]
        down: u64,
        /// Random changes of products in the last phase
        #[arg(long, default_value_t = 10_000)]
        changes: usize,
        /// Seconds between two kills in the last phase (0: none)
        #[arg(long, default_value_t = 15)]
        kill_every: u64,
        /// Optimised programs
        #[arg(long)]
        release: bool,
        /// Do not build; use the programs that are there
        #[arg(long)]
        no_build: bool,
    },
    /// Replace every process of every service under load on a region of its own, as Kubernetes does it; writes docs/drills and fails
    /// when a request failed or an event was lost
    Rolling {
        /// Same seed, same questions and orders
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How often every process is replaced
        #[arg(long, default_value_t = 2)]
        rounds: u64,
        /// Optimised programs
        #[arg(long)]
        release: bool,
        /// Do not build; use the programs that are there
        #[arg(long)]
        no_build: bool,
    },
    /// Clicks at full rate on a region of its own while intake, broker, scorer and Redis are killed in turn, then accepted and counted
    /// compared event by event; or, with --memory, very many clicks and no kill. Writes docs/drills and fails when a promise is broken
    Clicks {
        /// Same seed, same people, clicks and order of kills
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How often each of the four is killed
        #[arg(long, default_value_t = 3)]
        rounds: u64,
        /// Seconds of the load before the first kill and after each
        #[arg(long, default_value_t = 15)]
        seconds_per_phase: u64,
        /// Seconds that a killed process is away, when it is not started at once
        #[arg(long, default_value_t = 10)]
        down: u64,
        /// Requests under way at once
        #[arg(long, default_value_t = 16)]
        connections: u64,
        /// When Redis waits for its disk (appendfsync): always, everysec or no
        #[arg(long, default_value = "everysec")]
        redis_fsync: String,
        /// Kill nothing and watch memory
        #[arg(long)]
        memory: bool,
        /// With --memory: events to be counted
        #[arg(long, default_value_t = 50_000_000)]
        events: u64,
        /// With --memory: people who click
        #[arg(long, default_value_t = 20_000)]
        people: u64,
        /// Optimised programs
        #[arg(long)]
        release: bool,
        /// Do not build; use the programs that are there
        #[arg(long)]
        no_build: bool,
    },
    /// An upgrade from an earlier commit to this one and back under load on a region of its own: schema first, then service by service;
    /// writes docs/drills and fails when a request failed, or an event was lost or unreadable
    Matrix {
        /// The commit to begin at; otherwise the newest tag, or the commit named in docs/drills
        #[arg(long, value_name = "COMMIT")]
        before: Option<String>,
        /// Same seed, same questions and orders
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds that each mixture of the two is kept
        #[arg(long, default_value_t = 10)]
        mixed: u64,
        /// Optimised programs
        #[arg(long)]
        release: bool,
        /// Do not build this checkout's programs; those of the earlier commit are kept by themselves
        #[arg(long)]
        no_build: bool,
    },
    /// Kill the real programs before and after each boundary of the saga; writes docs/crash-points.md (needs the servers of
    /// the test stack)
    CrashPoints {
        /// Every behaviour, the second passage, pauses, and the points inside a step
        #[arg(long)]
        full: bool,
        /// Only points whose name contains this; writes nothing
        only: Option<String>,
    },
    /// Two things measured side by side: `bench list`, `limits`, `prepare`, `page`, `capacity`, `all`, or a name
    Bench {
        #[arg(default_value = "list")]
        name: String,
        /// Pairs of ours and theirs
        #[arg(long, default_value_t = bench::PAIRS)]
        pairs: usize,
        /// Speeds of the disk: as it is, or a millisecond per flush
        #[arg(long, default_value = "raw,1ms", value_delimiter = ',')]
        fsync: Vec<String>,
        /// Do not build; use the optimised programs that are there
        #[arg(long)]
        no_build: bool,
        /// Do not measure again when the spread is wide
        #[arg(long)]
        once: bool,
        /// For quality-recs and quality-search: the folder of other recorded data, in the same layout
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// For quality-search: cross-validate the weights as well
        #[arg(long)]
        tune: bool,
        /// Unoptimised programs: shows that a bench works, is no measurement and writes nothing
        #[arg(long)]
        debug: bool,
        /// Move the ports of the bench's servers by N
        #[arg(long, default_value_t = bench::OFFSET)]
        offset: u16,
        /// Where the bench's servers keep their data
        #[arg(long, default_value = bench::STATE)]
        state: PathBuf,
        /// Seconds of one side of a pair
        #[arg(long, default_value_t = 4)]
        side: u64,
        #[arg(long, default_value_t = 3)]
        warm_up: u64,
        /// With `prepare` and `order-growth`: orders in the fuller tables
        #[arg(long, default_value_t = bench::ORDERS)]
        orders: u64,
        /// With `all`: these benches only
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// With `all`: begin none that would probably not end within so many minutes
        #[arg(long)]
        budget: Option<f64>,
    },
    /// Write everything below deploy/ that follows from topology.toml, the topic table, the services' settings and the routes; with
    /// helm also the objects of all sites
    Render {
        /// Change nothing; fail and name what is stale
        #[arg(long)]
        check: bool,
        /// Leave out the objects of the sites (helm is built from its Go module otherwise)
        #[arg(long)]
        no_helm: bool,
    },
    /// Show everything that is deployed to the programs and schemas that will read it; a part of `test`
    Checks {
        #[command(flatten)]
        which: Which,
        /// Build the tools that come from Go modules (minutes, once)
        #[arg(long)]
        cluster: bool,
    },
    /// Five and ten times the load at every site, reckoned from its rendered objects: time to replicas, what waits, time until it is
    /// done; writes docs/drills
    Scale {
        #[command(flatten)]
        which: Which,
        /// First start each program beside the region that runs, again and again, and write down how long it takes
        #[arg(long, requires = "release")]
        measure: bool,
        /// With --measure: starts of each program
        #[arg(long, default_value_t = 20)]
        starts: usize,
        /// With --measure: the optimised programs, which are those of images
        #[arg(long)]
        release: bool,
    },
    /// A real Kubernetes on this machine: `cluster check` has every site installed, changed and removed (a part of `test --cluster`)
    Cluster {
        #[command(subcommand)]
        action: OnCluster,
    },
    /// What is compiled into a program, as CycloneDX
    Sbom { program: String },
    /// Plant the bugs of tests/planted-bugs one by one and see each caught by its test (needs the servers of the test stack)
    Planted {
        /// Only bugs whose name begins like this
        name: Option<String>,
    },
}

#[derive(Subcommand)]
enum OnCluster {
    /// Every site on a control plane with played nodes; builds what it needs (a quarter of an hour, once)
    Check {
        /// Move its ports by N
        #[arg(long, default_value_t = 0, value_name = "N")]
        offset: u16,
    },
    /// A region in a Kubernetes of its own: real containers from the optimised programs, stores beside it; again: the programs of now
    Up {
        /// Move the ports of its edge and its stores by N
        #[arg(long, default_value_t = cluster::local::OFFSET, value_name = "N")]
        offset: u16,
    },
    /// What of it runs, and whether it answers
    Status {
        #[arg(long, default_value_t = cluster::local::OFFSET, value_name = "N")]
        offset: u16,
    },
    /// Under load: replace every Deployment, kill pods and processes, drain a node, bring a bad release that helm takes back; writes
    /// docs/drills and fails when a request failed, an event was lost or a step was not done
    Drill {
        #[arg(long, default_value_t = cluster::local::OFFSET, value_name = "N")]
        offset: u16,
        /// Same seed, same questions and orders
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// A step of load on the region that `up` has started: order-payment and catalog from 2 to 10 replicas; writes docs/drills and fails
    /// when it took too long or a request failed
    Scale {
        #[arg(long, default_value_t = cluster::local::OFFSET, value_name = "N")]
        offset: u16,
    },
    /// End all of it and remove its data
    Down {
        #[arg(long, default_value_t = cluster::local::OFFSET, value_name = "N")]
        offset: u16,
    },
    /// Pass connections on; `up` starts it
    #[command(hide = true)]
    Forward { rules: Vec<String> },
}

#[derive(Subcommand)]
enum Servers {
    /// Start them and wait until they are ready
    Up(Which),
    /// Stop them (and everything else of that stack)
    Down(Which),
}

impl Which {
    fn open(&self, release: bool) -> Result<Stack> {
        let state = self.state.clone().unwrap_or_else(|| match self.offset {
            0 => PathBuf::from(".dev"),
            offset => PathBuf::from(format!(".dev/offset-{offset}")),
        });
        let purpose = if state.ends_with("test") { Purpose::Test } else { Purpose::Development };
        Stack::open(Layout::open(&layout::checkout(), &state)?, Ports::at(self.offset)?, purpose, release)
    }
}

fn main() -> ExitCode {
    os::watch_signals();
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Up { which, release, no_build } => {
            start(&which.open(release)?, Wanted { build: !no_build, services: true })?
        }
        Task::Down { which, wipe } => end(&which.open(false)?, wipe)?,
        Task::Status(which) => return Ok(code(status::status(&which.open(false)?)?)),
        Task::Logs { name, which, follow } => status::logs(&which.open(false)?, &name, follow)?,
        Task::Demo { mut arguments } => match arguments.iter().position(|argument| argument == "--cluster") {
            Some(place) => {
                arguments.remove(place);
                demo_on_cluster(&arguments)?;
            }
            None => demo(&["run"], &arguments)?,
        },
        Task::Import { arguments } => demo(&["import"], &arguments)?,
        Task::Seed(which) => {
            let stack = which.open(false)?;
            Progress::new().step("demo seed", "done", || services::seed(&stack))?;
        }
        Task::Test { state, cluster } => return test_run::test(&state, cluster).map(code),
        Task::Doctor(which) => return Ok(code(doctor::doctor(&which.open(false)?))),
        Task::Servers { action: Servers::Up(which) } => {
            up(&which.open(false)?, &Progress::new(), Wanted { build: false, services: false })?;
        }
        Task::Servers { action: Servers::Down(which) } => end(&which.open(false)?, false)?,
        Task::Campaign { orders, seed, concurrency, kill_every, broker_every, release, no_build } => {
            let options = campaign::Options { orders, seed, concurrency, kill_every, broker_every, release, no_build };
            return campaign::run(&options).map(code);
        }
        Task::Drill { seed, seconds, down, changes, kill_every, release, no_build } => {
            let options = drill::Options { seed, seconds, down, changes, kill_every, release, no_build };
            return drill::run(&options).map(code);
        }
        Task::Rolling { seed, rounds, release, no_build } => {
            return drill::rolling::run(&drill::rolling::Options { seed, rounds, release, no_build }).map(code);
        }
        Task::Clicks { seed, events, people, memory: true, release, no_build, .. } => {
            let options = drill::clicks::MemoryOptions { seed, events, people, release, no_build };
            return drill::clicks::memory(&options).map(code);
        }
        Task::Clicks { seed, rounds, seconds_per_phase, down, connections, redis_fsync, release, no_build, .. } => {
            let (seconds, fsync) = (seconds_per_phase, redis_fsync);
            let options = drill::clicks::Options { seed, rounds, seconds, down, connections, fsync, release, no_build };
            return drill::clicks::run(&options).map(code);
        }
        Task::Matrix { before, seed, mixed, release, no_build } => {
            return drill::matrix::run(&drill::matrix::Options { before, seed, mixed, release, no_build }).map(code);
        }
        Task::Bench {
            name,
            pairs,
            fsync,
            no_build,
            once,
            data,
            debug,
            offset,
            state,
            side,
            warm_up,
            orders,
            only,
            budget,
            tune,
        } => {
            let options = bench::Options {
                pairs: pairs.max(1),
                fsync: fsync.iter().map(|word| bench::Fsync::parse(word)).collect::<Result<_>>()?,
                no_build,
                once,
                data,
                debug,
                offset,
                state,
                side_s: side.max(1),
                warm_up_s: warm_up.max(1),
                orders,
                only,
                budget_min: budget,
                tune,
            };
            return bench::run(&name, &options);
        }
        Task::Planted { name } => return planted::run(name.as_deref()).map(code),
        Task::Render { check, no_helm } => return deploy::render(check, !no_helm).map(code),
        Task::Checks { which, cluster } => {
            let building = if cluster { Building::Allowed } else { Building::Forbidden };
            return Ok(code(checks::report(&checks::checks(&which.open(false)?, building))));
        }
        Task::Scale { which, measure, starts, release } => {
            if measure {
                deploy::scale::write_start_times(&which.open(release)?, starts, &layout::checkout())?;
            }
            return deploy::scale::run().map(code);
        }
        Task::Cluster { action } => return on_cluster(action),
        Task::Sbom { program } => {
            println!("{}", serde_json::to_string_pretty(&deploy::sbom::of(&layout::checkout(), &program)?)?);
        }
        Task::CrashPoints { full, only } => return crash_points::run(full, only.as_deref()).map(code),
        Task::Tidy => {
            let violations = tidy::check(&layout::checkout())?;
            violations.iter().for_each(|violation| println!("{violation}"));
            if !violations.is_empty() {
                bail!("{} broken rules", violations.len());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn on_cluster(action: OnCluster) -> Result<ExitCode> {
    if let OnCluster::Forward { rules } = &action {
        os::end_on_signals();
        cluster::forward::run(rules)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let OnCluster::Status { offset } = action {
        return cluster::local::status(offset).map(code);
    }
    // two at once would take each other's ports
    let _lock = provision::lock(&cluster::layout_at(0)?.state.join(".lock"))?;
    match action {
        OnCluster::Check { offset } => {
            let made = cluster::check::check(&cluster::layout_at(offset)?, Ports::at(offset)?, Building::Allowed);
            return Ok(code(checks::report(&made)));
        }
        OnCluster::Up { offset } => cluster::local::up(offset)?,
        OnCluster::Drill { offset, seed } => return cluster::drill::run(offset, seed).map(code),
        OnCluster::Scale { offset } => return cluster::local::scale(offset).map(code),
        OnCluster::Down { offset } => cluster::local::down(offset)?,
        OnCluster::Forward { .. } | OnCluster::Status { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn code(fine: bool) -> ExitCode {
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start(stack: &Stack, wanted: Wanted) -> Result<()> {
    let progress = Progress::new();
    let started = up(stack, &progress, wanted)?;
    let last = LastUp { seconds: progress.elapsed().as_secs_f64(), started, at: process::now_ms() };
    status::remember(stack, &last)?;
    progress.line(&format!("all ready, {started} processes started"));
    status::welcome(stack);
    Ok(())
}

fn end(stack: &Stack, wipe: bool) -> Result<()> {
    // A start that is going on would bring back what we end.
    let _lock = provision::lock(&stack.layout.state.join(".lock"))?;
    for name in stack.down() {
        println!("stopped {name}");
    }
    if wipe {
        stack::wipe(&stack.layout)?;
        println!("removed the data of {}", stack.layout.state.display());
    }
    Ok(())
}

/// Becomes the demo program, so that its output, signals and exit code are its own.
fn demo(words: &[&str], arguments: &[String]) -> Result<()> {
    let checkout = layout::checkout();
    if !checkout.join("tools/demo/Cargo.toml").is_file() {
        bail!("this checkout has no tools/demo");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout.join("target"), PathBuf::from);
    let built =
        Command::new("cargo").args(["build", "--quiet", "--package", "demo"]).current_dir(&checkout).status()?;
    if !built.success() {
        bail!("the demo program does not build; see the messages above");
    }
    let error = Command::new(target.join("debug/demo")).args(words).args(arguments).exec();
    Err(error.into())
}

/// The same for the region in Kubernetes, with the optimised program that stands beside those of its images.
fn demo_on_cluster(arguments: &[String]) -> Result<()> {
    let program = cluster::layout_at(0)?.binaries(true).join("demo");
    if !program.is_file() {
        bail!("not built: demo; run cargo build --release --workspace");
    }
    let offset = cluster::local::OFFSET.to_string();
    let error = Command::new(program).args(["run", "--offset", &offset]).args(arguments).exec();
    Err(error.into())
}
