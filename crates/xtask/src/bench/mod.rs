//! `cargo xtask bench`: two things measured side by side in one run; only their ratio is a result. Decided here: what ends
//! how: 0 the floor is met, 1 it is missed, 2 the run says nothing, 3 something is missing.
//!
//! No result is believed that does not end with a check of what was promised, and none is published from a machine that others
//! used meanwhile without being called noisy.

mod abba;
mod all;
mod capacity;
mod catch_up;
mod cpu;
mod gorse;
mod growth;
mod hot_sku;
mod ingest;
mod intake;
mod kstreams;
mod limits;
mod orders;
mod pages;
mod peers;
mod program;
pub mod quality;
mod quality_recs;
mod recs;
pub mod results;
mod rig;
mod saga;
mod search;
mod stream;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use self::results::{Pair, Report, Run};
pub use self::rig::Fsync;
use self::table::{BENCHES, NO_DISK};
use crate::layout;
use crate::{os, stack::postgres};

/// Pairs of a normal run, and of the one repetition that a wide spread gets.
pub const PAIRS: usize = 5;
const PAIRS_AGAIN: usize = 10;
/// Ports and state of the bench's servers.
pub const OFFSET: u16 = 6000;
pub const STATE: &str = ".dev/bench";
/// Orders that fill the tables of `order-growth`.
pub const ORDERS: u64 = growth::MANY;

/// Said by every bench that has a PostgreSQL.
const POSTGRES: &str = "PostgreSQL with fsync, full_page_writes and synchronous_commit on, no standby, shared_buffers 128 MB, data checksums, wal_compression lz4";

#[derive(Clone, Debug)]
pub struct Options {
    pub pairs: usize,
    pub fsync: Vec<Fsync>,
    /// Use the programs that are there.
    pub no_build: bool,
    /// Measure once, even if the spread is wide.
    pub once: bool,
    /// Recorded data to judge by, for the benches of quality.
    pub data: Option<PathBuf>,
    /// Unoptimised programs: shows that a bench works and measures nothing, so nothing is written.
    pub debug: bool,
    pub offset: u16,
    pub state: PathBuf,
    pub side_s: u64,
    pub warm_up_s: u64,
    /// For `all`: these only, and no new one after so many minutes.
    pub only: Vec<String>,
    /// How many fill the tables of `order-growth`.
    pub orders: u64,
    pub budget_min: Option<f64>,
    /// Choose the weights of relevance anew by cross-validation and tell what came out.
    pub tune: bool,
}

/// A run that says nothing, with the reason.
#[derive(Debug)]
struct Invalid(String);

impl std::fmt::Display for Invalid {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// Something that this machine does not have and that nobody can conjure up here.
#[derive(Debug)]
struct Missing(String);

impl std::fmt::Display for Missing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// A peer that cannot be had, with what was said when it was asked for. Nothing is wrong with us or the machine.
#[derive(Debug)]
struct Skipped(String);

impl std::fmt::Display for Skipped {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Skipped {}

/// What a bench gives back for one speed of the disk.
struct Measured {
    fdatasync_us: f64,
    pairs: Vec<Pair>,
    /// Absolute figures that explain where the ratio comes from.
    facts: Vec<String>,
}

impl Measured {
    fn new(fdatasync_us: f64, pairs: Vec<Pair>) -> Self {
        Self { fdatasync_us, pairs, facts: Vec::new() }
    }
}

struct Bench {
    name: &'static str,
    ours: &'static str,
    theirs: &'static str,
    /// Of both values; where it is a time, less is better and the ratio is turned round.
    unit: &'static str,
    settings: &'static [&'static str],
    /// With a raw disk, with one of a millisecond.
    floors: (f64, f64),
    /// What a run of five pairs takes on an idle machine with two processors, both disks; for a plan of `all`.
    minutes: f64,
    measure: fn(&Options, Fsync, usize) -> Result<Measured>,
}

/// Runs `name`: a bench, or `list`, `limits`, `page`, `capacity`, `prepare`, `all`.
///
/// # Errors
/// What could not be started or read.
pub fn run(name: &str, options: &Options) -> Result<ExitCode> {
    match name {
        "list" => {
            for bench in BENCHES {
                println!(
                    "{:<20} {} / {} ({}); floors {:.2} raw, {:.2} at 1 ms; about {} min",
                    bench.name, bench.ours, bench.theirs, bench.unit, bench.floors.0, bench.floors.1, bench.minutes
                );
            }
            println!("{:<18} cores, brokers and racks of a region, from the results of the others", "capacity");
            println!("{:<18} recommendations against VMIS-kNN on recorded visits", quality_recs::NAME);
            println!(
                "{:<18} mixed nDCG@10 of the shop's search / BM25 over all text; floor baseline + 0.02",
                quality::NAME
            );
            Ok(ExitCode::SUCCESS)
        }
        quality_recs::NAME => quality_recs::run(options.data.as_deref(), options.no_build),
        quality::NAME => quality::run(options.data.clone(), options.tune, options.no_build),
        "page" => page().map(|()| ExitCode::SUCCESS),
        "capacity" => {
            print!("{}", capacity::table(&results::read_all(&layout::checkout())?));
            Ok(ExitCode::SUCCESS)
        }
        "all" => all::run(BENCHES, options),
        "limits" => {
            build(options)?;
            limits::run(options).map(|()| ExitCode::SUCCESS)
        }
        "prepare" => {
            build(options)?;
            growth::prepare(options)?;
            peers::prepare(options).map(|()| ExitCode::SUCCESS)
        }
        name => match BENCHES.iter().find(|bench| bench.name == name) {
            Some(bench) => {
                build(options)?;
                let outcome = measure(bench, options)?;
                Ok(ExitCode::from(outcome.code))
            }
            None => bail!("there is no bench {name}; `bench list` names them"),
        },
    }
}

/// How a bench ended: its exit code and its last lines.
struct Outcome {
    code: u8,
    lines: Vec<String>,
}

fn measure(bench: &Bench, options: &Options) -> Result<Outcome> {
    let ended = |code: u8, line: String| {
        println!("{line}");
        Ok(Outcome { code, lines: vec![line] })
    };
    if let Some(reason) = missing() {
        return ended(3, format!("{} missing: {reason}", bench.name));
    }
    let mut runs: Vec<Run> = Vec::new();
    let disks: Vec<Fsync> = if bench.floors.1 > NO_DISK { options.fsync.clone() } else { vec![Fsync::Raw] };
    for fsync in &disks {
        match one_disk(bench, options, *fsync) {
            Ok(run) => runs.push(run),
            Err(error) if error.is::<Invalid>() => {
                return ended(2, format!("{} fsync={} invalid: {error}", bench.name, fsync.name()));
            }
            Err(error) if error.is::<Skipped>() => return ended(3, format!("{} skipped: {error}", bench.name)),
            Err(error) if error.is::<Missing>() => return ended(3, format!("{} missing: {error}", bench.name)),
            Err(error) => return Err(error),
        }
    }
    if options.debug {
        println!("unoptimised programs: this shows that the bench works; it is no measurement and is not written down");
    } else {
        let checkout = layout::checkout();
        let file = report(bench, runs.clone())?.write(&checkout)?;
        println!("written to {}", file.strip_prefix(&checkout).unwrap_or(&file).display());
    }
    // The run nearest to its floor stands last.
    runs.sort_by(|one, other| (other.ratio / other.floor).total_cmp(&(one.ratio / one.floor)));
    let lines: Vec<String> = runs.iter().map(|run| run.line(bench.name)).collect();
    lines.iter().for_each(|line| println!("{line}"));
    let code = match (runs.iter().any(|run| run.noisy), runs.iter().all(Run::met)) {
        (true, _) => 2,
        (false, true) => 0,
        (false, false) => 1,
    };
    Ok(Outcome { code, lines })
}

fn one_disk(bench: &Bench, options: &Options, fsync: Fsync) -> Result<Run> {
    let floor = if fsync == Fsync::Raw { bench.floors.0 } else { bench.floors.1 };
    let run = |pairs| -> Result<Run> {
        let measured = (bench.measure)(options, fsync, pairs)?;
        measured.facts.iter().for_each(|fact| println!("{fact}"));
        Ok(Run::of(fsync.name(), measured.fdatasync_us, measured.pairs, floor).with(measured.facts))
    };
    let first = run(options.pairs)?;
    if !first.noisy || options.once || options.debug {
        return Ok(first);
    }
    println!("{} was noisy: once more with {PAIRS_AGAIN} pairs", fsync.name());
    run(PAIRS_AGAIN)
}

fn report(bench: &Bench, runs: Vec<Run>) -> Result<Report> {
    let versions = [postgres::program("postgres")?.to_string_lossy().into_owned(), "rustc".to_owned()];
    let versions = versions.iter().filter_map(|program| os::output(Command::new(program).arg("--version")).ok());
    Ok(Report {
        name: bench.name.to_owned(),
        ours: bench.ours.to_owned(),
        theirs: bench.theirs.to_owned(),
        commit: results::commit(&layout::checkout()),
        date: results::date(),
        machine: results::machine(),
        versions: versions.map(|version| version.trim().to_owned()).collect(),
        settings: std::iter::once(format!("values are {}", bench.unit))
            .chain(bench.settings.iter().map(|fact| (*fact).to_owned()))
            .collect(),
        runs,
    })
}

/// What this machine lacks.
fn missing() -> Option<String> {
    let absent = |name: &&&str| os::which(name).is_none();
    if let Some(name) = ["taskset", "gcc", "psql"].iter().find(absent) {
        return Some(format!("{name} is not on this machine"));
    }
    ["pgbench", "pg_test_fsync"].iter().find_map(|name| postgres::program(name).err().map(|error| error.to_string()))
}

/// Builds what benches measure and measure with.
fn build(options: &Options) -> Result<()> {
    if options.no_build {
        return Ok(());
    }
    let checkout = layout::checkout();
    let cargo = |words: &[&str]| -> Result<()> {
        let mut cargo = os::patient("cargo");
        cargo.arg("build").args((!options.debug).then_some("--release")).args(words).current_dir(&checkout);
        if !cargo.status()?.success() {
            bail!("the programs do not build; see the messages above");
        }
        Ok(())
    };
    cargo(&["-p", "order-payment", "-p", "catalog", "-p", "payment-simulator", "-p", "load"])?;
    cargo(&["-p", "personalization", "--example", stream::PROGRAM])?;
    cargo(&["-p", "user", "--example", intake::PROGRAM])?;
    cargo(&["-p", "catalog", "--example", hot_sku::PROGRAM, "--example", pages::PROGRAM])
}

fn page() -> Result<()> {
    let checkout = layout::checkout();
    let file = checkout.join("docs/perf/README.md");
    let reports = results::read_all(&checkout)?;
    fs::write(&file, results::page(results::limits(&checkout)?.as_ref(), &reports))?;
    println!("written to {}", file.strip_prefix(&checkout).unwrap_or(&file).display());
    fs::write(checkout.join("docs/perf/capacity.md"), capacity::page(&reports))?;
    Ok(())
}
