//! The servers of a benchmark: a PostgreSQL of its own on a fresh cluster, Redis, one order-payment process built optimised, and
//! stand-ins for what else it asks. Decided here: who runs on which processor, and that a slow disk is proved before it is
//! believed.
//!
//! The system under test, its database included, has processor 0 on both sides; generators and stand-ins have the rest.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::cpu;
use crate::layout::{self, Layout};
use crate::os;
use crate::ports::{Port, Ports};
use crate::stack::process::Spec;
use crate::stack::{self, Purpose, Stack, postgres, services};

/// Ports of the bench's servers.
const OFFSET: u16 = 6000;
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
    pub fn servers(fsync: Fsync) -> Result<Self> {
        let checkout = layout::checkout();
        let layout = Layout::open(&checkout, &PathBuf::from(".dev/bench"))?;
        let stack = Stack::open(layout, Ports::at(OFFSET)?, Purpose::Development, true)?;
        stack.down();
        stack::wipe(&stack.layout)?;
        let mut rig = Self { stack, fdatasync_us: 0.0, stand_ins: None };
        let shim = match fsync {
            Fsync::Raw => None,
            Fsync::OneMillisecond => Some(slow_fsync(&rig.stack)?),
        };
        rig.fdatasync_us = fdatasync_us(&rig.stack, shim.as_ref())?;
        if shim.is_some() && rig.fdatasync_us < 1_000.0 {
            bail!("the slowed disk answers in {:.0} µs: the shim is not active", rig.fdatasync_us);
        }
        postgres::initialise(&rig.stack)?;
        let mut server = rig.stack.server("postgres")?;
        if let Some(shim) = shim {
            server.env.push(("LD_PRELOAD".to_owned(), shim.to_string_lossy().into_owned()));
        }
        rig.start(server, Some(TESTED))?;
        postgres::provision(&rig.stack)?;
        rig.start(rig.stack.server("redis")?, None)?;
        Ok(rig)
    }

    /// One `order-payment serve`, with `settings` laid over its defaults, and what it asks. Its work role does not run: orders
    /// are accepted and go no further, as in the minutes of a sale before anything else has caught up.
    ///
    /// # Errors
    /// Whatever does not start.
    pub fn order_payment(&mut self, settings: &[(&str, &str)]) -> Result<()> {
        let mut serve = self.stack.spec("order-payment-serve")?;
        self.stack.start("kafka")?;
        let service = services::SERVICES.iter().find(|service| service.name == "order-payment");
        services::migrate(&self.stack, service.context("order-payment is among the services")?)?;
        self.stack.stop("kafka");
        self.stand_in()?;
        for (name, value) in settings {
            serve.env.push(((*name).to_owned(), (*value).to_owned()));
        }
        self.start(serve, Some(TESTED))
    }

    fn stand_in(&mut self) -> Result<()> {
        let ports = self.stack.ports;
        let tokens = self.tokens();
        let _ = fs::remove_file(&tokens);
        let log = fs::File::create(self.stack.layout.log("stand-ins"))?;
        let mut command = generator(&self.stack);
        command
            .arg(self.stack.layout.binaries(true).join("load"))
            .args(["stand-ins", "--issuer-address", &ports.address(Port::Keycloak)])
            .args(["--issuer", &format!("{}/realms/{}", ports.url(Port::Keycloak), self.stack.realm())])
            .args(["--quote-address", &ports.address(Port::CatalogGrpc)])
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

    /// Starts a server or service, on one processor where it belongs to the system under test.
    fn start(&self, mut spec: Spec, processor: Option<&str>) -> Result<()> {
        if let Some(processor) = processor {
            let program = spec.program.to_string_lossy().into_owned();
            let words = ["-c", processor, &program].map(str::to_owned);
            spec.args = words.into_iter().chain(spec.args).collect();
            spec.program = os::which("taskset").context("taskset is missing; it comes with util-linux")?;
        }
        spec.start(&self.stack.layout)?;
        spec.wait_ready(&self.stack.layout)
    }

    /// Processor seconds of a running process and its children.
    pub fn cpu_of(&self, name: &str) -> f64 {
        self.stack.running(name).map_or(0.0, |record| cpu::of_tree(record.pid))
    }

    pub fn cpu_of_stand_ins(&self) -> f64 {
        self.stand_ins.as_ref().and_then(|child| i32::try_from(child.id()).ok()).map_or(0.0, cpu::of_tree)
    }

    /// Runs SQL as the owner of order-payment's database.
    ///
    /// # Errors
    /// What the server said.
    pub fn sql(&self, script: &str) -> Result<String> {
        postgres::psql(self.stack.ports.of(Port::Postgres), "order_payment_owner", "order_payment", script)
    }

    /// One-row INSERT transactions with pgbench; gives transactions per second.
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
        if let Some(mut child) = self.stand_ins.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.stack.down();
    }
}

/// A program that loads: never on the processor of what is tested, unless there is no other.
pub fn generator(stack: &Stack) -> Command {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let rest = if count > 1 { format!("1-{}", count - 1) } else { "0".to_owned() };
    let mut command = Command::new("taskset");
    command.args(["-c", &rest]).current_dir(&stack.layout.state).stdin(Stdio::null());
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
