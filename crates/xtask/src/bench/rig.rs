//! The servers of a benchmark: a PostgreSQL of its own on a fresh cluster, Redis, order-payment processes built optimised, and
//! stand-ins for what else they ask. Decided here: who runs on which processor, and that a slow disk is proved before it is
//! believed.
//!
//! The system under test, its database included, has processor 0 on both sides; generators, brokers and stand-ins have the rest.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::cpu::{self, Used};
use super::{Options, saga};
use crate::layout::{self, Layout};
use crate::os;
use crate::ports::{Port, Ports};
use crate::provision::maven;
use crate::stack::process::{self, Spec};
use crate::stack::{self, Purpose, Stack, kafka, postgres, services};

/// Between the ports of two rigs that run at once.
const NEXT_RIG: u16 = 200;
const TESTED: &str = "0";
/// How long the stand-ins may take to make their people.
const STAND_INS_WITHIN: Duration = Duration::from_secs(20);

/// How fast the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    Raw,
    OneMillisecond,
}

impl Fsync {
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::OneMillisecond => "1ms",
        }
    }

    /// # Errors
    /// Another word.
    pub fn parse(word: &str) -> Result<Self> {
        match word {
            "raw" => Ok(Self::Raw),
            "1ms" => Ok(Self::OneMillisecond),
            other => bail!("--fsync takes raw and 1ms, not {other}"),
        }
    }
}

/// The processes of order-payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Orders are accepted.
    Serve,
    /// They go on: events, stock and payments, with a broker, the catalog's stock half and a gateway.
    Work,
}

/// Running servers; they end with it.
pub struct Rig {
    pub stack: Stack,
    pub fdatasync_us: f64,
    stand_ins: Option<Child>,
}

impl Rig {
    /// PostgreSQL on a fresh cluster and an empty Redis.
    ///
    /// # Errors
    /// A server that does not start, a slow disk that is not slow.
    pub fn servers(options: &Options, fsync: Fsync) -> Result<Self> {
        Self::second(options, fsync, 0)
    }

    /// As [`Self::servers`], beside other rigs of one bench.
    ///
    /// # Errors
    /// As [`Self::servers`].
    pub fn second(options: &Options, fsync: Fsync, place: u16) -> Result<Self> {
        let mut rig = Self::bare(options, place)?;
        stack::wipe(&rig.stack.layout)?;
        postgres::initialise(&rig.stack)?;
        rig.launch(fsync)?;
        postgres::provision(&rig.stack)?;
        Ok(rig)
    }

    /// Nothing runs, and the data of the run before is still there.
    ///
    /// # Errors
    /// When folders cannot be made.
    pub fn bare(options: &Options, place: u16) -> Result<Self> {
        let checkout = layout::checkout();
        let state = if place == 0 { options.state.clone() } else { options.state.join(format!("rig-{place}")) };
        let layout = Layout::open(&checkout, &state)?;
        let ports = Ports::at(options.offset + place * NEXT_RIG)?;
        let stack = Stack::open(layout, ports, Purpose::Development, !options.debug)?;
        stack.down();
        Ok(Self { stack, fdatasync_us: 0.0, stand_ins: None })
    }

    /// Starts PostgreSQL on the cluster that is there, and Redis.
    ///
    /// # Errors
    /// As [`Self::servers`].
    pub fn launch(&mut self, fsync: Fsync) -> Result<()> {
        self.launch_with(fsync, &[])
    }

    /// As [`Self::launch`], with settings of PostgreSQL laid over the usual ones.
    ///
    /// # Errors
    /// As [`Self::servers`].
    pub fn launch_with(&mut self, fsync: Fsync, settings: &[&str]) -> Result<()> {
        let shim = match fsync {
            Fsync::Raw => None,
            Fsync::OneMillisecond => Some(slow_fsync(&self.stack)?),
        };
        self.fdatasync_us = fdatasync_us(&self.stack, shim.as_ref())?;
        if shim.is_some() && self.fdatasync_us < 1_000.0 {
            bail!("the slowed disk answers in {:.0} µs: the shim is not active", self.fdatasync_us);
        }
        let mut server = self.stack.server("postgres")?;
        // When a change was committed is asked of the database, and of nobody's clock before the commit.
        for setting in ["track_commit_timestamp=on"].iter().chain(settings) {
            server.args.extend(["-c".to_owned(), (*setting).to_owned()]);
        }
        if let Some(shim) = shim {
            server.env.push(("LD_PRELOAD".to_owned(), shim.to_string_lossy().into_owned()));
        }
        self.start(server, Some(TESTED))?;
        self.start(self.stack.server("redis")?, None)
    }

    /// A broker with one node, on the generator's processor. Asked for once.
    ///
    /// # Errors
    /// When it does not start.
    pub fn broker(&self) -> Result<()> {
        if self.stack.running("kafka").is_some() {
            return Ok(());
        }
        kafka::format(&self.stack, &maven::kafka(&self.stack.layout)?)?;
        self.start(self.stack.server("kafka")?, None)
    }

    /// Order-payment in `roles`, with `settings` laid over its defaults, and what it asks. Without its work role orders are
    /// accepted and go no further, as in the minutes of a sale before anything else has caught up.
    ///
    /// # Errors
    /// Whatever does not start.
    pub fn order_payment(&mut self, settings: &[(&str, &str)], roles: &[Role]) -> Result<()> {
        let works = roles.contains(&Role::Work);
        self.migrate()?;
        if !works {
            self.stack.stop("kafka");
        }
        // One person orders a few times an hour where orders are paid for; where they are only accepted, most tokens have been seen before.
        self.stand_in(if works { 4_096 } else { 256 })?;
        let (mut serve, work) = (self.stack.spec("order-payment-serve")?, self.stack.spec("order-payment-work")?);
        for (name, value) in settings {
            serve.env.push(((*name).to_owned(), (*value).to_owned()));
        }
        self.start(serve, Some(TESTED))?;
        if works {
            saga::stock(self)?;
            self.start(self.stack.spec("payment-simulator")?, None)?;
            self.start(work, Some(TESTED))?;
        }
        Ok(())
    }

    /// Tables and topics of order-payment.
    ///
    /// # Errors
    /// When the broker does not start or the migration fails.
    pub fn migrate(&self) -> Result<()> {
        // Asking for it writes the configuration, which the migration reads.
        self.stack.spec("order-payment-serve")?;
        self.broker()?;
        let service = services::SERVICES.iter().find(|service| service.name == "order-payment");
        services::migrate(&self.stack, service.context("order-payment is among the services")?)
    }

    /// Ends everything of it; the data stay.
    pub fn end(&mut self) {
        if let Some(mut child) = self.stand_ins.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.stack.down();
    }

    fn stand_in(&mut self, people: u16) -> Result<()> {
        let ports = self.stack.ports;
        let tokens = self.tokens();
        let _ = fs::remove_file(&tokens);
        let log = fs::File::create(self.stack.layout.log("stand-ins"))?;
        let mut command = self.load();
        command
            .args(["stand-ins", "--issuer-address", &ports.address(Port::Keycloak)])
            .args(["--issuer", &format!("{}/realms/{}", ports.url(Port::Keycloak), self.stack.realm())])
            .args(["--quote-address", &ports.address(Port::CatalogGrpc)])
            .args(["--people", &people.to_string()])
            .args(["--redis", &format!("redis://{}", ports.address(Port::Redis)), "--tokens"])
            .arg(&tokens);
        self.stand_ins = Some(command.stdout(Stdio::null()).stderr(log).spawn().context("start the stand-ins")?);
        let began = Instant::now();
        while !tokens.is_file() {
            if began.elapsed() > STAND_INS_WITHIN {
                bail!("the stand-ins are not ready; see {}", self.stack.layout.log("stand-ins").display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Where the tokens of the bench's people are.
    pub fn tokens(&self) -> PathBuf {
        self.stack.layout.state.join("tokens")
    }

    /// Our load generator, on the generator's processors.
    pub fn load(&self) -> Command {
        let mut command = generator(&self.stack);
        command.arg(self.stack.layout.binaries(self.stack.release).join("load"));
        command
    }

    /// Starts a server or service: on the processor of the system under test where it belongs to it, else on the others.
    ///
    /// # Errors
    /// When it does not start or become ready.
    pub fn start(&self, mut spec: Spec, tested: Option<&str>) -> Result<()> {
        let processors = tested.map_or_else(others, str::to_owned);
        let program = spec.program.to_string_lossy().into_owned();
        let words = ["-c", &processors, &program].map(str::to_owned);
        spec.args = words.into_iter().chain(spec.args).collect();
        spec.program = os::which("taskset").context("taskset is missing; it comes with util-linux")?;
        spec.start(&self.stack.layout)?;
        spec.wait_ready(&self.stack.layout)
    }

    /// As [`Self::start`], for what is tested.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_tested(&self, spec: Spec) -> Result<()> {
        self.start(spec, Some(TESTED))
    }

    /// Processor seconds so far of everybody who runs, of the stand-ins, and of generators that have ended.
    pub fn parties(&self, generator: &str) -> Vec<(String, f64)> {
        let running = process::records(&self.stack.layout).into_iter().filter(process::Record::alive);
        let mut parties: Vec<(String, f64)> = running.map(|record| (record.name, cpu::of_tree(record.pid))).collect();
        if let Some(pid) = self.stand_ins.as_ref().and_then(|child| i32::try_from(child.id()).ok()) {
            parties.push(("stand-ins".to_owned(), cpu::of_tree(pid)));
        }
        parties.push((generator.to_owned(), cpu::of_ended_children()));
        parties
    }

    /// What `work` does and what it costs everybody.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn watched<T>(&self, tested: &[&str], generator: &str, work: impl FnOnce() -> Result<T>) -> Result<(T, Used)> {
        cpu::watched(&|| self.parties(generator), tested, work)
    }

    /// Runs SQL as the owner of order-payment's database.
    ///
    /// # Errors
    /// What the server said.
    pub fn sql(&self, script: &str) -> Result<String> {
        postgres::psql(self.stack.ports.of(Port::Postgres), "order_payment_owner", "order_payment", script)
    }

    /// Transactions of `script` with pgbench; gives how many per second.
    ///
    /// # Errors
    /// When pgbench fails or says nothing.
    pub fn pgbench(&self, script: &str, clients: usize, seconds: u64) -> Result<f64> {
        let file = self.stack.layout.state.join("pgbench.sql");
        fs::write(&file, script)?;
        let (clients, seconds) = (clients.to_string(), seconds.to_string());
        let mut command = generator(&self.stack);
        command
            .arg(postgres::program("pgbench")?)
            .args(["-n", "-M", "prepared", "-c", &clients, "-j", "1", "-T", &seconds, "-f"])
            .arg(&file)
            .args(["-h", "127.0.0.1", "-p", &self.stack.ports.of(Port::Postgres).to_string()])
            .args(["-U", "order_payment_owner", "order_payment"])
            .env("PGPASSWORD", "order_payment_owner");
        let said = os::output(&mut command)?;
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.with_context(|| format!("pgbench said no rate: {said}"))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.end();
    }
}

/// The processors that nothing tested runs on, unless there is only one.
pub fn others() -> String {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if count > 1 { format!("1-{}", count - 1) } else { "0".to_owned() }
}

/// A program that loads: never on the processor of what is tested, unless there is no other.
pub fn generator(stack: &Stack) -> Command {
    // Before what shares its processors, where we may: else an open loop sends late, and that turn says nothing.
    let mut command = Command::new(if os::is_root() { "nice" } else { "taskset" });
    if os::is_root() {
        command.args(["-n", "-10", "taskset"]);
    }
    command.args(["-c", &others()]).current_dir(&stack.layout.state).stdin(Stdio::null());
    command
}

/// Compiles the shim that makes a disk take a millisecond.
fn slow_fsync(stack: &Stack) -> Result<PathBuf> {
    let (source, library) = (stack.layout.state.join("slow_fsync.c"), stack.layout.state.join("slow_fsync.so"));
    fs::write(&source, include_str!("slow_fsync.c"))?;
    let mut gcc = Command::new("gcc");
    gcc.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&source).arg("-ldl");
    os::output(&mut gcc).context("compile the slow disk; gcc is needed")?;
    layout::own(&library, None, 0o755)?;
    Ok(library)
}

/// What one fdatasync costs, by PostgreSQL's own program, on the disk that the cluster is on.
fn fdatasync_us(stack: &Stack, shim: Option<&PathBuf>) -> Result<f64> {
    let mut command = Command::new(postgres::program("pg_test_fsync")?);
    let file = stack.layout.state.join("fsync-probe");
    command.args(["-s", "1", "-f"]).arg(&file).current_dir(&stack.layout.state);
    if let Some(shim) = shim {
        command.env("LD_PRELOAD", shim);
    }
    let said = os::output(&mut command)?;
    let _ = fs::remove_file(file);
    // "        fdatasync      28123.4 ops/sec      36 usecs/op"
    let line = said
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("fdatasync"))
        .context("pg_test_fsync names fdatasync")?;
    let micros = line.split_whitespace().rev().nth(1).and_then(|number| number.parse().ok());
    micros.with_context(|| format!("pg_test_fsync said: {line}"))
}
